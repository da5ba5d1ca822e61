//! The chain of hashes of a journal.

use domain::operation::{EffectClass, State};
use flow::testing::Process;
use flow::testing::kinds::{FixedKind, SET, Targets, step};
use flow::verify;
use store::Store;
use testbed::Bed;

use crate::bench::{kinds, request};

#[tokio::test]
async fn changed_and_missing_journal_entries_are_found() {
    let bed = Bed::builder().start().await.unwrap();
    let store = Store::open(&bed.postgres.url(), 4).unwrap();
    store.migrate().await.unwrap();
    let targets = Targets::with_goal(&["a"]);
    let kind = FixedKind::new("set", vec![step("only", SET, EffectClass::Absolute, &["a"])], &targets);
    let process = Process::start(&bed.postgres.url(), "one", kinds(&[&kind])).unwrap();
    let id = request(&process, "set").await.unwrap();
    testbed::eventually("it ends", crate::bench::SOON, async || {
        let row = store.operation_get(id).await.unwrap().unwrap();
        Ok((row.state == State::Succeeded.as_str()).then_some(()))
    })
    .await
    .unwrap();
    let (entries, broken) = verify(&store, id).await.unwrap();
    assert!(entries >= 5 && broken.is_none(), "{entries} {broken:?}");

    let change = |sql: &str| bed.postgres.query(&sql.replace("$id", &format!("'{id}'")));
    let refused = change("UPDATE journal SET actor = 'eve' WHERE operation = $id").unwrap_err().to_string();
    assert!(refused.contains("append-only"), "{refused}");

    // Someone with all rights removes the trigger, and puts every change back afterwards.
    change("ALTER TABLE journal DISABLE TRIGGER journal_is_append_only").unwrap();
    change("CREATE TABLE kept AS SELECT * FROM journal").unwrap();
    change("CREATE TABLE kept_operation AS SELECT id, journal_hash FROM operation").unwrap();
    for (case, sql, seq) in [
        ("the actor", "UPDATE journal SET actor = 'eve' WHERE operation = $id AND seq = 1", 1),
        ("the body", "UPDATE journal SET body = body || ' ' WHERE operation = $id AND seq = 3", 3),
        ("the time", "UPDATE journal SET at = at + interval '1 microsecond' WHERE operation = $id AND seq = 2", 2),
        ("the hash", "UPDATE journal SET hash = '\\x00' WHERE operation = $id AND seq = 2", 2),
        ("an entry in the middle", "DELETE FROM journal WHERE operation = $id AND seq = 3", 4),
        ("the first entry", "DELETE FROM journal WHERE operation = $id AND seq = 1", 2),
        ("the tail", "DELETE FROM journal WHERE operation = $id AND seq > 3", 4),
        ("all", "DELETE FROM journal WHERE operation = $id", 1),
        ("another last hash", "UPDATE operation SET journal_hash = '\\x00' WHERE id = $id", entries),
    ] {
        change(sql).unwrap();
        let (_, broken) = verify(&store, id).await.unwrap();
        assert_eq!(broken.map(|broken| broken.seq), Some(seq), "{case}");
        change("DELETE FROM journal").unwrap();
        change("INSERT INTO journal SELECT * FROM kept").unwrap();
        change("UPDATE operation o SET journal_hash = k.journal_hash FROM kept_operation k WHERE k.id = o.id").unwrap();
        assert_eq!(verify(&store, id).await.unwrap(), (entries, None), "{case} was put back");
    }
    process.stop().await;
    store.close().await;
}
