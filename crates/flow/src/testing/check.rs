//! Checks what became of an operation: its end, its effects and its journal.

use std::collections::BTreeSet;

use domain::operation::{EffectClass, OnFailure, Run, State, TargetState};
use store::{Store, StoreError};

use super::World;
use crate::verify::verify;

/// Number of journal entries that are read; more than any test writes.
const ENTRIES_MAX: i64 = 10_000;

/// Returns whether a target of this class takes an act twice without harm.
pub(super) const fn permits_repetition(class: EffectClass) -> bool {
    matches!(class, EffectClass::Pure | EffectClass::Absolute | EffectClass::Cas | EffectClass::Tokened)
}

/// Returns whether an effect of this class may take place more than once.
const fn may_repeat(class: EffectClass) -> bool {
    matches!(class, EffectClass::Pure | EffectClass::Absolute)
}

/// Returns what is wrong with the end of an operation and its effects.
pub(super) fn ending(run: &Run, world: &dyn World, expected: Option<State>) -> Vec<String> {
    let mut problems = Vec::new();
    let has_exception = !run.marks.skipped.is_empty();
    let reverts = run.plan.forward.iter().any(|step| step.on_failure == OnFailure::Revert);
    let as_expected = expected.is_none_or(|expected| {
        let with_exception =
            has_exception && expected == State::Succeeded && run.state == State::SucceededWithExceptions;
        run.state == expected || with_exception
    });
    let was_reverted = reverts && run.state == State::Reverted;
    if !as_expected && !was_reverted {
        problems.push(format!("it ended {:?} instead of {expected:?}: {:?}", run.state, run.marks));
    }
    if as_expected && !world.is_goal() {
        problems.push(format!("it ended {:?}, and its goal is not reached", run.state));
    }
    let effects = world.effects();
    let mut known = BTreeSet::new();
    for (key, target) in &run.targets {
        let Some(step) = run.plan.step(&key.step) else { continue };
        let rounds = (0..=target.round).map(|round| run.id.effect_key(&key.step, &key.target, round));
        let counts: Vec<usize> = rounds
            .map(|key| {
                known.insert(key);
                effects.get(&key).copied().unwrap_or(0)
            })
            .collect();
        let is_twice = counts.iter().sum::<usize>() > 1 && !may_repeat(step.class);
        if is_twice {
            problems.push(format!("the effect of {key:?} took place {counts:?} times in its rounds"));
        }
        let is_missing = counts.iter().all(|count| *count == 0) && step.class != EffectClass::Pure;
        if target.state == TargetState::Succeeded && is_missing {
            problems.push(format!("the effect of {key:?} did not take place"));
        }
    }
    problems
        .extend(effects.keys().filter(|key| !known.contains(key)).map(|key| format!("the effect {key} has no target")));
    problems
}

/// Step, target, and number of an attempt.
type AttemptName = (Option<String>, Option<String>, (Option<i32>, Option<i32>));

/// Returns what is wrong with the journal of an operation.
pub(super) async fn faults_of_journal(store: &Store, run: &Run) -> Result<Vec<String>, StoreError> {
    let mut problems = Vec::new();
    if let (_, Some(broken)) = verify(store, run.id).await? {
        problems.push(format!("the chain is broken: {broken:?}"));
    }
    let rows = store.journal_list(run.id, 0, ENTRIES_MAX).await?;
    let numbers = |entry: &str| -> BTreeSet<_> {
        let of = rows.iter().filter(|row| row.entry == entry);
        of.map(|row| (row.step.clone(), row.target.clone(), (row.round, row.attempt))).collect()
    };
    let (intents, outcomes) = (numbers("Intent"), numbers("Outcome"));
    for intent in &intents {
        let is_later = |other: &AttemptName| (&other.0, &other.1) == (&intent.0, &intent.1) && other.2 > intent.2;
        if !outcomes.contains(intent) && !intents.iter().any(is_later) {
            problems.push(format!("the intent {intent:?} has no outcome"));
        }
    }
    Ok(problems)
}
