//! Checks what no object of an Application may contain, as declared or after overrides.

use crds::application::v1alpha1::Scope;
use serde_json::Value;
use vocabulary::labels;

use super::ComponentPlan;
use super::accounts::{ServiceAccounts, named_accounts};
use super::fields::member;
use super::kinds::{at, holds_data, name_limit, pod_template_path};

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

/// Returns all problems of an object that comes from the component's template.
///
/// Each problem is a path in the object and a message.
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

/// Finds Meridian's own labels and annotations, in the object and in the templates within it.
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

/// Whether the object is an autoscaler of that workload.
pub(super) fn scales(object: &Value, workload: &ComponentPlan) -> bool {
    object["kind"] == "HorizontalPodAutoscaler"
        && object.pointer("/spec/scaleTargetRef/name").and_then(Value::as_str) == Some(workload.object_name.as_str())
        && object.pointer("/spec/scaleTargetRef/kind").and_then(Value::as_str) == Some(workload.kind.as_str())
}

/// Returns a problem with an object's name.
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
