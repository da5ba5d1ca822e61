//! The operator dies before and after every write, and the result equals that of an undisturbed run.

mod release;

use std::collections::BTreeMap;

use acceptance::manifests::{MEMBERS, namespace, patch, web};
use acceptance::{Fleet, SOON, condition};
use anyhow::{Context, ensure};
use crds::{Application, Cluster};
use kube::Api;
use serde_json::{Value, json};
use testbed::eventually;

/// Environment variable that names the point at which the operator ends; see `runtime::crash`.
const CRASH_AT: &str = "MERIDIAN_CRASH_AT";
/// Points at the second write of the failover breaker, which is the write of its closing.
///
/// The breaker is written when it opens, and when it closes.
const CLOSING: [&str; 2] = ["failover_breaker_set:before:2", "failover_breaker_set:after:2"];
/// Writes that operations make. They commit often, so the operator dies at some of these commits.
const OF_OPERATIONS: [&str; 3] = ["directive_put", "directive_end", "operation_commit"];
/// Commits of an operation at which the operator dies, besides the first.
const COMMITS: [usize; 3] = [2, 4, 7];
/// Number of revisions, more than Meridian keeps.
const REVISIONS: usize = 23;

pub(crate) async fn dying_at_any_write_loses_nothing_and_does_nothing_twice(fleet: &mut Fleet) -> anyhow::Result<()> {
    let mut calm = Victim { fleet, point: None, died: true };
    let undisturbed = life(&mut calm, "calm").await?;
    let sides = |write: &str| ["before", "after"].map(|side| format!("{write}:{side}"));
    let commits = sides("operation_commit").into_iter().flat_map(|point| COMMITS.map(|time| format!("{point}:{time}")));
    let writes = store::WRITES.iter().chain(&delivery::MEMBER_WRITES);
    let points: Vec<String> =
        writes.flat_map(|write| sides(write)).chain(CLOSING.map(str::to_owned)).chain(commits).collect();
    for (number, point) in points.iter().enumerate() {
        let begun = std::time::Instant::now();
        let namespace = format!("crash-{number}");
        let mut victim = Victim { fleet, point: Some(point.clone()), died: false };
        victim.begin()?;
        let outcome = stimulate(&mut victim, point, &namespace).await;
        let state = outcome.with_context(|| format!("dying at {point}"))?;
        ensure!(victim.died, "nothing passed {point}, so nothing was shown");
        if let Some(state) = state {
            ensure!(state == undisturbed, "dying at {point}: {state:#?} instead of {undisturbed:#?}");
            once_each(fleet, &namespace).with_context(|| format!("dying at {point}"))?;
        }
        println!("  {point} ({} ms)", begun.elapsed().as_millis());
    }
    Ok(())
}

/// An operator that dies once at a point; `tend` starts it again without the point.
struct Victim<'a> {
    fleet: &'a mut Fleet,
    point: Option<String>,
    died: bool,
}

impl Victim<'_> {
    fn begin(&mut self) -> anyhow::Result<()> {
        let process = &mut self.fleet.operator()?.process;
        process.end()?;
        process.set_environment(CRASH_AT, self.point.as_deref());
        process.start()
    }

    /// Starts the operator again if it died.
    fn tend(&mut self) -> anyhow::Result<()> {
        let process = &mut self.fleet.operator()?.process;
        if !process.is_alive() {
            self.died = true;
            process.set_environment(CRASH_AT, None);
            process.start_again()?;
        }
        Ok(())
    }

    /// Waits until a condition holds; the operator may die meanwhile.
    async fn until(
        &mut self,
        what: &str,
        mut wanted: impl AsyncFnMut(&Fleet) -> anyhow::Result<bool>,
    ) -> anyhow::Result<()> {
        eventually(what, SOON, async || {
            self.tend()?;
            Ok(wanted(self.fleet).await?.then_some(()))
        })
        .await
    }

    async fn ready(&mut self, namespace: &str) -> anyhow::Result<()> {
        let apps: Api<Application> = Api::namespaced(self.fleet.client("hub").await?, namespace);
        self.until(&format!("{namespace} is ready"), async |_| {
            let app = apps.get("web").await?;
            let status = app.status.as_ref().context("no status yet")?;
            let current = status.observed_generation == app.metadata.generation;
            let ready = condition(&app, "Ready").context("no condition yet")?;
            ensure!(current && ready.0 == "True", "{ready:?}");
            Ok(true)
        })
        .await
    }

    /// Waits until the revision is stored as ready.
    ///
    /// The operator stores this a moment after readiness, for many revisions at once.
    async fn remembered(&mut self, namespace: &str) -> anyhow::Result<()> {
        let query = format!(
            "select count(*) from application a join app_revision r on r.app = a.id and r.revision = a.revision \
             where a.namespace = '{namespace}' and r.was_ready"
        );
        self.until("the revision is remembered as ready", async |fleet| Ok(fleet.bed.postgres.query(&query)? == "1"))
            .await
    }

    /// Waits until the operator has died.
    async fn dead(&mut self) -> anyhow::Result<()> {
        eventually("it dies", SOON, async || {
            self.tend()?;
            Ok(self.died.then_some(()))
        })
        .await
    }
}

/// Does the work that passes a point; returns the state of the namespace if an Application lived there.
async fn stimulate(victim: &mut Victim<'_>, point: &str, namespace: &str) -> anyhow::Result<Option<State>> {
    let write = point.split(':').next().unwrap_or(point);
    match write {
        "cell_take" | "cell_leave" | "cell_forget" => cell(victim, namespace).await?,
        "cluster_take" => cordon(victim).await?,
        "cluster_status_set" | "cluster_seen" => victim.dead().await?,
        "credential_set" => credential(victim, "south-a").await?,
        "cluster_forget" => rejoin(victim).await?,
        "cluster_replace" => replace(victim, "south-a").await?,
        "failover_breaker_set" => half(victim, namespace).await?,
        write if OF_OPERATIONS.contains(&write) => drain(victim, namespace).await?,
        "release_open" | "release_conclude" => release::release(victim, namespace).await?,
        "revisions_collect" => return revisions(victim, namespace).await.map(|()| None),
        _ => return life(victim, namespace).await.map(Some),
    }
    victim.until("all members are ready", async |fleet| all_ready(fleet).await).await?;
    Ok(None)
}

/// Objects in the members, without fields that differ between any two objects.
type State = BTreeMap<String, String>;

fn manifest(namespace: &str, disk: bool) -> anyhow::Result<Value> {
    let mut manifest = web(namespace, "web", 6);
    let components = manifest["spec"]["components"].as_array_mut().context("components")?;
    components.push(json!({"name": "config", "template": {"apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "web"}, "data": {"k": "v"}}}));
    if disk {
        components.push(json!({"name": "disk", "template": {"apiVersion": "v1", "kind": "PersistentVolumeClaim",
            "metadata": {"name": "web"}, "spec": {"accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": "1Gi"}}}}}));
    }
    Ok(manifest)
}

/// Creates an Application, scales it up, removes a claim from its spec, and deletes it.
async fn life(victim: &mut Victim<'_>, name: &str) -> anyhow::Result<State> {
    namespace(victim.fleet, name)?;
    victim.fleet.apply("hub", &manifest(name, true)?)?;
    victim.ready(name).await?;
    let mut smaller = manifest(name, false)?;
    smaller["spec"]["replicas"] = json!(9);
    victim.fleet.apply("hub", &smaller)?;
    victim.ready(name).await?;
    if victim.point.as_deref().is_some_and(|point| point.starts_with("revisions_were_ready")) {
        victim.remembered(name).await?;
    }
    let full = state(victim.fleet, name)?;
    victim.fleet.kubectl("hub", &["delete", "mapp", "web", "-n", name, "--wait=false"])?;
    victim
        .until(&format!("{name} is gone"), async |fleet| Ok(fleet.get("hub", "mapp", name, "web")?.is_none()))
        .await?;
    let left = state(victim.fleet, name)?;
    let claims = left.keys().filter(|object| object.contains("PersistentVolumeClaim")).count();
    ensure!(claims == MEMBERS.len() && left.len() == claims, "every claim stays, and nothing else: {left:?}");
    let rows = victim.fleet.bed.postgres.query(&format!(
        "select count(*) from application a left join placement p on p.app = a.id where a.namespace = '{name}'"
    ))?;
    ensure!(rows == "0", "{rows} rows are left");
    Ok(full)
}

fn state(fleet: &Fleet, namespace: &str) -> anyhow::Result<State> {
    let mut state = State::new();
    for member in MEMBERS {
        let kinds = "deployments,configmaps,persistentvolumeclaims";
        let list: Value =
            serde_json::from_str(&fleet.kubectl(member, &["get", kinds, "-n", namespace, "-o", "json"])?)?;
        for object in list["items"].as_array().context("a list")? {
            let name = object["metadata"]["name"].as_str().unwrap_or_default();
            if name == "kube-root-ca.crt" {
                continue;
            }
            let kind = object["kind"].as_str().unwrap_or_default();
            let facts = json!({
                "ours": object["metadata"]["labels"]["fleet.meridian.io/managed"],
                "replicas": object["spec"]["replicas"],
                "image": object["spec"]["template"]["spec"]["containers"][0]["image"],
                "data": object["data"],
            });
            state.insert(format!("{member} {kind} {name}"), facts.to_string());
        }
    }
    Ok(state)
}

/// Checks in the members' audit logs that no object of a namespace was created or deleted twice.
fn once_each(fleet: &Fleet, namespace: &str) -> anyhow::Result<()> {
    let mut counts: BTreeMap<(String, String, &str), usize> = BTreeMap::new();
    for (member, event) in fleet.member_events().into_iter().filter(|(_, event)| event.namespace == namespace) {
        let what = if event.is_creation() {
            "made"
        } else if event.is_deletion() {
            "deleted"
        } else {
            continue;
        };
        *counts.entry((member, format!("{} {}", event.resource, event.name), what)).or_default() += 1;
    }
    ensure!(!counts.is_empty(), "the audit logs know nothing of {namespace}");
    let twice: Vec<_> = counts.iter().filter(|(_, count)| **count > 1).collect();
    ensure!(twice.is_empty(), "more than once: {twice:?}");
    Ok(())
}

async fn all_ready(fleet: &Fleet) -> anyhow::Result<bool> {
    let clusters: Api<Cluster> = Api::all(fleet.client("hub").await?);
    for member in MEMBERS {
        let cluster = clusters.get(member).await?;
        let status = cluster.status.clone().unwrap_or_default();
        let ready =
            status.conditions.iter().find(|condition| condition.type_ == "Ready").context("no condition yet")?;
        ensure!(
            ready.status == "True" && status.observed_generation == cluster.metadata.generation,
            "{member}: {ready:?}"
        );
    }
    Ok(true)
}

async fn cell(victim: &mut Victim<'_>, name: &str) -> anyhow::Result<()> {
    victim.fleet.apply(
        "hub",
        &json!({"apiVersion": "fleet.meridian.io/v1alpha1", "kind": "Cell", "metadata": {"name": name},
            "spec": {"cluster": "south-a", "unit": "rz09", "unitKind": "R", "pair": "A"}}),
    )?;
    victim
        .until("the cell is taken in", async |fleet| {
            let query = format!("select count(*) from cell where name = '{name}' and spec is not null");
            Ok(fleet.bed.postgres.query(&query)? == "1")
        })
        .await?;
    victim.fleet.kubectl("hub", &["delete", "mcell", name, "--wait=false"])?;
    victim.until("the cell is gone", async |fleet| Ok(fleet.get("hub", "mcell", "", name)?.is_none())).await
}

/// Drains a cluster by an operation that only the operator runs, and takes the drain back.
async fn drain(victim: &mut Victim<'_>, name: &str) -> anyhow::Result<()> {
    victim.fleet.start_api(false).await?;
    namespace(victim.fleet, name)?;
    victim.fleet.apply("hub", &web(name, "web", 6))?;
    victim.ready(name).await?;
    let output = victim.fleet.meridian(&["drain", "cluster/north-b", "-o", "json"])?;
    let operation: Value = serde_json::from_str(&output)?;
    let id = operation["id"].as_str().context("an id")?.to_owned();
    over(victim, &id, "Succeeded").await?;
    let left = victim.fleet.get("north-b", "deployment", name, "web")?;
    ensure!(left.is_none_or(|left| left["spec"]["replicas"] == 0), "the drained cluster has replicas");
    victim.ready(name).await?;
    victim.fleet.meridian(&["op", "revert", &id])?;
    over(victim, &id, "Reverted").await?;
    let query = format!("select count(*) from placement_directive where owner = 'operation/{id}'");
    ensure!(victim.fleet.bed.postgres.query(&query)? == "0", "directives of a reverted drain are left");
    let query = format!(
        "select count(*) from (select step, target, round, attempt from journal where operation = '{id}' and entry = 'Intent' \
         group by 1, 2, 3, 4 having count(*) > 1) twice"
    );
    ensure!(victim.fleet.bed.postgres.query(&query)? == "0", "an intent was stored twice");
    victim.fleet.meridian(&["app", "delete", "web", "-n", name, "--yes", "--timeout", "60s"]).map(drop)
}

/// Waits until an operation is over, in this state.
async fn over(victim: &mut Victim<'_>, id: &str, state: &str) -> anyhow::Result<()> {
    let query = format!("select state from operation where id = '{id}'");
    victim
        .until(&format!("operation {id} is {state}"), async |fleet| {
            let found = fleet.bed.postgres.query(&query)?;
            ensure!(found == state, "the operation is {found}");
            Ok(true)
        })
        .await
}

async fn cordon(victim: &mut Victim<'_>) -> anyhow::Result<()> {
    victim.fleet.meridian(&["cluster", "cordon", "south-a"])?;
    victim.dead().await?;
    victim.fleet.meridian(&["cluster", "uncordon", "south-a"]).map(drop)
}

async fn credential(victim: &mut Victim<'_>, cluster: &str) -> anyhow::Result<()> {
    let kubeconfig = victim.fleet.bed.member(cluster)?.kubeconfig().display().to_string();
    let update = ["cluster", "update-credential", cluster, "--kubeconfig", &kubeconfig, "--wait=false"];
    victim.fleet.meridian(&update)?;
    victim
        .until("the Secret is sealed and gone", async |fleet| {
            let secrets = fleet.kubectl("hub", &["get", "secrets", "-n", "meridian-system", "-o", "name"])?;
            Ok(secrets.trim().is_empty())
        })
        .await
}

async fn rejoin(victim: &mut Victim<'_>) -> anyhow::Result<()> {
    victim.fleet.meridian(&["cluster", "remove", "south-a", "--yes", "--wait=false"])?;
    victim.until("the cluster is gone", async |fleet| Ok(fleet.get("hub", "mcl", "", "south-a")?.is_none())).await?;
    let south = victim.fleet.plan.members.iter().find(|member| member.name == "south-a").cloned();
    victim.fleet.join(&south.context("the usual member")?)
}

/// Replaces a cluster by another cluster under the same name, and then by the first one again.
async fn replace(victim: &mut Victim<'_>, cluster: &str) -> anyhow::Result<()> {
    let own = uid(victim.fleet, cluster)?;
    for uid in [&nobody(0), &own] {
        rename(victim, cluster, uid).await?;
    }
    // The sealed credential belonged to the other cluster.
    credential(victim, cluster).await
}

async fn rename(victim: &mut Victim<'_>, cluster: &str, uid: &str) -> anyhow::Result<()> {
    let change = json!({"metadata": {"annotations": {"fleet.meridian.io/replace": uid}}, "spec": {"uid": uid}});
    victim.fleet.kubectl("hub", &["patch", "mcl", cluster, "--type", "merge", "-p", &change.to_string()])?;
    let query = format!("select count(*) from cluster where name = '{cluster}' and member_uid = '{uid}'");
    victim.until("it is replaced", async |fleet| Ok(fleet.bed.postgres.query(&query)? == "1")).await
}

fn uid(fleet: &Fleet, cluster: &str) -> anyhow::Result<String> {
    let cluster = fleet.get("hub", "mcl", "", cluster)?.context("a cluster")?;
    Ok(cluster["spec"]["uid"].as_str().context("a UID")?.to_owned())
}

/// Makes clusters of different zones unhealthy at the same time, and then healthy again.
async fn half(victim: &mut Victim<'_>, name: &str) -> anyhow::Result<()> {
    namespace(victim.fleet, name)?;
    victim.fleet.apply("hub", &web(name, "web", 3))?;
    victim.ready(name).await?;
    let half = ["north-a", "south-a"];
    let own = half.map(|cluster| uid(victim.fleet, cluster));
    for (number, cluster) in half.iter().enumerate() {
        rename(victim, cluster, &nobody(number)).await?;
    }
    let closing = victim.point.as_deref().is_some_and(|point| CLOSING.contains(&point));
    if closing {
        let open = async |fleet: &Fleet| Ok(fleet.operators[0].metric("meridian_failover_breaker_open")? > 0.5);
        victim.until("the breaker is open", open).await?;
    } else {
        victim.dead().await?;
    }
    for (cluster, own) in half.iter().zip(own) {
        rename(victim, cluster, &own?).await?;
        credential(victim, cluster).await?;
    }
    victim.until("all members are ready", async |fleet| all_ready(fleet).await).await?;
    victim.dead().await?;
    victim.fleet.meridian(&["app", "delete", "web", "-n", name, "--yes", "--timeout", "60s"]).map(drop)
}

/// Returns a UID that belongs to no cluster.
fn nobody(number: usize) -> String {
    format!("00000000-0000-0000-0000-00000000000{number}")
}
async fn revisions(victim: &mut Victim<'_>, name: &str) -> anyhow::Result<()> {
    namespace(victim.fleet, name)?;
    for number in 0..REVISIONS {
        let mut manifest = web(name, "web", 3);
        let template = &mut manifest["spec"]["components"][0]["template"];
        template["spec"]["template"]["spec"]["containers"][0]["image"] = json!(format!("web:{number}"));
        victim.fleet.apply("hub", &manifest)?;
        let apps: Api<Application> = Api::namespaced(victim.fleet.client("hub").await?, name);
        victim
            .until("the revision is taken in", async |fleet| {
                let generation = apps.get("web").await?.metadata.generation.unwrap_or_default();
                let query = format!("select generation from application where namespace = '{name}'");
                Ok(fleet.bed.postgres.query(&query)? == generation.to_string())
            })
            .await?;
    }
    victim.ready(name).await?;
    patch(victim.fleet, name, "web", &json!({"spec": {"deletion": {"policy": "Delete"}}}))?;
    victim.fleet.meridian(&["app", "delete", "web", "-n", name, "--yes", "--timeout", "60s"]).map(drop)
}
