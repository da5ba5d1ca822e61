//! Current and future places of components that have replicas of their own. Pure.

use std::collections::BTreeMap;

use crds::application::v1alpha1::{CellReplicas, Scope};
use domain::placement::{self, CellExplanation, Directive, Eligibility, Outcome, Request, Rule, Spread};
use domain::render::{Blueprint, replica_owner};
use domain::topology::Topology;
use vocabulary::CellName;

/// Replicas of all components whose scope is not `Divided`.
#[derive(Debug, Default)]
pub(super) struct Others {
    /// Replicas that each cell is asked to run now.
    pub(super) held: BTreeMap<CellName, i32>,
    /// Replicas that each cell would run after it newly takes the Application.
    each: i32,
}

impl Others {
    pub(super) fn of(blueprint: &Blueprint, cells: &[CellReplicas], suspended: bool) -> Self {
        let held = cells.iter().filter_map(|cell| {
            let own = cell.desired - cell.divided.map_or(0, |divided| divided.desired);
            Some((cell.cell.parse().ok()?, own)).filter(|_| own > 0)
        });
        // A component that exists once stays where it is, so another cell does not run it.
        let multiplied = |scope: Scope| matches!(scope, Scope::PerCell | Scope::PerCluster);
        let counted = blueprint.components.iter().filter(|one| multiplied(one.scope) && replica_owner(one).is_some());
        let each = counted.map(|one| one.replicas.unwrap_or(1)).fold(0, i32::saturating_add);
        Self { held: held.collect(), each: if suspended { 0 } else { each } }
    }

    /// Returns the sum of the replicas that are asked for now.
    pub(super) fn total(&self) -> i32 {
        self.held.values().copied().fold(0, i32::saturating_add)
    }

    /// Decides the placement of an Application that has no `Divided` component.
    ///
    /// The Application runs in every eligible cell. A cell that runs it keeps it, unless the cell is excluded or no
    /// longer selected.
    pub(super) fn decide(&self, request: &Request<'_>, topology: &Topology, directives: &[Directive]) -> Outcome {
        let mut cells = Vec::new();
        let eligible = placement::eligible_cells(request, topology, directives);
        let held = |name: &CellName| self.held.get(name).copied().unwrap_or(0);
        // A selector that matches no cell removes no replicas.
        let is_held = self.total() > 0
            && eligible.iter().all(|(name, eligibility)| match eligibility {
                Eligibility::Eligible => false,
                Eligibility::Rejected(rejection) => held(name) == 0 || rejection.rule == Rule::NotSelected,
            });
        for (name, eligibility) in eligible {
            let Some(facts) = topology.cells.get(&name) else { continue };
            let before = held(&name);
            let target = match &eligibility {
                Eligibility::Rejected(rejection) if rejection.rule == Rule::NotSelected && !is_held => 0,
                Eligibility::Rejected(rejection) if rejection.rule == Rule::Excluded => 0,
                Eligibility::Eligible if before == 0 => self.each,
                Eligibility::Eligible | Eligibility::Rejected(_) => before,
            };
            cells.push(CellExplanation {
                cell: name,
                cluster: facts.cluster.clone(),
                region: facts.region.clone(),
                zone: facts.zone_text(),
                before,
                target,
                eligibility,
                capacity: target,
                bound_by: None,
                notes: Vec::new(),
            });
        }
        let total = cells.iter().map(|cell| cell.target).fold(0, i32::saturating_add);
        let eligible = cells.iter().filter(|cell| cell.eligibility.is_eligible()).count();
        let shortfall = self.total().saturating_sub(total).max(0);
        Outcome {
            targets: cells.iter().filter(|cell| cell.target > 0).map(|cell| (cell.cell.clone(), cell.target)).collect(),
            wanted: total.saturating_add(shortfall),
            shortfall,
            waiting: 0,
            hold: is_held.then(|| "no cell is to hold the Application; what runs stays".to_owned()),
            spread: Spread::NotAsked,
            rebalance_needed: 0,
            notes: Vec::new(),
            summary: format!(
                "nothing is divided: {total} replicas, {eligible} of {} cells eligible; what a lost cell ran does not move",
                cells.len()
            ),
            cells,
        }
    }
}
