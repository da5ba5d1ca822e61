//! Components of an Application as objects of a member: what may be declared, under which name and in
//! which form it is delivered, and what a live object says about it.
//!
//! Values go in and come out as [`serde_json::Value`], so fields unknown here survive.

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
pub use name::object_names;
pub use observed::{Observed, observe};
pub use pod::pod_amounts;
pub use rendered::render;
pub use substance::substance;

/// Something that must be changed before an Application can be taken in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Where, as a path: `spec.components[1].template.kind`.
    pub field: String,
    /// What is wrong and the remedy.
    pub message: String,
}

/// One component, classified.
#[derive(Debug, Clone, PartialEq)]
pub struct ComponentPlan {
    /// Name within the Application.
    pub name: String,
    /// How it is multiplied, after defaults.
    pub scope: Scope,
    /// `group/version` or, for the core group, `version`.
    pub api_version: String,
    /// Kind.
    pub kind: String,
    /// `metadata.name` of the template.
    pub object_name: String,
    /// Order of arrival: lower ranks come first and leave last.
    pub rank: i16,
    /// It runs pods.
    pub workload: bool,
    /// What happens when its object is already there; the Application's own policy when left out.
    pub adopt: Option<AdoptPolicy>,
    /// What one of its pods asks for; `pods` is 1 for kinds that run pods and 0 for others.
    pub pod: Amounts,
    /// `spec.replicas` of the template.
    pub replicas: Option<i32>,
    /// The object as declared.
    pub template: Value,
}

/// Who sets how many replicas an object runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ReplicaOwner {
    /// Placement divides `spec.replicas` of the Application.
    Placement,
    /// The template states a number, for each of its objects.
    Template {
        /// `spec.replicas` of the template.
        replicas: i32,
    },
    /// The template states none: an autoscaler in the member does, or the API server's default of 1 stands.
    Member,
}

/// All components of one revision.
#[derive(Debug, Clone, PartialEq)]
pub struct Blueprint {
    /// In the order of the spec.
    pub components: Vec<ComponentPlan>,
    /// Index of the Divided component.
    pub divided: Option<usize>,
    /// Kinds used, as `group/version/Kind` or `version/Kind`.
    pub kinds: BTreeSet<String>,
    /// Service accounts that pods run as and that the Application does not deliver beside them; `default` among them where
    /// pods name none.
    pub accounts: BTreeSet<String>,
    /// Hash of components and overrides in canonical form, without the Divided template's `spec.replicas`.
    pub revision: ContentHash,
}

/// Everything one object is rendered from.
#[derive(Debug, Clone, Copy)]
pub struct RenderInput<'a> {
    /// The Application.
    pub app: &'a AppKey,
    /// The component.
    pub component: &'a ComponentPlan,
    /// Rendered names of the Application's objects beside it, by kind and template name.
    pub siblings: &'a BTreeMap<(String, String), String>,
    /// Where it goes: its name, and whether it is declared.
    pub cell: &'a CellFacts,
    /// Its name there, as stored in its row.
    pub object_name: &'a str,
    /// `spec.replicas` to set; kinds without replicas ignore it.
    pub replicas: Option<i32>,
    /// Meridian owns `spec.replicas` of the live object, so the kind has replicas, whatever the template says.
    pub owns_replicas: bool,
    /// Nothing is to run: what has no replicas is stopped in the way of its kind.
    pub suspended: bool,
    /// What it takes from the cell: nothing of it is read from `cell`, which may have changed since.
    pub inputs: &'a CellInputs,
    /// The revision's overrides, of which the inputs name some.
    pub overrides: &'a [OverrideRule],
    /// The fence it carries.
    pub fence: Fence,
}

/// An object ready to be applied.
#[derive(Debug, Clone, PartialEq)]
pub struct Rendered {
    /// The whole object.
    pub object: Value,
    /// Its identity in the member.
    pub key: ObjectKey,
    /// Hash of the object without its fence annotation; independent of the order of keys.
    pub hash: ContentHash,
}

/// Why an object cannot be rendered. Intake refuses specs that lead here, so stored revisions do not.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RenderError {
    /// The template, or an override's result, is not an object with map-like metadata.
    #[error("component {component}: {path} is not a map; correct the template")]
    NotAMap {
        /// Component.
        component: String,
        /// Path within the object.
        path: String,
    },
    /// An override cannot be applied.
    #[error("component {component}: override {rule}, patch {patch}: {message}")]
    Override {
        /// Component.
        component: String,
        /// Index of the rule in `spec.overrides`.
        rule: usize,
        /// Index of the patch in the rule.
        patch: usize,
        /// What is wrong and the remedy.
        message: String,
    },
}
