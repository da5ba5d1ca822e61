//! A digest of a decision's inputs, from which the next decision derives what changed.
//!
//! The digest is small enough to be stored.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use vocabulary::{ContentHash, Verdict, hash_json};

use super::request::Request;
use super::scope::DecisionScope;
use crate::topology::ClusterFacts;

/// Digest of a decision's inputs.
///
/// Clusters are named only where something keeps replicas away from them, so that the digest stays small.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct InputDigest {
    replicas: i32,
    policy: Option<ContentHash>,
    pod: String,
    kinds: BTreeSet<String>,
    unhealthy: BTreeSet<String>,
    closed: BTreeSet<String>,
    clusters: Option<ContentHash>,
    cells: Option<ContentHash>,
    directives: BTreeSet<String>,
}

impl InputDigest {
    /// Digests the inputs that [`super::input_hash`] hashes.
    pub fn of(request: &Request<'_>, scope: &DecisionScope<'_>) -> Self {
        let named = |keep: fn(&ClusterFacts) -> bool| -> BTreeSet<String> {
            scope.clusters.iter().filter(|cluster| keep(cluster)).map(|cluster| cluster.name.to_string()).collect()
        };
        // Health and cordons are compared by name below. They are left out here, so that each change is reported once.
        let standing: Vec<_> = scope
            .clusters
            .iter()
            .map(|cluster| {
                let place = (&cluster.name, &cluster.region, &cluster.zones);
                (place, &cluster.taints, cluster.deploys, &cluster.tenancy)
            })
            .collect();
        Self {
            replicas: request.replicas,
            policy: hash_json(request.spec).ok(),
            pod: format!("{}m/{}Mi", request.pod.cpu_milli, request.pod.memory_mi),
            kinds: request.kinds.clone(),
            unhealthy: named(|cluster| cluster.health != Verdict::Pass),
            closed: named(|cluster| cluster.cordoned),
            clusters: hash_json(&standing).ok(),
            cells: hash_json(&scope.cells).ok(),
            directives: scope.directives.iter().map(|one| format!("{}: {}", one.title(), one.reason)).collect(),
        }
    }

    /// Replicas asked for. `None` when no decision was made.
    pub fn replicas(&self) -> Option<i32> {
        self.policy.is_some().then_some(self.replicas)
    }

    /// Returns the differences to the inputs of the decision before, one sentence each.
    ///
    /// The list is empty when no decision was made before.
    pub fn changes_since(&self, before: &Self) -> Vec<String> {
        if before.policy.is_none() {
            return Vec::new();
        }
        let mut changes = Vec::new();
        if self.replicas != before.replicas {
            changes.push(format!("replicas {} → {}", before.replicas, self.replicas));
        }
        if self.pod != before.pod {
            changes.push(format!("a replica asks for {} (before {})", self.pod, before.pod));
        }
        if self.policy != before.policy {
            changes.push("the placement policy changed".to_owned());
        }
        if self.kinds != before.kinds {
            changes.push("the kinds of components changed".to_owned());
        }
        let mut add_differences = |now: &BTreeSet<String>, then: &BTreeSet<String>, came: &str, went: &str| {
            changes.extend(now.difference(then).map(|name| format!("{name} {came}")));
            changes.extend(then.difference(now).map(|name| format!("{name} {went}")));
        };
        add_differences(&self.unhealthy, &before.unhealthy, "is not well", "is well again");
        add_differences(&self.closed, &before.closed, "takes no new replicas", "takes new replicas again");
        add_differences(&self.directives, &before.directives, "holds now", "holds no longer");
        if self.clusters != before.clusters {
            changes.push("clusters joined or left, or their region, zones, taints, profiles, namespaces or service accounts changed".to_owned());
        } else if self.cells != before.cells {
            changes.push("declared cells or their labels changed".to_owned());
        }
        changes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_difference_is_told_once() {
        let before = InputDigest {
            replicas: 12,
            policy: Some(ContentHash::of(b"p")),
            pod: "100m/64Mi".to_owned(),
            unhealthy: ["b".to_owned()].into(),
            ..InputDigest::default()
        };
        let after = InputDigest {
            replicas: 20,
            unhealthy: ["c".to_owned()].into(),
            closed: ["a".to_owned()].into(),
            ..before.clone()
        };
        assert_eq!(before.changes_since(&before), Vec::<String>::new());
        assert_eq!(
            after.changes_since(&before),
            ["replicas 12 → 20", "c is not well", "b is well again", "a takes no new replicas"]
        );
        assert_eq!(after.changes_since(&InputDigest::default()), Vec::<String>::new(), "nothing was decided before");
    }
}
