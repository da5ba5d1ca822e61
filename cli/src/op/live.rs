//! Shows the progress of an operation: a table that is drawn again on terminals, and lines elsewhere.

use std::io::Write;

use jiff::Timestamp;
use rest::{Operation, StepView};

use super::outcome::{is_waiting_for_person, wait_reason};
use crate::mask::printable;
use crate::output::{Table, span};

/// Maximum number of steps in the table, so that it fits on a small terminal.
const STEPS_SHOWN: usize = 15;
/// Number of targets that are not done from which on the server leaves out further ones.
const OPEN_TARGETS_SENT: usize = 200;
/// Number of targets that are done from which on the server leaves out further ones.
const DONE_TARGETS_SENT: usize = 50;

/// Numbers of the targets of a step, as far as the server sent them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct StepCounts {
    /// `done/total`, with `+` where the server left out targets.
    pub(super) done: String,
    /// Targets that failed.
    pub(super) failed: usize,
}

/// Counts the targets of a step.
pub(super) fn count_targets(step: &StepView) -> StepCounts {
    let of = |states: &[&str]| step.targets.iter().filter(|target| states.contains(&target.state.as_str())).count();
    let done = of(&["Succeeded", "Skipped"]);
    let failed = of(&["Failed", "TimedOut", "Indeterminate"]);
    let open = step.targets.len() - done;
    let plus = |is_cut: bool| if is_cut { "+" } else { "" };
    let (is_done_cut, is_open_cut) = (done >= DONE_TARGETS_SENT, open >= OPEN_TARGETS_SENT);
    StepCounts {
        done: format!("{done}{}/{}{}", plus(is_done_cut), step.targets.len(), plus(is_done_cut || is_open_cut)),
        failed,
    }
}

/// Formats one line about an operation: state, direction and progress.
pub(super) fn headline(operation: &Operation) -> String {
    let progress = operation.progress;
    let back = if operation.phase == "Revert" { " (taking back)" } else { "" };
    let failed = if progress.failed > 0 { format!(", {} failed", progress.failed) } else { String::new() };
    format!(
        "{} of {}: {}{back}, {}/{} targets done{failed}",
        operation.kind, operation.subject, operation.state, progress.done, progress.total
    )
}

/// Returns one line for each thing that changed since an operation was last seen.
pub(crate) fn changed_lines(before: Option<&Operation>, now: &Operation) -> Vec<String> {
    let mut lines = Vec::new();
    let summary = |operation: &Operation| {
        (operation.state.clone(), operation.phase.clone(), operation.progress.done, operation.progress.failed)
    };
    if before.map(summary) != Some(summary(now)) {
        lines.push(headline(now));
    }
    let waits = |operation: &Operation| waits(operation);
    if let Some(line) = waits(now).filter(|line| before.and_then(waits).as_ref() != Some(line)) {
        lines.push(line);
    }
    for step in &now.steps {
        let earlier = before.and_then(|before| before.steps.iter().find(|earlier| earlier.id == step.id));
        let is_new = before.is_none_or(|before| before.phase != now.phase);
        let state_before = earlier.filter(|_| !is_new).map_or("Waiting", |earlier| earlier.state.as_str());
        if step.state != state_before {
            lines.push(format!("step {}: {}, {} targets done", step.id, step.state, count_targets(step).done));
        }
        for target in step.targets.iter().filter(|target| matches!(target.state.as_str(), "Failed" | "TimedOut")) {
            let known = earlier.is_some_and(|earlier| earlier.targets.contains(target));
            if !known {
                lines.push(format!("step {}, {}: {}: {}", step.id, target.target, target.state, target.message));
            }
        }
    }
    lines
}

/// Describes the pause of an operation, if it has one.
fn waits(operation: &Operation) -> Option<String> {
    (operation.pause.is_some() || is_waiting_for_person(operation)).then(|| wait_reason(operation))
}

/// Formats the table of the steps with the lines above it.
pub(crate) fn render(operation: &Operation, now: Timestamp) -> String {
    let since = operation.start_time.unwrap_or(operation.create_time);
    let until = operation.end_time.unwrap_or(now);
    let mut text = format!("{}, for {}\n", headline(operation), span(until.duration_since(since).as_secs()));
    if let Some(waits) = waits(operation) {
        text.push_str(&waits.split_whitespace().collect::<Vec<_>>().join(" "));
        text.push('\n');
    }
    text + &steps(&operation.steps)
}

/// Formats steps as a table. Empty without steps.
pub(super) fn steps(steps: &[StepView]) -> String {
    if steps.is_empty() {
        return String::new();
    }
    // The steps around the present one are of interest.
    let current = steps.iter().position(|step| !matches!(step.state.as_str(), "Succeeded" | "Skipped"));
    let last_start = steps.len().saturating_sub(STEPS_SHOWN);
    let start = current.unwrap_or(last_start).saturating_sub(STEPS_SHOWN / 3).min(last_start);
    let shown = &steps[start..(start + STEPS_SHOWN).min(steps.len())];
    let mut table = Table::new(["STEP", "STATE", "DONE", "FAILED", "TITLE"]);
    for step in shown {
        let counts = count_targets(step);
        table.row([step.id.clone(), step.state.clone(), counts.done, counts.failed.to_string(), step.title.clone()]);
    }
    let left_out = steps.len() - shown.len();
    let more = if left_out > 0 { format!("… and {left_out} more steps\n") } else { String::new() };
    table.render() + &more
}

/// A table on standard error that replaces itself.
#[derive(Debug, Default)]
pub(crate) struct LiveTable {
    /// Number of lines that the last drawing has.
    lines: usize,
}

impl LiveTable {
    /// Draws a text in place of the last drawing.
    pub(crate) fn draw(&mut self, text: &str) {
        let text = redraw(text, self.lines);
        self.lines = text.lines().count();
        // A closed standard error does not end the command.
        let mut error = std::io::stderr();
        let _ = error.write_all(text.as_bytes()).and_then(|()| error.flush());
    }
}

/// Returns the text that replaces the last drawing of a number of lines.
fn redraw(text: &str, lines_before: usize) -> String {
    // Up, delete to the end, and cut lines at the edge: a wrapped line would count as two.
    let up = if lines_before > 0 { format!("\x1b[{lines_before}A\x1b[J") } else { String::new() };
    format!("{up}\x1b[?7l{}\x1b[?7h", printable(text))
}

#[cfg(test)]
mod tests {
    use expect_test::expect;
    use rest::TargetView;
    use serde_json::json;

    use super::super::outcome::tests::operation;
    use super::*;

    fn step(id: &str, state: &str, targets: &[(&str, &str)]) -> StepView {
        let target = |(target, state): &(&str, &str)| TargetView {
            target: (*target).to_owned(),
            state: (*state).to_owned(),
            round: 0,
            attempt: 0,
            message: "no room".to_owned(),
            changed_at: None,
        };
        let targets = targets.iter().map(target).collect();
        StepView { id: id.to_owned(), title: "Move replicas".to_owned(), state: state.to_owned(), targets }
    }

    fn paused() -> Operation {
        let mut paused = operation("Paused", false);
        paused.progress.failed = 1;
        paused.pause = serde_json::from_value(json!({
            "reason": "Failure", "step": "move", "message": "1 of 2 failed; `retry` tries again", "by": "engine",
            "since": "2026-11-02T03:06:00Z",
        }))
        .unwrap();
        paused.steps = vec![
            step("cordon", "Succeeded", &[("cluster/east", "Succeeded")]),
            step("move", "Failed", &[("app/a", "Succeeded"), ("app/b", "Failed")]),
        ];
        paused
    }

    #[test]
    fn tables_show_steps_and_what_ends_the_pause() {
        let now = "2026-11-02T03:09:05Z".parse().unwrap();
        expect![[r"
            drain of cluster east: Paused, 1/3 targets done, 1 failed, for 5m
            Failure at step move, by engine since 2026-11-02T03:06:00Z: 1 of 2 failed; `retry` tries again
            STEP     STATE       DONE   FAILED   TITLE
            cordon   Succeeded   1/1         0   Move replicas
            move     Failed      1/2         1   Move replicas
        "]]
        .assert_eq(&render(&paused(), now));
    }

    #[test]
    fn lines_show_each_change_once() {
        let mut running = operation("Running", false);
        running.steps = vec![step("cordon", "Intended", &[("cluster/east", "Intended")]), step("move", "Waiting", &[])];
        let first = ["drain of cluster east: Running, 1/3 targets done", "step cordon: Intended, 0/1 targets done"];
        let then = [
            "drain of cluster east: Paused, 1/3 targets done, 1 failed",
            "Failure at step move, by engine since 2026-11-02T03:06:00Z: 1 of 2 failed; `retry` tries again",
            "step cordon: Succeeded, 1/1 targets done",
            "step move: Failed, 1/2 targets done",
            "step move, app/b: Failed: no room",
        ];
        for (case, before, now, expected) in [
            ("first seen", None, &running, &first[..]),
            ("unchanged", Some(&running), &running, &[]),
            ("paused", Some(&running), &paused(), &then[..]),
            ("still paused", Some(&paused()), &paused(), &[]),
        ] {
            assert_eq!(changed_lines(before, now), expected, "{case}");
        }
    }

    #[test]
    fn steps_with_left_out_targets_are_marked() {
        let targets = |done: usize, open: usize| {
            let all = std::iter::repeat_n(("a", "Succeeded"), done).chain(std::iter::repeat_n(("b", "Waiting"), open));
            count_targets(&step("move", "Waiting", &all.collect::<Vec<_>>())).done
        };
        for (done, open, expected) in
            [(0, 0, "0/0"), (2, 3, "2/5"), (50, 3, "50+/53+"), (2, 200, "2/202+"), (50, 200, "50+/250+")]
        {
            assert_eq!(targets(done, open), expected, "{done} done, {open} open");
        }
    }

    #[test]
    fn long_plans_show_the_present_step() {
        let mut all: Vec<StepView> = (0..40).map(|number| step(&format!("s{number}"), "Succeeded", &[])).collect();
        for step in &mut all[30..] {
            step.state = "Waiting".to_owned();
        }
        let text = steps(&all);
        assert!(text.contains("s30") && text.contains("… and 25 more steps"), "{text}");
        assert_eq!(text.lines().count(), STEPS_SHOWN + 2, "{text}");
    }

    #[test]
    fn drawings_replace_the_last_and_obey_no_text_of_the_server() {
        assert_eq!(redraw("a\n", 0), "\x1b[?7la\n\x1b[?7h");
        assert_eq!(redraw("\x1b[2Jb\n", 2), "\x1b[2A\x1b[J\x1b[?7l\\u001b[2Jb\n\x1b[?7h");
    }
}
