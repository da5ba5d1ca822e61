//! Selects the part of the fleet that can change the decision about one Application. Pure.

use std::collections::{BTreeMap, BTreeSet};

use vocabulary::{CellName, ClusterName};

use super::request::{Directive, PreviousPlacement, Request};
use crate::topology::{CellFacts, ClusterFacts, Topology};

/// The cells that admit or hold the Application, with their clusters and directives.
///
/// A cell belongs to the scope when the Application's selector admits the cell or replicas are placed there.
/// Directives belong to the scope when they cover such a cell. Nothing else of the fleet is an input of the decision,
/// so a change elsewhere causes no work for the Application.
#[derive(Debug, Clone)]
pub struct DecisionScope<'a> {
    pub(crate) cells: Vec<&'a CellFacts>,
    pub(crate) clusters: Vec<&'a ClusterFacts>,
    pub(crate) directives: Vec<&'a Directive>,
}

impl<'a> DecisionScope<'a> {
    /// Returns the scope of a request. `held` are the cells that hold the Application.
    pub fn of(
        request: &Request<'_>,
        topology: &'a Topology,
        directives: &'a [Directive],
        held: &BTreeMap<CellName, PreviousPlacement>,
    ) -> Self {
        let admits =
            |cell: &CellFacts| request.spec.cells.as_ref().is_none_or(|selector| selector.matches(&cell.labels));
        let cells: Vec<&CellFacts> =
            topology.cells.values().filter(|cell| held.contains_key(&cell.name) || admits(cell)).collect();
        let names: BTreeSet<&ClusterName> = cells.iter().map(|cell| &cell.cluster).collect();
        let clusters = names.into_iter().filter_map(|name| topology.clusters.get(name)).collect();
        let for_app = |one: &Directive| one.app.as_ref().is_none_or(|app| app == request.app);
        let covers = |one: &Directive| cells.iter().any(|cell| one.target.covers(cell));
        let directives = directives.iter().filter(|one| for_app(one) && covers(one)).collect();
        Self { cells, clusters, directives }
    }
}
