//! Runs a kind without faults, and then with each fault at each commit and act.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use domain::operation::{Control, PauseReason, Run, State, TargetState, Verb};
use futures::StreamExt;
use futures::future::BoxFuture;
use runtime::crash::Side;
use runtime::metrics::Metrics;
use serde_json::Value;
use store::{Keeper, Store, StoreError};
use vocabulary::OperationId;

use super::World;
use super::check::{ending, faults_of_journal};
use super::fault::{Fault, FaultyKind, Injector};
use super::process::{Process, TIMES, keeper, own_hints};
use crate::control::{ControlRequest, control};
use crate::create::{Request, create};
use crate::engine::lease;
use crate::kind::{Kind, Kinds};
use crate::metrics::FlowMetrics;
use crate::owner::Owner;
use crate::stored::{LoadError, load};

/// Number of connections that all runs share.
const CONNECTIONS: u32 = 16;
/// Maximum duration of one run on a busy machine.
const RUN_MAX: Duration = Duration::from_mins(1);

/// A kind with what it changes, new for each run.
#[derive(Debug, Clone)]
pub struct Setup {
    /// The kind.
    pub kind: Arc<dyn Kind>,
    /// What it changes.
    pub world: Arc<dyn World>,
}

type Factory = dyn Fn(Store) -> BoxFuture<'static, Setup> + Send + Sync;

/// Runs operations of one kind under faults.
pub struct Harness {
    factory: Box<Factory>,
    request: Value,
    concurrency: usize,
}

impl fmt::Debug for Harness {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Harness").field("request", &self.request).finish_non_exhaustive()
    }
}

/// What the harness did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Summary {
    /// Commits of a run without faults.
    pub commits: usize,
    /// Acts of a run without faults.
    pub acts: usize,
    /// Runs with a fault.
    pub faults: usize,
}

/// What the processes of all runs share, so that a run opens no connection.
struct Shared {
    store: Store,
    first: Arc<Keeper>,
    second: Arc<Keeper>,
}

/// One run that ended.
struct Ended {
    run: Run,
    commits: usize,
    acts: usize,
}

impl Harness {
    /// Returns a harness for the kind that the factory makes, with this request.
    pub fn new(factory: impl Fn(Store) -> BoxFuture<'static, Setup> + Send + Sync + 'static, request: Value) -> Self {
        Self { factory: Box::new(factory), request, concurrency: 12 }
    }

    /// Sets how many runs go on at once. Kinds whose runs share rows use 1.
    #[must_use]
    pub fn concurrency(self, concurrency: usize) -> Self {
        Self { concurrency, ..self }
    }

    /// Runs the kind without faults, and then once with each fault.
    ///
    /// # Errors
    /// What went wrong, one line for each run.
    pub async fn run(&self, url: &str) -> Result<Summary, String> {
        let text = |error: StoreError| vocabulary::chain(&error);
        let store = Store::open(url, CONNECTIONS).map_err(text)?;
        let (first, second) = (keeper(url, "first").map_err(text)?, keeper(url, "second").map_err(text)?);
        let shared = Shared { store, first, second };
        let result = self.run_all(&shared).await;
        for keeper in [shared.first, shared.second].into_iter().filter_map(Arc::into_inner) {
            keeper.release().await;
        }
        shared.store.close().await;
        result
    }

    async fn run_all(&self, shared: &Shared) -> Result<Summary, String> {
        let sound = self.run_with(shared, Fault::None, None).await;
        let sound = sound.map_err(|problem| format!("without faults: {problem}"))?;
        let (commits, acts) = (sound.commits, sound.acts);
        let sides = [Side::Before, Side::After];
        let mut faults = vec![Fault::FreezesAtCommit(commits / 2), Fault::FreezesAtCommit(commits.saturating_sub(1))];
        for side in sides {
            faults.extend((0..commits).map(|number| Fault::DiesAtCommit(number, side)));
            faults.extend((0..acts).map(|number| Fault::DiesAtAct(number, side)));
            faults.extend((0..acts).map(|number| Fault::ActUnknown(number, side)));
        }
        faults.extend((0..acts).map(Fault::ActFails));
        let steps = sound.run.plan.forward.iter().chain(&sound.run.plan.revert);
        // Targets of other classes do not promise anything about an act that arrives twice.
        if steps.clone().all(|step| super::check::permits_repetition(step.class)) {
            faults.extend((0..acts).map(Fault::ActRepeated));
        }
        let expected = Some(sound.run.state);
        let runs = faults.iter().map(|fault| async move {
            let ended = self.run_with(shared, *fault, expected).await;
            ended.err().map(|problem| format!("{fault:?}: {problem}"))
        });
        let problems: Vec<Option<String>> =
            futures::stream::iter(runs).buffer_unordered(self.concurrency).collect().await;
        let problems: Vec<String> = problems.into_iter().flatten().collect();
        if problems.is_empty() { Ok(Summary { commits, acts, faults: faults.len() }) } else { Err(problems.join("\n")) }
    }

    /// Runs the kind once: its first owner has the fault, and another process is there to take over.
    async fn run_with(&self, shared: &Shared, fault: Fault, expected: Option<State>) -> Result<Ended, String> {
        let text = |error: StoreError| vocabulary::chain(&error);
        let (store, keeper) = (shared.store.clone(), Arc::clone(&shared.first));
        let setup = (self.factory)(store.clone()).await;
        let (injector, id) = (Injector::new(fault), OperationId::generate());
        // Kinds have names of the program. The few of a test are never freed.
        let name: &'static str = Box::leak(format!("{}-{id}", setup.kind.name()).into_boxed_str());
        let kind_with = |injector: Arc<Injector>| -> Arc<dyn Kind> {
            Arc::new(FaultyKind { name, kind: Arc::clone(&setup.kind), injector })
        };
        let (hints, kind) = (own_hints(&store), kind_with(Arc::clone(&injector)));
        let kinds = Kinds::new([Arc::clone(&kind)]);
        let request = Request {
            id,
            kind: name.to_owned(),
            spec: self.request.clone(),
            actor: "harness".to_owned(),
            reason: "a test".to_owned(),
            starts: true,
            key: None,
        };
        create(&store, &hints, &kinds, request).await.map_err(|error| vocabulary::chain(&error))?;

        let mut terms = keeper.want(&lease(id));
        let claim = terms.begin().await.ok_or("no lease")?;
        injector.holds(Arc::clone(&keeper), lease(id));
        let metrics = FlowMetrics::new(&Metrics::default());
        let owner = Owner { store: store.clone(), hints: hints.clone(), kind, claim, metrics, times: TIMES };
        let (dies, left) = (injector.dies.clone(), Arc::clone(&keeper));
        let first = tokio::spawn(async move {
            let result = tokio::select! {
                result = owner.drive(id) => result,
                () = dies.cancelled() => Ok(()),
            };
            left.leave(&lease(id));
            result
        });
        let kinds = Kinds::new([kind_with(Injector::new(Fault::None))]);
        let heir = Process::over(&shared.store, Arc::clone(&shared.second), kinds);
        let run = person(&heir, id, setup.world.as_ref(), expected).await;
        let first = first.await.map_err(|error| error.to_string());
        let run = run?;
        if injector.was_frozen.load(Ordering::Acquire)
            && !matches!(first, Ok(Err(LoadError::Store(StoreError::Fenced { .. }))))
        {
            return Err(format!("the frozen owner was not refused: {first:?}"));
        }
        let mut problems = faults_of_journal(&store, &run).await.map_err(text)?;
        problems.extend(ending(&run, setup.world.as_ref(), expected));
        heir.end(id).await;
        if let Some(problem) = problems.first() {
            return Err(format!("{problem}; {} problems", problems.len()));
        }
        let count = |count: &std::sync::atomic::AtomicUsize| count.load(Ordering::Acquire);
        Ok(Ended { run, commits: count(&injector.commits), acts: count(&injector.acts) })
    }
}

/// Does what a person would do until the operation is over: starts, approves, confirms, retries, and skips what is there.
async fn person(heir: &Process, id: OperationId, world: &dyn World, expected: Option<State>) -> Result<Run, String> {
    let begun = Instant::now();
    let mut seen = String::new();
    while begun.elapsed() < RUN_MAX {
        let (_, run) = load(&heir.store, id).await.map_err(|error| vocabulary::chain(&error))?;
        if run.state.is_terminal()
            && (run.state != State::Failed || expected.is_none_or(|state| state == State::Failed))
        {
            return Ok(run);
        }
        seen = format!("{:?}, {:?}, {:?}", run.state, run.pause, run.targets);
        for (verb, step, target) in verbs(&run, world) {
            let asked = Control {
                verb,
                step,
                target,
                actor: format!("person-{}", run.marks.approvals.len()),
                reason: Some("a test".to_owned()),
            };
            // A refusal means that the operation is past it.
            let _ =
                control(&heir.store, &heir.hints, &ControlRequest { operation: id, control: asked, key: None }).await;
        }
        // The operation has no event for a test.
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Err(format!("it did not end: {seen}"))
}

fn verbs(run: &Run, world: &dyn World) -> Vec<(Verb, Option<String>, Option<String>)> {
    let plain = |verb| vec![(verb, None, None)];
    match (run.state, run.pause.as_ref().map(|pause| pause.reason)) {
        (State::Pending, _) => plain(Verb::Start),
        (State::AwaitingApproval, _) => plain(Verb::Approve),
        (State::Paused, Some(PauseReason::Confirm)) => plain(Verb::Confirm),
        (State::Paused, Some(PauseReason::Operator)) => plain(Verb::Resume),
        (State::Paused, Some(PauseReason::Indeterminate)) => {
            let lost = run.targets.iter().filter(|(_, target)| target.state == TargetState::Indeterminate);
            let decided = lost.map(|(key, target)| {
                let is_there = world.effects().contains_key(&run.id.effect_key(&key.step, &key.target, target.round));
                let verb = if is_there { Verb::Skip } else { Verb::Retry };
                (verb, Some(key.step.clone()), Some(key.target.clone()))
            });
            decided.take(1).collect()
        }
        (State::Paused | State::Failed, _) => plain(Verb::Retry),
        _ => Vec::new(),
    }
}
