//! Which revision each cell is to run while a release is open, and for an application that asks for releases. Pure.
//!
//! Without a release, the scheduler itself brings the wanted revision to one cell after the other. An application with
//! `spec.release` waits for an operation, which says by directives what each cell runs.

use std::collections::BTreeMap;

use domain::stored_revision::StoredRevision;
use vocabulary::{CellName, ContentHash};

use crate::directives::CellRelease;
use crate::fleet_snapshot::FleetSnapshot;
use crate::gather::AppSnapshot;

/// How revisions reach the cells of an application.
#[derive(Debug)]
pub(crate) struct Releases {
    /// Revision for cells without one; `None` where the scheduler brings the wanted revision to all cells.
    stable: Option<ContentHash>,
    wanted: ContentHash,
    cells: BTreeMap<CellName, CellRelease>,
}

impl Releases {
    pub(crate) fn of(snapshot: &FleetSnapshot, facts: &AppSnapshot) -> Self {
        let cells = snapshot.releases_of(facts.row.id);
        let is_governed = facts.intent.release.is_some() || !cells.is_empty();
        Self { stable: is_governed.then(|| stable(facts)), wanted: facts.wanted, cells }
    }

    /// Returns the revision that the main slot of a cell is to run. `held` is the one that it runs now.
    pub(crate) fn main_of(&self, cell: &CellName, held: Option<ContentHash>) -> ContentHash {
        match (self.cells.get(cell).filter(|release| release.main), self.stable) {
            (Some(release), _) => release.revision,
            (None, Some(stable)) => held.unwrap_or(stable),
            (None, None) => self.wanted,
        }
    }

    /// Returns whether a directive orders the revision of the cell's main slot, so that no other cell is waited for.
    pub(crate) fn is_ordered(&self, cell: &CellName) -> bool {
        self.cells.get(cell).is_some_and(|release| release.main)
    }

    /// Returns revision and replicas of a cell's gray slot, out of `target` replicas.
    pub(crate) fn gray_of(&self, cell: &CellName, target: i32) -> Option<(ContentHash, i32)> {
        let release = self.cells.get(cell)?;
        let gray = release.gray.min(target);
        (gray > 0).then_some((release.revision, gray))
    }

    /// Returns whether the scheduler itself brings the wanted revision to the cells.
    pub(crate) const fn is_automatic(&self) -> bool {
        self.stable.is_none()
    }
}

/// Returns the revision that most cells run, the wanted one where no cell runs any.
///
/// Of two that equally many cells run, the one that is not wanted counts: the wanted one may be about to be taken back.
fn stable(facts: &AppSnapshot) -> ContentHash {
    let mut counts: BTreeMap<ContentHash, usize> = BTreeMap::new();
    for held in facts.cells.values() {
        *counts.entry(held.revision).or_default() += 1;
    }
    let most = counts.into_iter().max_by_key(|(revision, count)| (*count, *revision != facts.wanted));
    most.map_or(facts.wanted, |(revision, _)| revision)
}

/// Returns whether replicas of a revision can be divided between a main and a gray workload.
pub(crate) fn can_be_gray(revision: &StoredRevision) -> bool {
    let divided = revision.blueprint.divided.map(|index| &revision.blueprint.components[index]);
    divided.is_some_and(|component| component.api_version == "apps/v1" && component.kind == "Deployment")
}
