//! Runs scenarios one after the other. Scenarios that can share servers run on the same fleet.

use std::panic::AssertUnwindSafe;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::anyhow;
use futures::FutureExt;
use futures::future::LocalBoxFuture;

use crate::{Fleet, FleetPlan};

/// Timeout for one scenario. Every wait within a scenario has a shorter limit of its own.
const LONGEST: Duration = Duration::from_mins(6);

/// Threads of the runtime. Links, gateways and watches continue while a scenario waits for a program.
const THREADS: usize = 4;

/// Function of a scenario: acts on a fleet and checks the effects.
pub type Run = for<'a> fn(&'a mut Fleet) -> LocalBoxFuture<'a, anyhow::Result<()>>;

/// One scenario: a behaviour that must hold.
#[derive(Debug, Clone, Copy)]
pub struct Scenario {
    /// `subject::behaviour`.
    pub name: &'static str,
    /// Function that runs the scenario.
    pub run: Run,
    /// Missing part of the product that the scenario needs.
    ///
    /// Such a scenario runs only if the user gives its full name.
    pub awaits: Option<&'static str>,
}

/// Scenarios that share a fleet.
#[derive(Debug)]
pub struct Act {
    /// Name of the group.
    pub name: &'static str,
    /// Plan of the fleet.
    pub plan: FleetPlan,
    /// Scenarios to run on the fleet, in this order.
    pub scenarios: Vec<Scenario>,
}

/// Lists scenarios by their functions: `scenarios![placement::examples_are_placed, …]`.
///
/// A scenario that needs a missing part of the product names that part: `scenarios![failover::returns => "failover"]`.
#[macro_export]
macro_rules! scenarios {
    ($($subject:ident :: $name:ident $(=> $awaits:literal)?),* $(,)?) => {
        vec![$($crate::scenario::Scenario {
            name: concat!(stringify!($subject), "::", stringify!($name)),
            run: |fleet| Box::pin($subject::$name(fleet)),
            awaits: $crate::scenarios!(@awaits $($awaits)?),
        }),*]
    };
    (@awaits) => { None };
    (@awaits $awaits:literal) => { Some($awaits) };
}

/// Scenarios that the user chose.
struct Choice {
    words: Vec<String>,
    list: bool,
}

impl Choice {
    /// Reads the choice from the arguments and from `MERIDIAN_SCENARIOS`, which is separated by commas.
    ///
    /// Words are parts of names. `--list` only lists. All other flags are ignored: `cargo test` passes them to every
    /// test program.
    fn read() -> Self {
        let arguments: Vec<String> = std::env::args().skip(1).collect();
        let named = std::env::var("MERIDIAN_SCENARIOS").unwrap_or_default();
        let words = named.split(',').map(str::to_owned).chain(arguments.iter().cloned());
        let words = words.filter(|word| !word.is_empty() && !word.starts_with('-')).collect();
        Self { words, list: arguments.iter().any(|argument| argument == "--list") }
    }

    fn takes(&self, scenario: &Scenario) -> bool {
        let full = |word: &String| scenario.name == *word || scenario.name.ends_with(&format!("::{word}"));
        if scenario.awaits.is_some() {
            return self.words.iter().any(full);
        }
        self.words.is_empty() || self.words.iter().any(|word| scenario.name.contains(word.as_str()))
    }
}

/// Runs the chosen scenarios. A fleet is started only if a chosen scenario runs on it.
pub fn run(acts: Vec<Act>) -> ExitCode {
    let choice = Choice::read();
    if choice.list {
        for scenario in acts.iter().flat_map(|act| &act.scenarios) {
            println!("{}: test", scenario.name);
        }
        return ExitCode::SUCCESS;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(THREADS).enable_all().build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            println!("no runtime: {error}");
            return ExitCode::FAILURE;
        }
    };
    let begun = Instant::now();
    let (mut passed, mut failed) = (0, Vec::new());
    for act in &acts {
        runtime.block_on(perform(act, &choice, &mut passed, &mut failed));
    }
    for scenario in acts.iter().flat_map(|act| &act.scenarios) {
        if let (Some(awaits), false) = (scenario.awaits, choice.takes(scenario)) {
            println!("{} was left out: it waits for {awaits}", scenario.name);
        }
    }
    println!("{passed} scenarios passed and {} failed in {} s", failed.len(), begun.elapsed().as_secs());
    for failure in &failed {
        println!("FAILED {failure}");
    }
    if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

async fn perform(act: &Act, choice: &Choice, passed: &mut usize, failed: &mut Vec<String>) {
    let chosen: Vec<&Scenario> = act.scenarios.iter().filter(|scenario| choice.takes(scenario)).collect();
    if chosen.is_empty() {
        return;
    }
    let begun = Instant::now();
    let mut fleet = match Fleet::start(&act.plan).await {
        Ok(fleet) => fleet,
        Err(error) => {
            println!("{}: the fleet does not start: {error:#}", act.name);
            failed.push(format!("{}: its fleet", act.name));
            return;
        }
    };
    println!("{}: a fleet of {} members ({} ms)", act.name, act.plan.members.len(), begun.elapsed().as_millis());
    for scenario in chosen {
        let begun = Instant::now();
        let run = AssertUnwindSafe((scenario.run)(&mut fleet)).catch_unwind();
        let outcome = match tokio::time::timeout(LONGEST, run).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(_)) => Err(anyhow!("it panicked, see above")),
            Err(_) => Err(anyhow!("not done within {} s", LONGEST.as_secs())),
        };
        let took = begun.elapsed().as_millis();
        match outcome {
            Ok(()) => {
                *passed += 1;
                println!("{} ({took} ms)", scenario.name);
            }
            Err(error) => {
                println!("{} FAILED ({took} ms): {error:#}", scenario.name);
                // The failure is printed again at the end: logs come in between, and readers of a long output see its
                // end.
                failed.push(format!("{} ({error:#})", scenario.name));
                fleet.failed();
            }
        }
    }
}
