//! Objects that join installs in a member, with the joining user's own credentials.
//!
//! Meridian's runtime identity has no rights on roles, bindings and policies. The policy of `confine.rs` refuses its
//! writes in `meridian-system`. So the identity cannot change its rights, the policies that apply to it, or its
//! account, namespace and record.

mod apply;
mod calls;
mod confine;
mod owner;
mod policy;
mod rights;
mod roles;
mod verify;

use std::sync::LazyLock;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use vocabulary::SYSTEM_NAMESPACE;

pub use apply::{Change, Report, apply, recorded_owner, refuse_other_owner, uninstall};
pub use calls::InstallError;
pub(crate) use calls::send;
pub use confine::CONFINE_POLICY_NAME;
pub use owner::Owner;
pub use policy::POLICY_NAME;
pub use rights::{Right, granting_role, needed, our_rights, to_deliver};
pub use roles::deliverable_kinds;
pub use verify::{Issue, issue_token, kube_system_uid, server_version, verify};

/// Name of the config map in [`SYSTEM_NAMESPACE`] that records the installation.
pub const INSTALLATION: &str = "meridian-installation";

/// Version of the installed manifests; rises with every change of them.
pub const INSTALLATION_VERSION: u32 = 2;

/// Field manager of all installed objects.
///
/// The runtime uses another field manager, so that it never owns these objects.
pub const JOIN_MANAGER: &str = "meridian-join";

static OWN_LABELS: LazyLock<Value> = LazyLock::new(|| json!({"app.kubernetes.io/part-of": "meridian"}));

/// A named set of rights in a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Profile {
    /// Reads nodes, pods and namespaces.
    Observe,
    /// Delivers the printed list of namespaced kinds.
    Deploy,
}

impl Profile {
    /// All profiles of this version.
    pub const ALL: [Self; 2] = [Self::Observe, Self::Deploy];

    /// Returns the name of the profile.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Observe => "observe",
            Self::Deploy => "deploy",
        }
    }
}

impl std::fmt::Display for Profile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::str::FromStr for Profile {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|profile| profile.as_str() == text)
            .ok_or_else(|| format!("there is no profile {text:?}; there are observe and deploy"))
    }
}

/// Objects to install in one member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Installation {
    profiles: Vec<Profile>,
    owner: Owner,
}

impl Installation {
    /// Creates an installation with these profiles; `observe` is always among them.
    pub fn new(profiles: &[Profile]) -> Self {
        let mut profiles = profiles.to_vec();
        profiles.push(Profile::Observe);
        profiles.sort();
        profiles.dedup();
        Self { profiles, owner: Owner::default() }
    }

    /// Sets the installation of Meridian that owns the member; the member's record holds it.
    #[must_use]
    pub fn owned_by(self, owner: Owner) -> Self {
        Self { owner, ..self }
    }

    /// Returns the installation of Meridian that owns the member.
    pub fn owner(&self) -> &Owner {
        &self.owner
    }

    /// Returns the profiles, sorted.
    pub fn profiles(&self) -> &[Profile] {
        &self.profiles
    }

    /// Returns all objects in the order in which they must be applied.
    ///
    /// The record of the installation comes last, so it exists only where all objects before it exist.
    pub fn manifests(&self) -> Vec<Value> {
        let mut all = roles::identity();
        // The policies precede the rights. So there is no moment in which our identity may write without a policy that
        // confines it.
        all.extend([confine::policy(&self.profiles), confine::binding()]);
        all.extend([policy::policy(&self.profiles), policy::binding()]);
        all.extend(roles::own_role());
        all.extend(self.profiles.iter().flat_map(|profile| roles::profile(*profile)));
        all.push(self.record());
        all
    }

    pub(super) fn record(&self) -> Value {
        let profiles: Vec<&str> = self.profiles.iter().map(|profile| profile.as_str()).collect();
        let mut record = json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": INSTALLATION, "namespace": SYSTEM_NAMESPACE, "labels": OWN_LABELS.clone()},
            "data": {
                "version": INSTALLATION_VERSION.to_string(),
                "profiles": profiles.join(","),
                "meridian": env!("CARGO_PKG_VERSION"),
            },
        });
        self.owner.write_to(&mut record["data"]);
        record
    }
}

/// Returns the manifests of one profile as YAML, for users to read before they join a cluster.
pub fn permissions_yaml(profile: Profile) -> String {
    yaml(&roles::profile(profile))
}

/// Returns all manifests that join installs with these profiles as YAML.
///
/// These are account, policies, roles and record.
pub fn manifests_yaml(profiles: &[Profile]) -> String {
    yaml(&Installation::new(profiles).manifests())
}

fn yaml(manifests: &[Value]) -> String {
    let mut text = String::new();
    for manifest in manifests {
        text.push_str("---\n");
        text.push_str(&serde_saphyr::to_string(manifest).expect("a JSON value is YAML"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_policy_is_in_place_before_any_right_is_granted() {
        let manifests = Installation::new(&[Profile::Deploy]).manifests();
        let place = |kind: &str| manifests.iter().position(|m| m["kind"] == kind).unwrap();
        assert!(place("ValidatingAdmissionPolicyBinding") < place("ClusterRoleBinding"));
        assert!(place("ValidatingAdmissionPolicyBinding") < place("RoleBinding"));
        assert_eq!(place("ConfigMap"), manifests.len() - 1);
    }

    #[test]
    fn the_version_rises_with_every_change_of_the_manifests() {
        let installed = |profiles: &[Profile]| -> Vec<Value> {
            let mut manifests = Installation::new(profiles).manifests();
            manifests.retain(|manifest| manifest["kind"] != "ConfigMap");
            manifests
        };
        let hash = vocabulary::hash_json(&(installed(&[]), installed(&Profile::ALL))).unwrap();
        let (version, known) = (2, "cac5d8d01dd7b2a1c027f25d084d4f36");
        assert_eq!(
            (INSTALLATION_VERSION, hash.to_string().as_str()),
            (version, known),
            "raise INSTALLATION_VERSION and write the new hash here, so that `Cluster` status asks people to join again"
        );
    }

    #[test]
    fn permissions_are_readable_yaml() {
        let text = permissions_yaml(Profile::Deploy);
        assert!(text.contains("horizontalpodautoscalers") && text.contains("name: meridian:deploy"));
        let first = text.split("---\n").nth(1).unwrap();
        let value: Value = serde_saphyr::from_str(first).unwrap();
        assert_eq!(value["kind"], "ClusterRole");
    }

    #[test]
    fn observe_is_always_there_and_profiles_have_one_spelling() {
        let installation = Installation::new(&[Profile::Deploy, Profile::Deploy]);
        assert_eq!(installation.profiles(), [Profile::Observe, Profile::Deploy]);
        for profile in Profile::ALL {
            assert_eq!(profile.to_string().parse(), Ok(profile));
        }
        assert!("admin".parse::<Profile>().is_err());
    }
}
