//! The request of a drain.

use domain::placement::DirectiveTarget;
use flow::PlanFailure;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Default of `maxParallel`.
const MAX_PARALLEL_DEFAULT: usize = 16;
/// Upper limit of `maxParallel`.
const MAX_PARALLEL_LIMIT: usize = 256;
/// Default of `timeoutSeconds`: time for one Application to move.
const TIMEOUT_SECONDS_DEFAULT: u32 = 1_800;

/// The request: one place, and how fast.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct DrainSpec {
    /// A cluster with all its cells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cluster: Option<String>,
    /// A zone with all its cells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    zone: Option<ZoneSpec>,
    /// One cell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cell: Option<String>,
    /// Applications that move at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    max_parallel: Option<usize>,
    /// Time for one Application to move, after which the drain pauses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    timeout_seconds: Option<u32>,
}

/// A zone of a region.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ZoneSpec {
    region: String,
    zone: String,
}

impl DrainSpec {
    /// Parses a request.
    pub(super) fn parse(spec: &Value) -> Result<Self, PlanFailure> {
        let parsed: Self =
            serde_json::from_value(spec.clone()).map_err(|error| PlanFailure::invalid("/spec", error.to_string()))?;
        parsed.place()?;
        let parallel = parsed.max_parallel();
        if !(1..=MAX_PARALLEL_LIMIT).contains(&parallel) {
            return Err(PlanFailure::invalid("/spec/maxParallel", format!("it is between 1 and {MAX_PARALLEL_LIMIT}")));
        }
        if parsed.timeout_seconds() == 0 {
            return Err(PlanFailure::invalid("/spec/timeoutSeconds", "it is at least 1"));
        }
        Ok(parsed)
    }

    /// Returns the place to be drained.
    pub(super) fn place(&self) -> Result<DirectiveTarget, PlanFailure> {
        match (&self.cluster, &self.zone, &self.cell) {
            (Some(cluster), None, None) => Ok(DirectiveTarget::Cluster { cluster: cluster.clone() }),
            (None, Some(zone), None) => {
                Ok(DirectiveTarget::Zone { region: zone.region.clone(), zone: zone.zone.clone() })
            }
            (None, None, Some(cell)) => Ok(DirectiveTarget::Cell { cell: cell.clone() }),
            _ => Err(PlanFailure::invalid("/spec", "name exactly one of cluster, zone and cell")),
        }
    }

    pub(super) fn max_parallel(&self) -> usize {
        self.max_parallel.unwrap_or(MAX_PARALLEL_DEFAULT)
    }

    pub(super) fn timeout_seconds(&self) -> u32 {
        self.timeout_seconds.unwrap_or(TIMEOUT_SECONDS_DEFAULT)
    }
}

/// Returns a place as people name it: `cluster east`.
pub(super) fn place_text(place: &DirectiveTarget) -> String {
    match place {
        DirectiveTarget::Region { region } => format!("region {region}"),
        DirectiveTarget::Zone { region, zone } => format!("zone {region}/{zone}"),
        DirectiveTarget::Cluster { cluster } => format!("cluster {cluster}"),
        DirectiveTarget::Cell { cell } => format!("cell {cell}"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_drain_names_exactly_one_place() {
        for (case, spec, expected) in [
            ("cluster", json!({"cluster": "east"}), Ok("cluster east")),
            ("zone", json!({"zone": {"region": "north", "zone": "n1"}}), Ok("zone north/n1")),
            ("cell", json!({"cell": "rz01a"}), Ok("cell rz01a")),
            ("nothing", json!({}), Err("exactly one")),
            ("two places", json!({"cluster": "east", "cell": "rz01a"}), Err("exactly one")),
            ("unknown field", json!({"cluster": "east", "force": true}), Err("unknown field")),
            ("no parallel", json!({"cluster": "east", "maxParallel": 0}), Err("between 1 and 256")),
            ("no time", json!({"cluster": "east", "timeoutSeconds": 0}), Err("at least 1")),
            ("no object", json!("east"), Err("/spec")),
        ] {
            let parsed = DrainSpec::parse(&spec).and_then(|spec| spec.place()).map(|place| place_text(&place));
            match (parsed, expected) {
                (Ok(text), Ok(expected)) => assert_eq!(text, expected, "{case}"),
                (Err(error), Err(expected)) => assert!(error.to_string().contains(expected), "{case}: {error}"),
                (other, expected) => panic!("{case}: expected {expected:?}, found {other:?}"),
            }
        }
    }
}
