//! Percentiles of measured times.

use std::time::Duration;

use crate::figures::Figures;

/// Adds minimum, median, 90th and 99th percentile and maximum of some times, in milliseconds.
pub(crate) fn add(figures: &mut Figures, name: &str, mut times: Vec<Duration>) {
    times.sort_unstable();
    let at = |part: f64| {
        let last = times.len().saturating_sub(1) as f64;
        times.get((last * part).round() as usize).map_or(f64::NAN, |time| time.as_secs_f64() * 1000.0)
    };
    for (label, part) in [("min", 0.0), ("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("max", 1.0)] {
        figures.add(&format!("{name}.{label}_ms"), at(part));
    }
}

/// Returns the median of some times.
pub(crate) fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default()
}
