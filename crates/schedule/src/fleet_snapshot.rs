//! The fleet as decisions see it: topology, directives, health and reserved capacity.

use std::collections::{BTreeMap, BTreeSet};

use crds::cluster::v1alpha1::Amounts;
use domain::failover::{FailoverBreaker, FailoverDecision, SilentCluster};
use domain::placement::{Directive, Effect, Ledger};
use domain::stored_topology::{StoredCell, StoredCluster, topology_from_rows};
use domain::topology::Topology;
use jiff::{SignedDuration, Timestamp};
use store::{
    AppId, Bookings, CellRow, Claim, ClusterRow, ClusterStatusRow, DirectiveRow, FailoverBreakerRow, PlacementRow,
    RECOVERING, Removal, ReservationRow, Store, StoreError,
};
use vocabulary::{CellName, ClusterName, Verdict};

use crate::directives::{CellRelease, Directives};
use crate::silent_clusters::{restart_clock_after_breaker_closed, silences};

/// All stored rows about the fleet that decisions use.
#[derive(Debug, Clone)]
pub struct FleetRows {
    /// Clusters, each with its last status.
    pub clusters: Vec<ClusterRow>,
    /// Cells, the implicit cells included.
    pub cells: Vec<CellRow>,
    /// Directives in force.
    pub directives: Vec<DirectiveRow>,
    /// Sums of reservations by cluster and zone, with their versions.
    pub bookings: Bookings,
    /// State of the failover breaker since its last change; `None` before the first.
    pub breaker: Option<FailoverBreakerRow>,
}

/// The fleet, and the capacity that applications hold in it.
#[derive(Debug)]
pub(crate) struct FleetSnapshot {
    pub(crate) topology: Topology,
    pub(crate) directives: Directives,
    /// Clusters being removed whose objects stay in the member.
    abandoned: Vec<String>,
    /// Clusters being removed that a person declared gone for good and that do not answer.
    gone: Vec<String>,
    /// Clusters being removed together with the objects that run there.
    emptied: Vec<String>,
    silences: Vec<SilentCluster>,
    breaker: FailoverBreaker,
    held: BTreeMap<(String, String), Amounts>,
    /// Version of the reservation sums of each cluster.
    pub(crate) booking_versions: BTreeMap<String, i64>,
}

impl FleetSnapshot {
    /// Reads the fleet. A change of the failover breaker is stored before any decision uses it.
    pub(crate) async fn read(store: &Store, claim: &Claim, stale_after: SignedDuration) -> Result<Self, StoreError> {
        let (clusters, cells, directives, bookings, breaker) = tokio::try_join!(
            store.cluster_list(),
            store.cell_list(),
            store.directive_list(),
            store.reservation_sums(),
            store.failover_breaker()
        )?;
        let rows = FleetRows { clusters, cells, directives, bookings, breaker };
        let (snapshot, turned) = Self::of(rows, Timestamp::now(), stale_after);
        if let Some(row) = turned {
            store.failover_breaker_set(claim, row).await?;
            tracing::info!(open = row.open, "the failover breaker changed");
        }
        Ok(snapshot)
    }

    /// Builds the snapshot from rows. Also returns the state of the breaker where it changed.
    ///
    /// A cluster whose health was last confirmed longer than `stale_after` ago is Unknown, whatever its stored health.
    pub(crate) fn of(
        rows: FleetRows,
        now: Timestamp,
        stale_after: SignedDuration,
    ) -> (Self, Option<FailoverBreakerRow>) {
        let FleetRows { clusters, cells, directives, bookings, breaker: seen } = rows;
        let removed = |removal| -> Vec<String> {
            let leaving = clusters.iter().filter(|row| row.taken.removal == Some(removal));
            leaving.map(|row| row.taken.name.clone()).collect()
        };
        let (abandoned, emptied) = (removed(Removal::Orphan), removed(Removal::Delete));
        let gone =
            clusters.iter().filter(|row| is_gone(row, now, stale_after)).map(|row| row.taken.name.clone()).collect();
        let mut silences = silences(&clusters, now, stale_after);
        let holds: BTreeSet<&str> = bookings.sums.iter().map(|row| row.cluster.as_str()).collect();
        let members: BTreeSet<String> = clusters
            .iter()
            .filter(|row| is_member(row, holds.contains(row.taken.name.as_str())))
            .map(|row| row.taken.name.clone())
            .collect();
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
                    health: status.as_ref().filter(|_| !stale).map(|status| status.health),
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
        let (mut topology, problems) = topology_from_rows(clusters, cells);
        for problem in problems.iter().filter(|problem| problem.excluded) {
            tracing::warn!(
                kind = problem.kind,
                name = problem.name,
                reason = problem.reason,
                message = problem.message,
                "takes no part in placement"
            );
        }
        let directives = Directives::read(directives);
        directives.hold_cells(&mut topology);
        let held = bookings.sums.iter().map(|row| ((row.cluster.clone(), row.zone.clone()), amounts(row))).collect();
        let breaker =
            FailoverBreaker::judge(topology.clusters.values().filter(|facts| members.contains(facts.name.as_str())));
        let open = matches!(breaker, FailoverBreaker::Open { .. });
        let turned = (seen.is_some_and(|seen| seen.open) != open).then_some(FailoverBreakerRow { open, since: now });
        restart_clock_after_breaker_closed(&mut silences, now, turned.or(seen));
        let snapshot = Self {
            topology,
            directives,
            abandoned,
            gone,
            emptied,
            silences,
            breaker,
            held,
            booking_versions: bookings.versions,
        };
        (snapshot, turned)
    }

    /// Returns whether an unreadable directive targets the application: its placement stays as it is.
    pub(crate) fn is_held(&self, app: AppId) -> bool {
        self.directives.is_held(app)
    }

    /// Returns whether the cluster is being removed and its objects stay in the member.
    pub(crate) fn is_abandoned(&self, cluster: &str) -> bool {
        self.abandoned.iter().any(|name| name == cluster)
    }

    /// Returns whether the cluster is being removed and the objects placed there no longer exist.
    pub(crate) fn is_gone(&self, cluster: &str) -> bool {
        self.gone.iter().any(|name| name == cluster)
    }

    /// Returns whether the cluster is being removed together with the objects that run there.
    pub(crate) fn is_emptied(&self, cluster: &str) -> bool {
        self.emptied.iter().any(|name| name == cluster)
    }

    /// Returns whether a person or an operation drains the row's place for its application.
    ///
    /// A person drains the cluster of the row. A directive drains the cell of the row.
    pub(crate) fn is_drained(&self, row: &PlacementRow) -> bool {
        self.topology.clusters.get(row.cluster.as_str()).is_some_and(|facts| facts.drain)
            || self.is_drained_by_directive(row.app, &row.cell)
    }

    /// Returns whether a directive drains the cell for the application.
    pub(crate) fn is_drained_by_directive(&self, app: AppId, cell: &str) -> bool {
        self.directive_on(app, cell, Effect::Drain).is_some()
    }

    /// Returns whether a directive drains any place for the application.
    pub(crate) fn has_drains_of(&self, app: AppId) -> bool {
        self.directives.of(app).any(|directive| directive.effect == Effect::Drain)
    }

    /// Returns the directive that keeps floors of the application in the cell from being lowered.
    pub(crate) fn hold_of(&self, app: AppId, cell: &str) -> Option<&Directive> {
        self.directive_on(app, cell, Effect::Hold)
    }

    /// Returns what an open release of the application says about cells.
    pub(crate) fn releases_of(&self, app: AppId) -> BTreeMap<CellName, CellRelease> {
        self.directives.releases_of(app)
    }

    fn directive_on(&self, app: AppId, cell: &str, effect: Effect) -> Option<&Directive> {
        self.directives.with_effect(app, self.topology.cells.get(cell)?, effect)
    }

    /// Returns whether the topology lacks the cell, because this version cannot read it.
    ///
    /// A Cell that is being deleted is still in the topology.
    pub(crate) fn is_unknown(&self, cell: &str) -> bool {
        !self.topology.cells.contains_key(cell)
    }

    /// Returns whether too many clusters are unhealthy at once for automatic moves.
    pub(crate) fn breaker_is_open(&self) -> bool {
        matches!(self.breaker, FailoverBreaker::Open { .. })
    }

    /// Decides which silent clusters are given up, for an application that waits `after` seconds.
    pub(crate) fn failover(&self, after: Option<i64>) -> FailoverDecision {
        FailoverDecision::of(after, &self.silences, &self.breaker)
    }

    /// Returns the amounts that all other applications hold; `own` are those of the excluded application.
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

    /// Replaces the amounts that one application holds, after a decision of this batch.
    pub(crate) fn rebook(&mut self, before: &[ReservationRow], after: &[ReservationRow]) {
        for (rows, sign) in [(before, -1), (after, 1)] {
            for row in rows {
                shift(self.held.entry((row.cluster.clone(), row.zone.clone())).or_default(), &amounts(row), sign);
            }
        }
    }

    /// Raises the version of these clusters' sums by one, after the batch that booked there was written.
    pub(crate) fn booked(&mut self, clusters: &[String]) {
        for cluster in clusters {
            *self.booking_versions.entry(cluster.clone()).or_default() += 1;
        }
    }

    /// Returns whether facts from the cluster may be counted, because its health is Pass.
    pub(crate) fn is_fresh(&self, cluster: &str) -> bool {
        self.topology.clusters.get(cluster).is_some_and(|facts| facts.health == Verdict::Pass)
    }
}

/// Returns whether a cluster counts for the failover breaker.
///
/// A cluster that was never seen and holds nothing is joining, and does not count. A cluster that is being removed does
/// not count either. A cluster whose replaced member does not answer yet counts, because it holds its placed replicas.
fn is_member(row: &ClusterRow, holds: bool) -> bool {
    let met = row.status.as_ref().is_some_and(|status| status.as_of.is_some());
    row.taken.removal.is_none() && (met || holds)
}

/// Returns whether a cluster is being removed, was declared gone by a person, and does not answer.
///
/// The member was never seen, or a check within `stale_after` found it Unknown and not recovering.
fn is_gone(row: &ClusterRow, now: Timestamp, stale_after: SignedDuration) -> bool {
    let silent = |status: &ClusterStatusRow| {
        let judged = status.checked_at.is_some_and(|at| now.duration_since(at) <= stale_after);
        judged && status.health == Verdict::Unknown && status.reason != RECOVERING
    };
    row.taken.removal.is_some() && row.taken.gone && row.status.as_ref().is_none_or(silent)
}

/// Returns whether a member was healthy, but was last confirmed longer than `stale_after` ago.
pub(crate) fn is_stale(status: &ClusterStatusRow, now: Timestamp, stale_after: SignedDuration) -> bool {
    let well = status.health == Verdict::Pass;
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
    fn breaker_counts_neither_who_joins_nor_who_leaves() {
        for (case, removal, as_of, counts) in [
            ("a member", None, Some(Timestamp::UNIX_EPOCH), true),
            ("joins, never met", None, None, false),
            ("is removed", Some(Removal::Delete), Some(Timestamp::UNIX_EPOCH), false),
        ] {
            let taken = ClusterTaken {
                name: "north".to_owned(),
                object_uid: "o".to_owned(),
                member_uid: "m".to_owned(),
                generation: 1,
                resource_version: None,
                labels: json!({}),
                spec: json!({}),
                removal,
                gone: false,
            };
            let status = Some(ClusterStatusRow { as_of, ..ClusterStatusRow::unknown() });
            assert_eq!(is_member(&ClusterRow { taken, status }, false), counts, "{case}");
        }
    }

    #[test]
    fn only_a_member_declared_gone_that_does_not_answer_is_gone() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let row = |removal, gone, status: Option<(Verdict, &str, i64)>| ClusterRow {
            taken: ClusterTaken {
                name: "north".to_owned(),
                object_uid: "o".to_owned(),
                member_uid: "m".to_owned(),
                generation: 1,
                resource_version: None,
                labels: json!({}),
                spec: json!({}),
                removal,
                gone,
            },
            status: status.map(|(health, reason, checked)| ClusterStatusRow {
                health,
                reason: reason.to_owned(),
                checked_at: Some(at(checked)),
                ..ClusterStatusRow::unknown()
            }),
        };
        let removal = Some(Removal::Orphan);
        for (row, gone) in [
            (row(removal, true, Some((Verdict::Unknown, "Unreachable", 95))), true),
            (row(removal, true, None), true),
            (row(removal, true, Some((Verdict::Unknown, "Unreachable", 50))), false),
            (row(removal, true, Some((Verdict::Unknown, RECOVERING, 95))), false),
            (row(removal, true, Some((Verdict::Fail, "NotReady", 95))), false),
            (row(removal, true, Some((Verdict::Pass, "Ready", 95))), false),
            (row(removal, false, Some((Verdict::Unknown, "Unreachable", 95))), false),
            (row(None, true, Some((Verdict::Unknown, "Unreachable", 95))), false),
        ] {
            assert_eq!(is_gone(&row, at(100), SignedDuration::from_secs(15)), gone, "{row:?}");
        }
    }
}
