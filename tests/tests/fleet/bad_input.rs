//! Refused input: the message names the field and the remedy.

use std::collections::BTreeMap;

use acceptance::manifests::{MEMBERS, deployment, namespace, web};
use acceptance::{Fleet, condition};
use anyhow::{Context, ensure};
use serde_json::{Value, json};

/// Label of the case, the change that makes it invalid, and the words of the message.
///
/// The message must contain all the words.
type Case = (&'static str, fn(&mut Value), &'static [&'static str]);

/// Input that the API server refuses by the schema or its rules.
const REFUSED_AT_ONCE: &[Case] = &[
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
const REFUSED_AT_INTAKE: &[Case] = &[
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

/// Returns the words that `say` must contain and does not.
fn missing<'a>(say: &str, words: &[&'a str]) -> Vec<&'a str> {
    words.iter().copied().filter(|word| !say.contains(word)).collect()
}

pub(crate) async fn bad_input_names_the_field_and_the_remedy(fleet: &mut Fleet) -> anyhow::Result<()> {
    namespace(fleet, "bad")?;
    for (case, change, words) in REFUSED_AT_ONCE {
        let mut manifest = web("bad", "web", 3);
        change(&mut manifest);
        let output = fleet.try_apply("hub", &manifest)?;
        let error = String::from_utf8_lossy(&output.stderr);
        ensure!(!output.status.success(), "{case}: it is accepted");
        let missing = missing(&error, words);
        ensure!(missing.is_empty(), "{case}: the message does not say {missing:?}: {error}");
    }
    let policy = json!({"apiVersion": "fleet.meridian.io/v1alpha1", "kind": "PlacementPolicy",
        "metadata": {"name": "bad", "namespace": "bad"}, "spec": {"weighting": {}}});
    let output = fleet.try_apply("hub", &policy)?;
    let error = String::from_utf8_lossy(&output.stderr);
    ensure!(!output.status.success() && error.contains("spec.weighting"), "an unknown field of a policy: {error}");

    let mut waiting = BTreeMap::new();
    for (number, (case, change, words)) in REFUSED_AT_INTAKE.iter().enumerate() {
        let name = format!("web-{number}");
        let mut manifest = web("bad", &name, 3);
        change(&mut manifest);
        let output = fleet.try_apply("hub", &manifest)?;
        let error = String::from_utf8_lossy(&output.stderr);
        if output.status.success() {
            waiting.insert(name, (case, words));
        } else {
            let missing = missing(&error, words);
            ensure!(missing.is_empty(), "{case}: the message does not say {missing:?}: {error}");
        }
    }
    for (name, (case, words)) in waiting {
        let refused = |app: &crds::Application| {
            let told = |type_, value| condition(app, type_).is_some_and(|(status, _)| status == value);
            told("Ready", "False") && told("Stalled", "True")
        };
        let seen = fleet.app_until("bad", &name, &format!("{case}: refused and waiting for a person"), refused).await?;
        let (_, message) = condition(&seen, "Ready").context("a condition")?;
        let missing = missing(message, words);
        ensure!(missing.is_empty(), "{case}: the message does not say {missing:?}: {message}");
    }
    nothing_is_delivered(fleet, "bad")?;
    refused_by_the_members(fleet).await
}

/// Checks that errors that only a member can find are refused in the member's words.
///
/// The refusal does not need an existing object.
async fn refused_by_the_members(fleet: &Fleet) -> anyhow::Result<()> {
    let mut manifest = web("bad", "typo", 3);
    manifest["spec"]["components"][0]["template"]["spec"]["template"]["spec"]["containers"][0]["imagee"] =
        json!("web:1");
    fleet.apply("hub", &manifest)?;
    let refused = |app: &crds::Application| condition(app, "Stalled").is_some_and(|(stalled, _)| stalled == "True");
    let seen = fleet.app_until("bad", "typo", "refused by the members", refused).await?;
    let (_, message) = condition(&seen, "Ready").context("a condition")?;
    ensure!(message.contains("imagee"), "the message does not name the field: {message}");
    fleet.meridian(&["app", "delete", "typo", "-n", "bad", "--yes"]).map(drop)
}

fn nothing_is_delivered(fleet: &Fleet, namespace: &str) -> anyhow::Result<()> {
    for member in MEMBERS {
        let there = fleet.kubectl(member, &["get", "namespace", namespace, "-o", "name", "--ignore-not-found"])?;
        ensure!(there.is_empty(), "{member} has {there}");
    }
    Ok(())
}

pub(crate) async fn a_spread_that_cannot_be_is_held_with_the_remedy(fleet: &mut Fleet) -> anyhow::Result<()> {
    namespace(fleet, "held")?;
    let mut manifest = web("held", "web", 6);
    manifest["spec"]["placement"]["spread"][0]["minDomains"] = json!(9);
    fleet.apply("hub", &manifest)?;
    let held = |app: &crds::Application| condition(app, "Scheduled").is_some_and(|(status, _)| status == "False");
    let seen = fleet.app_until("held", "web", "held", held).await?;
    let (_, message) = condition(&seen, "Scheduled").context("a condition")?;
    let missing = missing(
        message,
        &["spread[0] (Zone)", "minDomains is 9", "add domains or capacity", "whenUnsatisfiable: BestEffort"],
    );
    ensure!(missing.is_empty(), "the message does not say {missing:?}: {message}");
    ensure!(condition(&seen, "Ready").is_some_and(|(ready, _)| ready == "False"));
    nothing_is_delivered(fleet, "held")?;

    // Running replicas stay when the constraint becomes impossible.
    manifest["spec"]["placement"]["spread"][0]["minDomains"] = json!(2);
    fleet.apply("hub", &manifest)?;
    fleet.ready("held", "web").await?;
    let full = json!({"spec": {"placement": {"spread": [{"topology": "Zone", "maxSkew": 1, "minDomains": 2}],
        "limits": [{"topology": "Zone", "max": 2}]}, "replicas": 9}});
    acceptance::manifests::patch(fleet, "held", "web", &full)?;
    let seen = fleet.app_until("held", "web", "short of three", held).await?;
    let (_, message) = condition(&seen, "Scheduled").context("a condition")?;
    ensure!(message.contains("3 of 9 replicas"), "{message}");
    ensure!(seen.status.is_some_and(|status| status.available == 6), "what runs stays");
    Ok(())
}

pub(crate) async fn an_object_that_two_applications_want_belongs_to_the_first(fleet: &mut Fleet) -> anyhow::Result<()> {
    namespace(fleet, "twice")?;
    fleet.apply("hub", &web("twice", "first", 3))?;
    fleet.ready("twice", "first").await?;
    let mut second = web("twice", "second", 3);
    second["spec"]["components"][0]["template"] = deployment("first", "other:1");
    fleet.apply("hub", &second)?;
    let stalled = |app: &crds::Application| condition(app, "Stalled").is_some_and(|(stalled, _)| stalled == "True");
    let refused = fleet.app_until("twice", "second", "refused", stalled).await?;
    let (_, message) = condition(&refused, "Stalled").context("a condition")?;
    ensure!(message.contains("belongs to Application first") && message.contains("metadata.name"), "{message}");
    let kept = fleet.get("north-a", "deployment", "twice", "first")?.context("still there")?;
    ensure!(kept["spec"]["template"]["spec"]["containers"][0]["image"] == "web:1", "it is not touched");
    Ok(())
}
