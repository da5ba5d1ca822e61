//! The client against a server that plays restarts, fail-overs and refusals.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rest::{
    Client, ClientConfig, ClientError, ControlBody, NewOperation, NewRelease, NewRollback, OperationFilter,
    PageRequest, StreamEvent, Waited,
};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use vocabulary::OperationId;

const ID: &str = "0198c0de-0000-7000-8000-000000000001";

/// What the server does with one request.
enum Play {
    /// Status, headers and body.
    Answer(u16, &'static str, Value),
    /// Takes the request and closes the connection.
    Reset,
    /// Answers with a stream of events and closes the connection.
    Stream(String),
}

/// A server that plays one act for each request, in order.
struct Server {
    url: String,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Server {
    async fn start(acts: impl IntoIterator<Item = Play>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("a bound socket"));
        let requests = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&requests);
        let mut acts: VecDeque<Play> = acts.into_iter().collect();
        tokio::spawn(async move {
            while let Ok((mut connection, _)) = listener.accept().await {
                let request = read_request(&mut connection).await;
                // A connection without a request is one that the client opened in advance.
                if request.is_empty() {
                    continue;
                }
                seen.lock().expect("no panic").push(request);
                let answer = match acts.pop_front() {
                    None => answer(500, "", &json!({"no": "act is left"})),
                    Some(Play::Reset) => continue,
                    Some(Play::Answer(status, headers, body)) => answer(status, headers, &body),
                    Some(Play::Stream(events)) => {
                        format!(
                            "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n{events}"
                        )
                    }
                };
                let _ = connection.write_all(answer.as_bytes()).await;
            }
        });
        Self { url, requests }
    }

    fn client(&self, deadline: Duration) -> Client {
        let config = ClientConfig {
            server: self.url.clone(),
            token: Some("t0ken".into()),
            ca: None,
            deadline,
            allow_plaintext: false,
        };
        Client::new(&config).expect("a URL of this machine")
    }

    fn requests(&self) -> Vec<String> {
        self.requests.lock().expect("no panic").clone()
    }

    /// Returns the values of a header, one for each request; `-` where it is missing.
    fn headers(&self, name: &str) -> Vec<String> {
        let value = |request: &String| {
            let line = request.lines().find_map(|line| line.strip_prefix(&format!("{name}: ")));
            line.unwrap_or("-").to_owned()
        };
        self.requests().iter().map(value).collect()
    }
}

/// Reads the head and the body of a request.
async fn read_request(connection: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            if body.len() >= length.map_or(0, |length| length.parse().expect("a number")) {
                return text;
            }
        }
        let mut part = [0; 4_096];
        match connection.read(&mut part).await {
            Ok(read @ 1..) => bytes.extend_from_slice(&part[..read]),
            _ => return String::new(),
        }
    }
}

fn answer(status: u16, headers: &str, body: &Value) -> String {
    let body = body.to_string();
    format!(
        "HTTP/1.1 {status} Status\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: {}\r\n{headers}\r\n{body}",
        body.len()
    )
}

fn id() -> OperationId {
    ID.parse().expect("an id")
}

fn operation(state: &str, done: bool) -> Value {
    json!({
        "id": ID, "kind": "drain", "subject": "cluster east", "state": state, "phase": "Forward", "done": done,
        "succeeded": state == "Succeeded", "spec": {"cluster": "east"}, "createdBy": "person/ada", "reason": "",
        "createTime": "2026-11-02T03:04:05Z", "progress": {"total": 3, "done": 1, "failed": 0, "running": 1},
        "journalSeq": 4, "links": {"self": "/api/v1/operations/x", "events": "/api/v1/operations/x/events"},
        "aLaterField": true,
    })
}

fn problem(status: u16, code: &str) -> Value {
    json!({
        "type": format!("/problems/{code}"), "title": code, "status": status, "code": code, "detail": "cluster/east is locked",
        "retryable": status == 503,
        "remedy": "wait for it", "holder": {"operation": ID, "kind": "rebalance", "subject": "east", "key": "cluster/east",
            "startedBy": "person/bob", "since": "2026-11-02T03:04:05Z"},
    })
}

fn new_drain() -> NewOperation {
    NewOperation { kind: "drain".into(), spec: json!({"cluster": "east"}), reason: String::new(), hold: false }
}

const SHORT: Duration = Duration::from_secs(1);
const LONG: Duration = Duration::from_mins(1);

#[tokio::test]
async fn an_operation_is_created_with_token_and_key() {
    let server = Server::start([Play::Answer(202, "", operation("AwaitingLocks", false))]).await;
    let created = server.client(LONG).create_operation(&new_drain()).await.expect("created");
    assert_eq!((created.id, created.done), (id(), false));
    let requests = server.requests();
    assert!(requests[0].starts_with("POST /api/v1/operations HTTP/1.1\r\n"), "{requests:?}");
    assert!(
        requests[0].ends_with(r#"{"kind":"drain","spec":{"cluster":"east"},"reason":"","hold":false}"#),
        "{requests:?}"
    );
    assert_eq!(server.headers("authorization"), ["Bearer t0ken"]);
    assert_ne!(server.headers("idempotency-key"), ["-"]);
}

#[tokio::test]
async fn unavailable_servers_get_the_same_key_again() {
    let server = Server::start([
        Play::Reset,
        Play::Answer(503, "retry-after: 1\r\n", problem(503, "store-unavailable")),
        Play::Answer(502, "", json!("<html>proxy</html>")),
        Play::Answer(202, "idempotency-replayed: true\r\n", operation("Running", false)),
    ])
    .await;
    let created = server.client(LONG).create_operation(&new_drain()).await.expect("created");
    assert_eq!(created.state, "Running");
    let keys = server.headers("idempotency-key");
    assert_eq!(keys.len(), 4);
    assert!(keys.iter().all(|key| key == &keys[0] && key != "-"), "{keys:?}");
}

#[tokio::test]
async fn refusals_are_not_repeated_and_name_the_holder() {
    let server = Server::start([Play::Answer(409, "", problem(409, "locked"))]).await;
    let error = server.client(LONG).create_operation(&new_drain()).await.expect_err("locked");
    let holder = error.problem().and_then(|problem| problem.holder.clone()).expect("a holder");
    assert_eq!((error.status(), holder.started_by.as_str()), (Some(409), "person/bob"));
    assert_eq!(server.requests().len(), 1);
}

#[tokio::test]
async fn errors_that_are_no_problems_keep_status_and_text() {
    for (status, body) in [(403, json!("denied by the proxy")), (500, json!("no leader")), (302, json!("elsewhere"))] {
        let server = Server::start([Play::Answer(status, "", body.clone())]).await;
        let error = server.client(LONG).operation(id()).await.expect_err("an error");
        assert_eq!(error.status(), Some(status), "{error}");
        assert!(error.to_string().contains(body.as_str().expect("a text")), "{error}");
        assert_eq!(server.requests().len(), 1, "{status}");
    }
}

#[tokio::test]
async fn servers_that_stay_away_are_unreachable_at_the_deadline() {
    let server = Server::start((0..50).map(|_| Play::Reset)).await;
    let error = server.client(SHORT).operation(id()).await.expect_err("no answer");
    assert!(matches!(error, ClientError::Unreachable { .. }), "{error:?}");
    assert!(server.requests().len() > 1, "it was tried again");
}

#[tokio::test]
async fn waits_outlive_resets_and_fail_overs() {
    let server = Server::start([
        Play::Answer(200, "", operation("Running", false)),
        Play::Reset,
        Play::Answer(500, "", json!("starting")),
        Play::Answer(503, "retry-after: 0\r\n", problem(503, "store-unavailable")),
        Play::Answer(200, "", operation("Succeeded", true)),
    ])
    .await;
    // The deadline of single requests is shorter than the outage.
    let waited = server.client(Duration::from_millis(300)).wait_for_operation(id(), None, |seen| seen.done).await;
    let Ok(Waited::Ended(ended)) = waited else { panic!("expected the end of the operation, found {waited:?}") };
    assert!(ended.succeeded);
    assert!(server.requests()[1].starts_with(&format!("GET /api/v1/operations/{ID}?waitSeconds=60 ")));
}

#[tokio::test]
async fn waits_end_at_their_limit_with_what_was_seen() {
    for (case, acts, is_silent) in [
        (
            "answers",
            vec![(); 10].into_iter().map(|()| Play::Answer(200, "", operation("Paused", false))).collect(),
            false,
        ),
        (
            "is silent",
            std::iter::once(Play::Answer(200, "", operation("Paused", false)))
                .chain((0..50).map(|_| Play::Reset))
                .collect::<Vec<_>>(),
            true,
        ),
    ] {
        let server = Server::start(acts).await;
        let waited = server.client(LONG).wait_for_operation(id(), Some(SHORT), |seen| seen.done).await;
        let Ok(Waited::Expired { last, silence }) = waited else {
            panic!("{case}: expected the limit, found {waited:?}")
        };
        assert_eq!((last.state.as_str(), silence.is_some()), ("Paused", is_silent), "{case}");
    }
}

#[tokio::test]
async fn waits_end_at_refusals() {
    let server = Server::start([
        Play::Answer(200, "", operation("Running", false)),
        Play::Answer(401, "", problem(401, "unauthenticated")),
    ])
    .await;
    let error = server.client(LONG).wait_for_operation(id(), None, |seen| seen.done).await.expect_err("a refusal");
    assert_eq!(error.status(), Some(401));
}

#[tokio::test]
async fn streams_resume_after_the_last_entry() {
    let entry = |seq: i64| {
        let entry = json!({"seq": seq, "entry": "State", "body": {}, "actor": "engine", "at": "2026-11-02T03:04:05Z", "hash": "00"});
        format!("id: {seq}\ndata: {entry}\n\n")
    };
    let server = Server::start([
        Play::Stream(format!("retry: 10\n\n{}: heartbeat\n\n{}id: 5\ndata: {{\"seq\"", entry(3), entry(4))),
        Play::Reset,
        Play::Answer(503, "", problem(503, "store-unavailable")),
        Play::Stream(format!("{}{}event: resync\ndata: {{\"journalSeq\": 5}}\n\n", entry(4), entry(5))),
        Play::Answer(204, "", json!(null)),
    ])
    .await;
    let mut events = server.client(LONG).operation_events(id(), 2);
    let mut seen = Vec::new();
    while let Some(event) = events.next().await.expect("the stream goes on") {
        seen.push(match event {
            StreamEvent::Entry(entry) => entry.seq.to_string(),
            StreamEvent::Resync => "resync".to_owned(),
        });
    }
    assert_eq!(seen, ["3", "4", "5", "resync"]);
    assert_eq!(server.headers("last-event-id"), ["2", "4", "4", "4", "5"]);
    assert!(server.headers("accept").iter().all(|accept| accept == "text/event-stream"));
}

#[tokio::test]
async fn lists_are_read_page_by_page() {
    let lock = |key: &str| {
        json!({"key": key, "mode": "Exclusive", "operation": ID, "kind": "drain", "subject": "east",
               "startedBy": "person/ada", "since": "2026-11-02T03:04:05Z"})
    };
    let server = Server::start([
        Play::Answer(200, "", json!({"items": [lock("a")], "nextPageToken": "t/2"})),
        Play::Answer(200, "", json!({"items": [lock("b")], "nextPageToken": ""})),
        Play::Answer(200, "", json!({"items": [operation("Running", false)]})),
    ])
    .await;
    let client = server.client(LONG);
    let keys: Vec<String> = client.locks().await.expect("two pages").into_iter().map(|lock| lock.key).collect();
    assert_eq!(keys, ["a", "b"]);
    let filter = OperationFilter { state: Some("Running".into()), ..OperationFilter::default() };
    let page = client.operations(&filter, &PageRequest { size: Some(1), token: None }).await.expect("a page");
    assert_eq!((page.items.len(), page.next_page_token), (1, None));
    let requests = server.requests();
    for (index, expected) in
        ["locks?pageSize=500 ", "locks?pageSize=500&pageToken=t%2F2 ", "operations?pageSize=1&state=Running "]
            .into_iter()
            .enumerate()
    {
        assert!(requests[index].starts_with(&format!("GET /api/v1/{expected}")), "{}", requests[index]);
    }
}

#[tokio::test]
async fn verbs_are_posted_with_step_and_reason() {
    let server = Server::start([Play::Answer(200, "", operation("Running", false))]).await;
    let body = ControlBody { step: Some("move".into()), target: None, reason: Some("known fault".into()) };
    server.client(LONG).control_operation(id(), "skip", &body).await.expect("accepted");
    let request = &server.requests()[0];
    assert!(request.starts_with(&format!("POST /api/v1/operations/{ID}/skip ")), "{request}");
    assert!(request.ends_with(r#"{"step":"move","reason":"known fault"}"#), "{request}");
}

#[tokio::test]
async fn releases_and_rollbacks_are_begun_with_a_key() {
    let started = json!({"application": "shop/web", "revision": "0a", "operation": ID, "generation": 3});
    let nothing =
        json!({"application": "shop/web", "revision": "0b", "operation": null, "generation": 4, "message": "m"});
    let server = Server::start([Play::Answer(202, "", started), Play::Answer(200, "", nothing)]).await;
    let client = server.client(LONG);
    let new = NewRelease { images: Some([("web".to_owned(), "w:2".to_owned())].into()), ..NewRelease::default() };
    let begun = client.begin_release("shop", "web", &new, false).await.expect("accepted");
    assert_eq!((begun.operation, begun.done), (Some(id()), false));
    let back = client.roll_back("shop", "web", &NewRollback::default(), true).await.expect("checked");
    assert_eq!((back.operation, back.message.as_str()), (None, "m"));
    let requests = server.requests();
    assert!(requests[0].starts_with("POST /api/v1/applications/shop/web/releases HTTP/1.1\r\n"), "{requests:?}");
    assert!(requests[0].ends_with(r#"{"images":{"web":"w:2"}}"#), "{requests:?}");
    assert!(requests[1].starts_with("POST /api/v1/applications/shop/web/rollback?dryRun=true "), "{requests:?}");
    assert!(server.headers("idempotency-key").iter().all(|key| key != "-"), "{requests:?}");
}

#[tokio::test]
async fn refusals_that_no_repetition_mends_are_not_repeated() {
    let mut refusal = problem(503, "no-hub");
    refusal["retryable"] = json!(false);
    let server = Server::start([Play::Answer(503, "", refusal)]).await;
    let error = server.client(LONG).begin_release("shop", "web", &NewRelease::default(), false).await;
    assert_eq!(error.expect_err("no hub").status(), Some(503));
    assert_eq!(server.requests().len(), 1);
}
