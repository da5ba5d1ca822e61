//! Asks for the next cells, one wave after the other.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use vocabulary::CellName;

use super::goal::{Asked, Goal, ReleaseCell, wanted};
use super::waves::Wave;

/// Cells that a step is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Scope {
    /// Cells of the first wave.
    First,
    /// Cells of the second wave.
    Second,
    /// All cells, one wave after the other.
    All,
    /// All cells, one cell after the other by name.
    OneByOne,
}

/// Next action of a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// These cells are asked for something else than before.
    Ask(BTreeMap<CellName, Asked>),
    /// These cells were asked and are not there yet.
    Wait(Vec<CellName>),
    /// Every cell is there.
    Reached,
}

/// Returns what a step does next, from what the cells were asked for and whether they are there.
///
/// The answer depends on nothing else, so any process continues a step that another one began. A cell is asked only when
/// all cells before it are there.
pub fn advance(cells: &BTreeMap<CellName, ReleaseCell>, goals: &[Goal], scope: Scope) -> Next {
    let waves: &[Wave] = match scope {
        Scope::First => &[Wave::First],
        Scope::Second => &[Wave::Second],
        Scope::All | Scope::OneByOne => &[Wave::First, Wave::Second],
    };
    for wave in waves {
        for goal in goals {
            let wanted = wanted(cells, goal, *wave);
            let next = match scope {
                Scope::OneByOne => {
                    let singles = wanted.into_iter().map(|entry| BTreeMap::from([entry]));
                    singles.map(|single| ask(cells, single)).find(|next| *next != Next::Reached)
                }
                _ => Some(ask(cells, wanted)),
            };
            match next {
                None | Some(Next::Reached) => {}
                Some(next) => return next,
            }
        }
    }
    Next::Reached
}

fn ask(cells: &BTreeMap<CellName, ReleaseCell>, wanted: BTreeMap<CellName, Asked>) -> Next {
    let names: Vec<CellName> = wanted.keys().cloned().collect();
    let is_new = |(name, asked): &(CellName, Asked)| cells.get(name).is_some_and(|cell| cell.asked != *asked);
    let changes: BTreeMap<CellName, Asked> = wanted.into_iter().filter(is_new).collect();
    if !changes.is_empty() {
        return Next::Ask(changes);
    }
    let waits = |name: &CellName| cells.get(name).is_some_and(|cell| !cell.is_there);
    let waiting: Vec<CellName> = names.into_iter().filter(waits).collect();
    if waiting.is_empty() { Next::Reached } else { Next::Wait(waiting) }
}
