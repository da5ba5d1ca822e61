//! Bad input: each gives the documented status, code and field.

use access::{Role, SubjectKind};
use axum::http::Method;
use serde_json::Value;

use crate::server::{Server, create_token};

const UNKNOWN: &str = "/api/v1/operations/0190a0b0-0000-7000-8000-000000000000";
const GOOD: &str = r#"{"kind":"wave","spec":{"cluster":"c1","targets":["a"]}}"#;

/// Method, path, body, header; then status, code, pointer and words of the detail.
type Case =
    (&'static str, &'static str, String, (&'static str, &'static str), u16, &'static str, &'static str, &'static str);

fn case(
    request: (&'static str, &'static str),
    body: impl Into<String>,
    status: u16,
    code: &'static str,
    pointer: &'static str,
    words: &'static str,
) -> Case {
    (request.0, request.1, body.into(), ("accept", "*/*"), status, code, pointer, words)
}

fn with_header(mut case: Case, name: &'static str, value: &'static str) -> Case {
    case.3 = (name, value);
    case
}

fn cases() -> Vec<Case> {
    const CREATE: (&str, &str) = ("POST", "/api/v1/operations");
    const VERB: (&str, &str) = ("POST", "/api/v1/operations/0190a0b0-0000-7000-8000-000000000000/pause");
    let long_key = "k".repeat(256);
    vec![
        case(CREATE, "", 400, "malformed-json", "", "EOF"),
        case(CREATE, "{", 400, "malformed-json", "", "EOF"),
        case(CREATE, "[]", 400, "malformed-json", "", "no object"),
        case(CREATE, "\"x\"", 400, "malformed-json", "", "no object"),
        case(CREATE, "{\"kind\":\"wave\",}", 400, "malformed-json", "", "trailing comma"),
        case(CREATE, "kind=wave", 400, "malformed-json", "", "expected"),
        case(CREATE, format!("{}1{}", "[".repeat(200), "]".repeat(200)), 400, "malformed-json", "", "recursion"),
        case(CREATE, format!("{GOOD}{GOOD}"), 400, "malformed-json", "", "trailing"),
        case(CREATE, "{}", 422, "invalid", "/kind", "missing field"),
        case(CREATE, r#"{"kind":"wave"}"#, 422, "invalid", "/spec", "missing field"),
        case(CREATE, r#"{"kind":7,"spec":{}}"#, 422, "invalid", "/kind", "string"),
        case(CREATE, r#"{"kind":"wave","spec":{},"hold":"yes"}"#, 422, "invalid", "/hold", "boolean"),
        case(CREATE, r#"{"kind":"wave","spec":{},"reason":null}"#, 422, "invalid", "/reason", "string"),
        case(CREATE, r#"{"kind":"wave","spec":{},"Reason":"x"}"#, 422, "unknown-field", "/Reason", "unknown field"),
        case(CREATE, r#"{"kind":"wave","spec":{},"a~b/c":1}"#, 422, "unknown-field", "/a~0b~1c", "unknown field"),
        case(CREATE, r#"{"kind":"storm","spec":{}}"#, 422, "unknown-kind", "/kind", "there are release, wave"),
        case(CREATE, r#"{"kind":"","spec":{}}"#, 422, "unknown-kind", "/kind", "there are release, wave"),
        case(CREATE, r#"{"kind":"wave","spec":{}}"#, 422, "invalid", "/spec/cluster", "name a cluster"),
        case(CREATE, r#"{"kind":"wave","spec":null}"#, 422, "invalid", "/spec/cluster", "name a cluster"),
        case(CREATE, r#"{"kind":"wave","spec":{"cluster":"c1"}}"#, 422, "invalid", "/spec/targets", "name targets"),
        case(CREATE, r#"{"kind":"wave","spec":{"cluster":"gone"}}"#, 404, "not-found", "", "no cluster gone"),
        case(CREATE, r#"{"kind":"wave","spec":{"cluster":"busy"}}"#, 409, "conflict", "", "being deleted"),
        case(
            CREATE,
            format!(r#"{{"kind":"wave","spec":{{}},"reason":"{}"}}"#, "r".repeat(4_097)),
            422,
            "invalid",
            "/reason",
            "4096",
        ),
        case(CREATE, r#"{"kind":"wave","spec":{},"reason":"a\u0000b"}"#, 422, "invalid", "/reason", "NUL"),
        case(CREATE, r#"{"kind":"wave","spec":{"cluster":"c1","targets":["a\u0000"]}}"#, 422, "invalid", "", "NUL"),
        case(CREATE, " ".repeat(1_048_577), 413, "too-large", "", "1048576"),
        case(("POST", "/api/v1/operations?dryRun=maybe"), GOOD, 400, "invalid-request", "", "dryRun"),
        case(("POST", "/api/v1/operations?force=true"), GOOD, 400, "invalid-request", "", "no parameter force"),
        case(("POST", "/api/v1/operations?dryRun=true&dryRun=false"), GOOD, 400, "invalid-request", "", "twice"),
        with_header(case(CREATE, GOOD, 400, "invalid-request", "", "256 letters"), "idempotency-key", long_key.leak()),
        with_header(case(CREATE, GOOD, 400, "invalid-request", "", "0 letters"), "idempotency-key", " "),
        with_header(case(CREATE, GOOD, 400, "invalid-request", "", "visible ASCII"), "idempotency-key", "schlüssel"),
        case(
            ("PUT", "/api/v1/operations"),
            GOOD,
            405,
            "method-not-allowed",
            "",
            "/api/v1/operations has no method PUT",
        ),
        case(("DELETE", UNKNOWN), "", 405, "method-not-allowed", "", "no method DELETE"),
        case(("GET", "/api/v1/nothing"), "", 404, "not-found", "", "no path /api/v1/nothing"),
        case(("GET", "/"), "", 404, "not-found", "", "no path /"),
        case(("GET", UNKNOWN), "", 404, "not-found", "", "does not exist"),
        case(("GET", "/api/v1/operations/east"), "", 404, "not-found", "", "UUID"),
        case(("GET", "/api/v1/operations/%FF"), "", 404, "not-found", "", ""),
        case(("GET", "/api/v1/operations?state=Sleeping"), "", 400, "invalid-request", "", "no state Sleeping"),
        case(("GET", "/api/v1/operations?pageSize=0"), "", 400, "invalid-request", "", "pageSize"),
        case(("GET", "/api/v1/operations?pageSize=many"), "", 400, "invalid-request", "", "pageSize"),
        case(("GET", "/api/v1/operations?pageToken=x"), "", 400, "invalid-request", "", "pageToken"),
        case(
            ("GET", "/api/v1/operations/0190a0b0-0000-7000-8000-000000000000?waitSeconds=61"),
            "",
            400,
            "invalid-request",
            "",
            "60",
        ),
        case(
            ("GET", "/api/v1/operations/0190a0b0-0000-7000-8000-000000000000?waitSeconds=-1"),
            "",
            400,
            "invalid-request",
            "",
            "seconds",
        ),
        case(VERB, "{}", 404, "not-found", "", "does not exist"),
        case(("POST", "/api/v1/operations/east/pause"), "{}", 404, "not-found", "", "UUID"),
        case(
            ("POST", "/api/v1/operations/0190a0b0-0000-7000-8000-000000000000/destroy"),
            "{}",
            404,
            "not-found",
            "",
            "no verb destroy",
        ),
        case(VERB, "{", 400, "malformed-json", "", "EOF"),
        case(VERB, r#"{"why":"x"}"#, 422, "unknown-field", "/why", "unknown field"),
        case(VERB, r#"{"reason":"a\u0000"}"#, 422, "invalid", "/reason", "NUL"),
    ]
}

#[tokio::test]
async fn bad_input_names_code_field_and_remedy() {
    let server = Server::start().await;
    let cases = cases();
    assert!(cases.len() >= 40, "{}", cases.len());
    for (method, path, body, header, status, code, pointer, words) in cases {
        let shown = &body[..body.len().min(60)];
        let method: Method = method.parse().unwrap();
        let answer = server.client.send(method.clone(), path, &[header], &body).await;
        assert_eq!(answer.status.as_u16(), status, "{method} {path} {shown}: {}", answer.text);
        assert_eq!(answer.header("content-type"), "application/problem+json", "{method} {path}");
        let problem = answer.json();
        assert_eq!(problem["code"], code, "{method} {path} {shown}: {problem}");
        assert_eq!(
            problem["errors"][0]["pointer"].as_str().unwrap_or_default(),
            pointer,
            "{method} {path} {shown}: {problem}"
        );
        assert!(problem["detail"].as_str().unwrap().contains(words), "{method} {path} {shown}: {problem}");
        assert!(!problem["remedy"].as_str().unwrap().is_empty(), "{problem}");
        assert_eq!(problem["requestId"], answer.header("x-request-id"), "{problem}");
        // The type of the problem is a page of the server.
        let page = server.anonymous.get(problem["type"].as_str().unwrap()).await;
        assert_eq!(page.status, 200, "{problem}");
        assert!(page.text.starts_with(code), "{}", page.text);
    }
    let created = server.bed.postgres.query("select count(*) from operation").unwrap();
    assert_eq!(created, "0", "bad input creates nothing");
}

#[tokio::test]
async fn request_needs_a_valid_token_and_a_right() {
    let server = Server::start().await;
    let path = "/api/v1/operations";
    let expired = create_token(&server.store, SubjectKind::Token, "old", Some(Role::Admin), -1).await;
    let revoked = create_token(&server.store, SubjectKind::Token, "left", Some(Role::Admin), 1).await;
    let id = server.store.api_token_list().await.unwrap().into_iter().find(|row| row.name == "left").unwrap().id;
    assert!(server.store.api_token_revoke(id, "test").await.unwrap());
    let none = create_token(&server.store, SubjectKind::Token, "none", None, 1).await;
    let viewer = create_token(&server.store, SubjectKind::Token, "viewer", Some(Role::Viewer), 1).await;
    let forged = format!("{}{}", &viewer[..viewer.len() - 8], "00000000");
    for (case, token, method, status, code, words) in [
        ("no token", None, "POST", 401, "unauthenticated", "Authorization"),
        ("no form of a token", Some("hello"), "POST", 401, "unauthenticated", "not valid"),
        ("a forged secret", Some(forged.as_str()), "POST", 401, "unauthenticated", "not valid"),
        ("an expired token", Some(expired.as_str()), "POST", 401, "token-expired", "expired at"),
        ("a revoked token", Some(revoked.as_str()), "POST", 401, "unauthenticated", "revoked"),
        ("a token of the hub", Some("e30.e30.c2ln"), "POST", 401, "unauthenticated", "no hub"),
        ("no role", Some(none.as_str()), "GET", 403, "forbidden", "no role"),
        ("a viewer's change", Some(viewer.as_str()), "POST", 403, "forbidden", "it has viewer"),
    ] {
        let client = token.map_or_else(|| server.anonymous.clone(), |token| server.anonymous.with_token(token));
        let body = if method == "POST" { GOOD } else { "" };
        let answer = client.send(method.parse().unwrap(), path, &[], body).await;
        assert_eq!(
            (answer.status.as_u16(), &answer.json()["code"]),
            (status, &Value::from(code)),
            "{case}: {}",
            answer.text
        );
        assert!(answer.text.contains(words), "{case}: {}", answer.text);
        assert!(!answer.text.contains("mrd_"), "{case}: the answer repeats no token");
    }
    assert_eq!(server.anonymous.with_token(&viewer).get(path).await.status, 200);

    // Every refused change is a row of the audit, in a whole chain; refused reads are not.
    let rows = server.store.audit_page(&store::AuditFilter::default(), 100).await.unwrap();
    assert_eq!(rows.len(), 7, "{rows:#?}");
    let (mut hash, mut seq) = (Vec::new(), 0);
    for row in rows.iter().rev() {
        assert_eq!((row.seq, &row.expected_hash(&hash)), (seq + 1, &row.hash));
        (hash, seq) = (row.hash.clone(), row.seq);
    }
    assert_eq!((rows[0].entry.actor.as_str(), rows[0].entry.status), ("token/viewer", 403));
    assert!(server.bed.postgres.query("delete from audit").is_err());
}
