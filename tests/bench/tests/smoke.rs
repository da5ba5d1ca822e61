//! Every part of the bench works, in its short form; no figure is judged.

#![allow(clippy::unwrap_used, reason = "a test")]

use bench::{Scale, Scenario, run};
use clap::ValueEnum;

#[tokio::test]
async fn every_part_measures_what_it_is_to() {
    let figures = run(Scenario::value_variants(), &Scale::short()).await.unwrap();
    for name in [
        "placement.applied_s",
        "latency.scale.p50_ms",
        "restart.member_writes_caused",
        "fairness.busy_ratio",
        "hang.noticed_s",
        "decisions.per_s",
        "simulated.change_4.p99_ms",
        "simulated.restart_4.writes",
    ] {
        assert!(figures.get(name).is_some_and(f64::is_finite), "{name} was not measured");
    }
}
