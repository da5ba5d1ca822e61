//! What placement promises, over large random fleets and histories. Fresh and incremental decisions are kept apart.
//!
//! `PROPTEST_CASES` raises the number of cases (`make sim` does). A failure prints the seed that replays it.

#![allow(clippy::unwrap_used, reason = "a test")]

mod always;
mod examples;
mod fleet;
mod fresh;
mod incremental;

use proptest::strategy::Strategy;
use proptest::test_runner::{Config, RngSeed, TestCaseError, TestRunner};

/// Checks a property over random cases; `share` of the usual number for those that cost more.
fn promise<S: Strategy>(name: &str, share: f64, cases: S, holds: impl Fn(S::Value) -> Result<(), TestCaseError>) {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let count = number("PROPTEST_CASES").unwrap_or(64);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let seed = number("PROPTEST_RNG_SEED").unwrap_or(now.as_nanos() as u64);
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
