//! Events of an operation as a stream, the journal's verification, and lists.

use std::time::Duration;

use access::{Role, SubjectKind};
use serde_json::{Value, json};
use testbed::eventually;

use crate::server::Server;

const OPERATIONS: &str = "/api/v1/operations";
const SOON: Duration = Duration::from_mins(1);

/// Ids of the events of a stream.
fn ids(text: &str) -> Vec<i64> {
    text.lines().filter_map(|line| line.strip_prefix("id: ")?.parse().ok()).collect()
}

#[tokio::test]
async fn stream_continues_after_the_last_event_and_ends() {
    let server = Server::start().await;
    let client = &server.client;
    let body = json!({"kind": "wave", "spec": {"cluster": "east", "targets": ["a"]}});
    let id = client.post(OPERATIONS, &body).await.expect(202)["id"].as_str().unwrap().to_owned();
    let events = format!("{OPERATIONS}/{id}/events");

    // The stream shows the creation and the first intent.
    let (first, ended) = client.stream(&events, &[], |text| text.contains("\"Intent\"")).await;
    assert_eq!((first.status.as_u16(), first.header("content-type")), (200, "text/event-stream"));
    assert_eq!((first.header("x-accel-buffering"), first.header("cache-control")), ("no", "no-store"));
    assert!(!ended && first.text.starts_with("retry: 3000"), "{}", first.text);
    let seen = ids(&first.text);
    assert_eq!(seen, (1..=seen.len() as i64).collect::<Vec<_>>(), "{}", first.text);

    // A client that lost its connection continues after the last event it got, and gets each once.
    let following = {
        let (client, events, last) = (client.clone(), events.clone(), seen.last().unwrap().to_string());
        tokio::spawn(async move { client.stream(&events, &[("last-event-id", &last)], |_| false).await })
    };
    server.wave.let_go("a");
    let (rest, ended) = tokio::time::timeout(SOON, following).await.unwrap().unwrap();
    assert!(ended && rest.text.contains("event: end"), "{}", rest.text);
    let all: Vec<i64> = seen.iter().copied().chain(ids(&rest.text)).collect();
    assert_eq!(all, (1..=all.len() as i64).collect::<Vec<_>>(), "{}", rest.text);
    assert!(rest.text.contains("\"to\":\"Succeeded\""), "{}", rest.text);

    // After the end there is nothing to stream; the same entries are pages of JSON.
    let last = all.last().unwrap();
    let (nothing, _) = client.stream(&events, &[("last-event-id", &last.to_string())], |_| false).await;
    assert_eq!(nothing.status, 204);
    let (beyond, _) = client.stream(&format!("{events}?after=999"), &[], |_| false).await;
    assert!(beyond.text.contains("event: resync"), "{}", beyond.text);
    let page = client.get(&format!("{events}?pageSize=2")).await.expect(200);
    assert_eq!((&page["items"][0]["entry"], &page["items"][1]["seq"]), (&json!("Created"), &json!(2)));
    let token = page["nextPageToken"].as_str().unwrap();
    let next = client.get(&format!("{events}?pageSize=500&pageToken={token}")).await.expect(200);
    assert_eq!(next["items"][0]["seq"], 3);
    assert_eq!(next["nextPageToken"], Value::Null);

    // The chain of the journal is whole, until an entry is removed.
    let whole = client.get(&format!("{OPERATIONS}/{id}/verification")).await.expect(200);
    assert_eq!(whole, json!({"entries": last, "whole": true}));
    server.bed.postgres.query(&format!("delete from journal where seq = 2 and operation = '{id}'")).unwrap();
    let broken = client.get(&format!("{OPERATIONS}/{id}/verification")).await.expect(200);
    assert_eq!((&broken["whole"], &broken["entries"]), (&json!(false), &json!(1)), "{broken}");
}

#[tokio::test]
async fn lists_show_locks_fleet_audit_and_the_subject() {
    let server = Server::start().await;
    let client = &server.client;
    let sql = |statement: &str| server.bed.postgres.query(statement).unwrap();
    let created = json!({"kind": "wave", "spec": {"cluster": "east", "targets": ["a"]}, "reason": "to see locks"});
    let id = client.post(OPERATIONS, &created).await.expect(202)["id"].clone();
    let locks = client.get("/api/v1/locks").await.expect(200);
    assert_eq!((&locks["items"][0]["key"], &locks["items"][0]["operation"]), (&json!("cluster/east"), &id));

    // Clusters and cells show no connection.
    sql("insert into cluster (name, object_uid, member_uid, generation, labels, spec) values ('east', 'u', 'm', 1, \
         '{\"tier\": \"gold\"}', '{\"region\": \"north\", \"zones\": [\"n1\"], \"cordoned\": true, \"connection\": \
         {\"proxyUrl\": \"http://user:password@proxy\"}}')");
    sql("insert into cell (name) values ('east'), ('left')");
    let clusters = client.get("/api/v1/clusters").await;
    assert!(!clusters.text.contains("password"), "{}", clusters.text);
    let clusters = clusters.expect(200);
    assert_eq!(clusters["items"][0]["cordoned"], json!(true));
    assert_eq!(
        (&clusters["items"][0]["health"], &clusters["items"][0]["labels"]["tier"]),
        (&json!("Unknown"), &json!("gold"))
    );
    let cells = client.get("/api/v1/cells").await.expect(200);
    assert_eq!(cells["items"].as_array().unwrap().len(), 1, "{cells}");
    assert_eq!((&cells["items"][0]["cluster"], &cells["items"][0]["declared"]), (&json!("east"), &json!(false)));

    // Applications are paged, and read by namespace with a role there.
    for name in ["api", "web"] {
        sql(&format!(
            "insert into application (namespace, name, hub_uid, object_uid, generation, spec_hash, intent, revision) \
             values ('shop', '{name}', 'h', '{name}', 2, decode(repeat('01', 16), 'hex'), '{{\"replicas\": 3}}', \
             decode(repeat('02', 16), 'hex'))"
        ));
    }
    let page = client.get("/api/v1/applications?pageSize=1").await.expect(200);
    assert_eq!((&page["items"][0]["name"], &page["items"][0]["replicas"]), (&json!("api"), &json!(3)));
    let token = page["nextPageToken"].as_str().unwrap();
    let page =
        client.get(&format!("/api/v1/applications?pageSize=1&namespace=shop&pageToken={token}")).await.expect(200);
    assert_eq!(page["items"][0]["name"], "web");
    let web = client.get("/api/v1/applications/shop/web").await.expect(200);
    assert_eq!(web["status"]["objects"], 0);
    assert_eq!(client.get("/api/v1/applications/shop/web/placement").await.expect(200)["items"], json!([]));
    client.get("/api/v1/applications/shop/nothing").await.expect(404);
    sql(
        "insert into role_binding (id, subject_kind, subject, role, namespace, created_by) values (gen_random_uuid(), \
         'person', 'eve', 'viewer', 'shop', 'test')",
    );
    let eve = server.client_of(SubjectKind::Person, "eve", None).await;
    eventually("the role in the namespace counts", SOON, async || {
        Ok((eve.get("/api/v1/applications?namespace=shop").await.status == 200).then_some(()))
    })
    .await
    .unwrap();
    eve.get("/api/v1/applications").await.expect(403);
    eve.get("/api/v1/clusters").await.expect(403);

    // The audit has the creation, and who asked; a viewer does not read it.
    let audit = client.get(&format!("/api/v1/audit?operation={}", id.as_str().unwrap())).await.expect(200);
    let row = &audit["items"][0];
    assert_eq!(
        (&row["actor"], &row["status"], &row["reason"]),
        (&json!("token/ops"), &json!(202), &json!("to see locks"))
    );
    let viewer = server.client_of(SubjectKind::Token, "viewer", Some(Role::Viewer)).await;
    viewer.get("/api/v1/audit").await.expect(403);
    let me = eve.get("/api/v1/whoami").await.expect(200);
    assert_eq!(
        (&me["subject"], &me["roles"]),
        (&json!("person/eve"), &json!([{"role": "viewer", "namespace": "shop"}]))
    );
    assert_eq!(me["rights"], json!([]));
    let ops = client.get("/api/v1/whoami").await.expect(200);
    assert!(ops["rights"].as_array().unwrap().contains(&json!("cancel")), "{ops}");
}
