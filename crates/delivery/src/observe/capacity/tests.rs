//! Tests of the capacity.

use super::*;
use serde_json::json;

fn node(name: &str, zone: &str, cpu: &str) -> Value {
    json!({"metadata": {"name": name, "labels": {NODE_ZONE: zone}},
           "status": {"allocatable": {"cpu": cpu, "memory": "1Gi", "pods": "10"}, "conditions": [{"type": "Ready", "status": "True"}]}})
}

fn pod(name: &str, node: &str, cpu: &str) -> Value {
    json!({"metadata": {"namespace": "pay", "name": name}, "status": {"phase": "Running"},
           "spec": {"nodeName": node, "containers": [{"name": "c", "resources": {"requests": {"cpu": cpu, "memory": "128Mi"}}}]}})
}

#[test]
fn pods_and_nodes_of_any_size_are_counted_without_overflow() {
    let mut capacity_tracker = CapacityTracker::default();
    for name in ["a", "b", "c"] {
        capacity_tracker.node(&json!({
            "metadata": {"name": name}, "spec": {},
            "status": {"conditions": [{"type": "Ready", "status": "True"}], "allocatable": {"cpu": "9E", "memory": "9E", "pods": "9223372036854775807"}},
        }));
        capacity_tracker.pod(&json!({
            "metadata": {"namespace": "x", "name": name},
            "spec": {"nodeName": "a", "containers": [{"resources": {"requests": {"cpu": "9E", "memory": "9E"}}}]},
        }));
    }
    capacity_tracker.nodes_synced();
    capacity_tracker.pods_synced();
    let capacity = capacity_tracker
        .capacity(
            &["z".to_owned()],
            &[(vec!["z".to_owned()], Amounts { cpu_milli: i64::MIN, ..Amounts::default() })].into(),
        )
        .unwrap();
    assert_eq!(capacity[0].allocatable.cpu_milli, 3 * Amounts::CPU_MILLI_MAX);
    assert_eq!(capacity[0].requested.memory_mi, 3 * Amounts::MEMORY_MI_MAX);
}

#[test]
fn capacity_counts_schedulable_nodes_and_bound_pods_by_zone() {
    let mut capacity_tracker = CapacityTracker::default();
    let zones = ["a".to_owned(), "b".to_owned()];
    assert_eq!(capacity_tracker.capacity(&zones, &BTreeMap::new()), None, "unknown before everything is listed");
    capacity_tracker.node(&node("n1", "a", "2"));
    capacity_tracker.node(&node("n2", "b", "4"));
    let mut cordoned = node("n3", "b", "8");
    cordoned["spec"] = json!({"unschedulable": true});
    capacity_tracker.node(&cordoned);
    capacity_tracker.pod(&pod("p1", "n1", "500m"));
    capacity_tracker.pod(&pod("p2", "n2", "250m"));
    capacity_tracker.nodes_synced();
    capacity_tracker.pods_synced();
    let ours = BTreeMap::from([(vec!["a".to_owned()], Amounts { cpu_milli: 500, memory_mi: 128, pods: 1 })]);
    let capacity = capacity_tracker.capacity(&zones, &ours).unwrap();
    assert_eq!(capacity[0].allocatable.cpu_milli, 2000);
    assert_eq!(capacity[0].foreign, Amounts::default());
    assert_eq!(capacity[1].allocatable.cpu_milli, 4000);
    assert_eq!(capacity[1].foreign, Amounts { cpu_milli: 250, memory_mi: 128, pods: 1 });
    assert_eq!(capacity[0].shapes, [Shape { free: Amounts { cpu_milli: 1500, memory_mi: 896, pods: 9 }, nodes: 1 }]);
}

#[test]
fn pods_of_a_cell_are_foreign_in_no_zone() {
    let amounts = |cpu_milli| Amounts { cpu_milli, memory_mi: 0, pods: 0 };
    let zones = |names: &str| names.split(' ').map(str::to_owned).collect::<Vec<_>>();
    for (case, requested, ours, expected) in [
        ("foreign pods in a, ours in b", [8, 8], vec![("b", 8)], [8, 0]),
        ("a cell in each", [10, 8], vec![("a", 2), ("b", 8)], [8, 0]),
        ("pods that are not bound yet", [8, 2], vec![("b", 8)], [8, 0]),
        ("a cell over both, as booked", [6, 6], vec![("a b", 8)], [2, 2]),
        ("a cell over both, mostly in one", [1, 7], vec![("a b", 8)], [0, 0]),
        ("over both beside one in a", [9, 4], vec![("a", 5), ("a b", 8)], [0, 0]),
    ] {
        let requested = BTreeMap::from([("a", amounts(requested[0])), ("b", amounts(requested[1]))]);
        let ours = ours.into_iter().map(|(names, cpu)| (zones(names), amounts(cpu))).collect();
        let found = foreign(requested, &ours);
        assert_eq!([found["a"].cpu_milli, found["b"].cpu_milli], expected, "{case}");
    }
}

#[test]
fn ready_pods_of_a_deployment_are_counted_by_zone() {
    let mut capacity_tracker = CapacityTracker::default();
    for (name, zone) in [("n1", "a"), ("n2", "b"), ("n3", "elsewhere")] {
        capacity_tracker.node(&node(name, zone, "2"));
    }
    let of = |name: &str, node: &str, owner: &str, ready: &str, deleting: bool| {
        let mut pod = pod(name, node, "1m");
        pod["metadata"]["labels"] = json!({"pod-template-hash": "5d9"});
        pod["metadata"]["ownerReferences"] = json!([{"kind": "ReplicaSet", "name": owner, "controller": true}]);
        pod["status"]["conditions"] = json!([{"type": "Ready", "status": ready}]);
        if deleting {
            pod["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        }
        pod
    };
    capacity_tracker.pod(&of("p1", "n1", "web-5d9", "True", false));
    capacity_tracker.pod(&of("p2", "n1", "web-5d9", "True", false));
    capacity_tracker.pod(&of("p3", "n2", "web-5d9", "False", false));
    capacity_tracker.pod(&of("p4", "n2", "web-5d9", "True", true));
    capacity_tracker.pod(&of("p5", "n2", "other-5d9", "True", false));
    capacity_tracker.pod(&of("p6", "n3", "web-5d9", "True", false));
    let web = ("pay".to_owned(), "Deployment".to_owned(), "web".to_owned());
    let counts = capacity_tracker.ready_by_zone(&[(web.clone(), vec!["a".to_owned(), "b".to_owned()])].into());
    assert_eq!(counts[&web], [("a".to_owned(), 2), ("b".to_owned(), 0)].into());
}

#[test]
fn shapes_are_bounded_and_never_promise_more_than_is_free() {
    let free: Vec<Amounts> =
        (0..500).map(|i| Amounts { cpu_milli: 137 * i, memory_mi: 61 * i, pods: i % 110 }).collect();
    let shapes = shapes(&free);
    assert!(shapes.len() <= SHAPES);
    assert_eq!(shapes.iter().map(|shape| shape.nodes).sum::<i32>(), 500);
    let promised: i64 = shapes.iter().map(|shape| shape.free.cpu_milli * i64::from(shape.nodes)).sum();
    assert!(promised <= free.iter().map(|node| node.cpu_milli).sum());
}
