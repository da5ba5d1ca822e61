//! Bad specs, and the words that their refusals must contain.

use acceptance::manifests::deployment;
use serde_json::{Value, json};

/// Label of the case, the change that makes it invalid, and the words of the message.
///
/// The message must contain all the words.
pub(super) type Case = (&'static str, fn(&mut Value), &'static [&'static str]);

/// Input that the API server refuses by the schema or its rules.
pub(super) const REFUSED_AT_ONCE: &[Case] = &[
    ("an unknown field", |app| app["spec"]["replica"] = json!(3), &["spec.replica", "not declared"]),
    ("negative replicas", |app| app["spec"]["replicas"] = json!(-1), &["spec.replicas", "greater than or equal to 0"]),
    (
        "an unknown field of placement",
        |app| app["spec"]["placement"]["zones"] = json!(["a"]),
        &["spec.placement.zones"],
    ),
    (
        "an unknown topology",
        |app| app["spec"]["placement"]["spread"] = json!([{"topology": "Rack", "maxSkew": 1}]),
        &["spread[0].topology", "supported values", "Zone"],
    ),
    (
        "an unknown operator of a label selector",
        |app| {
            app["spec"]["placement"]["cells"] =
                json!({"matchExpressions": [{"key": "tier", "operator": "Like", "values": ["x"]}]});
        },
        &["cells.matchExpressions[0].operator", "supported values", "NotIn"],
    ),
    (
        "min above max",
        |app| app["spec"]["placement"]["limits"] = json!([{"topology": "Zone", "min": 3, "max": 2}]),
        &["limits[0]", "min must not exceed max"],
    ),
    (
        "an override of a missing component",
        |app| app["spec"]["overrides"] = json!([{"cells": {}, "patches": [{"component": "nobody", "image": "x"}]}]),
        &["every override patch must name a component"],
    ),
    (
        "two kinds of patch in one",
        |app| {
            app["spec"]["overrides"] =
                json!([{"cells": {}, "patches": [{"component": "server", "image": "x", "args": ["y"]}]}]);
        },
        &["patches[0]", "set exactly one of"],
    ),
    ("no components", |app| app["spec"]["components"] = json!([]), &["spec.components", "at least 1"]),
    (
        "two components of one name",
        |app| {
            let twin = app["spec"]["components"][0].clone();
            app["spec"]["components"].as_array_mut().unwrap().push(twin);
        },
        &["spec.components", "component names must be unique"],
    ),
    (
        "both kinds of placement",
        |app| app["spec"]["placementPolicyRef"] = json!({"name": "p"}),
        &["set exactly one of placement and placementPolicyRef"],
    ),
    (
        "a negative share",
        |app| app["spec"]["placement"]["shares"] = json!({"north-a": -1}),
        &["shares", "a share is a number of replicas of at least 0"],
    ),
    (
        "a template of 2 MiB",
        |app| {
            let large = json!({"name": "large", "template": {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "large"}, "data": {"x": "x".repeat(2_000_000)}}});
            app["spec"]["components"].as_array_mut().unwrap().push(large);
        },
        &["too large"],
    ),
];

/// Input that intake refuses, because only the whole spec shows the error.
pub(super) const REFUSED_AT_INTAKE: &[Case] = &[
    (
        "a percentage over 100",
        |app| app["spec"]["placement"]["shares"] = json!({"north-a": "101%"}),
        &["spec.placement.shares[north-a]", "from 0% to 100%"],
    ),
    (
        "percentages over 100 together",
        |app| app["spec"]["placement"]["shares"] = json!({"north-a": "60%", "north-b": "60%"}),
        &["spec.placement.shares", "120%", "lower them"],
    ),
    (
        "shares above replicas",
        |app| app["spec"]["placement"]["shares"] = json!({"north-a": 9}),
        &["spec.placement.shares", "lower the shares or raise spec.replicas"],
    ),
    (
        "weights of nothing",
        |app| app["spec"]["placement"]["weights"] = json!({"mode": "Static", "static": {"north-a": 0}}),
        &["spec.placement.weights.static", "name at least one"],
    ),
    (
        "a spread that asks for nothing",
        |app| app["spec"]["placement"]["spread"] = json!([{"topology": "Zone"}]),
        &["spec.placement.spread[0]", "set maxSkew, minDomains or surviveLoss"],
    ),
    (
        "a template without kind",
        |app| app["spec"]["components"][0]["template"] = json!({"apiVersion": "v1", "metadata": {"name": "x"}}),
        &["template.kind"],
    ),
    (
        "a template without name",
        |app| app["spec"]["components"][0]["template"]["metadata"] = json!({}),
        &["template.metadata.name", "set it"],
    ),
    (
        "a template in another namespace",
        |app| app["spec"]["components"][0]["template"]["metadata"]["namespace"] = json!("elsewhere"),
        &["template.metadata.namespace", "remove it"],
    ),
    (
        "a cluster-scoped kind",
        |app| {
            app["spec"]["components"][0]["template"] =
                json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "x"}});
        },
        &["spec.components[0].template.kind", "administrators"],
    ),
    (
        "an RBAC kind",
        |app| {
            app["spec"]["components"][0]["template"] =
                json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": "x"}});
        },
        &["spec.components[0].template.kind", "grants rights", "administrators"],
    ),
    (
        "a webhook kind",
        |app| {
            app["spec"]["components"][0]["template"] = json!({
                "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration", "metadata": {"name": "x"}});
        },
        &["spec.components[0].template.kind", "admits", "administrators"],
    ),
    (
        "a bare Pod",
        |app| {
            app["spec"]["components"][0]["template"] = json!({
                "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x"}, "spec": {"containers": [{"name": "a", "image": "a"}]}});
        },
        &["spec.components[0].template.kind", "use a Deployment"],
    ),
    (
        "a kind of Meridian's own",
        |app| {
            app["spec"]["components"][0]["template"] =
                json!({"apiVersion": "fleet.meridian.io/v1alpha1", "kind": "Cell", "metadata": {"name": "x"}});
        },
        &["spec.components[0].template.kind", "apply it on the hub"],
    ),
    (
        "a CronJob without scope",
        |app| {
            app["spec"]["components"][0]["template"] =
                json!({"apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": "x"}, "spec": {}});
        },
        &["spec.components[0].scope", "set scope: Once"],
    ),
    (
        "a Divided StatefulSet",
        |app| {
            app["spec"]["components"][0]["scope"] = json!("Divided");
            app["spec"]["components"][0]["template"]["kind"] = json!("StatefulSet");
        },
        &["spec.components[0].scope", "StatefulSet", "set scope: PerCell"],
    ),
    (
        "two Divided components",
        |app| {
            let twin = json!({"name": "twin", "template": deployment("twin", "web:1")});
            app["spec"]["components"].as_array_mut().unwrap().push(twin);
        },
        &["spec.components[1].scope", "both Divided", "set scope: PerCell on twin"],
    ),
    (
        "one object of two components",
        |app| {
            let name = app["metadata"]["name"].clone();
            let twin =
                json!({"name": "twin", "scope": "PerCell", "template": deployment(name.as_str().unwrap(), "web:1")});
            app["spec"]["components"].as_array_mut().unwrap().push(twin);
        },
        &["spec.components[1].template.metadata.name", "rename one"],
    ),
    (
        "a number of its own in the Divided template",
        |app| app["spec"]["components"][0]["template"]["spec"]["replicas"] = json!(7),
        &["spec.components[0].template.spec.replicas", "remove template spec.replicas"],
    ),
    (
        "no replicas for a Divided component",
        |app| drop(app["spec"].as_object_mut().unwrap().remove("replicas")),
        &["spec.replicas", "set spec.replicas"],
    ),
    (
        "replicas for nothing",
        |app| {
            app["spec"]["components"][0]["template"] =
                json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x"}, "data": {}});
        },
        &["spec.replicas", "remove it"],
    ),
    (
        "a policy that is not there",
        |app| {
            app["spec"].as_object_mut().unwrap().remove("placement");
            app["spec"]["placementPolicyRef"] = json!({"name": "nobody"});
        },
        &["spec.placementPolicyRef", "PlacementPolicy nobody", "create it"],
    ),
    (
        "an autoscaler of a Divided workload",
        |app| {
            let name = app["metadata"]["name"].clone();
            app["spec"]["components"].as_array_mut().unwrap().push(json!({"name": "scaler", "template": {
                "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "web"},
                "spec": {"maxReplicas": 5, "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": name}}}}));
        },
        &["spec.components[1].template.spec.scaleTargetRef", "remove the autoscaler"],
    ),
    (
        "somebody else's service account",
        |app| {
            app["spec"]["components"][0]["template"]["spec"]["template"]["spec"]["serviceAccountName"] = json!("admin")
        },
        &["template.spec.template.spec.serviceAccountName", "add a ServiceAccount component"],
    ),
    (
        "a reserved label",
        |app| {
            app["spec"]["components"][0]["template"]["metadata"]["labels"] = json!({"fleet.meridian.io/app": "other"})
        },
        &["template.metadata.labels", "fleet.meridian.io/app", "remove it"],
    ),
    (
        "a status in a template",
        |app| app["spec"]["components"][0]["template"]["status"] = json!({"replicas": 3}),
        &["spec.components[0].template.status", "remove it"],
    ),
    (
        "an owner in a template",
        |app| {
            app["spec"]["components"][0]["template"]["metadata"]["ownerReferences"] =
                json!([{"apiVersion": "v1", "kind": "ConfigMap", "name": "x", "uid": "1"}]);
        },
        &["template.metadata.ownerReferences", "remove it"],
    ),
    (
        "an override of a field that may not change",
        |app| {
            app["spec"]["overrides"] = json!([{"cells": {}, "patches": [{"component": "server", "jsonPatch": [
                {"op": "replace", "path": "/spec/selector/matchLabels/app", "value": "other"}]}]}]);
        },
        &["spec.overrides[0].patches[0]", "spec.selector", "declare another component"],
    ),
    (
        "an override of the replicas that placement divides",
        |app| {
            app["spec"]["overrides"] = json!([{"cells": {}, "patches": [{"component": "server", "jsonPatch": [
                {"op": "add", "path": "/spec/replicas", "value": 9}]}]}]);
        },
        &["spec.overrides[0].patches[0]", "spec.replicas", "remove the operation"],
    ),
    (
        "an override of a container that is not there",
        |app| {
            app["spec"]["overrides"] =
                json!([{"cells": {}, "patches": [{"component": "server", "container": "nobody", "image": "x"}]}]);
        },
        &["spec.overrides[0].patches[0]", "it has main"],
    ),
    (
        "a patch of a place that is not there",
        |app| {
            app["spec"]["overrides"] = json!([{"cells": {}, "patches": [{"component": "server", "jsonPatch": [
                {"op": "replace", "path": "/spec/nowhere/field", "value": 1}]}]}]);
        },
        &["spec.overrides[0].patches[0]", "correct its path"],
    ),
    (
        "more than a hub keeps in one object, with its status",
        |app| {
            let large = json!({"name": "large", "template": {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "large"}, "data": {"x": "x".repeat(1_100_000)}}});
            app["spec"]["components"].as_array_mut().unwrap().push(large);
        },
        &["spec: components and overrides are", "split it"],
    ),
];
