//! What a person confirms beforehand about deletes, as hashes that name exactly that. Pure.
//!
//! The annotation `fleet.meridian.io/confirm-delete` holds the UID of an Application that is to go, or the hash of an edit.
//! Either names what goes, so the mass-delete guard has nothing to ask about it.

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
