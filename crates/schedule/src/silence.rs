//! Which clusters are silent, and how much of that counts.

use domain::health::Silence;
use jiff::{SignedDuration, Timestamp};
use store::{ClusterRow, FailoverBreakerRow, RECOVERING};
use vocabulary::Verdict;

/// The clusters that do not answer.
pub(crate) fn silences(clusters: &[ClusterRow], now: Timestamp, stale_after: SignedDuration) -> Vec<Silence> {
    clusters.iter().filter_map(|row| silence(row, now, stale_after)).collect()
}

/// What was silent already when the breaker closed counts from then.
pub(crate) fn count_from_thaw(silences: &mut [Silence], now: Timestamp, breaker: Option<FailoverBreakerRow>) {
    let Some(thawed) = breaker.filter(|breaker| !breaker.open).map(|breaker| breaker.since) else { return };
    let calm = now.duration_since(thawed).as_secs();
    for silence in silences {
        silence.counts = silence.lasts.min(calm);
    }
}

/// Seconds until a silence will have lasted, or counted, for one of the times given.
pub(crate) fn next_failover(silences: &[Silence], times: &[i64]) -> Option<i64> {
    let left = |silence: &Silence| {
        let of = [silence.lasts, silence.counts];
        times.iter().flat_map(|after| of.map(|seconds| after - seconds)).filter(|left| *left > 0).min()
    };
    silences.iter().filter_map(left).min()
}

/// A cluster that does not answer by a judgement that is not old itself: what nobody looked at is not known to be silent,
/// and what answers again is not, although it does not count as well yet.
fn silence(row: &ClusterRow, now: Timestamp, stale_after: SignedDuration) -> Option<Silence> {
    let status = row.status.as_ref().filter(|_| row.taken.removal.is_none())?;
    let since = status.unhealthy_since.filter(|_| status.health == format!("{:?}", Verdict::Unknown))?;
    let judged = status.checked_at.is_some_and(|at| now.duration_since(at) <= stale_after);
    let cluster = row.taken.name.parse().ok().filter(|_| judged && status.reason != RECOVERING)?;
    let whole = Timestamp::from_second(since.as_second()).unwrap_or(since);
    let lasts = now.duration_since(since).as_secs();
    Some(Silence { cluster, since: whole.to_string(), lasts, counts: lasts })
}
