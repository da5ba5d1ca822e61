//! Errors of the client.

use std::time::Duration;

use crate::Problem;

/// Why a client cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The URL is not one of a server.
    #[error("server {url:?}: {why}")]
    Url {
        /// The URL as given.
        url: String,
        /// What is wrong with it, and the remedy.
        why: String,
    },
    /// The token cannot be sent in a header.
    #[error("the token has characters that no token has; does the file hold only the token?")]
    Token,
    /// The CA certificates cannot be read.
    #[error("the CA is not a PEM file with certificates")]
    Ca(#[source] Option<reqwest::Error>),
    /// The TLS configuration cannot be built, for example because the system has no CA certificates.
    #[error("no TLS connection can be made")]
    Tls(#[source] reqwest::Error),
}

/// Why a request did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The server refused the request and said why.
    #[error("{}", refusal(.0))]
    Refused(Box<Problem>),
    /// The server answered with an error that is no [`Problem`], as proxies do.
    #[error("{server} answered {status} to {request}{}", excerpt(.body))]
    Status {
        /// URL of the server.
        server: String,
        /// Method and path.
        request: String,
        /// HTTP status.
        status: u16,
        /// Beginning of the body.
        body: String,
    },
    /// The answer has another form than this client knows.
    #[error("{server} answered {request} in a form that this version does not know: {why}")]
    Form {
        /// URL of the server.
        server: String,
        /// Method and path.
        request: String,
        /// Where the form differs.
        why: String,
    },
    /// The server was not reached, or did not answer, within the deadline.
    #[error("{server} does not answer (tried for {} s): {last}", tried.as_secs())]
    Unreachable {
        /// URL of the server.
        server: String,
        /// Time over all attempts.
        tried: Duration,
        /// Result of the last attempt.
        last: String,
    },
}

impl ClientError {
    /// Returns the problem, where the server sent one.
    pub fn problem(&self) -> Option<&Problem> {
        match self {
            Self::Refused(problem) => Some(problem),
            Self::Status { .. } | Self::Form { .. } | Self::Unreachable { .. } => None,
        }
    }

    /// Returns the HTTP status, where the server sent one.
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Refused(problem) => Some(problem.status),
            Self::Status { status, .. } => Some(*status),
            Self::Form { .. } | Self::Unreachable { .. } => None,
        }
    }
}

/// Formats a problem: detail, the fields, the remedy, and the request's identity.
fn refusal(problem: &Problem) -> String {
    let mut text = if problem.detail.is_empty() { problem.title.clone() } else { problem.detail.clone() };
    for field in &problem.errors {
        text.push_str(&format!("; {}: {}", field.pointer, field.detail));
    }
    if !problem.remedy.is_empty() {
        text.push_str(&format!("; {}", problem.remedy));
    }
    if !problem.request_id.is_empty() {
        text.push_str(&format!(" (request {})", problem.request_id));
    }
    text
}

/// Maximum number of characters shown of a body that is no problem.
const EXCERPT_MAX: usize = 200;

/// Returns the beginning of a body in one line, after a colon. Empty for an empty body.
fn excerpt(body: &str) -> String {
    let line = body.split_whitespace().collect::<Vec<_>>().join(" ");
    if line.is_empty() { line } else { format!(": {}", line.chars().take(EXCERPT_MAX).collect::<String>()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::FieldProblem;

    #[test]
    fn refusals_name_detail_fields_remedy_and_request() {
        let problem = Problem {
            kind: "/problems/invalid".into(),
            title: "The request is not valid".into(),
            status: 422,
            code: "invalid".into(),
            detail: "spec is not valid".into(),
            remedy: "correct the field".into(),
            retryable: false,
            request_id: "r1".into(),
            errors: vec![FieldProblem { pointer: "/spec/cluster".into(), detail: "is empty".into() }],
            holder: None,
        };
        for (case, problem, expected) in [
            ("all", problem.clone(), "spec is not valid; /spec/cluster: is empty; correct the field (request r1)"),
            (
                "only a title",
                Problem {
                    detail: String::new(),
                    remedy: String::new(),
                    request_id: String::new(),
                    errors: vec![],
                    ..problem
                },
                "The request is not valid",
            ),
        ] {
            assert_eq!(ClientError::Refused(Box::new(problem)).to_string(), expected, "{case}");
        }
    }

    #[test]
    fn bodies_of_proxies_are_shown_in_one_short_line() {
        for (case, body, expected) in [("empty", "", ""), ("lines", "<html>\n  bad\n</html>", ": <html> bad </html>")] {
            assert_eq!(excerpt(body), expected, "{case}");
        }
        assert_eq!(excerpt(&"x".repeat(1_000)).len(), EXCERPT_MAX + 2);
    }
}
