//! Tests of the machine, and the bench on which they run it.

mod random;
mod replay;
mod steps;
mod transitions;
mod verbs;

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use vocabulary::OperationId;

use super::*;

/// A run with a clock and its journal.
struct Bench {
    run: Run,
    now: Timestamp,
    acting: BTreeSet<Key>,
    journal: Vec<Entry>,
}

fn key(step: &str, target: &str) -> Key {
    Key { step: step.to_owned(), target: target.to_owned() }
}

/// A step without conditions: two minutes for each target, all at once, and a failure fails the operation.
fn step(id: &str, targets: &[&str]) -> Step {
    Step {
        id: id.to_owned(),
        act: "set".to_owned(),
        title: format!("Set {id}"),
        class: EffectClass::Absolute,
        needs: Vec::new(),
        when: None,
        targets: targets.iter().map(|target| (*target).to_owned()).collect(),
        max_parallel: 100,
        timeout_seconds: 120,
        retry: Retry::default(),
        on_failure: OnFailure::Fail,
        on_timeout: OnFailure::Fail,
        require: Require::All,
        confirm: false,
        pre: Vec::new(),
        post: Vec::new(),
        params: Value::Null,
    }
}

fn plan(forward: Vec<Step>) -> Plan {
    Plan { forward, revert: Vec::new(), approvals: 0 }
}

fn succeeded() -> Outcome {
    Outcome::Succeeded { message: "there".to_owned() }
}

fn failed() -> Outcome {
    Outcome::Failed { message: "broken".to_owned(), is_retryable: false }
}

fn passing_failure() -> Outcome {
    Outcome::Failed { message: "busy".to_owned(), is_retryable: true }
}

fn indeterminate() -> Outcome {
    Outcome::Indeterminate { message: "no answer".to_owned() }
}

impl Bench {
    /// A run of this plan that is about to take its locks.
    fn new(plan: Plan) -> Self {
        plan.check().unwrap();
        let run = Run {
            id: OperationId::derived("bench"),
            kind: "test".to_owned(),
            actor: "ann".to_owned(),
            plan,
            state: State::AwaitingLocks,
            phase: Phase::Forward,
            pause: None,
            marks: Marks::default(),
            targets: std::collections::BTreeMap::new(),
            version: 1,
        };
        let now = "2026-01-01T00:00:00Z".parse().unwrap();
        Self { run, now, acting: BTreeSet::new(), journal: Vec::new() }
    }

    /// A run of this plan that has its locks and began.
    fn running(plan: Plan) -> Self {
        let mut bench = Self::new(plan);
        bench.take_locks();
        bench
    }

    fn advance(&mut self) {
        let entries = advance(&mut self.run, &self.acting, self.now);
        self.journal.extend(entries);
        let mut again = self.run.clone();
        let more = advance(&mut again, &self.acting, self.now);
        assert!(more.is_empty() && again == self.run, "advance changes nothing the second time: {more:?}");
    }

    fn take_locks(&mut self) {
        assert_eq!(self.run.state, State::AwaitingLocks);
        self.journal.extend(begin(&mut self.run, self.now));
        self.advance();
    }

    /// Ends the present attempt of a target.
    fn end(&mut self, step: &str, target: &str, outcome: Outcome) {
        let key = key(step, target);
        let number = self.run.targets.get(&key).map_or((0, 0), |target| (target.round, target.attempt));
        self.journal.extend(conclude(&mut self.run, &key, number, outcome, self.now));
        self.acting.remove(&key);
        self.advance();
    }

    fn preempt(&mut self) {
        self.journal.extend(preempt(&mut self.run, "drain 7", self.now));
        self.advance();
    }

    fn wait(&mut self, seconds: i64) {
        self.now += SignedDuration::from_secs(seconds);
        self.advance();
    }

    /// Uses a verb with a reason, and lets the owner react.
    fn verb(&mut self, verb: Verb, step: Option<&str>) -> Result<(), ControlRefusal> {
        let asked = Control {
            verb,
            step: step.map(str::to_owned),
            target: None,
            actor: "eve".to_owned(),
            reason: Some("a test".to_owned()),
        };
        self.journal.extend(control(&mut self.run, &asked, self.now)?);
        self.advance();
        Ok(())
    }

    fn state(&self, step: &str, target: &str) -> TargetState {
        self.run.target_state(step, target)
    }

    /// Names of the targets under way, as `step/target`.
    fn under_way(&self) -> Vec<String> {
        self.run.intended().map(|(key, _)| format!("{}/{}", key.step, key.target)).collect()
    }

    fn pause_reason(&self) -> Option<PauseReason> {
        self.run.pause.as_ref().map(|pause| pause.reason)
    }

    fn number(&self, step: &str, target: &str) -> (i32, i32) {
        let target = &self.run.targets[&key(step, target)];
        (target.round, target.attempt)
    }
}
