//! Writes the status of an object that this program cannot read.
//!
//! The other fields of its status stay as they are.

use crds::condition::{self, Status, condition};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::{Api, Resource};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::{StatusError, StatusStage};
use crate::hub::{read_as_json, write_status};
use crate::intake::Refusal;

pub(super) async fn show<K>(stage: &StatusStage, api: &Api<K>, name: &str, why: &str) -> Result<(), StatusError>
where
    K: Resource + Clone + std::fmt::Debug + DeserializeOwned,
{
    let Some(object) = read_as_json(&stage.hub, api, name).await? else { return Ok(()) };
    if let Some(status) = status(&object, &Refusal::unreadable(why), Timestamp::now()) {
        write_status(&stage.hub, api, name, &status).await?;
    }
    Ok(())
}

/// Returns the new status, or `None` when it is up to date.
fn status(object: &Value, refusal: &Refusal, now: Timestamp) -> Option<Value> {
    let generation = object["metadata"]["generation"].as_i64();
    let before: Vec<Condition> = serde_json::from_value(object["status"]["conditions"].clone()).unwrap_or_default();
    let make = |type_, status, reason: &str| condition(type_, status, reason, &refusal.message, generation, Time(now));
    let said = vec![
        make(condition::READY, Status::False, refusal.reason),
        make(condition::STALLED, Status::True, "NeedsAPerson"),
    ];
    let mut conditions = condition::merge(&before, said);
    let others = before.iter().filter(|one| ![condition::READY, condition::STALLED].contains(&one.type_.as_str()));
    conditions.extend(others.cloned());
    conditions.sort_by(|a, b| a.type_.cmp(&b.type_));
    if conditions == before {
        return None;
    }
    let mut status = if object["status"].is_object() { object["status"].clone() } else { json!({}) };
    status["conditions"] = json!(conditions);
    Some(status)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_said_once_beside_what_was_said_before() {
        let time = "2026-01-01T00:00:00Z";
        let one = |type_: &str, status: &str| json!({"type": type_, "status": status, "reason": "Fresh", "message": "", "lastTransitionTime": time});
        let mut object = json!({
            "metadata": {"generation": 3},
            "status": {"version": "v1.36.1", "conditions": [one("Ready", "True"), one("Reachable", "True")]},
        });
        let refusal = Refusal::unreadable("unknown field `spec.later`");
        let now = Timestamp::from_second(1_800_000_000).unwrap();
        let shown = status(&object, &refusal, now).unwrap();
        assert_eq!(shown["version"], "v1.36.1");
        let conditions: Vec<(&str, &str)> = shown["conditions"]
            .as_array()
            .unwrap()
            .iter()
            .map(|one| (one["type"].as_str().unwrap(), one["status"].as_str().unwrap()))
            .collect();
        assert_eq!(conditions, [("Reachable", "True"), ("Ready", "False"), ("Stalled", "True")]);
        assert!(shown["conditions"][1]["message"].as_str().unwrap().contains("spec.later"));
        object["status"] = shown;
        assert_eq!(status(&object, &refusal, Timestamp::now()), None);
        object["status"] = Value::Null;
        assert!(status(&object, &refusal, now).is_some());
    }
}
