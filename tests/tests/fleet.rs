//! What Meridian is for, on real control planes: join, place, deliver, observe, move.
//!
//! One fleet serves all of it, one scenario after the other; each has a namespace of its own.

#![allow(clippy::unwrap_used, reason = "a test")]

use acceptance::{Fleet, SOON, condition, desired};
use anyhow::{Context, ensure};
use serde_json::{Value, json};
use testbed::eventually;

const MEMBERS: [&str; 3] = ["north-a", "north-b", "south-a"];

#[tokio::test]
async fn the_fleet_does_its_main_job() {
    let mut fleet = Fleet::start().await.unwrap();
    macro_rules! scenarios {
        ($($name:ident),* $(,)?) => {$(
            let begun = std::time::Instant::now();
            if let Err(error) = $name(&fleet).await {
                panic!("{}: {error:#}", stringify!($name));
            }
            println!("{} ({} ms)", stringify!($name), begun.elapsed().as_millis());
        )*};
    }
    scenarios![
        examples_are_placed_by_zone_and_explained,
        scaling_never_moves_a_cell_the_wrong_way,
        an_override_shows_only_where_it_selects,
        a_revision_goes_cell_by_cell,
        drain_is_never_below_desired_and_nothing_moves_back,
        drift_is_reported_or_put_back_and_foreign_fields_stay,
        adoption_is_refused_with_the_owners_name_or_taken,
        every_kind_of_component_behaves_as_written,
        two_cells_on_one_cluster_make_two_workloads,
        bad_input_names_the_field_and_the_remedy,
        deleting_an_application_removes_what_it_delivered,
    ];
    a_killed_operator_goes_on_and_writes_nothing_twice(&mut fleet).await.unwrap();
    a_lost_database_is_told_and_survived(&mut fleet).await.unwrap();
}

fn deployment(name: &str, image: &str) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name},
        "spec": {"selector": {"matchLabels": {"app": name}}, "template": {
            "metadata": {"labels": {"app": name}},
            "spec": {"containers": [{"name": "main", "image": image, "resources": {"requests": {"cpu": "100m", "memory": "64Mi"}}}]}}}
    })
}

fn app(namespace: &str, name: &str, spec: Value) -> Value {
    json!({"apiVersion": "fleet.meridian.io/v1alpha1", "kind": "Application", "metadata": {"name": name, "namespace": namespace}, "spec": spec})
}

fn web(namespace: &str, name: &str, replicas: i32) -> Value {
    app(
        namespace,
        name,
        json!({
            "replicas": replicas,
            "components": [{"name": "server", "template": deployment(name, "web:1")}],
            "placement": {"spread": [{"topology": "Zone", "maxSkew": 1, "minDomains": 2}]},
        }),
    )
}

fn namespace(fleet: &Fleet, name: &str) -> anyhow::Result<()> {
    fleet.apply("hub", &json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}))
}

fn patch(fleet: &Fleet, namespace: &str, name: &str, change: &Value) -> anyhow::Result<()> {
    fleet
        .kubectl("hub", &["patch", "mapp", name, "-n", namespace, "--type", "merge", "-p", &change.to_string()])
        .map(drop)
}

async fn examples_are_placed_by_zone_and_explained(fleet: &Fleet) -> anyhow::Result<()> {
    let examples = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples");
    fleet.kubectl("hub", &["apply", "--server-side", "-f", examples])?;
    let catalog = fleet.ready("shop", "catalog").await?;
    ensure!(desired(&catalog) == "north-a=4 north-b=4 south-a=4", "{}", desired(&catalog));
    let ledger = fleet.ready("pay", "ledger").await?;
    ensure!(desired(&ledger) == "north-a=6 north-b=6 south-a=6", "{}", desired(&ledger));
    let status = ledger.status.context("a status")?;
    ensure!((status.desired, status.placed, status.available) == (12, 18, 18), "{status:?}");
    let table = fleet.kubectl("hub", &["get", "mapp", "-A"])?;
    ensure!(table.contains("n1=4,n2=4,s1=4") && table.contains("n1=6,n2=6,s1=6"), "{table}");
    let explained = fleet.meridian(&["explain", "placement", "catalog", "-n", "shop"])?;
    ensure!(explained.contains("Eligible") && explained.contains("12 replicas in 3 cells"), "{explained}");
    let lost = fleet.meridian(&["what-if", "catalog", "-n", "shop", "--lose", "zone=n1"])?;
    ensure!(lost.contains("4 of 12 replicas are lost, 8 are left: NOT enough"), "{lost}");
    let survives = fleet.meridian(&["what-if", "ledger", "-n", "pay", "--lose", "zone=n1"])?;
    ensure!(survives.contains("12 are left: enough"), "{survives}");
    for member in MEMBERS {
        let object = fleet.get(member, "deployment", "shop", "catalog")?.context("delivered")?;
        ensure!(
            object["spec"]["replicas"] == 4 && object["metadata"]["annotations"]["fleet.meridian.io/fence"].is_string()
        );
        ensure!(fleet.get(member, "configmap", "shop", "catalog")?.is_some(), "its config arrives too");
    }
    Ok(())
}

/// Replicas every member was told to run, in order, by the API server's own versions of the object.
async fn scaling_never_moves_a_cell_the_wrong_way(fleet: &Fleet) -> anyhow::Result<()> {
    namespace(fleet, "scale")?;
    fleet.apply("hub", &web("scale", "web", 12))?;
    let first = fleet.ready("scale", "web").await?;
    let numbers = |app: &crds::Application| -> Vec<i32> {
        app.status.iter().flat_map(|status| status.cells.iter().map(|cell| cell.desired)).collect()
    };
    patch(fleet, "scale", "web", &json!({"spec": {"replicas": 20}}))?;
    let grown = fleet.ready("scale", "web").await?;
    ensure!(numbers(&grown).iter().sum::<i32>() == 20);
    ensure!(
        numbers(&first).iter().zip(numbers(&grown)).all(|(before, after)| after >= *before),
        "growing lowered a cell"
    );
    patch(fleet, "scale", "web", &json!({"spec": {"replicas": 7}}))?;
    let shrunk = fleet.ready("scale", "web").await?;
    ensure!(numbers(&shrunk).iter().sum::<i32>() == 7);
    ensure!(
        numbers(&grown).iter().zip(numbers(&shrunk)).all(|(before, after)| after <= *before),
        "shrinking raised a cell"
    );
    for member in MEMBERS {
        // First apply, growth, and what shrinking takes: never one write more per change.
        let writes = fleet.bed.member(member)?.audit().count(|event| {
            event.is_write()
                && event.namespace == "scale"
                && event.resource == "deployments"
                && event.user.contains("meridian")
        });
        ensure!((1..=4).contains(&writes), "{member}: {writes} writes for three changes");
    }
    Ok(())
}

async fn an_override_shows_only_where_it_selects(fleet: &Fleet) -> anyhow::Result<()> {
    namespace(fleet, "region")?;
    let mut manifest = web("region", "web", 6);
    manifest["spec"]["overrides"] = json!([{
        "cells": {"matchLabels": {"fleet.meridian.io/region": "north"}},
        "patches": [{"component": "server", "image": "web:north"}, {"component": "server", "labels": {"tier": "gold"}}],
    }]);
    fleet.apply("hub", &manifest)?;
    fleet.ready("region", "web").await?;
    for (member, image, tier) in
        [("north-a", "web:north", Some("gold")), ("north-b", "web:north", Some("gold")), ("south-a", "web:1", None)]
    {
        let object = fleet.get(member, "deployment", "region", "web")?.context("delivered")?;
        ensure!(object["spec"]["template"]["spec"]["containers"][0]["image"] == image, "{member}");
        ensure!(object["metadata"]["labels"]["tier"].as_str() == tier, "{member}");
    }
    Ok(())
}

/// The next cell only when the previous one is ready: at no time do two cells work on the new revision at once.
async fn a_revision_goes_cell_by_cell(fleet: &Fleet) -> anyhow::Result<()> {
    namespace(fleet, "revise")?;
    fleet.apply("hub", &web("revise", "web", 6))?;
    let before = fleet.ready("revise", "web").await?;
    let mut changed = web("revise", "web", 6);
    changed["spec"]["components"][0]["template"]["spec"]["template"]["spec"]["containers"][0]["image"] = json!("web:2");
    fleet.apply("hub", &changed)?;
    let after = fleet
        .app_until("revise", "web", "on the new revision", |app| {
            let Some(status) = &app.status else { return false };
            let new = status.revision.clone().unwrap_or_default();
            let unsettled =
                status.cells.iter().filter(|cell| cell.revision == new && cell.updated < cell.placed).count();
            assert!(unsettled <= 1, "{unsettled} cells work on the new revision at once: {status:?}");
            status.cells.iter().all(|cell| cell.revision == new)
                && condition(app, "Ready").is_some_and(|(ready, _)| ready == "True")
        })
        .await?;
    ensure!(
        before.status.as_ref().and_then(|status| status.revision.clone())
            != after.status.as_ref().and_then(|status| status.revision.clone())
    );
    ensure!(desired(&before) == desired(&after), "a revision moves nothing");
    let history = after.status.map(|status| status.history).unwrap_or_default();
    ensure!(history.len() == 2 && history.iter().any(|revision| revision.was_ready), "{history:?}");
    Ok(())
}

async fn drain_is_never_below_desired_and_nothing_moves_back(fleet: &Fleet) -> anyhow::Result<()> {
    namespace(fleet, "drain")?;
    fleet.apply("hub", &web("drain", "web", 9))?;
    let before = fleet.ready("drain", "web").await?;
    ensure!(desired(&before) == "north-a=3 north-b=3 south-a=3");
    fleet.meridian(&["cluster", "drain", "north-b"])?;
    let moved = fleet
        .app_until("drain", "web", "moved", |app| {
            let Some(status) = &app.status else { return false };
            assert!(status.available >= 9, "below desired while moving: {status:?}");
            !desired(app).contains("north-b")
                && status.cells.len() == 2
                && condition(app, "Ready").is_some_and(|(ready, _)| ready == "True")
        })
        .await?;
    fleet.meridian(&["cluster", "drain", "north-b", "--wait", "--timeout", "60s"])?;
    ensure!(fleet.get("north-b", "deployment", "drain", "web")?.is_none(), "the drained cluster is empty");
    fleet.meridian(&["cluster", "uncordon", "north-b"])?;
    let rebalance = fleet
        .app_until("drain", "web", "told of a rebalance", |app| condition(app, "RebalanceNeeded").is_some())
        .await?;
    ensure!(desired(&moved) == desired(&rebalance), "nothing moves back by itself");
    fleet.meridian(&["rebalance", "web", "-n", "drain", "--yes"])?;
    fleet
        .app_until("drain", "web", "rebalanced", |app| {
            let status = app.status.clone().unwrap_or_default();
            assert!(status.available >= 9, "below desired while rebalancing: {status:?}");
            desired(app) == "north-a=3 north-b=3 south-a=3"
                && condition(app, "Ready").is_some_and(|(ready, _)| ready == "True")
        })
        .await?;
    Ok(())
}

async fn drift_is_reported_or_put_back_and_foreign_fields_stay(fleet: &Fleet) -> anyhow::Result<()> {
    namespace(fleet, "drift")?;
    fleet.apply("hub", &web("drift", "web", 3))?;
    fleet.ready("drift", "web").await?;
    let edit = json!([{"op": "replace", "path": "/spec/template/spec/containers/0/image", "value": "web:hand"},
        {"op": "add", "path": "/metadata/annotations/team.example.org~1owner", "value": "orders"}]);
    fleet.kubectl(
        "north-a",
        &["patch", "deployment", "web", "-n", "drift", "--type", "json", "-p", &edit.to_string()],
    )?;
    let drifted = fleet.app_until("drift", "web", "drifted", |app| condition(app, "Drifted").is_some()).await?;
    let (_, message) = condition(&drifted, "Drifted").context("a condition")?;
    ensure!(message.contains("north-a") && message.contains("image"), "{message}");
    patch(fleet, "drift", "web", &json!({"spec": {"drift": "Enforce"}}))?;
    eventually("the image is put back", SOON, async || {
        let object = fleet.get("north-a", "deployment", "drift", "web")?.context("delivered")?;
        let image = &object["spec"]["template"]["spec"]["containers"][0]["image"];
        Ok((image == "web:1" && object["metadata"]["annotations"]["team.example.org/owner"] == "orders").then_some(()))
    })
    .await?;
    fleet.app_until("drift", "web", "not drifted", |app| condition(app, "Drifted").is_none()).await?;
    Ok(())
}

async fn adoption_is_refused_with_the_owners_name_or_taken(fleet: &Fleet) -> anyhow::Result<()> {
    namespace(fleet, "adopt")?;
    let there = json!({"apiVersion": "v1", "kind": "List", "items": [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "adopt"}},
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "web", "namespace": "adopt"}, "data": {"by": "hand"}},
    ]});
    fleet.apply("south-a", &there)?;
    let mut manifest = web("adopt", "web", 3);
    manifest["spec"]["components"].as_array_mut().context("components")?.push(json!({
        "name": "config", "template": {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "web"}, "data": {"by": "meridian"}}}));
    fleet.apply("hub", &manifest)?;
    let refused = fleet
        .app_until("adopt", "web", "refused", |app| {
            condition(app, "Stalled").is_some_and(|(stalled, _)| stalled == "True")
        })
        .await?;
    let (_, message) = condition(&refused, "Stalled").context("a condition")?;
    ensure!(
        message.contains("south-a") && message.contains("field manager kubectl") && message.contains("spec.adopt"),
        "{message}"
    );
    let kept = fleet.get("south-a", "configmap", "adopt", "web")?.context("still there")?;
    ensure!(kept["data"]["by"] == "hand", "a refused object is not touched");
    patch(fleet, "adopt", "web", &json!({"spec": {"adopt": "Always"}}))?;
    fleet.ready("adopt", "web").await?;
    let taken = fleet.get("south-a", "configmap", "adopt", "web")?.context("still there")?;
    ensure!(taken["data"]["by"] == "meridian");
    Ok(())
}

async fn every_kind_of_component_behaves_as_written(fleet: &Fleet) -> anyhow::Result<()> {
    namespace(fleet, "kinds")?;
    let pod = |name: &str| json!({"metadata": {"labels": {"app": name}}, "spec": {"containers": [{"name": "main", "image": "x:1"}]}});
    let once = json!({"metadata": {"labels": {"job": "seed"}}, "spec": {"restartPolicy": "Never", "containers": [{"name": "main", "image": "seed:1"}]}});
    let manifest = app(
        "kinds",
        "all",
        json!({
            "replicas": 3,
            "components": [
                {"name": "server", "template": deployment("all", "web:1")},
                {"name": "store", "template": {"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "store"},
                    "spec": {"replicas": 2, "serviceName": "store", "selector": {"matchLabels": {"app": "store"}}, "template": pod("store")}}},
                {"name": "seed", "scope": "Once", "template": {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "seed"}, "spec": {"template": once}}},
                {"name": "config", "template": {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "all"}, "data": {"k": "v"}}},
                {"name": "secret", "template": {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "all"}, "stringData": {"password": "hidden-word"}}},
                {"name": "service", "template": {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "all"}, "spec": {"selector": {"app": "all"}, "ports": [{"port": 80}]}}},
                {"name": "disk", "template": {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "all"},
                    "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}}},
            ],
            "placement": {},
        }),
    );
    fleet.apply("hub", &manifest)?;
    fleet.ready("kinds", "all").await?;
    let mut jobs = 0;
    for member in MEMBERS {
        for (kind, name) in [
            ("configmap", "all"),
            ("secret", "all"),
            ("service", "all"),
            ("persistentvolumeclaim", "all"),
            ("statefulset", "store"),
            ("deployment", "all"),
        ] {
            ensure!(fleet.get(member, kind, "kinds", name)?.is_some(), "{member} has no {kind} {name}");
        }
        let set = fleet.get(member, "statefulset", "kinds", "store")?.context("a StatefulSet")?;
        ensure!(set["spec"]["replicas"] == 2, "a StatefulSet keeps its own number in every cell");
        jobs += usize::from(fleet.get(member, "job", "kinds", "seed")?.is_some());
    }
    ensure!(jobs == 1, "a Once component runs in one place, not in {jobs}");
    let dump =
        fleet.bed.postgres.query("select count(*) from payload where position('hidden-word'::bytea in body) > 0")?;
    ensure!(dump == "0", "a Secret lies open in the database");

    let mut less = manifest.clone();
    less["spec"]["components"]
        .as_array_mut()
        .context("components")?
        .retain(|component| component["name"] != "disk" && component["name"] != "service");
    fleet.apply("hub", &less)?;
    eventually("the service is gone", SOON, async || {
        Ok(fleet.get("north-a", "service", "kinds", "all")?.is_none().then_some(()))
    })
    .await?;
    eventually("the claim is released", SOON, async || {
        let claim =
            fleet.get("north-a", "persistentvolumeclaim", "kinds", "all")?.context("a claim is never deleted")?;
        Ok(claim["metadata"]["labels"]["fleet.meridian.io/managed"].is_null().then_some(()))
    })
    .await?;
    Ok(())
}

async fn two_cells_on_one_cluster_make_two_workloads(fleet: &Fleet) -> anyhow::Result<()> {
    namespace(fleet, "cells")?;
    for cell in ["rz01a", "rz01b"] {
        let pair = cell[4..].to_uppercase();
        fleet.apply(
            "hub",
            &json!({"apiVersion": "fleet.meridian.io/v1alpha1", "kind": "Cell", "metadata": {"name": cell},
            "spec": {"cluster": "south-a", "unit": "rz01", "unitKind": "R", "pair": pair}}),
        )?;
    }
    let mut manifest = web("cells", "web", 4);
    manifest["spec"]["placement"] = json!({"cells": {"matchLabels": {"fleet.meridian.io/unit-kind": "R"}}});
    fleet.apply("hub", &manifest)?;
    let placed = fleet.ready("cells", "web").await?;
    ensure!(desired(&placed) == "rz01a=2 rz01b=2", "{}", desired(&placed));
    for cell in ["rz01a", "rz01b"] {
        let object =
            fleet.get("south-a", "deployment", "cells", &format!("web-{cell}"))?.context("its own workload")?;
        ensure!(object["spec"]["selector"]["matchLabels"]["fleet.meridian.io/cell"] == cell);
        ensure!(object["spec"]["template"]["metadata"]["labels"]["fleet.meridian.io/cell"] == cell);
        ensure!(object["status"]["replicas"] == 2, "each counts its own pods only");
    }
    fleet.meridian(&["app", "delete", "web", "-n", "cells", "--yes"])?;
    fleet.kubectl("hub", &["delete", "mcell", "rz01a", "rz01b", "--timeout", "30s"]).map(drop)
}

async fn bad_input_names_the_field_and_the_remedy(fleet: &Fleet) -> anyhow::Result<()> {
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

async fn deleting_an_application_removes_what_it_delivered(fleet: &Fleet) -> anyhow::Result<()> {
    namespace(fleet, "gone")?;
    for (name, policy) in [("leaves", "Delete"), ("stays", "Orphan")] {
        let mut manifest = web("gone", name, 3);
        manifest["spec"]["deletion"] = json!({"policy": policy});
        fleet.apply("hub", &manifest)?;
        fleet.ready("gone", name).await?;
        fleet.meridian(&["app", "delete", name, "-n", "gone", "--yes", "--timeout", "60s"])?;
    }
    ensure!(fleet.get("north-a", "deployment", "gone", "leaves")?.is_none());
    let kept = fleet.get("north-a", "deployment", "gone", "stays")?.context("an orphan runs on")?;
    ensure!(kept["metadata"]["labels"]["fleet.meridian.io/managed"].is_null(), "and does not belong to Meridian");
    let rows = fleet.bed.postgres.query("select count(*) from application where namespace = 'gone'")?;
    ensure!(rows == "0", "no row is left");
    Ok(())
}

async fn a_killed_operator_goes_on_and_writes_nothing_twice(fleet: &mut Fleet) -> anyhow::Result<()> {
    namespace(fleet, "killed")?;
    fleet.apply("hub", &web("killed", "web", 8))?;
    let before = fleet.ready("killed", "web").await?;
    let written = fleet.member_writes();
    fleet.operator.kill()?;
    patch(fleet, "killed", "web", &json!({"spec": {"replicas": 12}}))?;
    fleet.operator.start()?;
    let after = fleet.ready("killed", "web").await?;
    let (before, after) = (cells(&before), cells(&after));
    ensure!(after.values().sum::<i32>() == 12, "{after:?}");
    let changed = after.iter().filter(|(cell, desired)| before.get(*cell) != Some(desired)).count();
    ensure!(changed >= MEMBERS.len(), "every deliverer has something to write: {before:?}, then {after:?}");
    let mut writes = fleet.member_writes();
    for earlier in written {
        let place = writes.iter().position(|write| *write == earlier).context("an audit log only grows")?;
        writes.remove(place);
    }
    ensure!(writes.len() == changed, "{changed} objects changed, and the members were written to by {writes:#?}");
    Ok(())
}

/// Replicas of every cell.
fn cells(app: &crds::Application) -> std::collections::BTreeMap<String, i32> {
    app.status
        .iter()
        .flat_map(|status| &status.cells)
        .map(|cell| (format!("{}/{}", cell.cluster, cell.cell), cell.desired))
        .collect()
}

async fn a_lost_database_is_told_and_survived(fleet: &mut Fleet) -> anyhow::Result<()> {
    fleet.bed.postgres.primary.end()?;
    eventually("readiness names the database", SOON, async || {
        let answer = fleet.probe("/readyz")?;
        Ok((answer.contains("503") && answer.contains("database")).then_some(()))
    })
    .await?;
    ensure!(fleet.probe("/healthz")?.contains("200"), "the process itself is well");
    fleet.bed.postgres.primary.start()?;
    fleet.bed.postgres.answers().await?;
    eventually("ready again", SOON, async || Ok(fleet.probe("/readyz")?.contains("200").then_some(()))).await?;
    patch(fleet, "killed", "web", &json!({"spec": {"replicas": 13}}))?;
    fleet.ready("killed", "web").await?;
    let metrics = fleet.probe("/metrics")?;
    for name in [
        "meridian_delivery_planned",
        "meridian_delivery_sent",
        "meridian_delivery_applied",
        "meridian_delivery_queue_depth",
    ] {
        ensure!(metrics.contains(name), "/metrics has no {name}: {metrics}");
    }
    Ok(())
}
