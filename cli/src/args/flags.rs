//! Flags and arguments of several commands.

use std::time::Duration;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{ArgAction, Args, ValueEnum};

use crate::failure::Failure;
use crate::output::Format;

/// Flag that selects the form of the output.
#[derive(Debug, Args)]
pub(crate) struct OutputFlag {
    /// Form of the output
    #[arg(short, long, value_enum, default_value_t)]
    pub(crate) output: Format,
}

/// Flag that selects the form of an output without names of objects.
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

/// Flags of commands that ask before they change something.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct ConsentFlags {
    /// Print what would be moved or deleted; change nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Do not ask for confirmation
    #[arg(short, long)]
    pub(crate) yes: bool,
}

/// Flags of commands that wait by default.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct WaitFlags {
    /// Wait until the goal of the command is reached; --wait=false does not wait
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, action = ArgAction::Set,
          default_value_t = true, default_missing_value = "true")]
    wait: bool,
    /// Maximum time to wait, such as 60s, 5m or 1h30m
    #[arg(long, value_name = "TIME", default_value = "5m", value_parser = time)]
    timeout: Duration,
}

impl WaitFlags {
    /// Returns the timeout for the wait; `None` if the command does not wait.
    pub(crate) fn limit(self) -> Option<Duration> {
        self.wait.then_some(self.timeout)
    }
}

/// Flags of commands that wait only on request.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct WaitIfAskedFlags {
    /// Wait until the goal of the command is reached
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, action = ArgAction::Set,
          default_value_t = false, default_missing_value = "true")]
    wait: bool,
    /// Maximum time to wait, such as 60s, 5m or 1h30m
    #[arg(long, value_name = "TIME", default_value = "5m", value_parser = time, requires = "wait")]
    timeout: Duration,
}

impl WaitIfAskedFlags {
    /// Returns the timeout for the wait; `None` if the command does not wait.
    pub(crate) fn limit(self) -> Option<Duration> {
        self.wait.then_some(self.timeout)
    }
}

/// Flag of commands that may find nothing to do.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct UnchangedFlag {
    /// Exit with code 3 when nothing had to be changed
    #[arg(long)]
    error_unchanged: bool,
}

impl UnchangedFlag {
    /// Ends a command that found nothing to do. The flag turns this into a failure.
    pub(crate) fn end(self, why: impl Into<String>) -> Result<(), Failure> {
        if self.error_unchanged { Err(Failure::Unchanged(why.into())) } else { Ok(()) }
    }
}

/// Flag of commands that may wait for a person's confirmation.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct PauseFlag {
    /// Exit with code 4 when deletes wait for a person's confirmation
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
