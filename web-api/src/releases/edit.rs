//! Edits an Application on the hub: read, change, check, write.

use std::collections::BTreeMap;
use std::time::Duration;

use crds::ApplicationSpec;
use domain::render::{Problem, blueprint};
use rest::FieldProblem;
use serde_json::{Value, json};
use vocabulary::{AppKey, ContentHash};

use super::images::set_images;
use crate::code::Code;
use crate::failure::Failure;
use crate::hub::{Hub, HubApplication, HubError};

/// Maximum number of times that an edit begins again because the object was changed meanwhile.
const ATTEMPTS_MAX: usize = 4;
/// Timeout for the whole edit.
const EDIT_TIMEOUT: Duration = Duration::from_secs(8);

/// What a request changes in the spec of an Application.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Edit {
    /// Images by component and container.
    Images(BTreeMap<String, String>),
    /// A JSON merge patch of the spec.
    Patch(Value),
    /// Components and overrides of an earlier revision.
    Revision {
        /// The spec with these two fields alone.
        spec: Value,
        /// Fields of other field managers are taken over.
        is_forced: bool,
    },
    /// Nothing: the present revision is released again.
    Nothing,
}

/// An Application after an edit.
#[derive(Debug, Clone)]
pub(super) struct Edited {
    /// Revision that the Application has.
    pub(super) revision: ContentHash,
    /// Generation that the Application has.
    pub(super) generation: i64,
    /// The edit changed components or overrides.
    pub(super) is_new_revision: bool,
    /// New revisions go in batches, as an operation.
    pub(super) has_batches: bool,
}

/// Makes an edit, or with `is_dry_run` checks it.
///
/// The API server and intake's own rules check the changed object before it is written.
pub(super) async fn edit(hub: &Hub, app: &AppKey, change: &Edit, is_dry_run: bool) -> Result<Edited, Failure> {
    let work = async {
        for _ in 0..ATTEMPTS_MAX {
            match attempt(hub, app, change, is_dry_run).await {
                Err(EditError::Hub(HubError::Changed(_))) => {}
                Err(EditError::Hub(error)) => return Err(of_hub(error, change)),
                Err(EditError::Refused(failure)) => return Err(failure),
                Ok(edited) => return Ok(edited),
            }
        }
        Err(of_hub(HubError::Changed(app.clone()), change))
    };
    let late = |_| {
        let detail = format!("the hub did not answer within {} s; the edit may have been made", EDIT_TIMEOUT.as_secs());
        Failure::new(Code::HubUnavailable, detail)
    };
    tokio::time::timeout(EDIT_TIMEOUT, work).await.map_err(late)?
}

enum EditError {
    Hub(HubError),
    Refused(Failure),
}

impl From<HubError> for EditError {
    fn from(error: HubError) -> Self {
        Self::Hub(error)
    }
}

impl From<Failure> for EditError {
    fn from(failure: Failure) -> Self {
        Self::Refused(failure)
    }
}

async fn attempt(hub: &Hub, app: &AppKey, change: &Edit, is_dry_run: bool) -> Result<Edited, EditError> {
    let before = hub.application(app).await?;
    if before.is_leaving {
        let detail = format!("Application {app} is being deleted; it gets no further revision");
        return Err(Failure::new(Code::Conflict, detail).into());
    }
    let write = async |is_dry_run: bool| match change {
        Edit::Images(images) => {
            let mut components = before.spec.get("components").cloned().unwrap_or(Value::Null);
            set_images(&mut components, images)?;
            let patch = json!({ "components": components });
            Ok(hub.patch_spec(app, &before, &patch, is_dry_run).await?)
        }
        Edit::Patch(patch) => Ok(hub.patch_spec(app, &before, patch, is_dry_run).await?),
        Edit::Revision { spec, is_forced } => Ok(hub.apply_spec(app, &before, spec, *is_forced, is_dry_run).await?),
        Edit::Nothing => Ok::<_, EditError>(before.clone()),
    };
    let planned = check(app, &write(true).await?, change)?;
    let mut edited = planned;
    if !is_dry_run {
        edited = check(app, &write(false).await?, change)?;
    }
    let known = parse(&before.spec).ok().and_then(|spec| blueprint(app, &spec).ok());
    edited.is_new_revision = known.is_none_or(|known| known.revision != edited.revision);
    Ok(edited)
}

fn parse(spec: &Value) -> Result<ApplicationSpec, serde_json::Error> {
    serde_json::from_value(spec.clone())
}

/// Checks an Application by the rules of intake, which would refuse the object otherwise.
fn check(app: &AppKey, object: &HubApplication, change: &Edit) -> Result<Edited, Failure> {
    let spec = parse(&object.spec).map_err(|error| {
        Failure::new(Code::Invalid, format!("this version does not read the spec of Application {app}: {error}"))
    })?;
    let found = blueprint(app, &spec).map_err(|problems| of_problems(&problems, change))?;
    Ok(Edited {
        revision: found.revision,
        generation: object.generation,
        is_new_revision: true,
        has_batches: spec.release.is_some(),
    })
}

fn of_problems(problems: &[Problem], change: &Edit) -> Failure {
    let field =
        |problem: &Problem| FieldProblem { pointer: pointer(&problem.field, change), detail: problem.message.clone() };
    let errors: Vec<FieldProblem> = problems.iter().map(field).collect();
    let lines: Vec<String> = errors.iter().map(|error| format!("{}: {}", error.pointer, error.detail)).collect();
    Failure { errors, ..Failure::new(Code::Invalid, lines.join("; ")) }
}

/// Converts an error of the hub into an answer.
fn of_hub(error: HubError, change: &Edit) -> Failure {
    let detail = error.to_string();
    match error {
        HubError::NotFound(_) => Failure::new(Code::NotFound, detail),
        HubError::Changed(_) => Failure::new(Code::Conflict, format!("{detail}, {ATTEMPTS_MAX} times in a row")),
        HubError::Owned(_) => Failure::new(Code::FieldsOwned, detail),
        HubError::Denied(_) => Failure::new(Code::HubRefused, detail),
        HubError::Unavailable(_) => Failure::new(Code::HubUnavailable, detail),
        HubError::Invalid { fields, .. } => {
            let code = if fields.iter().any(|field| field.is_unknown) { Code::UnknownField } else { Code::Invalid };
            let errors = fields
                .into_iter()
                .map(|field| FieldProblem { pointer: pointer(&field.field, change), detail: field.message })
                .collect();
            Failure { errors, ..Failure::new(code, detail) }
        }
    }
}

/// Returns a path such as `spec.components[0].name` as JSON pointer, in the body of the request where it is from there.
fn pointer(field: &str, change: &Edit) -> String {
    let mut pointer = String::new();
    for part in field.split(['.', '[', ']']).filter(|part| !part.is_empty()) {
        pointer.push('/');
        pointer.push_str(&part.replace('~', "~0").replace('/', "~1"));
    }
    match (change, pointer.strip_prefix("/spec/")) {
        (Edit::Patch(_), Some(rest)) => format!("/patch/{rest}"),
        _ => pointer,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_of_the_object_become_pointers_into_the_body() {
        let patch = Edit::Patch(json!({}));
        for (case, field, change, expected) in [
            ("a patch", "spec.components[0].template.kind", &patch, "/patch/components/0/template/kind"),
            ("no patch", "spec.components[0].name", &Edit::Nothing, "/spec/components/0/name"),
            ("metadata", "metadata.name", &patch, "/metadata/name"),
            ("a slash", "spec.a/b", &patch, "/patch/a~1b"),
        ] {
            assert_eq!(pointer(field, change), expected, "{case}");
        }
    }
}
