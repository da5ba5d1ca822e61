//! Reads the objects to import from the member.

use std::collections::BTreeSet;

use members::admin::{self, AdminAccess};
use members::install::InstallError;
use members::{ApiKind, ServedKind};
use serde_json::Value;
use vocabulary::labels;

use super::compose::text;
use crate::failure::Failure;

/// Objects that the user asked for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked<'a> {
    /// `KIND/NAME`, or `KIND` together with a selector.
    pub(super) objects: &'a [String],
    pub(super) selector: Option<&'a str>,
}

/// Objects that were found in the member.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) objects: Vec<Value>,
    /// Objects that match the selector but that no Application can declare, each with the reason.
    pub(super) skipped: Vec<String>,
    /// Kind and name of each workload that an autoscaler scales.
    pub(super) autoscaled: BTreeSet<(String, String)>,
}

fn refused(access: &AdminAccess) -> impl Fn(InstallError) -> Failure + '_ {
    move |error| Failure::member(&access.server, &error)
}

/// Reads all objects that the user asked for.
pub(super) async fn read(
    access: &AdminAccess,
    namespace: &str,
    asked: &Asked<'_>,
    permitted: &[String],
) -> Result<Found, Failure> {
    let served = members::served_kinds(&access.client).await.map_err(refused(access))?;
    let mut found = Found::default();
    for text in asked.objects {
        let (kind, name) = text.split_once('/').map_or((text.as_str(), None), |(kind, name)| (kind, Some(name)));
        let kind = kind_of(kind, &served)?;
        match (name.filter(|name| !name.is_empty()), asked.selector) {
            (Some(name), _) => found.objects.push(named(access, kind, namespace, name).await?),
            (None, Some(selector)) => found.select(access, kind, namespace, selector).await?,
            (None, None) => {
                return Err(Failure::Usage(format!("{text} names no object; write {text}/NAME, or add --selector")));
            }
        }
    }
    if let (true, Some(selector)) = (asked.objects.is_empty(), asked.selector) {
        let deliverable = |kind: &&ServedKind| {
            let ApiKind { kind, verbs, .. } = &kind.kind;
            verbs.iter().any(|verb| verb == "list") && !kind.is_empty()
        };
        for kind in served.iter().filter(deliverable).map(|served| &served.kind) {
            if permitted.contains(&format!("{}/{}", kind.api_version(), kind.kind)) {
                found.select(access, kind, namespace, selector).await?;
            }
        }
    }
    if found.objects.is_empty() {
        return Err(Failure::NotFound(format!("nothing to import was found in namespace {namespace}")));
    }
    let scaler = ApiKind::namespaced("autoscaling", "v2", "HorizontalPodAutoscaler", "horizontalpodautoscalers");
    let scalers = admin::list(access, &scaler, namespace, "").await.map_err(refused(access))?;
    found.autoscaled = scalers
        .iter()
        .map(|scaler| &scaler["spec"]["scaleTargetRef"])
        .map(|target| (text(&target["kind"]).to_owned(), text(&target["name"]).to_owned()))
        .collect();
    Ok(found)
}

fn kind_of<'a>(word: &str, served: &'a [ServedKind]) -> Result<&'a ApiKind, Failure> {
    let kind = served.iter().find(|served| served.is_called(word)).map(|served| &served.kind).ok_or_else(|| {
        Failure::Usage(format!(
            "{word}: the cluster serves no such kind; write for example deploy/web or widgets.example.org/one"
        ))
    })?;
    if kind.namespaced {
        return Ok(kind);
    }
    Err(Failure::Refused(format!(
        "{} belongs to the whole cluster and not to a namespace; Meridian does not deliver it: have the cluster's administrators keep it",
        kind.kind
    )))
}

async fn named(access: &AdminAccess, kind: &ApiKind, namespace: &str, name: &str) -> Result<Value, Failure> {
    let title = format!("{} {name}", kind.kind);
    let object = admin::read(access, kind, namespace, name).await.map_err(refused(access))?.ok_or_else(|| {
        Failure::NotFound(format!(
            "{title}: not found in namespace {namespace} of {}; give -n NAMESPACE",
            access.server
        ))
    })?;
    match not_ours_to_take(&object) {
        Some(why) => Err(Failure::Refused(format!("{title} {why}"))),
        None => Ok(object),
    }
}

impl Found {
    async fn select(
        &mut self,
        access: &AdminAccess,
        kind: &ApiKind,
        namespace: &str,
        selector: &str,
    ) -> Result<(), Failure> {
        let all = admin::list(access, kind, namespace, selector).await.map_err(refused(access))?;
        let already = |object: &Value, taken: &[Value]| {
            let same = |other: &Value| {
                other["kind"] == object["kind"] && other["metadata"]["uid"] == object["metadata"]["uid"]
            };
            taken.iter().any(same)
        };
        for object in all {
            match not_ours_to_take(&object) {
                Some(why) => self.skipped.push(format!("{} {} {why}", kind.kind, text(&object["metadata"]["name"]))),
                None if already(&object, &self.objects) => {}
                None => self.objects.push(object),
            }
        }
        Ok(())
    }
}

/// Returns why an Application cannot declare the object, with the remedy.
fn not_ours_to_take(object: &Value) -> Option<String> {
    let metadata = &object["metadata"];
    if let Some(app) = metadata["labels"].get(labels::APP).filter(|_| metadata["labels"].get(labels::MANAGED).is_some())
    {
        return Some(format!("belongs to Application {} already; change that one", text(app)));
    }
    if let Some(owner) = metadata["ownerReferences"].get(0) {
        return Some(format!(
            "is made by {} {}; import that, or what owns it",
            text(&owner["kind"]),
            text(&owner["name"])
        ));
    }
    if metadata.get("deletionTimestamp").is_some() {
        return Some("is being deleted".to_owned());
    }
    match (text(&object["kind"]), text(&metadata["name"])) {
        ("Secret", _) if object["type"] == "kubernetes.io/service-account-token" => {
            Some("is a token that the cluster made for a service account; every cluster makes its own".to_owned())
        }
        ("Secret", _) if object["type"] == "helm.sh/release.v1" => {
            Some("is Helm's own record of a release; leave it to Helm".to_owned())
        }
        ("ConfigMap", "kube-root-ca.crt") | ("ServiceAccount", "default") => {
            Some("is made by the cluster in every namespace; every cluster makes its own".to_owned())
        }
        ("Endpoints" | "EndpointSlice" | "Event" | "Lease" | "ControllerRevision", _) => {
            Some("is written by controllers; import what it belongs to".to_owned())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn objects_made_by_the_cluster_are_refused_with_the_remedy() {
        let meta = |extra: Value| {
            let mut metadata = json!({ "name": "x" });
            for (key, value) in extra.as_object().into_iter().flatten() {
                metadata[key] = value.clone();
            }
            metadata
        };
        for (object, says) in [
            (
                json!({ "kind": "ReplicaSet", "metadata": meta(json!({ "ownerReferences": [{ "kind": "Deployment", "name": "web" }] })) }),
                Some("is made by Deployment web; import that"),
            ),
            (
                json!({ "kind": "Secret", "type": "kubernetes.io/service-account-token", "metadata": meta(json!({})) }),
                Some("every cluster makes its own"),
            ),
            (
                json!({ "kind": "ConfigMap", "metadata": { "name": "kube-root-ca.crt" } }),
                Some("every cluster makes its own"),
            ),
            (
                json!({ "kind": "ConfigMap", "metadata": meta(json!({ "labels": { "fleet.meridian.io/managed": "true", "fleet.meridian.io/app": "shop" } })) }),
                Some("belongs to Application shop already"),
            ),
            (json!({ "kind": "ConfigMap", "metadata": meta(json!({})) }), None),
        ] {
            let why = not_ours_to_take(&object);
            match says {
                None => assert_eq!(why, None),
                Some(says) => assert!(why.as_deref().is_some_and(|why| why.contains(says)), "{object}: {why:?}"),
            }
        }
    }

    #[test]
    fn kinds_are_found_by_the_words_people_use() {
        let kind =
            |kind: ApiKind, words: &[&str]| ServedKind { kind, words: words.iter().map(ToString::to_string).collect() };
        let served = [
            kind(
                ApiKind::namespaced("apps", "v1", "Deployment", "deployments"),
                &["deployments", "deployment", "deploy"],
            ),
            kind(ApiKind::cluster_scoped("", "v1", "Node", "nodes"), &["nodes", "node", "no"]),
        ];
        for word in ["deploy", "Deployment", "deployments.apps"] {
            assert_eq!(kind_of(word, &served).unwrap().plural, "deployments");
        }
        assert!(matches!(kind_of("node", &served), Err(Failure::Refused(_))));
        assert!(matches!(kind_of("widget", &served), Err(Failure::Usage(_))));
    }
}
