//! `meridian app diff`: compares the present revision of an Application with an earlier one.

use rest::{Client, Revision, RevisionContent};
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::args::AppDiffArgs;
use crate::failure::Failure;
use crate::hub::{Hub, namespace_of};
use crate::output::structured;
use crate::progress::Progress;
use crate::release::AppRef;
use crate::server;
use crate::shell::emit;

/// A field that differs.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct Difference {
    /// Path such as `components[web].template.spec.replicas`.
    field: String,
    /// Value in the present revision; `None` where it has no such field.
    #[serde(skip_serializing_if = "Option::is_none")]
    present: Option<Value>,
    /// Value in the other revision; `None` where it has no such field.
    #[serde(skip_serializing_if = "Option::is_none")]
    other: Option<Value>,
}

/// Runs `meridian app diff`.
pub(super) async fn run(
    args: &AppDiffArgs,
    hub: impl AsyncFnOnce() -> Result<Hub, Failure>,
    progress: Progress,
) -> Result<(), Failure> {
    let client = server::connect(&args.server)?;
    let app = AppRef { namespace: namespace_of(&args.app, hub).await?, name: args.app.name.clone() };
    let all = client.revisions(&app.namespace, &app.name).await;
    let all = all.map_err(|error| Failure::server(&app.to_string(), &error))?;
    let (present, other) = choose(&all, args.to.as_deref(), &app)?;
    let present = read(&app, &present, &client).await?;
    let other = read(&app, &other, &client).await?;
    let mut found = Vec::new();
    differences("", &body(&present), &body(&other), &mut found);
    let (from, to) = (&present.revision.revision, &other.revision.revision);
    let facts = json!({ "present": from, "other": to, "differences": found });
    emit(&structured(args.output.output, &facts)?.unwrap_or_else(|| lines(&found)))?;
    if found.is_empty() {
        progress.done(format!("revision {from} and {to} do not differ in what is shown"));
    } else {
        progress.hint(format!("+ is in revision {to} only, - in the present one {from} only; ~ changes back from it"));
    }
    if [&present, &other].iter().any(|revision| has_secrets(&revision.components)) {
        progress.warn("contents of Secrets are masked, so they are not compared");
    }
    Ok(())
}

async fn read(app: &AppRef, revision: &str, client: &Client) -> Result<RevisionContent, Failure> {
    let read = client.revision(&app.namespace, &app.name, revision).await;
    read.map_err(|error| Failure::server(&format!("revision {revision} of {app}"), &error))
}

/// Chooses the present revision and the one to compare it with.
fn choose(all: &[Revision], to: Option<&str>, app: &AppRef) -> Result<(String, String), Failure> {
    let present = all.iter().find(|revision| revision.current).map(|revision| revision.revision.clone());
    let present = present.ok_or_else(|| Failure::NotFound(format!("{app}: its present revision is not stored yet")))?;
    let earlier = || all.iter().find(|revision| revision.was_ready && !revision.current);
    let other = to.map(str::to_owned).or_else(|| earlier().map(|revision| revision.revision.clone()));
    let other =
        other.ok_or_else(|| Failure::NotFound(format!("{app}: no other revision was ever ready; give --to")))?;
    Ok((present, other))
}

/// Returns the content of a revision, with lists of named items as maps by name.
fn body(content: &RevisionContent) -> Value {
    json!({ "components": content.components, "overrides": content.overrides })
}

fn has_secrets(components: &Value) -> bool {
    components.as_array().into_iter().flatten().any(|component| component["template"]["kind"] == "Secret")
}

/// Collects the fields in which two values differ.
fn differences(field: &str, present: &Value, other: &Value, found: &mut Vec<Difference>) {
    if present == other {
        return;
    }
    let (Some(left), Some(right)) = (parts(present), parts(other)) else {
        found.push(Difference { field: field.to_owned(), present: Some(present.clone()), other: Some(other.clone()) });
        return;
    };
    if present.is_array() != other.is_array() {
        found.push(Difference { field: field.to_owned(), present: Some(present.clone()), other: Some(other.clone()) });
        return;
    }
    let path = |key: &str| match (present.is_array(), field) {
        (true, _) => format!("{field}[{key}]"),
        (false, "") => key.to_owned(),
        (false, _) => format!("{field}.{key}"),
    };
    for (key, value) in &left {
        match right.get(key) {
            Some(value_there) => differences(&path(key), value, value_there, found),
            None => found.push(Difference { field: path(key), present: Some(value.clone()), other: None }),
        }
    }
    for (key, value) in right.iter().filter(|(key, _)| !left.contains_key(*key)) {
        found.push(Difference { field: path(key), present: None, other: Some(value.clone()) });
    }
}

/// Returns the parts of an object or a list. Items of a list have their unique name as key, or else their number.
fn parts(value: &Value) -> Option<Map<String, Value>> {
    match value {
        Value::Object(map) => Some(map.clone()),
        Value::Array(items) => {
            let names: Vec<&str> = items.iter().filter_map(|item| item["name"].as_str()).collect();
            let unique = names.len() == items.len()
                && names.iter().enumerate().all(|(position, name)| !names[..position].contains(name));
            let key = |position: usize| if unique { names[position].to_owned() } else { position.to_string() };
            Some(items.iter().enumerate().map(|(position, item)| (key(position), item.clone())).collect())
        }
        _ => None,
    }
}

fn lines(found: &[Difference]) -> String {
    let line = |difference: &Difference| match (&difference.present, &difference.other) {
        (Some(present), Some(other)) => format!("~ {}: {present} -> {other}\n", difference.field),
        (Some(present), None) => format!("- {}: {present}\n", difference.field),
        (None, Some(other)) => format!("+ {}: {other}\n", difference.field),
        (None, None) => String::new(),
    };
    found.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    #[test]
    fn differences_name_components_and_containers() {
        let pod = |image: &str, extra: Value| json!([{"name": "web", "template": {"spec": {"containers": [{"name": "a", "image": image}, extra]}}}]);
        let present = json!({"components": pod("a:2", json!({"name": "b", "args": ["x"]})), "overrides": []});
        let other = json!({"components": pod("a:1", json!({"name": "c"})), "overrides": [{"cells": {}}]});
        let mut found = Vec::new();
        differences("", &present, &other, &mut found);
        expect![[r#"
            ~ components[web].template.spec.containers[a].image: "a:2" -> "a:1"
            - components[web].template.spec.containers[b]: {"name":"b","args":["x"]}
            + components[web].template.spec.containers[c]: {"name":"c"}
            + overrides[0]: {"cells":{}}
        "#]]
        .assert_eq(&lines(&found));
        let mut none = Vec::new();
        differences("", &present, &present, &mut none);
        assert_eq!(lines(&none), "");
    }

    #[test]
    fn the_present_revision_is_compared_with_the_last_ready_one() {
        let revision = |revision: &str, was_ready: bool, current: bool| Revision {
            revision: revision.to_owned(),
            taken_at: jiff::Timestamp::UNIX_EPOCH,
            was_ready,
            current,
        };
        let all = [revision("c", false, true), revision("b", false, false), revision("a", true, false)];
        let app = AppRef { namespace: "shop".to_owned(), name: "web".to_owned() };
        assert_eq!(choose(&all, None, &app).unwrap(), ("c".to_owned(), "a".to_owned()));
        assert_eq!(choose(&all, Some("b"), &app).unwrap(), ("c".to_owned(), "b".to_owned()));
        assert!(choose(&all[..1], None, &app).unwrap_err().to_string().contains("--to"));
    }
}
