//! A server in the process of the test, with an engine.

use std::sync::Arc;
use std::time::Duration;

use access::{Access, Role, SubjectKind, TokenText};
use flow::{Engine, FlowMetrics, FlowTimes, Kinds};
use jiff::{SignedDuration, Timestamp};
use runtime::metrics::Metrics;
use store::seal::EnvelopeKey;
use store::{Hints, Keeper, LeaseTimes, NewApiToken, NewRoleBinding, Store};
use testbed::Bed;
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};
use web_api::{Api, ApiParts, LimitSettings, serve};

use crate::client::Client;
use crate::hub;
use crate::kind::{Release, Wave};

/// A running server.
pub(crate) struct Server {
    pub(crate) bed: Bed,
    pub(crate) store: Store,
    pub(crate) hints: Hints,
    pub(crate) kinds: Kinds,
    pub(crate) wave: Wave,
    /// Client without a token.
    pub(crate) anonymous: Client,
    /// Client of the machine `ops` with the role `operator`.
    pub(crate) client: Client,
    _shutdown: DropGuard,
}

impl Server {
    pub(crate) async fn start() -> Self {
        Self::start_with(LimitSettings { requests_burst: 1_000.0, ..LimitSettings::default() }, true).await
    }

    /// Starts a server that edits Applications on the bed's hub, which has Meridian's kinds.
    pub(crate) async fn start_on_hub() -> Self {
        Self::start_parts(LimitSettings { requests_burst: 1_000.0, ..LimitSettings::default() }, false, true).await
    }

    pub(crate) async fn start_with(limits: LimitSettings, has_engine: bool) -> Self {
        Self::start_parts(limits, has_engine, false).await
    }

    async fn start_parts(limits: LimitSettings, has_engine: bool, has_hub: bool) -> Self {
        let bed = Bed::builder().start().await.unwrap();
        let store = Store::open(&bed.postgres.url(), 16).unwrap();
        store.migrate().await.unwrap();
        let shutdown = CancellationToken::new();
        let metrics = Metrics::default();
        let (hints, exchange) = Hints::new(store.clone(), shutdown.clone());
        tokio::spawn(exchange);
        let wave = Wave::default();
        let kinds = Kinds::new([Arc::new(wave.clone()) as Arc<dyn flow::Kind>, Arc::new(Release)]);
        let hub = if has_hub { Some(hub::install(&bed).await) } else { None };
        if has_engine {
            let times = LeaseTimes { lasts: Duration::from_secs(5), renew: Duration::from_secs(1) };
            let engine = Engine {
                store: store.clone(),
                hints: hints.clone(),
                keeper: Arc::new(Keeper::start_for(&store, "test".to_owned(), times).unwrap()),
                kinds: kinds.clone(),
                metrics: FlowMetrics::new(&metrics),
                times: FlowTimes { look_again: Duration::from_millis(100), ..FlowTimes::default() },
            };
            tokio::spawn(engine.run(shutdown.clone()));
        }
        let api = Api::start(ApiParts {
            store: store.clone(),
            control_store: Store::open(&bed.postgres.url(), 2).unwrap(),
            hints: hints.clone(),
            kinds: kinds.clone(),
            access: Access::new(None),
            hub,
            envelope_key: envelope_key(),
            limits,
            metrics,
            shutdown: shutdown.clone(),
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let anonymous = Client::new(format!("http://{}", listener.local_addr().unwrap()), None);
        tokio::spawn(serve(listener, None, web_api::router(api), shutdown.clone()));
        let token = create_token(&store, SubjectKind::Token, "ops", Some(Role::Operator), 1).await;
        let client = anonymous.with_token(&token);
        Self { bed, store, hints, kinds, wave, anonymous, client, _shutdown: shutdown.drop_guard() }
    }

    /// Returns a client of a subject.
    pub(crate) async fn client_of(&self, kind: SubjectKind, name: &str, role: Option<Role>) -> Client {
        self.anonymous.with_token(&create_token(&self.store, kind, name, role, 1).await)
    }
}

/// Key that opens revisions with Secrets.
pub(crate) fn envelope_key() -> EnvelopeKey {
    EnvelopeKey::from_hex(&"0a".repeat(32)).unwrap()
}

/// Creates a token that lives for some hours; a negative number makes one that ended.
pub(crate) async fn create_token(
    store: &Store,
    kind: SubjectKind,
    name: &str,
    role: Option<Role>,
    hours: i64,
) -> String {
    let token = TokenText::generate();
    let binding = role.map(|role| NewRoleBinding {
        subject_kind: kind.as_str().to_owned(),
        subject: name.to_owned(),
        role: role.as_str().to_owned(),
        namespace: None,
        created_by: "test".to_owned(),
    });
    let new = NewApiToken {
        id: token.id,
        name: name.to_owned(),
        subject_kind: kind.as_str().to_owned(),
        subject: name.to_owned(),
        secret_hash: token.secret_hash,
        scopes: Vec::new(),
        expires_at: Timestamp::now() + SignedDuration::from_hours(hours),
        created_by: "test".to_owned(),
    };
    store.api_token_insert(&new, binding.as_ref()).await.unwrap();
    token.text
}
