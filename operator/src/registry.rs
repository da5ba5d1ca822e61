//! Feeds the registry of members from cluster and credential rows.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crds::ClusterSpec;
use crds::cluster::v1alpha1::Connection;
use jiff::Timestamp;
use members::{Limits, Member, MemberConfig, Registry};
use secrecy::ExposeSecret;
use store::seal::EnvelopeKey;
use store::{Hint, Hints, Store, StoreError};
use tokio::sync::broadcast::error::RecvError;
use tokio_util::sync::CancellationToken;
use vocabulary::ClusterName;

/// When rows are read again although nothing was heard.
const LOOK_AGAIN: Duration = Duration::from_secs(30);

/// What the feeder works with.
#[derive(Debug)]
pub(crate) struct Feeder {
    pub(crate) store: Store,
    pub(crate) key: Arc<EnvelopeKey>,
    pub(crate) hints: Hints,
    pub(crate) registry: Registry,
}

/// What a member was connected with.
struct Known {
    connection: Connection,
    member_uid: String,
    token: String,
    expires_at: Timestamp,
}

impl Feeder {
    /// Keeps the registry true to the rows until shutdown.
    pub(crate) async fn run(self, shutdown: CancellationToken) -> Result<(), std::convert::Infallible> {
        let mut hints = self.hints.subscribe();
        let mut again = tokio::time::interval(LOOK_AGAIN);
        let mut known = BTreeMap::new();
        loop {
            let look = tokio::select! {
                () = shutdown.cancelled() => return Ok(()),
                _ = again.tick() => true,
                hint = hints.recv() => match hint.as_deref() {
                    Ok(Hint::Connection(_) | Hint::Everything) | Err(RecvError::Lagged(_)) => true,
                    Ok(_) => false,
                    Err(RecvError::Closed) => return Ok(()),
                },
            };
            if look && let Err(error) = self.feed(&mut known).await {
                tracing::warn!(error = vocabulary::chain(&error), "members were not read; the next round will");
            }
        }
    }

    async fn feed(&self, known: &mut BTreeMap<ClusterName, Known>) -> Result<(), StoreError> {
        let rows = self.store.cluster_taken_list().await?;
        let lives = self.store.credential_lives().await?;
        let expiries: BTreeMap<String, Timestamp> =
            lives.into_iter().map(|life| (life.cluster, life.expires_at)).collect();
        let mut present = Vec::new();
        let mut news = Vec::new();
        for row in rows {
            let Ok(name) = row.name.parse::<ClusterName>() else { continue };
            let Ok(spec) = serde_json::from_value::<ClusterSpec>(row.spec) else {
                tracing::warn!(cluster = %name, "its stored spec cannot be read");
                continue;
            };
            present.push(name.clone());
            let same = same(known, &name, &spec.connection, &row.member_uid);
            // A credential never changes without ending at another time; opening every one each time would cost.
            let current = same.is_some_and(|known| expiries.get(name.as_str()) == Some(&known.expires_at));
            if !current && expiries.contains_key(name.as_str()) {
                news.push((name, spec.connection, row.member_uid));
            }
        }
        let names: Vec<&str> = news.iter().map(|(name, ..)| name.as_str()).collect();
        let mut credentials = self.store.credential_get_many(&names, &self.key).await?;
        for (name, connection, member_uid) in news {
            let same = same(known, &name, &connection, &member_uid);
            let credential = match credentials.remove(name.as_str()) {
                Some(Ok(credential)) => credential,
                None => continue,
                Some(Err(error)) => {
                    tracing::error!(cluster = %name, error = vocabulary::chain(&error), "its credential cannot be used");
                    continue;
                }
            };
            let token = credential.token.expose_secret().to_owned();
            match (same, self.registry.get(&name)) {
                (Some(same), _) if same.token == token && same.expires_at == credential.expires_at => continue,
                (Some(_), Some(member)) => {
                    if let Err(error) = member.set_token(&credential.token) {
                        tracing::warn!(cluster = %name, %error, "the new credential cannot be used");
                        continue;
                    }
                }
                _ => {
                    let config = MemberConfig {
                        name: name.clone(),
                        server: connection.server.clone(),
                        ca_pem: decode_ca(&connection),
                        tls_server_name: connection.tls_server_name.clone(),
                        proxy_url: connection.proxy_url.clone(),
                        token: credential.token,
                        limits: Limits::default(),
                    };
                    match Member::connect(&config) {
                        Ok(member) => self.registry.insert(&member),
                        Err(error) => {
                            tracing::warn!(cluster = %name, %error, "its connection cannot be used");
                            continue;
                        }
                    }
                }
            }
            known.insert(name.clone(), Known { connection, member_uid, token, expires_at: credential.expires_at });
            self.hints.send(Hint::Member(name.to_string()));
        }
        known.retain(|name, _| {
            let stays = present.contains(name);
            if !stays {
                self.registry.remove(name);
            }
            stays
        });
        self.registry.complete();
        Ok(())
    }
}

/// What a member was connected with, if it is still to be connected with that.
fn same<'a>(
    known: &'a BTreeMap<ClusterName, Known>,
    name: &ClusterName,
    connection: &Connection,
    member_uid: &str,
) -> Option<&'a Known> {
    known.get(name).filter(|known| known.connection == *connection && known.member_uid == member_uid)
}

fn decode_ca(connection: &Connection) -> Option<Vec<u8>> {
    use base64::Engine;
    let text = connection.certificate_authority_data.as_ref()?;
    base64::engine::general_purpose::STANDARD.decode(text.trim()).ok()
}
