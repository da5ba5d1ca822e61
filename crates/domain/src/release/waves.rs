//! Keeps the two cells of a pair apart.

use std::collections::{BTreeMap, BTreeSet};

use crds::cell::v1alpha1::Pair;
use vocabulary::CellName;

/// Place of a cell in a pair.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PairPlace {
    /// Logical zone that the two cells share.
    pub unit: String,
    /// Half that the cell is.
    pub half: Pair,
}

/// Part of a step. No pair has two cells in one wave.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Wave {
    /// First halves of pairs, and all cells whose other half does not run the Application.
    First,
    /// Second halves of pairs.
    Second,
}

/// Returns the wave of each cell of an Application.
pub fn waves(cells: &BTreeMap<CellName, Option<PairPlace>>) -> BTreeMap<CellName, Wave> {
    let first_halves: BTreeSet<&str> =
        cells.values().flatten().filter(|place| place.half == Pair::A).map(|place| place.unit.as_str()).collect();
    let wave = |place: &Option<PairPlace>| match place {
        Some(place) if place.half == Pair::B && first_halves.contains(place.unit.as_str()) => Wave::Second,
        _ => Wave::First,
    };
    cells.iter().map(|(cell, place)| (cell.clone(), wave(place))).collect()
}
