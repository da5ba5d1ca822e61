//! Hashes that name exactly what a person confirms. Pure.
//!
//! The annotation `fleet.meridian.io/confirm-delete` holds the UID of an Application to be deleted, or the hash of an
//! edit. Both name the deleted objects, so the mass-delete guard does not ask about them.
//!
//! The annotation `fleet.meridian.io/accept-intent` holds the hash of an intent whose source was lost.

use vocabulary::{ContentHash, hash_json};

/// Returns the hash that confirms the deletion of an Application with all its delivered objects.
pub fn whole_application(uid: &str) -> ContentHash {
    ContentHash::of(uid.as_bytes())
}

/// Returns the hash that confirms the deletion of components that the next revision no longer has.
///
/// The hash names both revisions. After any other edit in between, the hash confirms nothing.
///
/// # Panics
/// Never: texts are JSON.
pub fn edit(uid: &str, before: ContentHash, after: ContentHash) -> ContentHash {
    hash_json(&(uid, before, after)).expect("texts are JSON")
}

/// Returns the hash that accepts an Application's spec in place of the stored intent.
///
/// A person accepts the spec after the source of the stored intent was lost.
///
/// `uid` and `generation` are those of the object on the hub. `taken` is `status.intentTaken`, which changes with each
/// acceptance. So another restore to the same spec is not accepted together with the first.
///
/// # Panics
/// Never: texts and numbers are JSON.
pub fn intent(spec_hash: &[u8], uid: &str, generation: i64, taken: &str) -> ContentHash {
    hash_json(&(spec_hash, uid, generation, taken)).expect("texts and numbers are JSON")
}
