//! Handle on one member cluster, with the read calls.

use std::sync::Arc;

use bytes::Bytes;
use http_body_util::BodyExt;
use secrecy::SecretString;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::time::Instant;
use vocabulary::{ClusterName, SYSTEM_NAMESPACE};

use crate::api_kind::ApiKind;
use crate::config::MemberConfig;
use crate::error::MemberError;
use crate::install::INSTALLATION;
use crate::transport::{BreakerState, Call, Transport};

/// Handle on one member cluster. Clones share connections, budget, breaker and token.
#[derive(Debug, Clone)]
pub struct Member {
    pub(crate) transport: Arc<Transport>,
}

/// Kubernetes version of a member, as reported by `GET /version`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerVersion {
    /// Major version, which is 1.
    pub major: u32,
    /// Minor version; a vendor's suffix such as `30+` is dropped.
    pub minor: u32,
    /// Full version text, such as `v1.36.1`.
    pub git_version: String,
}

/// Identity of a member, and the revision that its store has reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Reads the UID of the kube-system namespace, which identifies a cluster for its whole life.
    pub uid: String,
    /// Revision of the member's store, where it is a number, as in every API server to date.
    ///
    /// The revision only rises, unless the store was restored from an older state.
    pub revision: Option<u64>,
}

impl ServerVersion {
    /// Returns whether the fence policy can be installed.
    ///
    /// `ValidatingAdmissionPolicy` is stable from Kubernetes 1.30 on.
    pub fn supported(&self) -> bool {
        (self.major, self.minor) >= (1, 30)
    }

    pub(crate) fn parse(body: &[u8]) -> Result<Self, String> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Raw {
            major: String,
            minor: String,
            git_version: String,
        }
        let raw: Raw = serde_json::from_slice(body).map_err(|error| error.to_string())?;
        let number = |text: &str| {
            let digits: String = text.chars().take_while(char::is_ascii_digit).collect();
            digits.parse().map_err(|_| format!("{text:?} is not a version number"))
        };
        Ok(Self { major: number(&raw.major)?, minor: number(&raw.minor)?, git_version: raw.git_version })
    }
}

impl Member {
    /// Creates the handle without sending anything. Must be called within a tokio runtime.
    ///
    /// The first call opens the connections, so a dead member does not delay a start.
    pub fn connect(config: &MemberConfig) -> Result<Self, MemberError> {
        Ok(Self { transport: Arc::new(Transport::new(config)?) })
    }

    /// Returns the name of the cluster.
    pub fn name(&self) -> &ClusterName {
        self.transport.cluster()
    }

    /// Replaces the token from the next request on. Open connections and watches stay.
    pub fn set_token(&self, token: &SecretString) -> Result<(), MemberError> {
        self.transport.set_token(token)
    }

    /// Returns whether both are handles on the same connections.
    pub fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.transport, &other.transport)
    }

    /// Returns the state of this member's breaker, for status and metrics.
    pub fn breaker(&self) -> BreakerState {
        self.transport.breaker_state()
    }

    /// Reads the member's identity and the revision of its store, once, even while the breaker is open.
    ///
    /// A list without a `resourceVersion` is as new as the member's store. So an answer shows three things: the server
    /// serves, its store serves, and it accepts our credential.
    pub async fn probe(&self) -> Result<Identity, MemberError> {
        #[derive(Deserialize)]
        struct List {
            metadata: Metadata,
            items: Vec<Item>,
        }
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Metadata {
            #[serde(default)]
            resource_version: String,
        }
        #[derive(Deserialize)]
        struct Item {
            metadata: Uid,
        }
        #[derive(Deserialize)]
        struct Uid {
            uid: String,
        }
        let path = "/api/v1/namespaces?limit=1&fieldSelector=metadata.name%3Dkube-system";
        let list: List = self.json(&self.transport.probe(&Call::get(path)).await?)?;
        let Some(item) = list.items.into_iter().next() else {
            return Err(MemberError::protocol(self.name(), "there is no namespace kube-system"));
        };
        Ok(Identity { uid: item.metadata.uid, revision: list.metadata.resource_version.parse().ok() })
    }

    /// Opens a watch of one namespace and waits for its first event, even while the breaker is open.
    ///
    /// The API server sends the present objects at once to a watch from version 0. So a missing event means that
    /// watches are not served, even where other requests are.
    pub async fn probe_watch(&self) -> Result<(), MemberError> {
        let within = self.transport.limits().request_timeout;
        let path = format!(
            "/api/v1/namespaces?watch=1&resourceVersion=0&fieldSelector=metadata.name%3Dkube-system&timeoutSeconds={}",
            within.as_secs().max(1)
        );
        let began = Instant::now();
        let mut body = self.transport.open_anyway(&Call::get(path)).await?;
        match tokio::time::timeout_at(began + within, body.frame()).await {
            Ok(Some(Ok(_))) => Ok(()),
            Ok(Some(Err(error))) => Err(self.transport.broken(&error)),
            Ok(None) => Err(MemberError::protocol(self.name(), "a watch ended without an event")),
            Err(_) => Err(MemberError::TimedOut { cluster: self.name().clone(), after: began.elapsed() }),
        }
    }

    /// Reads the version of the API server.
    pub async fn version(&self) -> Result<ServerVersion, MemberError> {
        let body = self.transport.call(&Call::get("/version")).await?;
        ServerVersion::parse(&body).map_err(|error| MemberError::protocol(self.name(), error))
    }

    /// Reads the UID of the kube-system namespace, which identifies a cluster for its whole life.
    pub async fn kube_system_uid(&self) -> Result<String, MemberError> {
        #[derive(Deserialize)]
        struct Object {
            metadata: Metadata,
        }
        #[derive(Deserialize)]
        struct Metadata {
            uid: String,
        }
        let call = Call::get("/api/v1/namespaces/kube-system");
        let object: Object = self.json(&self.transport.call(&call).await?)?;
        Ok(object.metadata.uid)
    }

    /// Reads the version of the installation by [`crate::install`]; `None` when the member has none.
    pub async fn installation(&self) -> Result<Option<u32>, MemberError> {
        let kind = ApiKind::namespaced("", "v1", "ConfigMap", "configmaps");
        match self.get(&kind, SYSTEM_NAMESPACE, INSTALLATION).await {
            Ok(record) => Ok(record["data"]["version"].as_str().and_then(|version| version.parse().ok())),
            Err(MemberError::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Reads one object as JSON.
    pub async fn get(&self, kind: &ApiKind, namespace: &str, name: &str) -> Result<Value, MemberError> {
        self.json(&self.get_bytes(kind, namespace, name).await?)
    }

    /// Reads one object as the bytes that the server sent.
    pub async fn get_bytes(&self, kind: &ApiKind, namespace: &str, name: &str) -> Result<Bytes, MemberError> {
        self.transport.call(&Call::get(kind.object_path(namespace, name))).await
    }

    pub(crate) fn json<T: DeserializeOwned>(&self, body: &[u8]) -> Result<T, MemberError> {
        serde_json::from_slice(body).map_err(|error| MemberError::protocol(self.name(), error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vendors_suffixes_do_not_hide_the_version() {
        for (minor, supported) in [("29", false), ("30", true), ("30+", true), ("36", true)] {
            let body = format!(r#"{{"major":"1","minor":"{minor}","gitVersion":"v1.{minor}.0-eks"}}"#);
            let version = ServerVersion::parse(body.as_bytes()).unwrap();
            assert_eq!(version.supported(), supported, "{minor}");
        }
        assert!(ServerVersion::parse(b"{}").is_err());
    }
}
