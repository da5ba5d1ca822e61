//! The handle on one member, and what it reads.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use secrecy::SecretString;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::time::Instant;
use vocabulary::ClusterName;

use crate::api_kind::ApiKind;
use crate::config::MemberConfig;
use crate::error::MemberError;
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

    /// Asks `/readyz` once, whatever the breaker says, and returns how long the answer took. A server that is up
    /// but not ready gives [`MemberError::Unavailable`].
    pub async fn probe(&self) -> Result<Duration, MemberError> {
        let began = Instant::now();
        let call = Call { accept: "*/*", ..Call::get("/readyz") };
        self.transport.probe(&call).await?;
        Ok(began.elapsed())
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
