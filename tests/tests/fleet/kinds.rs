//! All kinds of components, and kinds that only the members define.

use acceptance::manifests::{MEMBERS, app, deployment, namespace, web};
use acceptance::{Fleet, History, SOON, condition, desired, is_readable};
use anyhow::{Context, ensure};
use serde_json::{Value, json};
use testbed::eventually;

pub(crate) async fn every_kind_of_component_behaves_as_written(fleet: &mut Fleet) -> anyhow::Result<()> {
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
    let config =
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "open"}, "data": {"k": "shown-word"}});
    let open = app("kinds", "open", json!({"components": [{"name": "config", "template": config}], "placement": {}}));
    fleet.apply("hub", &open)?;
    fleet.apply("hub", &manifest)?;
    fleet.ready("kinds", "open").await?;
    let placed = fleet.ready("kinds", "all").await?;
    // Three replicas of the Divided component, and two of the StatefulSet in each of three cells.
    let status = placed.status.as_ref().context("a status")?;
    ensure!((status.desired, status.placed, status.available) == (9, 9, 9), "not all replicas count: {status:?}");
    ensure!(status.divided.is_some_and(|divided| divided.desired == 3), "{status:?}");
    let secrets = History::follow(fleet, &MEMBERS, "v1/Secret", "kinds").await?;
    let mut jobs = Vec::new();
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
        jobs.extend(fleet.get(member, "job", "kinds", "seed")?.map(|_| member));
        ensure!(secrets.lives(member, "all") == 1, "{member}: one Secret");
        ensure!(created(fleet, member, "kinds", "secrets", "all")? == 1, "{member}: it was created once");
    }
    ensure!(jobs.len() == 1, "a Once component runs in one place, not in {jobs:?}");
    the_secret_is_sealed(fleet)?;

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
    for name in ["all", "open"] {
        fleet.meridian(&["app", "delete", name, "-n", "kinds", "--yes", "--timeout", "60s"])?;
    }
    for member in MEMBERS {
        let claim = fleet.get(member, "persistentvolumeclaim", "kinds", "all")?;
        ensure!(claim.is_some_and(|claim| claim["metadata"]["deletionTimestamp"].is_null()), "{member} lost its claim");
        ensure!(fleet.get(member, "secret", "kinds", "all")?.is_none(), "{member} kept the Secret");
    }
    Ok(())
}

/// Checks that bodies with the Secret are unreadable in the database.
///
/// The body with the `ConfigMap` of another Application is readable.
fn the_secret_is_sealed(fleet: &Fleet) -> anyhow::Result<()> {
    let bodies = |name: &str| -> anyhow::Result<Vec<Vec<u8>>> {
        let rows = fleet.bed.postgres.query(&format!(
            "select encode(p.body, 'hex') from payload p join app_revision r on r.payload = p.hash \
             join application a on a.id = r.app where a.namespace = 'kinds' and a.name = '{name}'"
        ))?;
        rows.lines().map(|row| Ok(hex::decode(row)?)).collect()
    };
    let (sealed, open) = (bodies("all")?, bodies("open")?);
    ensure!(!sealed.is_empty() && !open.is_empty(), "{} and {} bodies are stored", sealed.len(), open.len());
    ensure!(!sealed.iter().any(|body| is_readable(body, "hidden-word")), "a Secret lies open in the database");
    ensure!(
        open.iter().all(|body| is_readable(body, "shown-word")),
        "what is not sealed is not found: the check is blind"
    );
    Ok(())
}

/// Returns how often Meridian created an object in a member, from the member's audit log.
fn created(fleet: &Fleet, member: &str, namespace: &str, resource: &str, name: &str) -> anyhow::Result<usize> {
    Ok(fleet.bed.member(member)?.audit().count(|event| {
        event.is_creation() && event.namespace == namespace && event.resource == resource && event.name == name
    }))
}

pub(crate) async fn a_job_that_runs_once_is_not_run_again_after_a_drain(fleet: &mut Fleet) -> anyhow::Result<()> {
    namespace(fleet, "once")?;
    let mut manifest = web("once", "web", 6);
    manifest["spec"]["components"].as_array_mut().context("components")?.push(json!({
        "name": "seed", "scope": "Once", "template": {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "seed"},
        "spec": {"template": {"metadata": {"labels": {"job": "seed"}},
            "spec": {"restartPolicy": "Never", "containers": [{"name": "main", "image": "seed:1"}]}}}}}));
    fleet.apply("hub", &manifest)?;
    fleet.ready("once", "web").await?;
    let runs = |fleet: &Fleet| -> anyhow::Result<Vec<&str>> {
        let mut runs = Vec::new();
        for member in MEMBERS {
            runs.extend(vec![member; created(fleet, member, "once", "jobs", "seed")?]);
        }
        Ok(runs)
    };
    let first = runs(fleet)?;
    let [home] = first.as_slice() else { anyhow::bail!("it ran in {first:?}") };
    eventually("the job is done", SOON, async || {
        let job = fleet.get(home, "job", "once", "seed")?.context("a job")?;
        Ok((job["status"]["succeeded"] == 1).then_some(()))
    })
    .await?;
    fleet.meridian(&["cluster", "drain", home, "--yes"])?;
    fleet
        .app_until("once", "web", "the workload has left", |app| {
            !desired(app).contains(home) && app.status.as_ref().is_some_and(|status| status.available == 6)
        })
        .await?;
    eventually("nothing of the workload is left behind", SOON, async || {
        Ok(fleet.get(home, "deployment", "once", "web")?.is_none().then_some(()))
    })
    .await?;
    let again = runs(fleet)?;
    fleet.meridian(&["cluster", "uncordon", home])?;
    ensure!(again == first, "it ran in {again:?}");
    Ok(())
}

/// A kind that only the members define, unknown to Meridian, with fields outside its schema.
const WIDGET: &str = "demo.example.org/v1/Widget";

fn widgets(namespace: &str) -> Value {
    json!({"apiVersion": "demo.example.org/v1", "kind": "Widget", "metadata": {"name": "all", "namespace": namespace},
        "spec": {"size": 3, "colours": ["red", {"name": "blue", "depth": 0.25}], "nested": {"deep": {"empty": {}, "nothing": [], "yes": true}}},
        "extra": {"kept": "too", "numbers": [1, -2, 9_007_199_254_740_993_i64]}})
}

pub(crate) async fn a_kind_of_the_members_own_passes_whole_once_it_is_granted(fleet: &mut Fleet) -> anyhow::Result<()> {
    namespace(fleet, "widgets")?;
    let kind = json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "widgets.demo.example.org"},
        "spec": {"group": "demo.example.org", "scope": "Namespaced", "names": {"kind": "Widget", "plural": "widgets", "singular": "widget"},
            "versions": [{"name": "v1", "served": true, "storage": true,
                "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}}}]}});
    let grant = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
        "metadata": {"name": "widgets-for-meridian", "labels": {"fleet.meridian.io/aggregate-to-deploy": "true"}},
        "rules": [{"apiGroups": ["demo.example.org"], "resources": ["widgets"],
            "verbs": ["get", "list", "watch", "create", "patch", "delete"]}]});
    for member in MEMBERS {
        fleet.apply(member, &kind)?;
        fleet.kubectl(
            member,
            &["wait", "--for=condition=Established", "crd/widgets.demo.example.org", "--timeout=30s"],
        )?;
    }
    let mut template = widgets("widgets");
    template["metadata"].as_object_mut().context("metadata")?.remove("namespace");
    let mut manifest = web("widgets", "web", 3);
    manifest["spec"]["components"]
        .as_array_mut()
        .context("components")?
        .push(json!({"name": "widget", "scope": "PerCluster", "template": template}));
    fleet.apply("hub", &manifest)?;
    let refused = fleet
        .app_until("widgets", "web", "no cluster permits the kind", |app| {
            let cells = app.status.iter().filter_map(|status| status.decision.as_ref()).flat_map(|it| &it.cells);
            cells.filter(|cell| cell.verdict == "KindNotPermitted").count() == MEMBERS.len()
        })
        .await?;
    let explained = fleet.meridian(&["explain", "placement", "web", "-n", "widgets"])?;
    for word in ["KindNotPermitted", WIDGET, "cluster permissions"] {
        ensure!(explained.contains(word), "the explanation does not say {word:?}: {explained}");
    }
    ensure!(condition(&refused, "Ready").is_some_and(|(ready, _)| ready == "False"));
    ensure!(fleet.get("north-a", "deployment", "widgets", "web")?.is_none(), "nothing of it is delivered");

    for member in &fleet.plan.members.clone() {
        fleet.apply(&member.name, &grant)?;
        eventually("the member adds it to our role", SOON, async || {
            let role = fleet.kubectl(&member.name, &["get", "clusterrole", "meridian:deploy", "-o", "json"])?;
            Ok(role.contains("demo.example.org").then_some(()))
        })
        .await?;
        // Joining again checks the member's permissions at once.
        fleet.join(member)?;
    }
    let placed = fleet.ready("widgets", "web").await?;
    let sent = widgets("widgets");
    // Replicas went to the members that permitted the kind first; the Widget follows the replicas.
    let cells = placed.status.map(|status| status.cells).unwrap_or_default();
    ensure!(cells.len() >= 2, "{cells:?}");
    for member in cells.iter().map(|cell| cell.cluster.as_str()) {
        let arrived = fleet.get(member, "widget", "widgets", "all")?.context("delivered")?;
        for field in ["spec", "extra"] {
            ensure!(
                arrived[field] == sent[field],
                "{member}: {field} is {} instead of {}",
                arrived[field],
                sent[field]
            );
        }
    }
    fleet.meridian(&["app", "delete", "web", "-n", "widgets", "--yes", "--timeout", "60s"])?;
    ensure!(fleet.get("north-a", "widget", "widgets", "all")?.is_none(), "it leaves with its Application");
    Ok(())
}
