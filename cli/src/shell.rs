//! Interface to the calling shell: the program's name, completions, version, standard output.

use std::io::Write;
use std::path::Path;

use clap::{CommandFactory, FromArgMatches};
use clap_complete::Shell;
use serde::Serialize;

use crate::args::Cli;
use crate::failure::Failure;
use crate::mask::printable;
use crate::output::{self, Format};

/// Parses the command line, or ends the process with the usage and exit code 2.
pub(crate) fn parse() -> Cli {
    let called = std::env::args_os().next();
    let command = Cli::command().bin_name(shown_name(called.as_deref().map(Path::new)));
    let matches = command.get_matches();
    Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit())
}

/// Returns the name that the user types. The plugin `kubectl-meridian` is typed `kubectl meridian`.
fn shown_name(called: Option<&Path>) -> &'static str {
    let stem = called.and_then(Path::file_stem).and_then(|stem| stem.to_str());
    match stem {
        Some("kubectl-meridian" | "kubectl_meridian") => "kubectl meridian",
        _ => "meridian",
    }
}

/// Prints the completion script of a shell.
pub(crate) fn completion(shell: Shell) -> Result<(), Failure> {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "meridian", &mut text);
    print(&text)
}

/// Prints the version of this program.
pub(crate) fn version(format: Format) -> Result<(), Failure> {
    let version = env!("CARGO_PKG_VERSION");
    let value = serde_json::json!({ "client": { "version": version } });
    let text = output::structured(format, &value)?.unwrap_or_else(|| format!("meridian {version}\n"));
    emit(&text)
}

/// Writes text to standard output, with control characters made visible.
///
/// A reader that closed the pipe, such as `head`, is not an error.
pub(crate) fn emit(text: &str) -> Result<(), Failure> {
    print(printable(text).as_bytes())
}

/// Prints the result of a command that changed something.
///
/// Programs receive the facts. People have already read the steps, so the table formats print nothing.
pub(crate) fn outcome<T: Serialize>(format: Format, name: &str, facts: &T) -> Result<(), Failure> {
    match format {
        Format::Table | Format::Wide => Ok(()),
        Format::Name => emit(&format!("{name}\n")),
        Format::Json | Format::Yaml => emit(&output::structured(format, facts)?.unwrap_or_default()),
    }
}

fn print(bytes: &[u8]) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Failure::Failed(format!("cannot write to standard output: {error}")))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plugin_shows_the_name_people_type() {
        for (called, shown) in [
            (Some("/usr/local/bin/kubectl-meridian"), "kubectl meridian"),
            (Some("meridian"), "meridian"),
            (None, "meridian"),
        ] {
            assert_eq!(shown_name(called.map(Path::new)), shown);
        }
    }
}
