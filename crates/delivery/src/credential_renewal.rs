//! Renews member credentials after four fifths of their lifetime, under a lease of its own.

use std::collections::HashMap;
use std::convert::Infallible;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use crds::ClusterSpec;
use futures::TryStreamExt;
use jiff::Timestamp;
use members::Registry;
use runtime::supervise::Supervisor;
use store::seal::EnvelopeKey;
use store::{Claim, ConnectionText, Credential, CredentialLife, Hint, Hints, Keeper, Store, StoreError};
use tokio_util::sync::CancellationToken;
use vocabulary::ClusterName;

use crate::connection;

/// Name of the lease under which one process renews credentials.
const LEASE: &str = "credentials";
/// Minimum interval between the end of a term and the start of the next.
const RESTART_PAUSE: Duration = Duration::from_secs(1);
/// Requested lifetime of a credential; the lifetime that the member grants applies.
const LIFE: Duration = Duration::from_hours(7 * 24);
/// Maximum number of members whose credentials are renewed at once.
///
/// A member that hangs must not delay the others until their credentials have expired.
const AT_ONCE: usize = 16;

/// Renewal of credentials, with its dependencies.
#[derive(Debug, Clone)]
pub struct CredentialRenewal {
    /// Database.
    pub store: Store,
    /// Key that seals credentials.
    pub key: Arc<EnvelopeKey>,
    /// Hints sent.
    pub hints: Hints,
    /// Members that this process can connect to.
    pub registry: Registry,
    /// Interval between two checks of all expiries.
    pub look_again: Duration,
}

/// Returns whether a credential is to be renewed.
///
/// That is the case when four fifths of the lifetime are over, or when the credential is not bound to its connection
/// yet.
fn is_due(life: &CredentialLife, now: Timestamp) -> bool {
    if life.unbound {
        return true;
    }
    let whole = life.expires_at.duration_since(life.issued_at).as_secs();
    now.duration_since(life.issued_at).as_secs() >= whole / 5 * 4
}

impl CredentialRenewal {
    /// Renews all due credentials whenever this process holds the lease, until shutdown.
    ///
    /// # Errors
    /// None: a term that fails begins again.
    pub async fn run(self, keeper: Arc<Keeper>, shutdown: CancellationToken) -> Result<(), Infallible> {
        let work = |claim: Claim, token: CancellationToken| {
            let mut supervisor = Supervisor::new(token.clone());
            supervisor.spawn("credentials", self.clone().run_term(claim, token));
            async move {
                if let Err(end) = supervisor.run().await {
                    tracing::warn!(%end, "renewal of credentials begins again");
                }
                ControlFlow::Continue(())
            }
        };
        keeper.want(LEASE).run_in_each(RESTART_PAUSE, shutdown, work).await;
        Ok(())
    }

    /// Renews all due credentials until the end of the term.
    async fn run_term(self, claim: Claim, shutdown: CancellationToken) -> Result<(), StoreError> {
        let mut looks = tokio::time::interval(self.look_again);
        loop {
            tokio::select! { () = shutdown.cancelled() => return Ok(()), _ = looks.tick() => {} }
            match self.renew_due(&claim).await {
                Err(error @ StoreError::Fenced { .. }) => return Err(error),
                Err(error) => {
                    tracing::warn!(
                        error = vocabulary::chain(&error),
                        "credentials were not looked after; the next round will"
                    );
                }
                Ok(()) => {}
            }
        }
    }

    async fn renew_due(&self, claim: &Claim) -> Result<(), StoreError> {
        let now = Timestamp::now();
        let due = self.store.credential_lives().await?.into_iter().filter(|life| is_due(life, now));
        futures::stream::iter(due.map(Ok))
            .try_for_each_concurrent(AT_ONCE, async |life| match self.renew(claim, &life).await {
                Err(error) if !matches!(error, StoreError::Fenced { .. }) => {
                    tracing::warn!(
                        cluster = life.cluster,
                        error = vocabulary::chain(&error),
                        "the credential of a cluster was not looked after; the next round will"
                    );
                    Ok(())
                }
                outcome => outcome,
            })
            .await
    }

    async fn renew(&self, claim: &Claim, life: &CredentialLife) -> Result<(), StoreError> {
        let cluster = life.cluster.as_str();
        let Some(member) = cluster.parse::<ClusterName>().ok().and_then(|name| self.registry.get(&name)) else {
            return Ok(());
        };
        let Some(connection) = self.connection_of(cluster).await? else { return Ok(()) };
        let issued_at = Timestamp::now();
        let issued = match member.request_token(LIFE).await {
            Ok(issued) => issued,
            Err(error) => {
                tracing::warn!(cluster, %error, expires_at = %life.expires_at, "its credential could not be renewed");
                return Ok(());
            }
        };
        let renewed = Credential { token: issued.token, issued_at, expires_at: issued.expires_at };
        if !self.store.credential_renew(claim, life, &connection, &renewed, &self.key).await? {
            tracing::info!(cluster, "another credential was handed over meanwhile; the renewed one is dropped");
            return Ok(());
        }
        tracing::info!(cluster, expires_at = %renewed.expires_at, "credential renewed");
        self.hints.send(Hint::Connection(cluster.to_owned()));
        Ok(())
    }

    /// Returns the connection of the cluster's credential.
    ///
    /// Returns `None` where the cluster declares another connection.
    async fn connection_of(&self, cluster: &str) -> Result<Option<ConnectionText>, StoreError> {
        let Some(row) = self.store.cluster_get(cluster).await? else { return Ok(None) };
        let Ok(spec) = serde_json::from_value::<ClusterSpec>(row.taken.spec) else { return Ok(None) };
        let declared = connection::text(&spec.connection);
        let wanted = HashMap::from([(cluster, declared.clone())]);
        let opened = self.store.credential_get_many(&wanted, &self.key).await?.remove(cluster);
        Ok(opened.is_some_and(|opened| opened.is_ok()).then_some(declared))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_credential_is_due_when_four_fifths_of_its_life_are_over() {
        let at = |seconds: i64| Timestamp::from_second(1_000_000 + seconds).unwrap();
        let life = CredentialLife { cluster: "a".to_owned(), issued_at: at(0), expires_at: at(1000), unbound: false };
        assert!(is_due(&CredentialLife { unbound: true, ..life.clone() }, at(0)));
        for (now, due) in [(0, false), (799, false), (800, true), (1000, true), (5000, true)] {
            assert_eq!(is_due(&life, at(now)), due, "after {now} s of 1000");
        }
    }
}
