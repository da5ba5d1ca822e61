//! Flags and arguments of several commands.

use std::time::Duration;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{ArgAction, Args, ValueEnum};

use crate::failure::Failure;
use crate::output::Format;

/// The form of the output.
#[derive(Debug, Args)]
pub(crate) struct OutputFlag {
    /// Form of the output
    #[arg(short, long, value_enum, default_value_t)]
    pub(crate) output: Format,
}

/// The form of output that lists or changes no object, and so has no names to print.
#[derive(Debug, Args)]
pub(crate) struct ReportFlag {
    /// Form of the output
    #[arg(short, long, value_parser = report_format(), value_name = "OUTPUT", default_value = "table")]
    pub(crate) output: Format,
}

/// Parses every form of output except `name`.
fn report_format() -> impl TypedValueParser<Value = Format> {
    let forms = Format::value_variants().iter().filter(|form| **form != Format::Name);
    PossibleValuesParser::new(forms.filter_map(ValueEnum::to_possible_value))
        .try_map(|text| Format::from_str(&text, false))
}

/// Whether to go on.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct ConsentFlags {
    /// Show what would move or go, and change nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Do not ask
    #[arg(short, long)]
    pub(crate) yes: bool,
}

/// Whether to wait, for commands that wait unless told otherwise.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct WaitFlags {
    /// Wait until the goal is reached; --wait=false does not
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, action = ArgAction::Set,
          default_value_t = true, default_missing_value = "true")]
    wait: bool,
    /// Longest time to wait
    #[arg(long, value_name = "TIME", default_value = "5m", value_parser = time)]
    timeout: Duration,
}

impl WaitFlags {
    /// Returns the timeout for the wait; `None` if the command does not wait.
    pub(crate) fn limit(self) -> Option<Duration> {
        self.wait.then_some(self.timeout)
    }
}

/// Whether to wait, for commands that wait only when told.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct WaitIfAskedFlags {
    /// Wait until the goal is reached
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, action = ArgAction::Set,
          default_value_t = false, default_missing_value = "true")]
    wait: bool,
    /// Longest time to wait
    #[arg(long, value_name = "TIME", default_value = "5m", value_parser = time, requires = "wait")]
    timeout: Duration,
}

impl WaitIfAskedFlags {
    /// Returns the timeout for the wait; `None` if the command does not wait.
    pub(crate) fn limit(self) -> Option<Duration> {
        self.wait.then_some(self.timeout)
    }
}

/// Whether a command that finds nothing to do fails.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct UnchangedFlag {
    /// End with 3 when nothing had to be changed
    #[arg(long)]
    error_unchanged: bool,
}

impl UnchangedFlag {
    /// Ends a command that found nothing to do. The flag turns this into a failure.
    pub(crate) fn end(self, why: impl Into<String>) -> Result<(), Failure> {
        if self.error_unchanged { Err(Failure::Unchanged(why.into())) } else { Ok(()) }
    }
}

/// Whether a command ends where only a person's confirmation lets it go on.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct PauseFlag {
    /// End with 4 while a person has to confirm deletes
    #[arg(long)]
    pub(crate) exit_on_pause: bool,
}

/// One Application of a namespace.
#[derive(Debug, Args)]
pub(crate) struct AppArg {
    /// Name of the Application
    #[arg(value_name = "APP")]
    pub(crate) name: String,
    /// Namespace of the Application [default: that of the hub context]
    #[arg(short, long)]
    pub(crate) namespace: Option<String>,
}

/// Parses a duration such as `60s`, `5m` or `1h30m`.
pub(super) fn time(text: &str) -> Result<Duration, String> {
    let remedy = || format!("{text:?} is not a time; write for example 60s, 5m or 1h30m");
    let span: jiff::SignedDuration = text.parse().map_err(|_| remedy())?;
    if span.is_zero() {
        return Err("this is no time to wait; write --wait=false to not wait".to_owned());
    }
    Duration::try_from(span).map_err(|_| remedy())
}
