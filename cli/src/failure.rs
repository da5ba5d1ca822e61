//! How a command ends when it does not succeed, and the exit code that says so.

use std::process::ExitCode;

use vocabulary::chain;

/// Printed in `--help`: pipelines branch on these numbers.
pub(crate) const EXIT_CODES: &str = "\
Exit codes:
  0  done, or the goal is reached
  1  failed
  2  wrong usage, or input that is not valid
  3  the time given with --timeout or --wait is over; what was started goes on
  4  a person has to confirm first; the command that does it is printed
  5  not found, not allowed, or refused

Environment:
  KUBECONFIG                kubeconfig of the hub, unless --hub-kubeconfig is given
  MERIDIAN_HUB_KUBECONFIG   the same, for meridian alone
  NO_COLOR                  no colours, like --no-color";

/// Why a command did not reach its goal. Messages name the field and the remedy.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// An error of the machinery, or a goal that turned out to be unreachable.
    #[error("{0}")]
    Failed(String),
    /// The command line or an input file is wrong.
    #[error("{0}")]
    Usage(String),
    /// We stopped waiting; nothing was cancelled.
    #[error("{0}")]
    TimedOut(String),
    /// Nothing more happens until a person confirms; names the command.
    #[error("{0}")]
    Waits(String),
    /// No such object.
    #[error("{0}")]
    NotFound(String),
    /// The hub, the member or a rule of ours says no.
    #[error("{0}")]
    Refused(String),
}

impl Failure {
    /// The exit code of the process.
    pub(crate) fn exit_code(&self) -> ExitCode {
        ExitCode::from(self.code())
    }

    fn code(&self) -> u8 {
        match self {
            Self::Failed(_) => 1,
            Self::Usage(_) => 2,
            Self::TimedOut(_) => 3,
            Self::Waits(_) => 4,
            Self::NotFound(_) | Self::Refused(_) => 5,
        }
    }

    /// From an answer of the hub. `what` names what was tried, such as `cluster north`.
    pub(crate) fn hub(what: &str, error: &kube::Error) -> Self {
        match error {
            kube::Error::Api(status) => {
                let message = format!("{what}: {}", status.message);
                match status.code {
                    400 | 422 => Self::Usage(message),
                    404 if ["could not find the requested resource", "404 page not found"]
                        .iter()
                        .any(|text| status.message.contains(text)) =>
                    {
                        Self::Failed(format!(
                            "{what}: the hub does not know this kind; is this the hub, and are Meridian's CRDs installed there?"
                        ))
                    }
                    401 | 403 | 409 => Self::Refused(message),
                    404 => Self::NotFound(message),
                    _ => Self::Failed(message),
                }
            }
            other => Self::Failed(format!(
                "{what}: the hub does not answer: {}; check --hub-kubeconfig and --hub-context",
                chain(other)
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kube::core::Status;

    fn api(code: u16, message: &str) -> kube::Error {
        kube::Error::Api(Box::new(Status { code, message: message.to_owned(), ..Status::failure(message, "") }))
    }

    #[test]
    fn the_hubs_answers_have_exit_codes_of_their_own() {
        for (status, message, code) in [
            (400, "unknown field \"spec.replica\"", 2),
            (422, "spec.replicas: must be at least 0", 2),
            (403, "clusters is forbidden", 5),
            (404, "clusters \"x\" not found", 5),
            (404, "the server could not find the requested resource", 1),
            (409, "conflict", 5),
            (500, "etcdserver: no leader", 1),
        ] {
            let failure = Failure::hub("cluster x", &api(status, message));
            assert_eq!(failure.code(), code, "{failure}");
            assert!(failure.to_string().starts_with("cluster x: "), "{failure}");
        }
    }

    #[test]
    fn every_exit_code_is_documented() {
        for failure in [
            Failure::Failed(String::new()),
            Failure::Usage(String::new()),
            Failure::TimedOut(String::new()),
            Failure::Waits(String::new()),
            Failure::NotFound(String::new()),
            Failure::Refused(String::new()),
        ] {
            assert!(EXIT_CODES.contains(&format!("\n  {}  ", failure.code())), "{failure:?}");
        }
    }
}
