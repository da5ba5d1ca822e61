//! Inputs of a placement decision.

use std::collections::{BTreeMap, BTreeSet};

use crds::PlacementSpec;
use crds::cluster::v1alpha1::Amounts;
use serde::{Deserialize, Serialize};
use vocabulary::{AppKey, ClusterName, ContentHash};

use crate::topology::CellFacts;

/// The Application's part of the inputs: policy, replicas, and the needs of its pods.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// Namespace and name of the Application.
    pub app: &'a AppKey,
    /// Replicas to place. 0 while the Application is suspended.
    pub replicas: i32,
    /// Replicas asked for when the previous placement was decided, where that number is known.
    ///
    /// Running replicas that are not needed are given up only when `replicas` is lower, or when more than `replicas`
    /// would survive a loss.
    pub decided: Option<i32>,
    /// Placement policy.
    pub spec: &'a PlacementSpec,
    /// Resource requests of one replica. `pods` is 1.
    pub pod: Amounts,
    /// Kinds that a cluster must permit.
    pub kinds: &'a BTreeSet<String>,
    /// Service accounts that a cluster must allow: those that are not components of the Application.
    pub accounts: &'a BTreeSet<String>,
}

/// Selects the cells that a directive covers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum DirectiveTarget {
    /// All cells of a region.
    Region {
        /// Name of the region.
        region: String,
    },
    /// All cells in a zone of a region. A cell over several zones is covered when one of them matches.
    Zone {
        /// Name of the region.
        region: String,
        /// Name of the zone.
        zone: String,
    },
    /// All cells of a cluster.
    Cluster {
        /// Name of the cluster.
        cluster: String,
    },
    /// A single cell.
    Cell {
        /// Name of the cell.
        cell: String,
    },
}

impl DirectiveTarget {
    /// Whether the target includes the cell.
    pub fn covers(&self, cell: &CellFacts) -> bool {
        match self {
            Self::Region { region } => *region == cell.region,
            Self::Zone { region, zone } => *region == cell.region && cell.zones.contains(zone),
            Self::Cluster { cluster } => cluster == cell.cluster.as_str(),
            Self::Cell { cell: name } => name == cell.name.as_str(),
        }
    }
}

/// Effect of a directive on the cells it covers, taken together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Effect {
    /// No replicas: running replicas move away.
    Exclude,
    /// Exactly this number of replicas, as far as no running replica has to move.
    Pin {
        /// Number of replicas.
        replicas: i32,
    },
    /// At least this number of replicas.
    Min {
        /// Minimum number of replicas.
        replicas: i32,
    },
    /// At most this number of replicas.
    Max {
        /// Maximum number of replicas.
        replicas: i32,
    },
    /// This weight for each covered cell.
    Weight {
        /// Weight of each covered cell.
        weight: i32,
    },
    /// No new replicas: running replicas stay.
    Cordon,
    /// No replicas, as in a drained cluster: running replicas move away, and a Cell that does not fit its cluster is
    /// emptied too.
    Drain,
    /// The number of replicas does not change, but floors of the covered cells are not lowered.
    ///
    /// Replicas that moved away are kept until the directive ends. `schedule` applies this effect.
    Hold,
    /// The number of replicas does not change. Replicas of the covered cell run a revision. `schedule` applies this effect.
    Release {
        /// The revision.
        revision: ContentHash,
        /// Number of the cell's divided replicas that run the revision in the gray slot.
        gray: i32,
        /// Whether the main slot runs the revision too.
        main: bool,
    },
}

/// A directive in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Directive {
    /// Id of the directive's row. 0 for failover directives, which have no row.
    pub id: i64,
    /// Cells that the directive covers.
    pub target: DirectiveTarget,
    /// Application that the directive applies to. `None` applies to all Applications.
    pub app: Option<AppKey>,
    /// Effect on the covered cells.
    pub effect: Effect,
    /// Operation or person that gave the directive.
    pub owner: String,
    /// Reason for the directive, for people.
    pub reason: String,
}

/// Owner of the directives that failover derives from silent clusters.
///
/// These directives have no rows and no number.
pub const FAILOVER: &str = "failover";

impl Directive {
    /// Returns the directive that excludes a cluster after too long a silence. `since` is a time as text.
    pub fn failover(cluster: &ClusterName, since: &str) -> Self {
        Self {
            id: 0,
            target: DirectiveTarget::Cluster { cluster: cluster.to_string() },
            app: None,
            effect: Effect::Exclude,
            owner: FAILOVER.to_owned(),
            reason: format!("cluster {cluster} has been silent since {since}"),
        }
    }

    /// Returns the directive's name for people.
    pub fn title(&self) -> String {
        if self.owner == FAILOVER { self.owner.clone() } else { format!("directive {} of {}", self.id, self.owner) }
    }
}

/// Previous placement of one cell.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PreviousPlacement {
    /// Replicas that the previous decision gave the cell.
    pub target: i32,
    /// Pods of the Application observed in the cell.
    pub bound: i32,
}

/// Resources that all other Applications hold, per cluster and zone.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ledger(BTreeMap<(ClusterName, String), Amounts>);

impl Ledger {
    /// Adds to the resources held in a zone of a cluster.
    pub fn hold(&mut self, cluster: ClusterName, zone: String, amounts: Amounts) {
        let sum = self.0.entry((cluster, zone)).or_default();
        *sum = sum.plus_times(amounts, 1);
    }

    pub(crate) fn held(&self, cluster: &ClusterName, zone: &str) -> Amounts {
        self.0.get(&(cluster.clone(), zone.to_owned())).copied().unwrap_or_default()
    }
}
