//! What a member, or the way to it, said no with.

use std::time::Duration;

use serde::Deserialize;
use vocabulary::ClusterName;

use crate::install::POLICY_NAME;

/// Why a call to a member did not succeed. Messages of the member's API server are kept as they are.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MemberError {
    /// No connection, or it broke: refused, reset, TLS failed, proxy failed. Whether a write happened is unknown.
    #[error("cluster {cluster} is unreachable: {message}")]
    Unreachable {
        /// The member.
        cluster: ClusterName,
        /// The chain of causes.
        message: String,
    },
    /// No answer in time. Whether a write happened is unknown.
    #[error("cluster {cluster} did not answer within {} ms", after.as_millis())]
    TimedOut {
        /// The member.
        cluster: ClusterName,
        /// How long we waited.
        after: Duration,
    },
    /// The token is expired, revoked or foreign.
    #[error(
        "cluster {cluster} does not accept our credential: {message}; run `meridian cluster update-credential {cluster} --kubeconfig FILE`"
    )]
    Unauthorized {
        /// The member.
        cluster: ClusterName,
        /// The API server's message.
        message: String,
    },
    /// A right is missing, or a policy that is not ours refused.
    #[error("{message}")]
    Forbidden {
        /// The API server's message.
        message: String,
    },
    /// The namespace is being deleted: nothing can be made there before it is gone.
    #[error("the namespace is being deleted there, and is made again when it is gone: {message}")]
    NamespaceTerminating {
        /// The API server's message.
        message: String,
    },
    /// The object, its namespace or its kind does not exist.
    #[error("{message}")]
    NotFound {
        /// The API server's message.
        message: String,
    },
    /// Another manager owns a field, the object exists already, or a precondition failed.
    #[error("{message}")]
    Conflict {
        /// The API server's message; for server-side apply it names the owners.
        message: String,
        /// Other field managers named in the refusal; empty when it was a precondition.
        managers: Vec<String>,
    },
    /// The object is not valid for this member.
    #[error("{message}")]
    Invalid {
        /// The API server's message.
        message: String,
        /// Paths of the fields complained about, where the server named them.
        fields: Vec<String>,
    },
    /// Meridian's own fence policy in the member refused: somebody wrote with a newer fence.
    #[error("{message}")]
    FenceRefused {
        /// The policy's message.
        message: String,
    },
    /// 429, also after the retries that the budget allowed.
    #[error("cluster {cluster} throttles us: {message}")]
    Throttled {
        /// The member.
        cluster: ClusterName,
        /// The API server's message.
        message: String,
        /// What the server asked us to wait.
        retry_after: Option<Duration>,
    },
    /// The API server answered that it cannot serve now (500, 502, 503, 504).
    #[error("cluster {cluster} cannot serve: {message}")]
    Unavailable {
        /// The member.
        cluster: ClusterName,
        /// The API server's message.
        message: String,
        /// What the server asked us to wait.
        retry_after: Option<Duration>,
    },
    /// The request or the answer is larger than allowed.
    #[error("{message}")]
    TooLarge {
        /// Which limit, or the API server's message.
        message: String,
    },
    /// A resourceVersion or continue token is too old (410).
    #[error("{message}")]
    Expired {
        /// The API server's message.
        message: String,
    },
    /// Not tried: the breaker of this member is open.
    #[error("cluster {cluster} is not tried: its last calls failed; next trial in {} ms", retry_in.as_millis())]
    BreakerOpen {
        /// The member.
        cluster: ClusterName,
        /// When a call will be let through again.
        retry_in: Duration,
    },
    /// The answer was not what an API server gives.
    #[error("cluster {cluster} gave an unexpected answer: {message}")]
    Protocol {
        /// The member.
        cluster: ClusterName,
        /// What was wrong.
        message: String,
    },
    /// The configuration cannot be used at all.
    #[error("cluster {cluster}: {message}")]
    Config {
        /// The member.
        cluster: ClusterName,
        /// Of what it is made, what cannot be used.
        part: ConfigPart,
        /// What is wrong with it.
        message: String,
    },
}

/// Part of a [`crate::MemberConfig`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConfigPart {
    /// URL of the server.
    Server,
    /// Certificate authorities, or this machine's where none are given.
    Authority,
    /// Name in the server's certificate.
    TlsServerName,
    /// Proxy.
    Proxy,
    /// Bearer token.
    Token,
}

impl MemberError {
    /// A stable word for metrics and conditions.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Unreachable { .. } => "unreachable",
            Self::TimedOut { .. } => "timed_out",
            Self::Unauthorized { .. } => "unauthorized",
            Self::Forbidden { .. } => "forbidden",
            Self::NamespaceTerminating { .. } => "namespace_terminating",
            Self::NotFound { .. } => "not_found",
            Self::Conflict { .. } => "conflict",
            Self::Invalid { .. } => "invalid",
            Self::FenceRefused { .. } => "fence_refused",
            Self::Throttled { .. } => "throttled",
            Self::Unavailable { .. } => "unavailable",
            Self::TooLarge { .. } => "too_large",
            Self::Expired { .. } => "expired",
            Self::BreakerOpen { .. } => "breaker_open",
            Self::Protocol { .. } => "protocol",
            Self::Config { .. } => "config",
        }
    }

    /// Whether the way to the member failed, not the request: what health and the breaker count.
    pub fn is_transport(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::TimedOut { .. })
    }

    pub(crate) fn protocol(cluster: &ClusterName, message: impl std::fmt::Display) -> Self {
        Self::Protocol { cluster: cluster.clone(), message: message.to_string() }
    }

    /// From a status code and the body that came with it, a `metav1.Status` if all is well.
    pub(crate) fn from_answer(cluster: &ClusterName, code: u16, retry_after: Option<Duration>, body: &[u8]) -> Self {
        let status = serde_json::from_slice::<Status>(body)
            .unwrap_or_else(|_| Status { message: plain_text(code, body), ..Status::default() });
        let cluster = cluster.clone();
        let message = if status.message.is_empty() { format!("HTTP {code}") } else { status.message };
        let causes = status.details.causes;
        if matches!(code, 403 | 422) && message.contains(&format!("'{POLICY_NAME}'")) {
            return Self::FenceRefused { message };
        }
        match code {
            401 => Self::Unauthorized { cluster, message },
            // As the admission of namespaces says it, see NamespaceTerminatingCause in k8s.io/api/core/v1.
            403 if causes.iter().any(|cause| cause.reason == "NamespaceTerminating") => {
                Self::NamespaceTerminating { message }
            }
            403 => Self::Forbidden { message },
            404 => Self::NotFound { message },
            409 => Self::Conflict {
                managers: causes
                    .iter()
                    .filter(|c| c.reason == "FieldManagerConflict")
                    .filter_map(|c| c.message.split('"').nth(1))
                    .map(String::from)
                    .collect(),
                message,
            },
            410 => Self::Expired { message },
            413 => Self::TooLarge { message },
            400 | 415 | 422 => Self::Invalid { fields: causes.into_iter().map(|c| c.field).collect(), message },
            429 => Self::Throttled { cluster, message, retry_after },
            500 if message.contains("request is too large") => Self::TooLarge { message },
            // Server-side apply reports an object that does not fit the schema as an internal error.
            500 if message.contains("failed to create typed patch object") => {
                Self::Invalid { fields: undeclared(&message), message }
            }
            500..=599 => Self::Unavailable { cluster, message, retry_after },
            _ => Self::Protocol { cluster, message: format!("HTTP {code}: {message}") },
        }
    }
}

/// The field paths in `.spec.x: field not declared in schema`.
fn undeclared(message: &str) -> Vec<String> {
    message
        .split(": field not declared in schema")
        .filter_map(|before| before.rsplit(char::is_whitespace).next())
        .filter_map(|path| path.strip_prefix('.'))
        .map(String::from)
        .collect()
}

/// The parts of `metav1.Status` that we use.
#[derive(Debug, Default, Deserialize)]
struct Status {
    #[serde(default)]
    message: String,
    #[serde(default)]
    details: Details,
}

#[derive(Debug, Default, Deserialize)]
struct Details {
    #[serde(default)]
    causes: Vec<Cause>,
}

#[derive(Debug, Default, Deserialize)]
struct Cause {
    #[serde(default)]
    reason: String,
    #[serde(default)]
    message: String,
    #[serde(default)]
    field: String,
}

/// Proxies and load balancers answer with HTML; a short beginning is enough to recognise them.
fn plain_text(code: u16, body: &[u8]) -> String {
    let text = String::from_utf8_lossy(&body[..body.len().min(400)]);
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if text.is_empty() { format!("HTTP {code}") } else { format!("HTTP {code}: {text}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(code: u16, body: &str) -> MemberError {
        let cluster = "north".parse().unwrap();
        MemberError::from_answer(&cluster, code, None, body.as_bytes())
    }

    #[test]
    fn answers_become_the_error_that_names_what_to_do() {
        let fence = format!(
            r#"{{"kind":"Status","message":"deployments.apps \"x\" is forbidden: ValidatingAdmissionPolicy '{POLICY_NAME}' with binding 'b' denied request: stale"}}"#
        );
        for (code, body, kind) in [
            (401, r#"{"kind":"Status","message":"Unauthorized"}"#, "unauthorized"),
            (403, r#"{"kind":"Status","message":"no"}"#, "forbidden"),
            (422, fence.as_str(), "fence_refused"),
            (403, fence.as_str(), "fence_refused"),
            (400, r#"{"message":"strict decoding error: unknown field \"spec.x\""}"#, "invalid"),
            (410, r#"{"message":"too old"}"#, "expired"),
            (429, "", "throttled"),
            (500, r#"{"message":"etcdserver: request is too large"}"#, "too_large"),
            (502, "<html>bad gateway</html>", "unavailable"),
            (302, "", "protocol"),
        ] {
            assert_eq!(of(code, body).kind(), kind, "{code} {body}");
        }
    }

    #[test]
    fn an_apply_conflict_names_the_owner() {
        let error = of(
            409,
            r#"{"kind":"Status","message":"Apply failed with 1 conflict: conflict with \"kubectl-client-side-apply\" using apps/v1: .spec.replicas",
               "details":{"causes":[{"reason":"FieldManagerConflict","message":"conflict with \"kubectl-client-side-apply\" using apps/v1","field":".spec.replicas"}]}}"#,
        );
        let MemberError::Conflict { managers, message } = error else { panic!("{error:?}") };
        assert_eq!(managers, ["kubectl-client-side-apply"]);
        assert!(message.contains(".spec.replicas"));
    }

    #[test]
    fn fields_outside_the_schema_are_named() {
        let error = of(
            500,
            r#"{"message":"failed to create typed patch object (/c; apps/v1, Kind=Deployment): errors:\n  .spec.x: field not declared in schema\n  .spec.template.y: field not declared in schema"}"#,
        );
        let MemberError::Invalid { fields, .. } = error else { panic!("{error:?}") };
        assert_eq!(fields, ["spec.x", "spec.template.y"]);
    }

    #[test]
    fn a_namespace_that_is_being_deleted_is_no_missing_right() {
        let body = r#"{"message":"configmaps \"c\" is forbidden: unable to create new content in namespace pay because it is being terminated",
               "reason":"Forbidden","details":{"causes":[{"reason":"NamespaceTerminating","field":"metadata.namespace"}]}}"#;
        let error = of(403, body);
        assert!(matches!(error, MemberError::NamespaceTerminating { .. }), "{error:?}");
        assert!(error.to_string().contains("made again when it is gone"), "{error}");
    }

    #[test]
    fn unauthorized_says_how_to_mend_it() {
        assert!(of(401, "").to_string().contains("meridian cluster update-credential north"));
    }
}
