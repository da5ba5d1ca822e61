//! State of the server.

use std::sync::Arc;

use access::Access;
use flow::Kinds;
use runtime::metrics::Metrics;
use store::seal::EnvelopeKey;
use store::{AuditChain, Hints, Store};
use tokio_util::sync::CancellationToken;

use crate::hub::Hub;
use crate::limits::{LimitSettings, Limits};
use crate::metrics::ApiMetrics;
use crate::wakes::OperationWakes;

/// What the server needs.
pub struct ApiParts {
    /// Database for reads and creations.
    pub store: Store,
    /// Database for control verbs, with connections of its own.
    pub control_store: Store,
    /// Hints of this and other processes.
    pub hints: Hints,
    /// Kinds of operations that may be created.
    pub kinds: Kinds,
    /// Authentication and authorization.
    pub access: Access,
    /// Client of the hub, for releases and rollbacks; `None` where the server has no hub.
    pub hub: Option<kube::Client>,
    /// Key that opens revisions with Secrets.
    pub envelope_key: EnvelopeKey,
    /// Limits of requests.
    pub limits: LimitSettings,
    /// Metrics of the process.
    pub metrics: Metrics,
    /// Ends streams and waiting requests.
    pub shutdown: CancellationToken,
}

/// The client of the hub has no `Debug`, and its configuration has a credential.
impl std::fmt::Debug for ApiParts {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("ApiParts").field("has_hub", &self.hub.is_some()).finish_non_exhaustive()
    }
}

/// A store with a chain of the audit: one for control verbs, one for everything else.
#[derive(Debug)]
pub(crate) struct Lane {
    pub(crate) store: Store,
    pub(crate) audit: AuditChain,
}

/// State of the server. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Api(Arc<ApiState>);

/// Parts that all requests share.
#[derive(Debug)]
pub struct ApiState {
    pub(crate) general: Lane,
    pub(crate) control: Lane,
    pub(crate) hints: Hints,
    pub(crate) kinds: Kinds,
    pub(crate) access: Access,
    pub(crate) hub: Option<Hub>,
    pub(crate) envelope_key: EnvelopeKey,
    pub(crate) limits: Limits,
    pub(crate) metrics: ApiMetrics,
    pub(crate) wakes: OperationWakes,
    pub(crate) shutdown: CancellationToken,
}

impl std::ops::Deref for Api {
    type Target = ApiState;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl Api {
    /// Returns the server's state, and starts the task that wakes waiting requests.
    pub fn start(parts: ApiParts) -> Self {
        let lane = |store: Store| Lane { store, audit: AuditChain::default() };
        Self(Arc::new(ApiState {
            general: lane(parts.store),
            control: lane(parts.control_store),
            wakes: OperationWakes::start(&parts.hints, parts.shutdown.clone()),
            hints: parts.hints,
            kinds: parts.kinds,
            access: parts.access,
            hub: parts.hub.map(Hub::new),
            envelope_key: parts.envelope_key,
            limits: Limits::new(parts.limits),
            metrics: ApiMetrics::new(&parts.metrics),
            shutdown: parts.shutdown,
        }))
    }

    /// Returns the lane of a request.
    pub(crate) fn lane(&self, is_control: bool) -> &Lane {
        if is_control { &self.control } else { &self.general }
    }
}
