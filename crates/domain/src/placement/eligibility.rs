//! Decides which cells may take replicas, and names the rule that rejects each other cell.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use vocabulary::{CellName, Verdict};

use super::request::{Directive, Effect, PreviousPlacement, Request};
use crate::topology::{CellFacts, CellState, ClusterFacts, Topology};

/// Whether a cell may take replicas.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Eligibility {
    /// The cell may take replicas.
    Eligible,
    /// The cell may not take replicas.
    Rejected(Rejection),
}

impl Eligibility {
    /// Whether the cell may take replicas.
    pub fn is_eligible(&self) -> bool {
        matches!(self, Self::Eligible)
    }

    /// Whether replicas that are already placed in the cell stay there.
    pub fn keeps_running(&self) -> bool {
        match self {
            Self::Eligible => true,
            Self::Rejected(rejection) => rejection.rule.keeps_running(),
        }
    }
}

/// Reason why a cell may not take replicas.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rejection {
    /// Rule that rejects the cell.
    pub rule: Rule,
    /// Current state and the remedy, for people.
    pub message: String,
}

/// Rules that reject a cell. The first one that matches is reported.
///
/// Rules are checked in this order, except that `Misdeclared` and `Held` come first and `PairConflict` comes last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Rule {
    /// The policy's selector does not match the cell.
    NotSelected,
    /// A directive excludes the cell.
    Excluded,
    /// The cluster is drained or being removed, a directive drains the cell, or the Cell is being deleted.
    Draining,
    /// The cell is the implicit cell of a cluster that declares cells.
    Superseded,
    /// The spec of the Cell does not fit its cluster. The rule is skipped for a drained cluster or cell.
    Misdeclared,
    /// A directive that this version cannot read covers the cell.
    Held,
    /// Replicas are placed in a cell that the topology does not contain.
    Unknown,
    /// The cluster is not ready, is silent, or is not joined.
    Unhealthy,
    /// The cluster is cordoned, or a directive cordons the cell.
    Cordoned,
    /// The cluster has a taint that the policy does not tolerate.
    Tainted,
    /// The cluster does not grant the deploy profile.
    NoDeployProfile,
    /// The cluster does not take Applications of this namespace.
    NamespaceDenied,
    /// The cluster does not let pods run as a service account that is no component of the Application.
    ServiceAccountDenied,
    /// The cluster does not serve or does not permit a kind.
    KindNotPermitted,
    /// The other half of the cell's pair takes the replicas of this zone.
    PairConflict,
    /// The capacity of the cluster was never observed.
    CapacityUnknown,
}

impl Rule {
    /// Returns the name of the rule as shown to users.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NotSelected => "NotSelected",
            Self::Excluded => "Excluded",
            Self::Draining => "Draining",
            Self::Superseded => "Superseded",
            Self::Misdeclared => "Misdeclared",
            Self::Held => "Held",
            Self::Unknown => "Unknown",
            Self::Unhealthy => "Unhealthy",
            Self::Cordoned => "Cordoned",
            Self::Tainted => "Tainted",
            Self::NoDeployProfile => "NoDeployProfile",
            Self::NamespaceDenied => "NamespaceDenied",
            Self::ServiceAccountDenied => "ServiceAccountDenied",
            Self::KindNotPermitted => "KindNotPermitted",
            Self::PairConflict => "PairConflict",
            Self::CapacityUnknown => "CapacityUnknown",
        }
    }

    /// Whether replicas already placed stay. Otherwise they move away as soon as another cell takes them.
    pub const fn keeps_running(self) -> bool {
        !matches!(self, Self::NotSelected | Self::Excluded | Self::Draining)
    }
}

/// Returns the verdict on every cell for an Application that is placed nowhere yet.
pub fn eligible_cells(
    request: &Request<'_>,
    topology: &Topology,
    directives: &[Directive],
) -> BTreeMap<CellName, Eligibility> {
    eligible_beside(request, topology, directives, &BTreeMap::new())
}

/// Returns the verdict on every cell, given the previous placement.
pub(crate) fn eligible_beside(
    request: &Request<'_>,
    topology: &Topology,
    directives: &[Directive],
    previous: &BTreeMap<CellName, PreviousPlacement>,
) -> BTreeMap<CellName, Eligibility> {
    let verdict = |cell: &CellFacts| match topology.clusters.get(&cell.cluster) {
        Some(cluster) => verdict(request, cell, cluster, directives),
        None => reject(Rule::Unhealthy, format!("cluster {} is not joined", cell.cluster)),
    };
    let mut verdicts: BTreeMap<CellName, Eligibility> =
        topology.cells.values().map(|cell| (cell.name.clone(), verdict(cell))).collect();
    if request.spec.separate_pairs {
        reject_pairs(topology, previous, &mut verdicts);
    }
    verdicts
}

fn reject(rule: Rule, message: String) -> Eligibility {
    Eligibility::Rejected(Rejection { rule, message })
}

fn verdict(request: &Request<'_>, cell: &CellFacts, cluster: &ClusterFacts, directives: &[Directive]) -> Eligibility {
    let name = &cluster.name;
    let directive_with = |effect: Effect| first_directive(request, cell, directives, effect);
    let drain = directive_with(Effect::Drain);
    // This check comes before the selector, because the labels of a misdeclared cell may be wrong too.
    if cell.state == CellState::Misdeclared && !cluster.drain && drain.is_none() {
        return reject(
            Rule::Misdeclared,
            format!("its Cell does not fit cluster {name}; see `kubectl describe mcell {}`", cell.name),
        );
    }
    if cell.state == CellState::Held {
        return reject(
            Rule::Held,
            "a directive of a newer version covers it; bring every Meridian process to that version".to_owned(),
        );
    }
    if request.spec.cells.as_ref().is_some_and(|selector| !selector.matches(&cell.labels)) {
        return reject(Rule::NotSelected, "spec.placement.cells does not select it".to_owned());
    }
    if let Some(directive) = directive_with(Effect::Exclude) {
        return reject(Rule::Excluded, format!("{} excludes it: {}", directive.title(), directive.reason));
    }
    if cluster.drain {
        return reject(
            Rule::Draining,
            format!("cluster {name} is drained; `meridian cluster uncordon {name}` ends that"),
        );
    }
    if let Some(directive) = drain {
        return reject(Rule::Draining, format!("{} drains it: {}", directive.title(), directive.reason));
    }
    if cell.state == CellState::Leaving {
        return reject(Rule::Draining, format!("its Cell {} is being deleted", cell.name));
    }
    if cell.state == CellState::Superseded {
        return reject(Rule::Superseded, format!("cluster {name} declares cells; new replicas go to those"));
    }
    match cluster.health {
        Verdict::Pass => {}
        Verdict::Fail => {
            return reject(
                Rule::Unhealthy,
                format!("cluster {name} is not ready; see `meridian cluster describe {name}`"),
            );
        }
        Verdict::Unknown => {
            return reject(Rule::Unhealthy, format!("cluster {name} is silent; what runs there is unknown"));
        }
    }
    if cluster.cordoned {
        return reject(
            Rule::Cordoned,
            format!("cluster {name} is cordoned; `meridian cluster uncordon {name}` ends that"),
        );
    }
    if let Some(directive) = directive_with(Effect::Cordon) {
        return reject(Rule::Cordoned, format!("{} cordons it: {}", directive.title(), directive.reason));
    }
    let tolerated = |taint: &crds::cluster::v1alpha1::Taint| {
        request.spec.tolerations.iter().any(|toleration| {
            toleration.key == taint.key && (toleration.value.is_none() || toleration.value == taint.value)
        })
    };
    if let Some(taint) = cluster.taints.iter().find(|taint| !tolerated(taint)) {
        return reject(
            Rule::Tainted,
            format!("cluster {name} has taint {}; tolerate it in spec.placement.tolerations", taint.key),
        );
    }
    if !cluster.deploys {
        return reject(
            Rule::NoDeployProfile,
            format!(
                "cluster {name} was joined without the deploy profile; join it again with --profile observe,deploy"
            ),
        );
    }
    if let Some(rejection) = tenancy_rejection(request, cluster) {
        return Eligibility::Rejected(rejection);
    }
    if let Some(kind) = request.kinds.iter().find(|kind| !cluster.kinds.contains(*kind)) {
        return reject(
            Rule::KindNotPermitted,
            format!(
                "cluster {name} does not serve {kind} or does not let us deliver it; see `meridian cluster permissions {name} --kubeconfig FILE`"
            ),
        );
    }
    if cluster.capacity.is_empty() {
        return reject(Rule::CapacityUnknown, format!("capacity of cluster {name} was not observed yet"));
    }
    Eligibility::Eligible
}

/// Returns the directive that has an effect on the cell for the Application, the one with the lowest id of several.
fn first_directive<'d>(
    request: &Request<'_>,
    cell: &CellFacts,
    directives: &'d [Directive],
    effect: Effect,
) -> Option<&'d Directive> {
    let applies = |directive: &&Directive| {
        directive.effect == effect
            && directive.target.covers(cell)
            && directive.app.as_ref().is_none_or(|app| app == request.app)
    };
    directives.iter().filter(applies).min_by_key(|directive| (directive.id, &directive.owner, &directive.reason))
}

/// Returns why the cluster refuses the Application's namespace or a service account of its pods.
fn tenancy_rejection(request: &Request<'_>, cluster: &ClusterFacts) -> Option<Rejection> {
    let (name, tenancy) = (&cluster.name, &cluster.tenancy);
    if let Some(denial) = tenancy.namespace_denial(&request.app.namespace) {
        return Some(Rejection { rule: Rule::NamespaceDenied, message: format!("cluster {name}: {denial}") });
    }
    let account = request.accounts.iter().find(|account| !tenancy.allows_account(account))?;
    Some(Rejection {
        rule: Rule::ServiceAccountDenied,
        message: format!(
            "cluster {name} does not let pods run as service account {account}; make it a component of the Application with scope: PerCluster, or add it to spec.serviceAccounts of the Cluster"
        ),
    })
}

/// Rejects one half of each pair of a unit where both halves lie in the same zone.
///
/// The half that holds replicas keeps the zone, otherwise the first half by name.
fn reject_pairs(
    topology: &Topology,
    previous: &BTreeMap<CellName, PreviousPlacement>,
    verdicts: &mut BTreeMap<CellName, Eligibility>,
) {
    let mut taken: BTreeMap<(&str, &str, &[String]), &CellFacts> = BTreeMap::new();
    for holders in [true, false] {
        for cell in topology.cells.values() {
            let (Some(unit), Some(_), Some(verdict)) = (&cell.unit, cell.pair, verdicts.get(&cell.name)) else {
                continue;
            };
            let holds = previous.get(&cell.name).is_some_and(|held| held.target > 0);
            let counts = if holders { holds && verdict.keeps_running() } else { verdict.is_eligible() };
            if !counts {
                continue;
            }
            let eligible = verdict.is_eligible();
            let place = (unit.as_str(), cell.region.as_str(), cell.zones.as_slice());
            let first = taken.entry(place).or_insert(cell);
            if first.pair != cell.pair && eligible {
                let message = format!(
                    "{} is the other half of unit {unit} in zone {}; put the halves in different zones",
                    first.name,
                    cell.zone_text()
                );
                verdicts.insert(cell.name.clone(), reject(Rule::PairConflict, message));
            }
        }
    }
}
