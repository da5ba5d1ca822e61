//! Decides how strictly the pods of a cell over several zones are spread over the zones.

use crds::PlacementSpec;
use crds::placement_policy::v1alpha1::{Topology as Level, WhenUnsatisfiable};
use vocabulary::ZoneSpread;

use crate::topology::CellFacts;

/// Returns how strictly pods of the Divided component are spread over the zones of a cell.
///
/// `None` where the cell lies in one zone or the policy has no spread by zone.
///
/// The decision counts such a cell as evenly divided. With `Hold` no pod may be placed that breaks evenness, so a pod
/// that would break evenness waits. With `BestEffort` all pods run, as evenly as there is room.
pub fn zone_spread(spec: &PlacementSpec, cell: &CellFacts) -> Option<ZoneSpread> {
    let spread = spec.spread.iter().find(|spread| spread.topology == Level::Zone).filter(|_| cell.zones.len() > 1)?;
    Some(match spread.when_unsatisfiable {
        WhenUnsatisfiable::Hold => ZoneSpread::Strict,
        WhenUnsatisfiable::BestEffort => ZoneSpread::Preferred,
    })
}
