//! Rule: an application without a request to delete it keeps at least one workload in a member.
//!
//! Neither a lost connection nor an absent object on the hub is a deletion.

use std::collections::{BTreeMap, BTreeSet};

use super::{Rule, Violation, wish_at};
use crate::gathered::{DesiredState, Gathered};

pub(super) fn check(gathered: &Gathered) -> Vec<Violation> {
    let mut places: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    let mut found = Vec::new();
    for version in &gathered.versions {
        let held = places.entry(&version.app).or_default();
        if !version.gone {
            held.insert(&version.cluster);
            continue;
        }
        let last = held.remove(version.cluster.as_str()) && held.is_empty();
        let desired_state = wish_at(&gathered.asked, &version.app, version.at);
        if last && !matches!(desired_state, Some(DesiredState::Gone)) && !made_anew(gathered, &version.app, version.at)
        {
            found.push(Violation {
                rule: Rule::DisconnectIsNotDelete,
                at: Some(version.at),
                evidence: format!(
                    "the last of {} was deleted, and {desired_state:?} was asked for: {version:?}",
                    version.app
                ),
            });
        }
    }
    found
}

/// Returns true if the application was created again after a deletion.
///
/// The deleted object is then one from before the deletion.
fn made_anew(gathered: &Gathered, app: &str, at: u64) -> bool {
    let gone =
        gathered.asked.iter().rfind(|asked| asked.app == app && asked.at <= at && asked.what == DesiredState::Gone);
    gone.is_some_and(|gone| {
        let since = |time: u64| (gone.at..at).contains(&time);
        !gathered.versions.iter().any(|version| {
            version.app == app
                && since(version.at)
                && !version.gone
                && gathered
                    .versions
                    .iter()
                    .filter(|other| other.uid == version.uid)
                    .all(|other| since(other.at) || other.at >= at)
        })
    })
}
