//! Applies overrides: the changes to a component in selected cells.

use crds::application::v1alpha1::{OverridePatch, OverrideRule, PatchOp, PatchOperation};
use serde_json::{Map, Value, json};

use super::bounds::Growth;
use super::kinds::{at_mut, pod_template_path};
use super::{ComponentPlan, RenderError};

/// Applies the changes of the selected rules to the component, in order.
///
/// Returns whether any change applied.
///
/// # Errors
/// Returns an error for a selected rule that the revision does not have: the selection was made for another revision.
pub(super) fn apply_matching(
    component: &ComponentPlan,
    rules: &[OverrideRule],
    selected: &[usize],
    object: &mut Value,
) -> Result<bool, RenderError> {
    let mut applied = false;
    let mut growth = Growth::default();
    for &rule in selected {
        let failed = |patch, message| RenderError::Override { component: component.name.clone(), rule, patch, message };
        let change = rules.get(rule).ok_or_else(|| failed(0, "the revision has no such rule".to_owned()))?;
        for (patch, change) in change.patches.iter().enumerate() {
            if change.component == component.name {
                apply(component, change, object, &mut growth).map_err(|message| failed(patch, message))?;
                applied = true;
            }
        }
    }
    Ok(applied)
}

/// Applies one patch. On error the object may be half changed.
///
/// # Errors
/// Returns why the patch cannot be applied and the remedy.
///
/// # Guarantees
/// The object never grows by more than `growth` allows, not even between two operations.
pub(super) fn apply(
    component: &ComponentPlan,
    patch: &OverridePatch,
    object: &mut Value,
    growth: &mut Growth,
) -> Result<(), String> {
    if let Some(labels) = &patch.labels {
        for (key, value) in labels {
            map_in(object, "labels")?.insert(key.clone(), json!(value));
        }
    }
    if let Some(annotations) = &patch.annotations {
        for (key, value) in annotations {
            map_in(object, "annotations")?.insert(key.clone(), json!(value));
        }
    }
    if let Some(operations) = &patch.json_patch {
        let parsed = operations_of(operations)?;
        for (index, (operation, parsed)) in operations.iter().zip(parsed.iter()).enumerate() {
            growth.count(object, operation)?;
            json_patch::patch(object, std::slice::from_ref(parsed)).map_err(|error| {
                let (path, kind) = (error.path, error.kind);
                format!("the JSON patch does not apply to the template: operation '/{index}' failed at path '{path}': {kind}; correct its path or value")
            })?;
        }
    }
    if patch.image.is_none() && patch.env.is_none() && patch.args.is_none() && patch.command.is_none() {
        return Ok(());
    }
    let container = container_of(component, patch.container.as_deref(), object)?;
    if let Some(image) = &patch.image {
        container.insert("image".to_owned(), json!(image));
    }
    if let Some(args) = &patch.args {
        container.insert("args".to_owned(), json!(args));
    }
    if let Some(command) = &patch.command {
        container.insert("command".to_owned(), json!(command));
    }
    if let Some(variables) = &patch.env {
        let env = container.entry("env").or_insert(Value::Null);
        if env.is_null() {
            *env = json!([]);
        }
        let Some(env) = env.as_array_mut() else {
            return Err("env of the container is not a list; correct the template".to_owned());
        };
        for (name, value) in variables {
            let entry = json!({ "name": name, "value": value });
            match env.iter_mut().find(|entry| entry["name"] == name.as_str()) {
                Some(there) => *there = entry,
                None => env.push(entry),
            }
        }
    }
    Ok(())
}

fn map_in<'a>(object: &'a mut Value, key: &str) -> Result<&'a mut Map<String, Value>, String> {
    let wrong = || format!("metadata.{key} is not a map; correct the template");
    let metadata = object.get_mut("metadata").and_then(Value::as_object_mut).ok_or_else(wrong)?;
    let map = metadata.entry(key).or_insert(Value::Null);
    if map.is_null() {
        *map = json!({});
    }
    map.as_object_mut().ok_or_else(wrong)
}

fn container_of<'a>(
    component: &ComponentPlan,
    name: Option<&str>,
    object: &'a mut Value,
) -> Result<&'a mut Map<String, Value>, String> {
    let no_pods = || format!("a {} has no containers; use jsonPatch, labels or annotations", component.kind);
    let path = pod_template_path(&component.api_version, &component.kind, object).ok_or_else(no_pods)?;
    let pod = at_mut(object, path).and_then(|template| template.get_mut("spec")).ok_or_else(no_pods)?;
    let names: Vec<String> = ["containers", "initContainers"]
        .iter()
        .filter(|list| name.is_some() || **list == "containers")
        .filter_map(|list| pod.get(list).and_then(Value::as_array))
        .flatten()
        .map(|container| container["name"].as_str().unwrap_or_default().to_owned())
        .collect();
    let wanted = match (name, names.as_slice()) {
        (Some(name), _) => name.to_owned(),
        (None, [only]) => only.clone(),
        (None, []) => return Err(no_pods()),
        (None, _) => {
            return Err(format!("the template has several containers; set container to one of {}", names.join(", ")));
        }
    };
    let Some(pod) = pod.as_object_mut() else { return Err(no_pods()) };
    pod.iter_mut()
        .filter(|(key, _)| matches!(key.as_str(), "containers" | "initContainers"))
        .filter_map(|(_, list)| list.as_array_mut())
        .flatten()
        .find(|container| container["name"].as_str().unwrap_or_default() == wanted)
        .and_then(Value::as_object_mut)
        .ok_or_else(|| format!("the template has no container {wanted}; it has {}", names.join(", ")))
}

fn operations_of(operations: &[PatchOperation]) -> Result<json_patch::Patch, String> {
    let mut list = Vec::with_capacity(operations.len());
    for operation in operations {
        let op = match operation.op {
            PatchOp::Add => "add",
            PatchOp::Remove => "remove",
            PatchOp::Replace => "replace",
            PatchOp::Move => "move",
            PatchOp::Copy => "copy",
            PatchOp::Test => "test",
        };
        let mut entry = json!({ "op": op, "path": operation.path });
        match operation.op {
            PatchOp::Add | PatchOp::Replace | PatchOp::Test => {
                let value = operation.value.clone();
                entry["value"] = value.ok_or_else(|| format!("{op} {} has no value; give one", operation.path))?;
            }
            PatchOp::Move | PatchOp::Copy => {
                let from = operation.from.clone();
                entry["from"] = json!(from.ok_or_else(|| format!("{op} {} has no from; give one", operation.path))?);
            }
            PatchOp::Remove => {}
        }
        list.push(entry);
    }
    serde_json::from_value(Value::Array(list))
        .map_err(|error| format!("the JSON patch is not valid: {error}; correct it"))
}
