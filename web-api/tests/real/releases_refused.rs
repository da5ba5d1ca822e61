//! Releases that are refused: each names the field, the remedy, and changes nothing.

use access::{Role, SubjectKind};
use serde_json::{Value, json};

use crate::hub::{Hub, web};
use crate::server::Server;

const RELEASES: &str = "/api/v1/applications/default/web/releases";
const ROLLBACK: &str = "/api/v1/applications/default/web/rollback";

#[tokio::test]
async fn bad_releases_name_the_field_and_change_nothing() {
    let server = Server::start_on_hub().await;
    let hub = Hub::of(&server).await;
    hub.apply(&web("web:1")).await;
    let (app, first) = hub.take_in().await;
    hub.place(app, &first).await;
    let client = server.client_of(SubjectKind::Token, "ci", Some(Role::Deployer)).await;
    let viewer = server.client_of(SubjectKind::Token, "viewer", Some(Role::Viewer)).await;
    let images = |target: &str, image: &str| json!({ "images": { target: image } });
    let long = "i".repeat(1_025);
    let other = "/api/v1/applications/default/db/releases";
    for (case, path, body, status, code, pointer, words) in [
        ("unknown component", RELEASES, images("api", "x:1"), 422, "invalid", "/images/api", "there are web, side, db"),
        ("two containers", RELEASES, images("side", "x:1"), 422, "invalid", "/images/side", "one of a, b"),
        ("unknown container", RELEASES, images("side/c", "x:1"), 422, "invalid", "/images/side~1c", "it has a, b"),
        ("no pods", RELEASES, images("db", "x:1"), 422, "invalid", "/images/db", "is a Secret"),
        ("long image", RELEASES, images("web", &long), 422, "invalid", "/images/web", "1025 bytes"),
        ("empty image", RELEASES, images("web", ""), 422, "invalid", "/images/web", "is empty"),
        ("no image", RELEASES, json!({"images": {}}), 422, "invalid", "/images", "names no image"),
        (
            "both",
            RELEASES,
            json!({"images": {"web": "x:1"}, "patch": {"replicas": 1}}),
            422,
            "invalid",
            "/patch",
            "exclude",
        ),
        (
            "unknown field of the body",
            RELEASES,
            json!({"image": "x:1"}),
            422,
            "unknown-field",
            "/image",
            "unknown field",
        ),
        (
            "unknown field of the spec",
            RELEASES,
            json!({"patch": {"replica": 3}}),
            422,
            "unknown-field",
            "/patch/replica",
            "strict",
        ),
        (
            "wrong value of the spec",
            RELEASES,
            json!({"patch": {"replicas": -1}}),
            422,
            "invalid",
            "/patch/replicas",
            "refuses",
        ),
        (
            "a rule of intake",
            RELEASES,
            json!({"patch": {"replicas": null}}),
            422,
            "invalid",
            "/patch/replicas",
            "is Divided",
        ),
        ("patch that is no object", RELEASES, json!({"patch": 7}), 422, "invalid", "/patch", "no object"),
        ("long reason", RELEASES, json!({"reason": "r".repeat(4_097)}), 422, "invalid", "/reason", "4096"),
        ("unknown application", other, images("web", "x:1"), 404, "not-found", "", "no Application default/db"),
        ("odd name", "/api/v1/applications/default/..%2Fx/releases", json!({}), 404, "not-found", "", "no Application"),
        (
            "unknown parameter",
            "/api/v1/applications/default/web/releases?force=true",
            json!({}),
            400,
            "invalid-request",
            "",
            "force",
        ),
        ("no hash", ROLLBACK, json!({"to": "v1"}), 422, "invalid", "/to", "hexadecimal"),
        ("unknown revision", ROLLBACK, json!({"to": "0123456789"}), 422, "invalid", "/to", "there is no revision"),
        ("nothing to go back to", ROLLBACK, json!({}), 409, "conflict", "", "nothing to go back to"),
        (
            "unknown field of a rollback",
            ROLLBACK,
            json!({"force": true}),
            422,
            "unknown-field",
            "/force",
            "unknown field",
        ),
    ] {
        let problem = client.post(path, &body).await.expect(status);
        assert_eq!(problem["code"], code, "{case}: {problem}");
        assert_eq!(problem["errors"][0]["pointer"].as_str().unwrap_or_default(), pointer, "{case}: {problem}");
        assert!(problem["detail"].as_str().unwrap().contains(words), "{case}: {problem}");
        assert!(!problem.to_string().contains("hunter2"), "{case}: {problem}");
    }
    let seen = hub.apps.get("web").await.unwrap();
    assert_eq!((hub.image().await.as_str(), seen.metadata.generation), ("web:1", Some(1)));

    // A viewer reads releases and starts none; neither does a deployer of another namespace.
    for path in [RELEASES, ROLLBACK] {
        let refused = viewer.post(path, &json!({})).await.expect(403);
        assert_eq!(refused["code"], "forbidden", "{refused}");
    }
    assert_eq!(viewer.get(RELEASES).await.expect(200)["items"], json!([]));
    viewer.get("/api/v1/applications/default/db/releases").await.expect(404);
    let wrong = client.get("/api/v1/operations?application=web").await.expect(400);
    assert!(wrong["detail"].as_str().unwrap().contains("namespace/name"), "{wrong}");
}

#[tokio::test]
async fn server_without_a_hub_names_the_remedy() {
    let server = Server::start().await;
    let client = server.client_of(SubjectKind::Token, "ci", Some(Role::Deployer)).await;
    let problem = client.post(RELEASES, &json!({"images": {"web": "web:2"}})).await.expect(503);
    assert_eq!((&problem["code"], &problem["retryable"]), (&json!("no-hub"), &Value::Bool(false)), "{problem}");
    assert!(problem["remedy"].as_str().unwrap().contains("--hub-kubeconfig"), "{problem}");
}
