//! Tests of checking the schema.

use store::{Store, StoreError};
use testbed::Bed;

fn refused(checked: Result<(), StoreError>) -> String {
    checked.unwrap_err().to_string()
}

#[tokio::test]
async fn schema_of_another_program_is_refused_with_the_remedy() {
    let bed = Bed::builder().start().await.unwrap();
    let store = Store::open(&bed.postgres.url(), 2).unwrap();
    let message = refused(store.check().await);
    assert!(message.contains("it is empty") && message.contains("migrate"), "{message}");
    store.migrate().await.unwrap();
    store.migrate().await.unwrap();
    store.check().await.unwrap();

    // A later program's migration that only adds. This program then runs `migrate` again.
    bed.postgres.query("INSERT INTO _sqlx_migrations SELECT 9999, 'later', now(), true, 'x', 1").unwrap();
    store.check().await.unwrap();
    store.migrate().await.unwrap();

    // A standby, or a primary that is configured to take no writes.
    bed.postgres.query("ALTER ROLE meridian SET default_transaction_read_only = on").unwrap();
    let other = Store::open(&bed.postgres.url(), 1).unwrap();
    let message = refused(other.check().await);
    assert!(message.contains("takes no writes") && message.contains("primary"), "{message}");
    other.close().await;
    bed.postgres.query("ALTER ROLE meridian RESET default_transaction_read_only").unwrap();

    for (change, expected, remedy) in [
        ("UPDATE schema_range SET oldest_program = 9999", "newer", "run the program"),
        ("UPDATE _sqlx_migrations SET checksum = sha384('other')", "another build's", "empty database"),
        ("DELETE FROM _sqlx_migrations", "older", "migrate"),
    ] {
        bed.postgres.query(change).unwrap();
        let message = refused(store.check().await);
        assert!(message.contains(expected) && message.contains(remedy), "{message}");
    }
    store.close().await;
}
