//! Credentials for member clusters, sealed.

use std::collections::HashMap;

use jiff::Timestamp;
use jiff_sqlx::{Timestamp as Ts, ToSqlx};
use secrecy::{ExposeSecret, SecretString};

use crate::seal::EnvelopeKey;
use crate::{Claim, Store, StoreError};

/// A bearer token for a member cluster.
#[derive(Debug, Clone)]
pub struct Credential {
    /// The bearer token.
    pub token: SecretString,
    /// When the credential was issued.
    pub issued_at: Timestamp,
    /// When the credential expires.
    pub expires_at: Timestamp,
}

/// Period in which a cluster's credential is valid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CredentialLife {
    /// Name of the cluster.
    pub cluster: String,
    /// When the credential was issued.
    pub issued_at: Timestamp,
    /// When the credential expires.
    pub expires_at: Timestamp,
    /// Whether the credential was sealed before credentials were bound to a connection.
    ///
    /// Renewing such a credential binds it.
    pub unbound: bool,
}

/// The connection that a credential was handed over for, as text: server, authority, proxy.
///
/// The credential is sealed together with this text. An edit of the connection therefore cannot send the token to
/// another server: another connection needs another credential.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectionText(pub String);

fn purpose(cluster: &str, connection: &ConnectionText) -> String {
    format!("{}\n{}", purpose_without_connection(cluster), connection.0)
}

/// Purpose of credentials that were sealed before credentials were bound to a connection.
///
/// Renewing such a credential binds it to its connection.
fn purpose_without_connection(cluster: &str) -> String {
    format!("credential/{cluster}")
}

impl Store {
    /// Seals and stores the credential that a user handed over for a cluster.
    ///
    /// Replaces any stored credential. The clocks of two machines cannot show which credential is newer.
    ///
    /// # Errors
    /// [`StoreError::Refused`] when the cluster does not exist.
    pub async fn credential_set(
        &self,
        claim: &Claim,
        cluster: &str,
        connection: &ConnectionText,
        credential: &Credential,
        key: &EnvelopeKey,
    ) -> Result<(), StoreError> {
        let sealed = key.seal(&purpose(cluster, connection), credential.token.expose_secret().as_bytes())?;
        let mut write = self.write(claim, "credential_set").await?;
        sqlx::query!(
            r#"
            INSERT INTO credential (cluster, sealed, issued_at, expires_at) VALUES ($1, $2, $3, $4)
            ON CONFLICT (cluster) DO UPDATE SET sealed = excluded.sealed, issued_at = excluded.issued_at, expires_at = excluded.expires_at"#,
            cluster,
            sealed,
            credential.issued_at.to_sqlx() as _,
            credential.expires_at.to_sqlx() as _,
        )
        .execute(&mut **write)
        .await?;
        write.commit().await
    }

    /// Seals and stores a renewed credential in place of the credential it was renewed with.
    ///
    /// Returns whether the old credential was still stored. A credential that a user handed over meanwhile stays.
    pub async fn credential_renew(
        &self,
        claim: &Claim,
        renewed: &CredentialLife,
        connection: &ConnectionText,
        credential: &Credential,
        key: &EnvelopeKey,
    ) -> Result<bool, StoreError> {
        let cluster = renewed.cluster.as_str();
        let sealed = key.seal(&purpose(cluster, connection), credential.token.expose_secret().as_bytes())?;
        let mut write = self.write(claim, "credential_set").await?;
        let done = sqlx::query!(
            "UPDATE credential SET sealed = $2, issued_at = $3, expires_at = $4 WHERE cluster = $1 AND issued_at = $5 AND expires_at = $6",
            cluster,
            sealed,
            credential.issued_at.to_sqlx() as _,
            credential.expires_at.to_sqlx() as _,
            renewed.issued_at.to_sqlx() as _,
            renewed.expires_at.to_sqlx() as _,
        )
        .execute(&mut **write)
        .await?;
        write.commit().await?;
        Ok(done.rows_affected() == 1)
    }

    /// Returns credentials of the given clusters for the connections that they declare, by cluster name.
    ///
    /// A credential that cannot be opened returns its error and does not block the others. Clusters without a
    /// credential are left out.
    pub async fn credential_get_many(
        &self,
        wanted: &HashMap<&str, ConnectionText>,
        key: &EnvelopeKey,
    ) -> Result<HashMap<String, Result<Credential, StoreError>>, StoreError> {
        let clusters: Vec<&str> = wanted.keys().copied().collect();
        let rows = sqlx::query!(
            r#"SELECT cluster, sealed, issued_at AS "issued_at: Ts", expires_at AS "expires_at: Ts" FROM credential WHERE cluster = ANY($1)"#,
            &clusters as _
        )
        .fetch_all(&self.pool)
        .await?;
        let open = |cluster: &str, sealed: &[u8]| {
            let connection =
                wanted.get(cluster).ok_or_else(|| StoreError::corrupt("credential", "nobody asked for it"))?;
            let earlier = purpose_without_connection(cluster);
            let token = String::from_utf8(key.open_or_earlier(&purpose(cluster, connection), &earlier, sealed)?)
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

    /// Returns the validity period of each cluster's credential.
    pub async fn credential_lives(&self) -> Result<Vec<CredentialLife>, StoreError> {
        let rows = sqlx::query!(
            r#"
            SELECT cluster, issued_at AS "issued_at: Ts", expires_at AS "expires_at: Ts", get_byte(sealed, 0) = 1 AS "unbound!"
            FROM credential"#
        )
        .fetch_all(&self.pool)
        .await?;
        let lives = rows.into_iter().map(|row| CredentialLife {
            cluster: row.cluster,
            issued_at: row.issued_at.to_jiff(),
            expires_at: row.expires_at.to_jiff(),
            unbound: row.unbound,
        });
        Ok(lives.collect())
    }
}
