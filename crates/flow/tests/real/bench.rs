//! A database for a test, and operations in it.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use domain::operation::{Control, Key, Run, State, Verb};
use flow::testing::Process;
use flow::testing::kinds::FixedKind;
use flow::{ControlRequest, CreateError, Kind, Kinds, Request, control, create, load};
use serde_json::json;
use store::{OperationRow, Store};
use testbed::{Bed, eventually};
use tokio::sync::Mutex;
use vocabulary::OperationId;

/// Maximum duration of what a busy machine does in much less.
pub(crate) const SOON: Duration = Duration::from_secs(30);

/// The server that tests share while they run at the same time.
static SHARED: Mutex<Weak<Bed>> = Mutex::const_new(Weak::new());
static DATABASES: AtomicUsize = AtomicUsize::new(0);

/// An empty database with the schema.
pub(crate) struct Database {
    bed: Arc<Bed>,
    pub(crate) url: String,
    pub(crate) store: Store,
}

pub(crate) async fn database() -> Database {
    let bed = {
        let mut shared = SHARED.lock().await;
        if let Some(bed) = shared.upgrade() {
            bed
        } else {
            let bed = Arc::new(Bed::builder().start().await.unwrap());
            *shared = Arc::downgrade(&bed);
            bed
        }
    };
    let name = format!("flow_{}", DATABASES.fetch_add(1, Ordering::Relaxed));
    bed.postgres.create_database(&name).unwrap();
    let url = bed.postgres.database_url(&name);
    let store = Store::open(&url, 4).unwrap();
    store.migrate().await.unwrap();
    Database { bed, url, store }
}

pub(crate) fn kinds(kinds: &[&FixedKind]) -> Kinds {
    Kinds::new(kinds.iter().map(|kind| Arc::new((*kind).clone()) as Arc<dyn Kind>))
}

impl Database {
    pub(crate) fn process(&self, holder: &str, known: &[&FixedKind]) -> Process {
        Process::start(&self.url, holder, kinds(known)).unwrap()
    }

    pub(crate) async fn run(&self, id: OperationId) -> Run {
        load(&self.store, id).await.unwrap().1
    }

    /// Waits until the operation is as wanted.
    pub(crate) async fn until(&self, what: &str, id: OperationId, is_wanted: impl Fn(&Run) -> bool) -> Run {
        eventually(what, SOON, async || {
            let run = self.run(id).await;
            if is_wanted(&run) { Ok(Some(run)) } else { anyhow_none(&run) }
        })
        .await
        .unwrap()
    }

    pub(crate) async fn until_state(&self, id: OperationId, state: State) -> Run {
        self.until(state.as_str(), id, |run| run.state == state).await
    }

    /// Number of transactions that ended in this database so far.
    pub(crate) fn transactions(&self) -> u64 {
        let name = self.url.rsplit('/').next().unwrap();
        let sql = format!("SELECT xact_commit + xact_rollback FROM pg_stat_database WHERE datname = '{name}'");
        self.bed.postgres.query(&sql).unwrap().parse().unwrap()
    }

    pub(crate) async fn row(&self, id: OperationId) -> OperationRow {
        self.store.operation_get(id).await.unwrap().unwrap()
    }
}

/// Reports a run that is not as wanted yet.
fn anyhow_none(run: &Run) -> Result<Option<Run>, anyhow::Error> {
    Err(anyhow::anyhow!("{:?} {:?} {:?}", run.state, run.pause, run.targets))
}

/// Requests an operation of this kind in this process.
pub(crate) async fn request(process: &Process, kind: &str) -> Result<OperationId, CreateError> {
    let request = Request {
        id: OperationId::generate(),
        kind: kind.to_owned(),
        spec: json!({}),
        actor: "ann".to_owned(),
        reason: "a test".to_owned(),
        starts: true,
        key: None,
    };
    create(&process.store, &process.hints, &process.kinds, request).await.map(|created| created.operation.id)
}

/// Uses a verb in this process, with a reason.
pub(crate) async fn verb(process: &Process, id: OperationId, verb: Verb, step: Option<&str>) -> OperationRow {
    let asked = Control {
        verb,
        step: step.map(str::to_owned),
        target: None,
        actor: "eve".to_owned(),
        reason: Some("a test".to_owned()),
    };
    control(&process.store, &process.hints, &ControlRequest { operation: id, control: asked, key: None }).await.unwrap()
}

pub(crate) fn key(step: &str, target: &str) -> Key {
    Key { step: step.to_owned(), target: target.to_owned() }
}
