//! Scenarios of the benchmark.

mod decisions;
mod fairness;
mod hang;
mod latency;
mod limit;
mod placement;
mod restart;
mod simulated;

use std::time::Instant;

use anyhow::Context;
use clap::ValueEnum;

use crate::figures::Figures;
use crate::installation::Installation;
use crate::processes;

/// Namespace of all measured Applications.
const NAMESPACE: &str = "bench";

/// One part of the bench.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Scenario {
    /// Many Applications created at once on three real members.
    Placement,
    /// The same objects written without Meridian.
    Limit,
    /// Single edits.
    Latency,
    /// Restart of the operator.
    Restart,
    /// One Application with many edits beside another; one member that hangs beside others.
    Fairness,
    /// API server of one member that hangs and then answers again.
    Hang,
    /// Durable decisions without members, and new decisions after the loss of a zone.
    Decisions,
    /// One change to many simulated members, and a cold restart.
    Simulated,
}

/// Sizes of all scenarios.
#[derive(Debug, Clone)]
pub struct Scale {
    /// Number of nodes in each member.
    pub nodes: usize,
    /// Number of Applications created at once.
    pub applications: usize,
    /// Number of single edits of each kind.
    pub edits: usize,
    /// Seconds that the idle window and the restart window last.
    pub window: u64,
    /// Number of Applications decided without members.
    pub decisions: usize,
    /// Number of edits of the one busy application.
    pub busy_edits: usize,
    /// Numbers of simulated members that receive one change; each number is a measurement of its own.
    pub change_members: Vec<usize>,
    /// Numbers of simulated members in the cold restart; each number is a measurement of its own.
    pub restart_members: Vec<usize>,
    /// Number of placements in each member of the cold restart.
    pub restart_placements: usize,
}

impl Scale {
    /// Returns the sizes that the peer uses.
    pub fn full() -> Self {
        Self {
            nodes: 40,
            applications: 500,
            edits: 50,
            window: 30,
            decisions: 10_000,
            busy_edits: 1000,
            change_members: vec![20, 100],
            restart_members: vec![100, 1000],
            restart_placements: 100,
        }
    }

    /// Returns the smallest sizes that still run every scenario.
    pub fn short() -> Self {
        Self {
            nodes: 2,
            applications: 10,
            edits: 3,
            window: 3,
            decisions: 60,
            busy_edits: 20,
            change_members: vec![4],
            restart_members: vec![4],
            restart_placements: 5,
        }
    }
}

/// Runs the wanted scenarios once.
///
/// Scenarios on real members run first, in the given order on one test bed, and each continues with the state that the
/// one before left. `Limit`, `Decisions` and `Simulated` follow on test beds of their own.
///
/// # Errors
/// When a step fails; a figure never causes an error.
pub async fn run(wanted: &[Scenario], scale: &Scale) -> anyhow::Result<Figures> {
    let mut figures = Figures::default();
    let on_members =
        |scenario: &&Scenario| !matches!(scenario, Scenario::Limit | Scenario::Simulated | Scenario::Decisions);
    if wanted.iter().any(|scenario| on_members(&scenario)) {
        let begun = Instant::now();
        let mut bed = Installation::start(scale.nodes).await?;
        println!("a hub and three members joined in {} s", begun.elapsed().as_secs());
        bed.kubectl(&["create", "namespace", NAMESPACE])?;
        for scenario in wanted.iter().filter(on_members) {
            begin(&mut figures, *scenario);
            let outcome = match scenario {
                Scenario::Placement => placement::run(&bed, scale, &mut figures).await,
                Scenario::Latency => latency::run(&mut bed, scale, &mut figures).await,
                Scenario::Restart => restart::run(&mut bed, scale, &mut figures).await,
                Scenario::Fairness => fairness::run(&mut bed, scale, &mut figures).await,
                Scenario::Hang => hang::run(&mut bed, &mut figures).await,
                Scenario::Limit | Scenario::Decisions | Scenario::Simulated => Ok(()),
            };
            outcome.with_context(|| {
                format!("{scenario:?}; the operator's last words:\n{}", bed.operator.log_tail(4000))
            })?;
        }
    }
    if wanted.contains(&Scenario::Limit) {
        begin(&mut figures, Scenario::Limit);
        limit::run(scale, &mut figures).await?;
    }
    if wanted.contains(&Scenario::Decisions) {
        begin(&mut figures, Scenario::Decisions);
        decisions::run(scale, &mut figures).await?;
    }
    if wanted.contains(&Scenario::Simulated) {
        begin(&mut figures, Scenario::Simulated);
        simulated::run(scale, &mut figures).await?;
    }
    Ok(figures)
}

fn begin(figures: &mut Figures, scenario: Scenario) {
    let name = format!("{scenario:?}").to_lowercase();
    println!("{name}");
    figures.add(&format!("{name}.load"), processes::load());
}
