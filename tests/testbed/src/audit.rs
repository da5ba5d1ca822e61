//! Audit log of an API server. Tests use it to check that no request was repeated.

use std::path::PathBuf;

use serde_json::Value;

/// One request that was answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditEvent {
    /// `create`, `patch`, `delete`, ….
    pub verb: String,
    /// User of the request, for example `system:serviceaccount:meridian-system:meridian`.
    pub user: String,
    /// Plural of the kind, with `/subresource` if there is one.
    pub resource: String,
    /// Namespace; empty for cluster-scoped objects.
    pub namespace: String,
    /// Name; empty for lists.
    pub name: String,
    /// HTTP status of the answer.
    pub code: u16,
    /// ID of the service account token that authenticated the request; empty if there was none.
    pub credential: String,
}

impl AuditEvent {
    /// Whether the request may have changed something and was not refused.
    pub fn is_write(&self) -> bool {
        matches!(self.verb.as_str(), "create" | "update" | "patch" | "delete" | "deletecollection") && self.code < 300
    }
}

impl AuditEvent {
    /// Whether the request created an object. Server-side apply is a patch, and returns 201 in this case.
    pub fn is_creation(&self) -> bool {
        matches!(self.verb.as_str(), "create" | "patch" | "update") && self.code == 201
    }

    /// Whether the request deleted an object, or requested its deletion.
    pub fn is_deletion(&self) -> bool {
        matches!(self.verb.as_str(), "delete" | "deletecollection") && self.is_write()
    }
}

/// Audit log of one API server.
#[derive(Debug, Clone)]
pub struct AuditLog {
    pub(crate) path: PathBuf,
}

impl AuditLog {
    /// Returns all events so far, in order.
    ///
    /// The audit policy leaves out the controllers and the scheduler of the plane.
    pub fn events(&self) -> Vec<AuditEvent> {
        let text = std::fs::read_to_string(&self.path).unwrap_or_default();
        text.lines()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok())
            .filter_map(|value| event(&value))
            .collect()
    }

    /// Counts the events that fulfil a condition.
    pub fn count(&self, wanted: impl Fn(&AuditEvent) -> bool) -> usize {
        self.events().iter().filter(|event| wanted(event)).count()
    }
}

fn event(value: &Value) -> Option<AuditEvent> {
    let reference = &value["objectRef"];
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let resource = match reference["subresource"].as_str() {
        Some(subresource) => format!("{}/{subresource}", text(&reference["resource"])),
        None => text(&reference["resource"]),
    };
    Some(AuditEvent {
        verb: text(&value["verb"]),
        user: text(&value["user"]["username"]),
        resource,
        namespace: text(&reference["namespace"]),
        name: text(&reference["name"]),
        code: u16::try_from(value["responseStatus"]["code"].as_u64()?).ok()?,
        credential: text(&value["user"]["extra"]["authentication.kubernetes.io/credential-id"][0]),
    })
}
