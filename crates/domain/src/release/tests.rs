//! Examples, and properties over random fleets.

use std::collections::{BTreeMap, BTreeSet};

use crds::application::release::Release;
use crds::cell::v1alpha1::Pair;
use proptest::prelude::*;
use proptest::strategy::Strategy as Generator;
use serde_json::json;
use vocabulary::CellName;

use super::*;
// Of both names, the one of this crate is meant.
use super::Strategy;

fn name(text: &str) -> CellName {
    text.parse().unwrap()
}

fn cell(target: i32, wave: Wave) -> ReleaseCell {
    ReleaseCell { target, asked: Asked::default(), wave, is_there: true }
}

/// Returns cells of the first wave with these targets, named `a`, `b` and so on.
fn cells(targets: &[i32]) -> BTreeMap<CellName, ReleaseCell> {
    let letters = ('a'..='z').map(|letter| name(&letter.to_string()));
    letters.zip(targets).map(|(cell_name, target)| (cell_name, cell(*target, Wave::First))).collect()
}

/// Asks until the step is done, as if each cell were there at once. Returns what was asked together.
fn carry_out(cells: &mut BTreeMap<CellName, ReleaseCell>, goals: &[Goal], scope: Scope) -> Vec<BTreeSet<CellName>> {
    let mut asked = Vec::new();
    while let Next::Ask(changes) = advance(cells, goals, scope) {
        asked.push(changes.keys().cloned().collect());
        for (changed, ask) in changes {
            cells.get_mut(&changed).unwrap().asked = ask;
        }
        assert!(asked.len() < 200, "the step asks for ever");
    }
    asked
}

fn released(cells: &BTreeMap<CellName, ReleaseCell>) -> i32 {
    cells.values().map(|cell| if cell.asked.main { cell.target } else { cell.asked.gray }).sum()
}

fn release(spec: serde_json::Value) -> Release {
    serde_json::from_value(spec).unwrap()
}

#[test]
fn worked_example_goes_in_groups_of_two_four_and_four() {
    let mut cells = cells(&[5, 5]);
    let strategy = Strategy::parse(&release(json!({"beta": true, "batches": [6, "100%"]})), 10).unwrap();
    assert_eq!(strategy.batches, [Share::Replicas(6)]);
    let goals = [Goal::Beta, Goal::Share(strategy.batches[0]), Goal::Promote];
    let mut sums = Vec::new();
    for goal in goals {
        carry_out(&mut cells, &[goal], Scope::First);
        sums.push(released(&cells));
    }
    assert_eq!(sums, [2, 6, 10]);
    // The last batch rolls the main slot, and the gray slot is empty afterwards.
    assert!(cells.values().all(|cell| cell.asked == Asked { gray: 3, main: true }));
    carry_out(&mut cells, &[Goal::Return], Scope::First);
    assert!(cells.values().all(|cell| cell.asked == Asked { gray: 0, main: true }));
}

#[test]
fn uneven_cells_get_their_proportion() {
    for (case, targets, least, share, expected) in [
        ("even", vec![5, 5], vec![0, 0], 6, vec![3, 3]),
        ("uneven", vec![7, 2, 1], vec![0, 0, 0], 5, vec![4, 1, 0]),
        ("uneven with a beta", vec![7, 2, 1], vec![1, 1, 1], 5, vec![3, 1, 1]),
        ("ties by name", vec![1, 1, 1], vec![0, 0, 0], 2, vec![1, 1, 0]),
        ("more than there is", vec![2, 1], vec![0, 0], 9, vec![2, 1]),
        ("less than before", vec![4, 4], vec![3, 1], 2, vec![3, 1]),
        ("one has too much", vec![4, 4], vec![4, 0], 5, vec![4, 1]),
        ("a cell without replicas", vec![0, 4], vec![0, 0], 3, vec![0, 3]),
        ("nothing", vec![], vec![], 3, vec![]),
    ] {
        let names = ["a", "b", "c"];
        let shares: Vec<CellShare> = targets
            .iter()
            .zip(&least)
            .zip(names)
            .map(|((target, least), cell)| CellShare {
                cell: name(cell),
                target: *target,
                least: *least,
                most: *target,
            })
            .collect();
        let divided: Vec<i32> = divide(&shares, share).into_values().collect();
        assert_eq!(divided, expected, "{case}");
    }
}

#[test]
fn whole_cells_are_promoted_as_far_as_the_share_covers_them() {
    for (case, share, expected) in [
        ("less than the first", Share::Replicas(3), vec![]),
        ("the first", Share::Replicas(4), vec!["a"]),
        ("the first and a part", Share::Replicas(8), vec!["a"]),
        ("all", Share::ALL, vec!["a", "b", "c"]),
    ] {
        let wanted = wanted(&cells(&[4, 5, 0]), &Goal::Whole(share), Wave::First);
        let names: Vec<&str> = wanted.keys().map(CellName::as_str).collect();
        assert_eq!(names, expected, "{case}");
        assert!(wanted.values().all(|asked| *asked == Asked { gray: 0, main: true }), "{case}");
    }
}

#[test]
fn next_cell_waits_for_the_one_before() {
    let mut three = cells(&[2, 2, 2]);
    let goal = [Goal::Cells(vec![name("b"), name("c")])];
    let only = |cell: &str| Next::Ask(BTreeMap::from([(name(cell), Asked { gray: 0, main: true })]));
    assert_eq!(advance(&three, &goal, Scope::OneByOne), only("b"));
    let b = three.get_mut("b").unwrap();
    (b.asked, b.is_there) = (Asked { gray: 0, main: true }, false);
    assert_eq!(advance(&three, &goal, Scope::OneByOne), Next::Wait(vec![name("b")]));
    three.get_mut("b").unwrap().is_there = true;
    assert_eq!(advance(&three, &goal, Scope::OneByOne), only("c"));
}

#[test]
fn strategy_is_checked_and_completed() {
    for (case, spec, replicas, expected) in [
        ("nothing", json!({}), 10, Ok(vec![])),
        ("worked example", json!({"batches": [6, "100%"]}), 10, Ok(vec![Share::Replicas(6)])),
        ("last is less", json!({"batches": [2, 6]}), 10, Ok(vec![Share::Replicas(2), Share::Replicas(6)])),
        ("few replicas", json!({"batches": ["10%", "50%", "100%"]}), 1, Ok(vec![])),
        ("no replicas", json!({"batches": ["10%", "50%"]}), 0, Ok(vec![])),
        ("more than all", json!({"batches": [2, 20]}), 10, Ok(vec![Share::Replicas(2)])),
        ("unlike shares", json!({"batches": [2, "50%"]}), 10, Ok(vec![Share::Replicas(2), Share::Percent(50)])),
        (
            "unlike shares shrink",
            json!({"batches": [6, "50%"]}),
            10,
            Err("spec.release.batches[1]: 50% does not exceed 6"),
        ),
        ("equal", json!({"batches": ["50%", "50%"]}), 10, Err("spec.release.batches[1]: 50% does not exceed 50%")),
        ("third", json!({"batches": [1, 5, 4]}), 10, Err("spec.release.batches[2]: 4 does not exceed 5")),
        ("zero", json!({"batches": [0]}), 10, Err("spec.release.batches[0]: is neither")),
        ("too many percent", json!({"batches": ["101%"]}), 10, Err("spec.release.batches[0]: is neither")),
        ("text", json!({"batches": ["half"]}), 10, Err("spec.release.batches[0]: is neither")),
        ("no deadline", json!({"deadline": "0s"}), 10, Err("spec.release.deadline: \"0s\" is no span")),
        ("long deadline", json!({"deadline": "200h"}), 10, Err("spec.release.deadline: \"200h\" is no span")),
        ("bad minReady", json!({"minReady": "soon"}), 10, Err("spec.release.minReady: \"soon\" is no span")),
        ("no minReady", json!({"minReady": "0s"}), 10, Ok(vec![])),
    ] {
        let found = Strategy::parse(&release(spec), replicas).map(|strategy| strategy.batches);
        match (found, expected) {
            (Ok(batches), Ok(expected)) => assert_eq!(batches, expected, "{case}"),
            (Err(problems), Err(expected)) => {
                let texts: Vec<String> =
                    problems.iter().map(|problem| format!("{}: {}", problem.field, problem.message)).collect();
                assert!(texts.len() == 1 && texts[0].starts_with(expected), "{case}: {texts:?}");
            }
            (found, expected) => panic!("{case}: expected {expected:?}, found {found:?}"),
        }
    }
}

#[test]
fn percentages_round_up() {
    for (share, total, expected) in [
        (Share::Percent(1), 10, 1),
        (Share::Percent(50), 3, 2),
        (Share::Percent(100), 7, 7),
        (Share::Percent(33), 0, 0),
        (Share::Replicas(6), 4, 4),
        (Share::Percent(100), i32::MAX, i32::MAX),
    ] {
        assert_eq!(share.of(total), expected, "{share} of {total}");
    }
}

/// Number of a unit, and whether the cell is its first half.
type Half = (u8, bool);

/// Cells with targets and places in pairs, whether there is a beta, and growing shares.
/// Cells with replicas and half of a pair, whether beta comes first, and shares of the batches.
type Fleet = (Vec<(i32, Option<Half>)>, bool, Vec<i32>);

fn fleets() -> impl Generator<Value = Fleet> {
    let place = proptest::option::of((0_u8..3, any::<bool>()));
    (
        proptest::collection::vec((0_i32..12, place), 1..9),
        any::<bool>(),
        proptest::collection::btree_set(1_i32..60, 0..4),
    )
        .prop_map(|(cells, beta, shares)| (cells, beta, shares.into_iter().collect()))
}

proptest! {
    #[test]
    fn batches_are_exact_monotone_and_keep_pairs_apart((fleet, beta, shares) in fleets()) {
        let names: Vec<CellName> = (0..fleet.len()).map(|number| name(&format!("cell-{number}"))).collect();
        let places: BTreeMap<CellName, Option<PairPlace>> = names
            .iter()
            .zip(&fleet)
            .map(|(cell, (_, place))| {
                let half = |first: bool| if first { Pair::A } else { Pair::B };
                (cell.clone(), place.map(|(unit, first)| PairPlace { unit: unit.to_string(), half: half(first) }))
            })
            .collect();
        let waves = waves(&places);
        let mut cells: BTreeMap<CellName, ReleaseCell> =
            names.iter().zip(&fleet).map(|(name, (target, _))| (name.clone(), cell(*target, waves[name]))).collect();
        let total: i32 = fleet.iter().map(|(target, _)| target).sum();
        let beta_sum: i32 = if beta { fleet.iter().filter(|(target, _)| *target > 0).count() as i32 } else { 0 };
        let mut steps: Vec<(Goal, i32)> = Vec::new();
        if beta {
            steps.push((Goal::Beta, beta_sum));
        }
        steps.extend(shares.iter().map(|share| (Goal::Share(Share::Replicas(*share)), (*share).clamp(beta_sum, total.max(beta_sum)))));
        steps.push((Goal::Promote, total));
        steps.push((Goal::Return, total));
        for (goal, sum) in steps {
            let before = cells.clone();
            for asked in [
                carry_out(&mut cells, std::slice::from_ref(&goal), Scope::First),
                carry_out(&mut cells, std::slice::from_ref(&goal), Scope::Second),
            ] {
                for together in asked {
                    let mut halves: BTreeMap<&str, BTreeSet<Pair>> = BTreeMap::new();
                    for place in together.iter().filter_map(|cell| places[cell].as_ref()) {
                        halves.entry(&place.unit).or_default().insert(place.half);
                    }
                    prop_assert!(halves.values().all(|halves| halves.len() == 1), "a pair moved together: {together:?}");
                }
            }
            prop_assert_eq!(released(&cells), sum, "{:?}", goal);
            for (name, now) in &cells {
                prop_assert!((0..=now.target).contains(&now.asked.gray), "{name} has {now:?}");
                let kept = now.asked.main || now.asked.gray >= before[name].asked.gray;
                prop_assert!(kept, "{name} lost replicas: {now:?} after {:?}", before[name]);
            }
        }
    }

    #[test]
    fn division_respects_bounds_and_is_exact(
        cells in proptest::collection::vec((0_i32..20, 0_i32..20, 0_i32..20), 1..8),
        share in 0_i32..120,
    ) {
        let shares: Vec<CellShare> = cells
            .iter()
            .enumerate()
            .map(|(number, (target, one, other))| {
                let (least, most) = (one.min(other).min(target), one.max(other).min(target));
                CellShare { cell: name(&format!("cell-{number}")), target: *target, least: *least, most: *most }
            })
            .collect();
        let divided = divide(&shares, share);
        let (least, most) = shares.iter().fold((0, 0), |(least, most), cell| (least + cell.least, most + cell.most));
        prop_assert_eq!(divided.values().sum::<i32>(), share.clamp(least, most));
        for cell in &shares {
            prop_assert!((cell.least..=cell.most).contains(&divided[&cell.cell]), "{cell:?} got {}", divided[&cell.cell]);
        }
    }
}
