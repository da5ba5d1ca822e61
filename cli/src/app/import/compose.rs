//! Builds an Application from objects that run in a member.

use std::collections::{BTreeMap, BTreeSet};

use crds::cluster::v1alpha1::Taint;
use serde_json::{Value, json};
use vocabulary::labels;

use super::template::template_of;

/// Maximum length of a component's name.
const NAME_MAX: usize = 63;

/// Input of [`compose`].
#[derive(Debug)]
pub(super) struct Source<'a> {
    pub(super) name: &'a str,
    pub(super) namespace: &'a str,
    pub(super) cluster: &'a str,
    pub(super) taints: &'a [Taint],
    /// Objects as the member API server returned them.
    pub(super) objects: &'a [Value],
    /// Kind and name of each workload that an autoscaler scales.
    pub(super) autoscaled: &'a BTreeSet<(String, String)>,
}

/// An Application, and remarks for the user.
#[derive(Debug)]
pub(super) struct Composed {
    pub(super) manifest: Value,
    pub(super) remarks: Vec<String>,
}

/// Builds the Application.
///
/// The Application is placed in the cluster of its objects, keeps their replicas, and adopts identical objects.
pub(super) fn compose(source: &Source<'_>) -> Composed {
    let mut remarks = Vec::new();
    let divided = source.objects.iter().position(|object| may_be_divided(object, source.autoscaled));
    let names = component_names(source.objects);
    let mut components = Vec::new();
    for (i, (object, name)) in source.objects.iter().zip(names).enumerate() {
        let mut template = template_of(object);
        let mut component = json!({ "name": name });
        let scales = is_scalable(object);
        let number_is_elsewhere = divided == Some(i) || is_autoscaled(object, source.autoscaled);
        if let Some(spec) = template.get_mut("spec").and_then(Value::as_object_mut).filter(|_| number_is_elsewhere) {
            spec.shift_remove("replicas");
        }
        let title = format!("{} {}", text(&object["kind"]), text(&object["metadata"]["name"]));
        let scope = match text(&object["kind"]) {
            _ if divided == Some(i) => None,
            "Job" | "CronJob" if group(object) == "batch" => Some("Once"),
            "StatefulSet" if group(object) == "apps" => None,
            _ if scales => {
                remarks.push(format!(
                    "{title} keeps its own replicas in every cell (PerCell): {}",
                    if is_autoscaled(object, source.autoscaled) {
                        "an autoscaler scales it"
                    } else if replicas(object) == 0 {
                        "it runs none now, and what is divided has at least one"
                    } else {
                        "spec.replicas is for one workload, the first that was named"
                    }
                ));
                Some("PerCell")
            }
            _ if object.pointer("/spec/replicas").is_some() => Some("PerCluster"),
            _ => None,
        };
        if let Some(scope) = scope {
            component["scope"] = json!(scope);
        }
        if text(&object["kind"]) == "ServiceAccount" {
            // The user who imports the account names it. An account is taken over in no other way.
            component["adopt"] = json!("Always");
        }
        component["template"] = template;
        components.push(component);
        remarks.extend(remarks_on(object, &title));
    }
    let mut placement = json!({ "cells": { "matchLabels": { labels::CLUSTER: source.cluster } } });
    if !source.taints.is_empty() {
        let tolerate = |taint: &Taint| {
            let mut toleration = json!({ "key": taint.key });
            if let Some(value) = &taint.value {
                toleration["value"] = json!(value);
            }
            toleration
        };
        placement["tolerations"] = source.taints.iter().map(tolerate).collect();
    }
    let mut spec = json!({});
    if let Some(divided) = divided {
        spec["replicas"] = json!(replicas(&source.objects[divided]));
    }
    spec["components"] = Value::Array(components);
    spec["placement"] = placement;
    spec["adopt"] = json!("IfIdentical");
    let manifest = json!({
        "apiVersion": "fleet.meridian.io/v1alpha1", "kind": "Application",
        "metadata": { "name": source.name, "namespace": source.namespace },
        "spec": spec,
    });
    Composed { manifest, remarks }
}

pub(super) fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn group(object: &Value) -> &str {
    text(&object["apiVersion"]).split_once('/').map_or("", |(group, _)| group)
}

fn replicas(object: &Value) -> i64 {
    object.pointer("/spec/replicas").and_then(Value::as_i64).unwrap_or(1)
}

/// Whether the object is a workload of equal pods whose number `spec.replicas` sets.
fn is_scalable(object: &Value) -> bool {
    matches!(
        (group(object), text(&object["kind"])),
        ("apps", "Deployment" | "ReplicaSet") | ("", "ReplicationController")
    )
}

fn is_autoscaled(object: &Value, autoscaled: &BTreeSet<(String, String)>) -> bool {
    autoscaled.contains(&(text(&object["kind"]).to_owned(), text(&object["metadata"]["name"]).to_owned()))
}

fn may_be_divided(object: &Value, autoscaled: &BTreeSet<(String, String)>) -> bool {
    is_scalable(object) && replicas(object) > 0 && !is_autoscaled(object, autoscaled)
}

/// Returns the objects' own names, with the kind appended to names that are not unique.
fn component_names(objects: &[Value]) -> Vec<String> {
    let mut count: BTreeMap<&str, usize> = BTreeMap::new();
    for object in objects {
        *count.entry(text(&object["metadata"]["name"])).or_default() += 1;
    }
    let mut taken = BTreeSet::new();
    objects
        .iter()
        .map(|object| {
            let own = text(&object["metadata"]["name"]);
            let kind = text(&object["kind"]).to_lowercase();
            let full = if count[own] > 1 { format!("{own}-{kind}") } else { own.to_owned() };
            let plain: String =
                full.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' }).collect();
            let cut = |length: usize| plain.chars().take(length).collect::<String>().trim_matches('-').to_owned();
            let free = (0..).map(|i| if i == 0 { cut(NAME_MAX) } else { format!("{}-{i}", cut(NAME_MAX - 4)) });
            let name = free.into_iter().find(|name| !taken.contains(name)).unwrap_or_default();
            taken.insert(name.clone());
            name
        })
        .collect()
}

fn remarks_on(object: &Value, title: &str) -> Vec<String> {
    let mut remarks = Vec::new();
    if let Some(release) = object["metadata"]["annotations"].get("meta.helm.sh/release-name").and_then(Value::as_str) {
        remarks.push(format!(
            "{title} belongs to Helm release {release}: its next upgrade would write the object too; take it out of the chart"
        ));
    }
    if object["kind"] == "Secret" {
        remarks.push(format!("{title}: its content becomes part of the Application on the hub"));
    }
    let exposed = object.pointer("/spec/ports/0/nodePort").is_some();
    if object["kind"] == "Service" && exposed {
        remarks.push(format!("{title}: its node ports stay in this cluster and are chosen anew in every other"));
    }
    remarks
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use crds::Application;
    use domain::placement::check_spec;
    use domain::render::{self, RenderInput, Rollout};
    use domain::topology::{CellFacts, CellState};
    use vocabulary::{AppKey, CellInputs, Fence};

    use super::*;
    use crate::app::import::samples;

    fn compose_all(objects: &[Value], autoscaled: &[(&str, &str)]) -> Composed {
        let autoscaled = autoscaled.iter().map(|(kind, name)| ((*kind).to_owned(), (*name).to_owned())).collect();
        let taints = [Taint { key: "team".to_owned(), value: Some("shop".to_owned()) }];
        let source = Source {
            name: "shop",
            namespace: "shop",
            cluster: "north",
            taints: &taints,
            objects,
            autoscaled: &autoscaled,
        };
        compose(&source)
    }

    fn implicit_cell() -> CellFacts {
        CellFacts {
            name: "north".parse().unwrap(),
            cluster: "north".parse().unwrap(),
            region: "n".to_owned(),
            zones: vec!["n1".to_owned()],
            declared: false,
            state: CellState::Open,
            labels: BTreeMap::new(),
            node_selector: BTreeMap::new(),
            unit: None,
            unit_kind: None,
            pair: None,
        }
    }

    #[test]
    fn an_import_is_valid_and_adopted_without_a_change() {
        let live = [samples::deployment(), samples::config(), samples::service()];
        let app: Application = serde_json::from_value(compose_all(&live, &[]).manifest).unwrap();
        let key = AppKey { namespace: "shop".to_owned(), name: "shop".to_owned() };
        let blueprint = render::blueprint(&key, &app.spec).unwrap();
        let placement = app.spec.placement.clone().unwrap();
        assert_eq!(check_spec(&placement, app.spec.replicas.unwrap()), []);
        assert_eq!((app.spec.replicas, placement.tolerations.len()), (Some(3), 1));
        let cell = implicit_cell();
        for (component, live) in blueprint.components.iter().zip(&live) {
            let rendered = render::render(&RenderInput {
                app: &key,
                component,
                siblings: &BTreeMap::new(),
                cell: &cell,
                object_name: &component.object_name,
                rollout: Rollout::CellByCell,
                replicas: (Some(component) == blueprint.divided.map(|i| &blueprint.components[i])).then_some(3),
                owns_replicas: false,
                suspended: false,
                inputs: &CellInputs::default(),
                overrides: &[],
                fence: "0000000000.0000000000.0000000001".parse::<Fence>().unwrap(),
            })
            .unwrap();
            let differences = render::differs(&rendered.object, live);
            let ours = |path: &String| path.contains("fleet.meridian.io");
            assert!(differences.iter().all(ours), "{}: {differences:?}", component.name);
            assert_eq!(
                rendered.object.pointer("/spec/template/metadata"),
                component.template.pointer("/spec/template/metadata"),
                "pods are told nothing new, so nothing restarts"
            );
        }
    }

    #[test]
    fn one_workload_is_divided_and_the_others_keep_their_own() {
        let mut other = samples::deployment();
        other["metadata"]["name"] = json!("worker");
        other["spec"]["replicas"] = json!(7);
        let composed = compose_all(&[samples::deployment(), other.clone(), samples::config()], &[]);
        let spec = &composed.manifest["spec"];
        assert_eq!(spec["replicas"], 3);
        assert_eq!(spec["components"][0]["scope"], Value::Null);
        assert_eq!(spec["components"][1]["scope"], "PerCell");
        assert_eq!(spec["components"][1]["template"]["spec"]["replicas"], 7);
        let names: Vec<&str> = (0..3).map(|i| text(&spec["components"][i]["name"])).collect();
        assert_eq!(names, ["web-deployment", "worker", "web-configmap"]);
        let scaled = compose_all(&[samples::deployment(), other], &[("Deployment", "web")]);
        let spec = &scaled.manifest["spec"];
        assert_eq!((&spec["replicas"], &spec["components"][0]["scope"]), (&json!(7), &json!("PerCell")));
        assert_eq!(
            spec["components"][0]["template"]["spec"].get("replicas"),
            None,
            "the autoscaler's number is its own"
        );
    }

    #[test]
    fn undeliverable_objects_are_refused_by_the_check_of_intake() {
        let role = json!({ "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": { "name": "r" }, "rules": [] });
        let app: Application = serde_json::from_value(compose_all(&[role], &[]).manifest).unwrap();
        let key = AppKey { namespace: "shop".to_owned(), name: "shop".to_owned() };
        let problems = render::blueprint(&key, &app.spec).unwrap_err();
        assert!(problems[0].message.contains("grants rights"), "{problems:?}");
    }
}
