//! Sends verbs to the release of an Application.

use domain::operation::Verb;
use rest::{Client, ControlBody, NewRelease, Operation};

use super::{AppRef, last_release};
use crate::args::ReleaseVerbArgs;
use crate::failure::Failure;
use crate::op::{report, send, title};
use crate::progress::Progress;
use crate::shell::outcome;

/// Verb of a person for a release.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ReleaseVerb {
    Pause,
    Resume,
    Confirm,
    Skip,
    Abort,
    Undo,
    Retry,
}

/// Request that carries out a verb.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sent {
    /// A verb of the operation.
    Verb(Verb),
    /// A request for another release of the same revision.
    Another,
}

/// Checks the arguments of a verb before a request is sent.
pub(super) fn check(verb: ReleaseVerb, args: &ReleaseVerbArgs) -> Result<(), Failure> {
    let has_reason = args.reason.as_deref().is_some_and(|reason| !reason.trim().is_empty());
    if verb == ReleaseVerb::Skip && !has_reason {
        return Err(Failure::Usage("skip needs --reason TEXT, because the journal records it".to_owned()));
    }
    Ok(())
}

/// Runs `meridian release VERB`.
pub(super) async fn run(
    verb: ReleaseVerb,
    args: &ReleaseVerbArgs,
    app: &AppRef,
    client: &Client,
    progress: Progress,
) -> Result<(), Failure> {
    let release = last_release(app, client).await?;
    let reason = args.reason.clone();
    match sent(verb, &release, app)? {
        Sent::Verb(verb) => {
            let body = ControlBody { reason, ..ControlBody::default() };
            let operation = send(verb, release.id, &body, client).await?;
            report(verb, &operation, args.output.output, progress)
        }
        Sent::Another => {
            let new = NewRelease { reason: reason.unwrap_or_default(), ..NewRelease::default() };
            let begun = client.begin_release(&app.namespace, &app.name, &new, false).await;
            let begun = begun.map_err(|error| Failure::server(&format!("release of {app}"), &error))?;
            progress.done(format!("{app}: {}", begun.message));
            let name = begun.operation.map_or_else(|| begun.application.clone(), |id| format!("operation/{id}"));
            outcome(args.output.output, &name, &begun)
        }
    }
}

/// Chooses what is sent, by the state of the release.
fn sent(verb: ReleaseVerb, release: &Operation, app: &AppRef) -> Result<Sent, Failure> {
    let (id, title, state) = (release.id, title(release), &release.state);
    let (name, namespace) = (&app.name, &app.namespace);
    let has_begun = release.start_time.is_some();
    match verb {
        ReleaseVerb::Undo if !release.done => Err(Failure::Refused(format!(
            "{title} is {state}; `meridian release abort {name} -n {namespace}` ends it and gives all cells the previous revision"
        ))),
        ReleaseVerb::Undo => Ok(Sent::Verb(Verb::Revert)),
        // A failed operation goes on where it failed; one that was taken back is begun anew.
        ReleaseVerb::Retry if release.done && state != "Failed" => Ok(Sent::Another),
        ReleaseVerb::Retry => Ok(Sent::Verb(Verb::Retry)),
        _ if release.done => Err(Failure::Refused(format!(
            "no release is under way: {title} is {state}; `meridian release undo {name} -n {namespace}` takes it back, `meridian op get {id}` \
             shows it"
        ))),
        ReleaseVerb::Abort if has_begun => Ok(Sent::Verb(Verb::Revert)),
        ReleaseVerb::Abort => Ok(Sent::Verb(Verb::Cancel)),
        ReleaseVerb::Pause => Ok(Sent::Verb(Verb::Pause)),
        ReleaseVerb::Resume => Ok(Sent::Verb(Verb::Resume)),
        ReleaseVerb::Confirm => Ok(Sent::Verb(Verb::Confirm)),
        ReleaseVerb::Skip => Ok(Sent::Verb(Verb::Skip)),
    }
}

#[cfg(test)]
mod tests {
    use crate::op::tests::operation;

    use super::*;

    #[test]
    fn verbs_fit_the_state_of_the_release() {
        use ReleaseVerb::{Abort, Confirm, Pause, Resume, Retry, Skip, Undo};
        let app = AppRef { namespace: "shop".to_owned(), name: "web".to_owned() };
        for (case, verb, state, done, has_begun, expected) in [
            ("pause", Pause, "Running", false, true, Ok(Sent::Verb(Verb::Pause))),
            ("pause what is over", Pause, "Succeeded", true, true, Err("no release is under way")),
            ("resume", Resume, "Paused", false, true, Ok(Sent::Verb(Verb::Resume))),
            ("confirm", Confirm, "Paused", false, true, Ok(Sent::Verb(Verb::Confirm))),
            ("skip", Skip, "Paused", false, true, Ok(Sent::Verb(Verb::Skip))),
            ("abort", Abort, "Running", false, true, Ok(Sent::Verb(Verb::Revert))),
            ("abort what never began", Abort, "AwaitingLocks", false, false, Ok(Sent::Verb(Verb::Cancel))),
            ("abort what is over", Abort, "Succeeded", true, true, Err("meridian release undo")),
            ("undo", Undo, "Succeeded", true, true, Ok(Sent::Verb(Verb::Revert))),
            ("undo what goes on", Undo, "Running", false, true, Err("meridian release abort")),
            ("retry a batch", Retry, "Paused", false, true, Ok(Sent::Verb(Verb::Retry))),
            ("retry a failed one", Retry, "Failed", true, true, Ok(Sent::Verb(Verb::Retry))),
            ("retry after a rollback", Retry, "Reverted", true, true, Ok(Sent::Another)),
        ] {
            let mut release = operation(state, done);
            release.start_time = has_begun.then_some(release.create_time);
            match (sent(verb, &release, &app), expected) {
                (Ok(found), Ok(expected)) => assert_eq!(found, expected, "{case}"),
                (Err(failure), Err(words)) => assert!(failure.to_string().contains(words), "{case}: {failure}"),
                (found, expected) => panic!("{case}: expected {expected:?}, found {found:?}"),
            }
        }
    }
}
