//! Drives one operation under its claim: advances the machine, stores its changes, runs its attempts.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use domain::operation::{Entry, Key, Run, State, TargetRun, TargetState, advance, next_wake, take_over};
use jiff::Timestamp;
use serde_json::Value;
use store::{Claim, Hint, Hints, LockChange, OperationCommitted, Store, StoreError};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{broadcast, mpsc, watch};
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;
use vocabulary::OperationId;

use crate::attempt::{AttemptTask, Report};
use crate::control::locks_of;
use crate::kind::{Attempt, Kind};
use crate::metrics::FlowMetrics;
use crate::news::News;
use crate::stage::Stage;
use crate::stored::{LoadError, change, load};
use crate::times::FlowTimes;

/// Maximum number of reports that wait for the owner.
const REPORTS: usize = 1_024;

/// The owner of one operation.
#[derive(Debug)]
pub(crate) struct Owner {
    pub(crate) store: Store,
    pub(crate) hints: Hints,
    pub(crate) kind: Arc<dyn Kind>,
    pub(crate) claim: Claim,
    pub(crate) metrics: FlowMetrics,
    pub(crate) times: FlowTimes,
}

/// A running attempt. Dropping it ends it.
struct Running {
    /// Round and number of the attempt.
    number: (i32, i32),
    stage: Stage,
    /// A person said that the step's checks need not pass.
    is_forced: Arc<AtomicBool>,
    _task: AbortOnDropHandle<()>,
}

/// Meaning of a hint for the owner.
enum Heard {
    /// The operation may have changed.
    Changed,
    /// Another operation changed.
    Other,
    /// There are no more hints.
    Closed,
}

/// Channels between the owner and its attempts.
#[derive(Clone, Copy)]
struct Channels<'a> {
    reports: &'a mpsc::Sender<Report>,
    wakes: &'a watch::Receiver<u64>,
}

impl Owner {
    /// Drives the operation until it needs no owner.
    ///
    /// # Errors
    /// [`LoadError`]; the next owner of the operation continues from what is stored.
    pub(crate) async fn drive(self, id: OperationId) -> Result<(), LoadError> {
        let mut hints = self.hints.subscribe();
        let (row, mut run) = load(&self.store, id).await?;
        let spec = row.spec;
        let (sender, mut reports) = mpsc::channel(REPORTS);
        let (wake, wakes) = watch::channel(0_u64);
        let mut running: HashMap<Key, Running> = HashMap::new();
        // Intents that this owner stored, for which it has not acted yet.
        let mut intents: HashSet<(Key, (i32, i32))> = HashSet::new();
        let mut news = News::default();
        let mut progress_due = Instant::now();
        let mut takes_over = run.state == State::Running;
        loop {
            let now = Timestamp::now();
            let acting = stop_what_must_not_go_on(&run, &mut running, now);
            let mut next = run.clone();
            if takes_over {
                take_over(&mut next, now);
            }
            let with_progress = progress_due <= Instant::now();
            let mut entries = news.apply(&mut next, with_progress, now);
            let has_progress = with_progress || !entries.is_empty();
            entries.extend(advance(&mut next, &acting, now));
            if next != run || !entries.is_empty() {
                match self.commit(&run, &next, entries, locks_of(&next)).await? {
                    OperationCommitted::Written(version) => {
                        progress_due = Instant::now() + self.times.progress_interval;
                        next.version = version;
                        intents.extend(new_intents(&run, &next));
                        run = next;
                    }
                    // A person's verb or a preemption came between: it counts, and what was observed is applied to it.
                    OperationCommitted::Outdated | OperationCommitted::Locked(_) => {
                        (_, run) = load(&self.store, id).await?;
                        continue;
                    }
                }
            }
            takes_over = false;
            // Everything is applied, or was about attempts that had ended: nothing of it is left for later ones.
            for (key, number, _) in news.outcomes.drain(..) {
                if running.get(&key).is_some_and(|attempt| attempt.number == number) {
                    running.remove(&key);
                }
            }
            news.checks.clear();
            if has_progress {
                news.progress.clear();
            }
            if !run.state.is_active() {
                return Ok(());
            }
            if run.state == State::AwaitingLocks && self.take_locks(&mut run).await? {
                continue;
            }
            let channels = Channels { reports: &sender, wakes: &wakes };
            self.begin_attempts(&run, &spec, &mut running, &mut intents, channels);
            let due = next_wake(&run, now).map_or(self.times.look_again, |at| {
                Duration::try_from(at.duration_since(Timestamp::now())).unwrap_or(Duration::ZERO)
            });
            let due = if news.progress.is_empty() {
                due
            } else {
                due.min(progress_due.saturating_duration_since(Instant::now()))
            };
            tokio::select! {
                report = reports.recv() => {
                    // The owner holds a sender, so the channel does not close.
                    if let Some(report) = report { news.take(report)?; }
                    while let Ok(report) = reports.try_recv() { news.take(report)?; }
                }
                () = tokio::time::sleep(due.min(self.times.look_again)), if !news.is_urgent() => {
                    run = self.reread(run).await?;
                }
                heard = self.listen(&mut hints, &wake, &run) => match heard {
                    Heard::Changed => run = self.reread(run).await?,
                    // Another operation may have given locks back.
                    Heard::Other => {}
                    Heard::Closed => return Ok(()),
                },
            }
        }
    }

    /// Listens until a hint is about the operation itself. Wakes attempts meanwhile.
    ///
    /// # Cancel safety
    /// No hint is lost: an attempt is woken before the next hint is received.
    async fn listen(&self, hints: &mut broadcast::Receiver<Arc<Hint>>, wake: &watch::Sender<u64>, run: &Run) -> Heard {
        loop {
            match hints.recv().await.as_deref() {
                Ok(Hint::Operation(other)) if *other == run.id => return Heard::Changed,
                Ok(Hint::Operation(_)) if run.state == State::AwaitingLocks => return Heard::Other,
                Ok(hint) if self.kind.is_woken_by(hint, &run.plan) => wake.send_modify(|count| *count += 1),
                Ok(_) => {}
                Err(RecvError::Lagged(_)) => {
                    wake.send_modify(|count| *count += 1);
                    return Heard::Changed;
                }
                Err(RecvError::Closed) => return Heard::Closed,
            }
        }
    }

    /// Reads the operation again if it changed.
    async fn reread(&self, run: Run) -> Result<Run, LoadError> {
        let row = self.store.operation_get(run.id).await?.ok_or(LoadError::NotFound(run.id))?;
        if row.version == run.version { Ok(run) } else { Ok(load(&self.store, run.id).await?.1) }
    }

    pub(crate) async fn commit(
        &self,
        before: &Run,
        after: &Run,
        entries: Vec<Entry>,
        locks: LockChange,
    ) -> Result<OperationCommitted, StoreError> {
        let change = change(before, after, entries, locks);
        #[cfg(feature = "testing")]
        self.reach_hook(runtime::crash::Side::Before).await;
        let committed = self.store.operation_commit(Some(&self.claim), before.id, before.version, &change).await?;
        #[cfg(feature = "testing")]
        self.reach_hook(runtime::crash::Side::After).await;
        if matches!(committed, OperationCommitted::Written(_)) {
            self.metrics.commits.inc();
            if before.state != after.state {
                tracing::info!(operation = %before.id, from = before.state.as_str(), to = after.state.as_str(), "operation changed its state");
            }
            self.hints.send(Hint::Operation(before.id));
        }
        Ok(committed)
    }

    #[cfg(feature = "testing")]
    async fn reach_hook(&self, side: runtime::crash::Side) {
        if let Some(hook) = self.kind.commit_hook() {
            hook.reached(side).await;
        }
    }

    /// Starts a task for each target whose intent is stored and that has none.
    fn begin_attempts(
        &self,
        run: &Run,
        spec: &Value,
        running: &mut HashMap<Key, Running>,
        intents: &mut HashSet<(Key, (i32, i32))>,
        channels: Channels<'_>,
    ) {
        if run.state != State::Running {
            return;
        }
        for (key, target) in run.intended() {
            let number = (target.round, target.attempt);
            let is_forced = run.marks.forced.contains(&key.step);
            if let Some(running) = running.get(key).filter(|running| running.number == number) {
                running.is_forced.store(is_forced, Ordering::Release);
                continue;
            }
            let is_forced = Arc::new(AtomicBool::new(is_forced));
            let Some(step) = run.plan.step(&key.step) else { continue };
            let stage = Stage::default();
            let task = AttemptTask {
                kind: Arc::clone(&self.kind),
                attempt: Attempt {
                    operation: run.id,
                    actor: run.actor.clone(),
                    spec: spec.clone(),
                    step: step.clone(),
                    target: key.target.clone(),
                    key: run.id.effect_key(&key.step, &key.target, target.round),
                    claim: self.claim.clone(),
                },
                number,
                is_recovered: !intents.remove(&(key.clone(), number)),
                is_forced: Arc::clone(&is_forced),
                has_passed_pre: false,
                stage: stage.clone(),
                reports: channels.reports.clone(),
                wakes: channels.wakes.clone(),
                times: self.times,
            };
            self.metrics.attempts.inc();
            let task = AbortOnDropHandle::new(tokio::spawn(task.run()));
            running.insert(key.clone(), Running { number, stage, is_forced, _task: task });
        }
    }
}

/// Ends attempts that must not go on, and returns those that act at this moment and cannot be ended.
fn stop_what_must_not_go_on(run: &Run, running: &mut HashMap<Key, Running>, now: Timestamp) -> BTreeSet<Key> {
    let mut acting = BTreeSet::new();
    running.retain(|key, attempt| {
        let goes_on = run.state == State::Running
            && run.targets.get(key).is_some_and(|target| is_under_way(target, attempt.number, now));
        let acts = if goes_on { attempt.stage.is_acting() } else { attempt.stage.stop() };
        if acts {
            acting.insert(key.clone());
        }
        goes_on || acts
    });
    acting
}

fn is_under_way(target: &TargetRun, number: (i32, i32), now: Timestamp) -> bool {
    target.state == TargetState::Intended
        && (target.round, target.attempt) == number
        && target.deadline.is_none_or(|deadline| deadline > now)
}

fn new_intents<'a>(before: &'a Run, after: &'a Run) -> impl Iterator<Item = (Key, (i32, i32))> + 'a {
    let number = |target: &TargetRun| (target.round, target.attempt);
    let is_new = move |key: &Key, target: &TargetRun| {
        let known = before.targets.get(key);
        known.is_none_or(|known| known.state != TargetState::Intended || number(known) != number(target))
    };
    after
        .intended()
        .filter(move |(key, target)| is_new(key, target))
        .map(move |(key, target)| (key.clone(), number(target)))
}
