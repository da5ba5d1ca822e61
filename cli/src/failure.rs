//! Failures of commands, and the exit code of each.
//!
//! | code | variant of [`Failure`] |
//! |---|---|
//! | 0 | none: the command succeeded |
//! | 1 | [`Failure::Failed`] |
//! | 2 | [`Failure::Usage`], [`Failure::NotFound`], [`Failure::Refused`] |
//! | 3 | [`Failure::Unchanged`] |
//! | 4 | [`Failure::Waits`] |
//! | 5 | [`Failure::NotReady`], [`Failure::Ended`] |
//! | 6 | [`Failure::TimedOut`] |
//! | 7 | [`Failure::Superseded`] |
//! | 8 | [`Failure::NotAllowed`] |
//! | 9 | [`Failure::Unreachable`] |

use std::process::ExitCode;

use members::install::InstallError;
use rest::ClientError;
use vocabulary::chain;

use crate::messages::cause_first;

/// Exit codes and their meanings, in order. Pipelines branch on these numbers.
const EXIT_CODES: [(u8, &str); 10] = [
    (0, "the command succeeded, and any goal it waited for is reached"),
    (1, "an unexpected error"),
    (2, "wrong usage, input that is not valid or breaks a rule, or an object that does not exist"),
    (3, "nothing had to be changed; only with --error-unchanged"),
    (4, "a person has to act first; only with --exit-on-pause"),
    (5, "failed for good: the operation failed, or nothing goes on until a person mends it"),
    (6, "not reached yet, or not in the time of --timeout; what was started goes on"),
    (7, "cancelled, not confirmed, or somebody else changed or holds it; the message says who"),
    (8, "not allowed; the message names the missing right"),
    (9, "the server, the hub or the member does not answer"),
];

const ENVIRONMENT: &str = "\
Environment:
  KUBECONFIG                kubeconfig of the hub, unless --hub-kubeconfig is given
  MERIDIAN_HUB_KUBECONFIG   the same; read only by meridian, and before KUBECONFIG
  MERIDIAN_SERVER           URL of the server of the API, instead of that of the login
  MERIDIAN_TOKEN            token for that server
  NO_COLOR                  no colours, like --no-color";

/// Returns the text after the help of the program: exit codes and environment variables.
pub(crate) fn after_help() -> String {
    let lines = EXIT_CODES.iter().map(|(code, meaning)| format!("  {code}  {meaning}\n"));
    format!("Exit codes:\n{}\n{ENVIRONMENT}", lines.collect::<String>())
}

/// Reason why a command did not reach its goal. Messages name the field and the remedy.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// An unexpected error.
    #[error("{0}")]
    Failed(String),
    /// The command line or an input file is wrong.
    #[error("{0}")]
    Usage(String),
    /// The named object does not exist.
    #[error("{0}")]
    NotFound(String),
    /// Nothing had to be changed, and the caller asked for an exit code in this case.
    #[error("{0}")]
    Unchanged(String),
    /// The operation waits until a person confirms it. The message names the command.
    #[error("{0}")]
    Waits(String),
    /// A rule of Meridian refuses the command as not valid. The same command is refused again.
    #[error("{0}")]
    Refused(String),
    /// The goal is not reached, and only a person can change that.
    #[error("{0}")]
    NotReady(String),
    /// The operation ended without reaching its goal, by itself.
    #[error("{0}")]
    Ended(String),
    /// The command stopped waiting, or was not asked to wait. The operation was not cancelled.
    #[error("{0}")]
    TimedOut(String),
    /// The user did not confirm, or another client cancelled, changed, deleted or locked the object meanwhile.
    #[error("{0}")]
    Superseded(String),
    /// The caller's credential lacks a right, or the API server does not accept it.
    #[error("{0}")]
    NotAllowed(String),
    /// An API server does not answer.
    #[error("{0}")]
    Unreachable(String),
}

impl Failure {
    /// Returns the exit code of the process.
    pub(crate) fn exit_code(&self) -> ExitCode {
        ExitCode::from(self.code())
    }

    fn code(&self) -> u8 {
        match self {
            Self::Failed(_) => 1,
            Self::Usage(_) | Self::NotFound(_) | Self::Refused(_) => 2,
            Self::Unchanged(_) => 3,
            Self::Waits(_) => 4,
            Self::NotReady(_) | Self::Ended(_) => 5,
            Self::TimedOut(_) => 6,
            Self::Superseded(_) => 7,
            Self::NotAllowed(_) => 8,
            Self::Unreachable(_) => 9,
        }
    }

    /// Converts an error response of the hub. `what` names the object, such as `cluster north`.
    pub(crate) fn hub(what: &str, error: &kube::Error) -> Self {
        match error {
            kube::Error::Api(status)
                if status.code == 404
                    && ["could not find the requested resource", "404 page not found"]
                        .iter()
                        .any(|text| status.message.contains(text)) =>
            {
                Self::Failed(format!(
                    "{what}: the hub does not know this kind; is this the hub, and are Meridian's CRDs installed there?"
                ))
            }
            kube::Error::Api(status) => {
                Self::of_answer(status.code, format!("{what}: {}", cause_first(&status.message)))
            }
            kube::Error::Service(_) | kube::Error::HyperError(_) => Self::Unreachable(format!(
                "{what}: the hub does not answer: {}; check --hub-kubeconfig and --hub-context",
                chain(error)
            )),
            kube::Error::Auth(_) => Self::NotAllowed(format!("{what}: no credential for the hub: {}", chain(error))),
            other => Self::Failed(format!("{what}: {}", chain(other))),
        }
    }

    /// Converts an error that a member returned to the user's own credential.
    ///
    /// `what` names the attempt, such as the URL of the member.
    pub(crate) fn member(what: &str, error: &InstallError) -> Self {
        if let InstallError::Api { what: doing, source } = error
            && let kube::Error::Api(status) = &**source
        {
            // The text of `kube::Error` repeats the response as a struct, so only the server's message is used.
            let message = cause_first(&status.message);
            return Self::of_answer(status.code, format!("{what}: {doing}: {message}"));
        }
        let message = format!("{what}: {}", chain(error));
        match error {
            InstallError::TooOld { .. } | InstallError::OtherInstallation { .. } => Self::Refused(message),
            InstallError::Answer { .. } | InstallError::PolicyNotInForce { .. } => Self::Failed(message),
            InstallError::Api { source, .. } => match &**source {
                kube::Error::Service(_) | kube::Error::HyperError(_) => Self::Unreachable(message),
                _ => Self::Failed(message),
            },
        }
    }

    /// Converts an error of the server of the API. `what` names the object, such as `operation 0198…`.
    pub(crate) fn server(what: &str, error: &ClientError) -> Self {
        let message = format!("{what}: {}", chain(error));
        match (error, error.status()) {
            (ClientError::Unreachable { .. }, _) => Self::Unreachable(message),
            (_, Some(401)) => Self::NotAllowed(format!("{message}; `meridian login URL` stores another token")),
            (_, Some(409 | 412)) => Self::Superseded(message + &holder(error)),
            (_, Some(status)) => Self::of_answer(status, message),
            (_, None) => Self::Failed(message),
        }
    }

    /// Chooses the variant by the HTTP status of an API server's response.
    fn of_answer(code: u16, message: String) -> Self {
        match code {
            400 | 422 => Self::Usage(message),
            401 | 403 => Self::NotAllowed(message),
            404 => Self::NotFound(message),
            409 => Self::Superseded(message),
            502..=504 => Self::Unreachable(message),
            _ => Self::Failed(message),
        }
    }
}

/// Names the operation that stands in the way, where the message does not.
fn holder(error: &ClientError) -> String {
    let Some(holder) = error.problem().and_then(|problem| problem.holder.as_ref()) else { return String::new() };
    if error.to_string().contains(&holder.operation.to_string()) {
        return String::new();
    }
    format!(
        "; {} is held by operation {} ({} of {}), which {} started at {}",
        holder.key, holder.operation, holder.kind, holder.subject, holder.started_by, holder.since
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use kube::core::Status;

    fn api(code: u16, message: &str) -> kube::Error {
        kube::Error::Api(Box::new(Status { code, message: message.to_owned(), ..Status::failure(message, "") }))
    }

    #[test]
    fn answers_of_api_servers_have_their_exit_code() {
        for (case, status, message, code) in [
            ("bad request", 400, "unknown field \"spec.replica\"", 2),
            ("invalid", 422, "spec.replicas: must be at least 0", 2),
            ("no credential", 401, "Unauthorized", 8),
            ("no right", 403, "cannot patch resource \"clusters\"", 8),
            ("no object", 404, "clusters \"x\" not found", 2),
            ("no kind", 404, "the server could not find the requested resource", 1),
            ("conflict", 409, "the object has been modified", 7),
            ("an error of the server", 500, "etcdserver: no leader", 1),
            ("a proxy without its server", 503, "upstream connect error", 9),
        ] {
            let failure = Failure::hub("cluster x", &api(status, message));
            assert_eq!(failure.code(), code, "{case}: {failure}");
            assert!(failure.to_string().starts_with("cluster x: "), "{case}: {failure}");
        }
    }

    #[test]
    fn answers_of_the_server_have_their_exit_code() {
        let problem = |status: u16| {
            let problem = serde_json::json!({
                "type": "/problems/x", "title": "X", "status": status, "code": "x", "detail": "why", "remedy": "do this",
                "holder": { "operation": "0198c0de-0000-7000-8000-000000000001", "kind": "drain", "subject": "cluster east",
                            "key": "cluster/east", "startedBy": "person/bob", "since": "2026-11-02T03:04:05Z" },
            });
            ClientError::Refused(Box::new(serde_json::from_value(problem).unwrap()))
        };
        for (case, status, code, part) in [
            ("bad request", 400, 2, "do this"),
            ("not valid", 422, 2, "do this"),
            ("no token", 401, 8, "meridian login URL"),
            ("no right", 403, 8, "do this"),
            ("no operation", 404, 2, "do this"),
            ("locked", 409, 7, "person/bob started at 2026-11-02T03:04:05Z"),
            ("stale", 412, 7, "do this"),
            ("an error of the server", 500, 1, "why"),
            ("unavailable", 503, 9, "why"),
        ] {
            let failure = Failure::server("operation x", &problem(status));
            assert_eq!(failure.code(), code, "{case}: {failure}");
            assert!(failure.to_string().contains(part), "{case}: {failure}");
        }
        let silent = ClientError::Unreachable {
            server: "https://m.example".into(),
            tried: std::time::Duration::from_secs(30),
            last: "connection refused".into(),
        };
        assert_eq!(Failure::server("operation x", &silent).code(), 9);
    }

    #[test]
    fn a_member_that_refuses_and_one_that_is_silent_differ() {
        let silent = || kube::Error::Service("connection refused".into());
        let of = |source| InstallError::Api { what: "read Namespace kube-system".to_owned(), source: Box::new(source) };
        for (case, error, code) in [
            ("no right", of(api(403, "cannot get resource \"namespaces\"")), 8),
            ("silent", of(silent()), 9),
            ("too old", InstallError::TooOld { found: "v1.29.0".to_owned() }, 2),
            ("odd answer", InstallError::Answer { what: "x".to_owned(), message: "y".to_owned() }, 1),
        ] {
            let failure = Failure::member("https://north:6443", &error);
            assert_eq!(failure.code(), code, "{case}: {failure}");
            assert!(!failure.to_string().contains("Status {"), "{case}: {failure}");
        }
        assert_eq!(Failure::hub("clusters", &silent()).code(), 9);
    }

    #[test]
    fn every_failure_has_its_code_in_the_help() {
        let text = String::new;
        let help = after_help();
        for (failure, code) in [
            (Failure::Failed(text()), 1),
            (Failure::Usage(text()), 2),
            (Failure::NotFound(text()), 2),
            (Failure::Unchanged(text()), 3),
            (Failure::Waits(text()), 4),
            (Failure::Refused(text()), 2),
            (Failure::NotReady(text()), 5),
            (Failure::Ended(text()), 5),
            (Failure::TimedOut(text()), 6),
            (Failure::Superseded(text()), 7),
            (Failure::NotAllowed(text()), 8),
            (Failure::Unreachable(text()), 9),
        ] {
            assert_eq!(failure.code(), code, "{failure:?}");
            assert!(help.contains(&format!("\n  {code}  ")), "{failure:?}: {help}");
        }
    }
}
