//! Sealing of secrets: AES-256-GCM under the installation's envelope key.

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::hmac;
use ring::rand::{SecureRandom, SystemRandom};

/// Length of an envelope key, in bytes.
pub const KEY_LEN: usize = 32;
/// First byte of a sealed value. The key id, nonce, body and tag follow.
const FORMAT: u8 = 2;
/// First byte of a value sealed before values contained a key id. The nonce, body and tag follow.
const FORMAT_WITHOUT_KEY_ID: u8 = 1;
/// Length of the key id in a sealed value, in bytes.
///
/// The id distinguishes a later key from an earlier one.
const KEY_ID_LEN: usize = 4;

/// The envelope key of the installation. Its `Debug` output does not contain the key.
pub struct EnvelopeKey {
    aead: LessSafeKey,
    id: [u8; KEY_ID_LEN],
    mac: hmac::Key,
    random: SystemRandom,
}

/// Reason why a value could not be sealed or opened.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum SealError {
    /// The text of the key is not 64 hexadecimal digits.
    #[error(
        "an envelope key has {KEY_LEN} bytes, written as 64 hexadecimal digits; make one with `openssl rand -hex 32`"
    )]
    BadKey,
    /// The value was sealed under another key.
    #[error(
        "a sealed value for {purpose:?} was sealed under the envelope key {found}, this program was started with {own}"
    )]
    AnotherKey {
        /// Purpose that the value was to be opened for.
        purpose: String,
        /// Id of the key that the value was sealed under.
        found: String,
        /// Id of this program's key.
        own: String,
    },
    /// The value was sealed for another purpose, or was changed.
    #[error("a sealed value for {0:?} does not open: it was sealed for another purpose, or was changed")]
    DoesNotOpen(String),
    /// The system returned no random bytes.
    #[error("the system gave no random bytes")]
    NoRandomness,
}

impl std::fmt::Debug for EnvelopeKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("EnvelopeKey")
    }
}

impl EnvelopeKey {
    /// Parses a key from its text form: 64 hexadecimal digits; surrounding white space is ignored.
    pub fn from_hex(text: &str) -> Result<Self, SealError> {
        let mut bytes = [0; KEY_LEN];
        hex::decode_to_slice(text.trim(), &mut bytes).map_err(|_| SealError::BadKey)?;
        let aead = UnboundKey::new(&AES_256_GCM, &bytes).map_err(|_| SealError::BadKey)?;
        // Addresses use a derived key, so that an address reveals nothing about the sealing key.
        let derive = |label: &[u8]| hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &bytes), label);
        let address = derive(b"meridian payload address");
        let mut id = [0; KEY_ID_LEN];
        id.copy_from_slice(&derive(b"meridian envelope key id").as_ref()[..KEY_ID_LEN]);
        Ok(Self {
            aead: LessSafeKey::new(aead),
            id,
            mac: hmac::Key::new(hmac::HMAC_SHA256, address.as_ref()),
            random: SystemRandom::new(),
        })
    }

    /// Seals a value for one purpose, for example `credential/north-a`.
    ///
    /// A value opens only for its purpose. A row copied to another place is therefore of no use there.
    pub fn seal(&self, purpose: &str, value: &[u8]) -> Result<Vec<u8>, SealError> {
        let mut nonce = [0; NONCE_LEN];
        self.random.fill(&mut nonce).map_err(|_| SealError::NoRandomness)?;
        let mut sealed = value.to_vec();
        self.aead
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(purpose.as_bytes()), &mut sealed)
            .map_err(|_| SealError::NoRandomness)?;
        let mut out = Vec::with_capacity(1 + KEY_ID_LEN + NONCE_LEN + sealed.len());
        out.push(FORMAT);
        out.extend_from_slice(&self.id);
        out.extend_from_slice(&nonce);
        out.extend_from_slice(&sealed);
        Ok(out)
    }

    /// Opens a value that was sealed for the purpose.
    pub fn open(&self, purpose: &str, sealed: &[u8]) -> Result<Vec<u8>, SealError> {
        let refuse = || SealError::DoesNotOpen(purpose.to_owned());
        match sealed.split_first() {
            Some((&FORMAT, rest)) if rest.len() >= KEY_ID_LEN => {
                let (id, rest) = rest.split_at(KEY_ID_LEN);
                if id != self.id {
                    let (found, own) = (hex::encode(id), hex::encode(self.id));
                    return Err(SealError::AnotherKey { purpose: purpose.to_owned(), found, own });
                }
                self.open_body(purpose, rest)
            }
            Some((&FORMAT_WITHOUT_KEY_ID, rest)) => self.open_body(purpose, rest),
            _ => Err(refuse()),
        }
    }

    /// Opens a value sealed for `purpose`, or a value without a key id sealed for `earlier`.
    ///
    /// `earlier` is the purpose that versions without key ids used.
    pub fn open_or_earlier(&self, purpose: &str, earlier: &str, sealed: &[u8]) -> Result<Vec<u8>, SealError> {
        let named = sealed.first() != Some(&FORMAT_WITHOUT_KEY_ID);
        self.open(if named { purpose } else { earlier }, sealed)
    }

    fn open_body(&self, purpose: &str, rest: &[u8]) -> Result<Vec<u8>, SealError> {
        let refuse = || SealError::DoesNotOpen(purpose.to_owned());
        if rest.len() < NONCE_LEN {
            return Err(refuse());
        }
        let (nonce, body) = rest.split_at(NONCE_LEN);
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| refuse())?;
        let mut body = body.to_vec();
        let open = self.aead.open_in_place(nonce, Aad::from(purpose.as_bytes()), &mut body).map_err(|_| refuse())?;
        Ok(open.to_vec())
    }

    /// Returns the keyed address of a secret value (128 bits).
    ///
    /// Equal values have equal addresses. Without the key, a value cannot be guessed from its address.
    pub fn address(&self, value: &[u8]) -> [u8; 16] {
        let tag = hmac::sign(&self.mac, value);
        let mut kept = [0; 16];
        kept.copy_from_slice(&tag.as_ref()[..16]);
        kept
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_name_their_key_and_those_of_before_open() {
        let key = EnvelopeKey::from_hex(&"0a".repeat(32)).unwrap();
        let other = EnvelopeKey::from_hex(&"0b".repeat(32)).unwrap();
        let sealed = key.seal("payload/1", b"value").unwrap();
        assert!(matches!(other.open("payload/1", &sealed), Err(SealError::AnotherKey { .. })));
        assert!(matches!(key.open("payload/2", &sealed), Err(SealError::DoesNotOpen(_))));
        // The form of an earlier version: another format byte, no key id, another purpose.
        let earlier = key.seal("payload", b"value").unwrap();
        let earlier: Vec<u8> = [&[FORMAT_WITHOUT_KEY_ID][..], &earlier[1 + KEY_ID_LEN..]].concat();
        assert_eq!(key.open_or_earlier("payload/1", "payload", &earlier).unwrap(), b"value");
        assert_eq!(key.open_or_earlier("payload/1", "payload", &sealed).unwrap(), b"value");
        let general = key.seal("payload", b"value").unwrap();
        assert!(
            key.open_or_earlier("payload/1", "payload", &general).is_err(),
            "the earlier purpose opens nothing new"
        );
    }

    #[test]
    fn a_value_opens_only_under_its_key_and_for_its_purpose() {
        let key = EnvelopeKey::from_hex(&"0a".repeat(32)).unwrap();
        let other = EnvelopeKey::from_hex(&"0b".repeat(32)).unwrap();
        let sealed = key.seal("credential/a", b"token").unwrap();
        assert_eq!(key.open("credential/a", &sealed).unwrap(), b"token");
        assert!(key.open("credential/b", &sealed).is_err());
        assert!(other.open("credential/a", &sealed).is_err());
        for i in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[i] ^= 1;
            assert!(key.open("credential/a", &changed).is_err(), "byte {i}");
        }
        let digits = "0a".repeat(KEY_LEN);
        assert!(EnvelopeKey::from_hex(&format!(" {}\n", digits.to_uppercase())).is_ok(), "as files hold it");
        for wrong in
            ["short", &digits[2..], &format!("{digits}0a"), &format!("+{}", &digits[1..]), &"é".repeat(KEY_LEN)]
        {
            assert_eq!(EnvelopeKey::from_hex(wrong).err(), Some(SealError::BadKey), "{wrong}");
        }
    }
}
