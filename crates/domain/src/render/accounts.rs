//! Decides which service accounts are the Application's own, and which a cluster must allow.

use std::collections::{BTreeMap, BTreeSet};

use crds::application::v1alpha1::Scope;
use serde_json::Value;

use super::fields::member;
use super::kinds::{at, group, holds_data, pod_template_path};
use super::{Blueprint, ComponentPlan};
use crate::tenancy::DEFAULT_ACCOUNT;

/// Names of the service accounts that pods of an Application may use.
pub(super) struct ServiceAccounts(BTreeSet<String>);

impl ServiceAccounts {
    /// Returns the accounts that are delivered wherever an object of the component is.
    ///
    /// Elsewhere, an account of that name in a cluster belongs to another owner, although a component declares the
    /// name.
    fn own(components: &[ComponentPlan], component: &ComponentPlan) -> Self {
        let accounts = components.iter().filter(|account| {
            account.kind == "ServiceAccount"
                && group(&account.api_version).is_empty()
                && is_delivered_beside(account.scope, component.scope)
        });
        Self(accounts.map(|account| account.object_name.clone()).collect())
    }

    /// Returns the accounts beside an object in its member, and those that its template names.
    ///
    /// Intake already accepted the accounts of the template.
    pub(super) fn rendered(
        template: &Value,
        component: &ComponentPlan,
        siblings: &BTreeMap<(String, String), String>,
    ) -> Self {
        let beside = siblings.keys().filter(|(kind, _)| kind == "ServiceAccount").map(|(_, name)| name.clone());
        let named = named_accounts(component, template).into_iter().map(|(_, name)| name);
        Self(beside.chain(named).collect())
    }

    /// Returns the accounts that a component's object may name after overrides.
    ///
    /// These are the Application's own, and those that the component's template names.
    pub(super) fn beside(components: &[ComponentPlan], component: &ComponentPlan) -> Self {
        let mut accounts = Self::own(components, component);
        accounts.0.extend(named_accounts(component, &component.template).into_iter().map(|(_, name)| name));
        accounts
    }

    pub(super) fn allow(&self, name: &str) -> bool {
        name.is_empty() || name == DEFAULT_ACCOUNT || self.0.contains(name)
    }
}

/// Whether an account is delivered beside every object of a scope, under its template's name.
///
/// An object per cluster names the template's account, and an account per cell has another name in a declared cell.
/// Components that run once share one cluster.
fn is_delivered_beside(account: Scope, object: Scope) -> bool {
    match (account, object) {
        (Scope::PerCluster, _) | (Scope::PerCell, Scope::PerCell | Scope::Divided) | (Scope::Once, Scope::Once) => true,
        (Scope::PerCell, Scope::PerCluster | Scope::Once)
        | (Scope::Once, Scope::Divided | Scope::PerCell | Scope::PerCluster)
        | (Scope::Divided, _) => false,
    }
}

/// Returns the service accounts that components use and that the Application does not deliver there.
///
/// Pods that name no account run as `default`.
pub(super) fn foreign_accounts(components: &[ComponentPlan]) -> BTreeSet<String> {
    components.iter().flat_map(|component| foreign_accounts_of(components, component)).map(|(_, name)| name).collect()
}

/// Returns the foreign accounts of one component, each with the path that names it.
///
/// The path is `None` for the `default` account of pods that name none.
fn foreign_accounts_of(components: &[ComponentPlan], component: &ComponentPlan) -> Vec<(Option<String>, String)> {
    let own = ServiceAccounts::own(components, component);
    let named = named_accounts(component, &component.template);
    let implied = component.workload && named.iter().all(|(_, name)| name.is_empty());
    let implied = implied.then(|| (None, DEFAULT_ACCOUNT.to_owned()));
    let named = named.into_iter().map(|(path, name)| (Some(path), name)).filter(|(_, name)| !name.is_empty());
    named.chain(implied).filter(|(_, name)| !own.0.contains(name)).collect()
}

impl Blueprint {
    /// Returns the path in the spec that names a service account not delivered beside the object.
    pub fn account_place(&self, account: &str) -> String {
        let place = self.components.iter().enumerate().find_map(|(i, component)| {
            let foreign = foreign_accounts_of(&self.components, component);
            foreign.into_iter().find_map(|(path, name)| (name == account).then_some((i, path?)))
        });
        place.map_or_else(|| "spec.components".to_owned(), |(i, path)| format!("spec.components[{i}].template.{path}"))
    }
}

/// Returns the service accounts that the object names, with their paths.
pub(super) fn named_accounts(plan: &ComponentPlan, object: &Value) -> Vec<(String, String)> {
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::render::{Problem, blueprint};

    /// Plans a Deployment that runs as `admin` beside an account of that name.
    ///
    /// The account is named by the template or by an override.
    fn planned(account: &str, scope: &str, overrides: &Value) -> Result<Blueprint, Vec<Problem>> {
        let named = if overrides.is_null() { "admin" } else { "" };
        let pods = json!({"metadata": {"labels": {"app": "web"}}, "spec": {"serviceAccountName": named, "containers": [{"name": "web", "image": "web:1"}]}});
        let template = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"},
            "spec": {"selector": {"matchLabels": {"app": "web"}}, "template": pods}});
        let mut components = vec![json!({"name": "web", "scope": scope, "template": template})];
        if !account.is_empty() {
            let template = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "admin"}});
            components.push(json!({"name": "admin", "scope": account, "template": template}));
        }
        let mut spec = json!({"placement": {}, "components": components});
        if scope == "Divided" {
            spec["replicas"] = json!(1);
        }
        if !overrides.is_null() {
            spec["overrides"] = overrides.clone();
        }
        let app = vocabulary::AppKey { namespace: "shop".to_owned(), name: "web".to_owned() };
        blueprint(&app, &serde_json::from_value(spec).unwrap())
    }

    #[test]
    fn an_account_is_own_only_where_it_is_delivered_beside() {
        let scopes = ["Divided", "PerCell", "PerCluster", "Once"];
        let patch = json!({"op": "add", "path": "/spec/template/spec/serviceAccountName", "value": "admin"});
        let overrides =
            json!([{"cells": {"matchLabels": {"a": "b"}}, "patches": [{"component": "web", "jsonPatch": [patch]}]}]);
        for (account, own) in [
            ("PerCluster", [true; 4]),
            ("PerCell", [true, true, false, false]),
            ("Once", [false, false, false, true]),
            ("", [false; 4]),
        ] {
            for (scope, own) in scopes.into_iter().zip(own) {
                let case = format!("account {account:?} for a workload {scope}");
                let found = planned(account, scope, &Value::Null).unwrap();
                assert_eq!(found.accounts.is_empty(), own, "{case}: {:?}", found.accounts);
                let place = "spec.components[0].template.spec.template.spec.serviceAccountName";
                assert!(own || found.account_place("admin") == place, "{case}: {}", found.account_place("admin"));
                let overridden = planned(account, scope, &overrides);
                assert_eq!(overridden.is_ok(), own, "{case}, named by an override: {overridden:?}");
            }
        }
    }
}
