//! Checks how statements of this crate are planned while their tables are empty.
//!
//! Such a plan may stay until the tables are large (docs/decisions/0006).

use std::fmt::Write as _;
use std::path::Path;

use serde::Deserialize;
use serde_json::Value;
use sqlx::{AssertSqlSafe, Connection, Row};
use testbed::Bed;

/// Tables with a row or more for each application or operation, and directives.
const LARGE: [&str; 16] = [
    "app_revision",
    "application",
    "application_release",
    "cell_decision",
    "decision_log",
    "delete_window",
    "forgotten_application",
    "journal",
    "operation",
    "operation_target",
    "payload",
    "placement",
    "placement_directive",
    "placement_status",
    "reservation",
    "scope_lock",
];

/// Indexes that cover few rows of a large table.
const PARTIAL: [&str; 5] = [
    "application_blocked",
    "application_release_open",
    "application_releases",
    "application_short",
    "operation_active",
];

/// Beginnings of statements that read more of a large table than their answer, on purpose.
const ON_PURPOSE: [&str; 11] = [
    // This statement reads rows by id, and then compares their epoch with the epoch that was read.
    "UPDATE placement p SET component",
    // Each round over all applications reads all ids and names, and all times until failover.
    "SELECT id, namespace, name FROM application ORDER BY id",
    "SELECT DISTINCT (intent ->> 'failoverAfter')",
    // Deleting a Cell reads all placements of its cluster.
    "UPDATE cell c SET spec = NULL",
    // A page of operations, the newest first, ends after its rows.
    "SELECT id, kind, logic_version, priority, subject, spec, state",
    // A cluster or a cell is forgotten seldom; its directives go with it.
    "DELETE FROM placement_directive WHERE scope -> 'Cell'",
    "DELETE FROM placement_directive WHERE scope -> 'Cluster'",
    // Holders of few locks, without the operation that asks.
    "WITH wanted AS ( SELECT key, mode",
    // These statements compute sums over the fleet.
    "WITH sums AS MATERIALIZED",
    "SELECT cluster, count(*)",
    "SELECT cluster, count(DISTINCT app)",
];

/// Description of a statement, as `sqlx` stores it.
#[derive(Deserialize)]
struct Kept {
    query: String,
    describe: Describe,
}

#[derive(Deserialize)]
struct Describe {
    parameters: Parameters,
}

#[derive(Deserialize)]
struct Parameters {
    #[serde(rename = "Left")]
    left: Vec<Value>,
}

/// Returns all statements of this crate, with the number of their parameters.
fn statements() -> Vec<(String, usize)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.sqlx");
    let mut found: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|file| serde_json::from_slice::<Kept>(&std::fs::read(file.unwrap().path()).unwrap()).unwrap())
        .filter(|kept| {
            ["SELECT", "WITH", "INSERT", "UPDATE", "DELETE"].iter().any(|word| kept.query.trim().starts_with(word))
        })
        .map(|kept| (kept.query.trim().to_owned(), kept.describe.parameters.left.len()))
        .collect();
    found.sort();
    found
}

/// Visits all nodes of a plan from its root.
fn nodes(plan: &Value, visit: &mut impl FnMut(&Value)) {
    visit(plan);
    for below in plan["Plans"].as_array().into_iter().flatten() {
        nodes(below, visit);
    }
}

/// Returns the reasons why a plan costs more than its answer.
fn faults(plan: &Value) -> Vec<String> {
    let mut found = Vec::new();
    nodes(plan, &mut |node| {
        let text = |field: &str| node[field].as_str().unwrap_or_default();
        let (kind, table) = (text("Node Type"), text("Relation Name"));
        if !LARGE.contains(&table) || !kind.contains("Scan") {
            return;
        }
        let keyed = match kind {
            // The key is in the index scan below this node.
            "Bitmap Heap Scan" => "Recheck Cond",
            _ => "Index Cond",
        };
        // A partial index of exactly the wanted rows needs no key.
        if node[keyed].is_null() && !PARTIAL.contains(&text("Index Name")) {
            found.push(format!("{kind} reads all of {table}"));
        }
        // A key in a filter is compared row by row: no index was used for it.
        if text("Filter").contains(" = ") {
            found.push(format!("{kind} of {table} compares row by row: {}", text("Filter")));
        }
    });
    found
}

#[tokio::test]
async fn a_plan_made_on_empty_tables_reads_large_ones_by_key() {
    let bed = Bed::builder().start().await.unwrap();
    let store = crate::Store::open(&bed.postgres.url(), 1).unwrap();
    store.migrate().await.unwrap();
    let statements = statements();
    assert!(statements.len() > 50, "only {} statements were found", statements.len());
    let mut report = String::new();
    let mut on_purpose = Vec::new();
    for (statement, parameters) in statements {
        let mut connection = sqlx::PgConnection::connect_with(&store.pool.pool.connect_options()).await.unwrap();
        sqlx::raw_sql(AssertSqlSafe(format!("PREPARE it AS {statement}"))).execute(&mut connection).await.unwrap();
        let values =
            if parameters == 0 { String::new() } else { format!("({})", ["NULL"].repeat(parameters).join(",")) };
        let explain = format!("EXPLAIN (FORMAT JSON) EXECUTE it{values}");
        let answer = sqlx::raw_sql(AssertSqlSafe(explain)).fetch_one(&mut connection).await.unwrap();
        let plan: Value = answer.get(0);
        let line = statement.split_whitespace().collect::<Vec<_>>().join(" ");
        match (faults(&plan[0]["Plan"]), ON_PURPOSE.iter().find(|begins| line.starts_with(**begins))) {
            (faults, None) => faults.iter().for_each(|fault| writeln!(report, "{fault}: {line}").unwrap()),
            (faults, Some(begins)) if faults.is_empty() => writeln!(report, "is no exception: {begins}").unwrap(),
            (_, Some(begins)) => on_purpose.push(*begins),
        }
        connection.close().await.unwrap();
    }
    on_purpose.sort_unstable();
    let mut expected = ON_PURPOSE;
    expected.sort_unstable();
    assert!(report.is_empty(), "{report}");
    assert_eq!(on_purpose, expected, "each exception is one statement");
    store.close().await;
}
