//! Writes the page of results, `docs/figures.md`.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

use crate::catalogue::{Entry, PARTS, Part};
use crate::figures::Runs;

/// Writes the page.
///
/// # Errors
/// When the file cannot be written.
pub fn write_page(path: &Path, runs: &Runs, surroundings: &BTreeMap<String, String>) -> anyhow::Result<()> {
    Ok(std::fs::write(path, page(runs, surroundings))?)
}

fn page(runs: &Runs, surroundings: &BTreeMap<String, String>) -> String {
    let mut text = String::from(
        "# Figures\n\n\
         Written by `make bench`. Each value is the median of the runs, with the lowest and the highest value \
         beside it. The peer is Karmada (2026-08), measured once on the same kind of machine (two cores, 24 GiB) \
         with the same workload and nothing else running. Where tuning changed a value of the peer, the better one \
         is shown. *Ratio* is the peer's value divided by ours where lower is better, and ours divided by the \
         peer's where higher is better. The load average shows how busy the cores were with other work. A value \
         that was measured at a load far above two is worse than the machine allows.\n\n## Environment\n\n",
    );
    for (name, value) in surroundings {
        let _ = writeln!(text, "- {name}: {value}");
    }
    for part in PARTS {
        section(&mut text, runs, part);
    }
    let _ = write!(text, "\n{BOUNDS}");
    details(&mut text, runs);
    text
}

fn section(text: &mut String, runs: &Runs, part: &Part) {
    if !part.entries.iter().any(|entry| !runs.sorted(entry.name).is_empty()) {
        return;
    }
    let load = runs.sorted(&format!("{}.load", part.scenario));
    let _ = write!(text, "\n## {}\n\n{}\n\n", part.title, part.note);
    let loads: Vec<String> = load.iter().map(|value| format!("{value:.1}")).collect();
    let _ = writeln!(text, "Load average at the beginning of each run: {}.\n", loads.join(", "));
    text.push_str(
        "| measurement | ours | lowest – highest (runs) | peer | goal | ratio |\n|---|---|---|---|---|---|\n",
    );
    for entry in part.entries {
        row(text, entry, &runs.sorted(entry.name));
    }
}

fn row(text: &mut String, entry: &Entry, values: &[f64]) {
    let (Some(least), Some(greatest)) = (values.first(), values.last()) else { return };
    let median = values[values.len() / 2];
    let sign = if entry.more { "≥" } else { "≤" };
    let goal = entry.goal.map_or(String::new(), |goal| {
        let reached = if entry.more { median >= goal } else { median <= goal };
        format!("{sign} {}{}", number(goal), if reached { " ✓" } else { " ✗" })
    });
    let ratio = entry.peer.filter(|peer| *peer > 0.0 && median > 0.0).map_or(String::new(), |peer| {
        let ratio = if entry.more { median / peer } else { peer / median };
        format!("{}×", number(ratio))
    });
    let unit = if entry.unit.is_empty() { String::new() } else { format!(" {}", entry.unit) };
    let _ = writeln!(
        text,
        "| {} | **{}**{unit} | {} – {} ({}) | {} | {goal} | {ratio} |",
        entry.what,
        number(median),
        number(*least),
        number(*greatest),
        values.len(),
        entry.peer_note,
    );
}

/// Text that the page includes unchanged; people keep it up to date.
const BOUNDS: &str = include_str!("bounds.md");

/// Appends all values that no section shows.
fn details(text: &mut String, runs: &Runs) {
    let shown = |name: &str| {
        name.rsplit('.').next() == Some("load")
            || PARTS.iter().any(|part| part.entries.iter().any(|entry| entry.name == name))
    };
    let rest: Vec<&str> = runs.names().filter(|name| !shown(name)).collect();
    if rest.is_empty() {
        return;
    }
    text.push_str("\n## Other values\n\n| name | median | lowest – highest |\n|---|---|---|\n");
    for name in rest {
        let values = runs.sorted(name);
        let (Some(least), Some(greatest)) = (values.first(), values.last()) else { continue };
        let median = values[values.len() / 2];
        let _ = writeln!(text, "| `{name}` | {} | {} – {} |", number(median), number(*least), number(*greatest));
    }
}

/// Formats a value with at most three significant digits; large and whole numbers have no decimals.
fn number(value: f64) -> String {
    let size = value.abs();
    if value.fract() == 0.0 || size >= 100.0 {
        format!("{value:.0}")
    } else if size >= 10.0 {
        format!("{value:.1}")
    } else {
        format!("{value:.2}")
    }
}
