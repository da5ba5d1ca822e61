//! Kinds as member API servers serve them.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, PercentEncode, utf8_percent_encode};
use serde::{Deserialize, Serialize};
use vocabulary::ObjectKey;

/// A kind of one group and version, as discovered in a member.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ApiKind {
    /// API group; empty for the core group.
    pub group: String,
    /// API version, such as `v1`.
    pub version: String,
    /// Name of the kind, such as `Deployment`.
    pub kind: String,
    /// Resource name in paths, such as `deployments`.
    pub plural: String,
    /// Whether objects of the kind live in a namespace.
    pub namespaced: bool,
    /// Verbs that the server offers for the kind, which may be more than Meridian's rights.
    pub verbs: Vec<String>,
}

impl ApiKind {
    /// Builds a namespaced kind without discovery.
    pub fn namespaced(group: &str, version: &str, kind: &str, plural: &str) -> Self {
        Self::known(group, version, kind, plural, true)
    }

    /// Builds a cluster-scoped kind without discovery.
    pub fn cluster_scoped(group: &str, version: &str, kind: &str, plural: &str) -> Self {
        Self::known(group, version, kind, plural, false)
    }

    fn known(group: &str, version: &str, kind: &str, plural: &str, namespaced: bool) -> Self {
        let verbs = ["get", "list", "watch", "create", "patch", "delete"];
        Self {
            group: group.into(),
            version: version.into(),
            kind: kind.into(),
            plural: plural.into(),
            namespaced,
            verbs: verbs.map(String::from).into(),
        }
    }

    /// Returns `group/version`, or `version` in the core group.
    pub fn api_version(&self) -> String {
        if self.group.is_empty() { self.version.clone() } else { format!("{}/{}", self.group, self.version) }
    }

    /// Returns the key of an object of this kind; `namespace` is empty for cluster-scoped kinds.
    pub fn key(&self, namespace: &str, name: &str) -> ObjectKey {
        ObjectKey {
            api_version: self.api_version(),
            kind: self.kind.clone(),
            namespace: namespace.into(),
            name: name.into(),
        }
    }

    fn root(&self) -> String {
        if self.group.is_empty() {
            format!("/api/{}", self.version)
        } else {
            format!("/apis/{}/{}", self.group, self.version)
        }
    }

    /// Returns the path of the collection over all namespaces.
    pub(crate) fn collection_path(&self) -> String {
        format!("{}/{}", self.root(), self.plural)
    }

    /// Returns the path of the collection in one namespace.
    pub(crate) fn namespace_path(&self, namespace: &str) -> String {
        format!("{}/namespaces/{}/{}", self.root(), encode(namespace), self.plural)
    }

    /// Returns the path of one object.
    ///
    /// Names are percent-encoded, so that a name can never reach another path.
    pub(crate) fn object_path(&self, namespace: &str, name: &str) -> String {
        let (root, plural, name) = (self.root(), &self.plural, encode(name));
        if self.namespaced {
            format!("{root}/namespaces/{}/{plural}/{name}", encode(namespace))
        } else {
            format!("{root}/{plural}/{name}")
        }
    }
}

/// Characters to percent-encode: all but the unreserved characters.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// Percent-encodes all but the unreserved characters.
pub(crate) fn encode(text: &str) -> PercentEncode<'_> {
    utf8_percent_encode(text, RESERVED)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_follow_scope_and_group() {
        let deployment = ApiKind::namespaced("apps", "v1", "Deployment", "deployments");
        let node = ApiKind::cluster_scoped("", "v1", "Node", "nodes");
        assert_eq!(deployment.object_path("pay", "trade"), "/apis/apps/v1/namespaces/pay/deployments/trade");
        assert_eq!(deployment.object_path("pay", "../x?y"), "/apis/apps/v1/namespaces/pay/deployments/..%2Fx%3Fy");
        assert_eq!(node.object_path("ignored", "n1"), "/api/v1/nodes/n1");
        assert_eq!(node.collection_path(), "/api/v1/nodes");
        assert_eq!(deployment.api_version(), "apps/v1");
        assert_eq!(node.api_version(), "v1");
    }
}
