//! Hash of a decision's inputs.

use crds::cluster::v1alpha1::ZoneCapacity;
use std::collections::BTreeSet;

use crds::PlacementSpec;
use crds::cluster::v1alpha1::Amounts;
use serde::Serialize;
use vocabulary::{AppKey, ContentHash, hash_json};

use super::request::{Directive, Request};
use crate::topology::{CellFacts, ClusterFacts, Topology};

/// Rises when the same inputs would be decided differently.
const LOGIC: u32 = 1;

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

/// Hash of request, policy, directives, topology and health. Capacity and the previous placement are left out:
/// they change all the time, and new capacity matters only to applications that found no place.
pub fn input_hash(request: &Request<'_>, topology: &Topology, directives: &[Directive]) -> ContentHash {
    let mut directives: Vec<&Directive> =
        directives.iter().filter(|one| one.app.as_ref().is_none_or(|app| app == request.app)).collect();
    directives.sort_by_key(|one| one.id);
    let inputs = Inputs {
        logic: LOGIC,
        app: request.app,
        replicas: request.replicas,
        spec: request.spec,
        pod: request.pod,
        kinds: request.kinds,
        accounts: request.accounts,
        cells: topology.cells.values().collect(),
        clusters: topology
            .clusters
            .values()
            .map(|cluster| ClusterFacts {
                // Whether it was ever observed decides eligibility, the amounts do not.
                capacity: if cluster.capacity.is_empty() { Vec::new() } else { vec![ZoneCapacity::default()] },
                // Of all kinds a cluster permits only those asked for matter.
                kinds: cluster.kinds.intersection(request.kinds).cloned().collect(),
                ..cluster.clone()
            })
            .collect(),
        directives,
    };
    hash_json(&inputs).expect("inputs are plain data")
}
