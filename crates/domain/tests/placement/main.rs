//! Properties of placement, over large random fleets and histories.
//!
//! Fresh and incremental decisions are tested apart.
//!
//! `PROPTEST_CASES` raises the number of cases and starts with another seed each time (`make sim` does that). A
//! failure prints the seed that replays it.

#![allow(clippy::unwrap_used, reason = "a test")]

mod always;
mod examples;
mod fleet;
mod fresh;
mod incremental;
mod spanning;
mod tenancy;

use std::time::{SystemTime, UNIX_EPOCH};

use proptest::strategy::Strategy;
use proptest::test_runner::{Config, RngSeed, TestCaseError, TestRunner};

/// Seed of the usual run.
const USUAL_SEED: u64 = 1;

/// Checks a property over random cases.
///
/// `share` scales the usual number of cases, for properties that cost more.
fn promise<S: Strategy>(name: &str, share: f64, cases: S, holds: impl Fn(S::Value) -> Result<(), TestCaseError>) {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let count = number("PROPTEST_CASES").unwrap_or(64);
    let seed = number("PROPTEST_RNG_SEED").unwrap_or_else(|| match number("PROPTEST_CASES") {
        // A search starts with another seed each time. The usual run is the same each time.
        Some(_) => SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64,
        None => USUAL_SEED,
    });
    let config = Config {
        cases: ((count as f64 * share) as u32).max(1),
        rng_seed: RngSeed::Fixed(seed),
        failure_persistence: None,
        max_shrink_iters: 4_000,
        ..Config::default()
    };
    if let Err(error) = TestRunner::new(config).run(&cases, holds) {
        panic!(
            "{error}\nreplay: PROPTEST_RNG_SEED={seed} PROPTEST_CASES={count} cargo test -p domain --test placement {name}"
        );
    }
}
