//! Groups components that take over from each other when an application is edited. Pure.

use std::collections::{BTreeSet, HashMap};

use crds::application::v1alpha1::Scope;
use domain::render::{ComponentPlan, is_replicated};
use domain::stored_revision::StoredRevision;
use store::PlacementRow;
use vocabulary::ContentHash;

use crate::fleet_snapshot::FleetSnapshot;
use crate::gather::AppSnapshot;
use crate::identity::is_of_component;
use crate::objects::Desired;

/// Number of a family of components.
pub(crate) type Family = usize;

/// The family of the Divided components of all revisions.
pub(crate) const DIVIDED: Family = 0;

/// Families of the replicated components of the revisions that run or are wanted.
///
/// An edit may rename a component or its object, or change kind and scope. Components that share a component name or an
/// object name serve the same requests. So do the only component that an edit removes and the only component that it
/// adds.
///
/// Replicas of a family are counted together: none of its components is lowered before the others are available.
#[derive(Debug)]
pub(crate) struct Families<'a> {
    by_component: HashMap<&'a str, Family>,
    by_object: HashMap<&'a str, Family>,
}

impl<'a> Families<'a> {
    pub(crate) fn of(facts: &'a AppSnapshot) -> Self {
        let all = facts.revisions.values().flat_map(|revision| &revision.blueprint.components);
        let components: Vec<&ComponentPlan> = all.filter(|component| is_replicated(component)).collect();
        let mut families: Vec<Family> = (1..=components.len()).collect();
        for (place, component) in components.iter().enumerate() {
            if component.scope == Scope::Divided {
                families[place] = DIVIDED;
            }
        }
        // Each round joins families that share a component name or an object name. The lower number stays.
        loop {
            let mut grouped = Self { by_component: HashMap::new(), by_object: HashMap::new() };
            for (component, family) in components.iter().zip(&families) {
                let least = |known: &mut Family| *known = (*known).min(*family);
                grouped.by_component.entry(&component.name).and_modify(least).or_insert(*family);
                grouped.by_object.entry(&component.object_name).and_modify(least).or_insert(*family);
            }
            let joined: Vec<Family> =
                components.iter().filter_map(|component| grouped.of_component(component)).collect();
            if joined == families {
                grouped.join_the_only_replaced(facts);
                return grouped;
            }
            families = joined;
        }
    }

    /// Joins the only family that an edit removes with the only family that it adds.
    fn join_the_only_replaced(&mut self, facts: &AppSnapshot) {
        let of_revision = |revision: &StoredRevision| -> BTreeSet<Family> {
            let replicated = revision.blueprint.components.iter().filter(|component| is_replicated(component));
            replicated.filter_map(|component| self.of_component(component)).collect()
        };
        let wanted = facts.revisions.get(&facts.wanted).map(|revision| of_revision(revision)).unwrap_or_default();
        let earlier = facts.revisions.iter().filter(|(hash, _)| **hash != facts.wanted);
        let earlier: Vec<BTreeSet<Family>> = earlier.map(|(_, revision)| of_revision(revision)).collect();
        let removed: BTreeSet<Family> =
            earlier.iter().flatten().filter(|family| !wanted.contains(family)).copied().collect();
        // Several edits may be under way: a family is new when one of the earlier revisions does not have it.
        let is_new = |family: &&Family| earlier.iter().any(|families| !families.contains(*family));
        let added: BTreeSet<Family> = wanted.iter().filter(is_new).copied().collect();
        let only = |families: BTreeSet<Family>| families.first().copied().filter(|_| families.len() == 1);
        let (Some(removed), Some(added)) = (only(removed), only(added)) else { return };
        for family in self.by_component.values_mut().chain(self.by_object.values_mut()) {
            if *family == removed.max(added) {
                *family = removed.min(added);
            }
        }
    }

    fn of_component(&self, component: &ComponentPlan) -> Option<Family> {
        let named = self.by_component.get(component.name.as_str());
        let object = self.by_object.get(component.object_name.as_str());
        named.into_iter().chain(object).min().copied()
    }

    /// Returns the family of a row; `None` where the component's replicas do not replace each other.
    pub(crate) fn of_row(&self, snapshot: &FleetSnapshot, facts: &AppSnapshot, row: &PlacementRow) -> Option<Family> {
        let revision = ContentHash::from_bytes(&row.revision).and_then(|hash| facts.revisions.get(&hash));
        let components = revision.map(|revision| revision.blueprint.components.as_slice()).unwrap_or_default();
        let own = components.iter().find(|component| is_of_component(&snapshot.topology, row, component));
        let family = own.filter(|component| is_replicated(component)).and_then(|own| self.of_component(own));
        family.or(row.divided.then_some(DIVIDED))
    }

    /// Returns the family of an object that is to exist.
    pub(crate) fn of_object(&self, object: &Desired<'_>) -> Option<Family> {
        self.of_component(object.component).filter(|_| is_replicated(object.component))
    }
}
