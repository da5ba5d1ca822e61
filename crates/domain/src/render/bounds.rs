//! Limits the memory of one Application and its part in sums over the fleet.

use std::io::{self, Write};

use crds::application::v1alpha1::{OverrideRule, PatchOp, PatchOperation};
use crds::cluster::v1alpha1::Amounts;
use serde_json::Value;

use super::pod::stated_amounts;

/// Maximum size in bytes of components and overrides together, as JSON.
///
/// The etcd of a hub stores this much in one object, with room for status. The same number bounds what overrides add
/// to one component.
pub(super) const SIZE_MAX: usize = 1 << 20;
/// Maximum nesting of a rendered object.
///
/// JSON parsers stop at 128 levels, and a fence and labels are added to the object.
const DEPTH_MAX: usize = 100;
/// Maximum number of changes in all overrides of an Application.
///
/// Each change is applied and checked for every cell that it selects.
const CHANGES_MAX: usize = 512;
/// Maximum `spec.replicas` of any component.
///
/// The schema sets the same limit for `spec.replicas` of the Application.
pub(super) const REPLICAS_MAX: i32 = 100_000;

/// Number of bytes that the patches of one component may still add.
///
/// `copy` doubles a document each time, so 32 operations make gigabytes of a small one. The API server has the same
/// limit for what patches copy.
#[derive(Debug)]
pub(super) struct Growth {
    left: usize,
}

impl Default for Growth {
    fn default() -> Self {
        Self { left: SIZE_MAX }
    }
}

impl Growth {
    /// Counts an operation before it is applied.
    pub(super) fn count(&mut self, object: &Value, operation: &PatchOperation) -> Result<(), String> {
        let added = match operation.op {
            PatchOp::Add | PatchOp::Replace => operation.value.as_ref(),
            PatchOp::Copy => operation.from.as_deref().and_then(|from| object.pointer(from)),
            PatchOp::Move => {
                let moved = operation.from.as_deref().and_then(|from| object.pointer(from));
                return check_depth(&operation.path, moved);
            }
            PatchOp::Remove | PatchOp::Test => None,
        };
        check_depth(&operation.path, added)?;
        let size = operation.path.len() + added.map_or(0, json_size);
        self.left = self.left.checked_sub(size).ok_or_else(|| {
            format!(
                "the patches of this component add more than {SIZE_MAX} bytes, most likely because copy is repeated; copy less, or declare a component of its own"
            )
        })?;
        Ok(())
    }
}

/// Refuses an operation that would nest the document too deeply for parsers.
fn check_depth(path: &str, value: Option<&Value>) -> Result<(), String> {
    let depth = path.matches('/').count() + value.map_or(0, depth);
    if depth <= DEPTH_MAX {
        return Ok(());
    }
    Err(format!("{path:.100} would nest the object {depth} levels deep, the limit is {DEPTH_MAX}; nest it less"))
}

fn depth(value: &Value) -> usize {
    match value {
        Value::Object(map) => 1 + map.values().map(depth).max().unwrap_or(0),
        Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}

/// Returns the length of a value as JSON.
pub(super) fn json_size(value: &Value) -> usize {
    struct Counter(usize);
    impl Write for Counter {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0 += bytes.len();
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let mut counter = Counter(0);
    // Keys are strings and `Counter` only counts bytes, so this does not fail.
    serde_json::to_writer(&mut counter, value).map_or(usize::MAX, |()| counter.0)
}

/// Returns a problem when all overrides together contain too many changes.
pub(super) fn changes_problem(rules: &[OverrideRule]) -> Option<String> {
    let patches = rules.iter().flat_map(|rule| &rule.patches);
    let changes: usize =
        patches.map(|patch| patch.json_patch.as_ref().map_or(1, |operations| operations.len().max(1))).sum();
    (changes > CHANGES_MAX).then(|| {
        format!("there are {changes} changes in all overrides together, the limit is {CHANGES_MAX}; use fewer, or split the Application")
    })
}

/// Returns the amounts in a pod spec that no pod can have, as paths and messages.
pub(super) fn amount_problems(pod_spec: &Value) -> Vec<(String, String)> {
    stated_amounts(pod_spec)
        .into_iter()
        .filter_map(|stated| {
            let (limit, limit_text) = match stated.resource {
                "cpu" => (Amounts::CPU_MILLI_MAX, "1M (a million cores)"),
                _ => (Amounts::MEMORY_MI_MAX, "1Pi"),
            };
            let message = format!("{} is more than any node has; the limit is {limit_text}: lower it", stated.text);
            (stated.amount > limit).then_some((stated.path, message))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use crds::application::v1alpha1::ApplicationSpec;
    use serde_json::json;
    use vocabulary::AppKey;

    use super::*;
    use crate::render::{Problem, blueprint, blueprint_of_revision};
    use crate::stored_revision::StoredRevision;

    fn key() -> AppKey {
        AppKey { namespace: "shop".to_owned(), name: "web".to_owned() }
    }

    fn spec(change: impl FnOnce(&mut Value)) -> ApplicationSpec {
        let pods = |name: &str| {
            json!({"selector": {"matchLabels": {"app": name}}, "template": {"metadata": {"labels": {"app": name}},
                "spec": {"containers": [{"name": name, "image": "registry.example.com/web:1"}]}}})
        };
        let mut spec = json!({
            "replicas": 3, "placement": {}, "overrides": [],
            "components": [
                {"name": "web", "template": {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": pods("web")}},
                {"name": "node", "template": {"apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": {"name": "node"}, "spec": pods("node")}},
            ],
        });
        change(&mut spec);
        serde_json::from_value(spec).unwrap()
    }

    fn bomb(operations: usize) -> ApplicationSpec {
        let copies: Vec<Value> =
            (0..operations).map(|i| json!({"op": "copy", "from": "/spec", "path": format!("/spec/x{i}")})).collect();
        spec(|spec| spec["overrides"] = json!([{"cells": {}, "patches": [{"component": "web", "jsonPatch": copies}]}]))
    }

    #[test]
    fn patches_that_double_a_document_are_refused_at_once() {
        let problems = blueprint(&key(), &bomb(32)).unwrap_err();
        let [Problem { field, message }] = problems.as_slice() else { panic!("{problems:?}") };
        assert_eq!(field, "spec.overrides[0].patches[0]");
        assert!(message.contains("1048576 bytes"), "{message}");
        assert!(blueprint(&key(), &bomb(3)).is_ok(), "a few copies are somebody's way to write it");
    }

    #[test]
    fn stored_patch_bomb_is_read_and_bounded_when_rendered() {
        let spec = bomb(32);
        let body = json!({"components": spec.components, "overrides": spec.overrides});
        let stored = StoredRevision::parse(&key(), &serde_json::to_vec(&body).unwrap()).unwrap();
        let mut object = stored.blueprint.components[0].template.clone();
        let mut growth = Growth::default();
        let patch = &stored.overrides[0].patches[0];
        let refused = crate::render::overrides::apply(&stored.blueprint.components[0], patch, &mut object, &mut growth);
        assert!(refused.unwrap_err().contains("1048576 bytes"));
        assert!(json_size(&object) <= 2 * SIZE_MAX);
    }

    #[test]
    fn too_many_changes_are_refused_before_any_is_applied() {
        let many = spec(|spec| {
            let operations: Vec<Value> =
                (0..32).map(|_| json!({"op": "test", "path": "/kind", "value": "Deployment"})).collect();
            let patches: Vec<Value> = (0..16).map(|_| json!({"component": "web", "jsonPatch": operations})).collect();
            spec["overrides"] = json!([{"cells": {}, "patches": patches}, {"cells": {}, "patches": patches}]);
        });
        let problems = blueprint(&key(), &many).unwrap_err();
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert!(problems[0].field == "spec.overrides" && problems[0].message.contains("1024 changes"), "{problems:?}");
    }

    #[test]
    fn impossible_amounts_are_refused_and_bounded_where_stored() {
        for (case, path, value, field) in [
            (
                "cpu",
                "/components/1/template/spec/template/spec/containers/0/resources",
                json!({"requests": {"cpu": "9E"}}),
                "spec.components[1].template.spec.template.spec.containers[0].resources.requests.cpu",
            ),
            (
                "memory",
                "/components/0/template/spec/template/spec/containers/0/resources",
                json!({"limits": {"memory": "2Pi"}}),
                "spec.components[0].template.spec.template.spec.containers[0].resources.limits.memory",
            ),
            (
                "overhead",
                "/components/0/template/spec/template/spec/overhead",
                json!({"cpu": "2M"}),
                "spec.components[0].template.spec.template.spec.overhead.cpu",
            ),
            (
                "replicas",
                "/components/1/template/spec/replicas",
                json!(2_000_000_000),
                "spec.components[1].template.spec.replicas",
            ),
        ] {
            let huge = spec(|spec| {
                let (parent, key) = path.rsplit_once('/').unwrap();
                spec.pointer_mut(parent).unwrap()[key] = value;
            });
            let problems =
                blueprint(&AppKey { namespace: "huge".to_owned(), name: "huge".to_owned() }, &huge).unwrap_err();
            assert!(problems.iter().any(|problem| problem.field == field), "{case}: {problems:?}");
            let stored = blueprint_of_revision(&key(), &huge.components, &[]).unwrap();
            for component in stored.components {
                assert!(component.pod.cpu_milli <= Amounts::CPU_MILLI_MAX, "{case}");
                assert!(component.pod.memory_mi <= Amounts::MEMORY_MI_MAX, "{case}");
                assert!(component.replicas.unwrap_or(0) <= REPLICAS_MAX, "{case}");
            }
        }
        assert!(blueprint(&key(), &spec(|_| ())).is_ok());
    }

    #[test]
    fn sums_stay_at_the_limits_of_their_type() {
        let all = Amounts { cpu_milli: i64::MAX, memory_mi: i64::MAX, pods: i64::MAX };
        assert_eq!(all.plus_times(all, 3), all);
        assert_eq!(Amounts::default().plus_times(all, -2).pods, i64::MIN);
    }

    fn operation(op: PatchOp, path: &str, from: Option<&str>, value: Option<Value>) -> PatchOperation {
        PatchOperation { op, path: path.to_owned(), from: from.map(str::to_owned), value }
    }

    #[test]
    fn growth_counts_what_is_added_and_not_what_moves() {
        let object = json!({"spec": {"a": "x".repeat(SIZE_MAX / 2)}});
        let mut growth = Growth::default();
        let copy = operation(PatchOp::Copy, "/b", Some("/spec"), None);
        assert_eq!(growth.count(&object, &copy), Ok(()));
        assert_eq!(growth.count(&object, &operation(PatchOp::Move, "/c", Some("/spec"), None)), Ok(()));
        let message = growth.count(&object, &copy).unwrap_err();
        assert!(message.contains("1048576 bytes") && message.contains("copy less"), "{message}");
    }

    #[test]
    fn documents_do_not_become_deeper_than_parsers_read() {
        let deep = (0..60).fold(json!({}), |inner, _| json!({ "a": inner }));
        let mut growth = Growth::default();
        let add = |path: &str| operation(PatchOp::Add, path, None, Some(deep.clone()));
        assert_eq!(growth.count(&json!({}), &add("/spec/x")), Ok(()));
        let object = json!({ "spec": deep });
        for far in [add(&"/a".repeat(50)), operation(PatchOp::Move, &"/a".repeat(50), Some("/spec"), None)] {
            assert!(growth.count(&object, &far).unwrap_err().contains("limit is 100"));
        }
    }
}
