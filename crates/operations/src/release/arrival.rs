//! Whether a cell runs what a release asks of it. Pure.

use domain::release::Asked;
use schedule::settled_verdict;
use store::{CellDecisionRow, DesiredState, ObjectState, PlacementRow, Slot, StatusRow};
use vocabulary::{ContentHash, Verdict};

/// Rows about one cell of an Application.
#[derive(Debug, Clone)]
pub(super) struct CellRows<'a> {
    /// Decision about the main slot.
    pub(super) main: &'a CellDecisionRow,
    /// Decision about the gray slot.
    pub(super) gray: Option<&'a CellDecisionRow>,
    /// Objects of the cell, each with its status.
    pub(super) objects: Vec<(&'a PlacementRow, Option<&'a StatusRow>)>,
    /// Whether status from the cell's cluster may be counted.
    pub(super) answers: bool,
}

/// How far a cell is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Arrival {
    pub(super) is_there: bool,
    /// Available replicas of the revision, of those that are to run it.
    pub(super) available: i32,
    pub(super) expected: i32,
    /// Reason why the cell is not there, other than missing replicas.
    pub(super) obstacle: Option<String>,
}

impl CellRows<'_> {
    /// Returns the replicas of both slots.
    pub(super) fn target(&self) -> i32 {
        self.main.target.saturating_add(self.gray.map_or(0, |gray| gray.target))
    }

    /// Returns whether the main slot runs the revision and no gray slot is decided.
    pub(super) fn is_decided(&self, revision: ContentHash) -> bool {
        self.main.revision == revision && self.gray.is_none()
    }

    /// Returns how far the cell is with what is asked.
    pub(super) fn arrival(&self, asked: Asked, revision: ContentHash) -> Arrival {
        if asked == Asked::default() {
            return Arrival { is_there: true, ..Arrival::default() };
        }
        let gray = asked.gray.clamp(0, self.target());
        let mut arrival = Arrival {
            is_there: false,
            available: self.available(revision),
            expected: if asked.main { self.target() } else { gray },
            obstacle: None,
        };
        arrival.available = arrival.available.min(arrival.expected);
        arrival.obstacle = self.obstacle(asked, gray, revision);
        arrival.is_there = arrival.obstacle.is_none() && self.is_settled(asked);
        arrival
    }

    fn obstacle(&self, asked: Asked, gray: i32, revision: ContentHash) -> Option<String> {
        let decided_gray = self
            .gray
            .filter(|decision| gray > 0 && decision.revision == revision)
            .map_or(0, |decision| decision.target);
        let main_is_decided = !asked.main || self.main.revision == revision;
        if !main_is_decided || decided_gray != gray || (gray == 0 && self.gray.is_some()) {
            return Some("not decided yet".to_owned());
        }
        if !self.answers {
            return Some("its cluster is silent or not ready".to_owned());
        }
        if gray == 0 && self.objects.iter().any(|(row, _)| row.slot == Slot::Gray) {
            return Some("its gray workload is still there".to_owned());
        }
        if gray > 0 && !self.objects.iter().any(|(row, _)| row.slot == Slot::Gray && row.divided) {
            return Some("its gray workload is not planned yet".to_owned());
        }
        self.objects.iter().find_map(|(row, status)| {
            let status = status.filter(|status| matches!(status.state, ObjectState::Refused | ObjectState::Failed))?;
            let message = status.message.as_deref().filter(|_| counts(row, asked))?;
            Some(format!("{} {}: {}", row.object.kind, row.object.name, vocabulary::shorten(message, MESSAGE_MAX)))
        })
    }

    /// Returns whether all objects that count are as planned, with no replica on its way.
    fn is_settled(&self, asked: Asked) -> bool {
        self.objects.iter().filter(|(row, _)| counts(row, asked)).all(|(row, status)| {
            let is_planned = row.desired_state == DesiredState::Present && row.floor <= row.target && row.surge == 0;
            is_planned && status.is_some_and(|status| settled_verdict(row, status) == Verdict::Pass)
        })
    }

    fn available(&self, revision: ContentHash) -> i32 {
        let of = |(row, status): &(&PlacementRow, Option<&StatusRow>)| {
            let runs = row.divided
                && row.revision == revision
                && status.is_some_and(|status| !status.stale && status.applied_revision == Some(revision));
            status.filter(|_| runs).map_or(0, |status| status.available.clamp(0, row.target))
        };
        self.objects.iter().map(of).sum()
    }
}

/// Maximum length of a member's message in a progress text.
const MESSAGE_MAX: usize = 200;

/// Returns whether an object counts: the divided ones, and all once the cell as a whole takes the revision.
fn counts(row: &PlacementRow, asked: Asked) -> bool {
    row.divided || asked.main
}
