//! The hub's API, as far as requests read and edit Applications there.

use std::time::Duration;

use crds::Application;
use kube::api::{DynamicObject, Patch, PatchParams};
use kube::core::Status;
use kube::core::response::StatusCause;
use kube::{Api, Client, Resource, ResourceExt};
use serde_json::{Value, json};
use vocabulary::{AppKey, chain};

/// Field manager of edits that a release makes.
const RELEASE_MANAGER: &str = "meridian-release";
/// Field manager of edits that a rollback makes.
const ROLLBACK_MANAGER: &str = "meridian";
/// Field managers of Meridian's own programs. A rollback takes their fields over without being asked.
const OWN_MANAGERS: [&str; 3] = [RELEASE_MANAGER, ROLLBACK_MANAGER, "meridian-cli"];
/// Timeout for one call.
const CALL_TIMEOUT: Duration = Duration::from_secs(5);
/// Maximum length of a message of the API server that is passed on, in characters.
const MESSAGE_MAX: usize = 1_024;
/// Text before the fields that strict validation refuses. The text before it may repeat the whole object.
const STRICT: &str = "strict decoding error: ";

/// A connection to the hub.
#[derive(Clone)]
pub(crate) struct Hub(Client);

impl std::fmt::Debug for Hub {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_tuple("Hub").finish()
    }
}

/// An Application as the hub has it.
#[derive(Debug, Clone)]
pub(crate) struct HubApplication {
    /// Version of the object.
    pub(crate) resource_version: String,
    /// Generation of the spec.
    pub(crate) generation: i64,
    /// The spec, with fields that this version does not know.
    pub(crate) spec: Value,
    /// The object is being deleted.
    pub(crate) is_leaving: bool,
}

/// Why the hub did not do what was asked.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum HubError {
    #[error("there is no Application {0} on the hub")]
    NotFound(AppKey),
    /// The object was changed since it was read.
    #[error("Application {0} was changed on the hub at the same time")]
    Changed(AppKey),
    /// Other field managers own fields of a rollback.
    #[error("{}", owned(.0))]
    Owned(Vec<OwnedField>),
    /// The API server refuses the object.
    #[error("the hub refuses the Application: {message}")]
    Invalid { message: String, fields: Vec<RefusedField> },
    /// The API server refuses the identity of this server.
    #[error("the hub refuses the identity of this server: {0}")]
    Denied(String),
    #[error("the hub does not answer: {0}")]
    Unavailable(String),
}

/// A field that another field manager owns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OwnedField {
    pub(crate) manager: String,
    pub(crate) field: String,
}

/// A field that the API server refuses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RefusedField {
    /// Path such as `spec.components[0].name`.
    pub(crate) field: String,
    pub(crate) message: String,
    /// The kind has no such field.
    pub(crate) is_unknown: bool,
}

fn owned(fields: &[OwnedField]) -> String {
    let fields: Vec<String> =
        fields.iter().map(|owned| format!("{} is owned by field manager {}", owned.field, owned.manager)).collect();
    fields.join("; ")
}

impl Hub {
    pub(crate) fn new(client: Client) -> Self {
        Self(client)
    }

    fn api(&self, key: &AppKey) -> Api<DynamicObject> {
        let resource = kube::api::ApiResource::erase::<Application>(&());
        Api::namespaced_with(self.0.clone(), &key.namespace, &resource)
    }

    /// Reads an Application.
    pub(crate) async fn application(&self, key: &AppKey) -> Result<HubApplication, HubError> {
        let api = self.api(key);
        call(key, api.get(&key.name)).await.and_then(|object| read(key, object))
    }

    /// Applies a merge patch to the spec of an Application, if the object is still the one that was read.
    pub(crate) async fn patch_spec(
        &self,
        key: &AppKey,
        base: &HubApplication,
        spec: &Value,
        is_dry_run: bool,
    ) -> Result<HubApplication, HubError> {
        let patch = json!({ "metadata": { "resourceVersion": base.resource_version }, "spec": spec });
        let params = PatchParams { dry_run: is_dry_run, ..PatchParams::apply(RELEASE_MANAGER).validation_strict() };
        let api = self.api(key);
        call(key, api.patch(&key.name, &params, &Patch::Merge(patch))).await.and_then(|object| read(key, object))
    }

    /// Applies components and overrides of an Application by server-side apply.
    ///
    /// Fields of other field managers are taken over only with `is_forced`.
    pub(crate) async fn apply_spec(
        &self,
        key: &AppKey,
        base: &HubApplication,
        spec: &Value,
        is_forced: bool,
        is_dry_run: bool,
    ) -> Result<HubApplication, HubError> {
        let object = json!({
            "apiVersion": Application::api_version(&()),
            "kind": Application::kind(&()),
            "metadata": {
                "name": key.name, "namespace": key.namespace, "resourceVersion": base.resource_version,
            },
            "spec": spec,
        });
        let params = PatchParams { dry_run: is_dry_run, ..PatchParams::apply(ROLLBACK_MANAGER).validation_strict() };
        let api = self.api(key);
        let applied = call(key, api.patch(&key.name, &params, &Patch::Apply(&object))).await;
        let is_ours = |error: &HubError| match error {
            HubError::Owned(fields) => fields.iter().all(|owned| OWN_MANAGERS.contains(&owned.manager.as_str())),
            _ => false,
        };
        let applied = match applied {
            Err(error) if matches!(error, HubError::Owned(_)) && (is_forced || is_ours(&error)) => {
                call(key, api.patch(&key.name, &params.force(), &Patch::Apply(&object))).await
            }
            other => other,
        };
        applied.and_then(|object| read(key, object))
    }
}

fn read(key: &AppKey, object: DynamicObject) -> Result<HubApplication, HubError> {
    let resource_version = object.resource_version().ok_or_else(|| HubError::Changed(key.clone()))?;
    Ok(HubApplication {
        resource_version,
        generation: object.metadata.generation.unwrap_or_default(),
        is_leaving: object.metadata.deletion_timestamp.is_some(),
        spec: object.data.get("spec").cloned().unwrap_or(Value::Null),
    })
}

async fn call<T>(key: &AppKey, request: impl Future<Output = Result<T, kube::Error>>) -> Result<T, HubError> {
    match tokio::time::timeout(CALL_TIMEOUT, request).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(kube::Error::Api(status))) => Err(refusal(key, &status)),
        Ok(Err(error)) => Err(HubError::Unavailable(chain(&error))),
        Err(_) => Err(HubError::Unavailable(format!("no answer within {} s", CALL_TIMEOUT.as_secs()))),
    }
}

/// Returns what an error answer of the API server means.
fn refusal(key: &AppKey, status: &Status) -> HubError {
    let causes = status.details.as_ref().map(|details| details.causes.as_slice()).unwrap_or_default();
    let message = match status.message.rsplit_once(STRICT) {
        Some((_, fields)) => format!("{STRICT}{fields}"),
        None => status.message.clone(),
    };
    let message: String = message.chars().take(MESSAGE_MAX).collect();
    match status.code {
        404 => HubError::NotFound(key.clone()),
        409 => {
            let owned: Vec<OwnedField> = causes.iter().filter_map(owned_field).collect();
            if owned.is_empty() { HubError::Changed(key.clone()) } else { HubError::Owned(owned) }
        }
        400 | 422 => HubError::Invalid { fields: refused_fields(&message, causes), message },
        // Admission webhooks and policies refuse with this status too.
        403 if message.contains("denied the request") || message.contains("denied request") => {
            HubError::Invalid { fields: Vec::new(), message }
        }
        401 | 403 => HubError::Denied(message),
        _ => HubError::Unavailable(message),
    }
}

fn owned_field(cause: &StatusCause) -> Option<OwnedField> {
    if cause.reason != "FieldManagerConflict" {
        return None;
    }
    let manager = cause.message.split('"').nth(1).unwrap_or(&cause.message);
    Some(OwnedField { manager: manager.to_owned(), field: cause.field.trim_start_matches('.').to_owned() })
}

fn refused_fields(message: &str, causes: &[StatusCause]) -> Vec<RefusedField> {
    if let Some((_, text)) = message.split_once(STRICT) {
        let names = text.split("unknown field \"").skip(1).filter_map(|rest| rest.split('"').next());
        return names
            .map(|field| RefusedField {
                field: field.to_owned(),
                message: "this version of the hub has no such field".to_owned(),
                is_unknown: true,
            })
            .collect();
    }
    let named = causes.iter().filter(|cause| cause.field.starts_with("spec"));
    named
        .map(|cause| RefusedField {
            field: cause.field.clone(),
            message: cause.message.chars().take(MESSAGE_MAX).collect(),
            is_unknown: false,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(code: u16, message: &str, causes: Value) -> Status {
        serde_json::from_value(json!({
            "status": "Failure", "code": code, "message": message, "reason": "", "details": { "causes": causes },
        }))
        .unwrap()
    }

    fn key() -> AppKey {
        AppKey { namespace: "shop".to_owned(), name: "web".to_owned() }
    }

    #[test]
    fn strict_refusals_name_the_field_and_repeat_no_object() {
        let message = r#"The request is invalid: patch: Invalid value: "{\"password\":\"hunter2\"}": strict decoding error: unknown field "spec.replica", unknown field "spec.x""#;
        let HubError::Invalid { message, fields } = refusal(&key(), &status(422, message, json!([]))) else {
            panic!("a refusal of the object")
        };
        assert!(!message.contains("hunter2"), "{message}");
        let names: Vec<(&str, bool)> = fields.iter().map(|field| (field.field.as_str(), field.is_unknown)).collect();
        assert_eq!(names, [("spec.replica", true), ("spec.x", true)]);
    }

    #[test]
    fn answers_of_the_hub_have_their_meaning() {
        let conflict = json!([{
            "reason": "FieldManagerConflict", "field": ".spec.components",
            "message": r#"conflict with "argocd-controller" using fleet.meridian.io/v1alpha1"#,
        }]);
        for (case, status, expected) in [
            (
                "owned",
                status(409, "Apply failed", conflict),
                "spec.components is owned by field manager argocd-controller",
            ),
            ("changed", status(409, "modified", json!([])), "changed on the hub at the same time"),
            ("gone", status(404, "not found", json!([])), "no Application shop/web"),
            ("no right", status(403, "cannot patch", json!([])), "identity of this server"),
            (
                "a webhook",
                status(403, "admission webhook \"x\" denied the request: no", json!([])),
                "refuses the Application",
            ),
            ("a fault", status(500, "etcdserver: no leader", json!([])), "does not answer"),
        ] {
            let found = refusal(&key(), &status).to_string();
            assert!(found.contains(expected), "{case}: {found}");
        }
    }
}
