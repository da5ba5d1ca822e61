//! Operations over the API: started once, watched, paused, taken back, on real control planes.

use std::process::Command;

use acceptance::manifests::{MEMBERS, namespace, web};
use acceptance::{Fleet, History, condition, desired};
use anyhow::{Context, ensure};
use serde_json::Value;

const DEPLOYMENTS: &str = "apps/v1/Deployment";

/// Returns the id that a command printed with `-o name` or `-o json`.
fn id_of(output: &str) -> anyhow::Result<String> {
    let value: Value = serde_json::from_str(output).with_context(|| output.to_owned())?;
    Ok(value["id"].as_str().context("the answer has no id")?.to_owned())
}

/// A drain over the API moves everything raise-before-lower, holds its locks, and is taken back.
pub(crate) async fn a_drain_is_watched_and_taken_back(fleet: &mut Fleet) -> anyhow::Result<()> {
    fleet.start_api(true).await?;
    namespace(fleet, "op-drain")?;
    fleet.apply("hub", &web("op-drain", "web", 9))?;
    fleet.ready("op-drain", "web").await?;
    let history = History::follow(fleet, &MEMBERS, DEPLOYMENTS, "op-drain").await?;

    // A dry run shows what would move, and creates nothing.
    let preview = fleet.meridian(&["drain", "cluster/north-b", "--dry-run"])?;
    ensure!(preview.contains("op-drain/web"), "{preview}");
    ensure!(!fleet.meridian(&["op", "list", "-o", "json"])?.contains("cluster north-b"), "a dry run creates nothing");

    // An operation that waits for `start` holds its locks: a second one is refused and names it.
    let held = id_of(&fleet.meridian(&["drain", "cluster/north-b", "--hold", "-o", "json"])?)?;
    let second = fleet.try_meridian(&["drain", "cluster/north-b"])?;
    let error = String::from_utf8_lossy(&second.stderr).into_owned();
    ensure!(!second.status.success() && error.contains(&held), "the holder is named: {error}");
    fleet.meridian(&["op", "start", &held])?;
    fleet.meridian(&["op", "wait", &held, "--timeout", "60s"])?;
    let app = fleet.app_until("op-drain", "web", "moved", |app| !desired(app).contains("north-b")).await?;
    ensure!(desired(&app) == "north-a=5 south-a=4" || desired(&app) == "north-a=4 south-a=5", "{}", desired(&app));
    history.available_at_least(9)?;
    ensure!(fleet.get("north-b", "deployment", "op-drain", "web")?.is_none(), "the drained cluster is empty");
    ensure!(
        fleet.meridian(&["explain", "placement", "web", "-n", "op-drain"])?.contains(&held),
        "it names the operation"
    );
    let chain = fleet.meridian(&["op", "verify", &held, "-o", "json"])?;
    ensure!(chain.contains("\"whole\": true") || chain.contains("\"whole\":true"), "{chain}");

    // Taken back, the cluster takes replicas again; a rebalance brings them.
    fleet.meridian(&["op", "undo", &held])?;
    fleet
        .app_until("op-drain", "web", "told of a rebalance", |app| condition(app, "RebalanceNeeded").is_some())
        .await?;
    fleet.meridian(&["rebalance", "web", "-n", "op-drain", "--yes"])?;
    fleet.app_until("op-drain", "web", "rebalanced", |app| desired(app) == "north-a=3 north-b=3 south-a=3").await?;
    history.available_at_least(9)?;
    Ok(())
}

fn curl(fleet: &Fleet, arguments: &[&str], path: &str) -> anyhow::Result<Value> {
    let api = fleet.api.as_ref().context("no server of the API runs")?;
    let output = Command::new("curl")
        .args(["-sS", "-H", &format!("Authorization: Bearer {}", api.token)])
        .args(arguments)
        .arg(format!("{}/api/v1{path}", api.url))
        .output()
        .context("running curl")?;
    ensure!(output.status.success(), "curl {path}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).with_context(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Start, wait, exit code: what a pipeline does. A repeated request is answered with the same operation.
pub(crate) async fn pipelines_start_once_and_wait_by_curl(fleet: &mut Fleet) -> anyhow::Result<()> {
    fleet.start_api(true).await?;
    namespace(fleet, "op-curl")?;
    fleet.apply("hub", &web("op-curl", "web", 6))?;
    fleet.ready("op-curl", "web").await?;
    let body = r#"{"kind":"drain","spec":{"cluster":"south-a"},"reason":"pipeline"}"#;
    let start = ["-X", "POST", "-H", "Content-Type: application/json", "-H", "Idempotency-Key: run-1", "-d", body];
    let operation = curl(fleet, &start, "/operations")?;
    let id = operation["id"].as_str().with_context(|| operation.to_string())?.to_owned();
    let again = curl(fleet, &start, "/operations")?;
    ensure!(again["id"] == id.as_str(), "expected {id}, found {again}");
    let mut operation = operation;
    while operation["done"] == false {
        operation = curl(fleet, &[], &format!("/operations/{id}?waitSeconds=30"))?;
    }
    ensure!(operation["state"] == "Succeeded", "{operation}");
    ensure!(fleet.get("south-a", "deployment", "op-curl", "web")?.is_none(), "the drained cluster is empty");
    fleet.meridian(&["op", "undo", &id])?;
    ensure!(fleet.meridian(&["whoami"])?.contains("alice"), "the server recognizes the caller");
    Ok(())
}
