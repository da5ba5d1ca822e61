//! Judges the records of a run. Pure.

mod available;
mod end;
mod fence;
mod once;
mod stale;
mod unasked;

use std::fmt;

use crate::gathered::{Asked, DesiredState, Gathered};

pub use end::end;

/// A violation of a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The violated rule.
    pub rule: Rule,
    /// Time in milliseconds from the start of the run; nothing when the violation is in the end state.
    pub at: Option<u64>,
    /// Observation that proves the violation.
    pub evidence: String,
}

/// Rules that every run must satisfy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rule {
    /// Intent, rows, members and status agree after all faults ended.
    Agreement,
    /// A deleted application leaves nothing behind, and no object exists without a request.
    NothingLeft,
    /// No object is created or deleted twice.
    Once,
    /// The available replicas of an application never fall below the promised number.
    NeverBelow,
    /// Stale replicas are reported as stale: neither as ready nor as zero.
    StaleIsStale,
    /// No application disappears without a request to delete it.
    DisconnectIsNotDelete,
    /// Every object has a fence, and the fence only rises.
    Fenced,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.rule, self.evidence)?;
        self.at.map_or(Ok(()), |at| write!(f, " (at {at} ms)"))
    }
}

/// Returns all violations, in the order of the checks.
pub fn check(gathered: &Gathered) -> Vec<Violation> {
    let mut all = end(&gathered.asked, &gathered.end);
    all.extend(once::check(gathered));
    all.extend(available::check(gathered));
    all.extend(stale::check(gathered));
    all.extend(unasked::check(gathered));
    all.extend(fence::check(gathered));
    all
}

/// Returns the last request for an application at time `at`.
fn wish_at<'a>(asked: &'a [Asked], app: &str, at: u64) -> Option<&'a DesiredState> {
    asked.iter().rfind(|asked| asked.app == app && asked.at <= at).map(|asked| &asked.what)
}

/// Returns the last request for an application.
fn last_wish<'a>(asked: &'a [Asked], app: &str) -> Option<&'a DesiredState> {
    wish_at(asked, app, u64::MAX)
}

fn at_end(rule: Rule, evidence: String) -> Violation {
    Violation { rule, at: None, evidence }
}
