//! No object is made twice without a deletion in between, or deleted twice without being made in between.

use std::collections::BTreeMap;

use super::{Rule, Violation};
use crate::gathered::{Gathered, Written};
use crate::plan::Fault;

/// How long before it is killed a server may have answered without writing that down.
const UNWRITTEN: u64 = 1_000;

pub(super) fn check(gathered: &Gathered) -> Vec<Violation> {
    let mut last: BTreeMap<(&str, &str, &str), &Written> = BTreeMap::new();
    let mut found = Vec::new();
    for write in &gathered.writes {
        let before = last.insert((&write.cluster, &write.resource, &write.name), write);
        let Some(before) = before.filter(|before| before.made == write.made) else { continue };
        // What was done in between may be missing in the log of a server that was killed then.
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
