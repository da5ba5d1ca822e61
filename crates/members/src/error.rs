//! Errors of calls to a member, from its API server or from the network.

use std::time::Duration;

use serde::Deserialize;
use vocabulary::ClusterName;

use crate::install::POLICY_NAME;

/// Reason why a call to a member failed.
///
/// Messages of the member API server are kept unchanged.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MemberError {
    /// The connection failed or broke: refused, reset, TLS or proxy error.
    ///
    /// The caller cannot conclude whether a write happened.
    #[error("cluster {cluster} is unreachable: {message}")]
    Unreachable {
        /// Name of the member cluster.
        cluster: ClusterName,
        /// Chain of causes.
        message: String,
    },
    /// The member did not answer in time. The caller cannot conclude whether a write happened.
    #[error("cluster {cluster} did not answer within {} ms", after.as_millis())]
    TimedOut {
        /// Name of the member cluster.
        cluster: ClusterName,
        /// Time that the call waited.
        after: Duration,
    },
    /// The token is expired, revoked or of another cluster.
    #[error(
        "cluster {cluster} does not accept our credential: {message}; run `meridian cluster update-credential {cluster} --kubeconfig FILE`"
    )]
    Unauthorized {
        /// Name of the member cluster.
        cluster: ClusterName,
        /// Message of the API server.
        message: String,
    },
    /// A right is missing, or a policy other than the fence policy refused the call.
    #[error("{message}")]
    Forbidden {
        /// Message of the API server.
        message: String,
    },
    /// The namespace is being deleted. New objects can be created only after it is gone and created again.
    #[error("the namespace is being deleted there, and is made again when it is gone: {message}")]
    NamespaceTerminating {
        /// Message of the API server.
        message: String,
    },
    /// The object, its namespace or its kind does not exist.
    #[error("{message}")]
    NotFound {
        /// Message of the API server.
        message: String,
    },
    /// Another manager owns a field, the object exists already, or a precondition failed.
    #[error("{message}")]
    Conflict {
        /// Message of the API server; for server-side apply it names the owners of the fields.
        message: String,
        /// Other field managers named in the refusal; empty when a precondition failed.
        managers: Vec<String>,
    },
    /// The object is not valid for this member.
    #[error("{message}")]
    Invalid {
        /// Message of the API server.
        message: String,
        /// Paths of the invalid fields, where the server named them.
        fields: Vec<String>,
    },
    /// The fence policy that Meridian installed in the member refused the write.
    ///
    /// The object's fence is newer, the write has no well-formed fence, or the object is not stamped for deletion.
    #[error("{message}")]
    FenceRefused {
        /// Message of the policy.
        message: String,
    },
    /// The API server answered 429, also after all retries that the budget allowed.
    #[error("cluster {cluster} throttles us: {message}")]
    Throttled {
        /// Name of the member cluster.
        cluster: ClusterName,
        /// Message of the API server.
        message: String,
        /// Pause that the server asked for in `Retry-After`.
        retry_after: Option<Duration>,
    },
    /// The API server answered that it cannot serve now, with a 5xx status such as 500, 502, 503 or 504.
    #[error("cluster {cluster} cannot serve: {message}")]
    Unavailable {
        /// Name of the member cluster.
        cluster: ClusterName,
        /// Message of the API server.
        message: String,
        /// Pause that the server asked for in `Retry-After`.
        retry_after: Option<Duration>,
    },
    /// The request or the answer is larger than allowed.
    #[error("{message}")]
    TooLarge {
        /// The exceeded limit, or the message of the API server.
        message: String,
    },
    /// A `resourceVersion` or continue token is too old (410).
    #[error("{message}")]
    Expired {
        /// Message of the API server.
        message: String,
    },
    /// The call was not sent, because the breaker of this member is open.
    #[error("cluster {cluster} is not tried: its last calls failed; next trial in {} ms", retry_in.as_millis())]
    BreakerOpen {
        /// Name of the member cluster.
        cluster: ClusterName,
        /// Time until the breaker lets the next call through.
        retry_in: Duration,
    },
    /// The answer is not one that an API server gives.
    #[error("cluster {cluster} gave an unexpected answer: {message}")]
    Protocol {
        /// Name of the member cluster.
        cluster: ClusterName,
        /// Description of the problem.
        message: String,
    },
    /// The configuration of the member cannot be used at all.
    #[error("cluster {cluster}: {message}")]
    Config {
        /// Name of the member cluster.
        cluster: ClusterName,
        /// Part of the configuration that cannot be used.
        part: ConfigPart,
        /// Description of the problem.
        message: String,
    },
}

/// Part of a [`crate::MemberConfig`] that an error refers to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConfigPart {
    /// URL of the API server.
    Server,
    /// Certificate authorities, or those of this machine where none are given.
    Authority,
    /// Name in the server's certificate.
    TlsServerName,
    /// URL of the proxy.
    Proxy,
    /// Bearer token.
    Token,
}

impl MemberError {
    /// Returns a stable word for metrics and conditions.
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

    /// Returns whether the network failed, not the request. Health and the breaker count these failures.
    pub fn is_transport(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::TimedOut { .. })
    }

    pub(crate) fn protocol(cluster: &ClusterName, message: impl std::fmt::Display) -> Self {
        Self::Protocol { cluster: cluster.clone(), message: message.to_string() }
    }

    /// Builds the error from a status code and its body, which normally is a `metav1.Status`.
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
            // The admission of namespaces reports this cause, see `NamespaceTerminatingCause` in k8s.io/api/core/v1.
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

/// Returns the field paths in `.spec.x: field not declared in schema`.
fn undeclared(message: &str) -> Vec<String> {
    message
        .split(": field not declared in schema")
        .filter_map(|before| before.rsplit(char::is_whitespace).next())
        .filter_map(|path| path.strip_prefix('.'))
        .map(String::from)
        .collect()
}

/// The fields of `metav1.Status` that this crate uses.
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

/// Shortens a body that is not a `metav1.Status` to a recognisable beginning.
///
/// Proxies and load balancers answer with HTML.
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
