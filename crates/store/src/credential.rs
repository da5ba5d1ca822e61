//! Member credentials, sealed.

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

    /// A cluster's credential.
    pub async fn credential_get(&self, cluster: &str, key: &EnvelopeKey) -> Result<Option<Credential>, StoreError> {
        let row = sqlx::query!(
            r#"SELECT sealed, issued_at AS "issued_at: Ts", expires_at AS "expires_at: Ts" FROM credential WHERE cluster = $1"#,
            cluster
        )
        .fetch_optional(&self.pool)
        .await?;
        let Some(row) = row else { return Ok(None) };
        let token = String::from_utf8(key.open(&purpose(cluster), &row.sealed)?)
            .map_err(|error| StoreError::corrupt("credential", error))?;
        Ok(Some(Credential {
            token: SecretString::from(token),
            issued_at: row.issued_at.to_jiff(),
            expires_at: row.expires_at.to_jiff(),
        }))
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
