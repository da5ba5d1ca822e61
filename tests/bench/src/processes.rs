//! CPU time and memory of processes, as the kernel accounts them.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Context;

/// Ticks of the kernel's clock in a second; 100 on every Linux that Meridian runs on.
const TICKS: f64 = 100.0;

/// A named group of processes: one process and its children.
#[derive(Debug, Clone)]
pub(crate) struct Group {
    pub(crate) name: String,
    pub(crate) pid: u32,
}

/// Returns the CPU seconds that each group has used so far.
pub(crate) fn cpu(groups: &[Group]) -> BTreeMap<String, f64> {
    let parents = parents();
    let mut used = BTreeMap::new();
    for group in groups {
        let own: f64 = family(group.pid, &parents).into_iter().map(|pid| seconds(pid, pid == group.pid)).sum();
        *used.entry(group.name.clone()).or_insert(0.0) += own;
    }
    used
}

/// Returns the peak memory of each group since [`forget_peaks`], in MB.
///
/// The peak is the sum over the processes of the group. Memory that `PostgreSQL` backends share is counted more than
/// once.
pub(crate) fn peaks(groups: &[Group]) -> BTreeMap<String, f64> {
    let parents = parents();
    let mut peaks = BTreeMap::new();
    for group in groups {
        let own: f64 = family(group.pid, &parents).into_iter().map(|pid| status_kb(pid, "VmHWM:") / 1024.0).sum();
        *peaks.entry(group.name.clone()).or_insert(0.0) += own;
    }
    peaks
}

/// Returns the present memory of one process, in MB.
pub(crate) fn memory(pid: u32) -> f64 {
    status_kb(pid, "VmRSS:") / 1024.0
}

/// Resets the peak memory of all processes in the groups.
pub(crate) fn forget_peaks(groups: &[Group]) {
    let parents = parents();
    for pid in groups.iter().flat_map(|group| family(group.pid, &parents)) {
        // Without the right to reset, the peak is the one since the start of the process.
        let _ = std::fs::write(format!("/proc/{pid}/clear_refs"), "5");
    }
}

/// Returns the load average of the last minute.
pub(crate) fn load() -> f64 {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().and_then(|first| first.parse().ok()).unwrap_or(f64::NAN)
}

/// Returns the value of an argument `--name=value` or `--name value` of a running process.
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

/// Returns the fields of `/proc/PID/stat` after the name: state, parent, ….
fn fields(pid: u32) -> Option<Vec<String>> {
    let path = format!("/proc/{pid}/stat");
    let text = std::fs::read_to_string(Path::new(&path)).ok()?;
    Some(text.rsplit_once(')')?.1.split_whitespace().map(str::to_owned).collect())
}

/// Returns the CPU seconds of one process; with `reaped`, includes its children that have ended.
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
