//! Enforces namespaces that a cluster denies, also for rows stored before the denial. Pure.

use domain::tenancy::{Tenancy, protected_denial};
use domain::topology::Topology;

use crate::decide::failure::ActError;
use crate::observe::entry::Entry;

/// Returns an error when the namespace of an object must not be written.
pub(crate) fn refuse_write(topology: &Topology, entry: &Entry) -> Result<(), ActError> {
    let namespace = &entry.row.object.namespace;
    let cluster = topology.clusters.get(entry.row.cluster.as_str());
    let denial = match cluster {
        Some(cluster) => cluster.tenancy.namespace_denial(namespace),
        None => Tenancy::default().namespace_denial(namespace),
    };
    denial.map_or(Ok(()), |denial| Err(ActError::Refused(denial)))
}

/// Returns why an object that should be deleted or released is left alone.
///
/// Objects in a namespace that a Cluster denied later are still removed. Namespaces of Kubernetes and Meridian are
/// never touched: an Application could otherwise delete Meridian's own account in a member.
pub(crate) fn left_alone(entry: &Entry) -> Option<String> {
    protected_denial(&entry.row.object.namespace).map(|denial| format!("{} stays as it is: {denial}", entry.row.object))
}

#[cfg(test)]
mod tests {
    use domain::stored_topology::{StoredCluster, topology_from_rows};
    use jiff::Timestamp;
    use serde_json::json;
    use store::{DesiredState, PlacementRow, StatusRow};
    use vocabulary::{ContentHash, ObjectKey};

    use super::*;

    fn entry(namespace: &str) -> Entry {
        let row = PlacementRow {
            id: 7.into(),
            app: 1.into(),
            component: "account".to_owned(),
            cell: "east".to_owned(),
            slot: store::Slot::Main,
            cluster: "east".to_owned(),
            object: ObjectKey {
                api_version: "v1".to_owned(),
                kind: "ServiceAccount".to_owned(),
                namespace: namespace.to_owned(),
                name: "meridian".to_owned(),
            },
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
        Entry {
            row,
            status: StatusRow::unknown(7.into(), Timestamp::UNIX_EPOCH),
            applied_fields: None,
            pod: None,
            app_name: None,
        }
    }

    fn topology(namespaces: &serde_json::Value) -> Topology {
        let cluster = StoredCluster {
            name: "east".to_owned(),
            labels: json!({}),
            spec: json!({
                "region": "r", "zones": ["z"], "uid": "u", "connection": {"server": "https://east:6443"}, "namespaces": namespaces,
            }),
            leaving: false,
            health: None,
            kinds: json!([]),
            capacity: json!([]),
        };
        topology_from_rows(vec![cluster], Vec::new()).0
    }

    #[test]
    fn denied_namespace_is_not_written_nor_a_protected_one_deleted() {
        let (open, closed) = (topology(&json!({})), topology(&json!({"deny": ["shop"]})));
        for (case, topology, namespace, refused, alone) in [
            ("open", &open, "shop", false, false),
            ("denied by the Cluster", &closed, "shop", true, false),
            ("a cluster that is not known", &Topology::default(), "shop", false, false),
            ("of Meridian", &open, "meridian-system", true, true),
            ("of Kubernetes", &open, "kube-system", true, true),
            ("protected where the cluster is not known", &Topology::default(), "kube-system", true, true),
        ] {
            let entry = entry(namespace);
            assert_eq!(refuse_write(topology, &entry).is_err(), refused, "{case}");
            assert_eq!(left_alone(&entry).is_some(), alone, "{case}");
        }
    }
}
