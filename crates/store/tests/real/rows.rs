//! Rows that the tests start with.

use serde_json::json;
use store::{
    AppId, ApplicationTaken, Claim, ClusterTaken, Committed, DecisionBase, DecisionRow, Keeper, PlacementInsert, Slot,
    Store,
};
use vocabulary::{AppKey, ContentHash, ObjectKey};

pub(crate) async fn claim(keeper: &Keeper, lease: &str) -> Claim {
    keeper.want(lease).begin().await.unwrap()
}

pub(crate) fn cluster(name: &str) -> ClusterTaken {
    ClusterTaken {
        name: name.to_owned(),
        object_uid: format!("object-{name}"),
        member_uid: format!("member-{name}"),
        resource_version: Some(1),
        generation: 1,
        labels: json!({}),
        spec: json!({}),
        removal: None,
        gone: false,
    }
}

pub(crate) fn application(name: &str) -> ApplicationTaken {
    ApplicationTaken {
        key: AppKey { namespace: "shop".to_owned(), name: name.to_owned() },
        hub_uid: "hub".to_owned(),
        object_uid: "object".to_owned(),
        generation: 1,
        spec_hash: ContentHash::of(b"spec"),
        intent: json!({}),
        revision: ContentHash::of(b"{}"),
        payload: b"{}".to_vec(),
        secret: false,
        divided_kind: Some("apps/v1/Deployment".to_owned()),
        rebalance_asked: None,
        delete_confirmed: None,
        accepted: false,
    }
}

/// Commits one decision made from the stored state.
pub(crate) async fn decide(store: &Store, claim: &Claim, app: AppId, fill: impl FnOnce(&mut DecisionRow)) -> Committed {
    let row = store.application_list(&[app]).await.unwrap().remove(0);
    let base = DecisionBase { generation: row.generation, removal: row.removal, version: row.decision_version };
    let mut decision = DecisionRow::unchanged(app, base);
    fill(&mut decision);
    let bookings = store.reservation_sums().await.unwrap().versions;
    store.decision_commit(claim, &[decision], &bookings).await.unwrap()
}

pub(crate) fn deployment(cluster: &str) -> PlacementInsert {
    PlacementInsert {
        component: "web".to_owned(),
        cell: cluster.to_owned(),
        slot: Slot::Main,
        cluster: cluster.to_owned(),
        object: ObjectKey {
            api_version: "apps/v1".to_owned(),
            kind: "Deployment".to_owned(),
            namespace: "shop".to_owned(),
            name: "web".to_owned(),
        },
        rank: 0,
        divided: true,
        target: 1,
        revision: ContentHash::of(b"{}"),
        inputs: None,
    }
}
