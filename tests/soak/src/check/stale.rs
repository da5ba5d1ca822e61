//! Stale replicas are never counted as ready, and never taken for none.

use super::{Rule, Violation, wish_at};
use crate::gathered::{Broken, DesiredState, Gathered, Status};

/// A silence that lasts so long is noticed: the silence limit, two looks, and a take-over of leases on a machine that
/// is busy.
const NOTICED: u64 = 9_000;
/// What runs for so long was observed and shown.
const SHOWN: u64 = 2_000;

pub(super) fn check(gathered: &Gathered) -> Vec<Violation> {
    let mut found: Vec<Violation> = gathered.statuses.iter().filter_map(sums).collect();
    for silence in &gathered.faults {
        let Some(member) = silence.fault.silences() else { continue };
        found.extend(silent(gathered, silence, member));
    }
    found
}

/// What is ready is what fresh cells have ready.
fn sums(status: &Status) -> Option<Violation> {
    let fresh: i64 = status.cells.values().filter(|(_, stale)| !stale).map(|(ready, _)| ready).sum();
    let stale: i64 = status.cells.values().filter(|(_, stale)| *stale).map(|(ready, _)| ready).sum();
    let wrong = status.ready > fresh || status.stale_ready > stale;
    wrong.then(|| Violation {
        rule: Rule::StaleIsStale,
        at: Some(status.at),
        evidence: format!("{} counts what its fresh cells do not have: {status:?}", status.app),
    })
}

/// By when a silence must have been noticed and shown: nothing between operators, database and hub was broken for so
/// long before, and nothing is until the silence ends. Nothing when there is no such time.
fn noticed(gathered: &Gathered, silence: &Broken) -> Option<u64> {
    let hinders = |other: &&Broken| ["operators", "database", "hub"].contains(&other.fault.place());
    let others = gathered.faults.iter().filter(hinders).filter(|other| other.from <= silence.healing);
    let calm = others.map(|other| other.until).fold(silence.from, u64::max);
    let noticed = calm.saturating_add(NOTICED);
    (noticed <= silence.healing).then_some(noticed)
}

/// During a long silence, status of every application says of the silent member what was known last, and that it is
/// stale.
fn silent(gathered: &Gathered, silence: &Broken, member: &str) -> Vec<Violation> {
    let Some(noticed) = noticed(gathered, silence) else { return Vec::new() };
    let mut found = Vec::new();
    let mut apps: Vec<&str> = gathered.statuses.iter().map(|status| status.app.as_str()).collect();
    apps.sort_unstable();
    apps.dedup();
    for app in apps {
        let of_app = || gathered.statuses.iter().filter(|status| status.app == app && status.at <= silence.healing);
        // What stood when it had to be noticed, and all that came after.
        let standing = of_app().rfind(|status| status.at <= noticed);
        for status in standing.into_iter().chain(of_app().filter(|status| status.at > noticed)) {
            if !matches!(wish_at(&gathered.asked, app, status.at.max(noticed)), Some(DesiredState::Run { .. })) {
                continue;
            }
            let runs = runs_throughout(gathered, silence, member, app);
            let wrong = match status.cells.get(member) {
                Some((ready, false)) if *ready > 0 => Some("counts replicas as ready that nobody sees"),
                Some((0, true)) if runs > 0 => Some("takes silence for nothing"),
                _ => None,
            };
            found.extend(wrong.map(|what| Violation {
                rule: Rule::StaleIsStale,
                at: Some(status.at.max(noticed)),
                evidence: format!(
                    "{app} {what}: {member} is silent since {} ms ({:?}), {runs} run there: {status:?}",
                    silence.from, silence.fault
                ),
            }));
        }
    }
    found
}

/// Replicas a member had available all the time of a silence, and a while before it.
fn runs_throughout(gathered: &Gathered, silence: &Broken, member: &str, app: &str) -> i64 {
    let settled = silence.from.saturating_sub(SHOWN);
    let of_app = || gathered.versions.iter().filter(|version| version.cluster == member && version.app == app);
    let before = of_app().rfind(|version| version.at <= settled).map_or(0, |version| version.available);
    let since = of_app().filter(|version| version.at > settled && version.at <= silence.healing);
    since.map(|version| version.available).fold(before, i64::min)
}
