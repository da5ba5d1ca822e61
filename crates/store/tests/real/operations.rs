//! Tests of operations: versions, keys, locks and the journal.

use jiff::Timestamp;
use serde_json::json;
use store::{
    IdempotencyKey, JournalEntry, Keeper, LeaseTimes, LockChange, LockRow, NewOperation, OperationChange,
    OperationCommitted, OperationHeader, OperationInserted, Store, StoreError,
};
use testbed::Bed;
use vocabulary::OperationId;

use crate::rows::claim;

fn lock(key: &str, mode: &str) -> LockRow {
    LockRow { key: key.to_owned(), mode: mode.to_owned() }
}

fn entry(entry: &'static str, body: &str) -> JournalEntry {
    JournalEntry {
        entry,
        step: None,
        target: None,
        round: None,
        attempt: None,
        body: body.to_owned(),
        actor: "ann".to_owned(),
        at: Timestamp::now(),
    }
}

fn operation(priority: i16, locks: &[LockRow]) -> NewOperation {
    NewOperation {
        id: OperationId::generate(),
        kind: "release".to_owned(),
        logic_version: 1,
        priority,
        subject: "application shop/web".to_owned(),
        spec: json!({}),
        plan: json!({}),
        locks: locks.to_vec(),
        state: "AwaitingLocks",
        actor: "ann".to_owned(),
        reason: "a test".to_owned(),
        entry: entry("Created", "{}"),
    }
}

fn change(state: &'static str, locks: LockChange) -> OperationChange {
    let is_over = state == "Succeeded";
    let header = OperationHeader { state, is_over, phase: "Forward", pause: None, marks: json!({}) };
    OperationChange { header, targets: Vec::new(), entries: vec![entry("State", "{}")], locks, key: None }
}

async fn held(store: &Store) -> Vec<(String, OperationId)> {
    store.lock_list(None, 100).await.unwrap().into_iter().map(|lock| (lock.key, lock.operation)).collect()
}

#[tokio::test]
async fn one_of_many_changes_of_a_version_is_written() {
    let bed = Bed::builder().start().await.unwrap();
    let store = Store::open(&bed.postgres.url(), 8).unwrap();
    store.migrate().await.unwrap();
    let keeper = Keeper::start(&bed.postgres.url(), "test".to_owned(), LeaseTimes::default()).unwrap();
    let new = operation(30, &[]);
    assert_eq!(store.operation_insert(&new, None).await.unwrap(), OperationInserted::Created);
    assert_eq!(store.operation_insert(&new, None).await.unwrap(), OperationInserted::Existing(new.id));

    let running = change("Running", LockChange::Keep);
    let commits = (0..16).map(|_| store.operation_commit(None, new.id, 1, &running));
    let results = futures::future::join_all(commits).await;
    let written = results.iter().filter(|result| matches!(result, Ok(OperationCommitted::Written(2)))).count();
    let outdated = results.iter().filter(|result| matches!(result, Ok(OperationCommitted::Outdated))).count();
    assert_eq!((written, outdated), (1, 15));
    assert_eq!(store.journal_head(new.id).await.unwrap().unwrap().seq, 2, "one change has one entry");

    // A claim that does not hold writes nothing, whatever the version.
    let own = claim(&keeper, "operation/one").await;
    let late = store::Claim { epoch: own.epoch + 1, ..own.clone() };
    let refused = store.operation_commit(Some(&late), new.id, 2, &running).await;
    assert!(matches!(refused, Err(StoreError::Fenced { .. })), "{refused:?}");
    let over = change("Succeeded", LockChange::Release);
    assert_eq!(store.operation_commit(Some(&own), new.id, 2, &over).await.unwrap(), OperationCommitted::Written(3));
    let missing = store.operation_commit(None, OperationId::generate(), 1, &over).await.unwrap();
    assert_eq!(missing, OperationCommitted::Outdated);
    let row = store.operation_get(new.id).await.unwrap().unwrap();
    assert!(row.started_at.is_some() && row.ended_at.is_some());

    // An intent is stored once.
    let mut intent = change("Running", LockChange::Keep);
    let numbered = JournalEntry { round: Some(0), attempt: Some(0), ..entry("Intent", "{}") };
    let numbered = JournalEntry { step: Some("a".to_owned()), target: Some("x".to_owned()), ..numbered };
    intent.entries = vec![numbered];
    assert_eq!(store.operation_commit(None, new.id, 3, &intent).await.unwrap(), OperationCommitted::Written(4));
    let twice = store.operation_commit(None, new.id, 4, &intent).await;
    assert!(matches!(twice, Err(StoreError::Refused(_))), "{twice:?}");
    store.close().await;
    keeper.release().await;
}

#[tokio::test]
async fn one_key_gives_one_operation_however_often_it_is_sent() {
    let bed = Bed::builder().start().await.unwrap();
    let store = Store::open(&bed.postgres.url(), 16).unwrap();
    store.migrate().await.unwrap();
    let key = |body: u8| IdempotencyKey {
        actor: "ann".to_owned(),
        method: "POST".to_owned(),
        path: "/operations".to_owned(),
        key: "one".to_owned(),
        body_hash: vec![body],
    };
    let locks = [lock("cluster/east", "Exclusive")];
    let requests = (0..50).map(|_| {
        let store = &store;
        let (new, key) = (operation(30, &locks), key(1));
        async move { store.operation_insert(&new, Some(&key)).await.unwrap() }
    });
    let results = futures::future::join_all(requests).await;
    let created = results.iter().filter(|result| **result == OperationInserted::Created).count();
    let existing: std::collections::HashSet<_> = results
        .iter()
        .filter_map(|result| if let OperationInserted::Existing(id) = result { Some(*id) } else { None })
        .collect();
    assert_eq!((created, existing.len()), (1, 1), "{results:?}");
    let known = store.operation_by_key(&key(1)).await.unwrap().unwrap().operation.id;
    assert!(existing.contains(&known));
    let other = store.operation_insert(&operation(30, &locks), Some(&key(2))).await.unwrap();
    assert_eq!(other, OperationInserted::KeyReused(known));

    // Inserts of one derived id at the same time give one operation as well.
    let derived = NewOperation { id: OperationId::derived("revision 7"), ..operation(30, &[]) };
    let results = futures::future::join_all((0..16).map(|_| store.operation_insert(&derived, None))).await;
    let created = results.iter().filter(|result| matches!(result, Ok(OperationInserted::Created))).count();
    let existing = results.iter().filter(|result| matches!(result, Ok(OperationInserted::Existing(_)))).count();
    assert_eq!((created, existing), (1, 15), "{results:?}");
    store.close().await;
}

#[tokio::test]
async fn locks_are_taken_all_or_none_and_shared_ones_together() {
    let bed = Bed::builder().start().await.unwrap();
    let store = Store::open(&bed.postgres.url(), 16).unwrap();
    store.migrate().await.unwrap();
    let insert = |priority: i16, locks: &[LockRow]| {
        let (store, new) = (store.clone(), operation(priority, locks));
        async move { (new.id, store.operation_insert(&new, None).await.unwrap()) }
    };
    let (shared, exclusive) = (|key| lock(key, "Shared"), |key| lock(key, "Exclusive"));

    // Shared locks go together; an exclusive one beside them is refused, with all others of its operation.
    let (first, _) = insert(30, &[shared("cell/a"), exclusive("app/shop/one")]).await;
    let (second, _) = insert(30, &[shared("cell/a"), exclusive("app/shop/two")]).await;
    let (_, refused) = insert(30, &[exclusive("app/shop/free"), exclusive("cell/a")]).await;
    let OperationInserted::Locked(holders) = refused else { panic!("{refused:?}") };
    let ids: Vec<OperationId> = holders.iter().map(|holder| holder.operation).collect();
    assert_eq!(ids.len(), 2);
    assert!(ids.contains(&first) && ids.contains(&second));
    assert_eq!(held(&store).await.len(), 4, "nothing of the refused one is taken");
    // A key that is wanted in both modes is taken exclusively.
    let (both, created) = insert(30, &[shared("cell/b"), exclusive("cell/b")]).await;
    assert_eq!(created, OperationInserted::Created);
    let mode = store.lock_list(None, 100).await.unwrap().into_iter().find(|lock| lock.operation == both).unwrap().mode;
    assert_eq!(mode, "Exclusive");

    // Takers at the same time, with their keys in different orders: one has both, and none waits for another.
    let mut takers = Vec::new();
    for number in 0..16 {
        let mut locks = vec![exclusive("zone/r/x"), exclusive("zone/r/y")];
        locks.rotate_left(number % 2);
        takers.push(insert(30, &locks));
    }
    let results = futures::future::join_all(takers).await;
    let created = results.iter().filter(|(_, result)| *result == OperationInserted::Created).count();
    let locked = results.iter().filter(|(_, result)| matches!(result, OperationInserted::Locked(_))).count();
    assert_eq!((created, locked), (1, 15));
    store.close().await;
}

#[tokio::test]
async fn lock_goes_to_the_waiting_operation_of_higher_priority() {
    let bed = Bed::builder().start().await.unwrap();
    let store = Store::open(&bed.postgres.url(), 4).unwrap();
    store.migrate().await.unwrap();
    let locks = [lock("cluster/east", "Exclusive")];
    let (low, high) = (operation(30, &locks), operation(60, &locks));
    store.operation_insert(&low, None).await.unwrap();
    let take = |id, version| {
        let store = store.clone();
        async move { store.operation_commit(None, id, version, &change("Running", LockChange::Take)).await.unwrap() }
    };
    assert_eq!(take(low.id, 1).await, OperationCommitted::Written(2));
    // An operation of higher priority is created, and waits.
    assert_eq!(store.operation_insert(&high, None).await.unwrap(), OperationInserted::Created);
    let waits = take(high.id, 1).await;
    assert!(matches!(waits, OperationCommitted::Locked(ref held) if held[0].operation == low.id), "{waits:?}");

    // The lower one cedes, and looks for the lock again before the higher one does.
    let cedes = change("AwaitingLocks", LockChange::Release);
    assert_eq!(store.operation_commit(None, low.id, 2, &cedes).await.unwrap(), OperationCommitted::Written(3));
    let waits = take(low.id, 3).await;
    assert!(matches!(waits, OperationCommitted::Locked(ref held) if held[0].operation == high.id), "{waits:?}");
    // A new one of lower priority is refused, although the lock is free.
    let refused = store.operation_insert(&operation(30, &locks), None).await.unwrap();
    assert!(matches!(refused, OperationInserted::Locked(ref held) if held[0].operation == high.id), "{refused:?}");
    assert_eq!(take(high.id, 1).await, OperationCommitted::Written(2));
    let over = change("Succeeded", LockChange::Release);
    store.operation_commit(None, high.id, 2, &over).await.unwrap();
    assert_eq!(take(low.id, 3).await, OperationCommitted::Written(4));
    store.close().await;
}
