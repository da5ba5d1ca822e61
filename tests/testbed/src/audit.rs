//! What an API server wrote down about requests: the ground on which "nothing twice" is counted.

use std::path::PathBuf;

use serde_json::Value;

/// One request that was answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditEvent {
    /// `create`, `patch`, `delete`, ….
    pub verb: String,
    /// Who, for example `system:serviceaccount:meridian-system:meridian`.
    pub user: String,
    /// Plural of the kind, with `/subresource` where there is one.
    pub resource: String,
    /// Namespace; empty for cluster-scoped objects.
    pub namespace: String,
    /// Name; empty for lists.
    pub name: String,
    /// HTTP status of the answer.
    pub code: u16,
    /// Which of the user's tokens it was asked with; empty when it was none of a service account.
    pub credential: String,
}

impl AuditEvent {
    /// It may have changed something, and was not refused.
    pub fn is_write(&self) -> bool {
        matches!(self.verb.as_str(), "create" | "update" | "patch" | "delete" | "deletecollection") && self.code < 300
    }
}

impl AuditEvent {
    /// It made an object that was not there: server-side apply is a patch, and answers 201 then.
    pub fn is_creation(&self) -> bool {
        matches!(self.verb.as_str(), "create" | "patch" | "update") && self.code == 201
    }

    /// It took an object away, or asked for that.
    pub fn is_deletion(&self) -> bool {
        matches!(self.verb.as_str(), "delete" | "deletecollection") && self.is_write()
    }
}

/// The log of one API server.
#[derive(Debug, Clone)]
pub struct AuditLog {
    pub(crate) path: PathBuf,
}

impl AuditLog {
    /// All events so far, in order. Controllers and the scheduler of the plane itself are left out.
    pub fn events(&self) -> Vec<AuditEvent> {
        let text = std::fs::read_to_string(&self.path).unwrap_or_default();
        text.lines()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok())
            .filter_map(|value| event(&value))
            .collect()
    }

    /// Events that are as wanted.
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
