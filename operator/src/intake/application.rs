//! Intake of Applications: validates the whole spec, then stores intent and revision.

use std::collections::{BTreeMap, BTreeSet};

use crds::application::v1alpha1::{DeletionPolicy, FailoverMode};
use crds::{Application, ApplicationSpec, PlacementSpec};
use domain::confirmation;
use domain::intent::{Intent, PolicySource};
use domain::placement;
use domain::release::check_release;
use domain::render::{self, Blueprint, Problem};
use domain::stored_revision::RevisionBody;
use domain::tenancy::{Tenancy, protected_denial};
use kube::{Api, ResourceExt};
use store::{ApplicationRow, ApplicationTaken, Hint, Removal};
use vocabulary::{AppKey, ContentHash, hash_json, labels};

use super::provenance::{Provenance, StoredApplication, provenance_of, source_lost};
use super::{Intake, IntakeError, Refusal};
use crate::hub::{drop_finalizer, ensure_finalizer, is_swept};

/// Kind under which refusals are stored.
pub(crate) const KIND: &str = "Application";

/// Brings the database up to date with one Application on the hub.
pub(super) async fn take_in(intake: &Intake, key: AppKey) -> Result<(), IntakeError> {
    let Some(object) = intake.readable(KIND, &key, &intake.view.applications) else { return Ok(()) };
    let row = intake.store.application_get(&key).await?;
    let api = Api::<Application>::namespaced(intake.hub.clone(), &key.namespace);
    if object.metadata.deletion_timestamp.is_some() {
        return remove(intake, &api, &object, row).await;
    }
    ensure_finalizer(&api, &object).await?;
    let pod_security = intake.pod_security.of(&intake.hub, &key.namespace).await?;
    let known = match row {
        Some(row) => StoredApplication::Taken(Box::new(row)),
        None => match intake.store.forgotten_application_at(&object.uid().unwrap_or_default()).await? {
            Some(at) => StoredApplication::Forgotten(at),
            None => StoredApplication::Nothing,
        },
    };
    let wanted = match wanted(intake, &key, &object, &known, pod_security) {
        Ok(wanted) => wanted,
        Err(refusal) => {
            intake.refuse(KIND, &key, Some(refusal));
            return Ok(());
        }
    };
    let Some(taken) = wanted else {
        intake.refuse(KIND, &key, None);
        return Ok(());
    };
    let id = intake.store.application_take(&intake.claim, &taken, &intake.key).await?;
    // Cleared only now, because a refusal by the database holds until the Application is stored.
    intake.refusals.set(KIND, &key, None);
    intake.names.learn(id, &key);
    tracing::info!(%key, generation = taken.generation, "application taken in");
    // The decision that follows triggers the status.
    intake.hints.send(Hint::Decide(id));
    Ok(())
}

/// Queues all Applications that refer to a changed policy.
pub(super) fn policy_changed(intake: &Intake, key: &AppKey) {
    let refers = |app: &AppKey| {
        app.namespace == key.namespace
            && intake.view.applications.get(app).is_some_and(|object| {
                object.spec.placement_policy_ref.as_ref().is_some_and(|policy| policy.name == key.name)
            })
    };
    intake.view.changed_applications.extend(intake.view.applications.keys().into_iter().filter(refers));
}

/// Counts Applications that are stored and missing on the hub although no user deleted them.
///
/// Members stay as they are. Only a user can decide what is intended.
pub(super) async fn count_absent(intake: &Intake, known: &mut BTreeSet<AppKey>) -> Result<(), IntakeError> {
    if !intake.view.applications.is_complete() {
        return Ok(());
    }
    let there = |key: &AppKey| {
        intake.view.applications.get(key).is_some() || intake.view.applications.unreadable(key).is_some()
    };
    let absent: BTreeSet<AppKey> =
        intake.store.application_keys().await?.into_iter().map(|(_, key)| key).filter(|key| !there(key)).collect();
    for key in absent.difference(known) {
        tracing::warn!(
            %key,
            "application is absent on the hub and was not deleted; members stay as they are. Apply it again and run \
             `meridian intake accept NAME -n NAMESPACE`; to remove it, delete it then"
        );
    }
    intake.metrics.absent.set(absent.len() as i64);
    *known = absent;
    Ok(())
}

async fn remove(
    intake: &Intake,
    api: &Api<Application>,
    object: &Application,
    row: Option<ApplicationRow>,
) -> Result<(), IntakeError> {
    // The object was never taken in, or is not the one taken in. Its deletion does not affect the fleet.
    let Some(row) = row.filter(|row| Some(&row.object_uid) == object.metadata.uid.as_ref()) else {
        return Ok(drop_finalizer(api, object).await?);
    };
    if !object.finalizers().iter().any(|finalizer| finalizer == labels::FINALIZER) {
        return Ok(());
    }
    let confirmed_whole = object.annotations().get(labels::CONFIRM_DELETE) == object.metadata.uid.as_ref();
    let removal = match object.spec.deletion.policy {
        DeletionPolicy::Orphan => Removal::Orphan,
        DeletionPolicy::Delete if row.removal == Some(Removal::Delete) || confirmed_whole => Removal::Delete,
        // No user deleted the Application: its namespace or its kind is being deleted.
        DeletionPolicy::Delete if is_swept(&intake.hub, "applications", &row.key.namespace).await? => Removal::Orphan,
        DeletionPolicy::Delete => Removal::Delete,
    };
    let whole = confirmed_whole.then(|| confirmation::whole_application(&row.object_uid));
    let confirmed = whole.or_else(|| confirmed(object, labels::CONFIRM_DELETE));
    if row.removal != Some(removal) || row.delete_confirmed != confirmed {
        intake.store.application_remove(&intake.claim, row.id, removal, confirmed).await?;
        tracing::info!(key = %row.key, ?removal, "application is being removed");
    }
    intake.hints.send(Hint::Decide(row.id));
    intake.hints.send(Hint::Show(row.id));
    Ok(())
}

/// Returns the Application to store, `None` when it is stored already, or the refusal.
fn wanted(
    intake: &Intake,
    key: &AppKey,
    object: &Application,
    known: &StoredApplication,
    pod_security: BTreeMap<String, String>,
) -> Result<Option<ApplicationTaken>, Refusal> {
    let generation = object.metadata.generation.unwrap_or_default();
    let refuse = |reason, message| Refusal { reason, message, generation, taken: None };
    if let Some(denial) = protected_denial(&key.namespace) {
        return Err(refuse("NamespaceDenied", format!("metadata.namespace: {denial}")));
    }
    let spec_hash = hash_json(&object.spec).map_err(|error| refuse("Unreadable", error.to_string()))?;
    let placed = placement_of(intake, key, &object.spec);
    let policy = placed.as_ref().ok().and_then(|(_, policy)| policy.as_ref());
    let provenance = match provenance_of(&intake.hub_uid, object, &spec_hash, known, policy) {
        Provenance::SourceLost { why, taken } => return Err(source_lost(key, generation, why, taken)),
        provenance => provenance,
    };
    let (placement, policy) = placed.map_err(|(reason, message)| refuse(reason, message))?;
    let blueprint = render::blueprint(key, &object.spec).map_err(|problems| refuse("InvalidSpec", lines(&problems)))?;
    if let Some(account) = blueprint.accounts.iter().find(|account| !some_cluster_allows(intake, account)) {
        let message = format!(
            "{}: service account {account} is not delivered beside it by the Application and no cluster allows it; add a ServiceAccount component of that name with scope: PerCluster, its default, use default, or add it to spec.serviceAccounts of a Cluster",
            blueprint.account_place(account)
        );
        return Err(refuse("InvalidSpec", message));
    }
    let replicas = object.spec.replicas.unwrap_or_default();
    let release = object.spec.release.iter().flat_map(|release| check_release(release, replicas));
    let problems: Vec<String> = placement::check_spec(&placement, replicas)
        .into_iter()
        .chain(release)
        .map(|problem| format!("{}: {}", problem.field, problem.message))
        .collect();
    if !problems.is_empty() {
        return Err(refuse("InvalidSpec", problems.join("\n")));
    }
    let rebalance_asked = confirmed(object, labels::REBALANCE);
    let delete_confirmed = confirmed(object, labels::CONFIRM_DELETE);
    let failover = &object.spec.failover;
    let intent = Intent {
        replicas,
        suspended: object.spec.suspended,
        placement,
        policy,
        drift: object.spec.drift,
        adopt: object.spec.adopt,
        pod_security,
        failover_after: (failover.mode == FailoverMode::Reschedule)
            .then(|| span("spec.failover.after", &failover.after))
            .transpose()
            .map_err(|message| refuse("InvalidSpec", message))?,
        release: object.spec.release.clone(),
        deletion_deadline: span("spec.deletion.deadline", &object.spec.deletion.deadline)
            .map_err(|message| refuse("InvalidSpec", message))?,
    };
    let intent = serde_json::to_value(&intent).map_err(|error| refuse("Unreadable", error.to_string()))?;
    let is_unchanged = |row: &ApplicationRow| {
        row.intent == intent
            && row.rebalance_asked == rebalance_asked
            && row.delete_confirmed == delete_confirmed
            && row.removal.is_none()
    };
    if provenance == Provenance::Same && matches!(known, StoredApplication::Taken(row) if is_unchanged(row)) {
        return Ok(None);
    }
    let payload = RevisionBody { components: &object.spec.components, overrides: &object.spec.overrides };
    Ok(Some(ApplicationTaken {
        key: key.clone(),
        hub_uid: intake.hub_uid.clone(),
        object_uid: object.uid().unwrap_or_default(),
        generation,
        spec_hash,
        intent,
        revision: blueprint.revision,
        payload: serde_json::to_vec(&payload).map_err(|error| refuse("Unreadable", error.to_string()))?,
        secret: blueprint.kinds.contains("v1/Secret"),
        divided_kind: divided_kind(&blueprint),
        rebalance_asked,
        delete_confirmed,
        accepted: provenance == Provenance::Accepted,
    }))
}

/// Returns the kind of the component whose replicas are divided over cells.
fn divided_kind(blueprint: &Blueprint) -> Option<String> {
    let component = &blueprint.components[blueprint.divided?];
    Some(format!("{}/{}", component.api_version, component.kind))
}

/// Returns whether some cluster allows a service account that is not a component.
///
/// Before any Cluster is present, only `default` is allowed.
fn some_cluster_allows(intake: &Intake, account: &str) -> bool {
    let clusters = intake.view.clusters.keys();
    let mut known = clusters.iter().filter_map(|key| intake.view.clusters.get(key)).peekable();
    if known.peek().is_none() {
        return Tenancy::default().allows_account(account);
    }
    // Before all Clusters are listed, an unlisted one may allow the account. Placement filters out clusters that do
    // not.
    !intake.view.clusters.is_complete() || known.any(|cluster| Tenancy::of(&cluster.spec).allows_account(account))
}

/// Queues refused Applications, because the changed Cluster may now allow what no Cluster allowed.
pub(super) fn cluster_changed(intake: &Intake) {
    let refused = |app: &AppKey| intake.refusals.get(KIND, app).is_some();
    intake.view.changed_applications.extend(intake.view.applications.keys().into_iter().filter(refused));
}

/// Returns the hash in an annotation, which names the confirmed action.
fn confirmed(object: &Application, annotation: &str) -> Option<ContentHash> {
    object.annotations().get(annotation)?.parse().ok()
}

fn span(field: &str, text: &str) -> Result<i64, String> {
    domain::intent::seconds(text)
        .ok_or_else(|| format!("{field}: {text:?} is no span of time; write for example 30s, 5m or 1h30m"))
}

fn placement_of(
    intake: &Intake,
    key: &AppKey,
    spec: &ApplicationSpec,
) -> Result<(PlacementSpec, Option<PolicySource>), (&'static str, String)> {
    let policy = match (&spec.placement, &spec.placement_policy_ref) {
        (Some(placement), _) => return Ok((placement.clone(), None)),
        (None, Some(policy)) => AppKey { namespace: key.namespace.clone(), name: policy.name.clone() },
        (None, None) => {
            return Err(("PolicyNotFound", "spec: set exactly one of placement and placementPolicyRef".to_owned()));
        }
    };
    let (name, namespace) = (&policy.name, &policy.namespace);
    if let Some(why) = intake.view.policies.unreadable(&policy) {
        let message = format!(
            "spec.placementPolicyRef: PlacementPolicy {name} in namespace {namespace} cannot be read: {why}; correct it, or update Meridian's CRDs"
        );
        return Err(("PolicyUnreadable", message));
    }
    let found = intake.view.policies.get(&policy).map(|policy| {
        let (uid, generation) = (policy.uid().unwrap_or_default(), policy.metadata.generation.unwrap_or_default());
        (policy.spec.clone(), Some(PolicySource { uid, generation }))
    });
    found.ok_or_else(|| {
        let message = format!(
            "spec.placementPolicyRef: there is no PlacementPolicy {name} in namespace {namespace}; create it or set spec.placement"
        );
        ("PolicyNotFound", message)
    })
}

fn lines(problems: &[Problem]) -> String {
    problems.iter().map(|problem| format!("{}: {}", problem.field, problem.message)).collect::<Vec<_>>().join("\n")
}
