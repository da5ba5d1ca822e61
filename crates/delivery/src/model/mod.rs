//! A model of the whole path from intent to members, run through random edits, faults and restarts.
//!
//! Intake's checks, decisions, rendering and delivery's choice of actions are the production functions. Only the
//! database ([`tables`]) and the members ([`member`]) are models. The database model is compared with Postgres
//! ([`mirror`]).

mod alike;
mod check;
mod directives;
mod edits;
mod fleet;
mod hub;
mod member;
mod mirror;
mod releases;
mod tables;
mod world;

use std::cell::RefCell;

use proptest::prelude::*;
use proptest::test_runner::{Config, RngSeed, TestError, TestRunner};

use edits::{AppEdit, Edit, Multiply, What, edits};
use mirror::Mirror;
use world::World;

/// Seed of the sequences that the suite runs. `make sim` sets `MODEL_SEED` and draws others.
const SEED: u64 = 7;
/// Number of sequences in an ordinary run. `MODEL_SEQUENCES` overrides it.
const SEQUENCES: u32 = 2000;
/// Number of sequences compared with Postgres in an ordinary run. `MIRROR_SEQUENCES` overrides it.
const MIRRORED: u32 = 20;

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

/// Runs one sequence. The error names the edit after which a check failed.
fn run(sequence: &[Edit], mirror: Option<&RefCell<Mirror>>) -> Result<(), String> {
    let mut world = World::new(mirror);
    for (place, edit) in sequence.iter().enumerate() {
        world.edit(edit).map_err(|broken| format!("edit {place} {edit:?}: {broken}"))?;
    }
    world.rest().map_err(|broken| format!("after all edits: {broken}"))
}

/// Runs `cases` sequences from one seed on the calling thread.
fn runs(seed: u64, cases: u32, mirror: Option<&RefCell<Mirror>>) -> Result<(), String> {
    let config = Config {
        cases,
        rng_seed: RngSeed::Fixed(seed),
        max_shrink_iters: if mirror.is_some() { 60 } else { 4000 },
        failure_persistence: None,
        ..Config::default()
    };
    let outcome = TestRunner::new(config).run(&edits(), |sequence| {
        if let Some(mirror) = mirror {
            mirror.borrow_mut().clear();
        }
        run(&sequence, mirror).map_err(TestCaseError::fail)
    });
    match outcome {
        Ok(()) => Ok(()),
        Err(TestError::Fail(reason, sequence)) => {
            let edits: Vec<String> = sequence.iter().map(|edit| format!("{edit:?}")).collect();
            Err(format!("MODEL_SEED={seed}: {reason}\nedits:\n{}", edits.join("\n")))
        }
        Err(error) => Err(format!("MODEL_SEED={seed}: {error}")),
    }
}

#[test]
fn random_edits_lose_double_and_forget_nothing() {
    let cases = number("MODEL_SEQUENCES").map_or(SEQUENCES, |cases| cases as u32);
    let first = number("MODEL_SEED").unwrap_or(SEED);
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get) as u32;
    let outcomes: Vec<Result<(), String>> = std::thread::scope(|scope| {
        let seeds = (0..threads).map(|thread| first.wrapping_add(u64::from(thread)));
        let running: Vec<_> =
            seeds.map(|seed| scope.spawn(move || runs(seed, cases.div_ceil(threads), None))).collect();
        running.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let failures: Vec<String> = outcomes.into_iter().filter_map(Result::err).collect();
    assert!(failures.is_empty(), "{cases} sequences from MODEL_SEED={first}\n{}", failures.join("\n\n"));
}

#[test]
fn model_rows_equal_those_that_sql_writes() {
    let cases = number("MIRROR_SEQUENCES").map_or(MIRRORED, |cases| cases as u32);
    let mirror = RefCell::new(Mirror::start());
    let outcome = runs(number("MODEL_SEED").unwrap_or(SEED), cases, Some(&mirror));
    assert!(outcome.is_ok(), "{}", outcome.unwrap_err());
}

#[test]
fn selector_that_matches_nothing_takes_nothing_away() {
    let edit = |change: AppEdit| Edit { what: What::App(0, change), steps: Vec::new(), rest: true };
    // The fourth cluster has not joined, so the last selector matches no cell.
    for edits in [
        [AppEdit::Create, AppEdit::Multiply(Multiply::PerCell), AppEdit::Select(8)],
        [AppEdit::Create, AppEdit::Multiply(Multiply::PerCluster), AppEdit::Select(8)],
        [AppEdit::Create, AppEdit::Replicas(4), AppEdit::Select(8)],
    ] {
        let sequence = edits.clone().map(edit);
        let mut world = World::new(None);
        for edit in &sequence[..2] {
            world.edit(edit).unwrap();
        }
        let before = world.available("shop");
        world.edit(&sequence[2]).unwrap();
        assert_eq!((world.available("shop"), before > 0), (before, true), "{edits:?}");
    }
}
