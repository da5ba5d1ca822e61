//! Credentials: handed over as a Secret that is deleted once its sealed row is committed.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{DeleteParams, Preconditions};
use kube::{Api, ResourceExt};
use secrecy::SecretString;
use store::{Credential, Hint};
use vocabulary::{AppKey, SYSTEM_NAMESPACE, labels};

use super::{Intake, IntakeError};
use crate::hub::HubError;

/// Seals what a Secret hands over, then deletes the Secret.
pub(super) async fn take_in(intake: &Intake, key: AppKey) -> Result<(), IntakeError> {
    let Some(secret) = intake.view.secrets.get(&key) else { return Ok(()) };
    let Some(cluster) = secret.labels().get(labels::CREDENTIAL_FOR) else { return Ok(()) };
    if intake.store.cluster_get(cluster).await?.is_none() {
        // The Cluster is taken in first; its intake looks at Secrets again.
        return Ok(());
    }
    let Some(credential) = read(&secret) else {
        tracing::warn!(
            secret = key.name,
            "a credential Secret lacks token, issuedAt or expiresAt; run `meridian cluster update-credential`"
        );
        return Ok(());
    };
    intake.store.credential_set(&intake.claim, cluster, &credential, &intake.key).await?;
    intake.hints.send(Hint::Connection(cluster.clone()));
    tracing::info!(cluster, expires_at = %credential.expires_at, "credential sealed");
    let params = DeleteParams {
        preconditions: Some(Preconditions { uid: secret.uid(), resource_version: secret.resource_version() }),
        ..DeleteParams::default()
    };
    match Api::<Secret>::namespaced(intake.hub.clone(), SYSTEM_NAMESPACE).delete(&key.name, &params).await {
        Ok(_) => Ok(()),
        // Gone, or replaced by a newer one whose event follows.
        Err(kube::Error::Api(status)) if status.code == 404 || status.code == 409 => Ok(()),
        Err(source) => Err(HubError::Secret { name: key.name, source: Box::new(source) }.into()),
    }
}

fn read(secret: &Secret) -> Option<Credential> {
    let data = secret.data.as_ref()?;
    let text = |name: &str| String::from_utf8(data.get(name)?.0.clone()).ok();
    Some(Credential {
        token: SecretString::from(text("token")?),
        issued_at: text("issuedAt")?.parse::<Timestamp>().ok()?,
        expires_at: text("expiresAt")?.parse::<Timestamp>().ok()?,
    })
}
