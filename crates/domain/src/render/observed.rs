//! Reads the state of a live object from its status.

use serde_json::Value;

use super::kinds::{Scopes, group, scopes};

/// State of a live object by its own status.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Observed {
    /// Number of existing pods.
    pub replicas: i32,
    /// Number of ready pods.
    pub ready: i32,
    /// Number of pods that have been ready for long enough to count as available.
    pub available: i32,
    /// Number of pods of the object's latest generation.
    pub updated: i32,
    /// Whether the controller has observed the latest generation.
    ///
    /// True for kinds whose controllers do not report it.
    pub observed_generation_current: bool,
    /// Whether everything that the spec asks for exists.
    pub complete: bool,
    /// Problem that the controller or the spec shows, for people.
    pub message: Option<String>,
}

/// Reads the status of a live object. Kinds that only hold data are complete as soon as they exist.
pub fn observe(api_version: &str, kind: &str, live: &Value) -> Observed {
    let status = Status::of(live);
    match (group(api_version), kind) {
        ("apps", "Deployment") => deployment(&status),
        ("apps", "ReplicaSet") | ("", "ReplicationController") => replica_set(&status),
        ("apps", "StatefulSet") => stateful_set(&status),
        ("apps", "DaemonSet") => daemon_set(&status),
        ("batch", "Job") => job(&status),
        ("batch", "CronJob") => Observed {
            replicas: status.reported["active"].as_array().map_or(0, |active| active.len() as i32),
            ..exists()
        },
        ("", "PersistentVolumeClaim") => claim(&status),
        _ => match scopes(api_version, kind) {
            Scopes::NotDivided => exists(),
            _ => by_convention(&status),
        },
    }
}

fn exists() -> Observed {
    Observed { observed_generation_current: true, complete: true, ..Observed::default() }
}

/// The parts of an object that are read here.
struct Status<'a> {
    spec: &'a Value,
    reported: &'a Value,
    current: bool,
}

impl<'a> Status<'a> {
    fn of(live: &'a Value) -> Self {
        let (spec, status) = (&live["spec"], &live["status"]);
        let current = match (status["observedGeneration"].as_i64(), live["metadata"]["generation"].as_i64()) {
            (Some(observed), Some(generation)) => observed >= generation,
            _ => true,
        };
        Self { spec, reported: status, current }
    }

    /// Whether the controller has observed the latest generation, for kinds that always report it.
    ///
    /// A missing `observedGeneration` means that the controller has observed nothing yet.
    fn spoken(&self) -> bool {
        self.current && self.reported["observedGeneration"].is_i64()
    }

    fn count(&self, name: &str) -> i32 {
        number(&self.reported[name]).unwrap_or(0)
    }

    /// Returns `spec.replicas`, which the API server defaults to one.
    fn wanted(&self) -> i32 {
        number(&self.spec["replicas"]).unwrap_or(1)
    }

    fn condition(&self, name: &str) -> Option<(&'a str, String)> {
        let conditions = self.reported["conditions"].as_array()?;
        let condition = conditions.iter().find(|condition| condition["type"] == name)?;
        let text = |key: &str| condition[key].as_str().filter(|text| !text.is_empty());
        let message = match (text("reason"), text("message")) {
            (Some(reason), Some(message)) => format!("{reason}: {message}"),
            (Some(text), None) | (None, Some(text)) => text.to_owned(),
            (None, None) => name.to_owned(),
        };
        Some((condition["status"].as_str().unwrap_or("Unknown"), message))
    }

    fn message_where(&self, name: &str, value: &str) -> Option<String> {
        self.condition(name).filter(|(status, _)| *status == value).map(|(_, message)| message)
    }
}

/// Returns a number of pods as reported, limited to 0 … `COUNT_MAX`.
///
/// Sums over a thousand cells then stay within `i32`, whatever a member's own controllers report.
fn number(value: &Value) -> Option<i32> {
    value.as_i64().and_then(|n| i32::try_from(n.clamp(0, COUNT_MAX)).ok())
}

/// Maximum number of pods that is counted for one object.
const COUNT_MAX: i64 = 1_000_000;

fn deployment(status: &Status<'_>) -> Observed {
    let (replicas, updated, available) =
        (status.count("replicas"), status.count("updatedReplicas"), status.count("availableReplicas"));
    let current = status.spoken();
    let complete = current && updated == status.wanted() && replicas == updated && available >= updated;
    let paused = (status.spec["paused"] == true && !complete)
        .then(|| "spec.paused is true, so its controller replaces no pods; remove it from the template".to_owned());
    Observed {
        replicas,
        ready: status.count("readyReplicas"),
        available,
        updated,
        observed_generation_current: current,
        complete,
        message: status
            .message_where("ReplicaFailure", "True")
            .or(paused)
            .or_else(|| status.message_where("Progressing", "False")),
    }
}

fn replica_set(status: &Status<'_>) -> Observed {
    let (replicas, available) = (status.count("replicas"), status.count("availableReplicas"));
    let current = status.spoken();
    Observed {
        replicas,
        ready: status.count("readyReplicas"),
        available,
        // The kind does not replace pods of an older template, so all its pods count as updated.
        updated: if current { replicas } else { 0 },
        observed_generation_current: current,
        complete: current && replicas == status.wanted() && available >= replicas,
        message: status.message_where("ReplicaFailure", "True"),
    }
}

fn stateful_set(status: &Status<'_>) -> Observed {
    let wanted = status.wanted();
    let (replicas, updated, available) =
        (status.count("replicas"), status.count("updatedReplicas"), status.count("availableReplicas"));
    let strategy = &status.spec["updateStrategy"];
    let partition = number(&strategy["rollingUpdate"]["partition"]).unwrap_or(0);
    let must_update = if strategy["type"] == "OnDelete" { 0 } else { (wanted - partition).max(0) };
    let current = status.spoken();
    Observed {
        replicas,
        ready: status.count("readyReplicas"),
        available,
        updated,
        observed_generation_current: current,
        complete: current && replicas == wanted && updated >= must_update && available >= wanted,
        message: None,
    }
}

fn daemon_set(status: &Status<'_>) -> Observed {
    let wanted = status.count("desiredNumberScheduled");
    let (updated, available) = (status.count("updatedNumberScheduled"), status.count("numberAvailable"));
    let current = status.spoken();
    let must_update = if status.spec["updateStrategy"]["type"] == "OnDelete" { 0 } else { wanted };
    Observed {
        replicas: status.count("currentNumberScheduled"),
        ready: status.count("numberReady"),
        available,
        updated,
        observed_generation_current: current,
        complete: current && updated >= must_update && available >= wanted,
        message: None,
    }
}

fn job(status: &Status<'_>) -> Observed {
    let (active, ready) = (status.count("active"), status.count("ready"));
    Observed {
        replicas: active,
        ready,
        available: ready,
        updated: active,
        observed_generation_current: true,
        // A suspended Job is complete when none of its pods run.
        complete: status.message_where("Complete", "True").is_some() || status.spec["suspend"] == true && active == 0,
        message: status.message_where("Failed", "True"),
    }
}

/// Reads a claim, which is complete unless its volume is lost.
///
/// A claim may wait for its first pod, so waiting for the claim before delivering pods could last for ever.
fn claim(status: &Status<'_>) -> Observed {
    let lost = status.reported["phase"] == "Lost";
    let message = match status.reported["phase"].as_str() {
        Some("Lost") => Some("its PersistentVolume is gone".to_owned()),
        Some("Pending") => Some("no volume is bound to the claim yet".to_owned()),
        _ => None,
    };
    Observed { complete: !lost, message, ..exists() }
}

/// Reads the conventions that other controllers follow.
///
/// These are `observedGeneration`, the conditions Stalled, Reconciling and Ready, and the counts of the scale
/// subresource.
fn by_convention(status: &Status<'_>) -> Observed {
    let replicas = status.count("replicas");
    let ready = number(&status.reported["readyReplicas"]);
    let available = number(&status.reported["availableReplicas"]).or(ready);
    let updated = number(&status.reported["updatedReplicas"]).unwrap_or(if status.current { replicas } else { 0 });
    let enough = match number(&status.spec["replicas"]) {
        Some(wanted) if status.reported["replicas"].is_i64() || available.is_some() => {
            available.unwrap_or(replicas) >= wanted && updated >= wanted
        }
        _ => true,
    };
    let stalled = status.message_where("Stalled", "True");
    let working = status.message_where("Reconciling", "True").is_some();
    let not_ready = status.condition("Ready").filter(|(value, _)| *value != "True").map(|(_, message)| message);
    Observed {
        replicas,
        ready: ready.unwrap_or(0),
        available: available.unwrap_or(0),
        updated,
        observed_generation_current: status.current,
        complete: status.current && enough && stalled.is_none() && !working && not_ready.is_none(),
        message: stalled.or(not_ready),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn reason_that_pods_do_not_run_is_reported() {
        let paused = json!({"metadata": {"generation": 2}, "spec": {"replicas": 2, "paused": true},
            "status": {"observedGeneration": 2, "replicas": 2, "updatedReplicas": 0, "availableReplicas": 2}});
        let found = observe("apps/v1", "Deployment", &paused);
        assert!(!found.complete && found.message.is_some_and(|message| message.contains("spec.paused is true")));
        let mut done = paused;
        done["status"]["updatedReplicas"] = json!(2);
        let found = observe("apps/v1", "Deployment", &done);
        assert!(found.complete && found.message.is_none(), "paused and as asked: {found:?}");
        for (phase, expected) in [("Bound", None), ("Pending", Some("no volume is bound to the claim yet"))] {
            let found = observe("v1", "PersistentVolumeClaim", &json!({"status": {"phase": phase}}));
            assert_eq!((found.complete, found.message.as_deref()), (true, expected), "{phase}");
        }
    }

    #[test]
    fn suspended_job_is_complete_when_nothing_of_it_runs() {
        for (case, spec, status, complete) in [
            ("finished", json!({}), json!({"conditions": [{"type": "Complete", "status": "True"}]}), true),
            ("runs", json!({}), json!({"active": 1}), false),
            ("suspended and still runs", json!({"suspend": true}), json!({"active": 1}), false),
            ("suspended", json!({"suspend": true}), json!({}), true),
        ] {
            let found = observe("batch/v1", "Job", &json!({"spec": spec, "status": status}));
            assert_eq!(found.complete, complete, "{case}");
        }
    }
}
