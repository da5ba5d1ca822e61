//! The subject of a request, taken from its token before a handler runs.

use access::{Right, Subject};
use axum::extract::FromRequestParts;
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use store::Store;
use tokio::sync::OwnedSemaphorePermit;

use crate::api::Api;
use crate::code::Code;
use crate::failure::Failure;
use crate::trail::{Trail, is_control};

/// The subject of a request, with its turn at the database.
#[derive(Debug)]
pub(crate) struct Caller {
    pub(crate) subject: Subject,
    pub(crate) trail: Trail,
    is_control: bool,
    api: Api,
    /// `None` for control verbs, which wait for no turn.
    turn: Option<OwnedSemaphorePermit>,
}

impl FromRequestParts<Api> for Caller {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, Failure> {
        let trail = parts.extensions.get::<Trail>().cloned().unwrap_or_default();
        let is_control = is_control(&parts.method, &parts.uri);
        let token = bearer(parts)?;
        let turn = if is_control { None } else { Some(api.limits.turn().await?) };
        let subject = api.access.authenticate(&api.lane(is_control).store, token).await?;
        trail.set_actor(subject.to_string());
        if !is_control {
            api.limits.count(&subject.to_string())?;
        }
        Ok(Self { subject, trail, is_control, api: api.clone(), turn })
    }
}

fn bearer(parts: &Parts) -> Result<&str, Failure> {
    let missing = || Failure::new(Code::Unauthenticated, "the request has no header `Authorization: Bearer TOKEN`");
    let value = parts.headers.get(AUTHORIZATION).ok_or_else(missing)?;
    let (scheme, token) = value.to_str().ok().and_then(|value| value.split_once(' ')).ok_or_else(missing)?;
    if scheme.eq_ignore_ascii_case("bearer") { Ok(token.trim()) } else { Err(missing()) }
}

impl Caller {
    /// Returns the database of the request's lane.
    pub(crate) fn store(&self) -> &Store {
        &self.api.lane(self.is_control).store
    }

    /// Checks that the subject has a right in a namespace, or everywhere when there is none.
    pub(crate) async fn require(&self, right: Right, namespace: Option<&str>) -> Result<(), Failure> {
        Ok(self.api.access.authorize(self.store(), &self.subject, right, namespace).await??)
    }

    /// Waits for another turn at the database, after [`Self::end_turn`].
    pub(crate) async fn begin_turn(&mut self) -> Result<(), Failure> {
        self.turn = Some(self.api.limits.turn().await?);
        Ok(())
    }

    /// Gives the turn at the database back, before the request waits.
    pub(crate) fn end_turn(&mut self) {
        self.turn = None;
    }
}
