//! Preview of a release for a person: the batches with their replicas by cell. Pure.

use std::collections::BTreeMap;

use domain::operation::Plan;
use domain::release::{Next, ReleaseCell, advance};
use serde_json::{Value, json};
use vocabulary::CellName;

use super::steps::{Outline, Shape, StepParams};

/// Maximum number of cells of which a preview shows the replicas.
const CELLS_MAX: usize = 200;
/// Bound of the steps that one act is repeated for: more than the cells of any step.
const ROUNDS_MAX: usize = 10_000;

/// Carries the plan out in thought, and returns what each step leads to with the present replicas.
pub(super) fn preview(outline: &Outline<'_>, plan: &Plan, mut cells: BTreeMap<CellName, ReleaseCell>) -> Value {
    let mut batches = Vec::new();
    for step in plan.forward.iter().filter(|step| step.act == "ask") {
        let Ok(params) = serde_json::from_value::<StepParams>(step.params.clone()) else { continue };
        let Some(scope) = params.scope else { continue };
        for _ in 0..ROUNDS_MAX {
            let Next::Ask(changes) = advance(&cells, &params.goals, scope) else { break };
            for (name, asked) in changes {
                if let Some(cell) = cells.get_mut(&name) {
                    cell.asked = asked;
                }
            }
        }
        let released = |cell: &ReleaseCell| if cell.asked.main { cell.target } else { cell.asked.gray };
        let replicas: i64 = cells.values().map(|cell| i64::from(released(cell))).sum();
        let by_cell: BTreeMap<&str, i32> =
            cells.iter().take(CELLS_MAX).map(|(name, cell)| (name.as_str(), released(cell))).collect();
        let confirm = if step.confirm { "Manual" } else { "Auto" };
        batches.push(json!({
            "step": step.id,
            "title": step.title,
            "confirm": confirm,
            "replicas": replicas,
            "cells": by_cell,
        }));
    }
    json!({
        "revision": outline.revision,
        "previous": outline.previous,
        "replicas": outline.total,
        "cells": outline.cells,
        "slots": match outline.shape {
            Shape::Gray => "a second Deployment in each cell runs the revision until the last batch",
            Shape::Whole | Shape::CellByCell(_) => "each cell takes the revision as a whole",
        },
        "batches": batches,
        "onFailure": if outline.strategy.rolls_back { "Rollback" } else { "Pause" },
    })
}
