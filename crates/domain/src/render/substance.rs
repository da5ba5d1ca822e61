//! Hashes the part of a revision that affects running pods.

use crds::application::v1alpha1::{Component, OverrideRule};
use serde_json::{Value, json};
use vocabulary::ContentHash;

use super::fields::canonical_hash;
use super::kinds::{Scopes, scopes};

/// Returns the hash of a revision without labels and annotations of the workload objects themselves.
///
/// Pods have labels and annotations of their own, so those of a workload object restart nothing. Those of other kinds
/// count, because they often control a Service or an Ingress. Beside a JSON patch everything counts, because the patch
/// may copy them into the pods.
pub fn substance(components: &[Component], overrides: &[OverrideRule]) -> ContentHash {
    let patched = overrides.iter().flat_map(|rule| &rule.patches).any(|patch| patch.json_patch.is_some());
    let all = components.iter().map(|component| {
        let mut component = component.clone();
        let text = |field: &str| component.template[field].as_str().unwrap_or_default();
        let workload = matches!(scopes(text("apiVersion"), text("kind")), Scopes::Scalable | Scopes::OnlyPerCell);
        if workload
            && !patched
            && let Some(metadata) = component.template.get_mut("metadata").and_then(Value::as_object_mut)
        {
            metadata.remove("labels");
            metadata.remove("annotations");
        }
        component
    });
    canonical_hash(&json!({"components": all.collect::<Vec<_>>(), "overrides": overrides}))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn component(kind: &str, metadata: Value, pod: &str) -> Component {
        let api_version = if kind == "Deployment" { "apps/v1" } else { "v1" };
        let template = json!({"apiVersion": api_version, "kind": kind, "metadata": metadata,
            "spec": {"template": {"metadata": {"annotations": {"a": pod}}}}});
        Component { name: "web".to_owned(), scope: None, adopt: None, template }
    }

    #[test]
    fn only_what_a_workload_says_of_itself_makes_no_difference() {
        let rule = |patch: Value| -> OverrideRule {
            serde_json::from_value(json!({"cells": {}, "patches": [patch]})).unwrap()
        };
        let image = rule(json!({"component": "web", "image": "web:2"}));
        let copy =
            json!({"op": "copy", "from": "/metadata/annotations/a", "path": "/spec/template/metadata/annotations/a"});
        let patch = rule(json!({"component": "web", "jsonPatch": [copy]}));
        let named = |annotation: &str, label: &str| json!({"name": "web", "annotations": {"a": annotation}, "labels": {"l": label}});
        let before = component("Deployment", named("1", "1"), "1");
        let service = component("Service", named("1", "1"), "1");
        for (what, before, after, overrides, same) in [
            ("annotation", &before, component("Deployment", named("2", "1"), "1"), vec![], true),
            ("label", &before, component("Deployment", named("1", "2"), "1"), vec![], true),
            ("none of both", &before, component("Deployment", json!({"name": "web"}), "1"), vec![], true),
            ("pod", &before, component("Deployment", named("1", "1"), "2"), vec![], false),
            ("name", &before, component("Deployment", json!({"name": "other"}), "1"), vec![], false),
            ("a service's annotation", &service, component("Service", named("2", "1"), "1"), vec![], false),
            ("beside an override", &before, component("Deployment", named("2", "1"), "1"), vec![image], true),
            ("beside a patch", &before, component("Deployment", named("2", "1"), "1"), vec![patch], false),
        ] {
            let hash = |component: &Component| substance(std::slice::from_ref(component), &overrides);
            assert_eq!(hash(before) == hash(&after), same, "{what}");
        }
    }
}
