//! Parses content hashes from their columns. Pure.

use vocabulary::ContentHash;

use crate::StoreError;

/// Parses a hash from a column.
///
/// # Errors
/// [`StoreError::Corrupt`] when the number of bytes is wrong.
pub(crate) fn parse_hash(bytes: &[u8], column: &'static str) -> Result<ContentHash, StoreError> {
    ContentHash::from_bytes(bytes)
        .ok_or_else(|| StoreError::corrupt(column, format!("{} bytes are no content hash", bytes.len())))
}

/// Parses a hash from a column that may be `NULL`.
///
/// # Errors
/// [`StoreError::Corrupt`] when the number of bytes is wrong.
pub(crate) fn parse_optional_hash(
    bytes: Option<Vec<u8>>,
    column: &'static str,
) -> Result<Option<ContentHash>, StoreError> {
    bytes.map(|bytes| parse_hash(&bytes, column)).transpose()
}

/// Returns the stored form of a hash for a column that may be `NULL`.
pub(crate) fn optional_bytes(hash: Option<&ContentHash>) -> Option<&[u8]> {
    hash.map(ContentHash::as_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hash_of_another_length_is_corrupt() {
        let hash = ContentHash::of(b"trade");
        for (case, bytes, expected) in [
            ("a content hash", hash.as_bytes().to_vec(), Some(hash)),
            ("none", Vec::new(), None),
            ("a whole SHA-256", vec![7; 32], None),
        ] {
            let parsed = parse_hash(&bytes, "placement.revision");
            assert_eq!(parsed.as_ref().ok(), expected.as_ref(), "{case}: {parsed:?}");
            assert!(expected.is_some() || matches!(parsed, Err(StoreError::Corrupt { .. })), "{case}");
        }
    }
}
