//! Registry of the members that this process can reach.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::ArcSwap;
use vocabulary::ClusterName;

use crate::Member;

/// Reason why a cluster has no usable member, although it has a credential.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    /// The declared connection cannot be used. Holds the field, the problem and the remedy.
    #[error("{0}")]
    Connection(String),
    /// The credential belongs to another connection than the cluster declares. Holds the remedy.
    #[error("{0}")]
    OtherConnection(String),
    /// This process cannot use the stored credential. Holds the problem and the remedy.
    #[error("{0}")]
    Credential(String),
}

/// Map of cluster name to [`Member`], cheap to clone and read without locks.
///
/// The program that uses this crate fills it.
#[derive(Debug, Clone, Default)]
pub struct Registry {
    members: Arc<ArcSwap<BTreeMap<ClusterName, Member>>>,
    unusable: Arc<ArcSwap<BTreeMap<ClusterName, Unusable>>>,
    complete: Arc<AtomicBool>,
}

impl Registry {
    /// Returns the member of that name.
    pub fn get(&self, name: &ClusterName) -> Option<Member> {
        self.members.load().get(name).cloned()
    }

    /// Adds or replaces a member under its own name.
    pub fn insert(&self, member: &Member) {
        self.members.rcu(|now| {
            let mut next = BTreeMap::clone(now);
            next.insert(member.name().clone(), member.clone());
            next
        });
    }

    /// Records that all stored credentials were read, and which members cannot be used.
    ///
    /// From then on, a cluster that is neither registered nor in `unusable` has no credential.
    pub fn complete(&self, unusable: BTreeMap<ClusterName, Unusable>) {
        self.unusable.store(Arc::new(unusable));
        self.complete.store(true, Ordering::Release);
    }

    /// Returns why a missing member cannot be used, although it has a credential.
    pub fn unusable(&self, name: &ClusterName) -> Option<Unusable> {
        self.unusable.load().get(name).cloned()
    }

    /// Returns whether [`Registry::complete`] was called.
    ///
    /// Before that, a missing member allows no conclusion about the cluster.
    pub fn is_complete(&self) -> bool {
        self.complete.load(Ordering::Acquire)
    }

    /// Removes a member. Handles in use stay usable.
    pub fn remove(&self, name: &ClusterName) {
        self.members.rcu(|now| {
            let mut next = BTreeMap::clone(now);
            next.remove(name);
            next
        });
    }

    /// Returns all present members by name.
    pub fn all(&self) -> Arc<BTreeMap<ClusterName, Member>> {
        self.members.load_full()
    }
}
