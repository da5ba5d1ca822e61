//! Checks that intake applies to a new spec and that a stored spec of an older version may fail. Pure.
//!
//! Members would refuse such a spec, or the spec would not do what its author means.

use std::collections::BTreeMap;

use crds::application::v1alpha1::{OverrideRule, Scope};
use serde_json::Value;

use super::bounds::Growth;
use super::checks::scales;
use super::kinds::{at, pod_template_path};
use super::{ComponentPlan, overrides, quantity};

/// Returns everything that intake refuses in one component, as paths in its object and messages.
pub(super) fn intake_problems(plan: &ComponentPlan, object: &Value) -> Vec<(String, String)> {
    let Some(path) = pod_template_path(&plan.api_version, &plan.kind, object) else { return Vec::new() };
    let Some(spec) = at(object, path).and_then(|template| template.get("spec")) else { return Vec::new() };
    let mut problems = Vec::new();
    for list in ["initContainers", "containers"] {
        for (i, container) in spec[list].as_array().into_iter().flatten().enumerate() {
            let place = format!("{}.spec.{list}[{i}]", path.join("."));
            let found = duplicates(&plan.name, container).into_iter().chain(wrong_quantities(container));
            problems.extend(found.map(|(field, message)| (format!("{place}.{field}"), message)));
        }
    }
    problems
}

/// Returns the environment variables and ports that a container names twice.
///
/// Members merge such lists by their keys, and refuse to apply a list that has a key twice.
fn duplicates(component: &str, container: &Value) -> Vec<(String, String)> {
    let mut problems = Vec::new();
    let name = container["name"].as_str().unwrap_or_default();
    let mut first: BTreeMap<String, usize> = BTreeMap::new();
    for (i, variable) in container["env"].as_array().into_iter().flatten().enumerate() {
        let Some(key) = variable["name"].as_str() else { continue };
        if let Some(first) = first.get(key) {
            let message = format!(
                "component {component}, container {name}: variable {key} is set by env[{first}] too; remove one of them"
            );
            problems.push((format!("env[{i}].name"), message));
        } else {
            first.insert(key.to_owned(), i);
        }
    }
    let mut first: BTreeMap<(i64, &str), usize> = BTreeMap::new();
    for (i, port) in container["ports"].as_array().into_iter().flatten().enumerate() {
        let Some(number) = port["containerPort"].as_i64() else { continue };
        let protocol = port["protocol"].as_str().unwrap_or("TCP");
        if let Some(first) = first.get(&(number, protocol)) {
            let message = format!(
                "component {component}, container {name}: port {number}/{protocol} is declared by ports[{first}] too; remove one of them"
            );
            problems.push((format!("ports[{i}].containerPort"), message));
        } else {
            first.insert((number, protocol), i);
        }
    }
    problems
}

/// Returns requests and limits that are no quantities, such as `64MB`.
fn wrong_quantities(container: &Value) -> Vec<(String, String)> {
    let mut problems = Vec::new();
    for list in ["requests", "limits"] {
        for (resource, amount) in container["resources"][list].as_object().into_iter().flatten() {
            let text = super::pod::text(amount);
            if !amount.is_null() && quantity::floor_milli(&text).is_none() {
                let message = format!("{text:?} is not a quantity{}", similar_quantity(&text));
                problems.push((format!("resources.{list}.{resource}"), message));
            }
        }
    }
    problems
}

/// Suggests quantities for an amount that is written in another system's form.
fn similar_quantity(text: &str) -> String {
    let compact: String = text.chars().filter(|c| !c.is_whitespace()).collect();
    let end = compact.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(compact.len());
    let (number, unit) = compact.split_at(end);
    let letter = unit.chars().next().map(|letter| letter.to_ascii_uppercase());
    let candidates = match letter {
        Some(letter @ ('M' | 'G' | 'T' | 'P')) => vec![format!("{number}{letter}i"), format!("{number}{letter}")],
        Some('K') => vec![format!("{number}Ki"), format!("{number}k")],
        Some('B' | 'C') => vec![number.to_owned()],
        _ => Vec::new(),
    };
    let valid: Vec<String> =
        candidates.into_iter().filter(|candidate| quantity::floor_milli(candidate).is_some()).collect();
    if valid.is_empty() {
        "; write for example 500m or 64Mi".to_owned()
    } else {
        format!("; did you mean {}?", valid.join(" or "))
    }
}

/// Returns why an autoscaler and a workload conflict.
///
/// `None` when the object scales no component that states a number.
///
/// Each revision would replace the autoscaler's number by the stated one. Without a stated number, members keep the
/// number that runs: Meridian repeats its own until the autoscaler has set another.
pub(super) fn scaler_problem(object: &Value, plans: &[&ComponentPlan]) -> Option<String> {
    let stated = |plan: &&&ComponentPlan| plan.scope != Scope::Divided && plan.replicas.is_some();
    let workload = plans.iter().filter(stated).find(|plan| scales(object, plan))?;
    Some(format!(
        "{} {} states spec.replicas, and each new revision would put that number in the place of the autoscaler's; remove spec.replicas from the template of component {}: what runs keeps its number, and what is new begins with 1",
        workload.kind, workload.object_name, workload.name
    ))
}

/// Returns the new problems that the patches of one rule cause, by the index of the patch.
///
/// These are problems that intake would also refuse in a template.
pub(super) fn overridden_problems(rule: &OverrideRule, plans: &[&ComponentPlan]) -> Vec<(usize, String)> {
    let mut problems = Vec::new();
    let mut results: BTreeMap<&str, (Value, Growth)> = BTreeMap::new();
    for (p, patch) in rule.patches.iter().enumerate() {
        let Some(plan) = plans.iter().find(|plan| plan.name == patch.component) else { continue };
        let (object, growth) = results.entry(&plan.name).or_insert_with(|| (plan.template.clone(), Growth::default()));
        let before = intake_problems(plan, object);
        // Another check refuses a patch that cannot be applied.
        if overrides::apply(plan, patch, object, growth).is_err() {
            continue;
        }
        let new = intake_problems(plan, object).into_iter().filter(|problem| !before.contains(problem));
        problems.extend(new.map(|(path, message)| (p, format!("{path}: {message}"))));
        let scaler = scaler_problem(object, plans).filter(|_| scaler_problem(&plan.template, plans).is_none());
        problems.extend(scaler.map(|message| (p, message)));
        // An override may not state the number of a workload that an autoscaler scales either.
        let replicas = object.pointer("/spec/replicas").and_then(Value::as_i64).and_then(|n| i32::try_from(n).ok());
        let patched = ComponentPlan { replicas, ..(*plan).clone() };
        if plan.replicas.is_none() && replicas.is_some() {
            let scaler = plans.iter().find_map(|scaler| scaler_problem(&scaler.template, &[&patched]));
            problems.extend(scaler.map(|message| (p, message)));
        }
    }
    problems
}

#[cfg(test)]
mod tests {
    use crds::ApplicationSpec;
    use serde_json::json;
    use vocabulary::AppKey;

    use super::*;
    use crate::render::{blueprint, blueprint_of_revision};

    fn key() -> AppKey {
        AppKey { namespace: "shop".to_owned(), name: "web".to_owned() }
    }

    /// Builds a spec with a workload in each cell, changed by `change`.
    fn spec(change: impl FnOnce(&mut Value)) -> ApplicationSpec {
        let pods = json!({"metadata": {"labels": {"app": "web"}},
            "spec": {"containers": [{"name": "web", "image": "registry.example.com/web:1"}]}});
        let mut spec = json!({"placement": {}, "overrides": [], "components": [
            {"name": "web", "scope": "PerCell", "template": {"apiVersion": "apps/v1", "kind": "Deployment",
                "metadata": {"name": "web"}, "spec": {"selector": {"matchLabels": {"app": "web"}}, "template": pods}}},
        ]});
        change(&mut spec);
        serde_json::from_value(spec).unwrap()
    }

    fn scaler() -> Value {
        json!({"name": "scaler", "template": {"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler",
            "metadata": {"name": "web"}, "spec": {"minReplicas": 2, "maxReplicas": 9,
                "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}}}})
    }

    fn container(spec: &mut Value) -> &mut Value {
        &mut spec["components"][0]["template"]["spec"]["template"]["spec"]["containers"][0]
    }

    #[test]
    fn specs_that_members_refuse_are_rejected_with_field_and_remedy() {
        type Change = fn(&mut Value);
        let cases: [(&str, Change, &str, &str); 10] = [
            (
                "a number beside an autoscaler",
                |spec| {
                    spec["components"][0]["template"]["spec"]["replicas"] = json!(2);
                    spec["components"].as_array_mut().unwrap().push(scaler());
                },
                "spec.components[1].template.spec.scaleTargetRef",
                "remove spec.replicas from the template of component web",
            ),
            (
                "a number by an override beside an autoscaler",
                |spec| {
                    spec["components"].as_array_mut().unwrap().push(scaler());
                    let add = json!({"op": "add", "path": "/spec/replicas", "value": 3});
                    spec["overrides"] = json!([{"cells": {}, "patches": [{"component": "web", "jsonPatch": [add]}]}]);
                },
                "spec.overrides[0].patches[0]",
                "remove spec.replicas",
            ),
            (
                "a variable twice",
                |spec| container(spec)["env"] = json!([{"name": "A"}, {"name": "B"}, {"name": "A"}]),
                "spec.components[0].template.spec.template.spec.containers[0].env[2].name",
                "component web, container web: variable A is set by env[0] too",
            ),
            (
                "a port twice",
                |spec| {
                    container(spec)["ports"] = json!([{"containerPort": 80}, {"containerPort": 80, "protocol": "TCP"}])
                },
                "spec.components[0].template.spec.template.spec.containers[0].ports[1].containerPort",
                "port 80/TCP is declared by ports[0] too",
            ),
            (
                "megabytes",
                |spec| container(spec)["resources"] = json!({"requests": {"memory": "64MB"}}),
                "spec.components[0].template.spec.template.spec.containers[0].resources.requests.memory",
                "did you mean 64Mi or 64M?",
            ),
            (
                "words",
                |spec| container(spec)["resources"] = json!({"limits": {"cpu": "half"}}),
                "spec.components[0].template.spec.template.spec.containers[0].resources.limits.cpu",
                "write for example 500m or 64Mi",
            ),
            (
                "a kind in small letters",
                |spec| spec["components"][0]["template"]["kind"] = json!("deployment"),
                "spec.components[0].template.kind",
                "did you mean Deployment?",
            ),
            (
                "the same, to be divided",
                |spec| {
                    spec["components"][0]["template"]["kind"] = json!("deployment");
                    spec["components"][0].as_object_mut().unwrap().remove("scope");
                    spec["replicas"] = json!(3);
                },
                "spec.components[0].template.kind",
                "did you mean Deployment?",
            ),
            (
                "a version that is no longer served",
                |spec| spec["components"][0]["template"]["apiVersion"] = json!("extensions/v1beta1"),
                "spec.components[0].template.apiVersion",
                "did you mean apps/v1?",
            ),
            (
                "a variable twice by an override",
                |spec| {
                    container(spec)["env"] = json!([{"name": "A", "value": "1"}]);
                    let path = "/spec/template/spec/containers/0/env/-";
                    let add = json!({"op": "add", "path": path, "value": {"name": "A", "value": "2"}});
                    spec["overrides"] = json!([{"cells": {}, "patches": [{"component": "web", "jsonPatch": [add]}]}]);
                },
                "spec.overrides[0].patches[0]",
                "variable A is set by env[0] too",
            ),
        ];
        for (case, change, field, remedy) in cases {
            let spec = spec(change);
            let problems = blueprint(&key(), &spec).err().unwrap_or_default();
            let found: Vec<(&str, &str)> =
                problems.iter().map(|problem| (problem.field.as_str(), problem.message.as_str())).collect();
            assert_eq!(found.len(), 1, "{case}: {found:?}");
            assert!(found[0].0 == field && found[0].1.contains(remedy), "{case}: {found:?}");
            let stored = blueprint_of_revision(&key(), &spec.components, &spec.overrides);
            assert!(stored.is_ok(), "{case}: what an older version took in is still read: {stored:?}");
        }
    }

    #[test]
    fn an_autoscaler_beside_no_number_is_taken_in() {
        let spec = spec(|spec| spec["components"].as_array_mut().unwrap().push(scaler()));
        assert!(blueprint(&key(), &spec).is_ok());
    }

    #[test]
    fn ports_of_two_protocols_are_two_ports() {
        let spec = spec(|spec| {
            container(spec)["ports"] = json!([{"containerPort": 53}, {"containerPort": 53, "protocol": "UDP"}]);
        });
        assert!(blueprint(&key(), &spec).is_ok());
    }

    #[test]
    fn empty_fields_of_a_dry_run_are_taken_as_nothing() {
        let plain = blueprint(&key(), &spec(|_| {})).unwrap().components[0].template.clone();
        let generated = spec(|spec| {
            let template = &mut spec["components"][0]["template"];
            template["status"] = json!({});
            template["metadata"]["creationTimestamp"] = Value::Null;
            template["spec"]["template"]["metadata"]["creationTimestamp"] = Value::Null;
        });
        assert_eq!(blueprint(&key(), &generated).unwrap().components[0].template, plain);
        let with_status = spec(|spec| spec["components"][0]["template"]["status"] = json!({"replicas": 3}));
        assert!(blueprint(&key(), &with_status).is_err(), "a status that says something is refused");
    }
}
