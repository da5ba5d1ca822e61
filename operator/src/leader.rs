//! The leader: intake and status, which need the hub and which only one process runs at a time.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use crds::{Application, Cell, Cluster, PlacementPolicy};
use flow::Kinds;
use jiff::SignedDuration;
use k8s_openapi::api::core::v1::Secret;
use kube::core::DeserializeGuard;
use kube::runtime::events::{Recorder, Reporter};
use kube::runtime::watcher;
use kube::{Api, Client};
use operations::ReleaseStarter;
use runtime::supervise::Supervisor;
use store::seal::EnvelopeKey;
use store::{Claim, Hint, Hints, Keeper, Store};
use tokio_util::sync::CancellationToken;
use vocabulary::{SYSTEM_NAMESPACE, labels};

use crate::hub::{follow, follow_selected, goes_on, publish_installation, read_identity};
use crate::intake::{HubView, Intake, IntakeMetrics, PodSecurity, Refusals};
use crate::names::Names;
use crate::releases;
use crate::status::{Fleet, StatusStage};

/// Name of the leader's lease.
const LEASE: &str = "leader";
/// Pause before the next term, and before the hub's identity is read again.
const AGAIN: Duration = Duration::from_secs(1);

/// The leader with its dependencies.
#[derive(Clone)]
pub(crate) struct Leader {
    pub(crate) hub: Client,
    /// Name of this process.
    pub(crate) identity: String,
    pub(crate) store: Store,
    pub(crate) key: Arc<EnvelopeKey>,
    pub(crate) hints: Hints,
    /// Kinds of operations that the leader starts.
    pub(crate) kinds: Kinds,
    pub(crate) intake_metrics: IntakeMetrics,
    /// Maximum interval between two reads of all rows, also when no hint arrives.
    pub(crate) look_again: Duration,
    /// Maximum age of a cluster status. An older status counts as Unknown.
    pub(crate) stale_after: SignedDuration,
}

impl Leader {
    /// Leads whenever this process holds the lease, until shutdown.
    pub(crate) async fn run(
        self,
        keeper: Arc<Keeper>,
        shutdown: CancellationToken,
    ) -> Result<(), std::convert::Infallible> {
        let work = |claim: Claim, token| {
            let leader = self.clone();
            async move {
                tracing::info!(epoch = claim.epoch, "leading");
                leader.term(claim.clone(), token).await;
                tracing::info!(epoch = claim.epoch, "no longer leading");
                ControlFlow::Continue(())
            }
        };
        keeper.want(LEASE).run_in_each(AGAIN, shutdown, work).await;
        Ok(())
    }

    async fn term(&self, claim: Claim, token: CancellationToken) {
        // The last holder may have died between a commit and its hints, which processes that live on then missed.
        self.hints.send(Hint::Everything);
        let mut supervisor = Supervisor::new(token.clone());
        let refusals = Refusals::default();
        let view = HubView::default();
        let hub = &self.hub;
        supervisor.spawn("history", goes_on(hub.clone(), token.clone()));
        let applications = Api::<DeserializeGuard<Application>>::all(hub.clone());
        let policies = Api::<DeserializeGuard<PlacementPolicy>>::all(hub.clone());
        let clusters = Api::<DeserializeGuard<Cluster>>::all(hub.clone());
        let cells = Api::<DeserializeGuard<Cell>>::all(hub.clone());
        let secrets = Api::<DeserializeGuard<Secret>>::namespaced(hub.clone(), SYSTEM_NAMESPACE);
        supervisor.spawn(
            "applications",
            follow(applications, view.applications.clone(), view.changed_applications.clone(), token.clone()),
        );
        supervisor
            .spawn("policies", follow(policies, view.policies.clone(), view.changed_policies.clone(), token.clone()));
        supervisor
            .spawn("clusters", follow(clusters, view.clusters.clone(), view.changed_clusters.clone(), token.clone()));
        supervisor.spawn("cells", follow(cells, view.cells.clone(), view.changed_cells.clone(), token.clone()));
        // The label excludes other Secrets of the namespace, such as the envelope key and the database's URL.
        let handed_over = watcher::Config::default().labels(labels::CREDENTIAL_FOR);
        supervisor.spawn(
            "secrets",
            follow_selected(secrets, handed_over, view.secrets.clone(), view.changed_secrets.clone(), token.clone()),
        );
        let names = Names::default();
        let stage = StatusStage {
            hub: hub.clone(),
            view: view.clone(),
            names: names.clone(),
            store: self.store.clone(),
            fleet: Fleet::default(),
            hints: self.hints.clone(),
            refusals: refusals.clone(),
            recorder: self.recorder(),
            look_again: self.look_again,
            stale_after: self.stale_after,
        };
        supervisor.spawn("status", stage.run(token.clone()));
        let starter = ReleaseStarter {
            store: self.store.clone(),
            hints: self.hints.clone(),
            kinds: self.kinds.clone(),
            claim: claim.clone(),
        };
        supervisor.spawn("releases", releases::run(starter, token.clone()));
        supervisor.spawn("intake", self.clone().intake(claim, view, names, refusals, token));
        if let Err(end) = supervisor.run().await {
            tracing::warn!(%end, "the term ends early");
        }
    }

    /// Returns a recorder that writes events in the name of this process.
    fn recorder(&self) -> Recorder {
        let instance = Some(self.identity.clone());
        Recorder::new(self.hub.clone(), Reporter { controller: "meridian".to_owned(), instance })
    }

    /// Starts intake after the hub has returned its identity.
    ///
    /// Until then, delivery of accepted intent continues.
    async fn intake(
        self,
        claim: Claim,
        view: HubView,
        names: Names,
        refusals: Refusals,
        token: CancellationToken,
    ) -> Result<(), store::StoreError> {
        let hub_uid = loop {
            match read_identity(&self.hub).await {
                Ok(uid) => break uid,
                Err(error) => {
                    tracing::warn!(error = vocabulary::chain(&error), "the hub does not answer; nothing is taken in");
                }
            }
            tokio::select! { () = token.cancelled() => return Ok(()), () = tokio::time::sleep(AGAIN) => {} }
        };
        // No step waits for the published identity, and a hub that refuses it is served all the same.
        let published = publish_installation(&self.hub, &self.store.identity_installation().await?.to_string()).await;
        if let Err(error) = published {
            tracing::warn!(error = vocabulary::chain(&error), "members that join now do not learn whose they are");
        }
        let recorder = self.recorder();
        let intake = Intake {
            hub: self.hub,
            hub_uid,
            view,
            names,
            store: self.store,
            key: self.key,
            claim,
            hints: self.hints,
            refusals,
            pod_security: PodSecurity::default(),
            recorder,
            metrics: self.intake_metrics,
        };
        intake.run(token).await
    }
}
