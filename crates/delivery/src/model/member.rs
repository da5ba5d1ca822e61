//! Model of a member cluster: stores objects and runs controllers step by step.
//!
//! The model enforces the rules of an API server that delivery relies on.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use vocabulary::{ObjectKey, labels};

/// Identity of an object: group, kind, namespace, name.
pub(super) type Id = (String, String, String, String);

pub(super) fn id(key: &ObjectKey) -> Id {
    (key.group().to_owned(), key.kind.clone(), key.namespace.clone(), key.name.clone())
}

/// A stored object with the state of its controllers.
#[derive(Debug, Clone)]
pub(super) struct Stored {
    pub(super) value: Value,
    /// Whether Meridian owns `spec.replicas`: an apply without the field then resets it to the default.
    owns_replicas: bool,
    /// Number of running pods.
    pub(super) running: i32,
    /// Number of steps until a deletion completes.
    lingers: u32,
}

/// Reason for a refused apply.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum ApplyRefused {
    /// An object of that name exists.
    Exists,
    /// The fence is lower than that of the existing object.
    StaleFence,
}

/// State of one member.
#[derive(Debug, Default)]
pub(super) struct Member {
    pub(super) objects: BTreeMap<Id, Stored>,
    /// Whether the API server responds. Workloads run on regardless.
    pub(super) answers: bool,
    /// Number of steps that a deletion takes, as with finalizers.
    pub(super) lingering: u32,
    clock: u64,
}

impl Member {
    fn tick(&mut self) -> u64 {
        self.clock += 1;
        self.clock
    }

    /// Applies a whole object by server-side apply.
    pub(super) fn apply(&mut self, key: &ObjectKey, object: &Value, absent: bool) -> Result<Value, ApplyRefused> {
        let now = self.tick();
        let before = self.objects.get(&id(key)).cloned();
        let fence = |value: &Value| value["metadata"]["annotations"][labels::FENCE].as_str().unwrap_or("").to_owned();
        if let Some(before) = &before {
            if absent {
                return Err(ApplyRefused::Exists);
            }
            if is_managed(&before.value) && fence(object) < fence(&before.value) {
                return Err(ApplyRefused::StaleFence);
            }
        }
        let mut value = object.clone();
        let owned = if object["spec"]["replicas"].is_i64() { json!({"f:replicas": {}}) } else { json!({}) };
        let owns_replicas = object["spec"]["replicas"].is_i64();
        if has_replicas(key) && !owns_replicas {
            let foreign = before.as_ref().filter(|before| !before.owns_replicas);
            let kept = foreign.map(|before| before.value["spec"]["replicas"].clone()).filter(Value::is_i64);
            value["spec"]["replicas"] = kept.unwrap_or_else(|| json!(1));
        }
        let generation = before.as_ref().map_or(1, |before| {
            let known = before.value["metadata"]["generation"].as_i64().unwrap_or(1);
            known + i64::from(before.value["spec"] != value["spec"])
        });
        let uid = before.as_ref().map_or_else(|| format!("uid-{now}"), |before| text(&before.value, "uid"));
        value["metadata"]["uid"] = json!(uid);
        value["metadata"]["generation"] = json!(generation);
        value["metadata"]["resourceVersion"] = json!(now.to_string());
        value["metadata"]["managedFields"] =
            json!([{"manager": "meridian", "operation": "Apply", "fieldsV1": {"f:spec": owned}}]);
        if let Some(status) = before.as_ref().map(|before| before.value["status"].clone()) {
            value["status"] = status;
        }
        if let Some(deleting) = before.as_ref().and_then(|before| before.value["metadata"].get("deletionTimestamp")) {
            value["metadata"]["deletionTimestamp"] = deleting.clone();
        }
        let (running, lingers) = before.map_or((0, 0), |before| (before.running, before.lingers));
        self.objects.insert(id(key), Stored { value: value.clone(), owns_replicas, running, lingers });
        Ok(value)
    }

    /// Deletes the object with exactly this UID.
    pub(super) fn delete(&mut self, key: &ObjectKey, uid: &str) {
        let (now, lingers) = (self.tick(), self.lingering);
        let Some(stored) = self.objects.get_mut(&id(key)).filter(|stored| text(&stored.value, "uid") == uid) else {
            return;
        };
        if lingers == 0 {
            self.objects.remove(&id(key));
        } else {
            stored.value["metadata"]["deletionTimestamp"] = json!("now");
            stored.value["metadata"]["resourceVersion"] = json!(now.to_string());
            stored.lingers = lingers;
        }
    }

    /// Removes our labels and annotations from an object.
    pub(super) fn release(&mut self, key: &ObjectKey) {
        if let Some(stored) = self.objects.get_mut(&id(key)) {
            for map in ["labels", "annotations"] {
                if let Some(map) = stored.value["metadata"][map].as_object_mut() {
                    map.retain(|name, _| !name.starts_with(labels::PREFIX));
                }
            }
            stored.owns_replicas = false;
        }
    }

    /// Deletes a managed object, as a user of the member would.
    pub(super) fn delete_nth(&mut self, nth: usize) {
        let managed: Vec<Id> =
            self.objects.iter().filter(|(_, stored)| is_managed(&stored.value)).map(|(id, _)| id.clone()).collect();
        if !managed.is_empty() {
            self.objects.remove(&managed[nth % managed.len()]);
        }
    }

    /// Stops some pods of an object.
    pub(super) fn break_pods(&mut self, nth: usize, count: i32) {
        let running: Vec<Id> =
            self.objects.iter().filter(|(_, stored)| stored.running > 0).map(|(id, _)| id.clone()).collect();
        if !running.is_empty()
            && let Some(stored) = self.objects.get_mut(&running[nth % running.len()])
        {
            stored.running = (stored.running - count).max(0);
            report(stored);
        }
    }

    /// Runs the controllers for one step.
    ///
    /// Each workload starts one pod or stops its surplus, and deletions proceed.
    pub(super) fn work(&mut self) {
        let now = self.tick();
        self.objects.retain(|_, stored| {
            let deleting = stored.value["metadata"].get("deletionTimestamp").is_some();
            stored.lingers = stored.lingers.saturating_sub(u32::from(deleting));
            !deleting || stored.lingers > 0
        });
        for ((group, kind, ..), stored) in &mut self.objects {
            let before = stored.value["status"].clone();
            match (group.as_str(), kind.as_str()) {
                ("batch", "Job") => {
                    stored.value["status"] =
                        json!({"succeeded": 1, "conditions": [{"type": "Complete", "status": "True"}]})
                }
                ("apps" | "example.io", _) => {
                    let wanted = stored.value["spec"]["replicas"].as_i64().unwrap_or(1) as i32;
                    // Surplus pods stop at once; each new pod takes a step.
                    stored.running = if stored.running > wanted {
                        wanted
                    } else {
                        stored.running + (wanted - stored.running).signum()
                    };
                    report(stored);
                }
                _ => {}
            }
            if stored.value["status"] != before {
                stored.value["metadata"]["resourceVersion"] = json!(now.to_string());
            }
        }
    }

    /// Whether further steps of the controllers would change nothing.
    pub(super) fn is_quiet(&self) -> bool {
        self.objects.values().all(|stored| {
            stored.value["metadata"].get("deletionTimestamp").is_none()
                && stored.value["spec"]["replicas"].as_i64().is_none_or(|wanted| wanted as i32 == stored.running)
                && stored.value["status"]["observedGeneration"]
                    .as_i64()
                    .is_none_or(|observed| stored.value["metadata"]["generation"] == observed)
        })
    }
}

fn report(stored: &mut Stored) {
    let generation = stored.value["metadata"]["generation"].clone();
    let running = stored.running;
    stored.value["status"] = json!({
        "observedGeneration": generation, "replicas": running, "readyReplicas": running,
        "availableReplicas": running, "updatedReplicas": running, "currentReplicas": running,
        "desiredNumberScheduled": 1, "numberReady": running, "numberAvailable": running,
        "updatedNumberScheduled": running,
    });
}

pub(super) fn runs_pods(key: &ObjectKey) -> bool {
    has_replicas(key) || key.kind == "DaemonSet"
}

fn has_replicas(key: &ObjectKey) -> bool {
    matches!(key.kind.as_str(), "Deployment" | "ReplicaSet" | "StatefulSet" | "Widget")
}

pub(super) fn is_managed(object: &Value) -> bool {
    object["metadata"]["labels"].get(labels::MANAGED).is_some()
}

pub(super) fn text(object: &Value, field: &str) -> String {
    object["metadata"][field].as_str().unwrap_or_default().to_owned()
}
