//! `POST /applications/{namespace}/{name}/rollback`: gives an Application the content of an earlier revision.

use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::http::HeaderMap;
use axum::response::Response;
use domain::stored_revision::StoredRevision;
use rest::NewRollback;
use serde_json::Value;
use store::{ApplicationRow, CellDecisionRow, RevisionRow, Slot};
use vocabulary::ContentHash;

use super::edit::Edit;
use super::follow::carry_out;
use super::receive::{Received, receive};
use crate::api::Api;
use crate::applications::{app_key, no_application};
use crate::body::PathOf;
use crate::caller::Caller;
use crate::code::Code;
use crate::failure::Failure;
use crate::revisions::{find, no_revision};

pub(crate) async fn rollback(
    State(api): State<Api>,
    mut caller: Caller,
    PathOf((namespace, name)): PathOf<(String, String)>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Failure> {
    let app = app_key(namespace, name)?;
    let received: Received<NewRollback> =
        receive(&mut caller, app.clone(), "rollback", query.as_deref(), &headers, body).await?;
    let NewRollback { to, force_conflicts, reason } = received.body.clone();
    let store = &api.general.store;
    let row = store.application_get(&app).await?.ok_or_else(|| no_application(&app))?;
    let revisions = store.revision_all(row.id).await?;
    let cells: Vec<CellDecisionRow> =
        store.cell_decision_list(&[row.id]).await?.into_iter().map(|(_, cell)| cell).collect();
    let target = target(to.as_deref(), &row.revision, &revisions, &cells)?;
    let spec = spec_of(&api, &row, target).await?;
    let asked = received.asked(&caller, Edit::Revision { spec, is_forced: force_conflicts }, reason)?;
    let outcome = carry_out(&api, &mut caller, &asked).await?;
    Ok(outcome.response(&caller))
}

/// Chooses the revision to go back to: the one asked for, else the one that cells kept, else the newest ready one.
fn target(
    to: Option<&str>,
    current: &ContentHash,
    revisions: &[RevisionRow],
    cells: &[CellDecisionRow],
) -> Result<ContentHash, Failure> {
    let ready: Vec<ContentHash> = revisions.iter().filter(|row| row.was_ready).map(|row| row.revision).collect();
    let others: Vec<String> = ready.iter().filter(|ready| *ready != current).map(ContentHash::to_string).collect();
    let targets = if others.is_empty() {
        "no other revision was ever fully ready".to_owned()
    } else {
        format!("a rollback may go to {}", others.join(", "))
    };
    if let Some(to) = to {
        let found = find(to, revisions)
            .map_err(|problem| Failure::of_field(Code::Invalid, "/to", format!("{problem}; {targets}")))?;
        if !found.was_ready {
            let detail = format!("revision {} was never fully ready; {targets}", found.revision);
            return Err(Failure::of_field(Code::Invalid, "/to", detail));
        }
        return Ok(found.revision);
    }
    let is_kept = |ready: &&ContentHash| cells.iter().any(|cell| cell.slot == Slot::Main && cell.revision == **ready);
    let mut earlier = ready.iter().filter(|ready| *ready != current);
    let kept = earlier.clone().find(is_kept);
    let found = kept.or_else(|| earlier.next());
    found.copied().ok_or_else(|| Failure::new(Code::Conflict, format!("there is nothing to go back to: {targets}")))
}

/// Returns the spec of a stored revision: components and overrides alone.
async fn spec_of(api: &Api, row: &ApplicationRow, revision: ContentHash) -> Result<Value, Failure> {
    let stored = api.general.store.payload_of_revision(row.id, revision, &api.envelope_key).await?;
    let bytes = stored.ok_or_else(|| no_revision(&revision.to_string()))?;
    let unreadable = |why: String| {
        Failure::new(Code::Conflict, format!("this version does not accept revision {revision} any more: {why}"))
    };
    let mut spec: Value = serde_json::from_slice(&bytes).map_err(|error| unreadable(error.to_string()))?;
    let parsed = StoredRevision::parse(&row.key, &bytes).map_err(unreadable)?;
    // The number of replicas is no part of a revision. The Application keeps its own.
    let template = parsed.blueprint.divided.and_then(|index| spec["components"][index]["template"].get_mut("spec"));
    if let Some(template) = template.and_then(Value::as_object_mut) {
        template.shift_remove("replicas");
    }
    Ok(spec)
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::super::next::tests::{cell, hash};
    use super::*;

    #[test]
    fn rollbacks_go_to_revisions_that_were_ready() {
        let row = |number: u8, was_ready: bool| RevisionRow {
            revision: hash(number),
            taken_at: Timestamp::from_second(i64::from(number)).unwrap(),
            was_ready,
        };
        // The newest first; 4 is the present one, and 3 failed.
        let all = [row(4, true), row(3, false), row(2, true), row(1, true)];
        let kept = [cell("a", Slot::Main, 1), cell("b", Slot::Main, 4), cell("b", Slot::Gray, 2)];
        let (two, three) = (hash(2).to_string(), hash(3).to_string());
        for (case, to, cells, expected) in [
            ("the previous", None, &[][..], Ok(2)),
            ("kept by a cell", None, &kept, Ok(1)),
            ("asked for", Some(two.as_str()), &kept, Ok(2)),
            ("its first digits", Some(&two[..10]), &[], Ok(2)),
            ("never ready", Some(three.as_str()), &[], Err("was never fully ready; a rollback may go to")),
            ("unknown", Some("0123456789"), &[], Err("there is no revision 0123456789; a rollback may go to")),
            ("no hash", Some("v2"), &[], Err("is no hash")),
        ] {
            match (target(to, &hash(4), &all, cells), expected) {
                (Ok(found), Ok(expected)) => assert_eq!(found, hash(expected), "{case}"),
                (Err(failure), Err(words)) => assert!(failure.detail.contains(words), "{case}: {failure:?}"),
                (found, expected) => panic!("{case}: expected {expected:?}, found {found:?}"),
            }
        }
        let alone = target(None, &hash(4), &all[..1], &[]).unwrap_err();
        assert_eq!(alone.code, Code::Conflict, "{alone:?}");
    }
}
