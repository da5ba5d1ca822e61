//! Test fixture: one member, one database and a running deliverer, shared by the scenarios.

mod waits;

use std::path::PathBuf;
use std::process::Command;
use std::sync::{Arc, LazyLock, OnceLock};
use std::time::Duration;

use delivery::{Delivery, DeliveryMetrics, DeliveryTimes, Revisions};
use members::install::{self, Installation, Profile};
use members::{ApiKind, Limits, Member, MemberConfig, Registry, admin};
use serde_json::{Value, json};
use store::seal::EnvelopeKey;
use store::{AppId, ApplicationTaken, Claim, ClusterTaken, Hint, Hints, Keeper, LeaseTimes, ParsedRevisions, Store};
use testbed::{Bed, MemberSpec, eventually};
use tokio::runtime::Runtime;
use tokio::sync::Semaphore;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use vocabulary::{AppKey, ContentHash};

const CLUSTER: &str = "north";
/// Timeout for each condition of a scenario.
const SOON: Duration = Duration::from_mins(2);
/// Minimum interval between two starts of the deliverer.
const START_INTERVAL_MIN: Duration = Duration::from_millis(500);

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().unwrap());
static INSTALLED: OnceLock<Installed> = OnceLock::new();

/// Returns the installation, which the first scenario starts. Its servers end with the process.
pub(crate) fn shared() -> (&'static Runtime, &'static Installed) {
    (&RUNTIME, INSTALLED.get_or_init(|| RUNTIME.block_on(Installed::begin())))
}

/// An Application stored in the database.
#[derive(Debug, Clone)]
pub(crate) struct App {
    id: AppId,
    key: AppKey,
    revision: ContentHash,
    component: Value,
    intent: Value,
}

pub(crate) struct Installed {
    bed: Bed,
    store: Store,
    hints: Hints,
    claim: Claim,
    key: EnvelopeKey,
    kubeconfig: PathBuf,
    _keeper: Keeper,
}

impl Installed {
    async fn begin() -> Self {
        let bed = Bed::builder().member(MemberSpec::new(CLUSTER, "r", &["z"])).start().await.unwrap();
        let kubeconfig = bed.member(CLUSTER).unwrap().kubeconfig();
        let access = admin::load(&kubeconfig, None).await.unwrap();
        install::apply(&access.client, &Installation::new(&[Profile::Observe, Profile::Deploy])).await.unwrap();
        let token = install::issue_token(&access.client, Duration::from_hours(2)).await.unwrap().token;
        let member = Member::connect(&MemberConfig {
            name: CLUSTER.parse().unwrap(),
            server: access.server.clone(),
            ca_pem: access.ca_pem.clone(),
            tls_server_name: access.tls_server_name.clone(),
            proxy_url: access.proxy_url.clone(),
            token,
            limits: Limits::default(),
        })
        .unwrap();
        granted(&member).await;

        let store = Store::open(&bed.postgres.url(), 8).unwrap();
        store.migrate().await.unwrap();
        let times = LeaseTimes { lasts: Duration::from_secs(30), ..LeaseTimes::default() };
        let keeper = Keeper::start(&bed.postgres.url(), "test".to_owned(), times).unwrap();
        let shutdown = CancellationToken::new();
        let (hints, exchange) = Hints::new(store.clone(), shutdown.clone());
        drop(exchange);
        let claim = claim(&keeper, "leader").await;
        let taken = ClusterTaken {
            name: CLUSTER.to_owned(),
            object_uid: "o".to_owned(),
            member_uid: member.kube_system_uid().await.unwrap(),
            resource_version: None,
            generation: 1,
            labels: json!({}),
            spec: json!({"region": "r", "zones": ["z"], "uid": "u", "connection": {"server": "https://x"}}),
            removal: None,
            gone: false,
        };
        store.cluster_take(&claim, &taken).await.unwrap();
        // An object from before the join is no late create, so the cluster joined long ago.
        bed.postgres.query("update cluster set joined_at = now() - interval '1 day'").unwrap();

        let registry = Registry::default();
        registry.insert(&member);
        let hex = "0a".repeat(32);
        let parsed = Arc::new(ParsedRevisions::new(store.clone(), Arc::new(EnvelopeKey::from_hex(&hex).unwrap())));
        let delivery = Delivery {
            store: store.clone(),
            revisions: Arc::new(Revisions::new(store.clone(), parsed)),
            fleet: Arc::default(),
            named: Arc::default(),
            status_writer: Arc::default(),
            readers: Arc::new(Semaphore::new(delivery::READERS)),
            hints: hints.clone(),
            registry,
            times: DeliveryTimes {
                probe: Duration::from_secs(1),
                silence: Duration::from_secs(6),
                reread: Duration::from_secs(5),
                ..DeliveryTimes::default()
            },
            metrics: DeliveryMetrics::new(&runtime::metrics::Metrics::default()),
        };
        tokio::spawn(delivery.clone().write_observed(shutdown.clone()));
        let own = claim_of(&keeper, CLUSTER).await;
        tokio::spawn(async move {
            let mut starts = tokio::time::interval(START_INTERVAL_MIN);
            starts.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                starts.tick().await;
                let ended =
                    delivery::run(delivery.clone(), CLUSTER.parse().unwrap(), own.clone(), shutdown.clone()).await;
                eprintln!("delivery ended: {ended:?}");
            }
        });
        let key = EnvelopeKey::from_hex(&hex).unwrap();
        Self { bed, store, hints, claim, key, kubeconfig, _keeper: keeper }
    }

    /// Stores an Application of one component. `more` are fields of its intent.
    pub(crate) async fn application(&self, namespace: &str, name: &str, object: &Value, more: Value) -> App {
        let mut intent = json!({
            "replicas": 0, "suspended": false, "placement": {}, "drift": "Report", "adopt": "Never",
        });
        intent.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let key = AppKey { namespace: namespace.to_owned(), name: name.to_owned() };
        let mut component = json!({"name": "main", "template": object});
        component["template"]["metadata"]["name"] = name.into();
        self.take(App { id: 0.into(), key, revision: ContentHash::of(b""), component, intent }).await
    }

    /// Stores another revision of the component.
    pub(crate) async fn revise(&self, app: &App, object: &Value) -> App {
        let mut app = app.clone();
        app.component["template"] = object.clone();
        app.component["template"]["metadata"]["name"] = app.key.name.clone().into();
        self.take(app).await
    }

    async fn take(&self, mut app: App) -> App {
        let payload = serde_json::to_vec(&json!({"components": [app.component]})).unwrap();
        app.revision = ContentHash::of(&payload);
        let taken = ApplicationTaken {
            key: app.key.clone(),
            hub_uid: "hub".to_owned(),
            object_uid: "object".to_owned(),
            generation: 1,
            spec_hash: app.revision,
            intent: app.intent.clone(),
            revision: app.revision,
            payload,
            secret: false,
            divided_kind: Some("apps/v1/Deployment".to_owned()),
            rebalance_asked: None,
            delete_confirmed: None,
            accepted: false,
        };
        app.id = self.store.application_take(&self.claim, &taken, &self.key).await.unwrap();
        app
    }

    /// Places the object named `web`.
    pub(crate) fn place(&self, app: &App, plan_epoch: u32) {
        self.place_as(app, plan_epoch, "web");
    }

    pub(crate) fn place_as(&self, app: &App, plan_epoch: u32, name: &str) {
        let template = &app.component["template"];
        self.sql(&format!(
            "insert into placement (app, component, cell, cluster, api_version, kind, namespace, object_name, rank, divided,
               target, floor, plan_epoch, revision, wish)
             values ({}, 'main', '{CLUSTER}', '{CLUSTER}', '{}', '{}', '{}', '{name}', 0, false, 0, 0, {plan_epoch},
               decode('{}', 'hex'), 'Present')",
            app.id,
            template["apiVersion"].as_str().unwrap(),
            template["kind"].as_str().unwrap(),
            app.key.namespace,
            hex(app.revision.as_bytes()),
        ));
        self.tell();
    }

    /// Deletes the row; its object stays in the member.
    pub(crate) fn forget(&self, app: &App) {
        self.sql(&format!("delete from placement where app = {}", app.id));
        self.tell();
    }

    /// Changes the desired state of the row, as the scheduler does.
    pub(crate) fn desired_state(&self, app: &App, desired_state: &str) {
        self.sql(&format!(
            "update placement set wish = '{desired_state}', plan_epoch = plan_epoch + 1 where app = {}",
            app.id
        ));
        self.tell();
    }

    pub(crate) fn wish_deleted(&self, app: &App) {
        self.desired_state(app, "Delete");
    }

    /// Writes the row anew through the store's own transaction, as the scheduler does.
    pub(crate) async fn change_as_scheduler(&self, app: &App) {
        let row = self.store.placement_list(&[app.id]).await.unwrap().remove(0);
        let stored = self.store.application_list(&[app.id]).await.unwrap().remove(0);
        let base = store::DecisionBase {
            generation: stored.generation,
            removal: stored.removal,
            version: stored.decision_version,
        };
        let changes = vec![store::PlacementChange::of(&row)];
        let decision = store::DecisionRow { changes, ..store::DecisionRow::unchanged(app.id, base) };
        self.store.decision_commit(&self.claim, &[decision], &std::collections::BTreeMap::new()).await.unwrap();
        self.tell();
    }

    /// Changes one field of the stored intent without sending a hint.
    pub(crate) fn set_intent(&self, app: &App, field: &str, value: &str) {
        self.sql(&format!(
            "update application set intent = jsonb_set(intent, '{{{field}}}', '\"{value}\"') where id = {}",
            app.id
        ));
    }

    /// Suspends or resumes the Application.
    pub(crate) fn suspend(&self, app: &App, suspended: bool) {
        self.sql(&format!(
            "update application set intent = jsonb_set(intent, '{{suspended}}', '{suspended}') where id = {}",
            app.id
        ));
        self.tell();
    }

    /// Moves the row to the latest revision of the Application.
    pub(crate) fn move_to_revision(&self, app: &App) {
        self.sql(&format!(
            "update placement set revision = decode('{}', 'hex'), plan_epoch = plan_epoch + 1 where app = {}",
            hex(app.revision.as_bytes()),
            app.id
        ));
        self.tell();
    }

    fn sql(&self, statement: &str) -> String {
        self.bed.postgres.query(statement).unwrap()
    }

    fn tell(&self) {
        self.hints.send(Hint::Everything);
    }

    /// Sends a request as the member's administrator; `None` when the object does not exist.
    pub(crate) async fn admin(&self, method: &str, path: &str, body: &Value) -> Option<Value> {
        let content = if method == "PATCH" { "application/merge-patch+json" } else { "application/json" };
        let body = if method == "GET" { Vec::new() } else { serde_json::to_vec(body).unwrap() };
        let request =
            http::Request::builder().method(method).uri(path).header("content-type", content).body(body).unwrap();
        let client = admin::load(&self.kubeconfig, None).await.unwrap().client;
        match client.request::<Value>(request).await {
            Ok(answer) => Some(answer),
            Err(error) if error.to_string().contains("NotFound") || error.to_string().contains("not found") => None,
            Err(error) => panic!("{method} {path}: {error}"),
        }
    }

    pub(crate) async fn namespace(&self, name: &str) {
        let object = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
        self.admin("POST", "/api/v1/namespaces", &object).await;
    }

    /// Adds a custom kind to the member, and the permission to deliver it.
    pub(crate) fn serve_widgets(&self) {
        self.kubectl_apply(&widget_crd("v1", &json!({"strategy": "None"})));
        self.kubectl_apply(&install::granting_role("widgets", &[install::to_deliver(&widgets())]));
    }

    /// Makes the kind unreadable: stored objects need conversion by a webhook that does not respond.
    pub(crate) async fn break_widgets(&self, path_of_other_version: &str) {
        self.kubectl_apply(&widget_crd("v2", &json!({"strategy": "None"})));
        // Stores the object in the other version, as soon as that is served.
        self.eventually(path_of_other_version, |_| true).await;
        self.admin("PATCH", path_of_other_version, &json!({"metadata": {"annotations": {"stored": "anew"}}})).await;
        let webhook =
            json!({"conversionReviewVersions": ["v1"], "clientConfig": {"url": "https://127.0.0.1:9/convert"}});
        self.kubectl_apply(&widget_crd("v2", &json!({"strategy": "Webhook", "webhook": webhook})));
    }

    pub(crate) fn mend_widgets(&self) {
        self.kubectl_apply(&widget_crd("v2", &json!({"strategy": "None"})));
    }

    fn kubectl_apply(&self, object: &Value) {
        let file = self.bed.folder().join("object.json");
        std::fs::write(&file, object.to_string()).unwrap();
        let kubectl = testbed::tools().unwrap().join("kubectl");
        let output = Command::new(kubectl)
            .args(["apply", "--server-side", "--force-conflicts", "-f"])
            .arg(&file)
            .env("KUBECONFIG", &self.kubeconfig)
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    /// Number of lists that Meridian requested from the member.
    pub(crate) fn lists(&self) -> usize {
        let events = self.bed.member(CLUSTER).unwrap().audit().events();
        events
            .iter()
            .filter(|event| event.verb == "list" && event.user.ends_with(":meridian") && event.resource != "namespaces")
            .count()
    }

    /// Makes the database refuse connections for `time`.
    pub(crate) async fn without_database(&self, time: Duration) {
        let answers = async |limit| {
            let generation = async || Ok(Some(self.store.identity_generation().await?));
            eventually("the database answers", limit, generation).await
        };
        self.bed.postgres.limit_connections(Some(0)).unwrap();
        // Open connections are ended a moment later.
        let refused = async || Ok(self.store.identity_generation().await.is_err().then_some(()));
        eventually("the database refuses connections", SOON, refused).await.unwrap();
        let generation = answers(time).await;
        assert!(generation.is_err(), "the database answers although it refuses connections: {generation:?}");
        self.bed.postgres.limit_connections(None).unwrap();
        answers(SOON).await.unwrap();
    }
}

fn widgets() -> ApiKind {
    ApiKind::namespaced("example.org", "v1", "Widget", "widgets")
}

fn widget_crd(storage: &str, conversion: &Value) -> Value {
    let schema = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    let version = |name: &str| json!({"name": name, "served": true, "storage": name == storage, "schema": {"openAPIV3Schema": schema}});
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "widgets.example.org"},
        "spec": {"group": "example.org", "scope": "Namespaced", "versions": [version("v1"), version("v2")],
            "conversion": conversion,
            "names": {"plural": "widgets", "singular": "widget", "kind": "Widget", "listKind": "WidgetList"}},
    })
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

async fn claim_of(keeper: &Keeper, cluster: &str) -> Claim {
    claim(keeper, &format!("deliver/{cluster}")).await
}

async fn claim(keeper: &Keeper, lease: &str) -> Claim {
    keeper.want(lease).begin().await.unwrap()
}

/// Waits until the member's controllers have aggregated the roles.
async fn granted(member: &Member) {
    let allowed = eventually("all kinds are deliverable", SOON, async || {
        let access = member.permissions(&install::deliverable_kinds()).await.unwrap();
        Ok(access.iter().all(members::KindAccess::deliverable).then_some(()))
    });
    allowed.await.unwrap();
}
