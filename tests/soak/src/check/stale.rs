//! Rule: stale replicas are never counted as ready and never reported as zero.

use super::{Rule, Violation, wish_at};
use crate::gathered::{Broken, DesiredState, Gathered, Status};

/// Time in milliseconds after which operators must have noticed a silence.
///
/// The number covers the silence limit, two rescans, and a takeover of leases on a busy machine.
const NOTICED: u64 = 9_000;
/// Time in milliseconds after which running replicas have been observed and shown in status.
const SHOWN: u64 = 2_000;

pub(super) fn check(gathered: &Gathered) -> Vec<Violation> {
    let mut found: Vec<Violation> = gathered.statuses.iter().filter_map(sums).collect();
    for silence in &gathered.faults {
        let Some(member) = silence.fault.silences() else { continue };
        found.extend(silent(gathered, silence, member));
    }
    found
}

/// Checks that ready replicas do not exceed those of fresh cells, nor stale ones those of stale cells.
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

/// Returns the time by which operators must have noticed and shown a silence.
///
/// Returns nothing if there is no such time. Before that time, operators, database and hub must have been free of
/// faults for long enough. They must stay free of faults until the silence ends.
fn noticed(gathered: &Gathered, silence: &Broken) -> Option<u64> {
    let hinders = |other: &&Broken| ["operators", "database", "hub"].contains(&other.fault.place());
    let others = gathered.faults.iter().filter(hinders).filter(|other| other.from <= silence.healing);
    let calm = others.map(|other| other.until).fold(silence.from, u64::max);
    let noticed = calm.saturating_add(NOTICED);
    (noticed <= silence.healing).then_some(noticed)
}

/// Checks that status reports a silent member's last known replicas as stale during a long silence.
fn silent(gathered: &Gathered, silence: &Broken, member: &str) -> Vec<Violation> {
    let Some(noticed) = noticed(gathered, silence) else { return Vec::new() };
    let mut found = Vec::new();
    let mut apps: Vec<&str> = gathered.statuses.iter().map(|status| status.app.as_str()).collect();
    apps.sort_unstable();
    apps.dedup();
    for app in apps {
        let of_app = || gathered.statuses.iter().filter(|status| status.app == app && status.at <= silence.healing);
        // The status at the time when the silence must have been noticed, and all later ones.
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

/// Returns the replicas that a member had available during the whole silence and for a while before it.
fn runs_throughout(gathered: &Gathered, silence: &Broken, member: &str, app: &str) -> i64 {
    let settled = silence.from.saturating_sub(SHOWN);
    let of_app = || gathered.versions.iter().filter(|version| version.cluster == member && version.app == app);
    let before = of_app().rfind(|version| version.at <= settled).map_or(0, |version| version.available);
    let since = of_app().filter(|version| version.at > settled && version.at <= silence.healing);
    since.map(|version| version.available).fold(before, i64::min)
}
