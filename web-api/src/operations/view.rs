//! Operations as answers.

use domain::operation::{Run, State, Step, TargetState};
use jiff::SignedDuration;
use rest::{Operation, OperationLinks, Pause, Progress, StepView, TargetView};
use store::{OperationRow, Store, StoreError, TargetCounts};
use vocabulary::OperationId;

/// Time without a change and without an owner, after which no engine seems to support an operation.
const NO_ENGINE_AFTER: SignedDuration = SignedDuration::from_secs(15);
/// State of operations that no process owns.
const NO_ENGINE: &str = "NoEngine";
/// Maximum number of targets of a step that are shown and not done.
const OPEN_TARGETS_MAX: usize = 200;
/// Maximum number of targets of a step that are shown and done.
const DONE_TARGETS_MAX: usize = 50;

/// Target states from the least to the most advanced.
const ADVANCE: [TargetState; 8] = [
    TargetState::Waiting,
    TargetState::Intended,
    TargetState::Indeterminate,
    TargetState::TimedOut,
    TargetState::Failed,
    TargetState::Cancelled,
    TargetState::Skipped,
    TargetState::Succeeded,
];

/// Returns those of some operations that no process owns although one must.
pub(super) async fn ownerless(store: &Store, rows: &[&OperationRow]) -> Result<Vec<OperationId>, StoreError> {
    let is_active = |row: &OperationRow| State::parse(&row.state).is_some_and(State::is_active);
    let active: Vec<OperationId> = rows.iter().filter(|row| is_active(row)).map(|row| row.id).collect();
    if active.is_empty() { Ok(Vec::new()) } else { store.operation_ownerless(&active, NO_ENGINE_AFTER).await }
}

/// Returns an operation with its steps.
pub(super) fn of_run(row: OperationRow, run: &Run, is_ownerless: bool) -> Operation {
    let steps: Vec<StepView> = run.steps().iter().map(|step| step_view(run, step)).collect();
    let states = run
        .steps()
        .iter()
        .flat_map(|step| step.targets.iter().map(|target| run.target_state(&step.id, target)).collect::<Vec<_>>());
    let mut progress = Progress::default();
    for state in states {
        progress.total += 1;
        match state {
            TargetState::Succeeded | TargetState::Skipped => progress.done += 1,
            TargetState::Failed | TargetState::TimedOut | TargetState::Indeterminate => progress.failed += 1,
            TargetState::Intended => progress.running += 1,
            TargetState::Waiting | TargetState::Cancelled => {}
        }
    }
    Operation { steps, ..of_row(row, progress, is_ownerless) }
}

/// Returns an operation for a list.
pub(super) fn of_counts(row: OperationRow, counts: TargetCounts, is_ownerless: bool) -> Operation {
    let number = |count: i64| usize::try_from(count).unwrap_or(0);
    let progress = Progress {
        total: number(counts.total),
        done: number(counts.done),
        failed: number(counts.failed),
        running: number(counts.running),
    };
    of_row(row, progress, is_ownerless)
}

fn of_row(row: OperationRow, progress: Progress, is_ownerless: bool) -> Operation {
    let state = State::parse(&row.state);
    let itself = format!("{}/operations/{}", rest::PREFIX, row.id);
    Operation {
        id: row.id,
        kind: row.kind,
        subject: row.subject,
        state: if is_ownerless { NO_ENGINE.to_owned() } else { row.state },
        phase: row.phase,
        done: state.is_some_and(State::is_terminal),
        succeeded: matches!(state, Some(State::Succeeded | State::SucceededWithExceptions)),
        pause: row.pause.and_then(|pause| serde_json::from_value::<Pause>(pause).ok()),
        failure: row.marks.get("failure").and_then(|failure| failure.as_str()).map(str::to_owned),
        spec: row.spec,
        created_by: row.actor,
        reason: row.reason,
        create_time: row.created_at,
        start_time: row.started_at,
        end_time: row.ended_at,
        progress,
        steps: Vec::new(),
        journal_seq: row.journal_seq,
        links: OperationLinks { events: format!("{itself}/events"), itself },
    }
}

fn step_view(run: &Run, step: &Step) -> StepView {
    let states = || step.targets.iter().map(|target| run.target_state(&step.id, target));
    let least = ADVANCE.into_iter().find(|state| states().any(|other| other == *state));
    // A step of which some targets were begun is under way.
    let has_begun = states().any(|state| state != TargetState::Waiting);
    let state = match least {
        Some(TargetState::Waiting) if has_begun => TargetState::Intended,
        Some(state) => state,
        None => TargetState::Waiting,
    };
    let is_done =
        |target: &&String| matches!(run.target_state(&step.id, target), TargetState::Succeeded | TargetState::Skipped);
    let open = step.targets.iter().filter(|target| !is_done(target)).take(OPEN_TARGETS_MAX);
    let done = step.targets.iter().filter(is_done).take(DONE_TARGETS_MAX);
    StepView {
        id: step.id.clone(),
        title: step.title.clone(),
        state: state.as_str().to_owned(),
        targets: open.chain(done).map(|target| target_view(run, step, target)).collect(),
    }
}

fn target_view(run: &Run, step: &Step, target: &str) -> TargetView {
    let key = domain::operation::Key { step: step.id.clone(), target: target.to_owned() };
    let known = run.targets.get(&key);
    TargetView {
        target: target.to_owned(),
        state: run.target_state(&step.id, target).as_str().to_owned(),
        round: known.map_or(0, |known| known.round),
        attempt: known.map_or(0, |known| known.attempt),
        message: known.map(|known| known.message.clone()).unwrap_or_default(),
        changed_at: known.map(|known| known.changed_at),
    }
}
