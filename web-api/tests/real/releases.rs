//! Releases and rollbacks on a real hub; the test plays intake and scheduler.

use access::{Role, SubjectKind};
use axum::http::Method;
use serde_json::{Value, json};

use crate::client::{Answer, Client};
use crate::hub::{Hub, web};
use crate::server::Server;

const RELEASES: &str = "/api/v1/applications/default/web/releases";
const ROLLBACK: &str = "/api/v1/applications/default/web/rollback";
const REVISIONS: &str = "/api/v1/applications/default/web/revisions";

async fn deployer(server: &Server) -> Client {
    server.client_of(SubjectKind::Token, "ci", Some(Role::Deployer)).await
}

async fn post(client: &Client, path: &str, key: &str, body: &Value) -> Answer {
    client.send(Method::POST, path, &[("idempotency-key", key)], &body.to_string()).await
}

#[tokio::test]
async fn image_is_released_once_and_again_after_a_rollback() {
    let server = Server::start_on_hub().await;
    let (client, hub) = (deployer(&server).await, Hub::of(&server).await);
    hub.apply(&web("web:1")).await;
    let (app, first) = hub.take_in().await;
    hub.place(app, &first).await;

    // The image that runs already is no release.
    let same = json!({"images": {"web": "web:1"}});
    let running = client.post(RELEASES, &same).await.expect(200);
    assert_eq!((&running["operation"], &running["revision"]), (&Value::Null, &json!(first.to_string())), "{running}");
    assert!(running["message"].as_str().unwrap().contains("runs in every cell"), "{running}");

    // A dry run checks everything and changes nothing.
    let new = json!({"images": {"web": "web:2"}, "reason": "fix"});
    let dry = client.post(&format!("{RELEASES}?dryRun=true"), &new).await.expect(200);
    assert!(dry["message"].as_str().unwrap().contains("nothing was changed"), "{dry}");
    assert_eq!(hub.image().await, "web:1");

    // The request edits the Application, and waits for the operation that follows.
    let waiting = {
        let (client, new) = (client.clone(), new.clone());
        tokio::spawn(async move { post(&client, RELEASES, "run-1", &new).await })
    };
    while hub.image().await != "web:2" {}
    let operation = hub.start_release().await;
    let answer = waiting.await.unwrap();
    let started = answer.expect(202);
    assert_eq!(started["operation"], json!(operation), "{started}");
    assert_eq!(started["revision"], dry["revision"]);
    assert_eq!(answer.header("location"), format!("/api/v1/operations/{operation}"));

    // The same request again gives the same operation; another body with its key is refused.
    let again = post(&client, RELEASES, "run-1", &new).await;
    assert_eq!((&again.expect(202)["operation"], again.header("idempotency-replayed")), (&json!(operation), "true"));
    let reused = post(&client, RELEASES, "run-1", &same).await.expect(409);
    assert_eq!(reused["code"], "idempotency-key-reused");
    // Without the key it finds the release under way.
    assert_eq!(client.post(RELEASES, &new).await.expect(202)["operation"], json!(operation));

    // After a rollback, the same image is refused, and a request without one releases again.
    hub.end(operation, "Reverted");
    let over = client.post(RELEASES, &new).await.expect(409);
    assert!(over["detail"].as_str().unwrap().contains("meridian release retry web -n default"), "{over}");
    let retried = post(&client, RELEASES, "run-2", &json!({"reason": "fixed the node"})).await.expect(202);
    assert_ne!(retried["operation"], json!(operation));
    let replay = post(&client, RELEASES, "run-2", &json!({"reason": "fixed the node"})).await.expect(202);
    assert_eq!(replay["operation"], retried["operation"]);

    // Both are listed, the newest first, for who may read the namespace.
    let listed = client.get(RELEASES).await.expect(200);
    let ids: Vec<&Value> = listed["items"].as_array().unwrap().iter().map(|item| &item["id"]).collect();
    assert_eq!(ids, [&retried["operation"], &json!(operation)]);
    let found = client.get("/api/v1/operations?application=default/web&kind=release").await.expect(200);
    assert_eq!(found["items"].as_array().unwrap().len(), 2);
    let page = client.get(&format!("{RELEASES}?pageSize=1")).await.expect(200);
    let next = page["nextPageToken"].as_str().unwrap();
    let rest = client.get(&format!("{RELEASES}?pageSize=1&pageToken={next}")).await.expect(200);
    assert_eq!(rest["items"][0]["id"], json!(operation));

    // The audit names who released, why, and which operation followed.
    let rows = server.store.audit_page(&store::AuditFilter::default(), 100).await.unwrap();
    let row = rows.iter().find(|row| row.entry.operation == Some(operation)).unwrap();
    assert_eq!((row.entry.actor.as_str(), row.entry.path.as_str()), ("token/ci", RELEASES));
}

#[tokio::test]
async fn rollback_restores_a_ready_revision_with_its_secrets() {
    let server = Server::start_on_hub().await;
    let (client, hub) = (deployer(&server).await, Hub::of(&server).await);
    hub.apply(&web("web:1")).await;
    let (app, first) = hub.take_in().await;
    hub.place(app, &first).await;

    // A patch of anything releases a new revision; the API edits it under its own field manager.
    let patch = json!({"patch": {"components": web("web:2")["spec"]["components"]}});
    let waiting = {
        let (client, patch) = (client.clone(), patch.clone());
        tokio::spawn(async move { client.post(RELEASES, &patch).await })
    };
    while hub.image().await != "web:2" {}
    let failed = hub.start_release().await;
    waiting.await.unwrap().expect(202);
    hub.end(failed, "Reverted");

    // Revisions are listed and shown without the contents of Secrets.
    let listed = client.get(REVISIONS).await.expect(200);
    let shown: Vec<(bool, bool)> = listed["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| (item["wasReady"] == true, item["current"] == true))
        .collect();
    assert_eq!(shown, [(false, true), (true, false)], "{listed}");
    let content = client.get(&format!("{REVISIONS}/{}", first.short())).await;
    assert_eq!(content.expect(200)["components"][2]["template"]["stringData"]["password"], "***");
    assert!(!content.text.contains("hunter2"), "{}", content.text);
    client.get(&format!("{REVISIONS}/00000000")).await.expect(404);

    // A revision that was never ready is no target.
    let second = listed["items"][0]["revision"].as_str().unwrap();
    let refused = client.post(ROLLBACK, &json!({"to": second})).await.expect(422);
    assert!(refused["detail"].as_str().unwrap().contains(&first.to_string()), "{refused}");

    // Its own field manager is no conflict: the rollback restores the content, and waits for its release.
    let waiting = {
        let client = client.clone();
        tokio::spawn(async move { client.post(ROLLBACK, &json!({})).await })
    };
    while hub.image().await != "web:1" {}
    let back = hub.start_release().await;
    let answer = waiting.await.unwrap().expect(202);
    assert_eq!((&answer["operation"], &answer["revision"]), (&json!(back), &json!(first.to_string())), "{answer}");
    let app = hub.apps.get("web").await.unwrap();
    assert_eq!(app.spec.components[2].template["stringData"]["password"], "hunter2");
    assert_eq!(app.spec.replicas, Some(4));

    // Another field manager is asked about first.
    hub.end(back, "Succeeded");
    hub.apply(&web("web:3")).await;
    hub.take_in().await;
    let owned = client.post(ROLLBACK, &json!({})).await.expect(409);
    assert_eq!(owned["code"], "fields-owned", "{owned}");
    assert!(owned["detail"].as_str().unwrap().contains("field manager person"), "{owned}");
    assert_eq!(hub.image().await, "web:3");
    let forced = client.post(&format!("{ROLLBACK}?dryRun=true"), &json!({"forceConflicts": true})).await.expect(200);
    assert_eq!(forced["revision"], json!(first.to_string()), "{forced}");
    assert_eq!(hub.image().await, "web:3", "a dry run changes nothing");
}

#[tokio::test]
async fn application_without_batches_is_edited_and_has_no_operation() {
    let server = Server::start_on_hub().await;
    let (client, hub) = (deployer(&server).await, Hub::of(&server).await);
    let mut object = web("web:1");
    object["spec"].as_object_mut().unwrap().shift_remove("release");
    hub.apply(&object).await;
    let answer = client.post(RELEASES, &json!({"images": {"web": "web:2"}})).await.expect(202);
    assert_eq!(answer["operation"], Value::Null, "{answer}");
    assert!(answer["message"].as_str().unwrap().contains("cell by cell"), "{answer}");
    assert_eq!(hub.image().await, "web:2");
}

#[tokio::test]
async fn release_that_no_operation_follows_is_answered_in_time() {
    let server = Server::start_on_hub().await;
    let (client, hub) = (deployer(&server).await, Hub::of(&server).await);
    hub.apply(&web("web:1")).await;
    let answer = client.post(RELEASES, &json!({"images": {"web": "web:2"}})).await.expect(202);
    assert_eq!(answer["operation"], Value::Null, "{answer}");
    assert!(answer["message"].as_str().unwrap().contains("operations?application=default/web"), "{answer}");
}
