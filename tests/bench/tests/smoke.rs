//! The bench works, in its short form; no figure is judged. Hung members and fairness take longer than a look may.

#![allow(clippy::unwrap_used, reason = "a test")]

use bench::{Scale, Scenario, run};

const PARTS: [Scenario; 5] =
    [Scenario::Placement, Scenario::Latency, Scenario::Restart, Scenario::Decisions, Scenario::Simulated];

#[tokio::test]
async fn the_bench_measures_what_it_is_to() {
    let figures = run(&PARTS, &Scale::short()).await.unwrap();
    for name in [
        "placement.applied_s",
        "latency.scale.p50_ms",
        "restart.member_writes_caused",
        "decisions.per_s",
        "simulated.change_4.p99_ms",
        "simulated.restart_4.writes",
    ] {
        assert!(figures.get(name).is_some_and(f64::is_finite), "{name} was not measured");
    }
}
