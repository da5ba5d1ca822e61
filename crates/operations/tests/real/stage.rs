//! A database with an Application in some cells, an engine, and a stand-in for scheduler and members.

use std::sync::Arc;
use std::time::Duration;

use domain::operation::{Control, Run, State, Verb};
use flow::testing::Process;
use flow::{ControlRequest, Kinds, Request, control, create, load};
use operations::{RELEASE, Release, ReleaseStarter, release_request};
use serde_json::{Value, json};
use store::seal::EnvelopeKey;
use store::{
    AppId, ApplicationTaken, Claim, ClusterTaken, Hints, Keeper, LeaseTimes, ReleaseCandidate, ReleaseRow, Store,
};
use testbed::{Bed, eventually};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use vocabulary::{AppKey, ContentHash, OperationId};

/// Maximum duration of what a busy machine does in much less.
const SOON: Duration = Duration::from_mins(1);

pub(crate) fn old() -> ContentHash {
    ContentHash::of(b"old")
}

pub(crate) fn new() -> ContentHash {
    ContentHash::of(b"new")
}

pub(crate) fn key() -> AppKey {
    AppKey { namespace: "shop".to_owned(), name: "web".to_owned() }
}

/// A cell of the Application.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cell {
    pub(crate) name: &'static str,
    pub(crate) target: i32,
    /// Half of the pair that the cell is.
    pub(crate) half: Option<&'static str>,
}

pub(crate) const fn cell(name: &'static str, target: i32) -> Cell {
    Cell { name, target, half: None }
}

pub(crate) struct Stage {
    pub(crate) store: Store,
    pub(crate) app: AppId,
    /// The engine; `None` while it is stopped.
    process: Option<Process>,
    pub(crate) starter: ReleaseStarter,
    claim: Claim,
    sealing: EnvelopeKey,
    release: Value,
    bed: Arc<Bed>,
    _scheduler: AbortOnDropHandle<()>,
    _keeper: Keeper,
}

impl Stage {
    /// Places the Application at the old revision, with this `spec.release`, and lets it want the new one.
    pub(crate) async fn begin(cells: &[Cell], release: Value) -> Self {
        let bed = Arc::new(Bed::builder().start().await.unwrap());
        let url = bed.postgres.url();
        let store = Store::open(&url, 4).unwrap();
        store.migrate().await.unwrap();
        let keeper = Keeper::start(&url, "leader".to_owned(), LeaseTimes::default()).unwrap();
        let claim = keeper.want("leader").begin().await.unwrap();
        let sealing = EnvelopeKey::from_hex(&"5a".repeat(32)).unwrap();
        let app = store.application_take(&claim, &application(old(), &release, 1), &sealing).await.unwrap();
        for cell in cells {
            declare(&store, &claim, cell).await;
            let (name, target, app) = (cell.name, cell.target, i64::from(app));
            let sql = format!(
                "INSERT INTO cell_decision (app, cell, target, revision) VALUES ({app}, '{name}', {target}, decode('{}', 'hex'))",
                old()
            );
            bed.postgres.query(&sql).unwrap();
            if let Some(half) = cell.half {
                let spec = json!({"cluster": name, "unit": "u1", "unitKind": "G", "pair": half});
                let sql = format!(
                    "INSERT INTO cell (name, spec) VALUES ('{name}', '{spec}') ON CONFLICT (name) DO UPDATE SET spec = excluded.spec"
                );
                bed.postgres.query(&sql).unwrap();
            }
        }
        let kind: Arc<dyn flow::Kind> = Arc::new(Release::new(store.clone(), own_hints(&store)));
        let kinds = Kinds::new([kind]);
        let process = Process::start(&url, "engine", kinds.clone()).unwrap();
        let starter =
            ReleaseStarter { store: store.clone(), hints: process.hints.clone(), kinds, claim: claim.clone() };
        let scheduler = AbortOnDropHandle::new(tokio::spawn(schedule(Arc::clone(&bed))));
        let stage = Self {
            store,
            app,
            process: Some(process),
            starter,
            claim,
            sealing,
            release,
            bed,
            _scheduler: scheduler,
            _keeper: keeper,
        };
        stage.want(new(), 2).await;
        stage
            .until("the old revision runs everywhere", async || {
                stage.sql("SELECT count(*) FROM placement_status WHERE settled") == cells.len().to_string()
            })
            .await;
        stage
    }

    /// Lets the Application want a revision.
    pub(crate) async fn want(&self, revision: ContentHash, generation: i64) {
        let taken = application(revision, &self.release, generation);
        self.store.application_take(&self.claim, &taken, &self.sealing).await.unwrap();
        self.decide();
    }

    /// Lets the scheduler have decided the present spec.
    pub(crate) fn decide(&self) {
        self.sql("UPDATE application SET decided_generation = generation");
    }

    pub(crate) fn sql(&self, statement: &str) -> String {
        self.bed.postgres.query(statement).unwrap().trim().to_owned()
    }

    /// Lets replicas of a revision never become available.
    pub(crate) fn break_revision(&self, revision: ContentHash) {
        self.sql(&format!("INSERT INTO broken VALUES (decode('{revision}', 'hex'))"));
    }

    /// Revisions of cells and slots with their replicas, such as `east/main=old:5`.
    pub(crate) fn decided(&self) -> String {
        let rows = self.sql("SELECT cell || '/' || slot || '=' || encode(revision, 'hex') || ':' || target FROM cell_decision ORDER BY cell, slot DESC");
        let names = [(old(), "old"), (new(), "new"), (ContentHash::of(b"newer"), "newer")];
        let named = names.iter().fold(rows, |rows, (revision, name)| rows.replace(&revision.to_string(), name));
        named.lines().collect::<Vec<_>>().join(" ")
    }

    pub(crate) async fn create(&self) -> OperationId {
        let request = Request {
            id: OperationId::generate(),
            kind: RELEASE.to_owned(),
            spec: release_request(&key(), new()),
            actor: "ann".to_owned(),
            reason: "a test".to_owned(),
            starts: true,
            key: None,
        };
        let starter = &self.starter;
        create(&self.store, &starter.hints, &starter.kinds, request).await.unwrap().operation.id
    }

    pub(crate) async fn verb(&self, id: OperationId, verb: Verb) {
        let asked =
            Control { verb, step: None, target: None, actor: "eve".to_owned(), reason: Some("a test".to_owned()) };
        let request = ControlRequest { operation: id, control: asked, key: None };
        control(&self.store, &self.starter.hints, &request).await.unwrap();
    }

    /// Ends the engine.
    pub(crate) async fn stop_engine(&mut self) {
        self.process.take().unwrap().stop().await;
    }

    pub(crate) fn bed(&self) -> Arc<Bed> {
        Arc::clone(&self.bed)
    }

    /// Starts another engine.
    pub(crate) fn start_engine(&mut self) {
        self.process = Some(Process::start(&self.bed.postgres.url(), "engine", self.starter.kinds.clone()).unwrap());
    }

    pub(crate) async fn run(&self, id: OperationId) -> Run {
        load(&self.store, id).await.unwrap().1
    }

    /// Waits until an operation is in a state.
    pub(crate) async fn until_state(&self, id: OperationId, state: State) -> Run {
        eventually(state.as_str(), SOON, async || {
            let run = self.run(id).await;
            anyhow::ensure!(run.state == state, "{:?} {:?} {:?}", run.state, run.pause, run.targets);
            Ok(Some(run))
        })
        .await
        .unwrap()
    }

    pub(crate) async fn until(&self, what: &str, is_there: impl AsyncFn() -> bool) {
        eventually(what, SOON, async || Ok(is_there().await.then_some(()))).await.unwrap();
    }

    pub(crate) async fn row(&self) -> Option<ReleaseRow> {
        self.store.release_get(self.app).await.unwrap()
    }

    pub(crate) async fn candidate(&self) -> Option<ReleaseCandidate> {
        self.starter.candidates(&[self.app]).await.unwrap().pop()
    }
}

/// Messages of the targets of a run, by step.
pub(crate) fn message<'a>(run: &'a Run, step: &str) -> &'a str {
    run.targets.iter().find(|(key, _)| key.step == step).map_or("", |(_, target)| target.message.as_str())
}

pub(crate) fn own_hints(store: &Store) -> Hints {
    Hints::new(store.clone(), CancellationToken::new()).0
}

async fn schedule(bed: Arc<Bed>) {
    loop {
        let bed = Arc::clone(&bed);
        let round = tokio::task::spawn_blocking(move || bed.postgres.query(include_str!("scheduler.sql")));
        // The server may end before this task does.
        let _ = round.await;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn declare(store: &Store, claim: &Claim, cell: &Cell) {
    let spec = json!({"region": "r", "zones": ["a"], "uid": "member", "connection": {"server": "https://127.0.0.1:1"}});
    let taken = ClusterTaken {
        name: cell.name.to_owned(),
        object_uid: format!("object-{}", cell.name),
        member_uid: format!("member-{}", cell.name),
        generation: 1,
        resource_version: None,
        labels: json!({}),
        spec,
        removal: None,
        gone: false,
    };
    store.cluster_take(claim, &taken).await.unwrap();
}

fn application(revision: ContentHash, release: &Value, generation: i64) -> ApplicationTaken {
    let mut intent = json!({"replicas": 10, "suspended": false, "placement": {}, "drift": "Report", "adopt": "Never"});
    if !release.is_null() {
        intent["release"] = release.clone();
    }
    ApplicationTaken {
        key: key(),
        hub_uid: "hub".to_owned(),
        object_uid: "object".to_owned(),
        generation,
        spec_hash: revision,
        intent,
        revision,
        payload: revision.to_string().into_bytes(),
        secret: false,
        divided_kind: Some("apps/v1/Deployment".to_owned()),
        rebalance_asked: None,
        delete_confirmed: None,
        accepted: false,
    }
}
