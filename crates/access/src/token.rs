//! The text of API tokens: `mrd_<id>_<secret>`. Pure, except for new secrets.

use ring::rand::{SecureRandom, SystemRandom};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use uuid::Uuid;

/// Beginning of every token, by which scanners for leaked secrets find it.
const PREFIX: &str = "mrd_";
/// Number of random bytes in a secret.
const SECRET_BYTES: usize = 32;

/// A new token. Its text is shown once.
pub struct TokenText {
    /// Identity of the token.
    pub id: Uuid,
    /// The token as its owner sends it.
    pub text: String,
    /// SHA-256 of the secret, as it is stored.
    pub secret_hash: Vec<u8>,
}

impl std::fmt::Debug for TokenText {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("TokenText").field("id", &self.id).finish_non_exhaustive()
    }
}

impl TokenText {
    /// Returns a new token.
    ///
    /// # Panics
    /// If the operating system has no random numbers.
    pub fn generate() -> Self {
        let mut secret = [0; SECRET_BYTES];
        SystemRandom::new().fill(&mut secret).expect("the operating system has random numbers");
        let (id, secret) = (Uuid::now_v7(), hex::encode(secret));
        let text = format!("{PREFIX}{}_{secret}", id.simple());
        Self { id, text, secret_hash: Sha256::digest(secret.as_bytes()).to_vec() }
    }
}

/// A token as a client sent it.
pub struct ParsedToken {
    /// Identity of the token that it claims to be.
    pub id: Uuid,
    secret_hash: Vec<u8>,
}

impl std::fmt::Debug for ParsedToken {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("ParsedToken").field("id", &self.id).finish_non_exhaustive()
    }
}

impl ParsedToken {
    /// Returns whether a text has the form of an API token, so that it is no token of the hub.
    pub fn is_form_of(text: &str) -> bool {
        text.starts_with(PREFIX)
    }

    /// Parses the text of a token; `None` where it has another form.
    pub fn parse(text: &str) -> Option<Self> {
        let (id, secret) = text.strip_prefix(PREFIX)?.split_once('_')?;
        let id = Uuid::try_parse(id).ok()?;
        (secret.len() == 2 * SECRET_BYTES).then(|| Self { id, secret_hash: Sha256::digest(secret.as_bytes()).to_vec() })
    }

    /// Compares the secret with a stored hash, in a time that does not depend on where they differ.
    pub fn has_secret(&self, secret_hash: &[u8]) -> bool {
        self.secret_hash.ct_eq(secret_hash).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn token_is_accepted_only_with_its_own_secret() {
        let (token, other) = (TokenText::generate(), TokenText::generate());
        let parsed = ParsedToken::parse(&token.text).unwrap();
        assert_eq!(parsed.id, token.id);
        assert!(parsed.has_secret(&token.secret_hash));
        assert!(!parsed.has_secret(&other.secret_hash));
        assert!(!parsed.has_secret(&[]));
        let swapped = format!("{PREFIX}{}_{}", token.id.simple(), other.text.rsplit('_').next().unwrap());
        assert!(!ParsedToken::parse(&swapped).unwrap().has_secret(&token.secret_hash));
        for wrong in ["", "mrd_", "mrd_x_y", &token.text[..token.text.len() - 1], &token.text[1..]] {
            assert!(ParsedToken::parse(wrong).is_none(), "{wrong}");
        }
        assert!(!format!("{token:?}{parsed:?}").contains(token.text.rsplit('_').next().unwrap()));
    }
}
