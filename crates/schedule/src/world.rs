//! What decisions see of the fleet.

use std::collections::BTreeMap;

use crds::cluster::v1alpha1::Amounts;
use domain::health::{Breaker, Failover, Silence};
use domain::placement::{Directive, Ledger};
use domain::stored_topology::{StoredCell, StoredCluster, topology_from_rows};
use domain::topology::Topology;
use jiff::{SignedDuration, Timestamp};
use store::{
    AppId, Claim, ClusterRow, ClusterStatusRow, FailoverBreakerRow, RECOVERING, Removal, ReservationRow, Store,
    StoreError,
};
use vocabulary::{ClusterName, Verdict};

use crate::silence::{count_from_thaw, silences};

/// The fleet, and what everybody holds of it.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) topology: Topology,
    pub(crate) directives: Vec<(Option<AppId>, Directive)>,
    /// Clusters being removed whose objects are left behind.
    abandoned: Vec<String>,
    /// Clusters being removed that are gone for good, as a person says, and do not answer.
    gone: Vec<String>,
    /// Clusters being removed together with what runs there.
    emptied: Vec<String>,
    silences: Vec<Silence>,
    breaker: Breaker,
    held: BTreeMap<(String, String), Amounts>,
}

impl World {
    /// Reads the fleet. What was last confirmed longer than `stale_after` ago is Unknown, whatever it was then. Where the
    /// breaker opened or closed, that is remembered before anything is decided by it.
    pub(crate) async fn read(store: &Store, claim: &Claim, stale_after: SignedDuration) -> Result<Self, StoreError> {
        let (clusters, cells, orders, sums, seen) = tokio::try_join!(
            store.cluster_list(),
            store.cell_list(),
            store.directive_list(),
            store.reservation_sums(),
            store.failover_breaker()
        )?;
        let now = Timestamp::now();
        let removed = |removal| -> Vec<String> {
            let leaving = clusters.iter().filter(|row| row.taken.removal == Some(removal));
            leaving.map(|row| row.taken.name.clone()).collect()
        };
        let (abandoned, emptied) = (removed(Removal::Orphan), removed(Removal::Delete));
        let gone =
            clusters.iter().filter(|row| is_gone(row, now, stale_after)).map(|row| row.taken.name.clone()).collect();
        let mut silences = silences(&clusters, now, stale_after);
        let clusters = clusters
            .into_iter()
            .map(|row| {
                let status = row.status;
                let stale = status.as_ref().is_some_and(|status| is_stale(status, now, stale_after));
                StoredCluster {
                    name: row.taken.name,
                    labels: row.taken.labels,
                    spec: row.taken.spec,
                    leaving: row.taken.removal.is_some(),
                    health: status.as_ref().filter(|_| !stale).map(|status| status.health.clone()),
                    kinds: status.as_ref().map(|status| status.kinds.clone()).unwrap_or_default(),
                    capacity: status.map(|status| status.capacity).unwrap_or_default(),
                }
            })
            .collect();
        let cells = cells
            .into_iter()
            .filter_map(|row| {
                Some(StoredCell { name: row.name, labels: row.labels, spec: row.spec?, leaving: row.leaving })
            })
            .collect();
        let (topology, problems) = topology_from_rows(clusters, cells);
        for problem in problems.iter().filter(|problem| problem.excluded) {
            tracing::warn!(
                kind = problem.kind,
                name = problem.name,
                reason = problem.reason,
                message = problem.message,
                "takes no part in placement"
            );
        }
        let mut directives = Vec::new();
        for row in orders {
            let read = (serde_json::from_value(row.scope), serde_json::from_value(row.effect));
            let (Ok(target), Ok(effect)) = read else {
                // Ignoring what somebody ordered would be worse than standing still.
                return Err(StoreError::Corrupt {
                    what: "placement_directive",
                    reason: format!("directive {} cannot be read by this version", row.id),
                });
            };
            directives.push((
                row.app,
                Directive { id: row.id, target, app: None, effect, owner: row.owner, reason: row.reason },
            ));
        }
        let held = sums.into_iter().map(|row| ((row.cluster.clone(), row.zone.clone()), amounts(&row)));
        let breaker = Breaker::judge(topology.clusters.values());
        let seen = remember(store, claim, seen, matches!(breaker, Breaker::Open { .. }), now).await?;
        count_from_thaw(&mut silences, now, seen);
        Ok(Self { topology, directives, abandoned, gone, emptied, silences, breaker, held: held.collect() })
    }

    /// The cluster is being removed and what runs there stays behind.
    pub(crate) fn is_abandoned(&self, cluster: &str) -> bool {
        self.abandoned.iter().any(|name| name == cluster)
    }

    /// The cluster is being removed, and what was placed there is no more.
    pub(crate) fn is_gone(&self, cluster: &str) -> bool {
        self.gone.iter().any(|name| name == cluster)
    }

    /// The cluster is being removed together with what runs there.
    pub(crate) fn is_emptied(&self, cluster: &str) -> bool {
        self.emptied.iter().any(|name| name == cluster)
    }

    /// A person moves everything away from the cluster.
    pub(crate) fn is_drained(&self, cluster: &str) -> bool {
        self.topology.clusters.get(cluster).is_some_and(|facts| facts.drain)
    }

    /// It is neither a cell that this version can read nor one that is being deleted.
    pub(crate) fn is_unknown(&self, cell: &str) -> bool {
        !self.topology.cells.contains_key(cell)
    }

    /// Whether too much is unhealthy at once for anything to move by itself.
    pub(crate) fn breaker_is_open(&self) -> bool {
        matches!(self.breaker, Breaker::Open { .. })
    }

    /// What is run elsewhere because its cluster is silent, for an application that waits so many seconds.
    pub(crate) fn failover(&self, after: Option<i64>) -> Failover {
        Failover::of(after, &self.silences, &self.breaker)
    }

    /// What all applications but one hold; `own` is what that one holds.
    pub(crate) fn ledger_without(&self, own: &[ReservationRow]) -> Ledger {
        let mut held = self.held.clone();
        for row in own {
            if let Some(sum) = held.get_mut(&(row.cluster.clone(), row.zone.clone())) {
                shift(sum, &amounts(row), -1);
            }
        }
        let mut ledger = Ledger::default();
        for ((cluster, zone), sum) in held {
            if let Ok(cluster) = cluster.parse::<ClusterName>() {
                ledger.hold(cluster, zone, sum);
            }
        }
        ledger
    }

    /// A decision of this batch changed what an application holds.
    pub(crate) fn rebook(&mut self, before: &[ReservationRow], after: &[ReservationRow]) {
        for (rows, sign) in [(before, -1), (after, 1)] {
            for row in rows {
                shift(self.held.entry((row.cluster.clone(), row.zone.clone())).or_default(), &amounts(row), sign);
            }
        }
    }

    /// Whether facts from a cluster may be counted.
    pub(crate) fn is_fresh(&self, cluster: &str) -> bool {
        self.topology.clusters.get(cluster).is_some_and(|facts| facts.health == Verdict::Pass)
    }
}

/// Writes down that the breaker opened or closed, where it did.
async fn remember(
    store: &Store,
    claim: &Claim,
    seen: Option<FailoverBreakerRow>,
    open: bool,
    now: Timestamp,
) -> Result<Option<FailoverBreakerRow>, StoreError> {
    if seen.is_some_and(|seen| seen.open) == open {
        return Ok(seen);
    }
    let row = FailoverBreakerRow { open, since: now };
    store.failover_breaker_set(claim, row).await?;
    tracing::info!(open, "the failover breaker changed");
    Ok(Some(row))
}

/// A person says that the member is gone, and it was never met or a judgement that is not old says that it does not answer.
fn is_gone(row: &ClusterRow, now: Timestamp, stale_after: SignedDuration) -> bool {
    let silent = |status: &ClusterStatusRow| {
        let judged = status.checked_at.is_some_and(|at| now.duration_since(at) <= stale_after);
        judged && status.health == format!("{:?}", Verdict::Unknown) && status.reason != RECOVERING
    };
    row.taken.removal.is_some() && row.taken.gone && row.status.as_ref().is_none_or(silent)
}

/// A member that was well, but longer ago than facts stay true.
pub(crate) fn is_stale(status: &ClusterStatusRow, now: Timestamp, stale_after: SignedDuration) -> bool {
    let well = status.health == format!("{:?}", Verdict::Pass);
    well && status.as_of.is_none_or(|as_of| now.duration_since(as_of) > stale_after)
}

fn amounts(row: &ReservationRow) -> Amounts {
    Amounts { cpu_milli: row.cpu_milli, memory_mi: row.memory_mi, pods: row.pods }
}

fn shift(sum: &mut Amounts, by: &Amounts, sign: i64) {
    *sum = sum.plus_times(*by, sign);
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use store::ClusterTaken;

    use super::*;

    #[test]
    fn only_a_member_that_is_said_to_be_gone_and_is_known_not_to_answer_is_gone() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let row = |removal, gone, status: Option<(&str, &str, i64)>| ClusterRow {
            taken: ClusterTaken {
                name: "north".to_owned(),
                object_uid: "o".to_owned(),
                member_uid: "m".to_owned(),
                generation: 1,
                labels: json!({}),
                spec: json!({}),
                removal,
                gone,
            },
            status: status.map(|(health, reason, checked)| ClusterStatusRow {
                health: health.to_owned(),
                reason: reason.to_owned(),
                checked_at: Some(at(checked)),
                ..ClusterStatusRow::unknown()
            }),
        };
        let removal = Some(Removal::Orphan);
        for (row, gone) in [
            (row(removal, true, Some(("Unknown", "Unreachable", 95))), true),
            (row(removal, true, None), true),
            (row(removal, true, Some(("Unknown", "Unreachable", 50))), false),
            (row(removal, true, Some(("Unknown", RECOVERING, 95))), false),
            (row(removal, true, Some(("Fail", "NotReady", 95))), false),
            (row(removal, true, Some(("Pass", "Ready", 95))), false),
            (row(removal, false, Some(("Unknown", "Unreachable", 95))), false),
            (row(None, true, Some(("Unknown", "Unreachable", 95))), false),
        ] {
            assert_eq!(is_gone(&row, at(100), SignedDuration::from_secs(15)), gone, "{row:?}");
        }
    }
}
