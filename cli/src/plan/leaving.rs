//! Components that an edit removes, and the command that confirms their deletion beforehand. Pure.

use std::collections::BTreeSet;

use crds::Application;
use domain::confirmation;
use domain::render::{self, Blueprint, ComponentPlan};
use serde::Serialize;
use vocabulary::labels;

use super::fleet::key;

/// Components that an edit removes.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Leaving {
    /// Components, as `name (Kind object)`.
    components: Vec<String>,
    /// Hash of the edit. The user sets it as the value of the annotation that confirms the edit.
    plan: String,
    #[serde(skip)]
    command: String,
}

impl Leaving {
    /// Compares the Application on the hub with a changed one.
    ///
    /// Returns `None` if every object stays. `None` is also returned if a spec is not valid, or the Application has no
    /// UID.
    pub(super) fn of(known: &Application, changed: &Application) -> Option<Self> {
        let key = key(known);
        let blueprint =
            |app: &Application| render::blueprint_of_revision(&key, &app.spec.components, &app.spec.overrides);
        let (before, after): (Blueprint, Blueprint) = (blueprint(known).ok()?, blueprint(changed).ok()?);
        let identity = |one: &ComponentPlan| {
            let group = one.api_version.split_once('/').map_or("", |(group, _)| group).to_owned();
            (group, one.kind.clone(), one.object_name.clone())
        };
        let stays: BTreeSet<_> = after.components.iter().map(identity).collect();
        let gone = before.components.iter().filter(|one| !stays.contains(&identity(one)));
        let components: Vec<String> =
            gone.map(|one| format!("{} ({} {})", one.name, one.kind, one.object_name)).collect();
        if components.is_empty() {
            return None;
        }
        let uid = known.metadata.uid.as_deref()?;
        let plan = confirmation::edit(uid, before.revision, after.revision).to_string();
        let command = format!(
            "kubectl annotate mapp {} -n {} --overwrite {}={plan}",
            key.name,
            key.namespace,
            labels::CONFIRM_DELETE
        );
        Some(Self { components, plan, command })
    }

    /// Describes the removed components, and the command that confirms their deletion, for people.
    pub(super) fn text(&self) -> String {
        format!(
            "Leaves: {}. Many deletes wait for a person; to confirm these beforehand, run `{}` before the edit is applied\n",
            self.components.join(", "),
            self.command
        )
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn app(components: &[(&str, &str)]) -> Application {
        let component = |(name, object): &(&str, &str)| -> Value {
            json!({"name": name, "template": {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": object}}})
        };
        serde_json::from_value(json!({
            "apiVersion": "fleet.meridian.io/v1alpha1", "kind": "Application",
            "metadata": {"name": "web", "namespace": "shop", "uid": "u-1"},
            "spec": {"components": components.iter().map(component).collect::<Vec<_>>()},
        }))
        .unwrap()
    }

    #[test]
    fn an_edit_names_what_leaves_and_the_command_confirming_it() {
        let before = app(&[("a", "a"), ("b", "b"), ("c", "c")]);
        let leaving = Leaving::of(&before, &app(&[("a", "a"), ("renamed", "b")])).unwrap();
        assert_eq!(leaving.components, ["c (ConfigMap c)"]);
        let command = format!(
            "`kubectl annotate mapp web -n shop --overwrite fleet.meridian.io/confirm-delete={}`",
            leaving.plan
        );
        assert!(leaving.text().contains(&command), "{}", leaving.text());
        assert_eq!(Leaving::of(&before, &app(&[("a", "a"), ("b", "b"), ("c", "c"), ("d", "d")])), None);
        let other = Leaving::of(&before, &app(&[("a", "a")])).unwrap();
        assert_ne!(other.plan, leaving.plan, "another edit is another plan");
    }
}
