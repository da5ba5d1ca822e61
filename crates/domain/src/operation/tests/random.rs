//! Random plans, outcomes, verbs, preemptions and clock steps.

use std::collections::{BTreeMap, HashSet};

use proptest::prelude::*;

use super::replay::replay;
use super::*;

/// What happens next; numbers choose among what is possible.
#[derive(Debug, Clone)]
enum Event {
    /// A target under way begins to act.
    Acts(usize),
    /// An act ends, and its effect is not observed yet.
    Acted(usize),
    /// An attempt ends.
    Ends(usize, Outcome),
    /// A person uses a verb.
    Verb(usize, usize, bool),
    Preempted,
    LocksFree,
    Seconds(i64),
}

fn reaction() -> impl Strategy<Value = OnFailure> {
    prop_oneof![Just(OnFailure::Fail), Just(OnFailure::Pause), Just(OnFailure::Continue), Just(OnFailure::Revert)]
}

fn class() -> impl Strategy<Value = EffectClass> {
    prop_oneof![
        Just(EffectClass::Absolute),
        Just(EffectClass::Tokened),
        Just(EffectClass::Probe),
        Just(EffectClass::Opaque)
    ]
}

prop_compose! {
    fn any_step()(
        targets in 1_usize..4,
        class in class(),
        needs in prop::collection::vec(0_usize..4, 0..2),
        when in prop::option::weighted(0.3, (0_usize..4, any::<bool>())),
        max_parallel in 1_usize..3,
        retry in (0_i32..2, 0_u32..30),
        reactions in (reaction(), reaction()),
        percent in prop::option::weighted(0.3, 0_u8..=100),
        confirm in prop::bool::weighted(0.15),
    ) -> Unnamed {
        let mut step = step("", &["x", "y", "z"][..targets]);
        let reactions = if class == EffectClass::Opaque { (OnFailure::Pause, OnFailure::Pause) } else { reactions };
        (step.class, step.max_parallel, step.confirm) = (class, max_parallel, confirm);
        (step.on_failure, step.on_timeout) = reactions;
        step.retry = Retry { max: retry.0, backoff_seconds: retry.1 };
        step.require = percent.map_or(Require::All, Require::Percent);
        (step, needs, when)
    }
}

/// A step without a name, the places of those it needs, and the condition on another one.
type Unnamed = (Step, Vec<usize>, Option<(usize, bool)>);

/// Names the steps, and lets them need earlier ones only.
fn named(prefix: &str, steps: Vec<Unnamed>) -> Vec<Step> {
    let id = |index: usize| format!("{prefix}{index}");
    let of = |(index, (mut step, needs, when)): (usize, Unnamed)| {
        step.id = id(index);
        step.needs = needs.into_iter().filter(|need| *need < index).map(id).collect();
        step.when = when
            .filter(|(other, _)| *other < index)
            .map(|(other, succeeded)| if succeeded { When::Succeeded(id(other)) } else { When::Failed(id(other)) });
        step
    };
    steps.into_iter().enumerate().map(of).collect()
}

prop_compose! {
    fn any_plan()(
        forward in prop::collection::vec(any_step(), 1..5),
        revert in prop::collection::vec(any_step(), 0..3),
    ) -> Plan {
        Plan { forward: named("f", forward), revert: named("r", revert), approvals: 0 }
    }
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        3 => any::<usize>().prop_map(Event::Acts),
        2 => any::<usize>().prop_map(Event::Acted),
        6 => any::<usize>().prop_map(|index| Event::Ends(index, succeeded())),
        2 => any::<usize>().prop_map(|index| Event::Ends(index, failed())),
        2 => any::<usize>().prop_map(|index| Event::Ends(index, passing_failure())),
        1 => any::<usize>().prop_map(|index| Event::Ends(index, indeterminate())),
        4 => (0_usize..11, any::<usize>(), any::<bool>()).prop_map(|(verb, step, named)| Event::Verb(verb, step, named)),
        1 => Just(Event::Preempted),
        5 => Just(Event::LocksFree),
        2 => (0_i64..150).prop_map(Event::Seconds),
    ]
}

/// The bench with the invariants of its run.
struct Watched {
    bench: Bench,
    checked: usize,
    numbers: HashSet<(Key, (i32, i32), &'static str)>,
}

impl Watched {
    fn apply(&mut self, event: Event) {
        let before = self.bench.run.clone();
        let bench = &mut self.bench;
        let under_way: Vec<Key> = bench.run.intended().map(|(key, _)| key.clone()).collect();
        let chosen = |index: usize| (!under_way.is_empty()).then(|| under_way[index % under_way.len()].clone());
        match event {
            Event::Acts(index) if bench.run.state == State::Running => bench.acting.extend(chosen(index)),
            Event::Acted(index) => {
                let acting: Vec<Key> = bench.acting.iter().cloned().collect();
                if !acting.is_empty() {
                    bench.acting.remove(&acting[index % acting.len()]);
                    bench.advance();
                }
            }
            Event::Ends(index, outcome) => {
                // Only running operations and acts under way have attempts.
                let key = chosen(index).filter(|key| bench.run.state == State::Running || bench.acting.contains(key));
                if let Some(key) = key {
                    bench.end(&key.step, &key.target, outcome);
                }
            }
            Event::Verb(verb, index, is_named) => {
                let steps = bench.run.steps();
                let step = is_named.then(|| steps[index % steps.len()].id.clone());
                let verb = Verb::all().nth(verb).unwrap();
                // A refusal changes nothing, which `control` itself guarantees.
                let _ = bench.verb(verb, step.as_deref());
            }
            Event::Preempted => bench.preempt(),
            Event::LocksFree if bench.run.state == State::AwaitingLocks => bench.take_locks(),
            Event::Acts(_) | Event::LocksFree => {}
            Event::Seconds(seconds) => bench.wait(seconds),
        }
        self.check(&before);
    }

    fn check(&mut self, before: &Run) {
        let (run, now) = (&self.bench.run, self.bench.now);
        for step in run.steps() {
            let states: Vec<TargetState> =
                step.targets.iter().map(|target| run.target_state(&step.id, target)).collect();
            let intended = states.iter().filter(|state| **state == TargetState::Intended).count();
            assert!(intended <= step.max_parallel, "{intended} targets of {} at once", step.id);
        }
        for entry in &self.bench.journal[self.checked..] {
            let (Some(key), true) = (&entry.key, matches!(entry.kind, EntryKind::Intent | EntryKind::Outcome)) else {
                continue;
            };
            let number = entry.attempt.unwrap();
            let is_new = self.numbers.insert((key.clone(), number, entry.kind.as_str()));
            assert!(is_new, "{} of {key:?} {number:?} twice", entry.kind.as_str());
            if entry.kind == EntryKind::Intent {
                let step = run.plan.step(&key.step).unwrap();
                for need in &step.needs {
                    let need = run.plan.step(need).unwrap();
                    let is_open = |target: &String| {
                        let state = before.target_state(&need.id, target).is_settled()
                            || run.target_state(&need.id, target).is_settled();
                        !state || run.target_state(&need.id, target) == TargetState::Indeterminate
                    };
                    assert!(!need.targets.iter().any(is_open), "{} began before {}", step.id, need.id);
                }
            }
        }
        self.checked = self.bench.journal.len();
        if run.state.is_terminal() {
            let open = run.targets.values().filter(|target| target.state == TargetState::Intended).count();
            assert_eq!(open, 0, "{:?} with targets under way", run.state);
        }
        if run.state == State::Running {
            let is_woken = run.intended().next().is_some() || next_wake(run, now).is_some();
            assert!(is_woken, "nothing will end this state: {run:?}");
        }
        if matches!(run.state, State::Pausing | State::Cancelling | State::Failing) {
            assert!(!self.bench.acting.is_empty(), "{:?} waits for nothing", run.state);
        }
        let (state, targets) = replay(&self.bench.journal);
        let expected: BTreeMap<Key, TargetState> =
            run.targets.iter().map(|(key, target)| (key.clone(), target.state)).collect();
        assert_eq!(state.unwrap_or(State::AwaitingLocks), run.state);
        assert_eq!(targets, expected);
    }

    /// Lets everything succeed until a person is needed, or the operation is over.
    fn settle(&mut self) {
        for _ in 0..200 {
            match self.bench.run.state {
                State::AwaitingLocks => self.apply(Event::LocksFree),
                State::Pausing | State::Cancelling | State::Failing => self.apply(Event::Acted(0)),
                State::Running if self.bench.run.intended().next().is_some() => self.apply(Event::Ends(0, succeeded())),
                State::Running => self.apply(Event::Seconds(60)),
                _ => return,
            }
        }
        panic!("no person is needed and no end is reached: {:?}", self.bench.run);
    }
}

proptest! {
    #[test]
    fn random_runs_keep_their_promises_and_end(
        plan in any_plan(),
        events in prop::collection::vec(event(), 0..60),
    ) {
        let mut watched =
            Watched { bench: Bench::new(plan), checked: 0, numbers: HashSet::new() };
        for event in events {
            watched.apply(event);
        }
        watched.settle();
    }
}
