//! Content hashes.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// Number of bytes kept of the SHA-256.
///
/// 128 bits make an accidental collision practically impossible, and are small enough to index by the million.
const BYTES: usize = 16;

/// SHA-256 truncated to 128 bits, written as 32 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ContentHash([u8; BYTES]);

/// Error for a text that is not a content hash.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a hash: 32 hexadecimal digits")]
pub struct ContentHashError {
    text: String,
}

impl ContentHash {
    /// Returns the hash of some bytes.
    pub fn of(bytes: &[u8]) -> Self {
        let digest = Sha256::digest(bytes);
        let mut kept = [0; BYTES];
        kept.copy_from_slice(&digest[..BYTES]);
        Self(kept)
    }

    /// Returns the raw bytes, as stored in the database.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Creates a hash from the raw bytes in the database; `None` when their number is wrong.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    /// Returns the first ten digits, which tables show to people.
    pub fn short(&self) -> String {
        self.to_string()[..10].to_owned()
    }
}

/// Returns the hash of a value's JSON form.
///
/// Equal values give equal hashes as long as their maps are ordered (use `BTreeMap`, or values that went through
/// [`serde_json`]'s sorted form).
///
/// # Errors
/// When the value cannot be written as JSON.
pub fn hash_json<T: Serialize>(value: &T) -> Result<ContentHash, serde_json::Error> {
    Ok(ContentHash::of(&serde_json::to_vec(value)?))
}

impl fmt::Display for ContentHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for ContentHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ContentHash({self})")
    }
}

impl FromStr for ContentHash {
    type Err = ContentHashError;

    fn from_str(text: &str) -> Result<Self, ContentHashError> {
        let refuse = || ContentHashError { text: text.chars().take(64).collect() };
        if text.len() != BYTES * 2 || !text.is_ascii() {
            return Err(refuse());
        }
        let mut bytes = [0; BYTES];
        for (i, byte) in bytes.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&text[2 * i..2 * i + 2], 16).map_err(|_| refuse())?;
        }
        Ok(Self(bytes))
    }
}

impl From<ContentHash> for String {
    fn from(hash: ContentHash) -> Self {
        hash.to_string()
    }
}

impl TryFrom<String> for ContentHash {
    type Error = ContentHashError;

    fn try_from(text: String) -> Result<Self, ContentHashError> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_form_round_trips() {
        let hash = ContentHash::of(b"trade");
        assert_eq!(hash.to_string().parse::<ContentHash>().unwrap(), hash);
        assert_eq!(ContentHash::from_bytes(hash.as_bytes()), Some(hash));
        assert!("xyz".parse::<ContentHash>().is_err());
    }
}
