//! Member credentials, sealed.

use std::collections::HashMap;

use jiff::Timestamp;
use jiff_sqlx::{Timestamp as Ts, ToSqlx};
use secrecy::{ExposeSecret, SecretString};

use crate::seal::EnvelopeKey;
use crate::{Claim, Store, StoreError};

/// A bearer token for a member cluster.
#[derive(Debug, Clone)]
pub struct Credential {
    /// The token.
    pub token: SecretString,
    /// When it was issued.
    pub issued_at: Timestamp,
    /// When it ends.
    pub expires_at: Timestamp,
}

/// From when to when a cluster's credential is valid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CredentialLife {
    /// Name of the cluster.
    pub cluster: String,
    /// When it was issued.
    pub issued_at: Timestamp,
    /// When it ends.
    pub expires_at: Timestamp,
}

fn purpose(cluster: &str) -> String {
    format!("credential/{cluster}")
}

impl Store {
    /// Seals and keeps a cluster's credential, unless a later one is there already.
    /// A cluster that is not there is [`StoreError::Refused`].
    pub async fn credential_set(
        &self,
        claim: &Claim,
        cluster: &str,
        credential: &Credential,
        key: &EnvelopeKey,
    ) -> Result<(), StoreError> {
        let sealed = key.seal(&purpose(cluster), credential.token.expose_secret().as_bytes())?;
        let mut write = self.write(claim, "credential_set").await?;
        sqlx::query!(
            r#"
            INSERT INTO credential AS c (cluster, sealed, issued_at, expires_at) VALUES ($1, $2, $3, $4)
            ON CONFLICT (cluster) DO UPDATE SET sealed = excluded.sealed, issued_at = excluded.issued_at, expires_at = excluded.expires_at
            WHERE c.issued_at <= excluded.issued_at"#,
            cluster,
            sealed,
            credential.issued_at.to_sqlx() as _,
            credential.expires_at.to_sqlx() as _,
        )
        .execute(&mut **write)
        .await?;
        write.commit().await
    }

    /// Credentials of some clusters, by name. One that cannot be opened says why, and keeps nobody from the others; clusters
    /// without one are left out.
    pub async fn credential_get_many(
        &self,
        clusters: &[&str],
        key: &EnvelopeKey,
    ) -> Result<HashMap<String, Result<Credential, StoreError>>, StoreError> {
        let rows = sqlx::query!(
            r#"SELECT cluster, sealed, issued_at AS "issued_at: Ts", expires_at AS "expires_at: Ts" FROM credential WHERE cluster = ANY($1)"#,
            clusters as _
        )
        .fetch_all(&self.pool)
        .await?;
        let open = |cluster: &str, sealed: &[u8]| {
            let token = String::from_utf8(key.open(&purpose(cluster), sealed)?)
                .map_err(|error| StoreError::corrupt("credential", error))?;
            Ok(SecretString::from(token))
        };
        let opened = rows.into_iter().map(|row| {
            let (issued_at, expires_at) = (row.issued_at.to_jiff(), row.expires_at.to_jiff());
            let token = open(&row.cluster, &row.sealed);
            (row.cluster, token.map(|token| Credential { token, issued_at, expires_at }))
        });
        Ok(opened.collect())
    }

    /// From when to when each cluster's credential is valid.
    pub async fn credential_lives(&self) -> Result<Vec<CredentialLife>, StoreError> {
        let rows = sqlx::query!(
            r#"SELECT cluster, issued_at AS "issued_at: Ts", expires_at AS "expires_at: Ts" FROM credential"#
        )
        .fetch_all(&self.pool)
        .await?;
        let life = |cluster, issued_at: Ts, expires_at: Ts| CredentialLife {
            cluster,
            issued_at: issued_at.to_jiff(),
            expires_at: expires_at.to_jiff(),
        };
        Ok(rows.into_iter().map(|row| life(row.cluster, row.issued_at, row.expires_at)).collect())
    }
}
