//! Operations over the API: created once, controlled, waited for, locked.

use std::time::Duration;

use access::{Role, SubjectKind};
use axum::http::Method;
use futures::future::join_all;
use serde_json::{Value, json};
use testbed::eventually;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use web_api::LimitSettings;

use crate::client::{Answer, Client};
use crate::server::Server;

const OPERATIONS: &str = "/api/v1/operations";
const SOON: Duration = Duration::from_mins(1);

fn body(cluster: &str, targets: &[&str]) -> Value {
    json!({"kind": "wave", "spec": {"cluster": cluster, "targets": targets}, "reason": "a test"})
}

async fn create(client: &Client, body: &Value, key: &str) -> Answer {
    client.send(Method::POST, OPERATIONS, &[("idempotency-key", key)], &body.to_string()).await
}

fn id_of(answer: &Value) -> String {
    answer["id"].as_str().unwrap().to_owned()
}

/// Waits until the operation has a state.
async fn reach(client: &Client, id: &str, state: &str) -> Value {
    eventually(&format!("operation {id} is {state}"), SOON, async || {
        let seen = client.get(&format!("{OPERATIONS}/{id}")).await.expect(200);
        anyhow::ensure!(seen["state"] == state, "{seen}");
        Ok(Some(seen))
    })
    .await
    .unwrap()
}

#[tokio::test]
async fn operation_is_created_once_controlled_and_waited_for() {
    let server = Server::start().await;
    let client = &server.client;

    // A dry run shows the plan and creates nothing.
    let dry = client.post(&format!("{OPERATIONS}?dryRun=true"), &body("east", &["a", "b"])).await.expect(200);
    assert_eq!((&dry["subject"], &dry["preview"]["waves"]), (&json!("cluster east"), &json!(2)));
    assert_eq!(dry["locks"], json!([{"key": "cluster/east", "mode": "Exclusive"}]));
    assert_eq!(client.get(OPERATIONS).await.expect(200)["items"], json!([]));

    // 50 identical requests at once give one operation.
    let same = body("east", &["a", "b"]);
    let answers = join_all((0..50).map(|_| create(client, &same, "run-1"))).await;
    let ids: std::collections::BTreeSet<String> = answers.iter().map(|answer| id_of(&answer.expect(202))).collect();
    assert_eq!(ids.len(), 1, "{ids:?}");
    let replayed = answers.iter().filter(|answer| answer.header("idempotency-replayed") == "true").count();
    assert_eq!(replayed, 49);
    let id = ids.into_iter().next().unwrap();
    assert_eq!(answers[0].header("location"), format!("{OPERATIONS}/{id}"));
    assert_eq!(client.get(OPERATIONS).await.expect(200)["items"].as_array().unwrap().len(), 1);
    let reused = create(client, &body("west", &["a"]), "run-1").await;
    assert_eq!(reused.expect(409)["code"], "idempotency-key-reused");

    // An equal operation on the same lock is refused, and the answer names the holder.
    let refused = create(client, &body("east", &["c"]), "run-2").await.expect(409);
    assert_eq!((&refused["code"], &refused["holder"]["operation"]), (&json!("locked"), &json!(id)), "{refused}");
    assert_eq!(
        (&refused["holder"]["key"], &refused["holder"]["startedBy"]),
        (&json!("cluster/east"), &json!("token/ops"))
    );

    // It acts on both targets; a waiting request returns when a person pauses it.
    eventually("both targets are acted on", SOON, async || Ok((server.wave.acted().len() == 2).then_some(())))
        .await
        .unwrap();
    let waiting = {
        let (client, path) = (client.clone(), format!("{OPERATIONS}/{id}?waitSeconds=60"));
        tokio::spawn(async move { client.get(&path).await.expect(200) })
    };
    let paused = client.post(&format!("{OPERATIONS}/{id}/pause"), &json!({"reason": "look"})).await.expect(200);
    assert!(["Pausing", "Paused"].contains(&paused["state"].as_str().unwrap()), "{paused}");
    let waited = tokio::time::timeout(SOON, waiting).await.unwrap().unwrap();
    assert_eq!((&waited["state"], &waited["pause"]["reason"]), (&json!("Paused"), &json!("Operator")));

    // It goes on, and a waiting request returns when it ends.
    client.post(&format!("{OPERATIONS}/{id}/resume"), &json!({})).await.expect(200);
    for target in ["a", "b"] {
        server.wave.let_go(target);
    }
    let done = client.get(&format!("{OPERATIONS}/{id}?waitSeconds=60")).await;
    assert!(done.header("etag").starts_with('"'), "{:?}", done.headers);
    let done = done.expect(200);
    assert_eq!((&done["state"], &done["done"], &done["succeeded"]), (&json!("Succeeded"), &json!(true), &json!(true)));
    assert_eq!(done["progress"], json!({"total": 2, "done": 2, "failed": 0, "running": 0}));
    assert_eq!(done["steps"][0]["targets"][0]["message"], "waved");

    // A verb that does not fit the state is refused, and so is one without a reason.
    let refused = client.post(&format!("{OPERATIONS}/{id}/pause"), &json!({})).await.expect(409);
    assert_eq!(refused["code"], "state-conflict");
    let refused = client.post(&format!("{OPERATIONS}/{id}/skip"), &json!({})).await.expect(422);
    assert!(refused["detail"].as_str().unwrap().contains("needs a reason"), "{refused}");

    // The same request again still gives the same operation, and its lock is free for others.
    assert_eq!(id_of(&create(client, &same, "run-1").await.expect(202)), id);
    let next = create(client, &body("east", &["a"]), "run-3").await.expect(202);
    reach(client, &id_of(&next), "Succeeded").await;

    // Lists are paged and filtered.
    let page = client.get(&format!("{OPERATIONS}?pageSize=1&subject=cluster%20east&state=Succeeded")).await.expect(200);
    assert_eq!(page["items"][0]["id"], next["id"]);
    assert_eq!(page["items"][0]["progress"]["done"], 1);
    let token = page["nextPageToken"].as_str().unwrap();
    let page = client.get(&format!("{OPERATIONS}?pageSize=1&state=Succeeded&pageToken={token}")).await.expect(200);
    assert_eq!(page["items"][0]["id"], json!(id));
}

#[tokio::test]
async fn failure_confirm_and_approval_wait_for_a_person() {
    let server = Server::start().await;
    let client = &server.client;
    let ann = server.client_of(SubjectKind::Person, "ann", Some(Role::Approver)).await;
    let ben = server.client_of(SubjectKind::Person, "ben", Some(Role::Admin)).await;
    for target in ["a", "b", "c"] {
        server.wave.let_go(target);
    }

    // A failed target pauses the operation until it is retried.
    server.wave.fail("a", true);
    let id = id_of(&create(client, &body("east", &["a"]), "failing").await.expect(202));
    let paused = client.get(&format!("{OPERATIONS}/{id}?waitSeconds=60")).await.expect(200);
    assert_eq!((&paused["state"], &paused["pause"]["reason"]), (&json!("Paused"), &json!("Failure")), "{paused}");
    server.wave.fail("a", false);
    client.post(&format!("{OPERATIONS}/{id}/retry"), &json!({})).await.expect(200);
    reach(client, &id, "Succeeded").await;
    // It is taken back.
    client.post(&format!("{OPERATIONS}/{id}/revert"), &json!({})).await.expect(200);
    reach(client, &id, "Reverted").await;

    // A held operation starts by a verb, and its step waits for a confirmation.
    let held = json!({"kind": "wave", "hold": true, "spec": {"cluster": "west", "targets": ["b"], "confirm": true}});
    let id = id_of(&create(client, &held, "held").await.expect(202));
    reach(client, &id, "Pending").await;
    client.post(&format!("{OPERATIONS}/{id}/start"), &json!({})).await.expect(200);
    let paused = client.get(&format!("{OPERATIONS}/{id}?waitSeconds=60")).await.expect(200);
    assert_eq!(paused["pause"]["reason"], "Confirm", "{paused}");
    client.post(&format!("{OPERATIONS}/{id}/confirm"), &json!({})).await.expect(200);
    reach(client, &id, "Succeeded").await;

    // An approval needs a person with the role, who is not the one that created the operation.
    let guarded = json!({"kind": "wave", "spec": {"cluster": "south", "targets": ["c"], "approvals": true}});
    let id = id_of(&create(&ben, &guarded, "guarded").await.expect(202));
    let approve = format!("{OPERATIONS}/{id}/approve");
    for (case, client, status, words) in [
        ("an operator", client, 403, "right to approve"),
        ("the starter", &ben, 422, "another person"),
        ("an approver", &ann, 200, ""),
    ] {
        let answer = client.post(&approve, &json!({})).await;
        let answer = answer.expect(status);
        assert!(answer["detail"].as_str().unwrap_or_default().contains(words), "{case}: {answer}");
    }
    reach(client, &id, "Succeeded").await;
    // An approver has no other verbs.
    ann.post(&format!("{OPERATIONS}/{id}/revert"), &json!({})).await.expect(403);
}

#[tokio::test]
async fn operation_without_engine_shows_it() {
    let server = Server::start_with(LimitSettings::default(), false).await;
    let id = id_of(&create(&server.client, &body("east", &["a"]), "orphan").await.expect(202));
    let seen = reach(&server.client, &id, "AwaitingLocks").await;
    assert_eq!(seen["done"], json!(false));
    // Time passes for the operation.
    server.bed.postgres.query("update operation set changed_at = now() - interval '16 seconds'").unwrap();
    reach(&server.client, &id, "NoEngine").await;
    let listed = server.client.get(OPERATIONS).await.expect(200);
    assert_eq!(listed["items"][0]["state"], "NoEngine");
    // A process has its lease: it only does not change.
    let lease = format!("insert into lease values ('operation/{id}', 'x', 1, now() + interval '1 hour')");
    server.bed.postgres.query(&lease).unwrap();
    reach(&server.client, &id, "AwaitingLocks").await;
}

#[tokio::test]
async fn reads_are_limited_and_verbs_are_not() {
    let limits = LimitSettings { requests_per_second: 0.01, requests_burst: 3.0, ..LimitSettings::default() };
    let server = Server::start_with(limits, false).await;
    let id = id_of(&create(&server.client, &body("east", &["a"]), "limited").await.expect(202));
    for _ in 0..2 {
        server.client.get(OPERATIONS).await.expect(200);
    }
    let refused = server.client.get(OPERATIONS).await;
    assert_eq!(refused.expect(429)["code"], "rate-limited");
    assert_ne!(refused.header("retry-after"), "");
    for verb in ["pause", "resume", "pause", "resume", "cancel"] {
        server.client.post(&format!("{OPERATIONS}/{id}/{verb}"), &json!({})).await.expect(200);
    }
}

/// A client repeats a request whose answer it lost; other verbs may have come between.
#[tokio::test]
async fn repeated_verb_is_applied_once() {
    let server = Server::start_with(LimitSettings::default(), false).await;
    let id = id_of(&create(&server.client, &body("east", &["a", "b"]), "verbs").await.expect(202));
    let verb = async |verb: &str, key: &str, body: Value| {
        let path = format!("{OPERATIONS}/{id}/{verb}");
        server.client.send(Method::POST, &path, &[("idempotency-key", key)], &body.to_string()).await
    };
    verb("pause", "first", json!({})).await.expect(200);
    verb("resume", "second", json!({})).await.expect(200);
    let again = verb("pause", "first", json!({})).await.expect(200);
    assert_eq!(again["state"], "AwaitingLocks", "the first pause counts once");
    let other = verb("pause", "first", json!({"reason": "another request"})).await.expect(409);
    assert_eq!(other["code"], "idempotency-key-reused");
    let controls = format!("select count(*) from journal where operation = '{id}' and entry = 'Control'");
    assert_eq!(server.bed.postgres.query(&controls).unwrap(), "2");
}

#[tokio::test]
async fn slow_body_keeps_nobody_from_the_database() {
    let limits = LimitSettings { work_max: 1, requests_burst: 1_000.0, ..LimitSettings::default() };
    let server = Server::start_with(limits, false).await;
    // The server waits for a body that does not come.
    let address = server.client.base.trim_start_matches("http://").to_owned();
    let mut slow = TcpStream::connect(&address).await.unwrap();
    let token = server.client.token.as_deref().unwrap();
    let head = format!(
        "POST {OPERATIONS} HTTP/1.1\r\nHost: m\r\nAuthorization: Bearer {token}\r\nContent-Length: 100\r\nConnection: close\r\n\r\n{{"
    );
    slow.write_all(head.as_bytes()).await.unwrap();
    for _ in 0..5 {
        server.client.get(OPERATIONS).await.expect(200);
    }
    let mut late = String::new();
    slow.read_to_string(&mut late).await.unwrap();
    assert!(late.starts_with("HTTP/1.1 504"), "{late}");
}
