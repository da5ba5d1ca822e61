//! Intake of Clusters, which declare member clusters.

use crds::Cluster;
use delivery::connection;
use kube::{Api, ResourceExt};
use store::{CellRow, ClusterTaken, Hint, Removal};
use vocabulary::{AppKey, ClusterName, labels};

use super::declaration::{Age, Declaration, age_of, refuse_older, resource_version};
use super::{Intake, IntakeError, Refusal, application, zone_cells};
use crate::hub::{drop_finalizer, ensure_finalizer, is_swept};

/// Kind under which refusals are stored.
pub(crate) const KIND: &str = "Cluster";

/// Brings the database up to date with one Cluster on the hub.
pub(super) async fn take_in(intake: &Intake, key: AppKey) -> Result<(), IntakeError> {
    // An absent object is not treated as deleted: with our finalizer, intake sees every deletion.
    let Some(object) = intake.readable(KIND, &key, &intake.view.clusters) else { return Ok(()) };
    let api = Api::<Cluster>::all(intake.hub.clone());
    let rows = intake.store.cluster_taken_alike(&key.name, &object.spec.uid).await?;
    let row = rows.iter().find(|row| row.name == key.name);
    let removal = removal_of(&object);
    // A deletion applies to the object that was taken in, and to no other object of the same name.
    if removal.is_some() && row.is_none_or(|row| Some(&row.object_uid) != object.metadata.uid.as_ref()) {
        if row.is_none() {
            zone_cells::withdraw(intake, &key.name).await?;
        }
        return Ok(drop_finalizer(&api, &object).await?);
    }
    if removal == Some(Removal::Orphan) && is_swept(&intake.hub, "clusters", "").await? {
        // Deleting the kind does not remove the member, which stays in the fleet as it was taken in.
        tracing::warn!(cluster = key.name, "the Cluster goes because its kind does; the member stays in the fleet");
        return Ok(drop_finalizer(&api, &object).await?);
    }
    if removal.is_none() {
        ensure_finalizer(&api, &object).await?;
    }
    let taken = ClusterTaken {
        name: key.name.clone(),
        object_uid: object.uid().unwrap_or_default(),
        member_uid: object.spec.uid.clone(),
        generation: object.metadata.generation.unwrap_or_default(),
        resource_version: resource_version(object.as_ref()),
        labels: serde_json::to_value(object.labels())?,
        spec: serde_json::to_value(&object.spec)?,
        removal,
        gone: object.annotations().get(labels::GONE) == Some(&object.spec.uid),
    };
    let others = rows.iter().filter(|other| other.name != key.name);
    let refusal = match refuse(&object, &taken, row, others) {
        None if row.is_none() => refuse_name_of_cell(&intake.store.cell_list().await?, &taken),
        refusal => refusal,
    }
    .or_else(|| zone_cells::refuse(intake, &object).filter(|_| removal.is_none()));
    if refusal.is_some() {
        intake.refuse(KIND, &key, refusal);
        return Ok(());
    }
    if let Some(row) = row
        && row.member_uid != taken.member_uid
    {
        // Another cluster took the name, so no observation of the previous cluster holds for it.
        intake.store.cluster_replace(&intake.claim, &taken).await?;
    } else if row.is_none_or(|row| changed(row, &taken)) {
        intake.store.cluster_take(&intake.claim, &taken).await?;
    } else {
        // After a refusal, a person wrote the content again. An earlier state is to be told from that version.
        let was_refused = intake.refusals.get(KIND, &key).is_some();
        let is_other = |row| age_of(&declaration(&taken), &declaration(row)) == Age::SameAtOtherVersion;
        if was_refused || row.is_some_and(is_other) {
            intake.store.cluster_take(&intake.claim, &taken).await?;
        }
        intake.refuse(KIND, &key, None);
        // A waiting deletion may have become possible.
        if removal.is_some() && intake.store.cluster_forget(&intake.claim, &key.name).await? {
            intake.hints.send(Hint::Topology);
            zone_cells::withdraw(intake, &key.name).await?;
            drop_finalizer(&api, &object).await?;
        }
        if removal.is_none() {
            zone_cells::declare(intake, &object).await?;
        }
        return Ok(());
    }
    // Cleared only now, because a refusal by the database holds until the Cluster is stored.
    intake.refusals.set(KIND, &key, None);
    tracing::info!(cluster = key.name, generation = taken.generation, "cluster taken in");
    intake.hints.send(Hint::Connection(key.name.clone()));
    intake.hints.send(Hint::Topology);
    application::cluster_changed(intake);
    if removal.is_some() {
        intake.view.changed_clusters.push(key.clone());
    } else {
        zone_cells::declare(intake, &object).await?;
    }
    // The credential may have arrived before its Cluster.
    let meant = |secret: &AppKey| {
        intake
            .view
            .secrets
            .get(secret)
            .is_some_and(|secret| secret.labels().get(labels::CREDENTIAL_FOR) == Some(&key.name))
    };
    intake.view.changed_secrets.extend(intake.view.secrets.keys().into_iter().filter(meant));
    Ok(())
}

fn removal_of(object: &Cluster) -> Option<Removal> {
    object.metadata.deletion_timestamp.as_ref()?;
    let confirmed = object.annotations().get(labels::DELETE_WORKLOADS);
    Some(if confirmed.is_some() && confirmed == object.metadata.uid.as_ref() {
        Removal::Delete
    } else {
        Removal::Orphan
    })
}

fn declaration(taken: &ClusterTaken) -> Declaration<'_> {
    Declaration {
        object_uid: &taken.object_uid,
        generation: taken.generation,
        resource_version: taken.resource_version,
        labels: &taken.labels,
        spec: &taken.spec,
        gone: taken.gone,
    }
}

fn changed(before: &ClusterTaken, now: &ClusterTaken) -> bool {
    before.object_uid != now.object_uid
        || before.generation != now.generation
        || before.labels != now.labels
        || before.spec != now.spec
        || before.removal != now.removal
        || before.gone != now.gone
}

/// Refuses a new cluster that has the name of a declared cell.
///
/// Otherwise, replicas placed in that cell would be decided for the cluster.
fn refuse_name_of_cell(cells: &[CellRow], now: &ClusterTaken) -> Option<Refusal> {
    let cell = cells.iter().find(|cell| cell.name == now.name)?;
    let cluster = cell.spec.as_ref()?["cluster"].as_str().unwrap_or_default();
    let message = format!(
        "a Cell of cluster {cluster} has the name {0}, and a cluster's name is that of its implicit cell; join the member under another name, or delete Cell {0} and wait until nothing is placed there",
        now.name
    );
    Some(Refusal { reason: "NameTaken", message, generation: now.generation, taken: None })
}

fn refuse<'a>(
    object: &Cluster,
    now: &ClusterTaken,
    before: Option<&ClusterTaken>,
    mut others: impl Iterator<Item = &'a ClusterTaken>,
) -> Option<Refusal> {
    let refusal = |reason, message| Some(Refusal { reason, message, generation: now.generation, taken: None });
    if let Some(other) = others.find(|other| other.member_uid == now.member_uid) {
        return refusal(
            "SameCluster",
            format!(
                "this is the cluster joined as {} already (kube-system UID {}); remove one of the two names",
                other.name, now.member_uid
            ),
        );
    }
    // A Cluster that is being deleted is released even with an invalid connection.
    let connects = |name| connection::check(&name, &object.spec.connection);
    if now.removal.is_none()
        && let Some(Err(problem)) = now.name.parse::<ClusterName>().ok().map(connects)
    {
        return refusal("InvalidConnection", problem);
    }
    let replaced = object.annotations().get(labels::REPLACE) == Some(&now.member_uid);
    match before {
        Some(before) if before.member_uid != now.member_uid && !replaced => refusal(
            "AnotherCluster",
            format!(
                "the name belongs to the cluster with kube-system UID {}, this one has {}; if it takes the other's place, run `meridian cluster replace {} --kubeconfig FILE`",
                before.member_uid, now.member_uid, now.name
            ),
        ),
        Some(before) => refuse_older(object, "mcl", &declaration(now), &declaration(before)),
        None => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn cluster_does_not_take_the_name_of_a_cell() {
        let cell = |name: &str, spec: Option<serde_json::Value>| CellRow {
            name: name.to_owned(),
            labels: json!({}),
            spec,
            object_uid: None,
            generation: None,
            resource_version: None,
            leaving: false,
            authority: 1,
        };
        let cells = [cell("pay-a", Some(json!({"cluster": "north"}))), cell("east", None)];
        let taken = |name: &str| ClusterTaken {
            name: name.to_owned(),
            object_uid: "o".to_owned(),
            member_uid: "m".to_owned(),
            generation: 3,
            resource_version: None,
            labels: json!({}),
            spec: json!({}),
            removal: None,
            gone: false,
        };
        let refusal = refuse_name_of_cell(&cells, &taken("pay-a")).unwrap();
        assert_eq!((refusal.reason, refusal.generation), ("NameTaken", 3));
        assert!(
            refusal.message.contains("cluster north") && refusal.message.contains("delete Cell pay-a"),
            "{}",
            refusal.message
        );
        for name in ["east", "west"] {
            assert!(
                refuse_name_of_cell(&cells, &taken(name)).is_none(),
                "{name}: a cell that is only remembered is free"
            );
        }
    }
}
