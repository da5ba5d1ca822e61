//! Decides whether an existing object is ours, or may be adopted. Pure.

use std::collections::BTreeSet;

use crds::application::v1alpha1::AdoptPolicy;
use domain::render;
use serde_json::Value;
use vocabulary::labels;

use crate::observe::entry::Entry;

/// Relation of an existing object to the placement that needs its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Ownership {
    /// The object is ours, by its UID or by its labels.
    Ours,
    /// The same Application of the same installation released the object.
    OursAgain,
    /// The object has another owner. It may be adopted because it is identical to the rendered object.
    Identical,
    /// The object has another owner and may be adopted, whatever it contains.
    Taken,
    /// The object must be left as it is, for this reason.
    Refused(String),
}

/// Adoption policy of the component, or else of its Application.
///
/// A service account grants permissions. It is adopted only where its own component asks for `Always`, never because it
/// is identical.
pub(crate) fn effective(entry: &Entry, own: Option<AdoptPolicy>, intent: AdoptPolicy) -> AdoptPolicy {
    match own {
        _ if !is_service_account(entry) => own.unwrap_or(intent),
        Some(AdoptPolicy::Always) => AdoptPolicy::Always,
        _ => AdoptPolicy::Never,
    }
}

fn is_service_account(entry: &Entry) -> bool {
    entry.row.object.kind == "ServiceAccount" && entry.row.object.group().is_empty()
}

/// Decides about the existing object `there`, for Application `app` of this `installation`.
pub(crate) fn ownership(
    entry: &Entry,
    app: &str,
    installation: &str,
    adopt: AdoptPolicy,
    rendered: &Value,
    there: &Value,
) -> Ownership {
    let key = &entry.row.object;
    let metadata = &there["metadata"];
    let text = |map: &str, name: &str| metadata[map].get(name).and_then(Value::as_str);
    let is_known = entry.status.object_uid.as_deref().is_some_and(|uid| metadata["uid"] == uid);
    let other = text("annotations", labels::INSTALLATION).filter(|made_by| *made_by != installation);
    let is_managed = text("labels", labels::MANAGED).is_some();
    if is_known || other.is_none() && is_managed && text("labels", labels::APP) == Some(app) {
        return Ownership::Ours;
    }
    if text("annotations", labels::RELEASED) == Some(released_by(installation, app).as_str()) && !is_managed {
        return Ownership::OursAgain;
    }
    let owner = match other {
        Some(other) => format!("{} of the Meridian installation {other}", owner_of(there)),
        None => owner_of(there),
    };
    match adopt {
        AdoptPolicy::Always => Ownership::Taken,
        _ if is_service_account(entry) => Ownership::Refused(format!(
            "{key} is already there and belongs to {owner}; a service account is taken over only where its component says adopt: Always"
        )),
        AdoptPolicy::Never => Ownership::Refused(format!(
            "{key} is already there and belongs to {owner}; rename the component, remove the object, or set spec.adopt to IfIdentical or Always"
        )),
        AdoptPolicy::IfIdentical => {
            let mut bare = rendered.clone();
            for field in ["labels", "annotations"] {
                if let Some(map) = bare["metadata"].get_mut(field).and_then(Value::as_object_mut) {
                    map.retain(|name, _| !name.starts_with(labels::PREFIX));
                }
            }
            let differences = render::differs(&bare, there);
            if differences.is_empty() {
                return Ownership::Identical;
            }
            Ownership::Refused(format!(
                "{key} is already there, belongs to {owner} and differs in {}; make them equal or set spec.adopt: Always",
                differences.join(", ")
            ))
        }
    }
}

/// Value of the annotation that records the former owner of a released object.
pub(crate) fn released_by(installation: &str, app: &str) -> String {
    format!("{installation}/{app}")
}

fn owner_of(object: &Value) -> String {
    let metadata = &object["metadata"];
    let app = metadata["labels"].get(labels::APP).and_then(Value::as_str);
    if metadata["labels"].get(labels::MANAGED).is_some()
        && let Some(app) = app
    {
        return format!("Application {app}");
    }
    if let Some(owner) = metadata["ownerReferences"].get(0) {
        return format!("{} {}", owner["kind"].as_str().unwrap_or("?"), owner["name"].as_str().unwrap_or("?"));
    }
    let managers: BTreeSet<&str> = metadata["managedFields"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|entry| entry.get("subresource").is_none())
        .filter_map(|entry| entry["manager"].as_str())
        .collect();
    let names: Vec<&str> = managers.into_iter().collect();
    if names.is_empty() { "somebody unnamed".to_owned() } else { format!("field manager {}", names.join(", ")) }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use serde_json::json;
    use store::{DesiredState, PlacementRow, StatusRow};
    use vocabulary::{ContentHash, ObjectKey};

    use super::*;

    fn entry(uid: Option<&str>) -> Entry {
        let object = ObjectKey {
            api_version: "v1".to_owned(),
            kind: "ConfigMap".to_owned(),
            namespace: "shop".to_owned(),
            name: "web".to_owned(),
        };
        let row = PlacementRow {
            id: 7.into(),
            app: 1.into(),
            component: "web".to_owned(),
            cell: "east".to_owned(),
            slot: store::Slot::Main,
            cluster: "east".to_owned(),
            object,
            rank: 0,
            divided: false,
            target: 0,
            floor: 0,
            surge: 0,
            plan_epoch: 1,
            revision: ContentHash::of(b"web"),
            inputs: None,
            desired_state: DesiredState::Present,
        };
        let status =
            StatusRow { object_uid: uid.map(str::to_owned), ..StatusRow::unknown(7.into(), Timestamp::UNIX_EPOCH) };
        Entry { row, status, applied_fields: None, pod: None, app_name: None }
    }

    #[test]
    fn object_is_ours_by_uid_labels_or_where_we_let_it_go() {
        let of_app = |app: &str| json!({ labels::MANAGED: "true", labels::APP: app, labels::COMPONENT: "web" });
        let released = |owner: &str| json!({ labels::RELEASED: owner });
        for (case, uid, labels, annotations, expected) in [
            ("labelled as ours", None, of_app("shop"), json!({}), Some(Ownership::Ours)),
            (
                "labelled as ours by another installation",
                None,
                of_app("shop"),
                json!({ labels::INSTALLATION: "j" }),
                None,
            ),
            ("of another Application, same component", None, of_app("other"), json!({}), None),
            ("known by its UID, without a label", Some("u1"), json!({}), json!({}), Some(Ownership::Ours)),
            ("another object in place of ours", Some("u2"), json!({}), json!({}), None),
            ("let go by us", None, json!({}), released("i/shop"), Some(Ownership::OursAgain)),
            ("let go by another installation", None, json!({}), released("j/shop"), None),
            ("let go by us, and taken by another since", None, of_app("other"), released("i/shop"), None),
        ] {
            let there = json!({ "metadata": { "uid": "u1", "labels": labels, "annotations": annotations } });
            let found = ownership(&entry(uid), "shop", "i", AdoptPolicy::Never, &json!({}), &there);
            match expected {
                Some(expected) => assert_eq!(found, expected, "{case}"),
                None => assert!(matches!(found, Ownership::Refused(_)), "{case}: {found:?}"),
            }
        }
    }

    #[test]
    fn adoption_follows_the_policy_and_names_owner_and_difference() {
        let there = json!({
            "metadata": { "uid": "u", "managedFields": [{ "manager": "kubectl" }] }, "data": { "a": "1" },
        });
        let same = json!({ "metadata": {}, "data": { "a": "1" } });
        let other = json!({ "metadata": {}, "data": { "a": "2" } });
        let judge = |adopt, rendered| ownership(&entry(None), "shop", "i", adopt, rendered, &there);
        assert_eq!(judge(AdoptPolicy::Always, &other), Ownership::Taken);
        assert_eq!(judge(AdoptPolicy::IfIdentical, &same), Ownership::Identical);
        let Ownership::Refused(why) = judge(AdoptPolicy::IfIdentical, &other) else { panic!("it differs") };
        assert!(why.contains("field manager kubectl") && why.contains(".data.a"), "{why}");
        assert!(matches!(judge(AdoptPolicy::Never, &same), Ownership::Refused(_)));
    }
}
