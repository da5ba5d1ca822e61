//! Renews member credentials when four fifths of their life are over.

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use members::Registry;
use store::seal::EnvelopeKey;
use store::{Claim, Credential, Hint, Hints, Store, StoreError};
use tokio_util::sync::CancellationToken;
use vocabulary::ClusterName;

/// Life that is asked for; what the member grants is taken.
const LIFE: Duration = Duration::from_hours(7 * 24);
/// Longest pause between two looks; a credential's due time comes from its row.
const LOOK_AGAIN: Duration = Duration::from_secs(30);

/// What renewal works with.
#[derive(Debug, Clone)]
pub(crate) struct Credentials {
    pub(crate) store: Store,
    pub(crate) key: Arc<EnvelopeKey>,
    pub(crate) hints: Hints,
    pub(crate) registry: Registry,
}

/// When a credential is to be renewed: after four fifths of its life.
fn due(credential: &Credential) -> Timestamp {
    let life = credential.expires_at.duration_since(credential.issued_at);
    let pause = SignedDuration::from_secs(life.as_secs() / 5 * 4);
    credential.issued_at.saturating_add(pause).unwrap_or(credential.expires_at)
}

impl Credentials {
    /// Renews whatever is due until shutdown.
    pub(crate) async fn run(self, claim: Claim, shutdown: CancellationToken) -> Result<(), StoreError> {
        let mut looks = tokio::time::interval(LOOK_AGAIN);
        loop {
            tokio::select! { () = shutdown.cancelled() => return Ok(()), _ = looks.tick() => {} }
            for (cluster, _) in self.store.credential_expiries().await.unwrap_or_default() {
                match self.renew(&claim, &cluster).await {
                    Err(error @ StoreError::Fenced { .. }) => return Err(error),
                    Err(error) => {
                        tracing::warn!(cluster, error = vocabulary::chain(&error), "its credential was not renewed");
                    }
                    Ok(()) => {}
                }
            }
        }
    }

    async fn renew(&self, claim: &Claim, cluster: &str) -> Result<(), StoreError> {
        let Some(credential) = self.store.credential_get(cluster, &self.key).await? else { return Ok(()) };
        if Timestamp::now() < due(&credential) {
            return Ok(());
        }
        let Some(member) = cluster.parse::<ClusterName>().ok().and_then(|name| self.registry.get(&name)) else {
            return Ok(());
        };
        let issued_at = Timestamp::now();
        let issued = match member.request_token(LIFE).await {
            Ok(issued) => issued,
            Err(error) => {
                tracing::warn!(cluster, %error, expires_at = %credential.expires_at, "its credential could not be renewed");
                return Ok(());
            }
        };
        let renewed = Credential { token: issued.token, issued_at, expires_at: issued.expires_at };
        self.store.credential_set(claim, cluster, &renewed, &self.key).await?;
        tracing::info!(cluster, expires_at = %renewed.expires_at, "credential renewed");
        self.hints.send(Hint::Connection(cluster.to_owned()));
        Ok(())
    }
}
