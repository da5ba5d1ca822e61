//! Renders one component in one place, as the object that its member stores.

use serde_json::{Map, Value, json};
use vocabulary::{ObjectKey, labels};

use super::accounts::ServiceAccounts;
use super::checks::result_problems;
use super::fields::canonical_hash;
use super::kinds::{group, has_replicas, pod_template_path};
use super::name::is_per_declared_cell;
use super::{RenderError, RenderInput, Rendered, Rollout, overrides, references, strategy, zones};
use crds::application::v1alpha1::Scope;

/// Renders one object. The same input gives the same object.
///
/// Fields that no rule of this module names do not change.
pub fn render(input: &RenderInput<'_>) -> Result<Rendered, RenderError> {
    let component = input.component;
    let mut object = component.template.clone();
    if overrides::apply_matching(component, input.overrides, &input.inputs.overrides, &mut object)? {
        // Intake checked each rule alone. Several rules together may still change a field that no rule may change.
        let accounts = ServiceAccounts::rendered(&component.template, component, input.siblings);
        if let Some((path, message)) = result_problems(component, &object, &accounts).into_iter().next() {
            let message = format!("{path}: {message}");
            return Err(RenderError::Override { component: component.name.clone(), rule: 0, patch: 0, message });
        }
    }
    let metadata = map_at(input, &mut object, &["metadata"])?;
    metadata.insert("name".to_owned(), json!(input.object_name));
    metadata.insert("namespace".to_owned(), json!(input.app.namespace));
    let takes_replicas = component.scope == Scope::Divided
        || component.replicas.is_some()
        || input.owns_replicas
        || has_replicas(&component.api_version, &component.kind);
    if let Some(replicas) = input.replicas.filter(|_| takes_replicas) {
        map_at(input, &mut object, &["spec"])?.insert("replicas".to_owned(), json!(replicas));
    }
    if input.suspended {
        suspend(input, &mut object)?;
    }
    references::rewrite(&component.api_version, &component.kind, &mut object, input.siblings);
    bind_to_cell(input, &mut object)?;
    if input.rollout != Rollout::CellByCell && component.scope == Scope::Divided {
        strategy::keep_available(component, &mut object);
    }
    if input.rollout == Rollout::Gray {
        mark_gray(input, &mut object)?;
    }
    if let Some(spread) = input.inputs.zone_spread {
        zones::spread_over_zones(component, spread, &mut object);
    }
    let own = map_at(input, &mut object, &["metadata", "labels"])?;
    for (key, value) in [
        (labels::MANAGED, "true"),
        (labels::APP, input.app.name.as_str()),
        (labels::COMPONENT, component.name.as_str()),
        (labels::CELL, input.cell.name.as_str()),
    ] {
        own.insert(key.to_owned(), json!(value));
    }
    let hash = canonical_hash(&object);
    map_at(input, &mut object, &["metadata", "annotations"])?
        .insert(labels::FENCE.to_owned(), json!(input.fence.to_string()));
    let key = ObjectKey {
        api_version: component.api_version.clone(),
        kind: component.kind.clone(),
        namespace: input.app.namespace.clone(),
        name: input.object_name.to_owned(),
    };
    Ok(Rendered { object, key, hash })
}

/// Stops an object without replicas.
///
/// Jobs are stopped by their own field, and a `DaemonSet` by a node selector that no node matches.
fn suspend(input: &RenderInput<'_>, object: &mut Value) -> Result<(), RenderError> {
    match (group(&input.component.api_version), input.component.kind.as_str()) {
        ("batch", "Job" | "CronJob") => {
            map_at(input, object, &["spec"])?.insert("suspend".to_owned(), json!(true));
        }
        ("apps", "DaemonSet") => {
            let selector = map_at(input, object, &["spec", "template", "spec", "nodeSelector"])?;
            selector.insert(labels::SUSPENDED.to_owned(), json!("true"));
        }
        _ => {}
    }
    Ok(())
}

/// Binds pods to the nodes of their cell.
///
/// Where a cluster may hold several cells, only the object of the same cell selects the pods.
fn bind_to_cell(input: &RenderInput<'_>, object: &mut Value) -> Result<(), RenderError> {
    let component = input.component;
    let (api_version, kind) = (&component.api_version, &component.kind);
    let pods = pod_template_path(api_version, kind, object);
    let cell = json!(input.cell.name.as_str());
    if let Some(path) = pods
        && !input.inputs.node_selector.is_empty()
    {
        let selector = map_at(input, object, &[path, &["spec", "nodeSelector"]].concat())?;
        for (key, value) in &input.inputs.node_selector {
            selector.insert(key.clone(), json!(value));
        }
    }
    if !is_per_declared_cell(component.scope, input.cell) {
        return Ok(());
    }
    if let Some(path) = pods {
        map_at(input, object, &[path, &["metadata", "labels"]].concat())?.insert(labels::CELL.to_owned(), cell.clone());
    }
    // An absent or empty selector means "none" or "by the pods' labels". Adding a label would change that.
    let Some(selector) = object.pointer("/spec/selector").and_then(Value::as_object).filter(|s| !s.is_empty()) else {
        return Ok(());
    };
    let by_expression =
        selector.get("matchLabels").is_some_and(Value::is_object) || selector.contains_key("matchExpressions");
    let selects_pods =
        matches!((group(api_version), kind.as_str()), ("", "Service") | ("policy", "PodDisruptionBudget"));
    if pods.is_some() || selects_pods {
        let path: &[&str] = if by_expression { &["spec", "selector", "matchLabels"] } else { &["spec", "selector"] };
        map_at(input, object, path)?.insert(labels::CELL.to_owned(), cell);
    }
    Ok(())
}

/// Labels the pods of the gray workload, and makes its selector select no others.
///
/// Services select both. The main workload's selector matches gray pods too; a controller counts only pods that it owns.
fn mark_gray(input: &RenderInput<'_>, object: &mut Value) -> Result<(), RenderError> {
    for path in
        [&["metadata", "labels"][..], &["spec", "selector", "matchLabels"], &["spec", "template", "metadata", "labels"]]
    {
        map_at(input, object, path)?.insert(labels::SLOT.to_owned(), json!("gray"));
    }
    Ok(())
}

/// Returns the map under a path. A map that is absent or null is created.
fn map_at<'a>(
    input: &RenderInput<'_>,
    object: &'a mut Value,
    path: &[&str],
) -> Result<&'a mut Map<String, Value>, RenderError> {
    let wrong = |depth: usize| RenderError::NotAMap {
        component: input.component.name.clone(),
        path: if depth == 0 { "the template".to_owned() } else { path[..depth].join(".") },
    };
    let mut map = object.as_object_mut().ok_or_else(|| wrong(0))?;
    for (depth, key) in path.iter().enumerate() {
        let next = map.entry(*key).or_insert(Value::Null);
        if next.is_null() {
            *next = json!({});
        }
        map = next.as_object_mut().ok_or_else(|| wrong(depth + 1))?;
    }
    Ok(map)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use crds::application::v1alpha1::Component;
    use vocabulary::{AppKey, CellInputs};

    use super::*;
    use crate::render::blueprint_of_revision;
    use crate::topology::{CellFacts, CellState};

    /// Renders the component, while the Application is suspended or not.
    fn rendered(component: &Value, suspended: bool, replicas: Option<i32>) -> Value {
        let app = AppKey { namespace: "shop".to_owned(), name: "trade".to_owned() };
        let components: Vec<Component> = serde_json::from_value(json!([component])).unwrap();
        let blueprint = blueprint_of_revision(&app, &components, &[]).unwrap();
        let cell = CellFacts {
            name: "east".parse().unwrap(),
            cluster: "east".parse().unwrap(),
            region: "r".to_owned(),
            zones: vec!["z".to_owned()],
            declared: false,
            state: CellState::Open,
            labels: BTreeMap::new(),
            node_selector: BTreeMap::new(),
            unit: None,
            unit_kind: None,
            pair: None,
        };
        let input = RenderInput {
            app: &app,
            component: &blueprint.components[0],
            siblings: &BTreeMap::new(),
            cell: &cell,
            object_name: "web",
            rollout: Rollout::CellByCell,
            replicas,
            owns_replicas: false,
            suspended,
            inputs: &CellInputs::default(),
            overrides: &[],
            fence: "0000000001.0000000001.0000000001".parse().unwrap(),
        };
        render(&input).unwrap().object
    }

    #[test]
    fn suspended_jobs_and_daemon_sets_run_nothing() {
        let pod =
            json!({"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "c", "image": "i:1"}]}});
        let component = |api: &str, kind: &str, scope: &str, spec: Value| {
            json!({"name": "web", "scope": scope, "template": {
                "apiVersion": api, "kind": kind, "metadata": {"name": "web"}, "spec": spec}})
        };
        let cron = json!({"schedule": "* * * * *", "jobTemplate": {"spec": {"template": pod}}});
        let daemon = json!({"selector": {"matchLabels": {"app": "web"}}, "template": pod});
        for (component, path, stopped) in [
            (component("batch/v1", "CronJob", "PerCluster", cron), "/spec/suspend", json!(true)),
            (component("batch/v1", "Job", "Once", json!({"template": pod})), "/spec/suspend", json!(true)),
            (
                component("apps/v1", "DaemonSet", "PerCluster", daemon),
                "/spec/template/spec/nodeSelector",
                json!({labels::SUSPENDED: "true"}),
            ),
        ] {
            assert_eq!(rendered(&component, true, Some(0)).pointer(path), Some(&stopped), "{component}");
            assert_eq!(rendered(&component, false, None).pointer(path), None, "{component}");
        }
    }
}
