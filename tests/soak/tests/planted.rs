//! Tests that the checker finds each planted violation, and nothing else.
//!
//! Violations are planted into the records of a good run.

use soak::check::{Rule, Violation, check};
use soak::gathered::{Asked, Broken, DesiredState, Gathered, Object, Placement, Row, Shown, Status, Version, Written};
use soak::plan::{Fault, Way};

const CLUSTERS: [&str; 3] = ["north-a", "north-b", "south-a"];
const IMAGE: &str = "web:2";
const REVISION: &str = "0123456789abcdef";
const FENCE: &str = "0000000001.0000000001.0000000007";

fn run(at: u64, app: &str, replicas: i64) -> Asked {
    let what = DesiredState::Run { replicas, image: IMAGE.to_owned() };
    Asked { at, step: at as usize / 1_000, app: app.to_owned(), what }
}

fn ask(at: u64, app: &str, what: DesiredState) -> Asked {
    Asked { at, step: at as usize / 1_000, app: app.to_owned(), what }
}

fn version(at: u64, cluster: &str, app: &str, available: i64) -> Version {
    Version {
        at,
        cluster: cluster.to_owned(),
        app: app.to_owned(),
        uid: format!("{cluster}/{app}"),
        gone: false,
        replicas: available,
        available,
        is_unobserved: false,
        fence: Some(fence_at(at)),
    }
}

/// Returns a fence that rises with time.
fn fence_at(at: u64) -> String {
    format!("0000000001.0000000001.{at:010}")
}

fn gone(at: u64, cluster: &str, app: &str) -> Version {
    Version { gone: true, ..version(at, cluster, app, 0) }
}

fn write(at: u64, cluster: &str, app: &str, made: bool) -> Written {
    Written { at, cluster: cluster.to_owned(), resource: "deployments".to_owned(), name: app.to_owned(), made }
}

fn status(at: u64, app: &str, cells: [(i64, bool); 3]) -> Status {
    let sum = |wanted: bool| cells.iter().filter(|(_, stale)| *stale == wanted).map(|(ready, _)| ready).sum();
    let cells = CLUSTERS.iter().map(|cluster| (*cluster).to_owned()).zip(cells).collect();
    Status { at, app: app.to_owned(), ready: sum(false), stale_ready: sum(true), cells }
}

fn broken(fault: Fault, from: u64, until: u64) -> Broken {
    Broken { fault, number: from as usize, step: from as usize / 1_000, from, healing: until, until }
}

/// Returns the records of a good run.
///
/// `web` grew from 6 to 9 and stays. `old` existed and was deleted. `lost` vanished from the hub and keeps running.
fn good() -> Gathered {
    let mut good = Gathered {
        asked: vec![
            run(0, "web", 6),
            run(0, "old", 3),
            run(0, "lost", 3),
            run(10_000, "web", 9),
            ask(12_000, "old", DesiredState::Gone),
            ask(13_000, "lost", DesiredState::Vanished),
        ],
        faults: vec![broken(Fault::MemberLink("south-a", Way::BlackHole), 20_000, 40_000)],
        over: 60_000,
        ..Gathered::default()
    };
    for cluster in CLUSTERS {
        for (app, replicas) in [("web", 2), ("old", 1), ("lost", 1)] {
            good.versions.push(version(1_000, cluster, app, 0));
            good.versions.push(version(2_000, cluster, app, replicas));
            good.writes.push(write(900, cluster, app, true));
        }
    }
    for cluster in CLUSTERS {
        good.versions.push(version(11_000, cluster, "web", 3));
        good.versions.push(gone(12_500, cluster, "old"));
        good.writes.push(write(12_400, cluster, "old", false));
        for (app, replicas) in [("web", 3), ("lost", 1)] {
            let (cluster, name) = (cluster.to_owned(), app.to_owned());
            good.end.objects.push(Object {
                cluster: cluster.clone(),
                kind: "Deployment".to_owned(),
                name: name.clone(),
                replicas,
                available: replicas,
                ready: replicas,
                image: IMAGE.to_owned(),
                fence: Some(FENCE.to_owned()),
            });
            good.end.placements.push(Placement {
                app: name.clone(),
                cluster,
                kind: "Deployment".to_owned(),
                name,
                divided: true,
                target: replicas,
                rendered: replicas,
                desired_state: "Present".to_owned(),
                state: Some("Applied".to_owned()),
                revision: REVISION.to_owned(),
                applied: Some(REVISION.to_owned()),
                available: replicas,
            });
        }
    }
    for (app, replicas) in [("web", 9), ("lost", 3)] {
        let row = Row { replicas, revision: REVISION.to_owned(), removal: None };
        good.end.rows.insert(app.to_owned(), row);
    }
    good.statuses = vec![
        status(3_000, "web", [(2, false); 3]),
        status(11_500, "web", [(3, false); 3]),
        status(25_000, "web", [(3, false), (3, false), (3, true)]),
        status(42_000, "web", [(3, false); 3]),
    ];
    good.end.hub.insert(
        "web".to_owned(),
        Shown {
            replicas: 9,
            image: IMAGE.to_owned(),
            current: true,
            going: false,
            shortfall: 0,
            is_ready: ("True".to_owned(), String::new()),
            status: status(0, "web", [(3, false); 3]),
            desired: 9,
            placed: 9,
            revision: REVISION[..10].to_owned(),
            pending: None,
        },
    );
    good
}

/// Returns the violations found after `plant` changed the records of a good run.
fn found(plant: impl FnOnce(&mut Gathered)) -> Vec<Violation> {
    let mut gathered = good();
    plant(&mut gathered);
    gathered.versions.sort_by_key(|version| version.at);
    gathered.statuses.sort_by_key(|status| status.at);
    gathered.asked.sort_by_key(|asked| asked.at);
    check(&gathered)
}

#[track_caller]
fn only(rule: Rule, plant: impl FnOnce(&mut Gathered)) -> Vec<Violation> {
    let found = found(plant);
    assert!(!found.is_empty() && found.iter().all(|violation| violation.rule == rule), "{found:#?}");
    found
}

#[test]
fn a_good_run_is_good() {
    assert_eq!(found(|_| {}), []);
}

#[test]
fn made_or_deleted_twice() {
    let found = only(Rule::Once, |run| run.writes.push(write(5_000, "north-b", "web", true)));
    assert!(found[0].evidence.contains("made twice") && found[0].at == Some(5_000), "{found:?}");
    only(Rule::Once, |run| run.writes.push(write(12_600, "north-b", "old", false)));
}

#[test]
fn made_again_after_a_deletion_is_not_made_twice() {
    let again = |run: &mut Gathered| {
        run.writes.push(write(5_000, "north-b", "web", false));
        run.writes.push(write(5_100, "north-b", "web", true));
    };
    assert_eq!(found(again), []);
}

#[test]
fn a_log_that_was_torn_by_a_kill_proves_nothing() {
    let torn = |run: &mut Gathered| {
        run.faults.push(broken(Fault::MemberKilled("north-b"), 4_500, 4_900));
        run.writes.push(write(5_000, "north-b", "web", true));
    };
    assert_eq!(found(torn), []);
}

#[test]
fn lowered_before_raised() {
    // Two replicas leave north-b before another member has taken them.
    let found = only(Rule::NeverBelow, |run| {
        run.versions.push(version(15_000, "north-b", "web", 1));
        run.versions.push(version(16_000, "north-a", "web", 5));
        run.versions.push(version(17_000, "north-a", "web", 3));
        run.versions.push(version(17_000, "north-b", "web", 3));
    });
    assert!(found[0].at == Some(15_000) && found[0].evidence.contains("7 were available and 9 allowed"), "{found:?}");
}

#[test]
fn below_what_was_asked_for_before() {
    // The user requests more replicas; the six existing replicas must stay meanwhile.
    only(Rule::NeverBelow, |run| {
        run.versions.push(version(10_200, "north-a", "web", 1));
        run.versions.push(version(10_900, "north-a", "web", 2));
    });
}

#[test]
fn fewer_is_right_when_fewer_is_asked_for() {
    let fewer = |run: &mut Gathered| {
        run.asked.push(run_fewer());
        run.versions.push(version(15_000, "north-a", "web", 2));
        run.asked.push(run_again());
        run.versions.push(version(17_000, "north-a", "web", 3));
    };
    assert_eq!(found(fewer), []);
}

fn run_fewer() -> Asked {
    run(14_500, "web", 8)
}

fn run_again() -> Asked {
    run(16_000, "web", 9)
}

#[test]
fn a_member_that_cannot_be_watched_counts_as_it_was() {
    let moved = |run: &mut Gathered| {
        run.faults.push(broken(Fault::MemberFrozen("north-a"), 45_000, 47_000));
        // A rise in the frozen member is seen late; the resulting fall elsewhere is seen at once.
        run.versions.push(version(45_500, "north-b", "web", 2));
        run.versions.push(version(47_200, "north-a", "web", 4));
        run.versions.push(version(51_000, "north-b", "web", 3));
        run.versions.push(version(51_500, "north-a", "web", 3));
    };
    assert_eq!(found(moved), []);
    only(Rule::NeverBelow, |run| {
        run.faults.push(broken(Fault::MemberFrozen("north-a"), 45_000, 47_000));
        run.versions.push(version(45_500, "north-b", "web", 2));
        run.versions.push(version(51_000, "north-b", "web", 3));
    });
}

#[test]
fn stale_counted_as_ready() {
    let stale = |run: &Gathered| run.statuses.iter().position(|status| status.at == 25_000).unwrap();
    // The total counts replicas that their own cell reports as stale.
    only(Rule::StaleIsStale, |run| {
        let at = stale(run);
        run.statuses[at].ready = 9;
    });
    // No status reports the replicas as stale.
    only(Rule::StaleIsStale, |run| {
        let at = stale(run);
        run.statuses.remove(at);
    });
    // Status reports the replicas as stale, and then counts them as ready again during the silence.
    only(Rule::StaleIsStale, |run| run.statuses.push(status(35_000, "web", [(3, false); 3])));
}

#[test]
fn stale_taken_for_zero() {
    let found = only(Rule::StaleIsStale, |run| {
        run.statuses.push(status(35_000, "web", [(3, false), (3, false), (0, true)]));
    });
    assert!(found[0].evidence.contains("takes silence for nothing"), "{found:?}");
}

#[test]
fn leftovers_of_a_deleted_application() {
    only(Rule::NothingLeft, |run| {
        let mut left = run.end.objects[0].clone();
        "old".clone_into(&mut left.name);
        run.end.objects.push(left);
    });
    only(Rule::NothingLeft, |run| {
        let row = Row { replicas: 3, revision: REVISION.to_owned(), removal: Some("Delete".to_owned()) };
        run.end.rows.insert("old".to_owned(), row);
    });
    only(Rule::NothingLeft, |run| {
        let mut left = run.end.placements[0].clone();
        "old".clone_into(&mut left.app);
        run.end.placements.push(left);
    });
}

#[test]
fn an_orphan_that_no_row_knows() {
    only(Rule::NothingLeft, |run| {
        let mut orphan = run.end.objects[0].clone();
        "ConfigMap".clone_into(&mut orphan.kind);
        orphan.ready = 0;
        run.end.objects.push(orphan);
    });
}

#[test]
fn an_absent_object_treated_as_deleted() {
    let found = found(|run| {
        for cluster in CLUSTERS {
            run.versions.push(gone(14_000, cluster, "lost"));
            run.writes.push(write(13_900, cluster, "lost", false));
        }
        run.end.rows.remove("lost");
        run.end.placements.retain(|row| row.app != "lost");
        run.end.objects.retain(|object| object.name != "lost");
    });
    let rules: Vec<Rule> = found.iter().map(|violation| violation.rule).collect();
    assert_eq!(rules, [Rule::NeverBelow, Rule::DisconnectIsNotDelete], "{found:#?}");
    assert!(found[1].evidence.contains("Vanished"), "{found:?}");
}

#[test]
fn a_fence_that_falls_is_missing_or_stands_still() {
    only(Rule::Fenced, |run| {
        let fence = Some("0000000001.0000000001.0000000006".to_owned());
        run.versions.push(Version { fence, ..version(18_000, "north-a", "web", 3) });
    });
    only(Rule::Fenced, |run| run.versions.push(Version { fence: None, ..version(18_000, "north-a", "web", 3) }));
    only(Rule::Fenced, |run| {
        let fence = Some(fence_at(11_000));
        run.versions.push(Version { fence, replicas: 4, ..version(18_000, "north-a", "web", 3) });
    });
}

#[test]
fn intent_rows_members_and_status_disagree() {
    only(Rule::Agreement, |run| run.end.objects[0].image = "web:1".to_owned());
    only(Rule::Agreement, |run| run.end.objects[0].available = 2);
    only(Rule::Agreement, |run| run.end.placements[0].applied = None);
    only(Rule::Agreement, |run| run.end.placements[0].target = 2);
    only(Rule::Agreement, |run| {
        run.end.objects.remove(0);
    });
    only(Rule::Agreement, |run| run.end.rows.get_mut("web").unwrap().replicas = 8);
    let shown = |plant: fn(&mut Shown)| {
        only(Rule::Agreement, |run| plant(run.end.hub.get_mut("web").unwrap()));
    };
    shown(|shown| shown.replicas = 8);
    shown(|shown| shown.current = false);
    shown(|shown| shown.status.ready = 8);
    shown(|shown| shown.is_ready.0 = "False".to_owned());
    shown(|shown| shown.pending = Some("plan".to_owned()));
    only(Rule::Agreement, |run| {
        run.end.hub.remove("web");
    });
}

#[test]
fn a_shortfall_is_right_when_it_is_named() {
    let short = |run: &mut Gathered, named: i64| {
        run.asked.push(self::run(50_000, "web", 10));
        run.end.rows.get_mut("web").unwrap().replicas = 10;
        let shown = run.end.hub.get_mut("web").unwrap();
        (shown.replicas, shown.desired, shown.shortfall) = (10, 10, named);
    };
    assert_eq!(found(|run| short(run, 1)), []);
    only(Rule::Agreement, |run| short(run, 0));
}
