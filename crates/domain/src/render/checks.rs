//! What no object of an Application may say, as declared or after overrides.

use std::collections::{BTreeMap, BTreeSet};

use crds::application::v1alpha1::Scope;
use serde_json::Value;
use vocabulary::labels;

use super::fields::member;
use super::kinds::{at, group, name_limit, pod_template_path};
use super::{Blueprint, ComponentPlan};
use crate::tenancy::DEFAULT_ACCOUNT;

/// Names of the service accounts that pods of an Application may run as.
pub(super) struct ServiceAccounts(BTreeSet<String>);

impl ServiceAccounts {
    /// Those the components declare.
    pub(super) fn declared(components: &[ComponentPlan]) -> Self {
        let accounts = components.iter().filter(|c| c.kind == "ServiceAccount" && group(&c.api_version).is_empty());
        Self(accounts.map(|component| component.object_name.clone()).collect())
    }

    /// Those beside an object in its member, and those its template already names: intake let them pass.
    pub(super) fn rendered(
        template: &Value,
        component: &ComponentPlan,
        siblings: &BTreeMap<(String, String), String>,
    ) -> Self {
        let beside = siblings.keys().filter(|(kind, _)| kind == "ServiceAccount").map(|(_, name)| name.clone());
        let named = named_accounts(component, template).into_iter().map(|(_, name)| name);
        Self(beside.chain(named).collect())
    }

    /// Those a component's object may name after overrides: declared ones, and those its template names.
    pub(super) fn beside(components: &[ComponentPlan], component: &ComponentPlan) -> Self {
        let mut accounts = Self::declared(components);
        accounts.0.extend(named_accounts(component, &component.template).into_iter().map(|(_, name)| name));
        accounts
    }

    fn allow(&self, name: &str) -> bool {
        name.is_empty() || name == DEFAULT_ACCOUNT || self.0.contains(name)
    }
}

/// Service accounts that objects of the components use and that are no components themselves. Pods that name none run as
/// `default`.
pub(super) fn foreign_accounts(components: &[ComponentPlan]) -> BTreeSet<String> {
    let declared = ServiceAccounts::declared(components);
    let mut foreign = BTreeSet::new();
    for component in components {
        let named: Vec<String> =
            named_accounts(component, &component.template).into_iter().map(|(_, name)| name).collect();
        if component.workload && named.iter().all(String::is_empty) {
            foreign.insert(DEFAULT_ACCOUNT.to_owned());
        }
        foreign.extend(named.into_iter().filter(|name| !name.is_empty() && !declared.0.contains(name)));
    }
    foreign.retain(|name| !declared.0.contains(name));
    foreign
}

impl Blueprint {
    /// Where the spec names a service account that is no component, as a path.
    pub fn account_place(&self, account: &str) -> String {
        let names = |component: &ComponentPlan| {
            let named = named_accounts(component, &component.template);
            named.into_iter().find(|(_, name)| name == account).map(|(path, _)| path)
        };
        let place = self.components.iter().enumerate().find_map(|(i, component)| Some((i, names(component)?)));
        place.map_or_else(|| "spec.components".to_owned(), |(i, path)| format!("spec.components[{i}].template.{path}"))
    }
}

/// Metadata that only API servers and controllers write.
const FORBIDDEN_METADATA: [&str; 11] = [
    "uid",
    "resourceVersion",
    "generation",
    "managedFields",
    "creationTimestamp",
    "ownerReferences",
    "finalizers",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "selfLink",
    "generateName",
];

/// Everything wrong with an object that comes from the component's template, as paths in the object and messages.
pub(super) fn result_problems(
    plan: &ComponentPlan,
    object: &Value,
    accounts: &ServiceAccounts,
) -> Vec<(String, String)> {
    let mut problems = Vec::new();
    let mut say = |path: String, message: String| problems.push((path, message));
    for path in
        [&["apiVersion"][..], &["kind"], &["metadata", "name"], &["metadata", "namespace"], &["spec", "selector"]]
    {
        if at(object, path) != at(&plan.template, path) {
            say(path.join("."), "an override may not change it; declare another component instead".to_owned());
        }
    }
    if plan.scope == Scope::Divided && object.pointer("/spec/replicas") != plan.template.pointer("/spec/replicas") {
        say(
            "spec.replicas".to_owned(),
            "an override may not change it, spec.replicas is divided by placement; remove the operation".to_owned(),
        );
    }
    if object.get("status").is_some() {
        say("status".to_owned(), "the member's controllers write it; remove it".to_owned());
    }
    for key in FORBIDDEN_METADATA.iter().filter(|key| object["metadata"].get(**key).is_some()) {
        let message = match *key {
            "generateName" => "names are fixed by the component; remove it and set metadata.name",
            _ => "the member's API server and controllers write it; remove it",
        };
        say(format!("metadata.{key}"), message.to_owned());
    }
    for path in [&["metadata"][..], &["metadata", "labels"], &["metadata", "annotations"], &["spec"]] {
        if at(object, path).is_some_and(|value| !value.is_object() && !value.is_null()) {
            say(path.join("."), "must be a map; correct it".to_owned());
        }
    }
    if let Some(path) = pod_template_path(&plan.api_version, &plan.kind, object)
        && !at(object, path).and_then(|template| template.get("spec")).is_some_and(Value::is_object)
    {
        say(format!("{}.spec", path.join(".")), format!("a {} needs the spec of its pods; add it", plan.kind));
    }
    reserved(object, "", holds_data(plan), &mut problems);
    for (path, name) in named_accounts(plan, object) {
        if !accounts.allow(&name) {
            problems.push((
                path,
                format!("service account {name} is not part of the Application; add a ServiceAccount component of that name, or use default"),
            ));
        }
    }
    let unnamed = |object: &Value| named_accounts(plan, object).iter().all(|(_, name)| name.is_empty());
    if plan.workload && unnamed(object) && !unnamed(&plan.template) {
        let message = "an override may not take the service account away, pods would run as default; remove it";
        problems.push(("spec".to_owned(), message.to_owned()));
    }
    problems
}

/// Kinds whose maps are the user's data and name nothing.
fn holds_data(plan: &ComponentPlan) -> bool {
    group(&plan.api_version).is_empty() && matches!(plan.kind.as_str(), "ConfigMap" | "Secret")
}

/// Labels and annotations of ours, in the object and in the templates within it.
fn reserved(value: &Value, path: &str, only_metadata: bool, problems: &mut Vec<(String, String)>) {
    match value {
        Value::Object(map) => {
            for (key, inner) in map {
                let here = if path.is_empty() { key.clone() } else { format!("{path}{}", member(key)) };
                if only_metadata && path.is_empty() && key != "metadata" {
                    continue;
                }
                if let (true, Value::Object(entries)) =
                    (matches!(key.as_str(), "labels" | "annotations") || here == "spec.selector.matchLabels", inner)
                {
                    for name in entries.keys().filter(|name| name.starts_with(labels::PREFIX)) {
                        problems.push((
                            format!("{here}{}", member(name)),
                            format!("keys that begin with {} are Meridian's own; remove it", labels::PREFIX),
                        ));
                    }
                }
                reserved(inner, &here, only_metadata, problems);
            }
        }
        Value::Array(items) => {
            for (i, item) in items.iter().enumerate() {
                reserved(item, &format!("{path}[{i}]"), only_metadata, problems);
            }
        }
        _ => {}
    }
}

/// Service accounts the object names, with their paths.
fn named_accounts(plan: &ComponentPlan, object: &Value) -> Vec<(String, String)> {
    let mut named = Vec::new();
    if !holds_data(plan) {
        accounts_within(object, "", &mut named);
    }
    let old = pod_template_path(&plan.api_version, &plan.kind, object)
        .map(|path| [path, &["spec", "serviceAccount"]].concat());
    // A token Secret is the third way to act as an account.
    let token =
        (plan.kind == "Secret").then_some(vec!["metadata", "annotations", "kubernetes.io/service-account.name"]);
    for path in old.into_iter().chain(token) {
        if let Some(name) = at(object, &path).and_then(Value::as_str) {
            named.push((path.join("."), name.to_owned()));
        }
    }
    named
}

fn accounts_within(value: &Value, path: &str, named: &mut Vec<(String, String)>) {
    match value {
        Value::Object(map) => {
            for (key, inner) in map {
                let here = if path.is_empty() { key.clone() } else { format!("{path}{}", member(key)) };
                match inner {
                    Value::String(name) if key == "serviceAccountName" => named.push((here, name.clone())),
                    _ => accounts_within(inner, &here, named),
                }
            }
        }
        Value::Array(items) => {
            for (i, item) in items.iter().enumerate() {
                accounts_within(item, &format!("{path}[{i}]"), named);
            }
        }
        _ => {}
    }
}

/// Whether the object is an autoscaler of that workload.
pub(super) fn scales(object: &Value, workload: &ComponentPlan) -> bool {
    object["kind"] == "HorizontalPodAutoscaler"
        && object.pointer("/spec/scaleTargetRef/name").and_then(Value::as_str) == Some(workload.object_name.as_str())
        && object.pointer("/spec/scaleTargetRef/kind").and_then(Value::as_str) == Some(workload.kind.as_str())
}

/// What is wrong with an object's name.
pub(super) fn name_problem(api_version: &str, kind: &str, name: &str) -> Option<String> {
    let limit = name_limit(api_version, kind);
    if name.len() > limit {
        return Some(format!("{name} has {} characters, a {kind} may have {limit}; shorten it", name.len()));
    }
    let edge = |b: Option<&u8>| b.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    let bytes = name.as_bytes();
    let inner = bytes.iter().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'.'));
    let valid = inner && edge(bytes.first()) && edge(bytes.last());
    (!valid).then(|| {
        format!(
            "{name:?} is not a name: a-z, 0-9, '-' and '.', beginning and ending with a letter or digit; correct it"
        )
    })
}
