//! Delivery to one cluster, from acquiring its lease to losing it.

use std::time::Duration;

use jiff::Timestamp;
use store::{Claim, ClusterRow, ClusterStatusRow, Hint, StoreError};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use vocabulary::{ClusterName, Verdict};

use crate::Delivery;
use crate::handshake::{Unavailable, handshake};
use crate::session::Session;
use crate::status::health_tracker::{signals_unmet, silent_since};

/// Pause before the next handshake with a member that cannot be used.
const MEET_AGAIN: Duration = Duration::from_secs(2);

/// Reason why delivery to a cluster ended.
#[derive(Debug, thiserror::Error)]
pub enum DeliveryError {
    /// A call to the database failed, or the lease was lost.
    #[error("delivery to {cluster} stopped")]
    Store {
        /// Name of the cluster.
        cluster: String,
        /// Error of the database call.
        #[source]
        source: StoreError,
    },
    /// The cluster is no longer registered.
    #[error("cluster {0} is gone")]
    Gone(String),
}

/// Delivers to one cluster under the claim until `shutdown`.
///
/// # Errors
/// - `DeliveryError::Store` when the lease is lost or a call to the database fails.
/// - `DeliveryError::Gone` when the cluster is no longer registered.
///
/// The next holder of the lease continues from the rows.
pub async fn run(
    delivery: Delivery,
    cluster: ClusterName,
    claim: Claim,
    shutdown: CancellationToken,
) -> Result<(), DeliveryError> {
    let name = cluster.to_string();
    let stopped = |source| DeliveryError::Store { cluster: name.clone(), source };
    let mut hints = delivery.hints.subscribe();
    // A read of the fleet after this moment covers every hint received so far.
    let mut heard = Instant::now();
    // Repeats the handshake, and reports why it fails, until it succeeds. A new process may hold the lease before it
    // has opened its credentials. Its missing member is not reported, as it is no evidence about the member's health.
    let (member, member_info) = loop {
        let complete = delivery.registry.is_complete();
        // Read anew each time: another member may have been registered under the name meanwhile.
        let row = registered(&delivery, &name).await.map_err(stopped)?;
        let expected = row.ok_or_else(|| DeliveryError::Gone(name.clone()))?.taken.member_uid;
        let met = match delivery.registry.get(&cluster) {
            Some(member) => handshake(&member, &expected).await.map(|member_info| (member, member_info)),
            None => Err(Unavailable::without_member(&name, delivery.registry.unusable(&cluster))),
        };
        match met {
            Ok(met) => break met,
            Err(_) if !complete => {}
            Err(trouble) => say(&delivery, &claim, &name, &trouble).await.map_err(stopped)?,
        }
        let again = tokio::time::sleep(MEET_AGAIN);
        tokio::pin!(again);
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return Ok(()),
                () = &mut again => break,
                hint = hints.recv() => match hint.as_deref() {
                    Ok(Hint::Member(changed)) if *changed == name => break,
                    Ok(Hint::Topology | Hint::Everything) | Err(tokio::sync::broadcast::error::RecvError::Lagged(_)) => {
                        heard = Instant::now();
                    }
                    Ok(_) => {}
                    Err(tokio::sync::broadcast::error::RecvError::Closed) => return Ok(()),
                },
            }
        }
    };
    let session = Session::begin(delivery, cluster, member, member_info, claim, heard).await.map_err(stopped)?;
    session.run(hints, shutdown).await.map_err(stopped)
}

pub(crate) async fn registered(delivery: &Delivery, name: &str) -> Result<Option<ClusterRow>, StoreError> {
    delivery.store.cluster_get(name).await
}

/// Writes that a member cannot be used.
async fn say(delivery: &Delivery, claim: &Claim, name: &str, trouble: &Unavailable) -> Result<(), StoreError> {
    let Some(row) = registered(delivery, name).await? else { return Ok(()) };
    let silence = jiff::SignedDuration::try_from(delivery.times.silence).unwrap_or(jiff::SignedDuration::MAX);
    let heartbeat = jiff::SignedDuration::try_from(delivery.times.heartbeat).unwrap_or(jiff::SignedDuration::MAX);
    let seen_lately = row.status.as_ref().and_then(|status| status.as_of);
    if trouble.verdict == Verdict::Unknown
        && seen_lately.is_some_and(|as_of| Timestamp::now().duration_since(as_of) < silence)
    {
        // The previous deliverer reached the member a moment ago. One failed call does not count as silence.
        return Ok(());
    }
    let before = row.status.clone();
    let now = Timestamp::now();
    let known = row.status.unwrap_or_else(ClusterStatusRow::unknown);
    let status = unmet(known, trouble, now);
    if before.as_ref() != Some(&status) {
        tracing::warn!(cluster = name, reason = trouble.reason, message = trouble.message, "member cannot be used");
        let status = ClusterStatusRow { checked_at: Some(now), ..status };
        delivery.store.cluster_status_set(claim, name, &status).await?;
        delivery.hints.send(Hint::Health(name.to_owned()));
    } else if status.checked_at.is_none_or(|at| now.duration_since(at) > heartbeat) {
        delivery.store.cluster_seen(claim, name, None, now).await?;
    }
    Ok(())
}

/// Status of a member that cannot be used.
///
/// The last known facts and their age are kept; the signals are replaced.
fn unmet(known: ClusterStatusRow, trouble: &Unavailable, now: Timestamp) -> ClusterStatusRow {
    ClusterStatusRow {
        health: trouble.verdict,
        reason: trouble.reason.to_owned(),
        message: trouble.message.clone(),
        unhealthy_since: known.unhealthy_since.or(Some(now)),
        silent_since: silent_since(trouble.verdict, trouble.reason, known.silent_since, now),
        signals: signals_unmet(trouble),
        ..known
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn no_signal_survives_a_failed_meeting() {
        let signals = ["Reachable", "WatchFresh", "NodesReady"].map(|name| json!({"name": name, "verdict": "Pass"}));
        let known = ClusterStatusRow {
            as_of: Some(Timestamp::UNIX_EPOCH),
            version: Some("v1.36.1".to_owned()),
            signals: Value::from(signals.to_vec()),
            ..ClusterStatusRow::unknown()
        };
        for (verdict, reason, reachable) in
            [(Verdict::Unknown, "Unreachable", "Unknown"), (Verdict::Fail, "ConnectionInvalid", "Fail")]
        {
            let trouble = Unavailable { verdict, reason, message: "why".to_owned() };
            let status = unmet(known.clone(), &trouble, Timestamp::now());
            assert_eq!((status.health, status.reason.as_str()), (verdict, reason));
            assert_eq!((status.as_of, &status.version), (known.as_of, &known.version), "what was known keeps its age");
            let signals: Vec<(&str, &str)> = status
                .signals
                .as_array()
                .unwrap()
                .iter()
                .map(|signal| (signal["name"].as_str().unwrap(), signal["verdict"].as_str().unwrap()))
                .collect();
            assert_eq!(signals, [("Reachable", reachable), ("WatchFresh", "Unknown"), ("NodesReady", "Unknown")]);
            assert_eq!(status.signals[0]["message"], "why");
        }
    }
}
