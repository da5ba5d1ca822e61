//! Keeps all replicas available while a release replaces the pods of a Deployment.

use serde_json::{Value, json};

use super::ComponentPlan;
use super::kinds::group;

/// Sets `maxUnavailable` of a Deployment to 0, so that a pod goes only when its successor is available.
///
/// A number that the template states stays: the user decides. So does a template that replaces all pods at once, or that
/// permits no additional pod.
pub(super) fn keep_available(component: &ComponentPlan, object: &mut Value) {
    if (group(&component.api_version), component.kind.as_str()) != ("apps", "Deployment") {
        return;
    }
    let strategy = &object["spec"]["strategy"];
    let is_rolling = strategy["type"].is_null() || strategy["type"] == "RollingUpdate";
    let surge = &strategy["rollingUpdate"]["maxSurge"];
    let has_no_surge = *surge == 0 || *surge == "0%" || *surge == "0";
    // The member refuses what is no map. Its message says more than one of ours.
    let is_map = |value: &Value| value.is_null() || value.is_object();
    let is_readable = object["spec"].is_object() && is_map(strategy) && is_map(&strategy["rollingUpdate"]);
    if !is_readable || !is_rolling || has_no_surge || !strategy["rollingUpdate"]["maxUnavailable"].is_null() {
        return;
    }
    object["spec"]["strategy"]["type"] = json!("RollingUpdate");
    object["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"] = json!(0);
}

#[cfg(test)]
mod tests {
    use crds::application::v1alpha1::Component;

    use super::*;
    use crate::render::blueprint_of_revision;
    use vocabulary::AppKey;

    fn component(kind: &str) -> ComponentPlan {
        let template = json!({"apiVersion": "apps/v1", "kind": kind, "metadata": {"name": "web"}, "spec": {
            "selector": {"matchLabels": {"app": "web"}}, "template": {"metadata": {"labels": {"app": "web"}},
                "spec": {"containers": [{"name": "c", "image": "i:1"}]}}}});
        let components: Vec<Component> =
            serde_json::from_value(json!([{"name": "web", "template": template}])).unwrap();
        let app = AppKey { namespace: "shop".to_owned(), name: "web".to_owned() };
        blueprint_of_revision(&app, &components, &[]).unwrap().components.remove(0)
    }

    #[test]
    fn rolling_update_without_a_number_keeps_all_pods() {
        let kept = json!({"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0}});
        for (case, kind, strategy, expected) in [
            ("nothing is stated", "Deployment", Value::Null, kept),
            (
                "only the surge is stated",
                "Deployment",
                json!({"rollingUpdate": {"maxSurge": 2}}),
                json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 2, "maxUnavailable": 0}}),
            ),
            (
                "the user states a number",
                "Deployment",
                json!({"rollingUpdate": {"maxUnavailable": "25%"}}),
                json!({"rollingUpdate": {"maxUnavailable": "25%"}}),
            ),
            (
                "no additional pod is permitted",
                "Deployment",
                json!({"rollingUpdate": {"maxSurge": 0}}),
                json!({"rollingUpdate": {"maxSurge": 0}}),
            ),
            ("all at once", "Deployment", json!({"type": "Recreate"}), json!({"type": "Recreate"})),
            ("no map", "Deployment", json!("fast"), json!("fast")),
            ("another kind", "ReplicaSet", Value::Null, Value::Null),
        ] {
            let mut object = json!({"spec": {}});
            if !strategy.is_null() {
                object["spec"]["strategy"] = strategy;
            }
            keep_available(&component(kind), &mut object);
            assert_eq!(object["spec"].get("strategy").cloned().unwrap_or_default(), expected, "{case}");
        }
    }
}
