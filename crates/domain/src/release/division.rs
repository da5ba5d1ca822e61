//! Divides a cumulative share exactly over cells.

use std::collections::BTreeMap;

use vocabulary::CellName;

/// A cell in a division.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CellShare {
    /// Name of the cell.
    pub cell: CellName,
    /// Replicas of the cell: its weight in the division.
    pub target: i32,
    /// Least number that the cell gets: what an earlier batch gave it.
    pub least: i32,
    /// Largest number that the cell gets.
    pub most: i32,
}

/// Divides `share` replicas over cells in proportion to their targets, by largest remainder with ties by name.
///
/// # Guarantees
/// - Each cell gets from `least` to `most`.
/// - The sum is exactly `share`, or as near to it as these bounds permit.
pub fn divide(cells: &[CellShare], share: i32) -> BTreeMap<CellName, i32> {
    let (least, most) = (sum(cells.iter().map(|cell| cell.least)), sum(cells.iter().map(|cell| cell.most)));
    let share = i64::from(share).clamp(least, most.max(least));
    let mut fixed: BTreeMap<CellName, i32> = BTreeMap::new();
    let mut open: Vec<&CellShare> = cells.iter().collect();
    open.sort_by(|a, b| a.cell.cmp(&b.cell));
    loop {
        let rest = share - sum(fixed.values().copied());
        let weight = sum(open.iter().map(|cell| cell.target));
        // A cell that its bound gives more or less than its proportion leaves the others a different rest.
        let over = |cell: &CellShare| i64::from(cell.least) * weight - rest * i64::from(cell.target);
        let under = |cell: &CellShare| rest * i64::from(cell.target) - i64::from(cell.most) * weight;
        let excess = |by: &dyn Fn(&CellShare) -> i64| open.iter().map(|cell| by(cell).max(0)).sum::<i64>();
        let (above, below) = (excess(&over), excess(&under));
        if above == 0 && below == 0 {
            by_remainder(&open, rest, weight, &mut fixed);
            return fixed;
        }
        // The larger excess goes first: its cells stay at their bound whatever becomes of the others.
        let (bound, rest_open): (Vec<&CellShare>, Vec<&CellShare>) =
            open.iter().partition(|cell| if above >= below { over(cell) > 0 } else { under(cell) > 0 });
        for cell in bound {
            fixed.insert(cell.cell.clone(), if above >= below { cell.least } else { cell.most });
        }
        open = rest_open;
    }
}

/// Divides the rest over cells whose bounds permit their proportion.
fn by_remainder(open: &[&CellShare], rest: i64, weight: i64, fixed: &mut BTreeMap<CellName, i32>) {
    if weight == 0 {
        fixed.extend(open.iter().map(|cell| (cell.cell.clone(), cell.least)));
        return;
    }
    let mut left = rest;
    let mut remainders: Vec<(i64, &CellName)> = Vec::new();
    for cell in open {
        let product = rest * i64::from(cell.target);
        let whole = product.div_euclid(weight);
        left -= whole;
        fixed.insert(cell.cell.clone(), i32::try_from(whole).unwrap_or(i32::MAX));
        remainders.push((product.rem_euclid(weight), &cell.cell));
    }
    remainders.sort_by(|a, b| b.0.cmp(&a.0).then_with(|| a.1.cmp(b.1)));
    for (_, cell) in remainders.into_iter().take(usize::try_from(left).unwrap_or_default()) {
        fixed.entry(cell.clone()).and_modify(|count| *count += 1);
    }
}

fn sum(numbers: impl Iterator<Item = i32>) -> i64 {
    numbers.map(i64::from).sum()
}
