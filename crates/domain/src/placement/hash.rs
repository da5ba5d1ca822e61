//! Hashes the inputs of a decision.

use crds::cluster::v1alpha1::ZoneCapacity;
use std::collections::BTreeSet;

use crds::PlacementSpec;
use crds::cluster::v1alpha1::Amounts;
use serde::Serialize;
use vocabulary::{AppKey, ContentHash, hash_json};

use super::request::{Directive, Request};
use super::scope::DecisionScope;
use crate::topology::{CellFacts, ClusterFacts};

/// Version of the decision logic. Increase it when the same inputs would be decided differently.
const LOGIC: u32 = 2;

#[derive(Serialize)]
struct Inputs<'a> {
    logic: u32,
    app: &'a AppKey,
    replicas: i32,
    spec: &'a PlacementSpec,
    pod: Amounts,
    kinds: &'a BTreeSet<String>,
    accounts: &'a BTreeSet<String>,
    cells: Vec<&'a CellFacts>,
    clusters: Vec<ClusterFacts>,
    directives: Vec<&'a Directive>,
}

/// Hashes request and policy, and topology, health and directives within the scope of the decision.
///
/// Capacity and the numbers of the previous placement are left out, because they change all the time. New capacity
/// matters only to Applications with replicas that found no place.
pub fn input_hash(request: &Request<'_>, scope: &DecisionScope<'_>) -> ContentHash {
    let mut directives = scope.directives.clone();
    directives.sort_by_key(|one| one.id);
    let inputs = Inputs {
        logic: LOGIC,
        app: request.app,
        replicas: request.replicas,
        spec: request.spec,
        pod: request.pod,
        kinds: request.kinds,
        accounts: request.accounts,
        cells: scope.cells.clone(),
        clusters: scope
            .clusters
            .iter()
            .map(|cluster| ClusterFacts {
                // Eligibility depends on whether capacity was ever observed, not on the amounts.
                capacity: if cluster.capacity.is_empty() { Vec::new() } else { vec![ZoneCapacity::default()] },
                // Only the permitted kinds that the Application asks for matter.
                kinds: cluster.kinds.intersection(request.kinds).cloned().collect(),
                ..(*cluster).clone()
            })
            .collect(),
        directives,
    };
    hash_json(&inputs).expect("inputs are plain data")
}
