//! Every kind of component.

use acceptance::manifests::{MEMBERS, app, deployment, namespace};
use acceptance::{Fleet, SOON};
use anyhow::{Context, ensure};
use serde_json::json;
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
