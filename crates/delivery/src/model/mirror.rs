//! Repeats the model's writes on Postgres through `store`, and compares the rows after each.

use std::collections::BTreeMap;
use std::time::Duration;

use store::seal::EnvelopeKey;
use store::{
    AppId, ApplicationTaken, CellRow, CellTaken, Claim, ClusterRow, Committed, DecisionRow, Keeper, LeaseTimes,
    PlacementId, Removal, StatusRow, Store, StoreError,
};
use testbed::Bed;
use vocabulary::{AppKey, ContentHash};

use super::alike::{self, Names};
use super::directives::OWNER;
use super::tables::{Tables, Wrote};

/// A database that repeats the writes of a model.
///
/// Ids differ on the two sides, so rows are matched by name.
pub(super) struct Mirror {
    _keeper: Keeper,
    store: Store,
    claim: Claim,
    key: EnvelopeKey,
    bed: Bed,
    runtime: tokio::runtime::Runtime,
    followed: FollowState,
}

/// State of the model that the database has reached.
#[derive(Default)]
struct FollowState {
    clusters: BTreeMap<String, ClusterRow>,
    cells: BTreeMap<String, CellRow>,
    status: BTreeMap<PlacementId, StatusRow>,
    taken: BTreeMap<AppKey, ApplicationTaken>,
    confirmed: BTreeMap<AppKey, Option<ContentHash>>,
    names: Names,
}

impl Mirror {
    pub(super) fn start() -> Self {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let (bed, store, keeper, claim) = runtime.block_on(async {
            let bed = Bed::builder().start().await.unwrap();
            let store = Store::open(&bed.postgres.url(), 2).unwrap();
            store.migrate().await.unwrap();
            let times = LeaseTimes { lasts: Duration::from_mins(1), ..LeaseTimes::default() };
            let keeper = Keeper::start(&bed.postgres.url(), "mirror".to_owned(), times).unwrap();
            let claim = keeper.want("leader").begin().await.unwrap();
            (bed, store, keeper, claim)
        });
        let key = EnvelopeKey::from_hex(&"0a".repeat(32)).unwrap();
        Self { _keeper: keeper, store, claim, key, bed, runtime, followed: FollowState::default() }
    }

    /// Deletes all rows before the next sequence.
    pub(super) fn clear(&mut self) {
        self.bed
            .postgres
            .query("TRUNCATE application, cluster, cell, placement, payload, failover_breaker CASCADE")
            .unwrap();
        self.followed = FollowState::default();
    }

    /// Repeats the writes since the last call, and compares all rows.
    ///
    /// # Errors
    /// When a write has another outcome than in the model, or a row differs.
    pub(super) fn follow(&mut self, tables: &mut Tables) -> Result<(), String> {
        let Self { runtime, store, claim, key, followed, .. } = self;
        let sql = Sql { store, claim, key };
        runtime.block_on(async {
            let journal = tables.journal.replace(Vec::new()).unwrap_or_default();
            let mut wrote = !journal.is_empty();
            for write in journal {
                sql.repeat(write, followed).await?;
            }
            wrote |= sql.clusters(tables, followed).await?;
            wrote |= sql.cells(tables, followed).await?;
            if wrote {
                followed.names = alike::names(store, tables).await?;
            }
            wrote |= sql.status(tables, followed).await?;
            wrote |= sql.confirmed(tables, followed).await?;
            if wrote { alike::compare(store, tables, &followed.names).await } else { Ok(()) }
        })
    }
}

struct Sql<'a> {
    store: &'a Store,
    claim: &'a Claim,
    key: &'a EnvelopeKey,
}

fn failed(error: StoreError) -> String {
    format!("the database refuses what the model takes: {error}")
}

impl Sql<'_> {
    async fn repeat(&self, wrote: Wrote, followed: &mut FollowState) -> Result<(), String> {
        match wrote {
            Wrote::Taken(taken) => {
                self.store.application_take(self.claim, &taken, self.key).await.map_err(failed)?;
                followed.confirmed.insert(taken.key.clone(), taken.delete_confirmed);
                followed.taken.insert(taken.key.clone(), *taken);
            }
            Wrote::Removed(key, removal, confirmed) => {
                let id = self.id(&key).await?;
                self.remove(id, removal, confirmed).await?;
                followed.confirmed.insert(key, confirmed);
            }
            Wrote::Decided { rows, bookings, written } => {
                let rows: Vec<DecisionRow> = rows.iter().map(|row| followed.names.decision(row)).collect();
                match self.store.decision_commit(self.claim, &rows, &bookings).await {
                    Ok(Committed { outdated, .. }) if Some(rows.len() - outdated.len()) == written => {}
                    Err(StoreError::Stale { .. } | StoreError::Refused(_)) if written.is_none() => {}
                    other => return Err(format!("the model wrote {written:?} decisions, the database: {other:?}")),
                }
            }
            Wrote::Breaker(row) => {
                self.store.failover_breaker_set(self.claim, row).await.map_err(failed)?;
            }
            Wrote::DirectivePut(mut new) => {
                new.app = new.app.map(|app| followed.names.app(app));
                self.store.directive_put(self.claim, &[new]).await.map_err(failed)?;
            }
            Wrote::DirectiveEnded(key, count) => {
                let ended = self.store.directive_end(self.claim, OWNER, Some(std::slice::from_ref(&key))).await;
                let ended = ended.map_err(failed)?;
                if ended != count {
                    return Err(format!("{count} directives {key} end in the model, {ended} in the database"));
                }
            }
            Wrote::Forgot(key, gone) => {
                let id = self.id(&key).await?;
                let forgotten = self.store.application_forget(self.claim, id).await.map_err(failed)?;
                if forgotten != gone {
                    return Err(format!("{key:?} is forgotten: {gone} in the model, {forgotten} in the database"));
                }
            }
        }
        Ok(())
    }

    async fn id(&self, key: &AppKey) -> Result<AppId, String> {
        let row = self.store.application_get(key).await.map_err(failed)?;
        row.map(|row| row.id).ok_or_else(|| format!("{key:?} is not in the database"))
    }

    async fn remove(&self, id: AppId, removal: Removal, confirmed: Option<ContentHash>) -> Result<(), String> {
        self.store.application_remove(self.claim, id, removal, confirmed).await.map_err(failed)
    }

    async fn clusters(&self, tables: &Tables, followed: &mut FollowState) -> Result<bool, String> {
        let mut wrote = false;
        for (name, row) in &tables.clusters {
            let before = followed.clusters.get(name);
            if before.is_none_or(|before| format!("{:?}", before.taken) != format!("{:?}", row.taken)) {
                self.store.cluster_take(self.claim, &row.taken).await.map_err(failed)?;
                wrote = true;
            }
        }
        for name in followed.clusters.keys().filter(|name| !tables.clusters.contains_key(*name)) {
            if !self.store.cluster_forget(self.claim, name).await.map_err(failed)? {
                return Err(format!("the database keeps cluster {name}"));
            }
            wrote = true;
        }
        followed.clusters.clone_from(&tables.clusters);
        Ok(wrote)
    }

    async fn cells(&self, tables: &Tables, followed: &mut FollowState) -> Result<bool, String> {
        let mut wrote = false;
        for (name, row) in &tables.cells {
            let Some(spec) = &row.spec else { continue };
            let before = followed.cells.get(name);
            let is_edited = |before: &CellRow| {
                before.spec != row.spec || before.labels != row.labels || before.leaving && !row.leaving
            };
            let is_taken = before.is_none_or(is_edited);
            if is_taken {
                let taken = CellTaken {
                    name: name.clone(),
                    object_uid: row.object_uid.clone().unwrap(),
                    generation: row.generation.unwrap(),
                    resource_version: row.resource_version,
                    labels: row.labels.clone(),
                    spec: spec.clone(),
                };
                self.store.cell_take(self.claim, &taken).await.map_err(failed)?;
                wrote = true;
            }
            if row.leaving && (is_taken || before.is_none_or(|before| !before.leaving)) {
                self.store.cell_leave(self.claim, name).await.map_err(failed)?;
                wrote = true;
            }
        }
        for (name, row) in &followed.cells {
            // The implicit cell of a cluster is deleted with the cluster.
            if row.spec.is_none() || tables.cells.contains_key(name) {
                continue;
            }
            if !self.store.cell_forget(self.claim, name).await.map_err(failed)? {
                return Err(format!("the database keeps cell {name}"));
            }
            wrote = true;
        }
        followed.cells.clone_from(&tables.cells);
        Ok(wrote)
    }

    async fn status(&self, tables: &Tables, followed: &mut FollowState) -> Result<bool, String> {
        let changed = tables.status.iter().filter(|(id, row)| followed.status.get(id) != Some(row));
        let rows: Vec<StatusRow> = changed.filter_map(|(_, row)| followed.names.status(row)).collect();
        if rows.is_empty() {
            return Ok(false);
        }
        let claimed: Vec<(&Claim, &StatusRow)> = rows.iter().map(|row| (self.claim, row)).collect();
        let fenced = self.store.status_set(&claimed).await.map_err(failed)?;
        followed.status.clone_from(&tables.status);
        if fenced.is_empty() { Ok(true) } else { Err("the mirror lost its lease".to_owned()) }
    }

    /// Writes the delete confirmations that a person gave separately from the intent.
    async fn confirmed(&self, tables: &Tables, followed: &mut FollowState) -> Result<bool, String> {
        let mut wrote = false;
        for row in tables.apps.values() {
            if followed.confirmed.get(&row.key) == Some(&row.delete_confirmed) {
                continue;
            }
            if let Some(removal) = row.removal {
                self.remove(followed.names.app(row.id), removal, row.delete_confirmed).await?;
            } else {
                let taken = followed.taken.get_mut(&row.key).unwrap();
                taken.delete_confirmed = row.delete_confirmed;
                self.store.application_take(self.claim, taken, self.key).await.map_err(failed)?;
            }
            followed.confirmed.insert(row.key.clone(), row.delete_confirmed);
            wrote = true;
        }
        Ok(wrote)
    }
}
