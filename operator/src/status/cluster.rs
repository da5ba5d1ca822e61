//! Writes the status of one Cluster.

use crds::cluster::v1alpha1::{Amounts, ZoneCapacity};
use crds::condition::{self, Status, condition};
use crds::{Cluster, ClusterStatus};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::Api;
use members::install::INSTALLATION_VERSION;
use store::ClusterStatusRow;
use vocabulary::{AppKey, Verdict};

use super::{StatusError, StatusStage, events, unreadable};
use crate::hub::write_status;
use crate::intake::CLUSTER;

pub(super) async fn show(stage: &StatusStage, name: &str) -> Result<(), StatusError> {
    let key = AppKey { namespace: String::new(), name: name.to_owned() };
    let api = Api::<Cluster>::all(stage.hub.clone());
    if let Some(why) = stage.view.clusters.unreadable(&key) {
        return unreadable::show(stage, &api, name, &why).await;
    }
    let Some(object) = stage.view.clusters.get(&key) else { return Ok(()) };
    let shown = object.status.clone().unwrap_or_default();
    let generation = object.metadata.generation.unwrap_or_default();
    let now = Timestamp::now();
    let row = stage.store.cluster_get(name).await?;
    let known = row.as_ref().and_then(|row| row.status.clone());
    let sums = stage.fleet.sums(&stage.store).await?;
    let mut zones: Vec<ZoneCapacity> =
        known.as_ref().and_then(|known| serde_json::from_value(known.capacity.clone()).ok()).unwrap_or_default();
    for row in sums.reserved.iter().filter(|row| row.cluster == name) {
        if let Some(zone) = zones.iter_mut().find(|zone| zone.name == row.zone) {
            zone.reserved = Amounts { cpu_milli: row.cpu_milli, memory_mi: row.memory_mi, pods: row.pods };
        }
    }
    let make = |type_: &str, status: Status, reason: &str, message: &str| {
        condition(type_, status, reason, message, Some(generation), Time(now))
    };
    let cordoned = object.spec.cordoned || object.spec.drain;
    let reason = if object.spec.drain {
        "Draining"
    } else if cordoned {
        "Cordoned"
    } else {
        "Open"
    };
    let mut conditions = vec![make(condition::CORDONED, Status::from(cordoned), reason, "")];
    match (stage.refusals.get(CLUSTER, &key), &known) {
        (Some(refusal), _) => {
            conditions.push(make(condition::READY, Status::False, refusal.reason, &refusal.message));
            conditions.push(make(condition::STALLED, Status::True, refusal.reason, &refusal.message));
        }
        (None, None) => {
            conditions.push(make(condition::READY, Status::Unknown, "Pending", "the member was not met yet"));
        }
        (None, Some(known)) => {
            let (status, reason, message) = readiness(known, now, stage.stale_after);
            conditions.push(make(condition::READY, status, &reason, &message));
            conditions.extend(signals(&known.signals, make));
            let (enough, reason, message) = permissions(name, known);
            conditions.push(make(condition::PERMISSIONS_SUFFICIENT, Status::from(enough), reason, &message));
        }
    }
    conditions.sort_by(|a, b| a.type_.cmp(&b.type_));
    let wanted = ClusterStatus {
        // The generation taken in, so that `join` can wait for it.
        observed_generation: row.as_ref().map(|row| row.taken.generation).or(Some(generation)),
        as_of: known.as_ref().and_then(|known| known.as_of).map(Time),
        version: known.as_ref().and_then(|known| known.version.clone()),
        installation: known.as_ref().and_then(|known| known.installation),
        zone_names: Some(object.spec.zones.join(",")),
        apps: sums.apps.get(name).copied().unwrap_or_default(),
        credential_expires_at: sums.expiries.get(name).copied().map(Time),
        zones,
        kinds: known.and_then(|known| serde_json::from_value(known.kinds).ok()).unwrap_or_default(),
        conditions: condition::merge(&shown.conditions, conditions),
    };
    if says_the_same(&shown, &wanted) {
        return Ok(());
    }
    write_status(&stage.hub, &api, name, &wanted).await?;
    events::tell(&stage.recorder, &*object, &shown.conditions, &wanted.conditions).await;
    Ok(())
}

/// Returns whether the member is healthy, by its stored health and the age of the last sign of life.
///
/// Health that is not confirmed does not describe the present, and decisions count it as unknown too. The message gives
/// the time and not the age, because an age would change with each pass.
fn readiness(known: &ClusterStatusRow, now: Timestamp, stale_after: SignedDuration) -> (Status, String, String) {
    let is_old = known.as_of.is_none_or(|as_of| now.duration_since(as_of) > stale_after);
    let status = match known.health {
        Verdict::Pass if is_old => {
            let seen = known.as_of.and_then(|as_of| Timestamp::from_second(as_of.as_second()).ok());
            let seen = seen.map_or_else(|| "never".to_owned(), |seen| seen.to_string());
            let message = format!(
                "it was well when it was seen last, and that is too old to count: last sign of life {seen}, the limit is {} s. No operator process observes it now; see the operator's logs about this cluster",
                stale_after.as_secs()
            );
            return (Status::Unknown, "Stale".to_owned(), message);
        }
        Verdict::Pass => Status::True,
        Verdict::Fail => Status::False,
        Verdict::Unknown => Status::Unknown,
    };
    (status, known.reason.clone(), known.message.clone())
}

/// Returns whether the member grants the rights of its profiles.
///
/// The answer depends on the version installed there and on the kinds that may be delivered.
fn permissions(name: &str, known: &ClusterStatusRow) -> (bool, &'static str, String) {
    if known.kinds.as_array().is_none_or(Vec::is_empty) {
        let message = format!("no kind may be delivered; see `meridian cluster permissions {name} --kubeconfig FILE`");
        return (false, "NothingGranted", message);
    }
    let ours = i32::try_from(INSTALLATION_VERSION).unwrap_or(i32::MAX);
    match known.installation {
        Some(version) if version >= ours => (true, "Checked", String::new()),
        installed => {
            let found = installed.map_or_else(|| "not known".to_owned(), |version| format!("version {version}"));
            let message = format!(
                "what is installed there is {found}, this Meridian brings version {ours}; run `meridian cluster join {name} --kubeconfig FILE` again"
            );
            (false, "MemberOutdated", message)
        }
    }
}

/// Returns the signals that make up health, each as a condition of its own.
fn signals(stored: &serde_json::Value, make: impl Fn(&str, Status, &str, &str) -> Condition) -> Vec<Condition> {
    let known = [condition::REACHABLE, condition::WATCH_FRESH, condition::NODES_READY];
    let text = |signal: &serde_json::Value, field: &str| signal[field].as_str().unwrap_or_default().to_owned();
    let all = stored.as_array().into_iter().flatten();
    all.filter_map(|signal| {
        let type_ = known.into_iter().find(|name| signal["name"] == **name)?;
        let status = match signal["verdict"].as_str() {
            Some("Pass") => Status::True,
            Some("Fail") => Status::False,
            _ => Status::Unknown,
        };
        Some(make(type_, status, &text(signal, "reason"), &text(signal, "message")))
    })
    .collect()
}

/// Returns whether two statuses are equal. The API stores whole seconds.
fn says_the_same(shown: &ClusterStatus, wanted: &ClusterStatus) -> bool {
    let still = |status: &ClusterStatus| {
        let mut status = status.clone();
        for time in [&mut status.as_of, &mut status.credential_expires_at].into_iter().flatten() {
            *time = Time(Timestamp::from_second(time.0.as_second()).unwrap_or(time.0));
        }
        for condition in &mut status.conditions {
            condition.last_transition_time = Time(Timestamp::UNIX_EPOCH);
        }
        status
    };
    still(shown) == still(wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn health_that_nobody_confirms_is_not_ready() {
        let now = Timestamp::from_second(1_000).unwrap();
        let limit = SignedDuration::from_secs(60);
        for (case, health, seen, expected) in [
            ("well", Verdict::Pass, Some(941), (Status::True, "Healthy")),
            ("well, at the limit", Verdict::Pass, Some(940), (Status::True, "Healthy")),
            ("well, long ago", Verdict::Pass, Some(939), (Status::Unknown, "Stale")),
            ("well, and never seen", Verdict::Pass, None, (Status::Unknown, "Stale")),
            ("refused us, long ago", Verdict::Fail, Some(0), (Status::False, "Healthy")),
            ("silent", Verdict::Unknown, Some(0), (Status::Unknown, "Healthy")),
        ] {
            let known = ClusterStatusRow {
                health,
                reason: "Healthy".to_owned(),
                as_of: seen.map(|seen| Timestamp::from_second(seen).unwrap()),
                ..ClusterStatusRow::unknown()
            };
            let (status, reason, message) = readiness(&known, now, limit);
            assert_eq!((status, reason.as_str()), expected, "{case}: {message}");
            let time = seen.map_or("never".to_owned(), |seen| Timestamp::from_second(seen).unwrap().to_string());
            assert!(reason != "Stale" || message.contains(&time), "{case}: {message}");
        }
    }
}
