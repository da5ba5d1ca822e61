//! Writes progress to standard error: one line per step, never a spinner.

use std::io::{IsTerminal, Write};

use jiff::Timestamp;

use crate::failure::Failure;
use crate::mask::printable;

/// Prints the steps of a command as they happen.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Progress {
    color: bool,
    terminal: bool,
}

impl Progress {
    /// Enables colours on a terminal only, and only if neither `--no-color` nor `NO_COLOR` forbids them.
    pub(crate) fn new(no_color: bool) -> Self {
        let terminal = std::io::stderr().is_terminal();
        let forbidden = no_color || std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self { color: terminal && !forbidden, terminal }
    }

    /// Reports a finished step.
    pub(crate) fn done(self, text: impl AsRef<str>) {
        self.line("✓", "32", text.as_ref());
    }

    /// Reports a step in progress.
    pub(crate) fn doing(self, text: impl AsRef<str>) {
        self.line("…", "2", text.as_ref());
    }

    /// Reports a warning.
    pub(crate) fn warn(self, text: impl AsRef<str>) {
        self.line("! warning:", "33", text.as_ref());
    }

    /// Suggests the next step.
    pub(crate) fn hint(self, text: impl AsRef<str>) {
        self.line("→", "36", text.as_ref());
    }

    /// Reports why the command fails.
    pub(crate) fn failed(self, text: impl AsRef<str>) {
        self.line("error:", "31", text.as_ref());
    }

    /// Whether standard error is a terminal.
    pub(crate) fn is_terminal(self) -> bool {
        self.terminal
    }

    /// Whether the user can be asked a question.
    pub(crate) fn interactive(self) -> bool {
        self.terminal && std::io::stdin().is_terminal()
    }

    /// Prints a question and reads one line as its answer.
    pub(crate) fn ask(question: &str) -> std::io::Result<String> {
        let mut error = std::io::stderr();
        write!(error, "{question} ")?;
        error.flush()?;
        let mut answer = String::new();
        std::io::stdin().read_line(&mut answer)?;
        Ok(answer.trim().to_owned())
    }

    /// Asks the user to agree, unless `--yes` was given.
    ///
    /// # Errors
    /// Returns [`Failure::Usage`] if the user cannot be asked, and [`Failure::Superseded`] if the user does not agree.
    pub(crate) fn consent(self, yes: bool, question: &str) -> Result<(), Failure> {
        if yes {
            return Ok(());
        }
        if !self.interactive() {
            return Err(Failure::Usage("this needs a confirmation and nobody can be asked here; add --yes".to_owned()));
        }
        let answer = Self::ask(&format!("{question} [y/N]")).map_err(|error| Failure::Failed(error.to_string()))?;
        if answer.eq_ignore_ascii_case("y") || answer.eq_ignore_ascii_case("yes") {
            return Ok(());
        }
        Err(Failure::Superseded("not confirmed; nothing was changed".to_owned()))
    }

    fn line(self, mark: &str, color: &str, text: &str) {
        // A closed standard error does not end the command.
        let mut error = std::io::stderr();
        let _ = writeln!(error, "{}", format_line(self, Timestamp::now(), mark, color, text));
    }
}

fn format_line(style: Progress, now: Timestamp, mark: &str, color: &str, text: &str) -> String {
    let text = printable(text);
    let mark = if style.color { format!("\x1b[{color}m{mark}\x1b[0m") } else { mark.to_owned() };
    if style.terminal {
        format!("{mark} {text}")
    } else {
        // Logs of pipelines need the time; a person at a terminal does not.
        format!("{now:.0} {mark} {text}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logs_carry_the_time_and_only_colour_terminals_carry_escapes() {
        let now: Timestamp = "2026-11-02T03:04:05Z".parse().unwrap();
        for (color, terminal, expected) in [
            (false, false, "2026-11-02T03:04:05Z ✓ reached"),
            (false, true, "✓ reached"),
            (true, true, "\x1b[32m✓\x1b[0m reached"),
        ] {
            assert_eq!(format_line(Progress { color, terminal }, now, "✓", "32", "reached"), expected);
        }
    }
}
