//! The handle on one member, and what it reads.

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

/// One member cluster. Clones share connections, budget, breaker and token.
#[derive(Debug, Clone)]
pub struct Member {
    pub(crate) transport: Arc<Transport>,
}

/// What `GET /version` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerVersion {
    /// Major version, 1.
    pub major: u32,
    /// Minor version; a vendor's suffix such as `30+` is dropped.
    pub minor: u32,
    /// The full text, such as `v1.36.1`.
    pub git_version: String,
}

/// Who a member is, and where its history stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// UID of the kube-system namespace: what identifies a cluster for its whole life.
    pub uid: String,
    /// Revision of its store, where it is a number, as in every API server to date. It only rises, unless the store
    /// was restored from an older state.
    pub revision: Option<u64>,
}

impl ServerVersion {
    /// Whether the fence policy can be installed: `ValidatingAdmissionPolicy` is stable from 1.30 on.
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
    /// Makes the handle. Nothing is sent yet: connections come about with the first call, so a dead member does
    /// not delay a start. Must be called within a tokio runtime.
    pub fn connect(config: &MemberConfig) -> Result<Self, MemberError> {
        Ok(Self { transport: Arc::new(Transport::new(config)?) })
    }

    /// Name of the cluster.
    pub fn name(&self) -> &ClusterName {
        self.transport.cluster()
    }

    /// Uses another token from the next request on; open connections and watches stay.
    pub fn set_token(&self, token: &SecretString) -> Result<(), MemberError> {
        self.transport.set_token(token)
    }

    /// Whether both are handles on the same connections.
    pub fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.transport, &other.transport)
    }

    /// State of this member's breaker, for status and metrics.
    pub fn breaker(&self) -> BreakerState {
        self.transport.breaker_state()
    }

    /// Reads who the member is and how far its history has come, once and whatever the breaker says. A list without a
    /// resourceVersion is as new as the member's store, so the answer shows that the server serves, that its store does
    /// and that it lets us in.
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

    /// Opens a watch of one namespace, whatever the breaker says, and waits for its first event. The API server sends
    /// what is there at once to whoever watches from version 0, so no event means that watches are not served, even
    /// where other requests are.
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

    /// The server's version.
    pub async fn version(&self) -> Result<ServerVersion, MemberError> {
        let body = self.transport.call(&Call::get("/version")).await?;
        ServerVersion::parse(&body).map_err(|error| MemberError::protocol(self.name(), error))
    }

    /// UID of the kube-system namespace: what identifies a cluster for its whole life.
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

    /// Version of what [`crate::install`] put there; nothing when it is not there.
    pub async fn installation(&self) -> Result<Option<u32>, MemberError> {
        let kind = ApiKind::namespaced("", "v1", "ConfigMap", "configmaps");
        match self.get(&kind, SYSTEM_NAMESPACE, INSTALLATION).await {
            Ok(record) => Ok(record["data"]["version"].as_str().and_then(|version| version.parse().ok())),
            Err(MemberError::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// One object.
    pub async fn get(&self, kind: &ApiKind, namespace: &str, name: &str) -> Result<Value, MemberError> {
        self.json(&self.get_bytes(kind, namespace, name).await?)
    }

    /// One object, as the server sent it.
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
