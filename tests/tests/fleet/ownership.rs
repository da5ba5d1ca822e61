//! Objects that existed before, and changes by others.

use acceptance::manifests::{deployment, namespace, patch, web};
use acceptance::{Fleet, SOON, condition, desired};
use anyhow::{Context, ensure};
use serde_json::json;
use testbed::eventually;

pub(crate) async fn drift_is_reported_or_put_back_and_foreign_fields_stay(fleet: &mut Fleet) -> anyhow::Result<()> {
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

pub(crate) async fn adoption_is_refused_with_the_owners_name_or_taken(fleet: &mut Fleet) -> anyhow::Result<()> {
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

pub(crate) async fn imported_objects_are_not_touched(fleet: &mut Fleet) -> anyhow::Result<()> {
    let space = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "legacy"}});
    let mut workload = deployment("shop", "shop:7");
    workload["metadata"]["namespace"] = json!("legacy");
    workload["spec"]["replicas"] = json!(3);
    let config = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "shop", "namespace": "legacy"}, "data": {"k": "v"}});
    fleet.apply("north-b", &json!({"apiVersion": "v1", "kind": "List", "items": [space, workload, config]}))?;
    let running = async |fleet: &Fleet| {
        let object = fleet.get("north-b", "deployment", "legacy", "shop")?.context("it runs")?;
        Ok((object["status"]["availableReplicas"] == 3).then_some(object))
    };
    let before = eventually("it runs", SOON, async || running(fleet).await).await?;
    let pods = fleet.kubectl("north-b", &["get", "pods", "-n", "legacy", "-o", "name"])?;

    namespace(fleet, "legacy")?;
    let kubeconfig = fleet.bed.member("north-b")?.kubeconfig().display().to_string();
    let import = ["app", "import", "shop", "-n", "legacy", "--cluster", "north-b", "--kubeconfig", &kubeconfig];
    let objects = ["deploy/shop", "cm/shop"];
    let shown = fleet.meridian(&[&import, objects.as_slice(), &["--dry-run"]].concat())?;
    ensure!(shown.contains("kind: Application") && !shown.contains("resourceVersion"), "{shown}");
    ensure!(fleet.get("hub", "mapp", "legacy", "shop")?.is_none(), "a dry run writes nothing");
    fleet.meridian(&[&import, objects.as_slice(), &["--yes"]].concat())?;
    let app = fleet.ready("legacy", "shop").await?;
    ensure!(desired(&app) == "north-b=3", "{}", desired(&app));
    let after = eventually("it runs on", SOON, async || running(fleet).await).await?;
    ensure!(after["metadata"]["uid"] == before["metadata"]["uid"] && after["spec"] == before["spec"], "{after:#}");
    ensure!(after["metadata"]["labels"]["fleet.meridian.io/managed"] == "true");
    ensure!(fleet.kubectl("north-b", &["get", "pods", "-n", "legacy", "-o", "name"])? == pods, "no pod was replaced");
    Ok(())
}

pub(crate) async fn namespaces_and_accounts_of_others_are_left_alone(fleet: &mut Fleet) -> anyhow::Result<()> {
    // An Application in Meridian's own namespace tries to take Meridian's own account.
    let account = |name: &str| json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name}});
    let own = json!({"adopt": "Always", "placement": {}, "components": [{"name": "account", "template": account("meridian")}]});
    fleet.apply("hub", &acceptance::manifests::app("meridian-system", "own-account", own))?;
    let refused = |app: &crds::Application| {
        condition(app, "Ready").is_some_and(|(_, why)| why.contains("belongs to Kubernetes or to Meridian"))
    };
    fleet.app_until("meridian-system", "own-account", "refused", refused).await?;
    fleet.kubectl("hub", &["delete", "mapp", "own-account", "-n", "meridian-system", "--timeout=60s"])?;
    let kept = fleet.get("north-a", "serviceaccount", "meridian-system", "meridian")?.context("it is still there")?;
    ensure!(kept["metadata"]["labels"].get("fleet.meridian.io/managed").is_none(), "{kept:#}");

    // A cluster that denies a namespace receives nothing of the namespace, not even the namespace itself.
    let level = json!({"pod-security.kubernetes.io/enforce": "baseline"});
    let space = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "tenant", "labels": level}});
    fleet.apply("hub", &space)?;
    let deny = |list: serde_json::Value| json!({"spec": {"namespaces": list}}).to_string();
    let patch_cluster = |fleet: &Fleet, change: &str| {
        fleet.kubectl("hub", &["patch", "mcl", "north-a", "--type", "merge", "-p", change]).map(drop)
    };
    patch_cluster(fleet, &deny(json!({"deny": ["tenant"]})))?;
    // One of the other clusters has an equal service account already.
    let mut foreign = account("runner");
    foreign["metadata"]["namespace"] = json!("tenant");
    let there = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "tenant"}});
    fleet.apply("south-a", &json!({"apiVersion": "v1", "kind": "List", "items": [there, foreign]}))?;
    let mut manifest = web("tenant", "web", 4);
    manifest["spec"]["adopt"] = json!("Always");
    let components = manifest["spec"]["components"].as_array_mut().context("components")?;
    components[0]["template"]["spec"]["template"]["spec"]["serviceAccountName"] = json!("runner");
    components.push(json!({"name": "runner", "template": account("runner")}));
    fleet.apply("hub", &manifest)?;
    let stalled = |app: &crds::Application| {
        condition(app, "Stalled").is_some_and(|(stalled, why)| stalled == "True" && why.contains("adopt: Always"))
    };
    fleet.app_until("tenant", "web", "refused for the account", stalled).await?;
    let kept = fleet.get("south-a", "serviceaccount", "tenant", "runner")?.context("it is still there")?;
    ensure!(kept["metadata"]["labels"].get("fleet.meridian.io/managed").is_none(), "{kept:#}");
    manifest["spec"]["components"][1]["adopt"] = json!("Always");
    fleet.apply("hub", &manifest)?;
    let placed = fleet.ready("tenant", "web").await?;
    ensure!(desired(&placed) == "north-b=2 south-a=2", "{}", desired(&placed));
    ensure!(fleet.get("north-a", "namespace", "", "tenant")?.is_none(), "nothing is written where it is denied");
    let made = fleet.get("north-b", "namespace", "", "tenant")?.context("it was made")?;
    ensure!(made["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "baseline", "{made:#}");
    patch_cluster(fleet, &deny(json!(null)))?;
    fleet.meridian(&["app", "delete", "web", "-n", "tenant", "--yes", "--timeout", "60s"]).map(drop)
}
