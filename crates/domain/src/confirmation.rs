//! What a person confirms, as hashes that name exactly that. Pure.
//!
//! The annotation `fleet.meridian.io/confirm-delete` holds the UID of an Application that is to go, or the hash of an edit.
//! Either names what goes, so the mass-delete guard has nothing to ask about it. The annotation
//! `fleet.meridian.io/accept-intent` holds the hash of an intent whose source was lost.

use vocabulary::{ContentHash, hash_json};

/// Confirms that an Application goes with all it delivered.
pub fn whole_application(uid: &str) -> ContentHash {
    ContentHash::of(uid.as_bytes())
}

/// Confirms that the components go which one revision of an Application has and the next has not.
///
/// The hash names both revisions. After any other edit in between, it confirms nothing.
///
/// # Panics
/// Never: texts are JSON.
pub fn edit(uid: &str, before: ContentHash, after: ContentHash) -> ContentHash {
    hash_json(&(uid, before, after)).expect("texts are JSON")
}

/// Accepts the spec of an Application whose source was lost in the place of what was taken in.
///
/// `uid` and `generation` are those of the object on the hub, `taken` is `status.intentTaken`. That changes with each
/// acceptance, so another restore to the same spec is not accepted with the first.
///
/// # Panics
/// Never: texts and numbers are JSON.
pub fn intent(spec_hash: &[u8], uid: &str, generation: i64, taken: &str) -> ContentHash {
    hash_json(&(spec_hash, uid, generation, taken)).expect("texts and numbers are JSON")
}
