//! Clusters join, change their credential, are replaced and leave.

use acceptance::manifests::{namespace, web};
use acceptance::{Fleet, SOON, condition, desired};
use anyhow::{Context, ensure};
use serde_json::json;
use testbed::{AuditEvent, KwokCluster, eventually};

/// Runs a command, checks its exit code, and returns its standard error.
fn ends_with(code: i32, fleet: &Fleet, arguments: &[&str]) -> anyhow::Result<String> {
    let output = fleet.try_meridian(arguments)?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.code() == Some(code), "{}: {}: {said}", arguments.join(" "), output.status);
    Ok(said)
}

pub(crate) async fn one_cluster_has_one_name_and_one_name_is_one_cluster(fleet: &mut Fleet) -> anyhow::Result<()> {
    let kubeconfig =
        |member: &str| Ok::<_, anyhow::Error>(fleet.bed.member(member)?.kubeconfig().display().to_string());
    let (north, south) = (kubeconfig("north-a")?, kubeconfig("south-a")?);
    let twice = ["cluster", "join", "second", "--kubeconfig", &north, "--region", "north", "--zone", "n1"];
    let said = ends_with(2, fleet, &twice)?;
    ensure!(said.contains("joined as north-a already") && said.contains("cluster remove north-a"), "{said}");
    let said = ends_with(2, fleet, &["cluster", "update-credential", "north-a", "--kubeconfig", &south])?;
    ensure!(said.contains("not the cluster that joined as north-a"), "{said}");

    // The hub refuses a second name too, independent of the client.
    let mut twin: serde_json::Value =
        serde_json::from_str(&fleet.kubectl("hub", &["get", "mcl", "north-a", "-o", "json"])?)?;
    twin["metadata"] = json!({"name": "twin"});
    fleet.apply("hub", &twin)?;
    let said = eventually("the twin is refused", SOON, async || {
        let shown = fleet.kubectl("hub", &["get", "mcl", "twin", "-o", "json"])?;
        let shown: serde_json::Value = serde_json::from_str(&shown)?;
        let conditions = shown["status"]["conditions"].as_array().cloned().unwrap_or_default();
        Ok(conditions.into_iter().find(|one| one["type"] == "Ready" && one["reason"] == "SameCluster"))
    })
    .await?;
    let message = said["message"].as_str().unwrap_or_default();
    ensure!(message.contains("north-a") && message.contains("remove one of the two names"), "{message}");
    fleet.kubectl("hub", &["delete", "mcl", "twin", "--timeout=30s"]).map(drop)
}

pub(crate) async fn joining_again_updates_and_an_unreachable_member_is_refused(
    fleet: &mut Fleet,
) -> anyhow::Result<()> {
    let kubeconfig = fleet.bed.member("south-a")?.kubeconfig().display().to_string();
    let zones = |fleet: &Fleet| fleet.kubectl("hub", &["get", "mcl", "south-a", "-o", "jsonpath={.spec.zones}"]);
    fleet.meridian(&["cluster", "join", "south-a", "--kubeconfig", &kubeconfig, "--zone", "s1,s2"])?;
    ensure!(zones(fleet)? == r#"["s1","s2"]"#, "{}", zones(fleet)?);
    fleet.meridian(&["cluster", "join", "south-a", "--kubeconfig", &kubeconfig, "--zone", "s1"])?;
    ensure!(zones(fleet)? == r#"["s1"]"#, "{}", zones(fleet)?);

    let [nobody] = testbed::free_ports()?;
    let plane = fleet.bed.member("south-a")?;
    let text =
        std::fs::read_to_string(&kubeconfig)?.replace(&plane.server_url(), &format!("https://127.0.0.1:{nobody}"));
    let file = fleet.bed.folder().join("nobody.kubeconfig");
    std::fs::write(&file, text)?;
    let file = file.display().to_string();
    let said =
        ends_with(9, fleet, &["cluster", "join", "nobody", "--kubeconfig", &file, "--region", "x", "--zone", "x"])?;
    ensure!(said.contains(&nobody.to_string()), "{said}");
    ensure!(fleet.try_kubectl("hub", &["get", "mcl", "nobody"])?.status.code() != Some(0), "nothing entered the fleet");
    Ok(())
}

/// Returns the number of requests that a member refused because of their token.
///
/// The audit log has no user for such requests.
fn unauthorized(fleet: &Fleet, member: &str) -> anyhow::Result<usize> {
    Ok(fleet.bed.member(member)?.audit().count(|event| event.code == 401))
}

pub(crate) async fn credentials_are_renewed_at_four_fifths_of_life_under_load(fleet: &mut Fleet) -> anyhow::Result<()> {
    namespace(fleet, "renewal")?;
    fleet.apply("hub", &web("renewal", "web", 6))?;
    fleet.ready("renewal", "web").await?;
    let events = |fleet: &Fleet| -> anyhow::Result<Vec<AuditEvent>> {
        let ours = |event: &AuditEvent| event.user.starts_with("system:serviceaccount:meridian-system:");
        Ok(fleet.bed.member("south-a")?.audit().events().into_iter().filter(ours).collect())
    };
    let writes = |events: &[AuditEvent]| -> Vec<String> {
        let ours = events.iter().filter(|event| event.namespace == "renewal" && event.is_write());
        ours.map(|event| event.credential.clone()).collect()
    };
    let (before, strangers) = (events(fleet)?, unauthorized(fleet, "south-a")?);
    let old = writes(&before).pop().context("a write with a credential")?;
    ensure!(!old.is_empty(), "the server says which token it was asked with");
    // Six days are not less than four fifths of seven days.
    let aged = "update credential set issued_at = issued_at - interval '6 days', expires_at = expires_at - interval '6 days' where cluster = 'south-a'";
    fleet.bed.postgres.query(aged)?;
    let mut replicas = 6;
    for more in 0..60 {
        // Each change adds one replica in every member.
        replicas += 3;
        acceptance::manifests::patch(fleet, "renewal", "web", &json!({"spec": {"replicas": replicas}}))?;
        let grown = fleet.ready("renewal", "web").await?;
        ensure!(desired(&grown).contains(&format!("south-a={}", replicas / 3)), "{}", desired(&grown));
        let seen = events(fleet)?;
        if writes(&seen).pop().is_some_and(|used| used != old) {
            let young =
                "select count(*) from credential where cluster = 'south-a' and issued_at > now() - interval '1 hour'";
            ensure!(fleet.bed.postgres.query(young)? == "1", "it is stored");
            let forbidden = seen[before.len()..].iter().filter(|event| event.code == 403).count();
            let refused = forbidden + unauthorized(fleet, "south-a")? - strangers;
            ensure!(refused == 0, "{refused} requests were refused after {more} changes");
            return fleet.meridian(&["app", "delete", "web", "-n", "renewal", "--yes", "--timeout", "60s"]).map(drop);
        }
    }
    anyhow::bail!("no write was made with another token than {old}")
}

pub(crate) async fn a_revoked_credential_is_told_and_mended_without_a_restart(fleet: &mut Fleet) -> anyhow::Result<()> {
    namespace(fleet, "revoked")?;
    fleet.apply("hub", &web("revoked", "web", 6))?;
    fleet.ready("revoked", "web").await?;
    let pid = fleet.operator()?.process.pid();
    // A token becomes invalid when its service account is deleted.
    let account = ["serviceaccount", "meridian", "-n", "meridian-system"];
    fleet.kubectl("north-b", &[&["delete"], account.as_slice()].concat())?;
    let cluster = |fleet: &Fleet| -> anyhow::Result<(String, String)> {
        let shown = fleet.kubectl("hub", &["get", "mcl", "north-b", "-o", "json"])?;
        let shown: serde_json::Value = serde_json::from_str(&shown)?;
        let conditions = shown["status"]["conditions"].as_array().cloned().unwrap_or_default();
        let ready = conditions.into_iter().find(|one| one["type"] == "Ready").context("a condition")?;
        let text = |field: &str| ready[field].as_str().unwrap_or_default().to_owned();
        Ok((text("status"), format!("{}: {}", text("reason"), text("message"))))
    };
    let refused = eventually("the cluster says so, with the remedy", SOON, async || {
        let (ready, why) = cluster(fleet)?;
        ensure!(ready != "True" && why.contains("update-credential north-b"), "{ready}: {why}");
        Ok(Some(why))
    })
    .await?;
    ensure!(unauthorized(fleet, "north-b")? > 0, "a refused token is seen in the member's log");
    let kubeconfig = fleet.bed.member("north-b")?.kubeconfig().display().to_string();
    // Join installs the account, and a fresh credential alone needs the account to exist.
    fleet.kubectl("north-b", &["create", "serviceaccount", "meridian", "-n", "meridian-system"])?;
    fleet.meridian(&["cluster", "update-credential", "north-b", "--kubeconfig", &kubeconfig])?;
    eventually("the cluster is ready again", SOON, async || {
        let (ready, why) = cluster(fleet)?;
        ensure!(ready == "True", "{ready}: {why}, after {refused}");
        Ok(Some(()))
    })
    .await?;
    acceptance::manifests::patch(fleet, "revoked", "web", &json!({"spec": {"replicas": 9}}))?;
    let grown = fleet.ready("revoked", "web").await?;
    ensure!(desired(&grown) == "north-a=3 north-b=3 south-a=3", "{}", desired(&grown));
    ensure!(fleet.operator()?.process.pid() == pid, "it is the same process");
    // Joining again restores the parts that the test created by hand.
    let member = fleet.plan.members[1].clone();
    fleet.join(&member)
}

/// Uses clusters that this test bed did not create: one joins, another replaces it and leaves.
pub(crate) async fn a_cluster_made_by_kwokctl_joins_is_replaced_and_leaves(fleet: &mut Fleet) -> anyhow::Result<()> {
    namespace(fleet, "guest")?;
    let first = KwokCluster::start(fleet.bed.folder(), "first").await?;
    let kubeconfig = first.kubeconfig().display().to_string();
    let place = ["--region", "west", "--zone", "w1"];
    fleet.meridian(&[&["cluster", "join", "guest", "--kubeconfig", &kubeconfig], place.as_slice()].concat())?;
    let mut manifest = web("guest", "web", 2);
    manifest["spec"]["placement"] = json!({"cells": {"matchLabels": {"fleet.meridian.io/cluster": "guest"}}});
    fleet.apply("hub", &manifest)?;
    fleet.ready("guest", "web").await?;
    let available = |cluster: &KwokCluster| {
        let path = "jsonpath={.status.availableReplicas}";
        cluster.kubectl(&["get", "deployment", "web", "-n", "guest", "-o", path, "--ignore-not-found"])
    };
    ensure!(available(&first)? == "2", "{}", available(&first)?);
    drop(first);

    let second = KwokCluster::start(fleet.bed.folder(), "second").await?;
    let kubeconfig = second.kubeconfig().display().to_string();
    let said = ends_with(2, fleet, &["cluster", "join", "guest", "--kubeconfig", &kubeconfig])?;
    ensure!(said.contains("kube-system UID") && said.contains("meridian cluster replace guest"), "{said}");
    ensure!(available(&second)?.is_empty(), "a refused cluster is not touched");
    fleet.meridian(&["cluster", "replace", "guest", "--kubeconfig", &kubeconfig, "--yes"])?;
    eventually("everything placed there is delivered to the new one", SOON, async || {
        Ok((available(&second)? == "2").then_some(()))
    })
    .await?;
    fleet.ready("guest", "web").await?;

    fleet.meridian(&["cluster", "remove", "guest", "--yes", "--timeout", "60s", "--kubeconfig", &kubeconfig])?;
    ensure!(available(&second)? == "2", "what was delivered runs on");
    let rights = second.kubectl(&["get", "clusterroles,clusterrolebindings", "-o", "name"])?;
    ensure!(!rights.contains("meridian"), "what join installed is gone: {rights}");
    let left = second.kubectl(&["get", "deployment", "web", "-n", "guest", "-o", "jsonpath={.metadata.labels}"])?;
    ensure!(!left.contains("fleet.meridian.io/managed"), "and belongs to nobody: {left}");
    Ok(())
}

pub(crate) async fn a_removed_cluster_takes_its_workloads_along_when_asked(fleet: &mut Fleet) -> anyhow::Result<()> {
    namespace(fleet, "leaving")?;
    fleet.apply("hub", &web("leaving", "web", 6))?;
    let before = fleet.ready("leaving", "web").await?;
    ensure!(desired(&before) == "north-a=2 north-b=2 south-a=2", "{}", desired(&before));
    let history =
        acceptance::History::follow(fleet, &acceptance::manifests::MEMBERS, "apps/v1/Deployment", "leaving").await?;
    fleet.meridian(&["cluster", "remove", "north-b", "--delete-workloads", "--yes", "--timeout", "60s"])?;
    fleet
        .app_until("leaving", "web", "moved", |app| {
            desired(app) == "north-a=3 south-a=3" && condition(app, "Ready").is_some_and(|(ready, _)| ready == "True")
        })
        .await?;
    history.available_at_least(6)?;
    ensure!(fleet.get("north-b", "deployment", "leaving", "web")?.is_none(), "it is deleted there");
    // The cluster may join again like a new one, and no replica moves to the cluster without a request.
    let member = fleet.plan.members[1].clone();
    fleet.join(&member)?;
    let needs_rebalance = |app: &crds::Application| condition(app, "RebalanceNeeded").is_some();
    let after = fleet.app_until("leaving", "web", "told of a rebalance", needs_rebalance).await?;
    ensure!(desired(&after) == "north-a=3 south-a=3", "{}", desired(&after));
    Ok(())
}
