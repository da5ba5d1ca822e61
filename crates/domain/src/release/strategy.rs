//! Checks `spec.release` and completes it to a strategy.

use std::fmt;

use crds::application::release::{Confirm, OnGateFail, Release};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use serde::{Deserialize, Serialize};

use crate::intent::seconds;
use crate::placement::SpecProblem;

/// Maximum of `deadline` and of `minReady` in seconds: a week.
const SPAN_SECONDS_MAX: u32 = 7 * 86_400;
/// Default of `deadline` in seconds, as the CRD has it.
const DEADLINE_SECONDS_DEFAULT: u32 = 600;
/// Default of `minReady` in seconds, as the CRD has it.
const MIN_READY_SECONDS_DEFAULT: u32 = 10;

/// Share of all replicas over all cells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Share {
    /// A number of replicas. Where there are fewer, the share is all of them.
    Replicas(i32),
    /// A percentage of the replicas, rounded up.
    Percent(i32),
}

impl Share {
    /// All replicas.
    pub const ALL: Self = Self::Percent(100);

    /// Returns the number of replicas out of `total`.
    pub fn of(self, total: i32) -> i32 {
        match self {
            Self::Replicas(count) => count.clamp(0, total.max(0)),
            Self::Percent(percent) => {
                let part = (i64::from(total.max(0)) * i64::from(percent)).div_euclid(100);
                let rest = (i64::from(total.max(0)) * i64::from(percent)).rem_euclid(100);
                i32::try_from(part + i64::from(rest > 0)).unwrap_or(i32::MAX)
            }
        }
    }

    fn parse(share: &IntOrString) -> Option<Self> {
        match share {
            IntOrString::Int(count) => (*count >= 1).then_some(Self::Replicas(*count)),
            IntOrString::String(text) => {
                let percent: i32 = text.strip_suffix('%')?.parse().ok()?;
                (1..=100).contains(&percent).then_some(Self::Percent(percent))
            }
        }
    }

    /// Returns whether the share is larger than an earlier one, which both are for any number of replicas where possible.
    fn grows_from(self, earlier: Self, replicas: i32) -> bool {
        match (earlier, self) {
            (Self::Replicas(before), Self::Replicas(now)) | (Self::Percent(before), Self::Percent(now)) => now > before,
            // One replica is 1% and 100%, so unlike shares may be equal.
            _ => self.of(replicas) >= earlier.of(replicas),
        }
    }
}

impl fmt::Display for Share {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Replicas(count) => write!(formatter, "{count}"),
            Self::Percent(percent) => write!(formatter, "{percent}%"),
        }
    }
}

/// A complete strategy: how a release proceeds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Strategy {
    /// One replica in each cell gets the revision first.
    pub beta: bool,
    /// Cumulative shares before the last batch, which is all replicas.
    pub batches: Vec<Share>,
    /// Each batch after the first waits for a person.
    pub waits_for_person: bool,
    /// Time that a batch must be available, in seconds.
    pub min_ready: u32,
    /// Time in which a batch must become available, in seconds.
    pub deadline: u32,
    /// All cells go back when a batch does not become available. Otherwise the release pauses.
    pub rolls_back: bool,
}

impl Default for Strategy {
    fn default() -> Self {
        Self {
            beta: false,
            batches: Vec::new(),
            waits_for_person: false,
            min_ready: MIN_READY_SECONDS_DEFAULT,
            deadline: DEADLINE_SECONDS_DEFAULT,
            rolls_back: true,
        }
    }
}

impl Strategy {
    /// Parses `spec.release`, as it is with this number of replicas.
    ///
    /// # Errors
    /// All problems, each with field and remedy.
    pub fn parse(release: &Release, replicas: i32) -> Result<Self, Vec<SpecProblem>> {
        let mut problems = Vec::new();
        let mut shares = Vec::new();
        for (i, batch) in release.batches.iter().enumerate() {
            let mut refuse =
                |message: String| problems.push(SpecProblem { field: format!("spec.release.batches[{i}]"), message });
            let Some(share) = Share::parse(batch) else {
                refuse("is neither a number of at least 1 nor a percentage from 1% to 100%; correct it".to_owned());
                continue;
            };
            match shares.last() {
                Some(earlier) if !share.grows_from(*earlier, replicas) => refuse(format!(
                    "{share} does not exceed {earlier} of the batch before, with {replicas} replicas; shares add up, so raise or remove it"
                )),
                _ => {}
            }
            shares.push(share);
        }
        let min_ready = span("minReady", &release.min_ready, 0, &mut problems);
        let deadline = span("deadline", &release.deadline, 1, &mut problems);
        if !problems.is_empty() {
            return Err(problems);
        }
        // The last batch is all replicas in any case.
        let whole = shares.iter().position(|share| share.of(replicas) >= replicas);
        shares.truncate(whole.unwrap_or(shares.len()));
        Ok(Self {
            beta: release.beta,
            batches: shares,
            waits_for_person: release.confirm == Confirm::Manual,
            min_ready,
            deadline,
            rolls_back: release.on_gate_fail == OnGateFail::Rollback,
        })
    }
}

/// Checks `spec.release` against the number of replicas, and returns all problems.
pub fn check_release(release: &Release, replicas: i32) -> Vec<SpecProblem> {
    Strategy::parse(release, replicas).err().unwrap_or_default()
}

/// Parses a span of at least `least` seconds.
fn span(field: &str, text: &str, least: u32, problems: &mut Vec<SpecProblem>) -> u32 {
    let parsed = seconds(text).and_then(|seconds| u32::try_from(seconds).ok());
    parsed.filter(|seconds| (least..=SPAN_SECONDS_MAX).contains(seconds)).unwrap_or_else(|| {
        problems.push(SpecProblem {
            field: format!("spec.release.{field}"),
            message: format!("{text:?} is no span from {least}s to 168h; write for example 30s, 5m or 1h30m"),
        });
        0
    })
}
