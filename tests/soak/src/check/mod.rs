//! Judges what a run left behind. Pure.

mod available;
mod end;
mod fence;
mod once;
mod stale;
mod unasked;

use std::fmt;

use crate::gathered::{Asked, DesiredState, Gathered};

pub use end::end;

/// Something that must not be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The rule that is broken.
    pub rule: Rule,
    /// When, in milliseconds from the start of the run; nothing when it is so at the end.
    pub at: Option<u64>,
    /// What was seen.
    pub evidence: String,
}

/// What must hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rule {
    /// Intent, rows, members and status say the same once everything is healed.
    Agreement,
    /// Nothing of a deleted application is left, and nothing runs that nobody asked for.
    NothingLeft,
    /// No object is made or deleted twice.
    Once,
    /// An application is never below what is allowed.
    NeverBelow,
    /// Stale replicas are told apart from ready ones, and not taken for none.
    StaleIsStale,
    /// Nothing disappears that nobody asked to delete.
    DisconnectIsNotDelete,
    /// Every object carries a fence, and it only rises.
    Fenced,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.rule, self.evidence)?;
        self.at.map_or(Ok(()), |at| write!(f, " (at {at} ms)"))
    }
}

/// Everything that must not be, in the order of the rules.
pub fn check(gathered: &Gathered) -> Vec<Violation> {
    let mut all = end(&gathered.asked, &gathered.end);
    all.extend(once::check(gathered));
    all.extend(available::check(gathered));
    all.extend(stale::check(gathered));
    all.extend(unasked::check(gathered));
    all.extend(fence::check(gathered));
    all
}

/// What was asked last of an application by then.
fn wish_at<'a>(asked: &'a [Asked], app: &str, at: u64) -> Option<&'a DesiredState> {
    asked.iter().rfind(|asked| asked.app == app && asked.at <= at).map(|asked| &asked.what)
}

/// What was asked last of an application.
fn last_wish<'a>(asked: &'a [Asked], app: &str) -> Option<&'a DesiredState> {
    wish_at(asked, app, u64::MAX)
}

fn at_end(rule: Rule, evidence: String) -> Violation {
    Violation { rule, at: None, evidence }
}
