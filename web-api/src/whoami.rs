//! `GET /whoami`: the subject of the token, its roles and its rights.

use access::{Right, authorize};
use axum::extract::State;
use axum::response::Response;
use rest::{RoleView, WhoAmI};

use crate::answer::json;
use crate::api::Api;
use crate::caller::Caller;
use crate::failure::Failure;

/// Needs no right: every subject may ask about itself.
pub(crate) async fn whoami(State(api): State<Api>, caller: Caller) -> Result<Response, Failure> {
    let bindings = api.access.bindings(caller.store()).await?;
    let subject = &caller.subject;
    let roles = bindings
        .of(subject)
        .map(|(role, namespace)| RoleView { role: role.as_str().to_owned(), namespace: namespace.map(str::to_owned) });
    let rights = Right::all().filter(|right| authorize(&bindings, subject, *right, None).is_ok());
    Ok(json(&WhoAmI {
        subject: subject.to_string(),
        kind: subject.kind.as_str().to_owned(),
        name: subject.name.clone(),
        groups: subject.groups.clone(),
        scopes: subject.scopes.iter().map(|scope| scope.as_str().to_owned()).collect(),
        roles: roles.collect(),
        rights: rights.map(|right| right.as_str().to_owned()).collect(),
    }))
}
