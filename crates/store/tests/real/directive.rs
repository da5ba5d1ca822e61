//! Directives: written by name, replaced, ended and bounded.

use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use store::seal::EnvelopeKey;
use store::{Claim, DirectiveRow, Keeper, LeaseTimes, NewDirective, Removal, Store, StoreError};
use testbed::Bed;

use crate::rows::{application, claim};

const OWNER: &str = "drain-east";

struct Database {
    _bed: Bed,
    store: Store,
    keeper: Keeper,
    leader: Claim,
}

impl Database {
    async fn start() -> Self {
        let bed = Bed::builder().start().await.unwrap();
        let store = Store::open(&bed.postgres.url(), 2).unwrap();
        store.migrate().await.unwrap();
        let keeper = Keeper::start(&bed.postgres.url(), "test".to_owned(), LeaseTimes::default()).unwrap();
        let leader = claim(&keeper, "leader").await;
        Self { _bed: bed, store, keeper, leader }
    }

    async fn put(&self, directives: &[NewDirective]) -> Result<(), StoreError> {
        self.store.directive_put(&self.leader, directives).await
    }

    async fn stored(&self) -> Vec<DirectiveRow> {
        self.store.directive_list_of(OWNER).await.unwrap()
    }

    async fn end(self) {
        self.store.close().await;
        self.keeper.release().await;
    }
}

fn drain(key: &str) -> NewDirective {
    NewDirective {
        owner: OWNER.to_owned(),
        key: key.to_owned(),
        scope: json!({"Cluster": {"cluster": "east"}}),
        effect: json!("Drain"),
        app: None,
        reason: "new nodes".to_owned(),
        until: None,
    }
}

#[tokio::test]
async fn directive_is_written_once_replaced_by_name_and_ended() {
    let database = Database::start().await;
    let other = NewDirective { owner: "drain-west".to_owned(), ..drain("a") };
    database.put(&[drain("b"), other, drain("a")]).await.unwrap();
    let first = database.stored().await;
    let keys: Vec<_> = first.iter().map(|row| row.key.as_deref()).collect();
    assert_eq!(keys, [Some("a"), Some("b")]);

    // Equal content changes nothing, and of two with one name the last is written.
    database.put(&[NewDirective { reason: "overruled".to_owned(), ..drain("a") }, drain("a")]).await.unwrap();
    assert_eq!(database.stored().await, first);

    // Another reason is the same directive. Another effect is a new one.
    database.put(&[NewDirective { reason: "newer nodes".to_owned(), ..drain("a") }]).await.unwrap();
    database.put(&[NewDirective { effect: json!("Cordon"), ..drain("b") }]).await.unwrap();
    let [a, b] = <[DirectiveRow; 2]>::try_from(database.stored().await).unwrap();
    assert_eq!((a.id, a.since, a.reason.as_str()), (first[0].id, first[0].since, "newer nodes"));
    assert_eq!((b.id, b.effect), (first[1].id, json!("Cordon")));
    assert!(b.since > first[1].since, "{} > {}", b.since, first[1].since);

    let end =
        async |keys: Option<&[String]>| database.store.directive_end(&database.leader, OWNER, keys).await.unwrap();
    assert_eq!(end(Some(&["a".to_owned(), "z".to_owned()])).await, 1);
    assert_eq!(end(None).await, 1);
    assert_eq!(end(None).await, 0);
    let left = database.store.directive_list().await.unwrap();
    assert_eq!(left.iter().map(|row| row.owner.as_str()).collect::<Vec<_>>(), ["drain-west"]);
    database.end().await;
}

#[tokio::test]
async fn owner_has_at_most_ten_thousand_directives() {
    let database = Database::start().await;
    let all: Vec<NewDirective> = (0..10_000).map(|number| drain(&format!("{number:05}"))).collect();
    database.put(&all).await.unwrap();
    database.put(&all).await.unwrap();
    let refused = database.put(&[drain("one-more")]).await;
    assert!(matches!(refused, Err(StoreError::TooMany { .. })), "{refused:?}");
    database.put(&[NewDirective { owner: "drain-west".to_owned(), ..drain("a") }]).await.unwrap();
    assert_eq!(database.stored().await.len(), 10_000);
    assert_eq!(database.store.directive_end(&database.leader, OWNER, None).await.unwrap(), 10_000);
    database.end().await;
}

#[tokio::test]
async fn directive_ends_by_itself_at_its_time() {
    let database = Database::start().await;
    let after = |seconds| Some(Timestamp::now().checked_add(SignedDuration::from_secs(seconds)).unwrap());
    assert_eq!(database.store.directive_next_end().await.unwrap(), None);
    database.put(&[drain("stays"), NewDirective { until: after(-1), ..drain("ended") }]).await.unwrap();
    assert_eq!(database.store.directive_next_end().await.unwrap(), None);
    database.put(&[NewDirective { until: after(600), ..drain("ends") }]).await.unwrap();
    let left = database.store.directive_next_end().await.unwrap().unwrap().as_secs();
    assert!((590..=600).contains(&left), "{left} s are left");

    let in_force = async || -> Vec<Option<String>> {
        database.store.directive_list().await.unwrap().into_iter().map(|row| row.key).collect()
    };
    assert_eq!(in_force().await, [Some("stays".to_owned()), Some("ends".to_owned())]);
    // A directive that had ended comes into force anew.
    let before = database.stored().await[0].clone();
    database.put(&[NewDirective { until: None, ..drain("ended") }]).await.unwrap();
    let row = database.stored().await[0].clone();
    assert!(row.since > before.since && in_force().await.len() == 3, "{row:?}");
    database.end().await;
}

#[tokio::test]
async fn directive_of_an_application_goes_with_it() {
    let database = Database::start().await;
    let (store, leader) = (&database.store, &database.leader);
    let key = EnvelopeKey::from_hex(&"5a".repeat(32)).unwrap();
    let app = store.application_take(leader, &application("web"), &key).await.unwrap();
    let of_app = NewDirective { app: Some(app), ..drain("of-app") };
    database.put(&[of_app.clone(), drain("of-all")]).await.unwrap();
    assert_eq!(database.stored().await[1].app, Some(app));

    store.application_remove(leader, app, Removal::Delete, None).await.unwrap();
    assert!(store.application_forget(leader, app).await.unwrap());
    // The application is gone: its directive is left out, and the others are written.
    database.put(&[of_app, drain("later")]).await.unwrap();
    let keys: Vec<_> = database.stored().await.into_iter().filter_map(|row| row.key).collect();
    assert_eq!(keys, ["later", "of-all"]);
    database.end().await;
}
