//! Finds the silent clusters and how much of each silence counts for failover.

use domain::failover::SilentCluster;
use jiff::{SignedDuration, Timestamp};
use store::{ClusterRow, FailoverBreakerRow, RECOVERING};
use vocabulary::Verdict;

/// Returns the clusters that do not answer.
pub(crate) fn silences(clusters: &[ClusterRow], now: Timestamp, stale_after: SignedDuration) -> Vec<SilentCluster> {
    clusters.iter().filter_map(|row| silence(row, now, stale_after)).collect()
}

/// Restarts the counted silence of clusters that were already silent when the breaker closed.
///
/// Their silence counts from the closing. While the breaker is open, the counted silence is zero. A caller of
/// [`next_failover`] therefore gets a time, and not `None`, before the closing is stored.
pub(crate) fn restart_clock_after_breaker_closed(
    silences: &mut [SilentCluster],
    now: Timestamp,
    breaker: Option<FailoverBreakerRow>,
) {
    let Some(breaker) = breaker else { return };
    let calm = if breaker.open { 0 } else { now.duration_since(breaker.since).as_secs() };
    for silence in silences {
        silence.counts = silence.lasts.min(calm);
    }
}

/// Returns the seconds until a silence lasts, or counts, as long as one of `times`.
pub(crate) fn next_failover(silences: &[SilentCluster], times: &[i64]) -> Option<i64> {
    let left = |silence: &SilentCluster| {
        let of = [silence.lasts, silence.counts];
        times.iter().flat_map(|after| of.map(|seconds| after - seconds)).filter(|left| *left > 0).min()
    };
    silences.iter().filter_map(left).min()
}

/// Returns the silence of a cluster that a recent check found Unknown.
///
/// A cluster without a recent check is not known to be silent. A recovering cluster answers again and is not silent,
/// although it does not count as healthy yet. A cluster that is being removed is left out.
fn silence(row: &ClusterRow, now: Timestamp, stale_after: SignedDuration) -> Option<SilentCluster> {
    let status = row.status.as_ref().filter(|_| row.taken.removal.is_none())?;
    let since = status.silent_since.filter(|_| status.health == Verdict::Unknown)?;
    let judged = status.checked_at.is_some_and(|at| now.duration_since(at) <= stale_after);
    let cluster = row.taken.name.parse().ok().filter(|_| judged && status.reason != RECOVERING)?;
    let whole = Timestamp::from_second(since.as_second()).unwrap_or(since);
    let lasts = now.duration_since(since).as_secs();
    Some(SilentCluster { cluster, since: whole.to_string(), lasts, counts: lasts })
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use store::{ClusterStatusRow, ClusterTaken};

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn failover_counts_silence_and_not_a_rejected_credential() {
        let taken = ClusterTaken {
            name: "north".to_owned(),
            object_uid: "o".to_owned(),
            member_uid: "m".to_owned(),
            generation: 1,
            resource_version: None,
            labels: json!({}),
            spec: json!({}),
            removal: None,
            gone: false,
        };
        let status = ClusterStatusRow {
            health: Verdict::Unknown,
            reason: "Silent".to_owned(),
            checked_at: Some(at(3600)),
            // The member rejected its credential for an hour before it fell silent.
            unhealthy_since: Some(at(0)),
            silent_since: Some(at(3588)),
            ..ClusterStatusRow::unknown()
        };
        let rows = [ClusterRow { taken, status: Some(status) }];
        let found = silences(&rows, at(3600), SignedDuration::from_secs(15));
        assert_eq!(found.iter().map(|silence| silence.lasts).collect::<Vec<_>>(), [12]);
    }

    #[test]
    fn silence_counts_from_breaker_closing_and_gives_next_check() {
        let breaker = |open, since| Some(FailoverBreakerRow { open, since: at(since) });
        // The cluster is silent since second 100, the time is second 700, and the failover time is 300 s.
        for (seen, counts, next) in [
            (None, 600, None),
            (breaker(true, 150), 0, Some(300)),
            (breaker(false, 690), 10, Some(290)),
            (breaker(false, 400), 300, None),
            (breaker(false, 50), 600, None),
        ] {
            let cluster = "north".parse().unwrap();
            let mut silences = [SilentCluster { cluster, since: "then".to_owned(), lasts: 600, counts: 600 }];
            restart_clock_after_breaker_closed(&mut silences, at(700), seen);
            assert_eq!((silences[0].counts, next_failover(&silences, &[300])), (counts, next), "{seen:?}");
        }
    }
}
