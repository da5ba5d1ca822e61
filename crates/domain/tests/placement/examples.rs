//! Worked examples with their numbers, including those of `docs/placement.md`.

use domain::placement::{Directive, DirectiveTarget, Effect, Eligibility, Rule, Spread};
use serde_json::json;
use vocabulary::AppKey;

use super::fleet::{Placement, Site, World, policy, site, standing};

fn numbers(placed: &Placement) -> Vec<i32> {
    placed.values().copied().collect()
}

fn three() -> Vec<Site> {
    vec![site(0, 1, 100), site(0, 2, 100), site(1, 1, 100)]
}

#[test]
fn policies_divide_as_documented() {
    let survive = json!({ "spread": [{ "topology": "Zone", "surviveLoss": { "domains": 1, "by": "Overprovision" } }] });
    for (case, spec, replicas, expected) in [
        (
            "twelve over three zones",
            json!({ "spread": [{ "topology": "Zone", "maxSkew": 1, "minDomains": 2 }] }),
            12,
            vec![4, 4, 4],
        ),
        ("any zone may be lost", survive, 12, vec![6, 6, 6]),
        ("no policy at all", json!({}), 7, vec![3, 2, 2]),
        ("shares, then even", json!({ "shares": { "c00": 6, "c01": "25%" } }), 12, vec![6, 3, 3]),
        (
            "static weights",
            json!({ "weights": { "mode": "Static", "static": { "c00": 3, "c01": 1, "c02": 2 } } }),
            12,
            vec![6, 2, 4],
        ),
        (
            "at most five",
            json!({ "limits": [{ "topology": "Cluster", "max": 5 }], "shares": { "c00": 5 } }),
            12,
            vec![5, 4, 3],
        ),
    ] {
        assert_eq!(numbers(&World::new(three(), policy(spec), replicas).fresh().targets), expected, "{case}");
    }
}

#[test]
fn growing_and_shrinking_change_only_the_difference() {
    let mut world =
        World::new(three(), policy(json!({ "spread": [{ "topology": "Zone", "maxSkew": 1, "minDomains": 2 }] })), 12);
    let mut placed = standing(&world.fresh());
    for (replicas, expected) in [(20, [7, 7, 6]), (7, [3, 2, 2])] {
        world.replicas = replicas;
        placed = standing(&world.decide(&placed));
        assert_eq!(numbers(&placed), expected);
    }
}

#[test]
fn replicas_without_a_place_are_reported_as_shortfall() {
    let short = World::new(vec![site(0, 1, 3), site(0, 2, 3)], policy(json!({})), 10).fresh();
    assert_eq!((numbers(&short.targets), short.shortfall), (vec![3, 3], 4));
}

#[test]
fn an_excluded_place_is_left_and_a_pin_holds() {
    let directive = |effect| Directive {
        id: 1,
        target: DirectiveTarget::Cluster { cluster: "c01".to_owned() },
        app: None,
        effect,
        owner: "somebody".to_owned(),
        reason: "a test".to_owned(),
    };
    let mut world = World::new(three(), policy(json!({})), 12);
    let before = standing(&world.fresh());
    world.directives = vec![directive(Effect::Exclude)];
    assert_eq!(numbers(&world.decide(&before).targets), [6, 0, 6]);
    world.directives = vec![directive(Effect::Pin { replicas: 2 })];
    assert_eq!(numbers(&world.fresh().targets), [5, 2, 5]);
}

#[test]
fn directives_close_their_cells_and_name_their_owner() {
    let directive = |effect, app: Option<&str>| Directive {
        id: 7,
        target: DirectiveTarget::Cluster { cluster: "c01".to_owned() },
        app: app.map(|name| AppKey { namespace: "shop".to_owned(), name: name.to_owned() }),
        effect,
        owner: "drain-c01".to_owned(),
        reason: "new nodes".to_owned(),
    };
    let rejected = |rule, message: &str| Some((rule, message.to_owned()));
    let drained = || rejected(Rule::Draining, "directive 7 of drain-c01 drains it: new nodes");
    // Twelve replicas are placed, and then twenty are asked for.
    for (case, directive, expected, verdict) in [
        ("no directive", None, [7, 7, 6], None),
        ("drain", Some(directive(Effect::Drain, None)), [10, 0, 10], drained()),
        ("drain of this application", Some(directive(Effect::Drain, Some("catalog"))), [10, 0, 10], drained()),
        ("drain of another application", Some(directive(Effect::Drain, Some("bank"))), [7, 7, 6], None),
        (
            "cordon",
            Some(directive(Effect::Cordon, None)),
            [8, 4, 8],
            rejected(Rule::Cordoned, "directive 7 of drain-c01 cordons it: new nodes"),
        ),
        ("hold", Some(directive(Effect::Hold, None)), [7, 7, 6], None),
    ] {
        let mut world = World::new(three(), policy(json!({})), 12);
        let before = standing(&world.fresh());
        (world.directives, world.replicas) = (directive.into_iter().collect(), 20);
        let outcome = world.decide(&before);
        assert_eq!(numbers(&outcome.targets), expected, "{case}");
        let found = match &outcome.cells[1].eligibility {
            Eligibility::Eligible => None,
            Eligibility::Rejected(rejection) => Some((rejection.rule, rejection.message.clone())),
        };
        assert_eq!(found, verdict, "{case}");
    }
}

/// A best-effort constraint never holds replicas back, not even beside a binding one.
#[test]
fn only_a_binding_constraint_holds() {
    let spec = policy(json!({ "spread": [
        { "topology": "Zone", "maxSkew": 1, "whenUnsatisfiable": "BestEffort" },
        { "topology": "Region", "maxSkew": 20 },
    ] }));
    let outcome = World::new(vec![site(0, 1, 2), site(0, 2, 100), site(1, 1, 100)], spec, 20).fresh();
    assert_eq!((outcome.hold.clone(), outcome.targets.values().sum::<i32>()), (None, 20));
    assert!(matches!(outcome.spread, Spread::Violated(_)), "{outcome:?}");
}

/// Extra replicas that would not survive the loss either are not run.
#[test]
fn a_loss_that_cannot_be_survived_costs_nothing() {
    let spec = policy(json!({ "spread": [{ "topology": "Zone", "whenUnsatisfiable": "BestEffort",
        "surviveLoss": { "domains": 1, "by": "Overprovision" } }] }));
    let outcome = World::new(vec![site(0, 1, 10), site(0, 2, 3), site(1, 1, 3)], spec, 7).fresh();
    assert_eq!((numbers(&outcome.targets), outcome.shortfall), (vec![3, 3, 3], 1));
    assert!(matches!(outcome.spread, Spread::Violated(_)));
}

/// The half of a pair that holds replicas keeps its zone.
///
/// This holds whatever the names are, also while that half takes no new replicas.
#[test]
fn the_half_that_holds_replicas_keeps_the_zone() {
    let cells = |half: char| vec![(0, Some((0, Some(half))))];
    let mut world = World::new(
        vec![
            Site { cordoned: true, cells: cells('B'), ..site(0, 1, 9) },
            Site { cells: cells('A'), ..site(0, 1, 9) },
            site(0, 2, 9),
        ],
        policy(json!({ "separatePairs": true })),
        8,
    );
    for cordoned in [true, false] {
        world.sites[0].cordoned = cordoned;
        let placed: Placement = [("c00x0".parse().unwrap(), 4)].into();
        let outcome = world.decide(&placed);
        let other = outcome.cells.iter().find(|cell| cell.cell.as_str() == "c01x0").unwrap();
        assert!(
            matches!(&other.eligibility, domain::placement::Eligibility::Rejected(why) if why.rule == Rule::PairConflict),
            "{other:?}"
        );
        assert_eq!(other.target, 0);
    }
}

/// The loss of every existing zone cannot be compensated, so a lower number is still followed.
#[test]
fn a_loss_of_all_there_is_does_not_keep_what_is_of_no_use() {
    let spec = policy(json!({ "spread": [{ "topology": "Zone", "whenUnsatisfiable": "BestEffort",
        "surviveLoss": { "domains": 1, "by": "Overprovision" } }] }));
    let mut world = World::new(vec![site(0, 1, 10)], spec, 6);
    let before = standing(&world.fresh());
    assert_eq!(numbers(&before), [6]);
    (world.replicas, world.decided) = (1, Some(6));
    assert_eq!(numbers(&world.decide(&before).targets), [1]);
}

/// Only a lower number lowers a cell, not seats that became dispensable because others were added.
#[test]
fn running_replicas_stay_when_more_replicas_are_added() {
    let spec =
        policy(json!({ "spread": [{ "topology": "Zone", "surviveLoss": { "domains": 1, "by": "Overprovision" } }] }));
    let mut world = World::new(three(), spec, 6);
    let placed: Placement = [("c00".parse().unwrap(), 6)].into();
    let grown = standing(&world.decide(&placed));
    assert_eq!(numbers(&grown), [6, 3, 3]);
    assert_eq!(standing(&world.decide(&grown)), grown);
    world.replicas = 4;
    assert_eq!(numbers(&world.decide(&grown).targets), [2, 2, 2]);
}

/// The worked example of `docs/placement.md`, number by number.
#[test]
fn the_worked_example_of_the_documentation() {
    let even = json!({ "spread": [{ "topology": "Zone", "maxSkew": 1, "minDomains": 2 }] });
    let mut world = World::new(three(), policy(even), 12);
    let mut placed = standing(&world.fresh());
    assert_eq!(numbers(&placed), [4, 4, 4]);
    let mut next = |world: &World, expected: [i32; 3], rebalance: i32| {
        let outcome = world.decide(&placed);
        placed = standing(&outcome);
        let cells = ["c00", "c01", "c02"].map(|cell| placed.get(cell).copied().unwrap_or(0));
        assert_eq!((cells, outcome.rebalance_needed), (expected, rebalance), "{}", outcome.summary);
    };
    world.replicas = 20;
    next(&world, [7, 7, 6], 0);
    world.replicas = 12;
    next(&world, [4, 4, 4], 0);
    world.sites[1].drain = true;
    next(&world, [6, 0, 6], 0);
    world.sites[1].drain = false;
    next(&world, [6, 0, 6], 4);
    world.replicas = 14;
    next(&world, [6, 2, 6], 2);
    assert_eq!(numbers(&world.rebalance(&placed).targets), [5, 4, 5]);
}
