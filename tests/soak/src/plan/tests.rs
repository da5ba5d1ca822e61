//! Tests of the plan.

use std::collections::BTreeMap;

use super::*;

#[test]
fn a_seed_always_gives_the_same_plan() {
    for seed in 0..50 {
        assert_eq!(Plan::draw(seed, 30), Plan::draw(seed, 30));
    }
    assert_ne!(Plan::draw(1, 30).steps, Plan::draw(2, 30).steps);
}

#[test]
fn never_more_faults_at_once_than_said_and_every_fault_ends() {
    for seed in 0..500 {
        let plan = Plan::draw(seed, 30);
        let mut open: BTreeMap<usize, Fault> = BTreeMap::new();
        for step in &plan.steps {
            match &step.act {
                Act::Begin(number, fault) => {
                    let places = || open.values().map(|other| other.place());
                    assert!(places().all(|place| place != fault.place()), "seed {seed}: two in one place");
                    open.insert(*number, *fault);
                }
                Act::End(number) => assert!(open.remove(number).is_some(), "seed {seed}: it never began"),
                Act::Work(work) => {
                    let hub = open.values().any(|fault| *fault == Fault::HubKilled);
                    assert!(!hub, "seed {seed}: {work:?} while the hub is down");
                }
            }
            assert!(open.len() <= plan.at_once, "seed {seed}");
        }
        assert!(open.is_empty(), "seed {seed}: {open:?}");
    }
}

#[test]
fn everything_that_can_happen_does() {
    let all: String = (0..200).flat_map(|seed| Plan::draw(seed, 30).lines()).collect();
    for word in [
        "Create",
        "Scale",
        "Revise",
        "Rename",
        "Select",
        "Annotate",
        "Delete",
        "Vanish",
        "Cordon",
        "Drain",
        "Uncordon",
        "Killed",
        "Frozen",
        "Stopped",
        "Throttles",
        "WatchesHeld",
        "DatabaseLink",
        "HubLink",
        "MemberLink",
        "BlackHole",
    ] {
        assert!(all.contains(word), "{word}");
    }
}
