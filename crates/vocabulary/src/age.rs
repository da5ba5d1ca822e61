//! Facts carry their age.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

/// A remote fact together with the instant at which it was known to be true.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AsOf<T> {
    /// The fact.
    pub value: T,
    /// When it was last known to be true, by our clock.
    pub as_of: Timestamp,
}

/// Whether a fact may still be counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Freshness {
    /// Young enough to act on.
    Fresh,
    /// Too old: shown with its age, never counted, never turned into zero.
    Stale,
}

impl<T> AsOf<T> {
    /// Fresh when the fact is at most `limit` old at `now`. A fact from the future is fresh: clocks differ.
    pub fn freshness(&self, now: Timestamp, limit: SignedDuration) -> Freshness {
        if now.duration_since(self.as_of) <= limit { Freshness::Fresh } else { Freshness::Stale }
    }
}
