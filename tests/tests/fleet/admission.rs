//! Changes that a hub makes to objects at admission, where its administrators install the policy.

use std::path::Path;

use acceptance::manifests::{namespace, web};
use acceptance::{Fleet, SOON};
use anyhow::ensure;
use crds::Application;
use kube::api::PostParams;
use kube::{Api, ResourceExt};
use serde_json::json;
use testbed::eventually;
use vocabulary::labels::FINALIZER;

pub(crate) async fn admission_policy_adds_the_finalizer_when_objects_are_created(
    fleet: &mut Fleet,
) -> anyhow::Result<()> {
    let policy = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crds/admission").display().to_string();
    fleet.kubectl("hub", &["apply", "--server-side", "-f", &policy])?;
    let outcome = with_the_policy(fleet).await;
    // The other scenarios need hubs without the policy.
    let removed = fleet.kubectl("hub", &["delete", "-f", &policy]);
    outcome.and(removed.map(drop))
}

async fn with_the_policy(fleet: &mut Fleet) -> anyhow::Result<()> {
    namespace(fleet, "born")?;
    let apps: Api<Application> = Api::namespaced(fleet.client("hub").await?, "born");
    let try_it = PostParams { dry_run: true, ..PostParams::default() };
    let mut manifest = web("born", "web", 3);
    for others in [None, Some(json!([])), Some(json!(["example.com/theirs"]))] {
        let others = others.map_or(json!([]), |others| {
            manifest["metadata"]["finalizers"] = others.clone();
            others
        });
        let object: Application = serde_json::from_value(manifest.clone())?;
        let mut expected: Vec<String> = serde_json::from_value(others)?;
        expected.push(FINALIZER.to_owned());
        // The API server refuses objects for a moment, until it has the kind's schema for the policy.
        eventually("it is born with our finalizer", SOON, async || {
            let born = apps.create(&try_it, &object).await?;
            ensure!(born.finalizers() == expected, "{:?}", born.finalizers());
            Ok(Some(()))
        })
        .await?;
    }

    let manifest = web("born", "web", 3);
    // Pipelines apply repeatedly: the applier does not own the finalizer and must not remove it.
    for _ in 0..2 {
        fleet.apply("hub", &manifest)?;
        ensure!(apps.get("web").await?.finalizers() == [FINALIZER.to_owned()]);
    }
    fleet.ready("born", "web").await?;
    fleet.kubectl("hub", &["delete", "mapp", "web", "-n", "born", "--timeout=60s"]).map(drop)
}
