//! A model of the whole way from intent to members, run through random edits, faults and restarts.
//!
//! Intake's checks, decisions, rendering and delivery's choice of steps are the functions of production. Only the database
//! ([`tables`]) and the members ([`member`]) are models; [`tables`] is compared with PostgreSQL in [`sql`].

mod check;
mod edits;
mod fleet;
mod hub;
mod member;
mod tables;
mod world;

use proptest::prelude::*;
use proptest::test_runner::{Config, RngSeed, TestError, TestRunner};

use edits::{Edit, edits};
use world::World;

/// Sequences in an ordinary run; `MODEL_SEQUENCES` asks for another number.
const SEQUENCES: u32 = 2000;

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

/// Runs one sequence. Says what was broken after which edit.
fn run(sequence: &[Edit]) -> Result<(), String> {
    let mut world = World::new();
    for (place, edit) in sequence.iter().enumerate() {
        world.edit(edit).map_err(|broken| format!("edit {place} {edit:?}: {broken}"))?;
    }
    world.rest().map_err(|broken| format!("after all edits: {broken}"))
}

#[test]
fn random_edits_lose_double_and_forget_nothing() {
    let cases = number("MODEL_SEQUENCES").map_or(SEQUENCES, |cases| cases as u32);
    let seed = number("MODEL_SEED").unwrap_or_else(|| rand_seed());
    eprintln!("{cases} sequences from MODEL_SEED={seed}");
    let config = Config {
        cases,
        rng_seed: RngSeed::Fixed(seed),
        max_shrink_iters: 4000,
        failure_persistence: None,
        ..Config::default()
    };
    let mut runner = TestRunner::new(config);
    let outcome = runner.run(&edits(), |sequence| run(&sequence).map_err(TestCaseError::fail));
    match outcome {
        Ok(()) => {}
        Err(TestError::Fail(reason, sequence)) => {
            let edits: Vec<String> = sequence.iter().map(|edit| format!("{edit:?}")).collect();
            panic!("MODEL_SEED={seed}: {reason}\nedits:\n{}", edits.join("\n"));
        }
        Err(error) => panic!("MODEL_SEED={seed}: {error}"),
    }
}

fn rand_seed() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(1, |since| since.as_nanos() as u64)
}
