//! Decides which namespaces and service accounts Applications may use in a cluster. Pure.

use crds::ClusterSpec;
use crds::cluster::v1alpha1::NamespaceRules;
use serde::{Deserialize, Serialize};
use vocabulary::is_protected_namespace;

/// Service account of pods that name no account.
pub const DEFAULT_ACCOUNT: &str = "default";

/// Limits that a cluster sets for all Applications.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tenancy {
    /// Namespaces that the cluster takes.
    #[serde(default)]
    pub namespaces: NamespaceRules,
    /// Service accounts that pods may use besides those that are components of the Application.
    ///
    /// `None` allows `default` only.
    #[serde(default)]
    pub service_accounts: Option<Vec<String>>,
}

impl Tenancy {
    /// Reads the limits from the spec of a Cluster object.
    pub fn of(spec: &ClusterSpec) -> Self {
        Self { namespaces: spec.namespaces.clone(), service_accounts: spec.service_accounts.clone() }
    }

    /// Returns why the cluster does not take a namespace, or `None` when it does.
    pub fn namespace_denial(&self, namespace: &str) -> Option<String> {
        if let Some(denial) = protected_denial(namespace) {
            return Some(denial);
        }
        if let Some(pattern) = self.namespaces.deny.iter().find(|pattern| matches(pattern, namespace)) {
            return Some(format!("namespace {namespace} is denied by spec.namespaces.deny ({pattern}) of the Cluster"));
        }
        let allow = &self.namespaces.allow;
        (!allow.is_empty() && !allow.iter().any(|pattern| matches(pattern, namespace)))
            .then(|| format!("namespace {namespace} is not in spec.namespaces.allow of the Cluster"))
    }

    /// Whether pods may run as a service account that is no component of their Application.
    pub fn allows_account(&self, name: &str) -> bool {
        match &self.service_accounts {
            None => name == DEFAULT_ACCOUNT,
            Some(allowed) => allowed.iter().any(|allowed| allowed == name),
        }
    }
}

/// Returns why no cluster takes a namespace, whatever its Cluster object allows.
pub fn protected_denial(namespace: &str) -> Option<String> {
    is_protected_namespace(namespace).then(|| {
        format!(
            "namespace {namespace} belongs to Kubernetes or to Meridian and takes no Applications; use another namespace"
        )
    })
}

/// Whether a pattern matches a namespace. A pattern is a name, or a prefix followed by `*`.
fn matches(pattern: &str, namespace: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(prefix) => namespace.starts_with(prefix),
        None => pattern == namespace,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tenancy(allow: &[&str], deny: &[&str]) -> Tenancy {
        let texts = |list: &[&str]| list.iter().map(|&one| one.to_owned()).collect();
        Tenancy { namespaces: NamespaceRules { allow: texts(allow), deny: texts(deny) }, service_accounts: None }
    }

    #[test]
    fn allow_and_deny_lists_never_open_protected_namespaces() {
        for (case, tenancy, namespace, says) in [
            ("nothing said", tenancy(&[], &[]), "shop", None),
            ("of Kubernetes", tenancy(&["kube-system"], &[]), "kube-system", Some("belongs to Kubernetes")),
            ("of Meridian", tenancy(&["*"], &[]), "meridian-system", Some("to Meridian")),
            ("denied by name", tenancy(&[], &["argocd"]), "argocd", Some("spec.namespaces.deny (argocd)")),
            ("denied by prefix", tenancy(&[], &["cert-*"]), "cert-manager", Some("(cert-*)")),
            ("deny wins", tenancy(&["shop"], &["shop"]), "shop", Some("deny")),
            ("allowed by prefix", tenancy(&["team-*"], &[]), "team-a", None),
            ("not among the allowed", tenancy(&["team-*"], &[]), "shop", Some("not in spec.namespaces.allow")),
        ] {
            let denial = tenancy.namespace_denial(namespace);
            assert_eq!(denial.is_some(), says.is_some(), "{case}: {denial:?}");
            assert!(denial.unwrap_or_default().contains(says.unwrap_or_default()), "{case}");
        }
    }

    #[test]
    fn default_is_the_only_account_where_nothing_is_said() {
        let said = |accounts: Option<&[&str]>| Tenancy {
            service_accounts: accounts.map(|all| all.iter().map(|&one| one.to_owned()).collect()),
            ..Tenancy::default()
        };
        for (accounts, name, allowed) in [
            (None, "default", true),
            (None, "builder", false),
            (Some(&["builder"][..]), "builder", true),
            (Some(&["builder"][..]), "default", false),
            (Some(&[][..]), "default", false),
        ] {
            assert_eq!(said(accounts).allows_account(name), allowed, "{accounts:?} {name}");
        }
    }
}
