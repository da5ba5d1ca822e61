//! Plans the floors of the rows of one family of components. Pure.

use std::collections::BTreeMap;

use domain::motion::{RowFacts, floors_after_decision, lower_floors};
use store::{PlacementId, PlacementRow};

use crate::fleet_snapshot::FleetSnapshot;
use crate::gather::AppSnapshot;

/// Returns the new floor of each row of a family.
///
/// `target_after` returns the target that a row will have. `coming` is the number of replicas decided for objects
/// without a row, for any reason that keeps them from having one.
pub(crate) fn plan_floors(
    snapshot: &FleetSnapshot,
    facts: &AppSnapshot,
    rows: &[&PlacementRow],
    coming: i64,
    target_after: impl Fn(PlacementId) -> i32,
) -> BTreeMap<PlacementId, i32> {
    let available = |row: &PlacementRow| {
        let status = facts.status.get(&row.id).filter(|status| !status.stale)?;
        (snapshot.is_fresh(&row.cluster) && status.observed_epoch == row.plan_epoch).then_some(status.available)
    };
    let seen = |row: &PlacementRow| {
        let status = facts.status.get(&row.id);
        let fresh = snapshot.is_fresh(&row.cluster) && !status.is_some_and(|status| status.stale);
        fresh.then(|| status.map_or(0, |status| status.available))
    };
    let known: Vec<RowFacts> = rows
        .iter()
        .map(|row| RowFacts {
            id: row.id.into(),
            target: row.target,
            floor: row.floor,
            surge: row.surge,
            available: available(row),
            seen: seen(row),
            is_held: snapshot.hold_of(row.app, &row.cell).is_some(),
        })
        .collect();
    let target_after = |id: i64| target_after(id.into());
    let mut floors: BTreeMap<PlacementId, i32> = rows.iter().map(|row| (row.id, row.floor)).collect();
    let changes = if known.iter().any(|row| row.target != target_after(row.id)) {
        floors_after_decision(&known, coming, target_after)
    } else {
        lower_floors(&known, coming)
    };
    floors.extend(changes.into_iter().map(|change| (change.id.into(), change.floor)));
    floors
}
