//! Placement rows: one per object that is to exist in a member.

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use vocabulary::{CellInputs, ObjectKey, rendered_replicas};

use crate::parsed_rows::readable;
use crate::{AppId, PlacementId, Store, StoreError};

/// What is to become of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DesiredState {
    /// It is to be there.
    Present,
    /// It is to be deleted.
    Delete,
    /// It is to stay without belonging to us.
    Orphan,
}

impl DesiredState {
    /// The text form in the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Present => "Present",
            Self::Delete => "Delete",
            Self::Orphan => "Orphan",
        }
    }

    pub(crate) fn parse(text: &str) -> Result<Self, StoreError> {
        match text {
            "Present" => Ok(Self::Present),
            "Delete" => Ok(Self::Delete),
            "Orphan" => Ok(Self::Orphan),
            other => Err(StoreError::corrupt("placement.wish", other)),
        }
    }
}

/// Which of the two versions of a component in one cell an object or a decision belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Slot {
    /// The version that serves.
    Main,
}

impl Slot {
    /// The text form in the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Main => "main",
        }
    }

    pub(crate) fn parse(text: &str) -> Result<Self, StoreError> {
        match text {
            "main" => Ok(Self::Main),
            other => Err(StoreError::corrupt("slot", other)),
        }
    }
}

/// One object that is to exist in a member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlacementRow {
    /// Row id.
    pub id: PlacementId,
    /// Owner.
    pub app: AppId,
    /// Component it is rendered from.
    pub component: String,
    /// Cell; for per-cluster objects the cluster's implicit one.
    pub cell: String,
    /// Version of the component in its cell.
    pub slot: Slot,
    /// Cluster.
    pub cluster: String,
    /// Identity in the member; the name was fixed at the first render.
    pub object: ObjectKey,
    /// Order of delivery: lower first.
    pub rank: i16,
    /// It takes a share of the application's replicas.
    pub divided: bool,
    /// Replicas decided.
    pub target: i32,
    /// Replicas that may not be gone below yet.
    pub floor: i32,
    /// Replicas on top, for a time.
    pub surge: i32,
    /// Rises with every change of the row.
    pub plan_epoch: u32,
    /// Revision to run.
    pub revision: Vec<u8>,
    /// What it takes from its cell; nothing where an older program wrote it: what the cell is now counts.
    pub inputs: Option<CellInputs>,
    /// What is to become of it.
    pub desired_state: DesiredState,
}

impl PlacementRow {
    /// Replicas the member is told to run.
    pub fn rendered(&self) -> i32 {
        rendered_replicas(self.target, self.floor, self.surge)
    }
}

/// Who owns an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnerRow {
    /// Row of the object.
    pub placement: PlacementId,
    /// Cluster.
    pub cluster: String,
    /// Object.
    pub object: ObjectKey,
    /// Owner.
    pub app: AppId,
    /// The owner's name, within the object's namespace.
    pub app_name: String,
}

/// Reads what objects take from their places.
pub(crate) fn inputs<T: DeserializeOwned>(
    stored: Option<Value>,
    column: &'static str,
) -> Result<Option<T>, StoreError> {
    stored.map(serde_json::from_value).transpose().map_err(|error| StoreError::corrupt(column, error))
}

/// The stored form of what objects take from their places.
pub(crate) fn stored_inputs<T: Serialize>(inputs: &T) -> Value {
    serde_json::to_value(inputs).expect("inputs are maps of text, numbers and words")
}

macro_rules! placement_row {
    ($row:expr) => {{
        let row = $row;
        Ok::<_, StoreError>(PlacementRow {
            id: row.id,
            app: row.app,
            component: row.component,
            cell: row.cell,
            slot: Slot::parse(&row.slot)?,
            cluster: row.cluster,
            object: ObjectKey {
                api_version: row.api_version,
                kind: row.kind,
                namespace: row.namespace,
                name: row.object_name,
            },
            rank: row.rank,
            divided: row.divided,
            target: row.target,
            floor: row.floor,
            surge: row.surge,
            plan_epoch: u32::try_from(row.plan_epoch)
                .map_err(|error| StoreError::corrupt("placement.plan_epoch", error))?,
            revision: row.revision,
            inputs: inputs(row.inputs, "placement.inputs")?,
            desired_state: DesiredState::parse(&row.wish)?,
        })
    }};
}

impl Store {
    /// Placements of some applications, by application and id.
    pub async fn placement_list(&self, apps: &[AppId]) -> Result<Vec<PlacementRow>, StoreError> {
        let rows = sqlx::query!(
            r#"
            SELECT id, app, component, cell, slot, cluster, api_version, kind, namespace, object_name, rank, divided,
                   target, floor, surge, plan_epoch, revision, inputs, wish
            FROM placement WHERE app = ANY($1) ORDER BY app, id"#,
            apps
        )
        .fetch_all(&self.pool)
        .await?;
        rows.into_iter().map(|row| placement_row!(row)).collect()
    }

    /// Some placements, by id. Unknown ids are left out, and rows that this version cannot read.
    pub async fn placement_get_many(&self, ids: &[PlacementId]) -> Result<Vec<PlacementRow>, StoreError> {
        let rows = sqlx::query!(
            r#"
            SELECT id, app, component, cell, slot, cluster, api_version, kind, namespace, object_name, rank, divided,
                   target, floor, surge, plan_epoch, revision, inputs, wish
            FROM placement WHERE id = ANY($1) ORDER BY rank, id"#,
            ids
        )
        .fetch_all(&self.pool)
        .await?;
        Ok(readable("placement", rows, |row| row.id, |row| placement_row!(row)))
    }

    /// All placements of a cluster, but for rows that this version cannot read: one such row must not keep the others of the
    /// cluster from being delivered.
    pub async fn placement_in_cluster(&self, cluster: &str) -> Result<Vec<PlacementRow>, StoreError> {
        let rows = sqlx::query!(
            r#"
            SELECT id, app, component, cell, slot, cluster, api_version, kind, namespace, object_name, rank, divided,
                   target, floor, surge, plan_epoch, revision, inputs, wish
            FROM placement WHERE cluster = $1 ORDER BY rank, id"#,
            cluster
        )
        .fetch_all(&self.pool)
        .await?;
        Ok(readable("placement", rows, |row| row.id, |row| placement_row!(row)))
    }

    /// Owners of those of the given objects that have one.
    pub async fn placement_owners(&self, objects: &[(String, ObjectKey)]) -> Result<Vec<OwnerRow>, StoreError> {
        let clusters: Vec<&str> = objects.iter().map(|(cluster, _)| cluster.as_str()).collect();
        let versions: Vec<&str> = objects.iter().map(|(_, object)| object.api_version.as_str()).collect();
        let kinds: Vec<&str> = objects.iter().map(|(_, object)| object.kind.as_str()).collect();
        let namespaces: Vec<&str> = objects.iter().map(|(_, object)| object.namespace.as_str()).collect();
        let names: Vec<&str> = objects.iter().map(|(_, object)| object.name.as_str()).collect();
        let rows = sqlx::query!(
            r#"
            SELECT p.id, p.cluster, p.api_version, p.kind, p.namespace, p.object_name, p.app, a.name AS app_name
            FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[]) AS w (cluster, api_version, kind, namespace, name)
            JOIN placement p ON p.cluster = w.cluster AND split_part(p.api_version, '/', 1) = split_part(w.api_version, '/', 1)
              AND p.kind = w.kind AND p.namespace = w.namespace AND p.object_name = w.name
            JOIN application a ON a.id = p.app"#,
            &clusters as _,
            &versions as _,
            &kinds as _,
            &namespaces as _,
            &names as _,
        )
        .fetch_all(&self.pool)
        .await?;
        Ok(rows
            .into_iter()
            .map(|row| OwnerRow {
                placement: row.id,
                cluster: row.cluster,
                object: ObjectKey {
                    api_version: row.api_version,
                    kind: row.kind,
                    namespace: row.namespace,
                    name: row.object_name,
                },
                app: row.app,
                app_name: row.app_name,
            })
            .collect())
    }
}
