//! Executes a plan on a test bed and records observations.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use acceptance::manifests::{namespace, web};
use acceptance::{Fleet, FleetPlan, Times};
use anyhow::{Context, ensure};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::check;
use crate::end::look;
use crate::faults::Faults;
use crate::gathered::{Asked, Broken, DesiredState, End, Gathered, Written};
use crate::plan::{Act, CLUSTERS, Plan, Work};
use crate::watch::Watches;

/// Namespace of the applications.
pub(crate) const NAMESPACE: &str = "soak";
/// Timeout from the end of all faults until the fleet is in the requested state.
const QUIET: Duration = Duration::from_mins(2);
/// Minimum interval between two looks at the whole fleet; each look queries four servers.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// Time for which the settled state must last.
///
/// Every timer of the operator expires once within this time.
const STAYS: Duration = Duration::from_secs(4);

/// Returns the fleet that every seed uses.
///
/// The fleet has three members and two operators, all links can be disturbed, and all times are short.
pub fn fleet() -> FleetPlan {
    let times = Times {
        lease: 1.0,
        look_again: 2.0,
        silence: Some(3.0),
        probe: Some(0.5),
        // The default is kept: heartbeats are written every ten seconds, whatever the other times are.
        stale_after: None,
        recovery: Some(1.0),
        delete_window: Some(2.0),
    };
    FleetPlan { operators: 2, faults: true, times, ..FleetPlan::usual() }
}

/// Executes a plan. `say` receives a line for each step.
///
/// # Errors
/// When the test bed fails, or the hub refuses work of a user.
pub async fn run(fleet: &mut Fleet, plan: &Plan, say: &mut dyn FnMut(String)) -> anyhow::Result<Gathered> {
    namespace(fleet, NAMESPACE)?;
    let (start, epoch) = (Instant::now(), Timestamp::now());
    let watches = Watches::follow(fleet, start).await?;
    let mut running = Running { start, gathered: Gathered::default(), apps: BTreeMap::new(), step: 0 };
    let mut faults = Faults::default();
    let mut due = Duration::ZERO;
    for (step, line) in plan.steps.iter().zip(plan.lines()) {
        due += step.wait;
        // This sleep waits for no condition: the seed decides when a step is due.
        tokio::time::sleep(due.saturating_sub(start.elapsed())).await;
        say(format!("{:>6} ms {line}", running.now()));
        let number = running.step;
        match &step.act {
            Act::Work(work) => running.work(fleet, work, say).with_context(|| format!("step {number}: {work:?}"))?,
            Act::Begin(fault, what) => {
                let (from, never) = (running.now(), u64::MAX);
                let broken = Broken { fault: *what, number: *fault, step: number, from, healing: never, until: never };
                running.gathered.faults.push(broken);
                faults.begin(fleet, *fault, *what).with_context(|| format!("step {number}: {what:?}"))?;
            }
            Act::End(fault) => {
                let healing = running.now();
                faults.end(fleet, *fault).await.with_context(|| format!("step {number}: the end of fault {fault}"))?;
                let now = running.now();
                let mut broken = running.gathered.faults.iter_mut();
                let broken = broken.find(|broken| broken.number == *fault).context("a fault that began")?;
                (broken.healing, broken.until) = (healing, now);
            }
        }
        running.step += 1;
    }
    for operator in &fleet.operators {
        ensure!(operator.process.is_alive(), "{} ended by itself", operator.identity);
    }
    for cluster in CLUSTERS {
        fleet.meridian(&["cluster", "uncordon", cluster])?;
    }
    say(format!("{:>6} ms everything is healed", running.now()));
    running.gathered.end = quiet(fleet, &running.gathered.asked).await?;
    say(format!("{:>6} ms done", running.now()));
    (running.gathered.versions, running.gathered.statuses) = watches.seen();
    running.gathered.writes = written(fleet, epoch)?;
    running.gathered.over = running.now();
    Ok(running.gathered)
}

struct Running {
    start: Instant,
    gathered: Gathered,
    apps: BTreeMap<&'static str, Manifest>,
    step: usize,
}

/// Fields of an application's manifest that the plan changes.
#[derive(Debug, Clone)]
struct Manifest {
    replicas: i64,
    image: String,
    /// Number in the name of the component.
    component: u64,
    clusters: Vec<&'static str>,
}

impl Running {
    fn now(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn ask(&mut self, app: &str, what: DesiredState) {
        self.gathered.asked.push(Asked { at: self.now(), step: self.step, app: app.to_owned(), what });
    }

    fn work(&mut self, fleet: &Fleet, work: &Work, say: &mut dyn FnMut(String)) -> anyhow::Result<()> {
        let hub = |arguments: &[&str]| fleet.kubectl("hub", &[arguments, &["-n", NAMESPACE]].concat()).map(drop);
        let cluster = |verb: &str, cluster: &str| fleet.meridian(&["cluster", verb, cluster]).map(drop);
        match work {
            Work::Cordon(name) => return cluster("cordon", name),
            Work::Drain(name) => return fleet.meridian(&["cluster", "drain", name, "--yes"]).map(drop),
            Work::Uncordon(name) => return cluster("uncordon", name),
            Work::Create { app, .. } => {
                if fleet.get("hub", "mapp", NAMESPACE, app)?.is_some() {
                    say(format!("          skipped: the {app} before has not left yet"));
                    return Ok(());
                }
            }
            Work::Scale { app, .. }
            | Work::Revise { app, .. }
            | Work::Rename { app, .. }
            | Work::Select { app, .. }
            | Work::Annotate { app, .. }
            | Work::Delete { app }
            | Work::Vanish { app } => {
                if !self.apps.contains_key(app) {
                    say(format!("          skipped: there is no {app}"));
                    return Ok(());
                }
            }
        }
        match work {
            Work::Create { app, replicas } => {
                let image = "web:1".to_owned();
                self.apply(
                    fleet,
                    app,
                    Manifest { replicas: *replicas, image, component: 0, clusters: CLUSTERS.to_vec() },
                )
            }
            Work::Scale { app, replicas } => self.edit(fleet, app, |written| written.replicas = *replicas),
            Work::Revise { app, version } => self.edit(fleet, app, |written| written.image = format!("web:{version}")),
            Work::Rename { app, component } => self.edit(fleet, app, |written| written.component = *component),
            Work::Select { app, clusters } => self.edit(fleet, app, |written| written.clusters.clone_from(clusters)),
            Work::Annotate { app, value } => hub(&["annotate", "mapp", app, "--overwrite", &format!("note={value}")]),
            Work::Delete { app } => {
                self.ask(app, DesiredState::Gone);
                self.apps.remove(app);
                hub(&["delete", "mapp", app, "--wait=false"])
            }
            Work::Vanish { app } => {
                self.ask(app, DesiredState::Vanished);
                self.apps.remove(app);
                for operator in &fleet.operators {
                    operator.process.pause()?;
                }
                let gone = hub(&["patch", "mapp", app, "--type", "merge", "-p", r#"{"metadata":{"finalizers":null}}"#])
                    .and_then(|()| hub(&["delete", "mapp", app, "--timeout=10s"]));
                for operator in &fleet.operators {
                    operator.process.resume()?;
                }
                gone
            }
            Work::Cordon(_) | Work::Drain(_) | Work::Uncordon(_) => Ok(()),
        }
    }

    fn edit(&mut self, fleet: &Fleet, app: &'static str, edit: impl FnOnce(&mut Manifest)) -> anyhow::Result<()> {
        let mut written = self.apps[app].clone();
        edit(&mut written);
        self.apply(fleet, app, written)
    }

    fn apply(&mut self, fleet: &Fleet, app: &'static str, written: Manifest) -> anyhow::Result<()> {
        self.ask(app, DesiredState::Run { replicas: written.replicas, image: written.image.clone() });
        let manifest = manifest(app, &written);
        self.apps.insert(app, written);
        fleet.apply("hub", &manifest)
    }
}

/// Builds the manifest of an application; the name selects placement, failover and components.
fn manifest(app: &str, written: &Manifest) -> Value {
    let image = &written.image;
    let mut manifest = web(NAMESPACE, app, 0);
    let spec = &mut manifest["spec"];
    spec["replicas"] = json!(written.replicas);
    spec["components"][0]["name"] = json!(format!("web{}", written.component));
    let workload = &mut spec["components"][0]["template"]["spec"];
    workload["template"]["spec"]["containers"][0]["image"] = json!(image);
    // The default rolling update takes a quarter of the replicas down. The checker could not distinguish that from a
    // fault.
    workload["strategy"] = json!({"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}});
    if app != "spread" {
        spec["placement"] = json!({});
    }
    if written.clusters.len() < CLUSTERS.len() {
        spec["placement"]["cells"] = json!({"matchExpressions": [
            {"key": "fleet.meridian.io/cluster", "operator": "In", "values": written.clusters}]});
    }
    if app == "moves" {
        spec["failover"] = json!({"mode": "Reschedule", "after": "2s", "duplicates": "Tolerate"});
    }
    if app == "config"
        && let Some(components) = spec["components"].as_array_mut()
    {
        components.push(json!({"name": "settings", "template": {"apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": app}, "data": {"for": image}}}));
    }
    manifest
}

/// Waits until the fleet is in the requested state and stays there, and returns that state.
///
/// After the timeout the function returns the state that the fleet has then.
async fn quiet(fleet: &Fleet, asked: &[Asked]) -> anyhow::Result<End> {
    let begun = Instant::now();
    loop {
        let end = look(fleet).await?;
        for (app, plan) in end.hub.iter().filter_map(|(app, shown)| Some((app, shown.pending.as_ref()?))) {
            // A person would confirm the deletes that wait for confirmation.
            let confirm = ["app", "confirm-delete", app, "-n", NAMESPACE, "--plan", plan, "--yes"];
            fleet.try_meridian(&confirm)?;
        }
        if check::end(asked, &end).is_empty() {
            tokio::time::sleep(STAYS).await;
            return look(fleet).await;
        }
        if begun.elapsed() > QUIET {
            return Ok(end);
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

/// Reads the objects that Meridian created and deleted since `epoch` from the members' audit logs.
fn written(fleet: &Fleet, epoch: Timestamp) -> anyhow::Result<Vec<Written>> {
    let mut all = Vec::new();
    for (cluster, plane) in &fleet.bed.members {
        let text = std::fs::read_to_string(plane.folder().join("audit.log"))?;
        // A killed server may leave an incomplete line.
        let events = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        all.extend(events.filter_map(|event| write(cluster, &event, epoch)));
    }
    Ok(all)
}

fn write(cluster: &str, event: &Value, epoch: Timestamp) -> Option<Written> {
    let (object, verb) = (&event["objectRef"], event["verb"].as_str()?);
    let ours = event["user"]["username"].as_str()?.starts_with("system:serviceaccount:meridian-system:");
    let main = object["subresource"].is_null() && object["namespace"] == NAMESPACE;
    let code = event["responseStatus"]["code"].as_u64()?;
    let made = matches!(verb, "create" | "patch" | "update") && code == 201;
    let deleted = verb == "delete" && code < 300;
    if !ours || !main || !(made || deleted) {
        return None;
    }
    let at: Timestamp = event["requestReceivedTimestamp"].as_str()?.parse().ok()?;
    Some(Written {
        at: u64::try_from(at.as_millisecond() - epoch.as_millisecond()).unwrap_or(0),
        cluster: cluster.to_owned(),
        resource: object["resource"].as_str()?.to_owned(),
        name: object["name"].as_str()?.to_owned(),
        made,
    })
}
