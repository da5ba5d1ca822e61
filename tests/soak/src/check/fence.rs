//! Rule: every object has a fence that never falls and that rises when the number of replicas changes.

use std::collections::BTreeMap;

use super::{Rule, Violation};
use crate::gathered::Gathered;

pub(super) fn check(gathered: &Gathered) -> Vec<Violation> {
    let mut last: BTreeMap<&str, (&str, i64)> = BTreeMap::new();
    let mut found = Vec::new();
    let mut wrong = |at: u64, evidence: String| found.push(Violation { rule: Rule::Fenced, at: Some(at), evidence });
    for version in gathered.versions.iter().filter(|version| !version.gone) {
        match &version.fence {
            None => wrong(version.at, format!("no fence: {version:?}")),
            // Fences have a fixed width, so the order of their texts is the order of the fences.
            Some(fence) => match last.insert(&version.uid, (fence, version.replicas)) {
                Some((before, _)) if before > fence.as_str() => {
                    wrong(version.at, format!("the fence fell from {before}: {version:?}"));
                }
                Some((before, replicas)) if before == fence && replicas != version.replicas => {
                    wrong(version.at, format!("it was told {replicas} replicas under the same fence: {version:?}"));
                }
                _ => {}
            },
        }
    }
    for object in gathered.end.objects.iter().filter(|object| object.fence.is_none()) {
        wrong(gathered.over, format!("no fence at the end: {object:?}"));
    }
    found
}
