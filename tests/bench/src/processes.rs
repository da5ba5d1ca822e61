//! CPU time and memory of processes, by the kernel's own books.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Context;

/// Ticks of the kernel's clock in a second; 100 on every Linux that Meridian runs on.
const TICKS: f64 = 100.0;

/// A named group of processes: one and its children.
#[derive(Debug, Clone)]
pub(crate) struct Group {
    pub(crate) name: String,
    pub(crate) pid: u32,
}

/// CPU seconds used so far by each group.
pub(crate) fn cpu(groups: &[Group]) -> BTreeMap<String, f64> {
    let parents = parents();
    let mut used = BTreeMap::new();
    for group in groups {
        let own: f64 = family(group.pid, &parents).into_iter().map(|pid| seconds(pid, pid == group.pid)).sum();
        *used.entry(group.name.clone()).or_insert(0.0) += own;
    }
    used
}

/// Greatest memory of each group since [`forget_peaks`], in MB: the sum over its processes, so that what
/// backends of `PostgreSQL` share is counted more than once.
pub(crate) fn peaks(groups: &[Group]) -> BTreeMap<String, f64> {
    let parents = parents();
    let mut peaks = BTreeMap::new();
    for group in groups {
        let own: f64 = family(group.pid, &parents).into_iter().map(|pid| status_kb(pid, "VmHWM:") / 1024.0).sum();
        *peaks.entry(group.name.clone()).or_insert(0.0) += own;
    }
    peaks
}

/// Memory of one process now, in MB.
pub(crate) fn memory(pid: u32) -> f64 {
    status_kb(pid, "VmRSS:") / 1024.0
}

/// Begins to count peaks anew.
pub(crate) fn forget_peaks(groups: &[Group]) {
    let parents = parents();
    for pid in groups.iter().flat_map(|group| family(group.pid, &parents)) {
        // Without the right to do so the peak is the one since the process began.
        let _ = std::fs::write(format!("/proc/{pid}/clear_refs"), "5");
    }
}

/// Load average of the last minute.
pub(crate) fn load() -> f64 {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().and_then(|first| first.parse().ok()).unwrap_or(f64::NAN)
}

/// An argument `--name=value` or `--name value` of a running process.
pub(crate) fn argument(pid: u32, name: &str) -> anyhow::Result<String> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/cmdline"))?;
    let mut words = text.split('\0');
    while let Some(word) = words.next() {
        if word == name {
            return words.next().map(str::to_owned).with_context(|| format!("{name} has a value"));
        }
        if let Some(value) = word.strip_prefix(name).and_then(|rest| rest.strip_prefix('=')) {
            return Ok(value.to_owned());
        }
    }
    anyhow::bail!("process {pid} has no argument {name}")
}

fn parents() -> BTreeMap<u32, u32> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    entries
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter_map(|pid| Some((pid, fields(pid)?.get(1)?.parse().ok()?)))
        .collect()
}

fn family(pid: u32, parents: &BTreeMap<u32, u32>) -> Vec<u32> {
    let children = parents.iter().filter(|(_, parent)| **parent == pid).map(|(child, _)| *child);
    std::iter::once(pid).chain(children).collect()
}

/// What follows the name in `/proc/PID/stat`: state, parent, ….
fn fields(pid: u32) -> Option<Vec<String>> {
    let path = format!("/proc/{pid}/stat");
    let text = std::fs::read_to_string(Path::new(&path)).ok()?;
    Some(text.rsplit_once(')')?.1.split_whitespace().map(str::to_owned).collect())
}

/// CPU of one process; with `reaped`, that of children that have ended too.
fn seconds(pid: u32, reaped: bool) -> f64 {
    let Some(fields) = fields(pid) else { return 0.0 };
    let count = if reaped { 4 } else { 2 };
    fields.iter().skip(11).take(count).filter_map(|field| field.parse::<f64>().ok()).sum::<f64>() / TICKS
}

fn status_kb(pid: u32, name: &str) -> f64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0.0)
}
