//! Placement rows: one for each object that is to exist in a member.

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use vocabulary::{CellInputs, ContentHash, ObjectKey, rendered_replicas};

use crate::parsed_rows::readable;
use crate::stored_hash::parse_hash;
use crate::{AppId, PlacementId, Store, StoreError};

/// Desired state of an object in a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DesiredState {
    /// The object is to exist.
    Present,
    /// The object is to be deleted.
    Delete,
    /// The object is to stay in the member without belonging to Meridian.
    Orphan,
}

impl DesiredState {
    /// Returns the text form in the database.
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

/// Slot of an object or a decision: which of two versions of a component in one cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Slot {
    /// The version that stays.
    Main,
    /// The new version while a release is open: a second workload beside the main one.
    Gray,
}

impl Slot {
    /// Returns the text form in the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Main => "main",
            Self::Gray => "gray",
        }
    }

    pub(crate) fn parse(text: &str) -> Result<Self, StoreError> {
        match text {
            "main" => Ok(Self::Main),
            "gray" => Ok(Self::Gray),
            other => Err(StoreError::corrupt("slot", other)),
        }
    }
}

/// An object that is to exist in a member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlacementRow {
    /// Row id.
    pub id: PlacementId,
    /// Application that owns the object.
    pub app: AppId,
    /// Component that the object is rendered from.
    pub component: String,
    /// Name of the cell; for per-cluster objects, the implicit cell of the cluster.
    pub cell: String,
    /// Slot of the component in its cell.
    pub slot: Slot,
    /// Name of the cluster.
    pub cluster: String,
    /// Identity of the object in the member; the name was fixed at the first render.
    pub object: ObjectKey,
    /// Order of delivery: lower ranks first.
    pub rank: i16,
    /// Whether the object takes a share of the application's replicas.
    pub divided: bool,
    /// Decided number of replicas.
    pub target: i32,
    /// Number of replicas that the object may not fall below yet.
    pub floor: i32,
    /// Additional replicas for a limited time.
    pub surge: i32,
    /// Epoch that rises with every change of the row.
    pub plan_epoch: u32,
    /// Revision that the object is to run.
    pub revision: ContentHash,
    /// Inputs that the object takes from its cell; `None` where an older program wrote the row.
    ///
    /// Without stored inputs, the present state of the cell counts.
    pub inputs: Option<CellInputs>,
    /// Desired state of the object.
    pub desired_state: DesiredState,
}

impl PlacementRow {
    /// Returns the number of replicas that the rendered object contains.
    pub fn rendered(&self) -> i32 {
        rendered_replicas(self.target, self.floor, self.surge)
    }
}

/// Owner of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnerRow {
    /// Row id of the object's placement.
    pub placement: PlacementId,
    /// Name of the cluster.
    pub cluster: String,
    /// Identity of the object in the member.
    pub object: ObjectKey,
    /// Application that owns the object.
    pub app: AppId,
    /// Name of the owner, in the namespace of the object.
    pub app_name: String,
}

/// Parses the inputs that objects take from their cells.
pub(crate) fn inputs<T: DeserializeOwned>(
    stored: Option<Value>,
    column: &'static str,
) -> Result<Option<T>, StoreError> {
    stored.map(serde_json::from_value).transpose().map_err(|error| StoreError::corrupt(column, error))
}

/// Returns the stored form of the inputs that objects take from their cells.
pub(crate) fn stored_inputs<T: Serialize>(inputs: &T) -> Value {
    serde_json::to_value(inputs).expect("inputs are maps of text, numbers and words")
}

macro_rules! placement_row {
    ($row:expr) => {{
        let row = $row;
        Ok::<_, StoreError>(PlacementRow {
            id: PlacementId(row.id),
            app: AppId(row.app),
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
            revision: parse_hash(&row.revision, "placement.revision")?,
            inputs: inputs(row.inputs, "placement.inputs")?,
            desired_state: DesiredState::parse(&row.wish)?,
        })
    }};
}

impl Store {
    /// Returns placements of the given applications, ordered by application and id.
    pub async fn placement_list(&self, apps: &[AppId]) -> Result<Vec<PlacementRow>, StoreError> {
        let rows = sqlx::query!(
            r#"
            SELECT id, app, component, cell, slot, cluster, api_version, kind, namespace, object_name, rank, divided,
                   target, floor, surge, plan_epoch, revision, inputs, wish
            FROM placement WHERE app = ANY($1) ORDER BY app, id"#,
            apps as _
        )
        .fetch_all(&self.pool)
        .await?;
        rows.into_iter().map(|row| placement_row!(row)).collect()
    }

    /// Returns placements with these ids, ordered by rank and id.
    ///
    /// Unknown ids are left out, and so are rows that this version cannot read.
    pub async fn placement_get_many(&self, ids: &[PlacementId]) -> Result<Vec<PlacementRow>, StoreError> {
        let rows = sqlx::query!(
            r#"
            SELECT id, app, component, cell, slot, cluster, api_version, kind, namespace, object_name, rank, divided,
                   target, floor, surge, plan_epoch, revision, inputs, wish
            FROM placement WHERE id = ANY($1) ORDER BY rank, id"#,
            ids as _
        )
        .fetch_all(&self.pool)
        .await?;
        Ok(readable("placement", rows, |row| PlacementId(row.id), |row| placement_row!(row)))
    }

    /// Returns all placements of a cluster, except rows that this version cannot read.
    ///
    /// One unreadable row must not block the delivery of the other rows of the cluster.
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
        Ok(readable("placement", rows, |row| PlacementId(row.id), |row| placement_row!(row)))
    }

    /// Returns owners of those given objects that have one.
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
                placement: PlacementId(row.id),
                cluster: row.cluster,
                object: ObjectKey {
                    api_version: row.api_version,
                    kind: row.kind,
                    namespace: row.namespace,
                    name: row.object_name,
                },
                app: AppId(row.app),
                app_name: row.app_name,
            })
            .collect())
    }
}
