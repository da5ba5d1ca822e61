//! Arguments of the operator.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args as ClapArgs, Parser, Subcommand, ValueEnum};

/// Meridian's operator: one controller for many Kubernetes clusters.
#[derive(Debug, Parser)]
#[command(name = "meridian-operator", version)]
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
    /// Run until told to stop.
    Run(Box<Run>),
    /// Bring the database schema up to this version, then end.
    Migrate(Database),
    /// After the database was restored from an older state: bring members to what it says now, then end. Members keep what
    /// they run until then. Restart all operators afterwards.
    AcceptDatabase(Database),
}

/// Where the database is.
#[derive(Debug, Clone, ClapArgs)]
pub(crate) struct Database {
    /// URL of the `PostgreSQL` database.
    #[arg(long, env = "DATABASE_URL", hide_env_values = true)]
    pub(crate) database_url: String,
    /// Most connections at once.
    #[arg(long, default_value_t = 16)]
    pub(crate) database_connections: u32,
}

/// Arguments of `run`.
#[derive(Debug, Clone, ClapArgs)]
pub(crate) struct Run {
    #[command(flatten)]
    pub(crate) database: Database,
    /// Kubeconfig of the hub; the pod's own service account when left out and none is found.
    #[arg(long, env = "KUBECONFIG")]
    pub(crate) kubeconfig: Option<PathBuf>,
    /// File with the envelope key that seals secrets: 64 hexadecimal digits.
    #[arg(long, env = "MERIDIAN_ENVELOPE_KEY_FILE")]
    pub(crate) envelope_key_file: PathBuf,
    /// Address of /healthz, /readyz and /metrics.
    #[arg(long, default_value = "0.0.0.0:8080")]
    pub(crate) probes_address: SocketAddr,
    /// Name of this process among several, for people; leases add a nonce to it.
    #[arg(long, env = "POD_NAME")]
    pub(crate) identity: Option<String>,
    /// Seconds a lease lasts; renewed five times as often.
    #[arg(long, default_value = "5", value_parser = seconds)]
    pub(crate) lease: Duration,
    /// Seconds without a sign of life after which a member is Unknown.
    #[arg(long, default_value = "12", value_parser = seconds)]
    pub(crate) member_silence: Duration,
    /// Seconds a member that was silent or refused us must be well without a break until it counts as ready again.
    #[arg(long, default_value = "10", value_parser = seconds)]
    pub(crate) member_recovery: Duration,
    /// Seconds of the sliding window in which deletes are counted; too many at once wait for a person.
    #[arg(long, default_value = "600", value_parser = seconds)]
    pub(crate) delete_window: Duration,
    /// Seconds between two looks at a member.
    #[arg(long, default_value = "3", value_parser = seconds)]
    pub(crate) member_probe: Duration,
    /// Seconds after which facts are stale.
    #[arg(long, default_value = "30", value_parser = seconds)]
    pub(crate) stale_after: Duration,
    /// Seconds between two looks at everything, in case a hint was lost.
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
