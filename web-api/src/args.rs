//! Arguments of the server.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use access::{Role, SubjectKind};
use clap::{Args as ClapArgs, Parser, Subcommand, ValueEnum};
use jiff::SignedDuration;
use uuid::Uuid;

/// Meridian's REST API, and the engine of its operations.
#[derive(Debug, Parser)]
#[command(name = "meridian-web-api", version)]
pub(crate) struct Args {
    /// How log lines look.
    #[arg(long, env = "MERIDIAN_LOG_FORMAT", default_value = "json", global = true)]
    pub(crate) log_format: LogFormat,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// One JSON object a line.
    Json,
    /// For people.
    Text,
}

impl From<LogFormat> for runtime::logging::Format {
    fn from(format: LogFormat) -> Self {
        match format {
            LogFormat::Json => Self::Json,
            LogFormat::Text => Self::Text,
        }
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Serve until told to stop.
    Run(Box<Run>),
    /// Manage API tokens in the database, without a server.
    #[command(subcommand)]
    Token(Token),
    /// Manage roles in the database, without a server.
    #[command(subcommand)]
    Role(RoleCommand),
}

/// Where the database is.
#[derive(Debug, Clone, ClapArgs)]
pub(crate) struct Database {
    /// URL of the `PostgreSQL` database.
    #[arg(long, env = "DATABASE_URL", hide_env_values = true)]
    pub(crate) database_url: String,
}

/// Arguments of `run`.
#[derive(Debug, Clone, ClapArgs)]
pub(crate) struct Run {
    #[command(flatten)]
    pub(crate) database: Database,
    /// Most connections for reads, creations and the engine.
    #[arg(long, default_value_t = 16)]
    pub(crate) database_connections: u32,
    /// Connections kept apart for control verbs.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) control_connections: u32,
    /// Address of the API.
    #[arg(long, default_value = "0.0.0.0:8443")]
    pub(crate) listen: SocketAddr,
    /// File with the certificate chain of the server, PEM.
    #[arg(long, env = "MERIDIAN_TLS_CERT_FILE", requires = "tls_key_file")]
    pub(crate) tls_cert_file: Option<PathBuf>,
    /// File with the key of the certificate, PEM.
    #[arg(long, env = "MERIDIAN_TLS_KEY_FILE", requires = "tls_cert_file")]
    pub(crate) tls_key_file: Option<PathBuf>,
    /// Serve without TLS on an address that other machines reach. Tokens are then readable on the network.
    #[arg(long)]
    pub(crate) insecure_http: bool,
    /// File with the envelope key that seals secrets: 64 hexadecimal digits.
    #[arg(long, env = "MERIDIAN_ENVELOPE_KEY_FILE")]
    pub(crate) envelope_key_file: PathBuf,
    /// Kubeconfig of the hub. Its tokens are then accepted, and releases edit Applications there. All else works without.
    #[arg(long)]
    pub(crate) hub_kubeconfig: Option<PathBuf>,
    /// Use the cluster that the server runs in as the hub, as the service account of its pod.
    #[arg(long, conflicts_with = "hub_kubeconfig")]
    pub(crate) hub_in_cluster: bool,
    /// Address of /healthz, /readyz and /metrics.
    #[arg(long, default_value = "0.0.0.0:8081")]
    pub(crate) probes_address: SocketAddr,
    /// Name of this process among several, for people; leases add a nonce to it.
    #[arg(long, env = "POD_NAME")]
    pub(crate) identity: Option<String>,
    /// Seconds a lease lasts; renewed five times as often.
    #[arg(long, default_value = "5", value_parser = seconds)]
    pub(crate) lease: Duration,
    /// Serve the API only, and leave operations to other processes.
    #[arg(long)]
    pub(crate) no_engine: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Token {
    /// Create a token and print it once.
    Create(CreateToken),
    /// List all tokens, without their secrets.
    List(Database),
    /// Revoke a token. Servers refuse it after at most ten seconds.
    Revoke {
        #[command(flatten)]
        database: Database,
        /// Id of the token, as `token list` shows it.
        id: Uuid,
    },
}

/// Arguments of `token create`.
#[derive(Debug, Clone, ClapArgs)]
pub(crate) struct CreateToken {
    #[command(flatten)]
    pub(crate) database: Database,
    /// Write to the database directly, which everybody with its URL may.
    #[arg(long, required = true)]
    pub(crate) bootstrap: bool,
    /// What the token is for.
    #[arg(long)]
    pub(crate) name: String,
    /// Whom the token belongs to: `person/ann` or `token/ci`. A machine of the token's name when left out.
    #[arg(long, value_parser = token_subject)]
    pub(crate) subject: Option<NamedSubject>,
    /// Role that the subject gets, besides those it has.
    #[arg(long, value_parser = role)]
    pub(crate) role: Option<Role>,
    /// Namespace in which the role counts; all when left out.
    #[arg(long, requires = "role")]
    pub(crate) namespace: Option<String>,
    /// Role that limits the token to its rights; may be repeated.
    #[arg(long, value_parser = role)]
    pub(crate) scope: Vec<Role>,
    /// Life of the token: `30m`, `24h`, `90d`.
    #[arg(long, default_value = "24h", value_parser = life)]
    pub(crate) expires: SignedDuration,
}

#[derive(Debug, Subcommand)]
pub(crate) enum RoleCommand {
    /// Give a role to a subject.
    Bind {
        #[command(flatten)]
        database: Database,
        /// The subject: `person/ann`, `token/ci`, `group/sre`, `serviceAccount/NAMESPACE/NAME`, `hubUser/NAME`.
        #[arg(long, value_parser = subject)]
        subject: NamedSubject,
        /// The role: viewer, deployer, operator, approver or admin.
        #[arg(long, value_parser = role)]
        role: Role,
        /// Namespace in which the role counts; all when left out.
        #[arg(long)]
        namespace: Option<String>,
    },
    /// List all bindings.
    List(Database),
    /// Take a role away.
    Unbind {
        #[command(flatten)]
        database: Database,
        /// Id of the binding, as `role list` shows it.
        id: Uuid,
    },
}

/// Kind and name of a subject.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NamedSubject {
    pub(crate) kind: SubjectKind,
    pub(crate) name: String,
}

fn subject(text: &str) -> Result<NamedSubject, String> {
    let kinds: Vec<&str> = SubjectKind::all().map(SubjectKind::as_str).collect();
    let refuse = || format!("{text:?} is no subject: KIND/NAME, with a kind of {}", kinds.join(", "));
    let (kind, name) = text.split_once('/').filter(|(_, name)| !name.is_empty()).ok_or_else(refuse)?;
    Ok(NamedSubject { kind: SubjectKind::parse(kind).ok_or_else(refuse)?, name: name.to_owned() })
}

fn token_subject(text: &str) -> Result<NamedSubject, String> {
    let subject = subject(text)?;
    match subject.kind {
        SubjectKind::Person | SubjectKind::Token => Ok(subject),
        SubjectKind::Group | SubjectKind::ServiceAccount | SubjectKind::HubUser => {
            Err("tokens belong to a person or a token subject; the hub makes the others".to_owned())
        }
    }
}

fn role(text: &str) -> Result<Role, String> {
    let all: Vec<&str> = Role::all().map(Role::as_str).collect();
    Role::parse(text).ok_or_else(|| format!("{text:?} is no role: {}", all.join(", ")))
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| format!("{text:?} is not a number of seconds"))?;
    if (0.05..=86_400.0).contains(&seconds) {
        Ok(Duration::from_secs_f64(seconds))
    } else {
        Err("between 0.05 and 86400 seconds".to_owned())
    }
}

/// Parses the life of a token: a number with `m`, `h` or `d`, at most 400 days.
fn life(text: &str) -> Result<SignedDuration, String> {
    let refuse = || format!("{text:?} is no life of a token: 30m, 24h, 90d, at most 400d");
    let (number, unit) = text.split_at_checked(text.len().saturating_sub(1)).ok_or_else(refuse)?;
    let number: i64 = number.parse().map_err(|_| refuse())?;
    let seconds = match unit {
        "m" => Some(60),
        "h" => Some(3_600),
        "d" => Some(86_400),
        _ => None,
    };
    let seconds = seconds.and_then(|unit| number.checked_mul(unit)).ok_or_else(refuse)?;
    if (1..=400 * 86_400).contains(&seconds) { Ok(SignedDuration::from_secs(seconds)) } else { Err(refuse()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn life_and_subject_are_parsed() {
        for (text, seconds) in [("30m", Some(1_800)), ("24h", Some(86_400)), ("90d", Some(7_776_000))] {
            assert_eq!(life(text).ok().map(|life| life.as_secs()), seconds, "{text}");
        }
        for text in ["", "0h", "-1h", "401d", "24", "h", "1é", "99999999999999999999d"] {
            assert!(life(text).is_err(), "{text}");
        }
        let account = subject("serviceAccount/ci/deploy").unwrap();
        assert_eq!((account.kind, account.name.as_str()), (SubjectKind::ServiceAccount, "ci/deploy"));
        assert!(subject("ann").is_err() && subject("person/").is_err() && token_subject("group/sre").is_err());
    }
}
