//! What is refused, and what the message says.

use acceptance::manifests::{deployment, namespace, web};
use acceptance::{Fleet, condition};
use anyhow::ensure;
use serde_json::{Value, json};

pub(crate) async fn bad_input_names_the_field_and_the_remedy(fleet: &mut Fleet) -> anyhow::Result<()> {
    namespace(fleet, "bad")?;
    type Change = fn(&mut Value);
    let refused_at_once: [(&str, Change, &str); 9] = [
        ("an unknown field", |app| app["spec"]["replica"] = json!(3), "replica"),
        ("negative replicas", |app| app["spec"]["replicas"] = json!(-1), "spec.replicas"),
        ("an unknown field of placement", |app| app["spec"]["placement"]["zones"] = json!(["a"]), "zones"),
        (
            "an unknown topology",
            |app| app["spec"]["placement"]["spread"] = json!([{"topology": "Rack", "maxSkew": 1}]),
            "topology",
        ),
        (
            "min above max",
            |app| app["spec"]["placement"]["limits"] = json!([{"topology": "Zone", "min": 3, "max": 2}]),
            "min must not exceed max",
        ),
        (
            "an override of a missing component",
            |app| app["spec"]["overrides"] = json!([{"cells": {}, "patches": [{"component": "nobody", "image": "x"}]}]),
            "component",
        ),
        (
            "two kinds of patch in one",
            |app| {
                app["spec"]["overrides"] =
                    json!([{"cells": {}, "patches": [{"component": "server", "image": "x", "args": ["y"]}]}]);
            },
            "exactly one of",
        ),
        ("no components", |app| app["spec"]["components"] = json!([]), "components"),
        (
            "both kinds of placement",
            |app| app["spec"]["placementPolicyRef"] = json!({"name": "p"}),
            "exactly one of placement",
        ),
    ];
    for (case, change, expected) in refused_at_once {
        let mut manifest = web("bad", "web", 3);
        change(&mut manifest);
        let output = fleet.try_apply("hub", &manifest)?;
        let error = String::from_utf8_lossy(&output.stderr);
        ensure!(!output.status.success() && error.contains(expected), "{case}: {error}");
    }
    let refused_at_intake: [(&str, Change, &str); 12] = [
        (
            "a percentage over 100",
            |app| app["spec"]["placement"]["shares"] = json!({"north-a": "101%"}),
            "shares[north-a]",
        ),
        (
            "shares above replicas",
            |app| app["spec"]["placement"]["shares"] = json!({"north-a": 9}),
            "lower the shares or raise spec.replicas",
        ),
        (
            "a template without kind",
            |app| app["spec"]["components"][0]["template"] = json!({"apiVersion": "v1", "metadata": {"name": "x"}}),
            "kind",
        ),
        (
            "a cluster-scoped kind",
            |app| {
                app["spec"]["components"][0]["template"] =
                    json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "x"}});
            },
            "Namespace",
        ),
        (
            "an RBAC kind",
            |app| {
                app["spec"]["components"][0]["template"] =
                    json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": "x"}});
            },
            "Role",
        ),
        (
            "a CronJob without scope",
            |app| {
                app["spec"]["components"][0]["template"] =
                    json!({"apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": "x"}, "spec": {}});
            },
            "scope",
        ),
        (
            "a number of its own in the Divided template",
            |app| app["spec"]["components"][0]["template"]["spec"]["replicas"] = json!(7),
            "spec.replicas",
        ),
        (
            "no replicas for a Divided component",
            |app| {
                app["spec"].as_object_mut().unwrap().remove("replicas");
            },
            "set spec.replicas",
        ),
        (
            "a policy that is not there",
            |app| {
                app["spec"].as_object_mut().unwrap().remove("placement");
                app["spec"]["placementPolicyRef"] = json!({"name": "nobody"});
            },
            "PlacementPolicy nobody",
        ),
        (
            "a template without name",
            |app| {
                app["spec"]["components"][0]["template"]["metadata"] = json!({});
            },
            "metadata.name",
        ),
        (
            "a Divided StatefulSet",
            |app| {
                app["spec"]["components"][0]["scope"] = json!("Divided");
                app["spec"]["components"][0]["template"]["kind"] = json!("StatefulSet");
            },
            "StatefulSet",
        ),
        (
            "an autoscaler of a Divided workload",
            |app| {
                let name = app["metadata"]["name"].clone();
                app["spec"]["components"].as_array_mut().unwrap().push(json!({"name": "scaler", "template": {
                    "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "web"},
                    "spec": {"maxReplicas": 5, "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": name}}}}));
            },
            "scaleTargetRef",
        ),
    ];
    for (number, (case, change, expected)) in refused_at_intake.into_iter().enumerate() {
        let name = format!("web-{number}");
        let mut manifest = web("bad", &name, 3);
        change(&mut manifest);
        let output = fleet.try_apply("hub", &manifest)?;
        let error = String::from_utf8_lossy(&output.stderr);
        if !output.status.success() {
            ensure!(error.contains(expected), "{case}: {error}");
            continue;
        }
        let seen = fleet
            .app_until("bad", &name, &format!("{case}: refused"), |app| {
                condition(app, "Ready").is_some_and(|(ready, message)| ready == "False" && message.contains(expected))
            })
            .await?;
        ensure!(
            condition(&seen, "Stalled").is_some_and(|(stalled, _)| stalled == "True"),
            "{case}: it waits for a person and must say so"
        );
    }
    ensure!(
        fleet.kubectl("north-a", &["get", "deployments", "-n", "bad", "-o", "name", "--ignore-not-found"])?.is_empty(),
        "nothing of it was delivered"
    );

    // A name that two applications want belongs to the first.
    fleet.apply("hub", &web("bad", "first", 3))?;
    fleet.ready("bad", "first").await?;
    let mut second = web("bad", "second", 3);
    second["spec"]["components"][0]["template"] = deployment("first", "other:1");
    fleet.apply("hub", &second)?;
    let refused = fleet
        .app_until("bad", "second", "refused", |app| {
            condition(app, "Stalled").is_some_and(|(stalled, _)| stalled == "True")
        })
        .await?;
    let message = condition(&refused, "Stalled").map(|(_, message)| message).unwrap_or_default();
    ensure!(message.contains("belongs to Application first") && message.contains("metadata.name"), "{message}");
    Ok(())
}
