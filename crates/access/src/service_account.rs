//! Tokens of the hub: `ServiceAccount` tokens and others that its API server accepts.

use std::time::Duration;

use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec};
use kube::api::{Api, PostParams};
use kube::core::ObjectMeta;

use crate::{Subject, SubjectKind};

/// Audience that a token must be made for: `kubectl create token NAME --audience meridian-api`.
pub const AUDIENCE: &str = "meridian-api";
/// Timeout for a review. A hub that hangs must not hold up tokens that work without it.
const REVIEW_TIMEOUT: Duration = Duration::from_secs(3);
/// Beginning of the user names of `ServiceAccount`s.
const SERVICE_ACCOUNT: &str = "system:serviceaccount:";

/// Why a token of the hub is not accepted.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReviewError {
    /// The hub refuses the token.
    #[error("the hub does not accept the token: {0}")]
    Refused(String),
    /// The hub does not answer in time.
    #[error("the hub does not review tokens now: no answer within {} s", REVIEW_TIMEOUT.as_secs())]
    Late,
    /// The hub does not answer.
    #[error("the hub does not review tokens now")]
    Unavailable(#[source] Box<kube::Error>),
}

/// Returns the subject of a token that the hub accepts for [`AUDIENCE`].
pub(crate) async fn review(client: &kube::Client, token: &str) -> Result<Subject, ReviewError> {
    let spec = TokenReviewSpec { audiences: Some(vec![AUDIENCE.to_owned()]), token: Some(token.to_owned()) };
    let request = TokenReview { metadata: ObjectMeta::default(), spec, status: None };
    let reviews = Api::<TokenReview>::all(client.clone());
    let parameters = PostParams::default();
    let answer = tokio::time::timeout(REVIEW_TIMEOUT, reviews.create(&parameters, &request))
        .await
        .map_err(|_| ReviewError::Late)?
        .map_err(|error| ReviewError::Unavailable(Box::new(error)))?;
    let status = answer.status.unwrap_or_default();
    let refused = |why: &str| ReviewError::Refused(why.to_owned());
    if status.authenticated != Some(true) {
        return Err(refused(
            status.error.as_deref().unwrap_or("it is not valid, or not made for the audience meridian-api"),
        ));
    }
    // A hub that ignores audiences accepts tokens that were made for itself.
    if !status.audiences.unwrap_or_default().iter().any(|audience| audience == AUDIENCE) {
        return Err(refused("it was not made for the audience meridian-api"));
    }
    let user = status.user.unwrap_or_default();
    let name = user.username.unwrap_or_default();
    let groups = user.groups.unwrap_or_default();
    let (kind, name) = match name.strip_prefix(SERVICE_ACCOUNT).and_then(|rest| rest.split_once(':')) {
        Some((namespace, account)) => (SubjectKind::ServiceAccount, format!("{namespace}/{account}")),
        None => (SubjectKind::HubUser, name),
    };
    if name.is_empty() {
        return Err(refused("it names no user"));
    }
    Ok(Subject { kind, name, groups, scopes: Vec::new() })
}
