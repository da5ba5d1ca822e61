//! Wires the operator: the only place that refers to every part.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use delivery::{CredentialRenewal, Deliverers, Delivery, DeliveryMetrics, DeliveryTimes, MemberFeeder, Revisions};
use flow::{Engine, FlowMetrics, FlowTimes};
use jiff::SignedDuration;
use kube::config::{KubeConfigOptions, Kubeconfig};
use members::Registry;
use runtime::metrics::Metrics;
use runtime::probes::{self, Readiness};
use runtime::supervise::{Supervisor, terminated};
use schedule::{ScheduleMetrics, ScheduleTimes, Scheduler};
use store::seal::EnvelopeKey;
use store::{Hints, Keeper, LeaseTimes, ParsedRevisions, Store};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::args::{Database, Run};
use crate::intake::IntakeMetrics;
use crate::leader::Leader;

/// Pause between two checks of a database that does not answer.
const DATABASE_AGAIN: Duration = Duration::from_millis(500);

/// Maximum time from the start of the shutdown until the process ends.
const LONGEST_SHUTDOWN: Duration = Duration::from_secs(5);
/// Timeout for closing connections to the database.
const LONGEST_CLOSE: Duration = Duration::from_secs(1);

/// Brings the schema up to date.
pub(crate) async fn migrate(database: &Database) -> anyhow::Result<()> {
    let store = Store::open(&database.database_url, 1)?;
    store.migrate().await?;
    tracing::info!("the database schema is up to date");
    Ok(())
}

/// Raises the store generation above the fences in members.
pub(crate) async fn accept_database(database: &Database) -> anyhow::Result<()> {
    let store = Store::open(&database.database_url, 1)?;
    store.check().await?;
    let generation = store.identity_raise_generation().await?;
    tracing::info!(generation, "the database is in force; restart all operators to bring members to what it says");
    Ok(())
}

/// Runs the operator until SIGTERM.
pub(crate) async fn run(args: Run) -> anyhow::Result<()> {
    let shutdown = CancellationToken::new();
    let key = std::fs::read_to_string(&args.envelope_key_file)
        .with_context(|| format!("reading the envelope key from {}", args.envelope_key_file.display()))?;
    let key = Arc::new(EnvelopeKey::from_hex(&key)?);
    let hub = hub_client(&args).await.context("connecting to the hub")?;
    let store = Store::open(&args.database.database_url, args.database.database_connections)?;
    let identity = args.identity.clone().unwrap_or_else(|| format!("operator-{}", uuid::Uuid::new_v4().simple()));

    let metrics = Metrics::default();
    let readiness = Readiness::default();
    readiness.not_ready("database", "not reached yet");
    let mut supervisor = Supervisor::new(shutdown.clone());
    supervisor.spawn("signals", on_signal(shutdown.clone()));
    supervisor
        .spawn("probes", probes::serve(args.probes_address, readiness.clone(), metrics.clone(), shutdown.clone()));

    let (hints, exchange) = Hints::new(store.clone(), shutdown.clone());
    let registry = Registry::default();
    let revisions = Arc::new(ParsedRevisions::new(store.clone(), Arc::clone(&key)));
    let delivery = Delivery {
        store: store.clone(),
        revisions: Arc::new(Revisions::new(store.clone(), Arc::clone(&revisions))),
        fleet: Arc::default(),
        named: Arc::default(),
        status_writer: Arc::default(),
        readers: Arc::new(Semaphore::new(delivery::READERS)),
        hints: hints.clone(),
        registry: registry.clone(),
        times: DeliveryTimes {
            probe: args.member_probe,
            silence: args.member_silence,
            recovery: args.member_recovery,
            // Fresh facts must not look stale between two heartbeats.
            heartbeat: DeliveryTimes::default().heartbeat.min(args.stale_after / 3),
            ..DeliveryTimes::default()
        },
        metrics: DeliveryMetrics::new(&metrics),
    };
    let leader = Leader {
        hub,
        identity: identity.clone(),
        store: store.clone(),
        key: Arc::clone(&key),
        hints: hints.clone(),
        kinds: operations::kinds(&store, &hints),
        intake_metrics: IntakeMetrics::new(&metrics),
        look_again: args.look_again,
        stale_after: SignedDuration::try_from(args.stale_after)?,
    };
    let scheduler = Scheduler {
        store: store.clone(),
        revisions,
        hints: hints.clone(),
        metrics: ScheduleMetrics::new(&metrics),
        times: ScheduleTimes {
            look_again: args.look_again,
            stale_after: SignedDuration::try_from(args.stale_after)?,
            settle: args.member_silence,
            delete_window: SignedDuration::try_from(args.delete_window)?,
        },
    };
    let credentials = CredentialRenewal {
        store: store.clone(),
        key: Arc::clone(&key),
        hints: hints.clone(),
        registry: registry.clone(),
        look_again: args.look_again,
    };
    let times = LeaseTimes { lasts: args.lease, renew: args.lease / 5 };
    let feeder = MemberFeeder { store: store.clone(), key, hints: hints.clone(), registry };
    let flow = FlowMetrics::new(&metrics);
    let work =
        Work { store: store.clone(), hints, feeder, delivery, scheduler, credentials, leader, flow, times, identity };
    supervisor.spawn("hints", exchange);
    supervisor.spawn("work", work.run(readiness, shutdown.clone()));
    let outcome = supervisor.run();
    tokio::pin!(outcome);
    // A database or hub that does not answer must not keep the process alive. Leases expire by themselves.
    let outcome = tokio::select! {
        outcome = &mut outcome => outcome,
        () = patience_after(&shutdown) => {
            tracing::warn!(seconds = LONGEST_SHUTDOWN.as_secs(), "work did not end in time; the process ends without it");
            return Ok(());
        }
    };
    let _ = tokio::time::timeout(LONGEST_CLOSE, store.close()).await;
    Ok(outcome?)
}

async fn patience_after(shutdown: &CancellationToken) {
    shutdown.cancelled().await;
    tokio::time::sleep(LONGEST_SHUTDOWN).await;
}

/// All parts that need the database.
struct Work {
    store: Store,
    hints: Hints,
    feeder: MemberFeeder,
    delivery: Delivery,
    scheduler: Scheduler,
    credentials: CredentialRenewal,
    leader: Leader,
    flow: FlowMetrics,
    times: LeaseTimes,
    identity: String,
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
        supervisor.spawn("members", self.feeder.run(child.clone()));
        supervisor.spawn("leader", self.leader.run(Arc::clone(&keeper), child.clone()));
        supervisor.spawn("schedule", self.scheduler.run(Arc::clone(&keeper), child.clone()));
        supervisor.spawn("credentials", self.credentials.run(Arc::clone(&keeper), child.clone()));
        supervisor.spawn("status", self.delivery.clone().write_observed(child.clone()));
        let engine = Engine {
            store: self.store.clone(),
            hints: self.hints.clone(),
            keeper: Arc::clone(&keeper),
            kinds: operations::kinds(&self.store, &self.hints),
            metrics: self.flow,
            times: FlowTimes::default(),
        };
        supervisor.spawn("operations", engine.run(child.clone()));
        let deliverers = Deliverers {
            store: self.store.clone(),
            hints: self.hints,
            keeper: Arc::clone(&keeper),
            delivery: self.delivery,
        };
        supervisor.spawn("deliverers", deliverers.run(child.clone()));
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
        tokio::select! { () = shutdown.cancelled() => return Ok(()), () = tokio::time::sleep(Duration::from_secs(2)) => {} }
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

async fn hub_client(args: &Run) -> anyhow::Result<kube::Client> {
    let mut config = match &args.kubeconfig {
        Some(path) => {
            let kubeconfig = Kubeconfig::read_from(path)?;
            kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?
        }
        None => kube::Config::infer().await?,
    };
    // Queues retry work with the newest state. A client that retries by itself would delay them.
    config.default_retry = false;
    Ok(kube::Client::try_from(config)?)
}
