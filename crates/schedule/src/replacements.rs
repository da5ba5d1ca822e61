//! Which components took the place of others in edits that are under way. Pure.

use std::collections::BTreeSet;

use domain::render::{ComponentPlan, is_replicated};
use domain::stored_revision::StoredRevision;

use crate::gather::AppSnapshot;

/// Pairs of component names: the component that an edit removed, and the one that it added instead.
pub(crate) type Replacements = BTreeSet<(String, String)>;

/// Returns the replacements of all edits that some cell has not taken yet.
///
/// Each earlier revision is compared with the wanted one. The record keeps pairs of edits that were followed by others.
/// A pair ends when no earlier revision has its removed component.
pub(crate) fn replacements(facts: &AppSnapshot) -> Replacements {
    let earlier = || facts.revisions.iter().filter(|(hash, _)| **hash != facts.wanted).map(|(_, revision)| revision);
    let (_, record) = &facts.last_decision;
    let mut pairs = record.replacements.clone();
    if let Some(wanted) = facts.revisions.get(&facts.wanted) {
        pairs.extend(earlier().flat_map(|before| between(before, wanted)));
    }
    let runs = |name: &str| earlier().any(|revision| long_running(revision).any(|component| component.name == name));
    pairs.retain(|(removed, _)| runs(removed));
    pairs
}

/// Pairs of an edit from one revision to another.
///
/// Components that share a component name or an object name need no pair. Of the others, those of one kind and scope are
/// paired where they are the only ones. Otherwise each removed component waits for all that were added.
fn between(before: &StoredRevision, after: &StoredRevision) -> Replacements {
    let removed: Vec<&ComponentPlan> = long_running(before).filter(|one| !is_continued(one, after)).collect();
    let added: Vec<&ComponentPlan> = long_running(after).filter(|one| !is_continued(one, before)).collect();
    let alike = |a: &ComponentPlan, b: &ComponentPlan| a.kind == b.kind && a.scope == b.scope;
    let successors = |one: &&ComponentPlan| -> Vec<&ComponentPlan> {
        let own: Vec<&ComponentPlan> = added.iter().copied().filter(|other| alike(one, other)).collect();
        let rivals = removed.iter().filter(|other| alike(one, other)).count();
        if own.len() == 1 && rivals == 1 { own } else { added.clone() }
    };
    let pairs =
        removed.iter().flat_map(|one| successors(one).into_iter().map(|new| (one.name.clone(), new.name.clone())));
    pairs.collect()
}

/// Components whose pods run until they are stopped.
fn long_running(revision: &StoredRevision) -> impl Iterator<Item = &ComponentPlan> {
    let components = revision.blueprint.components.iter();
    components.filter(|component| component.workload && (is_replicated(component) || component.kind == "DaemonSet"))
}

fn is_continued(component: &ComponentPlan, by: &StoredRevision) -> bool {
    long_running(by).any(|other| other.name == component.name || other.object_name == component.object_name)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use vocabulary::AppKey;

    use super::*;

    fn revision(components: &[(&str, &str)]) -> StoredRevision {
        let app = AppKey { namespace: "shop".to_owned(), name: "web".to_owned() };
        let component = |(name, kind): &(&str, &str)| -> Value {
            let pods =
                json!({"metadata": {"labels": {"app": name}}, "spec": {"containers": [{"name": "c", "image": "i:1"}]}});
            json!({"name": name, "scope": "PerCell", "template": {"apiVersion": "apps/v1", "kind": kind,
                "metadata": {"name": name}, "spec": {"selector": {"matchLabels": {"app": name}}, "serviceName": name,
                "template": pods}}})
        };
        let body = json!({"components": components.iter().map(component).collect::<Vec<_>>()});
        StoredRevision::parse(&app, body.to_string().as_bytes()).unwrap()
    }

    #[test]
    fn removed_components_are_paired_with_their_successors() {
        const WEB: (&str, &str) = ("web", "Deployment");
        const API: (&str, &str) = ("api", "Deployment");
        const SET: (&str, &str) = ("set", "StatefulSet");
        const EDGE: (&str, &str) = ("edge", "DaemonSet");
        for (case, before, after, expected) in [
            ("nothing was renamed", vec![WEB], vec![WEB, API], vec![]),
            ("both names are new", vec![WEB], vec![API], vec![("web", "api")]),
            ("another kind under another name", vec![WEB], vec![EDGE], vec![("web", "edge")]),
            ("a set was added as well", vec![WEB], vec![API, SET], vec![("web", "api")]),
            ("a set was removed as well", vec![WEB, SET], vec![API], vec![("set", "api"), ("web", "api")]),
            ("removed and not replaced", vec![WEB, SET], vec![SET], vec![]),
        ] {
            let expected = expected.into_iter().map(|(old, new)| (old.to_owned(), new.to_owned())).collect();
            assert_eq!(between(&revision(&before), &revision(&after)), expected, "{case}");
        }
    }
}
