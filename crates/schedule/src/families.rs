//! Groups components that take over from each other when an application is edited. Pure.

use std::collections::HashMap;

use crds::application::v1alpha1::Scope;
use domain::render::{ComponentPlan, is_replicated};
use store::PlacementRow;

use crate::fleet_snapshot::FleetSnapshot;
use crate::gather::AppSnapshot;
use crate::identity::is_of_component;
use crate::objects::Desired;
use crate::replacements::{Replacements, replacements};

/// Number of a family of components.
pub(crate) type Family = usize;

/// The family of the Divided components of all revisions.
pub(crate) const DIVIDED: Family = 0;

/// Families of the replicated components of the revisions that run or are wanted.
///
/// An edit may rename a component or its object, or change kind and scope. Components that share a component name or an
/// object name are counted as one family, and so is a removed component with the components that took its place.
///
/// Replicas of a family are counted together: none of its components is lowered before the others are available.
#[derive(Debug)]
pub(crate) struct Families<'a> {
    by_component: HashMap<&'a str, Family>,
    by_object: HashMap<&'a str, Family>,
    replacements: Replacements,
}

impl<'a> Families<'a> {
    pub(crate) fn of(facts: &'a AppSnapshot) -> Self {
        let replacements = replacements(facts);
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
            let mut grouped =
                Self { by_component: HashMap::new(), by_object: HashMap::new(), replacements: replacements.clone() };
            for (component, family) in components.iter().zip(&families) {
                let least = |known: &mut Family| *known = (*known).min(*family);
                grouped.by_component.entry(&component.name).and_modify(least).or_insert(*family);
                grouped.by_object.entry(&component.object_name).and_modify(least).or_insert(*family);
            }
            grouped.join_replaced();
            let joined: Vec<Family> =
                components.iter().filter_map(|component| grouped.of_component(component)).collect();
            if joined == families {
                return grouped;
            }
            families = joined;
        }
    }

    /// Joins the families of components that take the place of others.
    fn join_replaced(&mut self) {
        for (removed, added) in &self.replacements {
            let known = |name: &String| self.by_component.get(name.as_str()).copied();
            let (Some(removed), Some(added)) = (known(removed), known(added)) else { continue };
            for family in self.by_component.values_mut().chain(self.by_object.values_mut()) {
                if *family == removed.max(added) {
                    *family = removed.min(added);
                }
            }
        }
    }

    /// Whether a component took the place of another one, directly or over several edits.
    pub(crate) fn is_successor(&self, component: &str, of: &str) -> bool {
        let mut reached: Vec<&str> = vec![of];
        let mut place = 0;
        while let Some(name) = reached.get(place).copied() {
            let next = self.replacements.iter().filter(|(removed, _)| removed == name).map(|(_, added)| added.as_str());
            let new: Vec<&str> = next.filter(|added| !reached.contains(added)).collect();
            reached.extend(new);
            place += 1;
        }
        place > 1 && reached[1..].contains(&component)
    }

    fn of_component(&self, component: &ComponentPlan) -> Option<Family> {
        let named = self.by_component.get(component.name.as_str());
        let object = self.by_object.get(component.object_name.as_str());
        named.into_iter().chain(object).min().copied()
    }

    /// Returns the family of a row; `None` where the component's replicas do not replace each other.
    pub(crate) fn of_row(&self, snapshot: &FleetSnapshot, facts: &AppSnapshot, row: &PlacementRow) -> Option<Family> {
        let revision = facts.revisions.get(&row.revision);
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
