//! Which kinds a member serves, in two requests.

use serde::Deserialize;

use crate::api_kind::ApiKind;
use crate::error::MemberError;
use crate::member::Member;
use crate::transport::Call;

const AGGREGATED: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";

#[derive(Deserialize)]
struct GroupList {
    items: Vec<Group>,
}

#[derive(Deserialize)]
struct Group {
    #[serde(default)]
    metadata: Named,
    #[serde(default)]
    versions: Vec<Version>,
}

#[derive(Deserialize, Default)]
struct Named {
    #[serde(default)]
    name: String,
}

#[derive(Deserialize)]
struct Version {
    version: String,
    #[serde(default)]
    resources: Vec<Resource>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Resource {
    #[serde(rename = "resource")]
    plural: String,
    scope: String,
    #[serde(default)]
    verbs: Vec<String>,
    response_kind: Option<Kind>,
}

#[derive(Deserialize)]
struct Kind {
    kind: String,
}

impl Member {
    /// Every kind of every served version, the preferred version of a group first. Groups of aggregated API servers
    /// that are down are missing, which is not the same as not installed.
    pub async fn discover(&self) -> Result<Vec<ApiKind>, MemberError> {
        let call = |path: &str| Call { accept: AGGREGATED, ..Call::get(path) };
        let (core, groups) = (call("/api"), call("/apis"));
        let (core, groups) = tokio::try_join!(self.transport.call(&core), self.transport.call(&groups))?;
        let mut kinds = kinds(self.json(&core)?);
        kinds.extend(self::kinds(self.json(&groups)?));
        Ok(kinds)
    }
}

fn kinds(list: GroupList) -> Vec<ApiKind> {
    let mut kinds = Vec::new();
    for group in list.items {
        for version in group.versions {
            for resource in version.resources {
                let Some(kind) = resource.response_kind else {
                    continue;
                };
                kinds.push(ApiKind {
                    group: group.metadata.name.clone(),
                    version: version.version.clone(),
                    kind: kind.kind,
                    plural: resource.plural,
                    namespaced: resource.scope == "Namespaced",
                    verbs: resource.verbs,
                });
            }
        }
    }
    kinds
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn aggregated_discovery_becomes_kinds() {
        let list = r#"{"kind":"APIGroupDiscoveryList","items":[{"metadata":{"name":"apps"},"versions":[{"version":"v1","resources":[
            {"resource":"deployments","responseKind":{"group":"","version":"","kind":"Deployment"},"scope":"Namespaced","verbs":["get","list"],
             "subresources":[{"subresource":"scale","responseKind":{"kind":"Scale"}}]},
            {"resource":"odd","scope":"Cluster"}]}]},{"metadata":{"name":"stale.io"},"versions":[{"version":"v1","freshness":"Stale"}]}]}"#;
        let kinds = kinds(serde_json::from_str(list).unwrap());
        assert_eq!(kinds.len(), 1);
        assert_eq!(kinds[0].api_version(), "apps/v1");
        assert_eq!((kinds[0].plural.as_str(), kinds[0].namespaced), ("deployments", true));
        assert_eq!(kinds[0].verbs, ["get", "list"]);
    }
}
