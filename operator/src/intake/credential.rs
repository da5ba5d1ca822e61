//! Intake of credentials: seals each handed-over Secret, and deletes it after the commit of its row.

use crds::cluster::v1alpha1::Connection;
use delivery::connection;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Secret;
use kube::api::{DeleteParams, Preconditions};
use kube::runtime::events::{Event, EventType};
use kube::{Api, Resource, ResourceExt};
use secrecy::SecretString;
use store::{ConnectionText, Credential, Hint};
use vocabulary::{AppKey, SYSTEM_NAMESPACE, labels};

use super::{Intake, IntakeError};
use crate::hub::HubError;

/// Maximum time that a Secret waits for its Cluster; limited because it holds a token in clear text.
const WAITS_FOR_CLUSTER_MAX: SignedDuration = SignedDuration::from_mins(10);

/// A credential, its connection, and the member that issued it, where the Secret names that member.
struct HandOver {
    member_uid: Option<String>,
    connection: ConnectionText,
    credential: Credential,
}

/// Seals the credential of a Secret, then deletes the Secret.
pub(super) async fn take_in(intake: &Intake, key: AppKey) -> Result<(), IntakeError> {
    let Some(secret) = intake.view.secrets.get(&key) else { return Ok(()) };
    let Some(cluster) = secret.labels().get(labels::CREDENTIAL_FOR) else { return Ok(()) };
    let now = Timestamp::now();
    let handed_over = match read(&secret, now) {
        Ok(handed_over) => handed_over,
        Err(why) => {
            return drop_unused(
                intake,
                &secret,
                &format!("it {why}; run `meridian cluster update-credential {cluster} --kubeconfig FILE`"),
            )
            .await;
        }
    };
    let taken_in = intake.store.cluster_get(cluster).await?;
    if waits_for_cluster(&handed_over, taken_in.as_ref().map(|row| row.taken.member_uid.as_str())) {
        // The Cluster is taken in first. Its intake then queues the Secrets again.
        let waited = secret.creation_timestamp().map(|created| now.duration_since(created.0));
        if waited.is_some_and(|waited| waited > WAITS_FOR_CLUSTER_MAX) {
            let why = format!("Cluster {cluster} was not taken in within 10 minutes; join it again");
            return drop_unused(intake, &secret, &why).await;
        }
        return Ok(());
    }
    let HandOver { connection, credential, .. } = handed_over;
    intake.store.credential_set(&intake.claim, cluster, &connection, &credential, &intake.key).await?;
    intake.hints.send(Hint::Connection(cluster.clone()));
    tracing::info!(cluster, expires_at = %credential.expires_at, "credential sealed");
    delete(intake, &secret).await
}

/// Returns whether the credential's Cluster is still to be taken in, as a new or replacing member.
///
/// Taking over a name drops the credential of the previous member. A credential stored earlier would be dropped with
/// it, for good.
fn waits_for_cluster(handed_over: &HandOver, taken_in: Option<&str>) -> bool {
    match (taken_in, handed_over.member_uid.as_deref()) {
        (None, _) => true,
        (Some(taken_in), Some(member_uid)) => taken_in != member_uid,
        (Some(_), None) => false,
    }
}

/// Deletes a Secret without a usable credential, and reports the reason in an event.
async fn drop_unused(intake: &Intake, secret: &Secret, why: &str) -> Result<(), IntakeError> {
    let name = secret.name_any();
    tracing::warn!(secret = name, why, "a credential that was handed over is deleted unused");
    let event = Event {
        type_: EventType::Warning,
        reason: "CredentialDropped".to_owned(),
        note: Some(format!("Secret {name} was deleted unused: {why}")),
        action: "HandOver".to_owned(),
        secondary: None,
    };
    if let Err(error) = intake.recorder.publish(&event, &secret.object_ref(&())).await {
        tracing::warn!(error = vocabulary::chain(&error), reason = event.reason, "an event was not written");
    }
    delete(intake, secret).await
}

async fn delete(intake: &Intake, secret: &Secret) -> Result<(), IntakeError> {
    let name = secret.name_any();
    let params = DeleteParams {
        preconditions: Some(Preconditions { uid: secret.uid(), resource_version: secret.resource_version() }),
        ..DeleteParams::default()
    };
    match Api::<Secret>::namespaced(intake.hub.clone(), SYSTEM_NAMESPACE).delete(&name, &params).await {
        Ok(_) => Ok(()),
        // The Secret is gone, or replaced by a newer one whose event follows.
        Err(kube::Error::Api(status)) if status.code == 404 || status.code == 409 => Ok(()),
        Err(source) => Err(HubError::Secret { name, source: Box::new(source) }.into()),
    }
}

/// Reads a Secret, or returns what is wrong with it.
fn read(secret: &Secret, now: Timestamp) -> Result<HandOver, String> {
    let text = |name: &str| {
        let bytes = secret.data.as_ref().and_then(|data| data.get(name)).ok_or_else(|| format!("lacks {name}"))?;
        String::from_utf8(bytes.0.clone()).map_err(|_| format!("has a {name} that is no text"))
    };
    let time = |name: &str| text(name)?.parse::<Timestamp>().map_err(|_| format!("has a {name} that is no time"));
    let connection: Connection = serde_json::from_str(&text("connection")?)
        .map_err(|error| format!("has a connection that cannot be read: {error}"))?;
    let expires_at = time("expiresAt")?;
    if expires_at <= now {
        return Err(format!("ended at {expires_at:.0}"));
    }
    let credential = Credential {
        token: SecretString::from(text("token")?),
        // The time is from the clock of the user's machine. Renewal counts from it, so it is never later than now.
        issued_at: time("issuedAt")?.min(now),
        expires_at,
    };
    let member_uid = text("memberUid").ok();
    Ok(HandOver { member_uid, connection: connection::text(&connection), credential })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use k8s_openapi::ByteString;

    use super::*;

    fn secret(change: &[(&str, Option<&str>)]) -> Secret {
        let mut data: BTreeMap<String, ByteString> = BTreeMap::new();
        let whole = [
            ("token", Some("t")),
            ("issuedAt", Some("2026-01-01T00:00:00Z")),
            ("expiresAt", Some("2026-01-08T00:00:00Z")),
            ("connection", Some(r#"{"server":"https://north:6443"}"#)),
        ];
        for (name, value) in whole.iter().chain(change) {
            match value {
                Some(value) => data.insert((*name).to_owned(), ByteString(value.as_bytes().to_vec())),
                None => data.remove(*name),
            };
        }
        Secret { data: Some(data), ..Secret::default() }
    }

    #[test]
    fn hand_over_is_accepted_despite_clock_skew() {
        let now: Timestamp = "2026-01-02T00:00:00Z".parse().unwrap();
        for (case, issued, taken) in [
            ("as it was", "2026-01-01T00:00:00Z", "2026-01-01T00:00:00Z"),
            ("a clock that is behind", "2025-06-01T00:00:00Z", "2025-06-01T00:00:00Z"),
            ("a clock that is ahead", "2026-03-01T00:00:00Z", "2026-01-02T00:00:00Z"),
        ] {
            let read = read(&secret(&[("issuedAt", Some(issued))]), now).unwrap();
            assert_eq!(read.credential.issued_at.to_string(), taken, "{case}");
            assert_eq!(read.connection.0, r#"{"server":"https://north:6443"}"#, "{case}");
        }
    }

    #[test]
    fn a_hand_over_waits_for_the_cluster_of_its_member() {
        let now: Timestamp = "2026-01-02T00:00:00Z".parse().unwrap();
        for (case, named, taken_in, waits) in [
            ("nothing was taken in yet", Some("new"), None, true),
            ("the member before still has the name", Some("new"), Some("old"), true),
            ("its own member has the name", Some("new"), Some("new"), false),
            ("made by an earlier command line", None, Some("old"), false),
        ] {
            let handed_over = read(&secret(&[("memberUid", named)]), now).unwrap();
            assert_eq!(waits_for_cluster(&handed_over, taken_in), waits, "{case}");
        }
    }

    #[test]
    fn a_secret_that_hands_nothing_over_says_why() {
        let now: Timestamp = "2026-01-02T00:00:00Z".parse().unwrap();
        for (change, says) in [
            (("token", None), "lacks token"),
            (("connection", None), "lacks connection"),
            (("connection", Some("{}")), "connection that cannot be read"),
            (("expiresAt", Some("soon")), "expiresAt that is no time"),
            (("expiresAt", Some("2026-01-01T00:00:00Z")), "ended at"),
        ] {
            let why = read(&secret(&[change]), now).err().unwrap_or_default();
            assert!(why.contains(says), "{why}");
        }
    }
}
