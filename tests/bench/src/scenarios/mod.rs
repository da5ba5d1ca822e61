//! What is measured, in the order in which it runs on one bed.

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

/// Namespace of everything that is measured.
const NAMESPACE: &str = "bench";

/// One part of the bench.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Scenario {
    /// Many Applications created at once on three real members.
    Placement,
    /// The same objects written directly.
    Limit,
    /// Single edits.
    Latency,
    /// The operator ends and begins again.
    Restart,
    /// One application with many edits beside another; one slow member beside others.
    Fairness,
    /// One member's API server stops answering and comes back.
    Hang,
    /// Durable decisions without members, and planning anew after a zone is lost.
    Decisions,
    /// Simulated members: one change to many, and a cold restart.
    Simulated,
}

/// How much of everything.
#[derive(Debug, Clone)]
pub struct Scale {
    /// Nodes of each member.
    pub nodes: usize,
    /// Applications created at once.
    pub applications: usize,
    /// Single edits of each sort.
    pub edits: usize,
    /// Seconds an idle and a restart window last.
    pub window: u64,
    /// Applications decided without members.
    pub decisions: usize,
    /// Edits of the one busy application.
    pub busy_edits: usize,
    /// Simulated members that get one change; each count by itself.
    pub change_members: Vec<usize>,
    /// Simulated members of the cold restart.
    pub restart_members: Vec<usize>,
    /// Placements in each of them.
    pub restart_placements: usize,
}

impl Scale {
    /// The peer's own sizes.
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

    /// Just enough to see that every part works.
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

/// Runs the wanted parts once, each on what the one before left.
///
/// # Errors
/// When something does not work; figures are never a reason.
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
