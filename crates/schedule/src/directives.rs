//! Parses stored placement directives. Pure.
//!
//! An unreadable directive limits the cells and applications that it covers, and nothing else.
//!
//! Versions of the program run side by side. A later version may write effects or scopes that this version cannot read.
//! Ignoring a directive would be worse than leaving its targets unchanged. Leaving everything unchanged would let one
//! row stop the fleet.

use std::collections::{BTreeMap, BTreeSet};

use domain::placement::{Directive, DirectiveTarget, Effect};
use domain::topology::{CellFacts, CellState, Topology};
use serde_json::Value;
use store::{AppId, DirectiveRow};
use vocabulary::{CellName, ContentHash};

/// The directives in force, as far as this version can read them.
#[derive(Debug, Default)]
pub(crate) struct Directives {
    /// Readable directives, by the application that they target; `None` for all applications.
    known: BTreeMap<Option<AppId>, Vec<Directive>>,
    /// Applications that unreadable directives target. Their placement stays as it is.
    held_apps: BTreeSet<AppId>,
    /// Places that unreadable directives cover for all applications.
    ///
    /// Their cells take no more replicas and keep those that run there.
    held_places: Vec<DirectiveTarget>,
}

impl Directives {
    /// Parses the rows. An unreadable row holds the application or the place that it covers.
    pub(crate) fn read(rows: Vec<DirectiveRow>) -> Self {
        let mut all = Self::default();
        for row in rows {
            let (target, effect) = (serde_json::from_value(row.scope.clone()), serde_json::from_value(row.effect));
            if let (Ok(target), Ok(effect)) = (target, effect) {
                let DirectiveRow { id, owner, reason, .. } = row;
                let directive = Directive { id, target, app: None, effect, owner, reason };
                all.known.entry(row.app).or_default().push(directive);
                continue;
            }
            let place = covered_place(&row.scope);
            tracing::error!(
                directive = row.id,
                owner = row.owner,
                app = row.app.map(i64::from),
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

    /// Returns the readable directives that apply to the application, those for all applications included.
    pub(crate) fn of(&self, app: AppId) -> impl Iterator<Item = &Directive> {
        [None, Some(app)].into_iter().filter_map(|target| self.known.get(&target)).flatten()
    }

    /// Returns what an open release of the application says about cells.
    ///
    /// A release writes one directive for each cell. Of several, the one with the lowest id counts.
    pub(crate) fn releases_of(&self, app: AppId) -> BTreeMap<CellName, CellRelease> {
        let mut found: BTreeMap<CellName, (i64, CellRelease)> = BTreeMap::new();
        for directive in self.known.get(&Some(app)).into_iter().flatten() {
            let Some(release) = release_of(directive.effect) else { continue };
            let DirectiveTarget::Cell { cell } = &directive.target else { continue };
            let Ok(cell) = cell.parse::<CellName>() else { continue };
            let known = found.entry(cell).or_insert((directive.id, release));
            if directive.id < known.0 {
                *known = (directive.id, release);
            }
        }
        found.into_iter().map(|(cell, (_, release))| (cell, release)).collect()
    }

    /// Returns the directive with an effect on the cell for the application, the one with the lowest id of several.
    pub(crate) fn with_effect(&self, app: AppId, cell: &CellFacts, effect: Effect) -> Option<&Directive> {
        let applies = |directive: &&Directive| directive.effect == effect && directive.target.covers(cell);
        self.of(app).filter(applies).min_by_key(|directive| directive.id)
    }

    /// Returns whether an unreadable directive targets the application: its placement stays as it is.
    pub(crate) fn is_held(&self, app: AppId) -> bool {
        self.held_apps.contains(&app)
    }

    /// Sets the cells that unreadable directives cover to [`CellState::Held`].
    pub(crate) fn hold_cells(&self, topology: &mut Topology) {
        for cell in topology.cells.values_mut() {
            if self.held_places.iter().any(|place| place.covers(cell)) {
                cell.state = CellState::Held;
            }
        }
    }
}

/// What a release says about a cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CellRelease {
    pub(crate) revision: ContentHash,
    /// Replicas in the gray slot.
    pub(crate) gray: i32,
    /// The main slot runs the revision too.
    pub(crate) main: bool,
}

/// Returns what an effect says about the revision of a cell.
pub(crate) const fn release_of(effect: Effect) -> Option<CellRelease> {
    match effect {
        Effect::Release { revision, gray, main } => Some(CellRelease { revision, gray, main }),
        _ => None,
    }
}

/// Returns the place that contains a scope.
///
/// This is the scope itself, or the narrowest place that the scope names in fields of this version.
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
        let since = Timestamp::UNIX_EPOCH;
        DirectiveRow { id: 1, scope, effect, app, owner, key: None, reason, since, until: None }
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
            (
                "later effect for one application",
                row(Some(AppId::from(7)), east, surge.clone()),
                0,
                vec![AppId::from(7)],
                vec![],
            ),
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
            assert_eq!(read.known.values().flatten().count(), known, "{case}");
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
