//! Test fixture: a database in which one application has an object in each of several clusters.

use std::collections::BTreeMap;

use store::{Claim, Keeper, LeaseTimes, PlacementId, Store};
use testbed::Bed;

pub(crate) struct StoredRows {
    pub(crate) bed: Bed,
    pub(crate) store: Store,
    keeper: Keeper,
    /// Placement in each cluster.
    pub(crate) placements: BTreeMap<String, PlacementId>,
}

impl StoredRows {
    pub(crate) async fn begin(clusters: &[&str]) -> Self {
        let bed = Bed::builder().start().await.unwrap();
        let store = Store::open(&bed.postgres.url(), 4).unwrap();
        store.migrate().await.unwrap();
        let keeper = Keeper::start(&bed.postgres.url(), "test".to_owned(), LeaseTimes::default()).unwrap();
        let write = |statement: &str| bed.postgres.query(statement).unwrap();
        write(
            "insert into application (namespace, name, hub_uid, object_uid, generation, spec_hash, intent, revision)
             values ('shop', 'web', 'hub', 'object', 1, decode(repeat('07', 16), 'hex'), '{}', decode(repeat('07', 16), 'hex'))",
        );
        for cluster in clusters {
            write(&format!(
                "insert into cluster (name, object_uid, member_uid, generation, labels, spec)
                 values ('{cluster}', '{cluster}', '{cluster}', 1, '{{}}', '{{}}');
                 insert into placement (app, component, cell, cluster, api_version, kind, namespace, object_name, rank,
                   divided, target, floor, plan_epoch, revision, wish)
                 select id, 'web', '{cluster}', '{cluster}', 'apps/v1', 'Deployment', 'shop', 'web', 0, true, 1, 0, 1,
                   decode(repeat('07', 16), 'hex'), 'Present' from application"
            ));
        }
        let mut placements = BTreeMap::new();
        for cluster in clusters {
            let rows = store.placement_in_cluster(cluster).await.unwrap();
            placements.insert((*cluster).to_owned(), rows[0].id);
        }
        Self { bed, store, keeper, placements }
    }

    /// Acquires the claim on delivery to a cluster.
    pub(crate) async fn claim(&self, cluster: &str) -> Claim {
        self.keeper.want(&format!("deliver/{cluster}")).begin().await.unwrap()
    }

    pub(crate) async fn end(self) {
        self.store.close().await;
        self.keeper.release().await;
    }
}
