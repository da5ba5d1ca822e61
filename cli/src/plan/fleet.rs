//! Input of placement decisions, read from the hub or from files.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use crds::application::v1alpha1::Scope;
use crds::cluster::v1alpha1::{Amounts, Shape, ZoneCapacity};
use crds::{Application, Cluster, PlacementPolicy, PlacementSpec, condition};
use domain::placement::{self, Directive, Eligibility, Ledger, Outcome, PreviousPlacement, Request};
use domain::render;
use domain::stored_topology::{StoredCell, StoredCluster, topology_from_rows};
use domain::topology::{CellState, Topology};
use serde_json::{Value, json};
use vocabulary::{AppKey, CellName, ClusterName, Verdict};

use super::others::Others;
use crate::documents::Documents;
use crate::failure::Failure;
use crate::hub::Hub;
use crate::messages::bounded;

/// Capacity assumed in each zone of a cluster whose file has no status.
const PLENTY: Amounts = Amounts { cpu_milli: 1_000_000_000, memory_mi: 1_000_000_000, pods: 1_000_000 };

/// Clusters, Applications and policies that decisions are made from.
pub(crate) struct Fleet {
    pub(super) topology: Topology,
    pub(super) apps: Vec<Application>,
    pub(super) remarks: Vec<String>,
    /// Display names of the cells that have one.
    pub(super) display_names: BTreeMap<String, String>,
    policies: Vec<PlacementPolicy>,
    reserved: BTreeMap<(String, String), Amounts>,
}

impl Fleet {
    /// Reads the files if there are any, otherwise the hub.
    pub(super) async fn read(
        from: &[PathBuf],
        hub: impl AsyncFnOnce() -> Result<Hub, Failure>,
    ) -> Result<(Self, Option<Hub>), Failure> {
        if !from.is_empty() {
            return Ok((Self::of(Documents::read(from)?, true), None));
        }
        let hub = hub().await?;
        Ok((Self::of_hub(&hub).await?, Some(hub)))
    }

    /// Reads the fleet from the hub.
    pub(crate) async fn of_hub(hub: &Hub) -> Result<Self, Failure> {
        let documents = Documents {
            clusters: hub.all_clusters().await?,
            cells: hub.all_cells().await?,
            apps: hub.all_apps(None, None).await?,
            policies: hub.all_policies().await?,
        };
        Ok(Self::of(documents, false))
    }

    /// Checks that a new Application would have all its replicas in one cluster.
    ///
    /// # Errors
    /// Returns [`Failure::Refused`] with the reason if the cluster takes no replicas, or not all of them. A cluster
    /// that declares cells is refused for components that are placed by cell.
    pub(crate) fn decides_for(&self, app: &Application, cluster: &str) -> Result<(), Failure> {
        let key = key(app);
        let blueprint =
            render::blueprint(&key, &app.spec).map_err(|_| Failure::Usage(format!("{key} is not valid")))?;
        let spec = self.policy(app)?;
        let replicas = app.spec.replicas.unwrap_or_default();
        let pod = blueprint.divided.map(|index| blueprint.components[index].pod).unwrap_or_default();
        let request = Request {
            app: &key,
            replicas,
            decided: None,
            spec: &spec,
            pod,
            kinds: &blueprint.kinds,
            accounts: &blueprint.accounts,
        };
        let per_cell = |component: &render::ComponentPlan| matches!(component.scope, Scope::Divided | Scope::PerCell);
        if self.topology.cells.get(cluster).is_some_and(|cell| cell.state == CellState::Superseded) {
            if blueprint.components.iter().any(per_cell) {
                return Err(Failure::Refused(format!(
                    "cluster {cluster} declares cells: workloads placed by cells are named NAME-CELL, so what runs could not be taken over and would run twice; declare cells after the import"
                )));
            }
            return Ok(());
        }
        if let Some(Eligibility::Rejected(rejection)) =
            placement::eligible_cells(&request, &self.topology, &[]).get(cluster)
        {
            return Err(Failure::Refused(format!(
                "cluster {cluster} takes nothing now: {}: {}",
                rejection.rule.as_str(),
                rejection.message
            )));
        }
        if blueprint.divided.is_none() {
            return Ok(());
        }
        let outcome = self.question(app)?.decide(&self.topology, &[]);
        let placed = outcome.targets.get(cluster).copied().unwrap_or(0);
        if placed == replicas {
            return Ok(());
        }
        Err(Failure::Refused(format!(
            "only {placed} of {replicas} replicas fit into {cluster} by what is free there: until they are taken over, those that run count as somebody else's. Make room for {} more, or scale down first. {}",
            replicas - placed,
            outcome.summary
        )))
    }

    fn of(documents: Documents, from_files: bool) -> Self {
        let mut reserved = BTreeMap::new();
        let mut remarks = Vec::new();
        let mut without_status = Vec::new();
        let kinds: BTreeSet<String> = documents
            .apps
            .iter()
            .filter_map(|app| Some(render::blueprint(&key(app), &app.spec).ok()?.kinds))
            .flatten()
            .collect();
        let clusters = documents
            .clusters
            .iter()
            .map(|cluster| {
                for zone in cluster.status.iter().flat_map(|status| &status.zones) {
                    reserved.insert((name(cluster).to_owned(), zone.name.clone()), zone.reserved);
                }
                stored(cluster, from_files, &kinds, &mut without_status)
            })
            .collect();
        if !without_status.is_empty() {
            remarks.push(format!(
                "files hold no status of {}; taken as healthy and without limits",
                bounded(&without_status)
            ));
        }
        let display_names = documents
            .cells
            .iter()
            .filter_map(|cell| Some((cell.metadata.name.clone()?, cell.spec.display_name.clone()?)))
            .collect();
        let cells = documents
            .cells
            .iter()
            .map(|cell| StoredCell {
                name: cell.metadata.name.clone().unwrap_or_default(),
                labels: json!(cell.metadata.labels),
                spec: json!(cell.spec),
                leaving: cell.metadata.deletion_timestamp.is_some(),
            })
            .collect();
        let (topology, problems) = topology_from_rows(clusters, cells);
        remarks.extend(
            problems.into_iter().map(|problem| format!("{} {}: {}", problem.kind, problem.name, problem.message)),
        );
        Self { topology, apps: documents.apps, remarks, display_names, policies: documents.policies, reserved }
    }

    /// Finds an Application by name, and by namespace if one is given.
    pub(super) fn app(&self, namespace: Option<&str>, name: &str) -> Result<&Application, Failure> {
        self.apps
            .iter()
            .find(|app| {
                let key = key(app);
                key.name == name && namespace.is_none_or(|namespace| key.namespace == namespace)
            })
            .ok_or_else(|| {
                Failure::NotFound(format!("application {name}: not found; `meridian app list -A` shows all"))
            })
    }

    fn policy(&self, app: &Application) -> Result<PlacementSpec, Failure> {
        if let Some(placement) = &app.spec.placement {
            return Ok(placement.clone());
        }
        let namespace = key(app).namespace;
        let wanted = app.spec.placement_policy_ref.as_ref().map(|policy| policy.name.as_str()).unwrap_or_default();
        self.policies
            .iter()
            .find(|policy| {
                policy.metadata.name.as_deref() == Some(wanted)
                    && policy.metadata.namespace.as_deref().unwrap_or("default") == namespace
            })
            .map(|policy| policy.spec.clone())
            .ok_or_else(|| {
                Failure::NotFound(format!(
                    "spec.placementPolicyRef: there is no PlacementPolicy {wanted} in {namespace}"
                ))
            })
    }

    /// Collects everything that a decision about an Application needs.
    pub(super) fn question(&self, app: &Application) -> Result<Question, Failure> {
        let key = key(app);
        let blueprint = render::blueprint(&key, &app.spec).map_err(|problems| {
            let lines: Vec<String> =
                problems.iter().map(|problem| format!("{}: {}", problem.field, problem.message)).collect();
            Failure::Usage(format!("application {key}: {}", lines.join("\n  ")))
        })?;
        let spec = self.policy(app)?;
        let replicas = if app.spec.suspended { 0 } else { app.spec.replicas.unwrap_or_default() };
        let problems = placement::check_spec(&spec, app.spec.replicas.unwrap_or_default());
        if let Some(problem) = problems.first() {
            return Err(Failure::Usage(format!("application {key}: {}: {}", problem.field, problem.message)));
        }
        let divided = blueprint.divided.map(|index| &blueprint.components[index]);
        let pod = divided.map(|component| component.pod).unwrap_or_default();
        let cells = app.status.as_ref().map(|status| status.cells.as_slice()).unwrap_or_default();
        let previous: BTreeMap<CellName, PreviousPlacement> = cells
            .iter()
            .filter_map(|cell| Some((cell, cell.divided?)))
            .filter_map(|(cell, held)| {
                Some((cell.cell.parse().ok()?, PreviousPlacement { target: held.desired, bound: held.placed }))
            })
            .collect();
        let mut own = BTreeMap::new();
        for (cell, held) in &previous {
            placement::book(&mut own, &self.topology, cell, pod, held.bound.max(held.target));
        }
        let mut ledger = Ledger::default();
        for ((cluster, zone), held) in &self.reserved {
            let own = own.get(&(cluster.clone(), zone.clone())).copied().unwrap_or_default();
            if let Ok(cluster) = cluster.parse::<ClusterName>() {
                let others = Amounts {
                    cpu_milli: held.cpu_milli.saturating_sub(own.cpu_milli).max(0),
                    memory_mi: held.memory_mi.saturating_sub(own.memory_mi).max(0),
                    pods: held.pods.saturating_sub(own.pods).max(0),
                };
                ledger.hold(cluster, zone.clone(), others);
            }
        }
        let status = app.status.as_ref().filter(|status| status.decision.is_some());
        let decided = status.and_then(|status| status.divided).map(|divided| divided.desired);
        Ok(Question {
            key,
            replicas,
            decided,
            spec,
            pod,
            is_divided: divided.is_some(),
            others: Others::of(&blueprint, cells, app.spec.suspended),
            kinds: blueprint.kinds.clone(),
            accounts: blueprint.accounts.clone(),
            previous,
            ledger,
        })
    }
}

/// Input of a decision about one Application.
pub(super) struct Question {
    pub(super) key: AppKey,
    pub(super) replicas: i32,
    decided: Option<i32>,
    pub(super) spec: PlacementSpec,
    pub(super) pod: Amounts,
    /// Whether a component takes `spec.replicas`.
    pub(super) is_divided: bool,
    /// Components that have replicas of their own.
    pub(super) others: Others,
    kinds: BTreeSet<String>,
    accounts: BTreeSet<String>,
    pub(super) previous: BTreeMap<CellName, PreviousPlacement>,
    ledger: Ledger,
}

impl Question {
    fn request(&self) -> Request<'_> {
        Request {
            app: &self.key,
            replicas: self.replicas,
            decided: self.decided,
            spec: &self.spec,
            pod: self.pod,
            kinds: &self.kinds,
            accounts: &self.accounts,
        }
    }

    pub(super) fn decide(&self, topology: &Topology, directives: &[Directive]) -> Outcome {
        if self.is_divided {
            placement::decide(&self.request(), topology, directives, &self.previous, &self.ledger)
        } else {
            self.others.decide(&self.request(), topology, directives)
        }
    }

    pub(super) fn rebalance(&self, topology: &Topology) -> Outcome {
        placement::rebalance(&self.request(), topology, &[], &self.previous, &self.ledger)
    }
}

/// Returns namespace and name. A missing namespace is `default`.
pub(super) fn key(app: &Application) -> AppKey {
    AppKey {
        namespace: app.metadata.namespace.clone().unwrap_or_else(|| "default".to_owned()),
        name: app.metadata.name.clone().unwrap_or_default(),
    }
}

fn name(cluster: &Cluster) -> &str {
    cluster.metadata.name.as_deref().unwrap_or_default()
}

fn stored<'a>(
    cluster: &'a Cluster,
    from_files: bool,
    kinds: &BTreeSet<String>,
    without_status: &mut Vec<&'a str>,
) -> StoredCluster {
    let health = |ready: &str| match ready {
        "True" => Verdict::Pass,
        "False" => Verdict::Fail,
        _ => Verdict::Unknown,
    };
    let (health, kinds, capacity) = match &cluster.status {
        Some(status) if !status.conditions.is_empty() => {
            let ready = crate::output::condition(&status.conditions, condition::READY);
            (health(ready.map_or("Unknown", |ready| &ready.status)), json!(status.kinds), json!(status.zones))
        }
        _ if from_files => {
            without_status.push(name(cluster));
            let zone = |zone: &String| ZoneCapacity {
                name: zone.clone(),
                allocatable: PLENTY,
                shapes: vec![Shape { free: PLENTY, nodes: 1 }],
                ..ZoneCapacity::default()
            };
            (Verdict::Pass, json!(kinds), json!(cluster.spec.zones.iter().map(zone).collect::<Vec<_>>()))
        }
        _ => (Verdict::Unknown, Value::Null, Value::Null),
    };
    StoredCluster {
        name: name(cluster).to_owned(),
        labels: json!(cluster.metadata.labels),
        spec: json!(cluster.spec),
        leaving: cluster.metadata.deletion_timestamp.is_some(),
        health: Some(health),
        kinds,
        capacity,
    }
}
