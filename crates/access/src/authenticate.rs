//! Finds the subject of a token, and keeps what was read for a short time.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use parking_lot::Mutex;
use sha2::{Digest, Sha256};
use store::{ApiTokenRow, Store, StoreError};
use uuid::Uuid;

use crate::authorize::{Bindings, Denied, authorize};
use crate::service_account::{ReviewError, review};
use crate::token::ParsedToken;
use crate::{Right, Role, Subject, SubjectKind};

/// Maximum age of what was read: a revoked token or a role that was taken away counts for this long.
const CACHE_AGE_MAX: Duration = Duration::from_secs(10);
/// Maximum age of roles by which a right is denied: a role that was given a moment ago counts.
const DENIAL_AGE_MAX: Duration = Duration::from_secs(1);
/// Maximum number of tokens that are kept. When they are more, all are read again.
const CACHED_MAX: usize = 10_000;

/// Why it is not certain who asks.
#[derive(Debug, thiserror::Error)]
pub enum Unauthenticated {
    /// The token has no known form, or is not stored, or its secret is wrong.
    #[error("the token is not valid")]
    Invalid,
    /// The token ended.
    #[error("the token {name} expired at {at}; create another one")]
    Expired {
        /// Name of the token.
        name: String,
        /// When it ended.
        at: Timestamp,
    },
    /// The token was revoked.
    #[error("the token {name} was revoked at {at}")]
    Revoked {
        /// Name of the token.
        name: String,
        /// When it was revoked.
        at: Timestamp,
    },
    /// The token is one of the hub, and this server has no connection to a hub.
    #[error(
        "tokens of the hub are not accepted: this server has no hub; use an API token, or start it with --hub-kubeconfig"
    )]
    NoHub,
    /// The hub refuses the token.
    #[error("{0}")]
    Refused(String),
    /// The hub does not answer, so its tokens cannot be checked.
    #[error("{0}; an API token works without the hub")]
    HubUnavailable(String),
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Something that was read at a time.
#[derive(Debug, Clone)]
struct Kept<T> {
    value: T,
    read_at: Instant,
}

impl<T> Kept<T> {
    fn new(value: T) -> Self {
        Self { value, read_at: Instant::now() }
    }

    fn is_fresh(&self) -> bool {
        self.is_younger_than(CACHE_AGE_MAX)
    }

    fn is_younger_than(&self, age: Duration) -> bool {
        self.read_at.elapsed() < age
    }
}

/// Authentication and authorization of one process. Cheap to clone.
#[derive(Clone, Default)]
pub struct Access(Arc<Shared>);

#[derive(Default)]
struct Shared {
    hub: Option<kube::Client>,
    tokens: Mutex<HashMap<Uuid, Kept<ApiTokenRow>>>,
    /// Subjects of tokens of the hub, by the SHA-256 of the token.
    reviewed: Mutex<HashMap<[u8; 32], Kept<Subject>>>,
    bindings: Mutex<Option<Kept<Arc<Bindings>>>>,
}

impl std::fmt::Debug for Access {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Access").field("has_hub", &self.0.hub.is_some()).finish_non_exhaustive()
    }
}

impl Access {
    /// Returns access that also accepts tokens of a hub, where there is one.
    pub fn new(hub: Option<kube::Client>) -> Self {
        Self(Arc::new(Shared { hub, ..Shared::default() }))
    }

    /// Returns the subject of a bearer token.
    ///
    /// The store is that of the request, so that reads do not delay control verbs.
    ///
    /// # Errors
    /// [`Unauthenticated`] with the reason.
    pub async fn authenticate(&self, store: &Store, token: &str) -> Result<Subject, Unauthenticated> {
        if ParsedToken::is_form_of(token) {
            return self.by_api_token(store, token).await;
        }
        // Tokens of the hub are JSON Web Tokens: three parts.
        if token.split('.').count() == 3 { self.by_hub(token).await } else { Err(Unauthenticated::Invalid) }
    }

    async fn by_api_token(&self, store: &Store, token: &str) -> Result<Subject, Unauthenticated> {
        let parsed = ParsedToken::parse(token).ok_or(Unauthenticated::Invalid)?;
        let kept = self.0.tokens.lock().get(&parsed.id).filter(|kept| kept.is_fresh()).map(|kept| kept.value.clone());
        let row = if let Some(row) = kept {
            row
        } else {
            let row = store.api_token_get(parsed.id).await?.ok_or(Unauthenticated::Invalid)?;
            keep(&mut self.0.tokens.lock(), row.id, row.clone());
            row
        };
        // The secret comes first: the state of a token is shown to its owner only.
        if !parsed.has_secret(&row.secret_hash) {
            return Err(Unauthenticated::Invalid);
        }
        if let Some(at) = row.revoked_at {
            return Err(Unauthenticated::Revoked { name: row.name, at });
        }
        if row.expires_at <= Timestamp::now() {
            return Err(Unauthenticated::Expired { name: row.name, at: row.expires_at });
        }
        let kind = SubjectKind::parse(&row.subject_kind).ok_or(Unauthenticated::Invalid)?;
        // A scope that this version does not have limits the token like the weakest one.
        let scopes = row.scopes.iter().map(|scope| Role::parse(scope).unwrap_or(Role::Viewer)).collect();
        Ok(Subject { kind, name: row.subject, groups: Vec::new(), scopes })
    }

    async fn by_hub(&self, token: &str) -> Result<Subject, Unauthenticated> {
        let hub = self.0.hub.as_ref().ok_or(Unauthenticated::NoHub)?;
        let key: [u8; 32] = Sha256::digest(token.as_bytes()).into();
        let kept = self.0.reviewed.lock().get(&key).filter(|kept| kept.is_fresh()).map(|kept| kept.value.clone());
        if let Some(subject) = kept {
            return Ok(subject);
        }
        let subject = review(hub, token).await.map_err(|error| match error {
            ReviewError::Refused(_) => Unauthenticated::Refused(error.to_string()),
            ReviewError::Late | ReviewError::Unavailable(_) => {
                Unauthenticated::HubUnavailable(vocabulary::chain(&error))
            }
        })?;
        keep(&mut self.0.reviewed.lock(), key, subject.clone());
        Ok(subject)
    }

    /// Returns the roles of all subjects, at most ten seconds old.
    ///
    /// # Errors
    /// [`StoreError`] when they cannot be read.
    pub async fn bindings(&self, store: &Store) -> Result<Arc<Bindings>, StoreError> {
        self.bindings_younger_than(store, CACHE_AGE_MAX).await
    }

    async fn bindings_younger_than(&self, store: &Store, age: Duration) -> Result<Arc<Bindings>, StoreError> {
        let kept = self.0.bindings.lock().clone();
        if let Some(kept) = kept.filter(|kept| kept.is_younger_than(age)) {
            return Ok(kept.value);
        }
        let bindings = Arc::new(Bindings::of_rows(store.role_binding_list().await?));
        *self.0.bindings.lock() = Some(Kept::new(Arc::clone(&bindings)));
        Ok(bindings)
    }

    /// Checks that a subject has a right in a namespace, or everywhere when there is none.
    ///
    /// # Errors
    /// [`StoreError`] when the roles cannot be read; inside, [`Denied`].
    pub async fn authorize(
        &self,
        store: &Store,
        subject: &Subject,
        right: Right,
        namespace: Option<&str>,
    ) -> Result<Result<(), Denied>, StoreError> {
        let bindings = self.bindings(store).await?;
        if authorize(&bindings, subject, right, namespace).is_ok() {
            return Ok(Ok(()));
        }
        let bindings = self.bindings_younger_than(store, DENIAL_AGE_MAX).await?;
        Ok(authorize(&bindings, subject, right, namespace))
    }
}

fn keep<K: std::hash::Hash + Eq, V>(all: &mut HashMap<K, Kept<V>>, key: K, value: V) {
    if all.len() >= CACHED_MAX {
        all.clear();
    }
    all.insert(key, Kept::new(value));
}
