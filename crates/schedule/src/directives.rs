//! Placement directives as stored. One that this version cannot read limits what it covers, and nothing else. Pure.
//!
//! Versions run side by side, and a later one may write effects or scopes that this one does not know. To ignore an order would
//! be worse than to stand still, and to stand still everywhere would let one row stop the fleet.

use std::collections::BTreeSet;

use domain::placement::{Directive, DirectiveTarget};
use domain::topology::{CellState, Topology};
use serde_json::Value;
use store::{AppId, DirectiveRow};

/// What the directives in force mean to decisions.
#[derive(Debug, Default)]
pub(crate) struct Directives {
    /// Those that were read, each with the application it is meant for.
    pub(crate) known: Vec<(Option<AppId>, Directive)>,
    /// Applications that unreadable directives are meant for: they stay as they are.
    pub(crate) held_apps: BTreeSet<AppId>,
    /// Where unreadable directives apply to all applications: these cells take nothing more, and keep what runs in them.
    held_places: Vec<DirectiveTarget>,
}

impl Directives {
    /// Reads the rows.
    pub(crate) fn read(rows: Vec<DirectiveRow>) -> Self {
        let mut all = Self::default();
        for row in rows {
            let (target, effect) = (serde_json::from_value(row.scope.clone()), serde_json::from_value(row.effect));
            if let (Ok(target), Ok(effect)) = (target, effect) {
                let DirectiveRow { id, owner, reason, .. } = row;
                all.known.push((row.app, Directive { id, target, app: None, effect, owner, reason }));
                continue;
            }
            let place = covered_place(&row.scope);
            tracing::error!(
                directive = row.id,
                owner = row.owner,
                app = row.app,
                place = ?place,
                "directive cannot be read by this version; what it covers stays as it is"
            );
            match row.app {
                Some(app) => drop(all.held_apps.insert(app)),
                None => all.held_places.extend(place),
            }
        }
        all
    }

    /// Holds the cells that unreadable directives cover.
    pub(crate) fn hold_cells(&self, topology: &mut Topology) {
        for cell in topology.cells.values_mut() {
            if self.held_places.iter().any(|place| place.covers(cell)) {
                cell.state = CellState::Held;
            }
        }
    }
}

/// The place a scope is within: the scope itself, or the narrowest place that it names with words of this version.
fn covered_place(scope: &Value) -> Option<DirectiveTarget> {
    if let Ok(target) = serde_json::from_value(scope.clone()) {
        return Some(target);
    }
    let fields = scope.as_object()?.values().find_map(Value::as_object)?;
    let name = |field: &str| fields.get(field).and_then(Value::as_str).map(str::to_owned);
    if let Some(cell) = name("cell") {
        return Some(DirectiveTarget::Cell { cell });
    }
    if let Some(cluster) = name("cluster") {
        return Some(DirectiveTarget::Cluster { cluster });
    }
    match (name("region")?, name("zone")) {
        (region, Some(zone)) => Some(DirectiveTarget::Zone { region, zone }),
        (region, None) => Some(DirectiveTarget::Region { region }),
    }
}

#[cfg(test)]
mod tests {
    use domain::stored_topology::{StoredCluster, topology_from_rows};
    use jiff::Timestamp;
    use serde_json::json;

    use super::*;

    fn row(app: Option<AppId>, scope: Value, effect: Value) -> DirectiveRow {
        let (owner, reason) = ("operation".to_owned(), "test".to_owned());
        DirectiveRow { id: 1, scope, effect, app, owner, reason, since: Timestamp::UNIX_EPOCH }
    }

    #[test]
    fn an_unreadable_directive_limits_only_what_it_covers() {
        let cluster = |name: &str| DirectiveTarget::Cluster { cluster: name.to_owned() };
        let zone = DirectiveTarget::Zone { region: "north".to_owned(), zone: "n1".to_owned() };
        let east = json!({"Cluster": {"cluster": "east"}});
        let surge = json!({"Surge": {"replicas": 2}});
        for (case, row, known, apps, places) in [
            ("known", row(None, east.clone(), json!("Exclude")), 1, vec![], vec![]),
            ("later effect", row(None, east.clone(), surge.clone()), 0, vec![], vec![cluster("east")]),
            ("later effect for one application", row(Some(7), east, surge.clone()), 0, vec![7], vec![]),
            (
                "later scope",
                row(None, json!({"Rack": {"cluster": "east", "rack": "r"}}), json!("Exclude")),
                0,
                vec![],
                vec![cluster("east")],
            ),
            (
                "scope in a zone",
                row(None, json!({"Row": {"region": "north", "zone": "n1"}}), surge.clone()),
                0,
                vec![],
                vec![zone],
            ),
            ("scope without a place", row(None, json!({"Shard": {"shard": 7}}), surge), 0, vec![], vec![]),
        ] {
            let read = Directives::read(vec![row]);
            assert_eq!(read.known.len(), known, "{case}");
            assert_eq!(read.held_apps.into_iter().collect::<Vec<_>>(), apps, "{case}");
            assert_eq!(read.held_places, places, "{case}");
        }
    }

    #[test]
    fn cell_under_unreadable_directive_keeps_what_runs() {
        let cluster = |name: &str| StoredCluster {
            name: name.to_owned(),
            labels: json!({}),
            spec: json!({"region": "r", "zones": ["z"], "uid": "u", "connection": {"server": "https://127.0.0.1:1"}}),
            leaving: false,
            health: None,
            kinds: Value::Null,
            capacity: Value::Null,
        };
        let (mut topology, _) = topology_from_rows(vec![cluster("east"), cluster("west")], Vec::new());
        let later = row(None, json!({"Cluster": {"cluster": "east"}}), json!({"Surge": {"replicas": 2}}));
        Directives::read(vec![later]).hold_cells(&mut topology);
        assert_eq!(topology.cells["east"].state, CellState::Held);
        assert_eq!(topology.cells["west"].state, CellState::Open);
    }
}
