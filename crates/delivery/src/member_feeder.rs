//! Fills the registry of members from cluster and credential rows.

use std::collections::{BTreeMap, HashMap};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use crds::ClusterSpec;
use crds::cluster::v1alpha1::Connection;
use jiff::Timestamp;
use members::{Member, Registry, Unusable};
use secrecy::{ExposeSecret, SecretString};
use store::seal::{EnvelopeKey, SealError};
use store::{ConnectionText, Hint, Hints, Store, StoreError};
use tokio::sync::broadcast::error::RecvError;
use tokio_util::sync::CancellationToken;
use vocabulary::ClusterName;

use crate::connection;

/// Interval between two reads of the rows without a hint.
const LOOK_AGAIN: Duration = Duration::from_secs(30);

/// Feeder of the registry, with its dependencies.
#[derive(Debug)]
pub struct MemberFeeder {
    /// Database.
    pub store: Store,
    /// Key that opens sealed credentials.
    pub key: Arc<EnvelopeKey>,
    /// Hints sent and received.
    pub hints: Hints,
    /// Registry to fill.
    pub registry: Registry,
}

/// Settings with which a member was connected.
struct Known {
    connection: Connection,
    member_uid: String,
    token: String,
    expires_at: Timestamp,
}

impl MemberFeeder {
    /// Keeps the registry up to date with the rows until shutdown.
    ///
    /// # Errors
    /// None: the feeder retries failed reads.
    pub async fn run(self, shutdown: CancellationToken) -> Result<(), Infallible> {
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
        let mut unusable = BTreeMap::new();
        for row in rows {
            let Ok(name) = row.name.parse::<ClusterName>() else { continue };
            let spec = match serde_json::from_value::<ClusterSpec>(row.spec) {
                Ok(spec) => spec,
                Err(error) => {
                    let remedy = "apply the Cluster again, or run the version of Meridian that took it in";
                    let why = format!("its stored spec cannot be read: {error}; {remedy}");
                    unusable.insert(name, Unusable::Connection(why));
                    continue;
                }
            };
            present.push(name.clone());
            let same = same(known, &name, &spec.connection, &row.member_uid);
            // A changed credential always has another expiry. Opening every credential on each pass would be costly.
            let current = same.is_some_and(|known| expiries.get(name.as_str()) == Some(&known.expires_at));
            if !current && expiries.contains_key(name.as_str()) {
                news.push((name, spec.connection, row.member_uid));
            }
        }
        let wanted: HashMap<&str, ConnectionText> =
            news.iter().map(|(name, declared, _)| (name.as_str(), connection::text(declared))).collect();
        let mut credentials = self.store.credential_get_many(&wanted, &self.key).await?;
        for (name, connection, member_uid) in news {
            let same = same(known, &name, &connection, &member_uid);
            let credential = match credentials.remove(name.as_str()) {
                Some(Ok(credential)) => credential,
                None => continue,
                Some(Err(StoreError::Seal(SealError::DoesNotOpen(_)))) => {
                    // The previous connection is no longer used either, because it is not the declared one.
                    self.registry.remove(&name);
                    known.remove(&name);
                    let why = format!(
                        "its credential was handed over for another connection than spec.connection declares ({}); put that back, or run `meridian cluster update-credential {name} --kubeconfig FILE` to hand over one for it",
                        connection.server
                    );
                    unusable.insert(name, Unusable::OtherConnection(why));
                    continue;
                }
                Some(Err(error)) => {
                    let why = format!(
                        "its credential cannot be used: {}; start Meridian with the envelope key it was sealed under, or run `meridian cluster update-credential {name} --kubeconfig FILE`",
                        vocabulary::chain(&error)
                    );
                    unusable.insert(name, Unusable::Credential(why));
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
                _ => match connect(&name, &connection, credential.token) {
                    Ok(member) => self.registry.insert(&member),
                    Err(why) => {
                        // The previous connection is not the declared one.
                        self.registry.remove(&name);
                        known.remove(&name);
                        unusable.insert(name, Unusable::Connection(why));
                        continue;
                    }
                },
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
        self.tell(unusable);
        Ok(())
    }

    /// Stores why members cannot be used, so that their deliverers report the reason.
    fn tell(&self, unusable: BTreeMap<ClusterName, Unusable>) {
        let mut news = Vec::new();
        for (name, why) in &unusable {
            if self.registry.unusable(name).as_ref() != Some(why) {
                tracing::error!(cluster = %name, %why, "its member cannot be used");
                news.push(Hint::Member(name.to_string()));
            }
        }
        self.registry.complete(unusable);
        for hint in news {
            self.hints.send(hint);
        }
    }
}

fn connect(name: &ClusterName, connection: &Connection, token: SecretString) -> Result<Member, String> {
    let config = connection::config(name, connection, token)?;
    Member::connect(&config).map_err(|error| connection::problem(name, &error))
}

/// Returns the settings with which a member was connected, if they still apply.
fn same<'a>(
    known: &'a BTreeMap<ClusterName, Known>,
    name: &ClusterName,
    connection: &Connection,
    member_uid: &str,
) -> Option<&'a Known> {
    known.get(name).filter(|known| known.connection == *connection && known.member_uid == member_uid)
}
