//! Which members this process can talk to.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::ArcSwap;
use vocabulary::ClusterName;

use crate::Member;

/// Why there is no member that can be used, although a credential was handed over.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    /// Its connection as it is declared: which field, what is wrong and what to do.
    #[error("{0}")]
    Connection(String),
    /// Its credential was handed over for another connection than it declares: what to do.
    #[error("{0}")]
    OtherConnection(String),
    /// Its credential as this process finds it: what is wrong and what to do.
    #[error("{0}")]
    Credential(String),
}

/// Cluster name → [`Member`]; cheap to clone, read without locks, fed by whoever wires the program.
#[derive(Debug, Clone, Default)]
pub struct Registry {
    members: Arc<ArcSwap<BTreeMap<ClusterName, Member>>>,
    unusable: Arc<ArcSwap<BTreeMap<ClusterName, Unusable>>>,
    complete: Arc<AtomicBool>,
}

impl Registry {
    /// The member of that name.
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

    /// Every credential that is stored was looked at: who is missing from now on and is not among these has none.
    pub fn complete(&self, unusable: BTreeMap<ClusterName, Unusable>) {
        self.unusable.store(Arc::new(unusable));
        self.complete.store(true, Ordering::Release);
    }

    /// Why a member that is missing cannot be used although a credential was handed over.
    pub fn unusable(&self, name: &ClusterName) -> Option<Unusable> {
        self.unusable.load().get(name).cloned()
    }

    /// Whether that was said. Before it was, a missing member is no fact about the member.
    pub fn is_complete(&self) -> bool {
        self.complete.load(Ordering::Acquire)
    }

    /// Forgets a member. Handles in use stay usable.
    pub fn remove(&self, name: &ClusterName) {
        self.members.rcu(|now| {
            let mut next = BTreeMap::clone(now);
            next.remove(name);
            next
        });
    }

    /// All members by name, as of now.
    pub fn all(&self) -> Arc<BTreeMap<ClusterName, Member>> {
        self.members.load_full()
    }
}
