//! Compressed bodies of revisions, addressed by their content.
//!
//! A body that contains a Secret is sealed and addressed by a keyed hash.

use vocabulary::ContentHash;

use crate::seal::EnvelopeKey;
use crate::stored_hash::parse_hash;
use crate::write::OpenTransaction;
use crate::{AppId, Store, StoreError};

/// Level of compression. A fast level is enough, because templates are repetitive.
const LEVEL: i32 = 3;
/// Maximum size of a body after decompression, in bytes; intake refuses an Application over 1 MiB.
const BODY_MAX: usize = 4 << 20;
/// Purpose of bodies that were sealed before the purpose contained the address.
const PURPOSE_WITHOUT_ADDRESS: &str = "payload";

/// Returns the purpose of a sealed body: its own address, so that the body opens in no other row.
fn purpose(address: &[u8]) -> String {
    format!("payload/{}", hex::encode(address))
}

/// A compressed body in its stored form, sealed where it contains a Secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Payload {
    pub(crate) hash: Vec<u8>,
    pub(crate) sealed: bool,
    pub(crate) body: Vec<u8>,
}

impl Payload {
    pub(crate) fn pack(plain: &[u8], secret: bool, key: &EnvelopeKey) -> Result<Self, StoreError> {
        let packed = zstd::bulk::compress(plain, LEVEL).map_err(|error| StoreError::corrupt("payload", error))?;
        if secret {
            let hash = key.address(plain).to_vec();
            let body = key.seal(&purpose(&hash), &packed)?;
            return Ok(Self { hash, sealed: true, body });
        }
        Ok(Self { hash: ContentHash::of(plain).as_bytes().to_vec(), sealed: false, body: packed })
    }

    pub(crate) fn unpack(&self, key: &EnvelopeKey) -> Result<Vec<u8>, StoreError> {
        let opened;
        let packed = if self.sealed {
            opened = key.open_or_earlier(&purpose(&self.hash), PURPOSE_WITHOUT_ADDRESS, &self.body)?;
            &opened
        } else {
            &self.body
        };
        zstd::bulk::decompress(packed, BODY_MAX).map_err(|error| StoreError::corrupt("payload", error))
    }
}

/// Body of one revision of an application, opened and decompressed.
pub(crate) struct RevisionPayload {
    pub(crate) app: AppId,
    pub(crate) revision: ContentHash,
    /// Components and overrides as JSON.
    pub(crate) body: Vec<u8>,
}

impl Store {
    /// Returns bodies of several revisions.
    ///
    /// Revisions that are no longer stored are left out.
    pub(crate) async fn payloads_of_revisions(
        &self,
        wanted: &[(AppId, ContentHash)],
        key: &EnvelopeKey,
    ) -> Result<Vec<RevisionPayload>, StoreError> {
        let (apps, revisions): (Vec<AppId>, Vec<&[u8]>) =
            wanted.iter().map(|(app, revision)| (*app, revision.as_bytes())).unzip();
        let rows = sqlx::query!(
            r#"
            SELECT r.app, r.revision, p.hash, p.sealed, p.body
            FROM unnest($1::bigint[], $2::bytea[]) AS w (app, revision)
            JOIN app_revision r ON r.app = w.app AND r.revision = w.revision JOIN payload p ON p.hash = r.payload"#,
            &apps as _,
            &revisions as _,
        )
        .fetch_all(&self.pool)
        .await?;
        rows.into_iter()
            .map(|row| {
                let payload = Payload { hash: row.hash, sealed: row.sealed, body: row.body };
                let revision = parse_hash(&row.revision, "app_revision.revision")?;
                Ok(RevisionPayload { app: AppId(row.app), revision, body: payload.unpack(key)? })
            })
            .collect()
    }

    /// Returns the body of one revision of an application; `None` when the revision is not stored.
    pub async fn payload_of_revision(
        &self,
        app: AppId,
        revision: ContentHash,
        key: &EnvelopeKey,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        let row = sqlx::query!(
            "SELECT p.hash, p.sealed, p.body FROM app_revision r JOIN payload p ON p.hash = r.payload WHERE r.app = $1 AND r.revision = $2",
            app.0,
            revision.as_bytes()
        )
        .fetch_optional(&self.pool)
        .await?;
        row.map(|row| Payload { hash: row.hash, sealed: row.sealed, body: row.body }.unpack(key)).transpose()
    }
}

/// Deletes those of the given bodies that no revision refers to any more.
///
/// Pass the bodies of revisions that were just deleted: no other body can be without a revision.
pub(crate) async fn collect(transaction: &mut OpenTransaction, hashes: &[Vec<u8>]) -> Result<(), StoreError> {
    if hashes.is_empty() {
        return Ok(());
    }
    sqlx::query!(
        "DELETE FROM payload p WHERE p.hash = ANY($1) AND NOT EXISTS (SELECT 1 FROM app_revision r WHERE r.payload = p.hash)",
        hashes
    )
    .execute(&mut **transaction)
    .await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_body_is_sealed_and_its_address_keyed() {
        let (a, b) = ("0a".repeat(32), "0b".repeat(32));
        let (a, b) = (EnvelopeKey::from_hex(&a).unwrap(), EnvelopeKey::from_hex(&b).unwrap());
        let plain = br#"{"password":"hunter2","padding":"hunter2hunter2hunter2"}"#;
        let sealed = Payload::pack(plain, true, &a).unwrap();
        assert_eq!(sealed.unpack(&a).unwrap(), plain);
        assert!(sealed.unpack(&b).is_err());
        assert_ne!(sealed.hash, Payload::pack(plain, true, &b).unwrap().hash);
        let moved = Payload { hash: vec![7; 16], ..sealed.clone() };
        assert!(moved.unpack(&a).is_err(), "a body opens in no other row");
        assert!(!sealed.body.windows(7).any(|window| window == b"hunter2"));
        let open = Payload::pack(plain, false, &a).unwrap();
        assert_eq!(open.hash, Payload::pack(plain, false, &b).unwrap().hash);
        assert_eq!(open.unpack(&b).unwrap(), plain);
    }
}
