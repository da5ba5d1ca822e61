//! Spreads the pods of one object over the zones of its cluster.

use serde_json::{Value, json};
use vocabulary::ZoneSpread;
use vocabulary::labels::NODE_ZONE;

use super::ComponentPlan;
use super::kinds::{at, at_mut, group, pod_template_path};

/// Adds a topology spread constraint over the zones of nodes. Runs after all steps that label pods.
///
/// A constraint over zones that the template already has stays, and no other is added: the user decides. An object
/// stays unchanged when labels cannot distinguish its pods from others.
pub(super) fn spread_over_zones(component: &ComponentPlan, spread: ZoneSpread, object: &mut Value) {
    let Some(path) = pod_template_path(&component.api_version, &component.kind, object) else { return };
    let Some(pods) = pod_selector(object, path) else { return };
    let Some(spec) = at_mut(object, path).and_then(|template| template.get_mut("spec")).and_then(Value::as_object_mut)
    else {
        return;
    };
    let constraints = spec.entry("topologySpreadConstraints").or_insert(Value::Null);
    if constraints.is_null() {
        *constraints = json!([]);
    }
    let Some(constraints) = constraints.as_array_mut() else { return };
    if constraints.iter().any(|one| one["topologyKey"] == NODE_ZONE) {
        return;
    }
    let mut constraint = json!({
        "topologyKey": NODE_ZONE,
        "maxSkew": 1,
        "whenUnsatisfiable": spread.when_unsatisfiable(),
        "labelSelector": pods,
        // A zone whose nodes are all lost takes no pods. Without this, such a zone would also block pods in other
        // zones.
        "nodeTaintsPolicy": "Honor",
    });
    if (group(&component.api_version), component.kind.as_str()) == ("apps", "Deployment") {
        // During an update the new pods are spread among themselves, because pods that are about to leave would
        // distort the counts.
        constraint["matchLabelKeys"] = json!(["pod-template-hash"]);
    }
    constraints.push(constraint);
}

/// Returns the label selector that matches the pods of an object.
fn pod_selector(object: &Value, path: &[&str]) -> Option<Value> {
    let filled = |value: &&Value| value.as_object().is_some_and(|map| !map.is_empty());
    let selector = object.pointer("/spec/selector").filter(filled);
    let by_expression =
        |selector: &&Value| selector["matchLabels"].is_object() || selector["matchExpressions"].is_array();
    if let Some(selector) = selector.filter(by_expression) {
        return Some(selector.clone());
    }
    let labels = selector.or_else(|| at(object, path)?.pointer("/metadata/labels").filter(filled))?;
    Some(json!({ "matchLabels": labels }))
}

#[cfg(test)]
mod tests {
    use crds::application::v1alpha1::Component;
    use vocabulary::AppKey;

    use super::*;
    use crate::render::blueprint_of_revision;

    /// Returns the constraints of a workload's pods after a spread over zones is added.
    fn spread(template: &Value, strictness: ZoneSpread) -> Value {
        let app = AppKey { namespace: "shop".to_owned(), name: "trade".to_owned() };
        let component = json!({"name": "web", "template": template});
        let components: Vec<Component> = serde_json::from_value(json!([component])).unwrap();
        let blueprint = blueprint_of_revision(&app, &components, &[]).unwrap();
        let mut object = template.clone();
        spread_over_zones(&blueprint.components[0], strictness, &mut object);
        object["spec"]["template"]["spec"]["topologySpreadConstraints"].clone()
    }

    fn deployment(constraints: &Value) -> Value {
        json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": {
            "selector": {"matchLabels": {"app": "web"}},
            "template": {"metadata": {"labels": {"app": "web", "track": "a"}}, "spec": {
                "containers": [{"name": "c", "image": "i:1"}], "topologySpreadConstraints": constraints}}}})
    }

    #[test]
    fn pods_are_spread_over_zones_unless_the_user_says_how() {
        let ours = |when: &str| {
            json!({"topologyKey": NODE_ZONE, "maxSkew": 1, "whenUnsatisfiable": when, "nodeTaintsPolicy": "Honor",
                "labelSelector": {"matchLabels": {"app": "web"}}, "matchLabelKeys": ["pod-template-hash"]})
        };
        let host = json!({"topologyKey": "kubernetes.io/hostname", "maxSkew": 2, "whenUnsatisfiable": "DoNotSchedule"});
        let own = json!({"topologyKey": NODE_ZONE, "maxSkew": 5, "whenUnsatisfiable": "ScheduleAnyway"});
        for (case, before, strictness, expected) in [
            ("strict", Value::Null, ZoneSpread::Strict, json!([ours("DoNotSchedule")])),
            ("preferred", Value::Null, ZoneSpread::Preferred, json!([ours("ScheduleAnyway")])),
            ("beside one over nodes", json!([host]), ZoneSpread::Strict, json!([host, ours("DoNotSchedule")])),
            ("the user's own over zones", json!([own]), ZoneSpread::Strict, json!([own])),
        ] {
            assert_eq!(spread(&deployment(&before), strictness), expected, "{case}");
        }
    }

    #[test]
    fn a_plain_selector_becomes_one_by_labels() {
        let controller = json!({"apiVersion": "v1", "kind": "ReplicationController", "metadata": {"name": "web"}, "spec": {
            "selector": {"app": "web"},
            "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "c", "image": "i:1"}]}}}});
        let constraints = spread(&controller, ZoneSpread::Strict);
        assert_eq!(constraints[0]["labelSelector"], json!({"matchLabels": {"app": "web"}}));
        assert_eq!(constraints[0].get("matchLabelKeys"), None, "its pods have no hash of their template");
    }
}
