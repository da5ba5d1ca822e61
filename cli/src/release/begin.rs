//! `meridian release start` and `meridian app rollback`: begin a release.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;
use std::time::Duration;

use rest::{Client, ClientError, NewRelease, NewRollback, StartedRelease};
use serde_json::Value;

use super::AppRef;
use crate::args::{ImageOf, ReleaseStartArgs, RollbackArgs};
use crate::failure::Failure;
use crate::hub::{Hub, namespace_of};
use crate::op::{View, Wait, wait_for};
use crate::output::Format;
use crate::progress::Progress;
use crate::server;
use crate::shell::{emit, outcome};

/// Code of the server where another field manager owns fields.
const FIELDS_OWNED: &str = "fields-owned";

/// Behaviour of a command after its release began.
#[derive(Debug, Clone, Copy)]
struct After {
    /// Timeout for the wait; `None` does not wait.
    limit: Option<Duration>,
    stop_on_pause: bool,
    is_dry_run: bool,
    format: Format,
}

/// Runs `meridian release start`.
pub(super) async fn start(
    args: &ReleaseStartArgs,
    app: &AppRef,
    client: &Client,
    progress: Progress,
) -> Result<(), Failure> {
    let new = NewRelease {
        images: images(&args.images)?,
        patch: args.patch.as_deref().map(read_patch).transpose()?,
        reason: args.reason.clone(),
    };
    let begun = client.begin_release(&app.namespace, &app.name, &new, args.dry_run).await;
    let begun = begun.map_err(|error| Failure::server(&format!("release of {app}"), &error))?;
    let after = After {
        limit: args.wait.limit(),
        stop_on_pause: args.exit_on_pause,
        is_dry_run: args.dry_run,
        format: args.output.output,
    };
    follow(&begun, after, app, client, progress).await
}

/// Runs `meridian app rollback`.
pub(crate) async fn rollback(
    args: &RollbackArgs,
    hub: impl AsyncFnOnce() -> Result<Hub, Failure>,
    progress: Progress,
) -> Result<(), Failure> {
    let client = server::connect(&args.server)?;
    let app = AppRef { namespace: namespace_of(&args.app, hub).await?, name: args.app.name.clone() };
    let new = NewRollback { to: args.to.clone(), force_conflicts: args.force_conflicts, reason: args.reason.clone() };
    let begun = client.roll_back(&app.namespace, &app.name, &new, args.dry_run).await;
    let begun = begun.map_err(|error| refused(&app, &error))?;
    let after = After {
        limit: args.wait.limit(),
        stop_on_pause: args.exit_on_pause,
        is_dry_run: args.dry_run,
        format: args.output.output,
    };
    follow(&begun, after, &app, &client, progress).await
}

/// Names the flag that takes fields over, where the server refuses a rollback because of them.
fn refused(app: &AppRef, error: &ClientError) -> Failure {
    let failure = Failure::server(&format!("rollback of {app}"), error);
    match (failure, error.problem()) {
        (Failure::Superseded(message), Some(problem)) if problem.code == FIELDS_OWNED => {
            Failure::Superseded(format!("{message}; --force-conflicts takes the fields over"))
        }
        (failure, _) => failure,
    }
}

/// Returns the images by target. A target that occurs twice is refused.
fn images(given: &[ImageOf]) -> Result<Option<BTreeMap<String, String>>, Failure> {
    let mut images = BTreeMap::new();
    for ImageOf { target, image } in given {
        if images.insert(target.clone(), image.clone()).is_some() {
            return Err(Failure::Usage(format!("--image {target} occurs twice")));
        }
    }
    Ok((!images.is_empty()).then_some(images))
}

fn read_patch(path: &Path) -> Result<Value, Failure> {
    let unreadable = |error: std::io::Error| Failure::Usage(format!("{}: {error}", path.display()));
    let mut text = String::new();
    if path == Path::new("-") {
        std::io::stdin().read_to_string(&mut text).map_err(unreadable)?;
    } else {
        text = std::fs::read_to_string(path).map_err(unreadable)?;
    }
    let patch: Value =
        serde_saphyr::from_str(&text).map_err(|error| Failure::Usage(format!("{}: {error}", path.display())))?;
    if !patch.is_object() {
        return Err(Failure::Usage(format!("{}: no object; write the fields of spec that change", path.display())));
    }
    if patch.get("spec").is_some() && patch.get("kind").is_some() {
        return Err(Failure::Usage(format!(
            "{}: a whole object; write the fields of spec that change, or apply the file with kubectl",
            path.display()
        )));
    }
    Ok(patch)
}

/// Reports what became of a request, and waits for its operation if asked to.
async fn follow(
    begun: &StartedRelease,
    after: After,
    app: &AppRef,
    client: &Client,
    progress: Progress,
) -> Result<(), Failure> {
    let name = format!("application.fleet.meridian.io/{}", app.name);
    progress.done(format!("{app}: {}", begun.message));
    match (begun.operation, after.limit) {
        (Some(id), Some(limit)) => {
            let After { stop_on_pause, format, .. } = after;
            wait_for(Wait { id, limit: Some(limit), stop_on_pause, view: View::Table, format }, client, progress).await
        }
        (Some(id), None) => {
            progress
                .hint(format!("`meridian release status {} -n {} -w` shows how it goes on", app.name, app.namespace));
            match after.format {
                // A person needs the id for the next command, and a pipeline reads it here.
                Format::Table | Format::Wide => emit(&format!("operation/{id}\n")),
                Format::Json | Format::Yaml | Format::Name => outcome(after.format, &format!("operation/{id}"), begun),
            }
        }
        (None, limit) => {
            outcome(after.format, &name, begun)?;
            let is_reached = begun.done || after.is_dry_run || limit.is_none();
            if is_reached { Ok(()) } else { Err(Failure::TimedOut(format!("{app}: no operation could be waited for"))) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(target: &str, image: &str) -> ImageOf {
        ImageOf { target: target.to_owned(), image: image.to_owned() }
    }

    #[test]
    fn images_are_named_once() {
        let both = images(&[of("web", "w:2"), of("web/proxy", "p:3")]).unwrap().unwrap();
        assert_eq!(both.len(), 2);
        assert_eq!(images(&[]).unwrap(), None);
        let twice = images(&[of("web", "w:2"), of("web", "w:3")]).unwrap_err();
        assert!(twice.to_string().contains("web occurs twice"), "{twice}");
    }

    #[test]
    fn rollbacks_that_meet_another_manager_name_the_flag() {
        let problem = |code: &str| {
            ClientError::Refused(Box::new(
                serde_json::from_value(serde_json::json!({
                    "type": "/problems/x", "title": "X", "status": 409, "code": code, "detail": "why", "remedy": "do this",
                }))
                .unwrap(),
            ))
        };
        let app = AppRef { namespace: "shop".to_owned(), name: "web".to_owned() };
        for (code, expected) in [("fields-owned", true), ("conflict", false)] {
            let failure = refused(&app, &problem(code));
            assert!(matches!(failure, Failure::Superseded(_)), "{code}: {failure:?}");
            assert_eq!(failure.to_string().contains("--force-conflicts"), expected, "{code}: {failure}");
        }
    }
}
