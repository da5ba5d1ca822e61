//! Matches each object that is to exist with the row that represents it already. Pure.

use std::collections::{HashMap, HashSet};

use store::{PlacementId, PlacementRow};

use crate::gather::AppSnapshot;
use crate::objects::Desired;

/// Rows, each with the object that it represents.
#[derive(Debug, Default)]
pub(crate) struct Matching<'o, 'a> {
    by_row: HashMap<PlacementId, &'o Desired<'a>>,
    /// Objects that no row represents.
    pub(crate) missing: Vec<&'o Desired<'a>>,
}

impl<'o, 'a> Matching<'o, 'a> {
    /// Matches rows of the same component first, then rows of the same identity.
    ///
    /// A component may be renamed, and two components may exchange their objects.
    pub(crate) fn of(facts: &AppSnapshot, objects: &'o [Desired<'a>]) -> Self {
        let mut matching = Self::default();
        let mut taken: HashSet<PlacementId> = HashSet::new();
        let mut rest: Vec<&Desired<'_>> = Vec::new();
        for object in objects {
            let same = |row: &&PlacementRow| row.component == object.component.name && object.is_of(row);
            match facts.rows_in(object.cell.as_str()).find(|row| same(row) && !taken.contains(&row.id)) {
                Some(row) => matching.take(row, object, &mut taken),
                None => rest.push(object),
            }
        }
        for object in rest {
            match facts.rows_in(object.cell.as_str()).find(|row| object.is_of(row) && !taken.contains(&row.id)) {
                Some(row) => matching.take(row, object, &mut taken),
                None => matching.missing.push(object),
            }
        }
        matching
    }

    fn take(&mut self, row: &PlacementRow, object: &'o Desired<'a>, taken: &mut HashSet<PlacementId>) {
        taken.insert(row.id);
        self.by_row.insert(row.id, object);
    }

    /// Returns the object that a row represents.
    pub(crate) fn object_of(&self, row: PlacementId) -> Option<&'o Desired<'a>> {
        self.by_row.get(&row).copied()
    }
}
