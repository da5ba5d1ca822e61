//! Tests of tokens, roles, the audit, and what lists show of operations.

use jiff::{SignedDuration, Timestamp};
use store::{AuditChain, AuditEntry, AuditFilter, LockPlace, NewApiToken, NewRoleBinding, Store};
use testbed::Bed;
use uuid::Uuid;
use vocabulary::OperationId;

fn entry(actor: &str, operation: Option<OperationId>) -> AuditEntry {
    AuditEntry {
        at: Timestamp::now(),
        actor: actor.to_owned(),
        method: "POST".to_owned(),
        path: "/api/v1/operations".to_owned(),
        operation,
        status: 202,
        reason: "a\0test".to_owned(),
        request_id: "r".to_owned(),
    }
}

#[tokio::test]
async fn token_is_kept_with_its_role_until_it_is_revoked() {
    let bed = Bed::builder().start().await.unwrap();
    let store = Store::open(&bed.postgres.url(), 2).unwrap();
    store.migrate().await.unwrap();
    let new = NewApiToken {
        id: Uuid::now_v7(),
        name: "pipeline".to_owned(),
        subject_kind: "token".to_owned(),
        subject: "ci".to_owned(),
        secret_hash: vec![7; 32],
        scopes: vec!["deployer".to_owned()],
        expires_at: Timestamp::now() + SignedDuration::from_hours(1),
        created_by: "test".to_owned(),
    };
    let binding = NewRoleBinding {
        subject_kind: "token".to_owned(),
        subject: "ci".to_owned(),
        role: "deployer".to_owned(),
        namespace: Some("shop".to_owned()),
        created_by: "test".to_owned(),
    };
    store.api_token_insert(&new, Some(&binding)).await.unwrap();
    // The same role again changes nothing; the same role everywhere is another binding.
    store.role_binding_insert(&binding).await.unwrap();
    store.role_binding_insert(&NewRoleBinding { namespace: None, ..binding.clone() }).await.unwrap();
    let bindings = store.role_binding_list().await.unwrap();
    let places: Vec<Option<&str>> = bindings.iter().map(|row| row.namespace.as_deref()).collect();
    assert_eq!(places, [Some("shop"), None]);
    assert!(store.role_binding_delete(bindings[0].id).await.unwrap());
    assert!(!store.role_binding_delete(bindings[0].id).await.unwrap());

    let row = store.api_token_get(new.id).await.unwrap().unwrap();
    assert_eq!((&row.secret_hash, &row.scopes, row.revoked_at), (&new.secret_hash, &new.scopes, None));
    assert!(store.api_token_revoke(new.id, "test").await.unwrap());
    assert!(!store.api_token_revoke(new.id, "test").await.unwrap(), "it was revoked before");
    assert!(store.api_token_list().await.unwrap()[0].revoked_at.is_some());
    store.close().await;
}

#[tokio::test]
async fn audit_is_a_chain_for_each_writer_and_append_only() {
    let bed = Bed::builder().start().await.unwrap();
    let store = Store::open(&bed.postgres.url(), 4).unwrap();
    store.migrate().await.unwrap();
    let operation = OperationId::generate();
    let (one, other) = (AuditChain::default(), AuditChain::default());
    // Requests of one writer end at the same time.
    let writes = (0..10).map(|number| {
        let (store, one) = (&store, &one);
        async move {
            let entry = entry("token/ci", (number == 3).then_some(operation));
            store.audit_append(one, &entry).await.unwrap();
        }
    });
    futures::future::join_all(writes).await;
    store.audit_append(&other, &entry("person/ann", None)).await.unwrap();

    let all = store.audit_page(&AuditFilter::default(), 100).await.unwrap();
    assert_eq!(all.len(), 11);
    assert_eq!(all[0].entry.reason, "atest");
    let chain = all.last().unwrap().chain;
    let (mut seq, mut hash) = (0, Vec::new());
    for row in all.iter().rev().filter(|row| row.chain == chain) {
        assert_eq!((row.seq, &row.hash), (seq + 1, &row.expected_hash(&hash)));
        (seq, hash) = (row.seq, row.hash.clone());
    }
    assert_eq!(seq, 10);
    let filter = AuditFilter { operation: Some(operation), ..AuditFilter::default() };
    assert_eq!(store.audit_page(&filter, 100).await.unwrap().len(), 1);
    let filter = AuditFilter { actor: Some("token/ci".to_owned()), before: Some(all[1].id), operation: None };
    assert_eq!(store.audit_page(&filter, 100).await.unwrap().len(), 9);

    for change in ["update audit set status = 200", "delete from audit"] {
        let error = bed.postgres.query(change).unwrap_err().to_string();
        assert!(error.contains("append-only"), "{change}: {error}");
    }
    store.close().await;
}

#[tokio::test]
async fn operations_are_counted_and_shown_without_owner() {
    let bed = Bed::builder().start().await.unwrap();
    let store = Store::open(&bed.postgres.url(), 2).unwrap();
    store.migrate().await.unwrap();
    let ids = [OperationId::generate(), OperationId::generate()];
    for id in ids {
        bed.postgres
            .query(&format!(
                "insert into operation (id, kind, logic_version, priority, subject, spec, plan, locks, state, phase, actor, \
                 reason, changed_at) values ('{id}', 'wave', 1, 60, 's', '{{}}', '{{\"forward\": [{{\"id\": \"there\", \
                 \"targets\": [\"a\", \"b\", \"c\"]}}], \"revert\": [{{\"id\": \"back\", \"targets\": [\"a\"]}}]}}', '[]', \
                 'Running', 'Forward', 't', '', now() - interval '1 minute')"
            ))
            .unwrap();
        for key in ["cluster/east", "cluster/west"] {
            bed.postgres.query(&format!("insert into lock_scope values ('{key}') on conflict do nothing")).unwrap();
            bed.postgres.query(&format!("insert into scope_lock values ('{key}', '{id}', 'Shared')")).unwrap();
        }
    }
    for (step, target, state) in [("there", "a", "Succeeded"), ("there", "b", "Failed"), ("back", "a", "Intended")] {
        bed.postgres
            .query(&format!(
                "insert into operation_target values ('{}', '{step}', '{target}', '{state}', 0, 0, null, null, '', now())",
                ids[0]
            ))
            .unwrap();
    }
    let counts = store.operation_counts(&ids).await.unwrap();
    let first = counts.iter().find(|(id, _)| *id == ids[0]).unwrap().1;
    assert_eq!((first.total, first.done, first.failed, first.running), (3, 1, 1, 0), "of the present phase alone");
    assert_eq!(counts.len(), 2);

    // A process owns one of the two; the other one changed a moment ago.
    let quiet = SignedDuration::from_secs(15);
    assert_eq!(store.operation_ownerless(&ids, quiet).await.unwrap().len(), 2);
    let lease = format!("insert into lease values ('operation/{}', 'p', 1, now() + interval '1 minute')", ids[0]);
    bed.postgres.query(&lease).unwrap();
    assert_eq!(store.operation_ownerless(&ids, quiet).await.unwrap(), [ids[1]]);
    bed.postgres.query("update operation set changed_at = now()").unwrap();
    assert!(store.operation_ownerless(&ids, quiet).await.unwrap().is_empty());

    // A page that ends within the holders of one key loses none of them.
    let mut after: Option<LockPlace> = None;
    let mut seen = Vec::new();
    while let Some(row) = store.lock_list(after.as_ref(), 1).await.unwrap().pop() {
        after = Some(LockPlace { key: row.key.clone(), operation: row.operation });
        seen.push((row.key, row.operation));
    }
    seen.dedup();
    assert_eq!(seen.len(), 4, "{seen:?}");
    store.close().await;
}
