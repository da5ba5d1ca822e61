//! How strictly pods of a cell that spans zones are spread over them.

use crds::PlacementSpec;
use crds::placement_policy::v1alpha1::{Topology as Level, WhenUnsatisfiable};
use vocabulary::ZoneSpread;

use crate::topology::CellFacts;

/// How strictly pods of the Divided component are spread over the zones of a cell; nothing where the cell lies in one zone, or
/// the policy has no spread by zone.
///
/// The decision counts such a cell as evenly divided. `Hold` asks for nothing to be placed that breaks evenness, so a pod that
/// would break it waits. `BestEffort` asks for everything to run, as evenly as there is room.
pub fn zone_spread(spec: &PlacementSpec, cell: &CellFacts) -> Option<ZoneSpread> {
    let spread = spec.spread.iter().find(|spread| spread.topology == Level::Zone).filter(|_| cell.zones.len() > 1)?;
    Some(match spread.when_unsatisfiable {
        WhenUnsatisfiable::Hold => ZoneSpread::Strict,
        WhenUnsatisfiable::BestEffort => ZoneSpread::Preferred,
    })
}
