//! Session of delivery with one connected member: its rows, work queue and outgoing status.

mod reading;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;
use domain::render::Blueprint;
use jiff::Timestamp;
use members::{ApiKind, Member, MemberError};
use runtime::queue::Queue;
use serde_json::Value;
use store::{AppId, Claim, Hint, PlacementId, Slot, StatusRow, StoreError};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use vocabulary::{ClusterName, Fence, ObjectKey};

use crate::decide::adoption::released_by;
use crate::decide::failure::ActError;
use crate::fleet::FleetView;
use crate::handshake::MemberInfo;
use crate::metrics::{ClusterLabel, FailureLabel};
use crate::observe::cluster_state::ClusterState;
use crate::observe::entry::Entry;
use crate::observe::observed_object::ObservedObject;
use crate::revisions::Revisions;
use crate::status::status_writer::StatusSource;
use crate::{Delivery, DeliveryTimes};

/// Selects which of the rows read are queued for work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rows {
    /// All rows: something outside the rows may have changed.
    All,
    /// Rows that changed or are not settled.
    Changed,
}

/// Delivery to a member after a successful handshake.
#[derive(Debug, Clone)]
pub(crate) struct Session(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    delivery: Delivery,
    cluster: ClusterName,
    claim: Claim,
    member: Member,
    member_info: ArcSwap<MemberInfo>,
    generation: u32,
    joined: Option<Timestamp>,
    installation: String,
    fleet: ArcSwap<FleetView>,
    cluster_state: Mutex<ClusterState>,
    queue: Queue<PlacementId>,
    source: Arc<StatusSource>,
    namespaces: Mutex<BTreeSet<String>>,
}

impl Session {
    pub(crate) async fn begin(
        delivery: Delivery,
        cluster: ClusterName,
        member: Member,
        member_info: MemberInfo,
        claim: Claim,
        heard: Instant,
    ) -> Result<Self, StoreError> {
        let _reader = Arc::clone(&delivery.readers).acquire_owned().await;
        let generation = delivery.store.identity_generation().await?;
        let joined = delivery.store.cluster_joined_at(cluster.as_str()).await?;
        let installation = delivery.store.identity_installation().await?.to_string();
        let session = Self(Arc::new(Inner {
            delivery,
            cluster,
            source: StatusSource::new(claim.clone()),
            claim,
            member,
            member_info: ArcSwap::from_pointee(member_info),
            generation,
            joined,
            installation,
            fleet: ArcSwap::from_pointee(FleetView::default()),
            cluster_state: Mutex::default(),
            queue: Queue::default(),
            namespaces: Mutex::default(),
        }));
        session.read_topology(heard).await?;
        session.read_rows(Rows::All).await?;
        let status = session.delivery().store.status_in_cluster(session.name()).await?;
        session.cluster_state().take_status(status);
        Ok(session)
    }

    pub(crate) fn delivery(&self) -> &Delivery {
        &self.0.delivery
    }

    pub(crate) fn cluster(&self) -> &ClusterName {
        &self.0.cluster
    }

    pub(crate) fn claim(&self) -> &Claim {
        &self.0.claim
    }

    /// Identity of this installation of Meridian.
    pub(crate) fn installation(&self) -> &str {
        &self.0.installation
    }

    /// Version, kinds and permissions of the member, as last read.
    pub(crate) fn member_info(&self) -> Arc<MemberInfo> {
        self.0.member_info.load_full()
    }

    pub(crate) fn met_again(&self, member_info: MemberInfo) {
        self.0.member_info.store(Arc::new(member_info));
    }

    pub(crate) fn queue(&self) -> &Queue<PlacementId> {
        &self.0.queue
    }

    /// Passes the observed status of a placement to the status writer.
    pub(crate) fn send(&self, app: AppId, before: &StatusRow, now: StatusRow) {
        self.0.delivery.status_writer.push(&self.0.source, app, before, now);
    }

    pub(crate) fn member(&self) -> &Member {
        &self.0.member
    }

    pub(crate) fn revisions(&self) -> &Revisions {
        &self.0.delivery.revisions
    }

    pub(crate) fn fleet(&self) -> Arc<FleetView> {
        self.0.fleet.load_full()
    }

    pub(crate) fn cluster_state(&self) -> MutexGuard<'_, ClusterState> {
        self.0.cluster_state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn name(&self) -> &str {
        self.0.cluster.as_str()
    }

    pub(crate) fn times(&self) -> DeliveryTimes {
        self.0.delivery.times
    }

    pub(crate) fn label(&self) -> ClusterLabel {
        ClusterLabel { cluster: self.name().to_owned() }
    }

    pub(crate) fn failure(&self, reason: &'static str) -> FailureLabel {
        FailureLabel { cluster: self.name().to_owned(), reason }
    }

    /// Returns the fence that the object of an entry must carry.
    pub(crate) fn fence(&self, entry: &Entry) -> Fence {
        let fleet = self.0.fleet.load();
        let authority = fleet.authorities.get(&entry.row.cell).copied().unwrap_or(1);
        Fence { generation: self.0.generation, authority, plan: entry.row.plan_epoch }
    }

    /// Generation of the database.
    pub(crate) fn generation(&self) -> u32 {
        self.0.generation
    }

    /// Time when the cluster joined.
    pub(crate) fn joined(&self) -> Option<Timestamp> {
        self.0.joined
    }

    /// Owner recorded on a released object: this installation and its Application.
    ///
    /// The Application is in the object's namespace.
    pub(crate) fn former_owner(&self, app: &str) -> String {
        released_by(&self.0.installation, app)
    }

    /// Reads the names of applications that are not cached yet.
    ///
    /// Without its application's name, a row recognises its object only by UID. A failed read is repeated with the next
    /// read of the rows.
    async fn name_apps(&self) {
        let unnamed = self.cluster_state().unnamed_apps();
        if unnamed.is_empty() {
            return;
        }
        if let Err(error) = self.revisions().learn(unnamed.clone()).await {
            tracing::debug!(cluster = self.name(), error = vocabulary::chain(&error), "applications were not read");
        }
        let mut cluster_state = self.cluster_state();
        for app in unnamed {
            if let Some(name) = self.revisions().known_name(app) {
                cluster_state.name_app(app, &name);
            }
        }
    }

    /// Returns the kind of an object as the member serves it.
    pub(crate) fn kind(&self, object: &ObjectKey) -> Result<ApiKind, ActError> {
        self.0.member_info.load().kind(&object.api_version, &object.kind).cloned().ok_or_else(|| {
            ActError::Waits(format!(
                "cluster {} does not serve {} {} or does not let us write it; see `meridian cluster permissions {0} --kubeconfig FILE`",
                self.name(),
                object.api_version,
                object.kind
            ))
        })
    }

    /// Creates a missing namespace with the pod-security labels of the hub's namespace.
    pub(crate) async fn ensure_namespace(
        &self,
        namespace: &str,
        pod_security: &BTreeMap<String, String>,
    ) -> Result<(), MemberError> {
        let known =
            |session: &Self| session.0.namespaces.lock().unwrap_or_else(PoisonError::into_inner).contains(namespace);
        if !known(self) {
            self.member().ensure_namespace(namespace, pod_security).await?;
            self.0.namespaces.lock().unwrap_or_else(PoisonError::into_inner).insert(namespace.to_owned());
        }
        Ok(())
    }

    /// Marks a namespace as unknown after the member reported that it is missing or being deleted.
    pub(crate) fn forget_namespace(&self, namespace: &str) {
        self.0.namespaces.lock().unwrap_or_else(PoisonError::into_inner).remove(namespace);
    }

    /// Records the result of an attempt, merged with newer observations.
    ///
    /// Passes the merged status to the status writer.
    pub(crate) fn record(&self, entry: &Entry, done: StatusRow) {
        let mut cluster_state = self.cluster_state();
        let Some(now) = cluster_state.entries.get_mut(&entry.row.id) else { return };
        let seen = now.status.clone();
        now.status = StatusRow {
            object_uid: seen.object_uid,
            observed_epoch: seen.observed_epoch,
            replicas: seen.replicas,
            ready: seen.ready,
            available: seen.available,
            updated: seen.updated,
            settled: seen.settled,
            zones: seen.zones,
            stale: seen.stale,
            ..done
        };
        let unobserved = now.status.clone();
        let status = cluster_state.observe(entry.row.id, Timestamp::now()).map_or(unobserved, |change| change.now);
        // Sent while `cluster_state` is locked, so that an older status cannot overtake this one.
        if !status.same_facts(&entry.status) {
            self.send(entry.row.app, &entry.status, status);
        }
    }

    /// Records the UID of the applied object and the fields of it that Meridian owns.
    pub(crate) fn applied(&self, entry: &Entry, stored: &Value, fields: Option<Value>) {
        if let Some(now) = self.cluster_state().entries.get_mut(&entry.row.id) {
            now.applied_fields = fields.map(Arc::new);
            now.status.object_uid = stored["metadata"]["uid"].as_str().map(str::to_owned);
        }
    }

    /// Clears the UID of an object that is gone from the member. Returns the updated entry.
    pub(crate) fn vanished(&self, entry: &Entry) -> Entry {
        let mut cluster_state = self.cluster_state();
        cluster_state.vanished(entry.row.id);
        let mut entry = entry.clone();
        entry.status.object_uid = None;
        entry
    }

    /// Records a live object from a response of the member.
    pub(crate) fn saw(&self, api_version: &str, kind: &str, object: &Value) {
        if let Some(live) = ObservedObject::read(api_version, kind, object) {
            self.cluster_state().upsert(live);
        }
    }

    pub(crate) fn push_siblings(&self, id: PlacementId) {
        let siblings = self.cluster_state().siblings(id);
        self.0.queue.extend(siblings);
    }

    pub(crate) async fn run(
        &self,
        mut hints: tokio::sync::broadcast::Receiver<Arc<Hint>>,
        shutdown: CancellationToken,
    ) -> Result<(), StoreError> {
        let inner = &self.0;
        let work = self.work();
        let watch = self.follow(&mut hints);
        tokio::pin!(work, watch);
        let outcome = tokio::select! {
            () = shutdown.cancelled() => Ok(()),
            () = &mut work => Ok(()),
            outcome = &mut watch => outcome,
            fenced = inner.source.fenced() => Err(fenced),
        };
        inner.delivery.status_writer.leave(&inner.source);
        self.delivery().metrics.followed.get_or_create(&self.label()).set(0);
        outcome
    }
}

impl ClusterState {
    /// Returns the names of sibling objects, for references between components.
    pub(crate) fn sibling_names(&self, entry: &Entry, blueprint: &Blueprint) -> BTreeMap<(String, String), String> {
        self.of_app(entry.row.app)
            // References in templates mean the main workload.
            .filter(|other| other.row.slot == Slot::Main)
            .filter(|other| other.row.cell == entry.row.cell || other.row.cell == other.row.cluster)
            .filter_map(|other| {
                let component = blueprint.components.iter().find(|component| component.name == other.row.component)?;
                Some(((component.kind.clone(), component.object_name.clone()), other.row.object.name.clone()))
            })
            .collect()
    }
}
