//! What a decision is made from.

use std::collections::{BTreeMap, BTreeSet};

use crds::PlacementSpec;
use crds::cluster::v1alpha1::Amounts;
use serde::{Deserialize, Serialize};
use vocabulary::{AppKey, ClusterName};

use crate::topology::CellFacts;

/// What is asked for.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// Application.
    pub app: &'a AppKey,
    /// Replicas; 0 when suspended.
    pub replicas: i32,
    /// Replicas asked for when the previous placement was decided, where that is known. Only a lower number is a reason
    /// to give up what runs.
    pub decided: Option<i32>,
    /// Policy.
    pub spec: &'a PlacementSpec,
    /// What one replica asks for; `pods` is 1.
    pub pod: Amounts,
    /// Kinds a cluster must permit.
    pub kinds: &'a BTreeSet<String>,
    /// Service accounts, no components of the Application, that a cluster must allow.
    pub accounts: &'a BTreeSet<String>,
}

/// What a directive speaks of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum DirectiveTarget {
    /// All cells of a region.
    Region {
        /// Region.
        region: String,
    },
    /// All cells of a zone.
    Zone {
        /// Region.
        region: String,
        /// Zone.
        zone: String,
    },
    /// All cells of a cluster.
    Cluster {
        /// Cluster.
        cluster: String,
    },
    /// One cell.
    Cell {
        /// Cell.
        cell: String,
    },
}

impl DirectiveTarget {
    /// Whether it speaks of the cell.
    pub fn covers(&self, cell: &CellFacts) -> bool {
        match self {
            Self::Region { region } => *region == cell.region,
            Self::Zone { region, zone } => *region == cell.region && cell.zones.contains(zone),
            Self::Cluster { cluster } => cluster == cell.cluster.as_str(),
            Self::Cell { cell: name } => name == cell.name.as_str(),
        }
    }
}

/// What a directive does to the cells it covers, taken together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Effect {
    /// No replicas: what runs there moves away.
    Exclude,
    /// Exactly so many, as far as no running replica has to move.
    Pin {
        /// Replicas.
        replicas: i32,
    },
    /// At least so many.
    Min {
        /// Replicas.
        replicas: i32,
    },
    /// At most so many.
    Max {
        /// Replicas.
        replicas: i32,
    },
    /// This weight for each cell.
    Weight {
        /// Weight.
        weight: i32,
    },
}

/// One directive in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Directive {
    /// Row id.
    pub id: i64,
    /// What it speaks of.
    pub target: DirectiveTarget,
    /// The application it is meant for; all when left out.
    pub app: Option<AppKey>,
    /// What it does.
    pub effect: Effect,
    /// Operation or person.
    pub owner: String,
    /// Why.
    pub reason: String,
}

/// Owner of the directives that stand for silent clusters; they are no rows and have no number.
pub const FAILOVER: &str = "failover";

impl Directive {
    /// What keeps replicas away from a cluster that has been silent for too long, since a time as text.
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

    /// The directive as people call it.
    pub(crate) fn title(&self) -> String {
        if self.owner == FAILOVER { self.owner.clone() } else { format!("directive {} of {}", self.id, self.owner) }
    }
}

/// The previous placement of one cell.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// Replicas decided.
    pub target: i32,
    /// Pods of the application observed there.
    pub bound: i32,
}

/// What all other applications hold, per cluster and zone.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ledger(BTreeMap<(ClusterName, String), Amounts>);

impl Ledger {
    /// Adds to what is held in a zone of a cluster.
    pub fn hold(&mut self, cluster: ClusterName, zone: String, amounts: Amounts) {
        let sum = self.0.entry((cluster, zone)).or_default();
        *sum = sum.plus_times(amounts, 1);
    }

    pub(crate) fn held(&self, cluster: &ClusterName, zone: &str) -> Amounts {
        self.0.get(&(cluster.clone(), zone.to_owned())).copied().unwrap_or_default()
    }
}
