//! Rule: between two creations of an object lies a deletion, and between two deletions lies a creation.

use std::collections::BTreeMap;

use super::{Rule, Violation};
use crate::gathered::{Gathered, Written};
use crate::plan::Fault;

/// Maximum loss of audit entries at a kill, in milliseconds before the kill.
///
/// A server may have answered a request in that time without an audit entry.
const UNWRITTEN: u64 = 1_000;

pub(super) fn check(gathered: &Gathered) -> Vec<Violation> {
    let mut last: BTreeMap<(&str, &str, &str), &Written> = BTreeMap::new();
    let mut found = Vec::new();
    for write in &gathered.writes {
        let before = last.insert((&write.cluster, &write.resource, &write.name), write);
        let Some(before) = before.filter(|before| before.made == write.made) else { continue };
        // The audit log of a killed server may lack the write in between.
        let torn = gathered.faults.iter().any(|broken| {
            matches!(broken.fault, Fault::MemberKilled(member) if member == write.cluster)
                && broken.from + UNWRITTEN > before.at
                && broken.from < write.at + UNWRITTEN
        });
        if !torn {
            let what = if write.made { "made" } else { "deleted" };
            found.push(Violation {
                rule: Rule::Once,
                at: Some(write.at),
                evidence: format!(
                    "{} {} in {} was {what} twice: {before:?}, {write:?}",
                    write.resource, write.name, write.cluster
                ),
            });
        }
    }
    found
}
