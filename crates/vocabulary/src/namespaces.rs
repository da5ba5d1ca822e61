//! Namespaces that belong to Kubernetes or to Meridian.

/// Prefixes of namespaces that no Application may use, on the hub or in a member.
///
/// The admission policy in members denies the same prefixes to Meridian's runtime identity.
pub const PROTECTED_NAMESPACE_PREFIXES: [&str; 2] = ["kube-", "meridian-"];

/// Returns whether a namespace belongs to Kubernetes or to Meridian itself.
///
/// No setting opens such a namespace to Applications.
pub fn is_protected_namespace(namespace: &str) -> bool {
    PROTECTED_NAMESPACE_PREFIXES.iter().any(|prefix| namespace.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn namespaces_of_kubernetes_and_meridian_are_protected() {
        for (namespace, protected) in [
            ("kube-system", true),
            ("kube-public", true),
            (crate::SYSTEM_NAMESPACE, true),
            ("meridian-agents", true),
            ("kubernetes", false),
            ("shop", false),
        ] {
            assert_eq!(is_protected_namespace(namespace), protected, "{namespace}");
        }
    }
}
