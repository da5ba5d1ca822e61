//! Turns components of an Application into objects of a member, and reads the state of live objects.
//!
//! The module decides which components are allowed, under which name and in which form an object is delivered, and
//! what a live object reports.
//!
//! Values go in and come out as [`serde_json::Value`], so unknown fields survive.

mod accounts;
mod blueprint;
mod bounds;
mod checks;
mod differs;
mod fields;
mod inputs;
mod intake_checks;
mod kinds;
mod name;
mod observed;
mod overrides;
mod pod;
pub mod quantity;
mod references;
mod rendered;
mod spelling;
mod strategy;
mod substance;
mod zones;

use std::collections::{BTreeMap, BTreeSet};

use crds::application::v1alpha1::{AdoptPolicy, OverrideRule, Scope};
use crds::cluster::v1alpha1::Amounts;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use vocabulary::{AppKey, CellInputs, ContentHash, Fence, ObjectKey};

use crate::topology::CellFacts;

pub use blueprint::{blueprint, blueprint_of_revision};
pub use differs::differs;
pub use fields::{extra_fields, fields_hash, lost_fields, our_fields};
pub use inputs::cell_inputs;
pub use kinds::{is_never_deleted, is_replicated, is_scalable, replica_owner};
pub use name::{gray_names, object_names};
pub use observed::{Observed, observe};
pub use pod::pod_amounts;
pub use rendered::render;
pub use substance::substance;

/// A problem that must be fixed before an Application is accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Path of the field, such as `spec.components[1].template.kind`.
    pub field: String,
    /// Description of the problem and the remedy.
    pub message: String,
}

/// A component, classified.
#[derive(Debug, Clone, PartialEq)]
pub struct ComponentPlan {
    /// Name within the Application.
    pub name: String,
    /// Scope of the component, with defaults applied.
    pub scope: Scope,
    /// `group/version` or, for the core group, `version`.
    pub api_version: String,
    /// Kind of the template.
    pub kind: String,
    /// `metadata.name` of the template.
    pub object_name: String,
    /// Order of delivery: lower ranks are applied first and removed last.
    pub rank: i16,
    /// Whether the component runs pods.
    pub workload: bool,
    /// Behaviour when the object already exists in the member. `None` uses the policy of the Application.
    pub adopt: Option<AdoptPolicy>,
    /// Resource requests of one pod. `pods` is 1 for kinds that run pods and 0 for others.
    pub pod: Amounts,
    /// `spec.replicas` of the template.
    pub replicas: Option<i32>,
    /// The object as declared.
    pub template: Value,
}

/// The owner of an object's number of replicas.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ReplicaOwner {
    /// Placement divides `spec.replicas` of the Application.
    Placement,
    /// The template states a number, which applies to each of its objects.
    Template {
        /// `spec.replicas` of the template.
        replicas: i32,
    },
    /// The template states no number.
    ///
    /// An autoscaler in the member sets the number, or the API server defaults it to 1.
    Member,
}

/// All components of one revision.
#[derive(Debug, Clone, PartialEq)]
pub struct Blueprint {
    /// Components in the order of the spec.
    pub components: Vec<ComponentPlan>,
    /// Index of the Divided component.
    pub divided: Option<usize>,
    /// Kinds of the components, as `group/version/Kind` or `version/Kind`.
    pub kinds: BTreeSet<String>,
    /// Service accounts that pods use and that the Application does not deliver beside them.
    ///
    /// Contains `default` where pods name no account.
    pub accounts: BTreeSet<String>,
    /// Hash of components and overrides in canonical form, without the Divided template's `spec.replicas`.
    pub revision: ContentHash,
}

/// How new revisions reach the pods of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rollout {
    /// Cell by cell, as the template of the workload says.
    CellByCell,
    /// By releases: no pod goes before its successor is available.
    Main,
    /// By releases, and the object is the gray workload beside the main one. Its selector and its pods carry the slot.
    Gray,
}

/// All inputs for rendering one object.
#[derive(Debug, Clone, Copy)]
pub struct RenderInput<'a> {
    /// Namespace and name of the Application.
    pub app: &'a AppKey,
    /// Component to render.
    pub component: &'a ComponentPlan,
    /// Rendered names of the Application's objects beside this one, by kind and template name.
    pub siblings: &'a BTreeMap<(String, String), String>,
    /// Cell of the object. Only its name and whether it is declared are used.
    pub cell: &'a CellFacts,
    /// Name of the object in the member, as stored in its row.
    pub object_name: &'a str,
    /// How new revisions of the Application reach the object's pods.
    pub rollout: Rollout,
    /// `spec.replicas` to set. Kinds without replicas ignore it.
    pub replicas: Option<i32>,
    /// Whether Meridian owns `spec.replicas` of the live object.
    ///
    /// Then the kind has replicas, whatever the template states.
    pub owns_replicas: bool,
    /// Whether nothing may run. Kinds without replicas are stopped by their own means.
    pub suspended: bool,
    /// Inputs that the object takes from its cell.
    ///
    /// They are not read from `cell`, which may have changed since.
    pub inputs: &'a CellInputs,
    /// Override rules of the revision, some of which `inputs` selects.
    pub overrides: &'a [OverrideRule],
    /// Fence that the object carries.
    pub fence: Fence,
}

/// An object that is ready to be applied.
#[derive(Debug, Clone, PartialEq)]
pub struct Rendered {
    /// The whole object.
    pub object: Value,
    /// Identity of the object in the member.
    pub key: ObjectKey,
    /// Hash of the object without its fence annotation. The order of keys does not matter.
    pub hash: ContentHash,
}

/// Reason why an object cannot be rendered.
///
/// Intake refuses specs that cause this, so stored revisions do not cause it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RenderError {
    /// The template, or the result of an override, has something else where a map is needed.
    #[error("component {component}: {path} is not a map; correct the template")]
    NotAMap {
        /// Name of the component.
        component: String,
        /// Path within the object.
        path: String,
    },
    /// An override cannot be applied.
    #[error("component {component}: override {rule}, patch {patch}: {message}")]
    Override {
        /// Name of the component.
        component: String,
        /// Index of the rule in `spec.overrides`.
        rule: usize,
        /// Index of the patch in the rule.
        patch: usize,
        /// Description of the problem and the remedy.
        message: String,
    },
}
