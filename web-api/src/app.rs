//! Wires the server: the only place that refers to every part.

use std::sync::Arc;
use std::time::Duration;

use access::Access;
use anyhow::{Context, bail};
use flow::{Engine, FlowMetrics, FlowTimes, Kinds};
use kube::config::{KubeConfigOptions, Kubeconfig};
use runtime::metrics::Metrics;
use runtime::probes::{self, Readiness};
use runtime::supervise::{Supervisor, terminated};
use store::seal::EnvelopeKey;
use store::{Hints, Keeper, LeaseTimes, Store};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use web_api::{Api, ApiParts, LimitSettings, Tls, router, serve};

use crate::args::Run;

/// Pause between two checks of a database that does not answer.
const DATABASE_AGAIN: Duration = Duration::from_millis(500);
/// Interval between two checks of the database while the server runs.
const DATABASE_CHECK_INTERVAL: Duration = Duration::from_secs(2);
/// Maximum time from the start of the shutdown until the process ends.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(5);
/// Timeout for closing connections to the database.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// Serves until SIGTERM.
pub(crate) async fn run(args: Run) -> anyhow::Result<()> {
    let shutdown = CancellationToken::new();
    let tls = tls(&args)?;
    let key = std::fs::read_to_string(&args.envelope_key_file)
        .with_context(|| format!("reading the envelope key from {}", args.envelope_key_file.display()))?;
    let envelope_key = EnvelopeKey::from_hex(&key)?;
    let store = Store::open(&args.database.database_url, args.database_connections)?;
    let control_store = Store::open(&args.database.database_url, args.control_connections)?;
    let identity = args.identity.clone().unwrap_or_else(|| format!("web-api-{}", uuid::Uuid::new_v4().simple()));
    let listener = TcpListener::bind(args.listen).await.with_context(|| format!("listening on {}", args.listen))?;
    tracing::info!(address = %listener.local_addr()?, tls = tls.is_some(), "the API listens");

    let metrics = Metrics::default();
    let readiness = Readiness::default();
    readiness.not_ready("database", "not reached yet");
    let mut supervisor = Supervisor::new(shutdown.clone());
    supervisor.spawn("signals", on_signal(shutdown.clone()));
    supervisor
        .spawn("probes", probes::serve(args.probes_address, readiness.clone(), metrics.clone(), shutdown.clone()));
    let (hints, exchange) = Hints::new(store.clone(), shutdown.clone());
    supervisor.spawn("hints", exchange);
    let kinds = operations::kinds(&store, &hints);
    let hub = hub_client(&args).await.context("reading how the hub is reached")?;
    let api = Api::start(ApiParts {
        store: store.clone(),
        control_store: control_store.clone(),
        hints: hints.clone(),
        kinds: kinds.clone(),
        access: Access::new(hub.clone()),
        hub,
        envelope_key,
        limits: LimitSettings::default(),
        metrics: metrics.clone(),
        shutdown: shutdown.clone(),
    });
    supervisor.spawn("api", serve(listener, tls, router(api), shutdown.clone()));
    let times = LeaseTimes { lasts: args.lease, renew: args.lease / 5 };
    let flow_metrics = FlowMetrics::new(&metrics);
    let work = Work { store: store.clone(), hints, kinds, flow_metrics, times, identity, has_engine: !args.no_engine };
    supervisor.spawn("work", work.run(readiness, shutdown.clone()));
    let outcome = supervisor.run();
    tokio::pin!(outcome);
    // A database that does not answer must not keep the process alive. Leases expire by themselves.
    let outcome = tokio::select! {
        outcome = &mut outcome => outcome,
        () = patience_after(&shutdown) => {
            tracing::warn!(seconds = SHUTDOWN_TIMEOUT.as_secs(), "work did not end in time; the process ends without it");
            return Ok(());
        }
    };
    let _ = tokio::time::timeout(CLOSE_TIMEOUT, async { tokio::join!(store.close(), control_store.close()) }).await;
    Ok(outcome?)
}

async fn patience_after(shutdown: &CancellationToken) {
    shutdown.cancelled().await;
    tokio::time::sleep(SHUTDOWN_TIMEOUT).await;
}

/// All parts that need the database.
struct Work {
    store: Store,
    hints: Hints,
    kinds: Kinds,
    flow_metrics: FlowMetrics,
    times: LeaseTimes,
    identity: String,
    has_engine: bool,
}

impl Work {
    async fn run(self, readiness: Readiness, shutdown: CancellationToken) -> anyhow::Result<()> {
        // With the database down at start, the process waits, reports the reason in `/readyz`, and continues by itself.
        while let Err(error) = self.store.check().await {
            let why = vocabulary::chain(&error);
            readiness.not_ready("database", why.clone());
            tracing::warn!(why, "waiting for the database");
            tokio::select! { () = shutdown.cancelled() => return Ok(()), () = tokio::time::sleep(DATABASE_AGAIN) => {} }
        }
        readiness.ready("database");
        let keeper = Arc::new(Keeper::start_for(&self.store, self.identity, self.times)?);
        let mut supervisor = Supervisor::new(shutdown);
        let child = supervisor.token();
        if self.has_engine {
            let engine = Engine {
                store: self.store.clone(),
                hints: self.hints,
                keeper: Arc::clone(&keeper),
                kinds: self.kinds,
                metrics: self.flow_metrics,
                times: FlowTimes::default(),
            };
            supervisor.spawn("engine", engine.run(child.clone()));
        }
        supervisor.spawn("database", watch_database(self.store, readiness, child));
        let outcome = supervisor.run().await;
        if let Ok(keeper) = Arc::try_unwrap(keeper) {
            keeper.release().await;
        }
        Ok(outcome?)
    }
}

/// Keeps `/readyz` up to date with the state of the database.
async fn watch_database(
    store: Store,
    readiness: Readiness,
    shutdown: CancellationToken,
) -> Result<(), std::convert::Infallible> {
    loop {
        tokio::select! { () = shutdown.cancelled() => return Ok(()), () = tokio::time::sleep(DATABASE_CHECK_INTERVAL) => {} }
        match store.check().await {
            Ok(()) => readiness.ready("database"),
            Err(error) => readiness.not_ready("database", vocabulary::chain(&error)),
        }
    }
}

async fn on_signal(shutdown: CancellationToken) -> std::io::Result<()> {
    tokio::select! {
        () = shutdown.cancelled() => {}
        outcome = terminated() => {
            outcome?;
            tracing::info!("asked to stop");
            shutdown.cancel();
        }
    }
    Ok(())
}

/// Returns the certificate. Without one, only addresses of this machine are served, unless the user insists.
fn tls(args: &Run) -> anyhow::Result<Option<Tls>> {
    match (&args.tls_cert_file, &args.tls_key_file) {
        (Some(certificate), Some(key)) => Ok(Some(Tls::read(certificate, key)?)),
        _ if args.listen.ip().is_loopback() || args.insecure_http => Ok(None),
        _ => bail!(
            "{} is reached by other machines, and tokens would cross the network unencrypted; give --tls-cert-file and \
             --tls-key-file, or --insecure-http behind a proxy that ends TLS",
            args.listen
        ),
    }
}

async fn hub_client(args: &Run) -> anyhow::Result<Option<kube::Client>> {
    let mut config = match &args.hub_kubeconfig {
        Some(path) => {
            let kubeconfig = Kubeconfig::read_from(path)?;
            kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?
        }
        None if args.hub_in_cluster => kube::Config::incluster()?,
        None => return Ok(None),
    };
    config.default_retry = false;
    Ok(Some(kube::Client::try_from(config)?))
}
