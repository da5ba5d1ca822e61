//! Discovery of the kinds that a member serves, in two requests.

use serde::Deserialize;

use crate::api_kind::ApiKind;
use crate::error::MemberError;
use crate::install::{InstallError, send};
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
    #[serde(default, rename = "singularResource")]
    singular: String,
    #[serde(default)]
    short_names: Vec<String>,
    response_kind: Option<Kind>,
}

#[derive(Deserialize)]
struct Kind {
    kind: String,
}

impl Member {
    /// Reads every kind of every served version, the preferred version of a group first.
    ///
    /// Groups of aggregated API servers that are down are missing. A missing group is therefore not proof that the
    /// group is not installed.
    pub async fn discover(&self) -> Result<Vec<ApiKind>, MemberError> {
        let call = |path: &str| Call { accept: AGGREGATED, ..Call::get(path) };
        let (core, groups) = (call("/api"), call("/apis"));
        let (core, groups) = tokio::try_join!(self.transport.call(&core), self.transport.call(&groups))?;
        let served = named(self.json(&core)?).into_iter().chain(named(self.json(&groups)?));
        Ok(served.map(|served| served.kind).collect())
    }
}

/// A kind that a member serves, with the names that users type for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServedKind {
    /// The served kind.
    pub kind: ApiKind,
    /// Plural, singular and short names, in lower case.
    pub words: Vec<String>,
}

impl ServedKind {
    /// Returns whether a user means this kind by a text.
    ///
    /// Accepted are for example `deploy`, `Deployment`, `deployments.apps` and `deployments.v1.apps`.
    pub fn is_called(&self, text: &str) -> bool {
        let text = text.to_lowercase();
        let (word, place) = text.split_once('.').unwrap_or((&text, ""));
        let ApiKind { group, version, kind, .. } = &self.kind;
        let called = self.words.iter().any(|known| known == word) || kind.to_lowercase() == word;
        called && (place.is_empty() || place == *group || place == format!("{version}.{group}"))
    }
}

/// Reads every kind of every served version, with the joining user's own credentials.
///
/// The preferred version of a group comes first.
pub async fn served_kinds(client: &kube::Client) -> Result<Vec<ServedKind>, InstallError> {
    let mut all = Vec::new();
    for path in ["/api", "/apis"] {
        let what = "read which kinds the cluster serves";
        let request = http::Request::get(path).header(http::header::ACCEPT, AGGREGATED).body(Vec::new());
        let answer = send(client, what, request).await?;
        let list = serde_json::from_value(answer)
            .map_err(|error| InstallError::Answer { what: what.into(), message: error.to_string() })?;
        all.extend(named(list));
    }
    Ok(all)
}

fn named(list: GroupList) -> Vec<ServedKind> {
    let mut kinds = Vec::new();
    for group in list.items {
        for version in group.versions {
            for resource in version.resources {
                let Some(kind) = resource.response_kind else {
                    continue;
                };
                let words = [resource.plural.clone(), resource.singular].into_iter().chain(resource.short_names);
                kinds.push(ServedKind {
                    words: words.filter(|word| !word.is_empty()).collect(),
                    kind: ApiKind {
                        group: group.metadata.name.clone(),
                        version: version.version.clone(),
                        kind: kind.kind,
                        plural: resource.plural,
                        namespaced: resource.scope == "Namespaced",
                        verbs: resource.verbs,
                    },
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
             "singularResource":"deployment","shortNames":["deploy"],
             "subresources":[{"subresource":"scale","responseKind":{"kind":"Scale"}}]},
            {"resource":"odd","scope":"Cluster"}]}]},{"metadata":{"name":"stale.io"},"versions":[{"version":"v1","freshness":"Stale"}]}]}"#;
        let kinds = named(serde_json::from_str(list).unwrap());
        assert_eq!(kinds.len(), 1);
        let kind = &kinds[0].kind;
        assert_eq!(kind.api_version(), "apps/v1");
        assert_eq!((kind.plural.as_str(), kind.namespaced), ("deployments", true));
        assert_eq!(kind.verbs, ["get", "list"]);
        for (text, means) in [
            ("deploy", true),
            ("Deployment", true),
            ("deployments.apps", true),
            ("deployments.v1.apps", true),
            ("deployments.v1beta1.apps", false),
            ("deployments.extensions", false),
            ("pods", false),
        ] {
            assert_eq!(kinds[0].is_called(text), means, "{text}");
        }
    }
}
