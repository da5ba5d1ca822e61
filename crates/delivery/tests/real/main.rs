//! Delivery to one real control plane, with rows written as the scheduler writes them.

#![allow(clippy::unwrap_used, reason = "a test")]

mod installed;

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use installed::{Installed, shared};
use serde_json::{Value, json};
use vocabulary::labels;

/// Runs one scenario at a time, because some disturb the shared installation.
static TURN: Mutex<()> = Mutex::new(());

/// Runs a scenario on the shared installation, which outlives the runtime of a single test.
fn on_member(scenario: impl AsyncFnOnce(&Installed)) {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let (runtime, installed) = shared();
    runtime.block_on(scenario(installed));
}

fn config(data: &Value) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "web"}, "data": data})
}

fn service(port: u16) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"},
        "spec": {"selector": {"app": "web"}, "ports": [{"name": "http", "port": port}]},
    })
}

#[test]
fn a_namespace_deleted_in_a_member_is_made_again() {
    on_member(async |it| {
        let app = it.application("gone", "web", &config(&json!({"a": "1"})), json!({})).await;
        it.place(&app, 1);
        let path = "/api/v1/namespaces/gone/configmaps/web";
        it.eventually(path, |found| found["data"]["a"] == "1").await;
        // A finalizer keeps the namespace terminating until it is removed. No object can be created there meanwhile.
        it.admin("PATCH", path, &json!({"metadata": {"finalizers": ["example.org/hold"]}})).await;
        it.admin("DELETE", "/api/v1/namespaces/gone", &json!({})).await;
        let late = it.application("gone", "late", &config(&json!({"b": "1"})), json!({})).await;
        it.place_as(&late, 1, "late");
        it.eventually_said(&late, |state, message| state == "Failed" && message.contains("being deleted")).await;
        it.admin("PATCH", path, &json!({"metadata": {"finalizers": null}})).await;
        it.eventually(path, |found| found["metadata"]["deletionTimestamp"].is_null() && found["data"]["a"] == "1")
            .await;
        it.eventually("/api/v1/namespaces/gone/configmaps/late", |found| found["data"]["b"] == "1").await;
        it.eventually_said(&app, |state, message| state == "Applied" && message.is_empty()).await;
    });
}

#[test]
fn a_refused_adoption_heals_by_each_remedy_it_names() {
    on_member(async |it| {
        for (case, namespace, remedy) in [("removed", "remedy-a", "DELETE"), ("adopt changed", "remedy-b", "adopt")] {
            it.namespace(namespace).await;
            let path = format!("/api/v1/namespaces/{namespace}/configmaps/web");
            let collection = format!("/api/v1/namespaces/{namespace}/configmaps");
            it.admin("POST", &collection, &config(&json!({"a": "theirs"}))).await;
            let app = it.application(namespace, "web", &config(&json!({"a": "ours"})), json!({})).await;
            it.place(&app, 1);
            it.eventually_said(&app, |state, message| state == "Refused" && message.contains("is already there")).await;
            if remedy == "DELETE" {
                it.admin("DELETE", &path, &json!({})).await;
            } else {
                // As if the hint of the edit were lost: only the database contains the change.
                it.set_intent(&app, "adopt", "Always");
            }
            it.eventually(&path, |found| found["data"]["a"] == "ours").await;
            it.eventually_said(&app, |state, _| state == "Applied").await;
            println!("{case}: healed");
        }
    });
}

#[test]
fn a_row_made_anew_is_raised_above_the_fence_in_the_member() {
    on_member(async |it| {
        let app = it.application("fence", "web", &config(&json!({"a": "1"})), json!({})).await;
        it.place(&app, 7);
        let path = "/api/v1/namespaces/fence/configmaps/web";
        it.eventually(path, |found| found["data"]["a"] == "1").await;
        // As after `cluster remove --gone`: the row is deleted and the object stays. Then the member joins again.
        it.forget(&app);
        let app = it.revise(&app, &config(&json!({"a": "2"}))).await;
        it.place(&app, 1);
        it.eventually_row(&app, "s.found_epoch = 7").await;
        // The scheduler's next change of the row starts above the fence.
        it.change_as_scheduler(&app).await;
        it.eventually_row(&app, "p.plan_epoch = 8 and s.found_epoch = 0 and s.applied_epoch = 8").await;
        it.eventually(path, |found| found["data"]["a"] == "2").await;
    });
}

#[test]
fn object_that_lost_its_label_is_neither_forgotten_nor_refused() {
    on_member(async |it| {
        for (namespace, leaves) in [("label-a", false), ("label-b", true)] {
            let app = it.application(namespace, "web", &config(&json!({"a": "1"})), json!({})).await;
            it.place(&app, 1);
            let path = format!("/api/v1/namespaces/{namespace}/configmaps/web");
            it.eventually(&path, |found| found["data"]["a"] == "1").await;
            it.eventually_row(&app, "s.object_uid is not null").await;
            it.admin("PATCH", &path, &json!({"metadata": {"labels": {labels::MANAGED: null}}})).await;
            if leaves {
                it.wish_deleted(&app);
                it.eventually_absent(&path).await;
                it.eventually_said(&app, |state, _| state == "Gone").await;
            } else {
                it.eventually(&path, |found| found["metadata"]["labels"][labels::MANAGED] == "true").await;
                it.eventually_said(&app, |state, _| state == "Applied").await;
            }
        }
    });
}

#[test]
fn an_object_let_go_is_taken_back_by_the_same_application() {
    on_member(async |it| {
        let app = it.application("back", "web", &config(&json!({"a": "1"})), json!({})).await;
        it.place(&app, 3);
        let path = "/api/v1/namespaces/back/configmaps/web";
        it.eventually(path, |found| found["data"]["a"] == "1").await;
        it.desired_state(&app, "Orphan");
        it.eventually_said(&app, |state, _| state == "Released").await;
        it.forget(&app);
        let again = it.revise(&app, &config(&json!({"a": "2"}))).await;
        it.place(&again, 1);
        it.eventually(path, |found| {
            found["data"]["a"] == "2" && found["metadata"]["labels"][labels::MANAGED] == "true"
        })
        .await;
    });
}

#[test]
fn adoption_removes_client_fields_the_application_lacks() {
    on_member(async |it| {
        it.namespace("adopt").await;
        let collection = "/api/v1/namespaces/adopt/configmaps?fieldManager=kubectl-client-side-apply";
        it.admin("POST", collection, &config(&json!({"KEEP": "1", "OLD": "1"}))).await;
        let app = it.application("adopt", "web", &config(&json!({"KEEP": "1"})), json!({"adopt": "IfIdentical"})).await;
        it.place(&app, 1);
        it.eventually_said(&app, |state, message| state == "Refused" && message.contains(".data.OLD")).await;
        it.set_intent(&app, "adopt", "Always");
        let path = "/api/v1/namespaces/adopt/configmaps/web";
        it.eventually(path, |found| found["data"] == json!({"KEEP": "1"})).await;
    });
}

#[test]
fn a_port_edited_by_hand_is_put_back() {
    on_member(async |it| {
        let app = it.application("port", "web", &service(80), json!({"drift": "Enforce"})).await;
        it.place(&app, 1);
        let path = "/api/v1/namespaces/port/services/web";
        it.eventually(path, |found| found["spec"]["ports"][0]["port"] == 80).await;
        let edited = json!({"spec": {"ports": [{"name": "http", "port": 85}]}});
        it.admin("PATCH", &format!("{path}?fieldManager=kubectl-edit"), &edited).await;
        it.eventually(path, |found| {
            found["spec"]["ports"].as_array().is_some_and(|ports| ports.len() == 1 && ports[0]["port"] == 80)
        })
        .await;
        it.eventually_said(&app, |state, message| state == "Applied" && message.is_empty()).await;
    });
}

fn deployment(image: &str) -> Value {
    let pod = json!({
        "metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "main", "image": image}]},
    });
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"},
        "spec": {"selector": {"matchLabels": {"app": "web"}}, "template": pod},
    })
}

#[test]
fn replicas_survive_resuming_and_are_left_to_a_new_owner() {
    on_member(async |it| {
        let app = it.application("paused", "web", &deployment("web:1"), json!({})).await;
        it.place(&app, 1);
        let path = "/apis/apps/v1/namespaces/paused/deployments/web";
        let scaled = format!("{path}?fieldManager=autoscaler");
        it.eventually(path, |found| found["spec"]["replicas"] == 1).await;
        it.admin("PATCH", &scaled, &json!({"spec": {"replicas": 5}})).await;
        it.suspend(&app, true);
        it.eventually(path, |found| found["spec"]["replicas"] == 0).await;
        it.suspend(&app, false);
        let owns =
            |found: &Value| domain::render::our_fields(found).is_some_and(|f| !f["f:spec"]["f:replicas"].is_null());
        it.eventually(path, |found| found["spec"]["replicas"] == 1 && owns(found)).await;
        it.admin("PATCH", &scaled, &json!({"spec": {"replicas": 3}})).await;
        let app = it.revise(&app, &deployment("web:2")).await;
        it.move_to_revision(&app);
        let image = |found: &Value| found["spec"]["template"]["spec"]["containers"][0]["image"] == "web:2";
        it.eventually(path, |found| image(found) && found["spec"]["replicas"] == 3 && !owns(found)).await;
        it.eventually_said(&app, |state, message| state == "Applied" && !message.contains("behind our back")).await;
    });
}

#[test]
fn unserved_kind_is_reported_at_once_and_delivered_when_granted() {
    on_member(async |it| {
        let widget = json!({
            "apiVersion": "example.org/v1", "kind": "Widget", "metadata": {"name": "web"}, "spec": {"size": 1},
        });
        let app = it.application("kinds", "web", &widget, json!({})).await;
        it.place(&app, 1);
        it.eventually_said(&app, |state, message| state == "Failed" && message.contains("does not serve")).await;
        it.serve_widgets();
        it.eventually("/apis/example.org/v1/namespaces/kinds/widgets/web", |found| found["spec"]["size"] == 1).await;

        // Objects of a version that cannot be converted cannot be listed. The status of all other kinds stays current.
        it.eventually_row(&app, "s.state = 'Applied' and not s.stale").await;
        it.break_widgets("/apis/example.org/v2/namespaces/kinds/widgets/web").await;
        it.eventually_row(&app, "s.stale and s.observed_epoch = 0").await;
        it.eventually_cluster("health = 'Pass' and reason = 'Degraded' and message like '%Widget%'").await;
        let other = it.application("kinds", "other", &config(&json!({"a": "1"})), json!({})).await;
        it.place_as(&other, 1, "other");
        it.eventually_row(&other, "s.state = 'Applied' and not s.stale and s.observed_epoch = 1").await;
        it.eventually_cluster("as_of > now() - interval '5 seconds'").await;
        it.mend_widgets();
        it.eventually_row(&app, "not s.stale and s.observed_epoch = 1").await;
    });
}

#[test]
fn a_database_that_is_away_ends_no_watch() {
    on_member(async |it| {
        let app = it.application("database", "web", &config(&json!({"a": "1"})), json!({})).await;
        it.place(&app, 1);
        it.eventually("/api/v1/namespaces/database/configmaps/web", |found| found["data"]["a"] == "1").await;
        let lists = it.lists();
        // Shorter than the lease: a deliverer that loses its lease starts anew.
        it.without_database(Duration::from_secs(5)).await;
        let later = it.application("database", "later", &config(&json!({"b": "1"})), json!({})).await;
        it.place_as(&later, 1, "later");
        it.eventually("/api/v1/namespaces/database/configmaps/later", |found| found["data"]["b"] == "1").await;
        assert_eq!(it.lists(), lists, "nothing is listed again");
    });
}

#[test]
fn an_object_that_no_row_names_is_taken_away() {
    on_member(async |it| {
        let app = it.application("orphan", "web", &config(&json!({"a": "1"})), json!({})).await;
        it.place(&app, 1);
        let path = "/api/v1/namespaces/orphan/configmaps/web";
        it.eventually(path, |found| found["data"]["a"] == "1").await;
        // As after a create that arrived when its row was already deleted.
        it.forget(&app);
        it.eventually_cluster("message like '%belong to no Application%'").await;
        it.eventually_absent(path).await;
        it.eventually_cluster("message not like '%belong to no Application%'").await;
    });
}
