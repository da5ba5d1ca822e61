//! What decisions see of the fleet.

use std::collections::BTreeMap;

use crds::cluster::v1alpha1::Amounts;
use domain::health::{Breaker, Failover};
use domain::placement::{Directive, Ledger};
use domain::stored_topology::{StoredCell, StoredCluster, topology_from_rows};
use domain::topology::Topology;
use jiff::{SignedDuration, Timestamp};
use store::{AppId, ClusterRow, ClusterStatusRow, RECOVERING, Removal, ReservationRow, Store, StoreError};
use vocabulary::{ClusterName, Verdict};

/// The fleet, and what everybody holds of it.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) topology: Topology,
    pub(crate) directives: Vec<(Option<AppId>, Directive)>,
    /// Clusters being removed whose objects are left behind.
    abandoned: Vec<String>,
    /// Clusters being removed together with what runs there.
    emptied: Vec<String>,
    /// Clusters that do not answer, with seconds of silence and when it began.
    silent: Vec<(ClusterName, i64, String)>,
    breaker: Breaker,
    held: BTreeMap<(String, String), Amounts>,
}

impl World {
    /// Reads the fleet. What was last confirmed longer than `stale_after` ago is Unknown, whatever it was then.
    pub(crate) async fn read(store: &Store, stale_after: SignedDuration) -> Result<Self, StoreError> {
        let (clusters, cells, orders, sums) = tokio::try_join!(
            store.cluster_list(),
            store.cell_list(),
            store.directive_list(),
            store.reservation_sums()
        )?;
        let now = Timestamp::now();
        let removed = |removal| -> Vec<String> {
            let leaving = clusters.iter().filter(|row| row.taken.removal == Some(removal));
            leaving.map(|row| row.taken.name.clone()).collect()
        };
        let (abandoned, emptied) = (removed(Removal::Orphan), removed(Removal::Delete));
        let silent = clusters.iter().filter_map(|row| silence(row, now, stale_after)).collect();
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
            .filter_map(|row| Some(StoredCell { name: row.name, labels: row.labels, spec: row.spec? }))
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
        Ok(Self { topology, directives, abandoned, emptied, silent, breaker, held: held.collect() })
    }

    /// The cluster is being removed and what runs there stays behind.
    pub(crate) fn is_abandoned(&self, cluster: &str) -> bool {
        self.abandoned.iter().any(|name| name == cluster)
    }

    /// The cluster is being removed together with what runs there.
    pub(crate) fn is_emptied(&self, cluster: &str) -> bool {
        self.emptied.iter().any(|name| name == cluster)
    }

    /// A person moves everything away from the cluster.
    pub(crate) fn is_drained(&self, cluster: &str) -> bool {
        self.topology.clusters.get(cluster).is_some_and(|facts| facts.drain)
    }

    /// Whether too much is unhealthy at once for anything to move by itself.
    pub(crate) fn breaker_is_open(&self) -> bool {
        matches!(self.breaker, Breaker::Open { .. })
    }

    /// What is run elsewhere because its cluster is silent, for an application that waits so many seconds.
    pub(crate) fn failover(&self, after: Option<i64>) -> Failover {
        Failover::of(after, &self.silent, &self.breaker)
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

/// Seconds until a silent cluster has been silent for one of the times given.
pub(crate) fn next_failover(
    clusters: &[ClusterRow],
    now: Timestamp,
    stale_after: SignedDuration,
    times: &[i64],
) -> Option<i64> {
    let left = |row: &ClusterRow| {
        let (_, seconds, _) = silence(row, now, stale_after)?;
        times.iter().map(|after| after - seconds).filter(|left| *left > 0).min()
    };
    clusters.iter().filter_map(left).min()
}

/// A cluster that does not answer by a judgement that is not old itself: what nobody looked at is not known to be silent,
/// and what answers again is not, although it does not count as well yet.
fn silence(row: &ClusterRow, now: Timestamp, stale_after: SignedDuration) -> Option<(ClusterName, i64, String)> {
    let status = row.status.as_ref().filter(|_| row.taken.removal.is_none())?;
    let since = status.unhealthy_since.filter(|_| status.health == format!("{:?}", Verdict::Unknown))?;
    let judged = status.checked_at.is_some_and(|at| now.duration_since(at) <= stale_after);
    let name = row.taken.name.parse().ok().filter(|_| judged && status.reason != RECOVERING)?;
    let whole = Timestamp::from_second(since.as_second()).unwrap_or(since);
    Some((name, now.duration_since(since).as_secs(), whole.to_string()))
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
    sum.cpu_milli += by.cpu_milli * sign;
    sum.memory_mi += by.memory_mi * sign;
    sum.pods += by.pods * sign;
}
