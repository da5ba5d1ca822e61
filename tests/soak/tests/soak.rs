//! Runs random work under random faults.
//!
//! `SEEDS=1..20` selects the seeds and `SOAK_STEPS` the number of acts for each seed. `SOAK_PLAN=1` only prints the
//! plans. Without these variables the test is one short run, as part of the whole suite.

use std::io::Write;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use acceptance::Fleet;
use anyhow::Context;
use soak::check::{Violation, check};
use soak::plan::Plan;
use soak::run::{fleet, run};
use soak::seed::seeds;

/// Seed of the short run.
const SHORT_SEED: &str = "1";
/// Number of acts in a short run, and in a run whose seed was requested.
const SHORT: usize = 8;
const LONG: usize = 30;
/// Timeout for one seed.
const LONGEST: Duration = Duration::from_mins(8);
/// Number of threads: links and watches continue while the run waits for a program.
const THREADS: usize = 4;

fn main() -> anyhow::Result<ExitCode> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.iter().any(|argument| argument == "--list") {
        println!("soak: test");
        return Ok(ExitCode::SUCCESS);
    }
    let named = arguments.iter().filter(|argument| !argument.starts_with('-')).collect::<Vec<_>>();
    if !named.is_empty() && named.iter().all(|word| !"soak".contains(word.as_str())) {
        return Ok(ExitCode::SUCCESS);
    }
    let asked = std::env::var("SEEDS").ok().filter(|text| !text.is_empty());
    let usual = if asked.is_some() { LONG } else { SHORT };
    let steps = std::env::var("SOAK_STEPS").ok().filter(|text| !text.is_empty());
    let steps = steps.map_or(Ok(usual), |text| text.parse().with_context(|| format!("SOAK_STEPS={text}")))?;
    let seeds = seeds(asked.as_deref().unwrap_or(SHORT_SEED))?;
    let plans: Vec<Plan> = seeds.iter().map(|seed| Plan::draw(*seed, steps)).collect();
    if std::env::var_os("SOAK_PLAN").is_some() {
        for plan in &plans {
            println!("seed {}, at most {} faults at once\n{}", plan.seed, plan.at_once, plan.lines().join("\n"));
        }
        return Ok(ExitCode::SUCCESS);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(THREADS).enable_all().build()?;
    let mut verdicts = Vec::new();
    for plan in &plans {
        println!("seed {} ({} steps, at most {} faults at once)", plan.seed, plan.steps.len(), plan.at_once);
        let begun = Instant::now();
        let outcome = runtime.block_on(one(plan));
        let verdict = match &outcome {
            Ok(found) if found.is_empty() => "passed".to_owned(),
            Ok(found) => format!("FAILED: {} violations", found.len()),
            Err(error) => format!("FAILED: {error:#}"),
        };
        verdicts.push((
            outcome.is_ok_and(|found| found.is_empty()),
            format!("seed {} took {} s: {verdict}", plan.seed, begun.elapsed().as_secs()),
        ));
        println!("{}", verdicts.last().map_or("", |(_, line)| line));
    }
    println!("{} of {} seeds passed", verdicts.iter().filter(|(passed, _)| *passed).count(), verdicts.len());
    for (_, line) in &verdicts {
        println!("{line}");
    }
    Ok(if verdicts.iter().all(|(passed, _)| *passed) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Runs one seed on a fleet of its own and returns the violations.
async fn one(plan: &Plan) -> anyhow::Result<Vec<Violation>> {
    let mut fleet = Fleet::start(&fleet()).await.context("the fleet does not start")?;
    let mut say = |line: String| {
        println!("  {line}");
        // Flushes because people watch long runs; a closed output does not end the run.
        let _ = std::io::stdout().flush();
    };
    let outcome = tokio::time::timeout(LONGEST, run(&mut fleet, plan, &mut say)).await;
    let outcome = outcome.unwrap_or_else(|_| Err(anyhow::anyhow!("not done within {} s", LONGEST.as_secs())));
    let gathered = match outcome {
        Ok(gathered) => gathered,
        Err(error) => {
            fleet.failed();
            return Err(error);
        }
    };
    let found = check(&gathered);
    if !found.is_empty() {
        let lines = plan.lines();
        for violation in &found {
            println!("  VIOLATION {violation}");
            let step = violation.at.and_then(|at| gathered.step_at(at)).and_then(|step| lines.get(step));
            println!("    seed {}, step {}", plan.seed, step.map_or("at the end", String::as_str));
        }
        fleet.failed();
        let file = fleet.bed.folder().join("gathered.json");
        std::fs::write(&file, serde_json::to_vec_pretty(&gathered)?)?;
        println!("  all that was gathered is in {}", file.display());
    }
    Ok(found)
}
