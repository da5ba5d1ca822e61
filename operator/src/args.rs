//! Arguments of the operator.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args as ClapArgs, Parser, Subcommand, ValueEnum};

/// Meridian's operator: one controller for many Kubernetes clusters.
#[derive(Debug, Parser)]
#[command(name = "meridian-operator", version)]
pub(crate) struct Args {
    /// Format of log lines.
    #[arg(long, env = "MERIDIAN_LOG_FORMAT", default_value = "json", global = true)]
    pub(crate) log_format: LogFormat,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Format of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// One JSON object for each line.
    Json,
    /// Plain text for people.
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
    /// Run the operator until SIGTERM or Ctrl-C.
    Run(Box<Run>),
    /// Update the database schema to that of this program, then exit.
    Migrate(Database),
    /// Accept a database that was restored from an older state, then exit. Restart all operators afterwards: they bring
    /// members to the state of the database. Until then members keep what they run.
    AcceptDatabase(Database),
}

/// Arguments that every access to the database needs.
#[derive(Debug, Clone, ClapArgs)]
pub(crate) struct Database {
    /// URL of the `PostgreSQL` database.
    #[arg(long, env = "DATABASE_URL", hide_env_values = true)]
    pub(crate) database_url: String,
    /// Maximum number of connections to the database.
    #[arg(long, default_value_t = 16)]
    pub(crate) database_connections: u32,
}

/// Arguments of `run`.
#[derive(Debug, Clone, ClapArgs)]
pub(crate) struct Run {
    #[command(flatten)]
    pub(crate) database: Database,
    /// Kubeconfig of the hub. Without one, the operator uses ~/.kube/config or else the pod's service account.
    #[arg(long, env = "KUBECONFIG")]
    pub(crate) kubeconfig: Option<PathBuf>,
    /// File with the envelope key that seals secrets: 64 hexadecimal digits.
    #[arg(long, env = "MERIDIAN_ENVELOPE_KEY_FILE")]
    pub(crate) envelope_key_file: PathBuf,
    /// Address that serves /healthz, /readyz and /metrics.
    #[arg(long, default_value = "0.0.0.0:8080")]
    pub(crate) probes_address: SocketAddr,
    /// Name of this process, for people who read leases, which show it with a nonce.
    #[arg(long, env = "POD_NAME")]
    pub(crate) identity: Option<String>,
    /// Seconds until a lease expires. The operator renews a lease five times as often.
    #[arg(long, default_value = "5", value_parser = seconds)]
    pub(crate) lease: Duration,
    /// Seconds without a sign of life after which the health of a member is Unknown.
    #[arg(long, default_value = "12", value_parser = seconds)]
    pub(crate) member_silence: Duration,
    /// Seconds that a member which was silent or refused requests must be well before it counts as ready again.
    #[arg(long, default_value = "10", value_parser = seconds)]
    pub(crate) member_recovery: Duration,
    /// Seconds of the sliding window in which deletes are counted. Too many within it wait for a person.
    #[arg(long, default_value = "600", value_parser = seconds)]
    pub(crate) delete_window: Duration,
    /// Seconds between two probes of a member.
    #[arg(long, default_value = "3", value_parser = seconds)]
    pub(crate) member_probe: Duration,
    /// Seconds after which an observation is stale.
    #[arg(long, default_value = "30", value_parser = seconds)]
    pub(crate) stale_after: Duration,
    /// Seconds between two reads of all rows, in case a hint was lost.
    #[arg(long, default_value = "60", value_parser = seconds)]
    pub(crate) look_again: Duration,
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| format!("{text:?} is not a number of seconds"))?;
    if (0.05..=86_400.0).contains(&seconds) {
        Ok(Duration::from_secs_f64(seconds))
    } else {
        Err("between 0.05 and 86400 seconds".to_owned())
    }
}
