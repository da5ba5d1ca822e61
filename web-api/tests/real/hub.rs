//! The hub of the bed: Meridian's kinds, Applications, and what intake stores of them.

use std::path::Path;
use std::time::Duration;

use crds::Application;
use domain::render::blueprint;
use flow::{Request, create};
use kube::api::{ApiResource, DynamicObject, ListParams, Patch, PatchParams, PostParams};
use kube::core::GroupVersionKind;
use kube::{Api, Client};
use serde_json::{Value, json};
use store::{AppId, ApplicationTaken, Claim, Keeper, LeaseTimes};
use testbed::{Bed, eventually};
use vocabulary::{AppKey, ContentHash, OperationId};

use crate::server::{Server, envelope_key};

const SOON: Duration = Duration::from_mins(1);

/// Installs Meridian's kinds on the hub, and returns a client with all rights.
pub(crate) async fn install(bed: &Bed) -> Client {
    let client = bed.hub.client().await.unwrap();
    let kind = GroupVersionKind::gvk("apiextensions.k8s.io", "v1", "CustomResourceDefinition");
    let api: Api<DynamicObject> = Api::all_with(client.clone(), &ApiResource::from_gvk(&kind));
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crds/manifests/applications.json");
    let definition: DynamicObject = serde_json::from_slice(&std::fs::read(manifest).unwrap()).unwrap();
    api.create(&PostParams::default(), &definition).await.unwrap();
    let apps: Api<Application> = Api::all(client.clone());
    eventually("Applications are served", SOON, async || Ok(apps.list(&ListParams::default()).await.ok()))
        .await
        .unwrap();
    client
}

/// An Application with two components, one of them with two containers, and a Secret.
pub(crate) fn web(image: &str) -> Value {
    let pod = |containers: Value| {
        json!({
            "selector": {"matchLabels": {"app": "web"}},
            "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": containers}},
        })
    };
    let object = |api_version: &str, kind: &str, name: &str| json!({"apiVersion": api_version, "kind": kind, "metadata": {"name": name}});
    let mut web = object("apps/v1", "Deployment", "web");
    web["spec"] = pod(json!([{"name": "web", "image": image}]));
    let mut side = object("apps/v1", "DaemonSet", "side");
    side["spec"] = pod(json!([{"name": "a", "image": "a:1"}, {"name": "b", "image": "b:1"}]));
    let mut secret = object("v1", "Secret", "db");
    secret["stringData"] = json!({"password": "hunter2"});
    json!({
        "apiVersion": "fleet.meridian.io/v1alpha1", "kind": "Application",
        "metadata": {"name": "web", "namespace": "default"},
        "spec": {
            "replicas": 4,
            "placement": {},
            "release": {"beta": true, "batches": ["50%"]},
            "components": [
                {"name": "web", "template": web},
                {"name": "side", "template": side},
                {"name": "db", "template": secret},
            ],
        },
    })
}

/// The hub, and the place of intake, scheduler and starter, which this test plays.
pub(crate) struct Hub<'a> {
    server: &'a Server,
    pub(crate) apps: Api<Application>,
    claim: Claim,
    _keeper: Keeper,
}

impl<'a> Hub<'a> {
    pub(crate) async fn of(server: &'a Server) -> Self {
        let client = server.bed.hub.client().await.unwrap();
        let times = LeaseTimes { lasts: Duration::from_mins(5), renew: Duration::from_secs(30) };
        let keeper = Keeper::start_for(&server.store, "hub".to_owned(), times).unwrap();
        let claim = keeper.want("leader").begin().await.unwrap();
        Self { server, apps: Api::namespaced(client, "default"), claim, _keeper: keeper }
    }

    /// Applies an Application as a person does with `kubectl apply --server-side`.
    pub(crate) async fn apply(&self, object: &Value) {
        let params = PatchParams::apply("person").force();
        self.apps.patch("web", &params, &Patch::Apply(object)).await.unwrap();
    }

    /// Returns the image of the component `web` on the hub.
    pub(crate) async fn image(&self) -> String {
        let app = self.apps.get("web").await.unwrap();
        let template = &app.spec.components[0].template;
        template["spec"]["template"]["spec"]["containers"][0]["image"].as_str().unwrap().to_owned()
    }

    /// Stores the Application as intake does, and returns its revision.
    pub(crate) async fn take_in(&self) -> (AppId, ContentHash) {
        let app = self.apps.get("web").await.unwrap();
        let key = AppKey { namespace: "default".to_owned(), name: "web".to_owned() };
        let revision = blueprint(&key, &app.spec).unwrap().revision;
        let taken = ApplicationTaken {
            key,
            hub_uid: "hub".to_owned(),
            object_uid: app.metadata.uid.unwrap(),
            generation: app.metadata.generation.unwrap(),
            spec_hash: ContentHash::of(b"spec"),
            intent: json!({}),
            revision,
            payload: serde_json::to_vec(&json!({
                "components": app.spec.components, "overrides": app.spec.overrides,
            }))
            .unwrap(),
            divided_kind: None,
            secret: true,
            rebalance_asked: None,
            delete_confirmed: None,
            accepted: false,
        };
        let id = self.server.store.application_take(&self.claim, &taken, &envelope_key()).await.unwrap();
        (id, revision)
    }

    /// Places every replica with a revision, and stores that it was ready.
    pub(crate) async fn place(&self, app: AppId, revision: &ContentHash) {
        let id = i64::from(app);
        let postgres = &self.server.bed.postgres;
        postgres.query(&format!("delete from cell_decision where app = {id}")).unwrap();
        postgres
            .query(&format!(
                "insert into cell_decision (app, cell, target, revision) values ({id}, 'east', 4, '\\x{revision}')"
            ))
            .unwrap();
        self.server.store.revisions_were_ready(&self.claim, &[(app, *revision)]).await.unwrap();
    }

    /// Takes the Application in and creates its release, as the operator does for a new revision.
    pub(crate) async fn start_release(&self) -> OperationId {
        let (_, revision) = self.take_in().await;
        let request = Request {
            id: OperationId::generate(),
            kind: "release".to_owned(),
            spec: json!({"application": "default/web", "revision": revision.to_string()}),
            actor: "operator".to_owned(),
            reason: String::new(),
            starts: true,
            key: None,
        };
        create(&self.server.store, &self.server.hints, &self.server.kinds, request).await.unwrap().operation.id
    }

    /// Ends an operation and frees its locks.
    pub(crate) fn end(&self, operation: OperationId, state: &str) {
        let postgres = &self.server.bed.postgres;
        postgres.query(&format!("update operation set state = '{state}' where id = '{operation}'")).unwrap();
        postgres.query(&format!("delete from scope_lock where operation = '{operation}'")).unwrap();
    }
}
