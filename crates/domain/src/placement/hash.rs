//! Hash of a decision's inputs.

use crds::cluster::v1alpha1::ZoneCapacity;
use std::collections::BTreeSet;

use crds::PlacementSpec;
use crds::cluster::v1alpha1::Amounts;
use serde::Serialize;
use vocabulary::{AppKey, ContentHash, hash_json};

use super::request::{Directive, Request};
use super::scope::DecisionScope;
use crate::topology::{CellFacts, ClusterFacts};

/// Rises when the same inputs would be decided differently.
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

/// Hash of request and policy, and of topology, health and directives within the scope of the decision. Capacity and the
/// numbers of the previous placement are left out: they change all the time, and new capacity matters only to applications
/// that found no place.
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
                // Whether it was ever observed decides eligibility, the amounts do not.
                capacity: if cluster.capacity.is_empty() { Vec::new() } else { vec![ZoneCapacity::default()] },
                // Of all kinds a cluster permits only those asked for matter.
                kinds: cluster.kinds.intersection(request.kinds).cloned().collect(),
                ..(*cluster).clone()
            })
            .collect(),
        directives,
    };
    hash_json(&inputs).expect("inputs are plain data")
}
