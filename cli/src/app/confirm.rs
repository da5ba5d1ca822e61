//! `meridian app confirm-delete`: confirms deletes that wait because there are many of them.

use crds::application::v1alpha1::PendingDeletes;
use vocabulary::labels;

use crate::args::ConfirmArgs;
use crate::failure::Failure;
use crate::hub::Hub;
use crate::output::structured;
use crate::progress::Progress;
use crate::shell::emit;

/// Action of the command.
#[derive(Debug, PartialEq)]
enum Course<'a> {
    /// No delete waits for a confirmation.
    Nothing,
    /// Show the waiting deletes without confirming them.
    Show(&'a PendingDeletes),
    /// Confirm the waiting deletes, because the user named their plan.
    Confirm(&'a PendingDeletes),
}

fn course<'a>(pending: Option<&'a PendingDeletes>, plan: Option<&str>, what: &str) -> Result<Course<'a>, Failure> {
    match (pending, plan) {
        (None, None) => Ok(Course::Nothing),
        (None, Some(_)) => Err(Failure::Superseded(format!("{what}: no delete waits for a confirmation any more"))),
        (Some(pending), None) => Ok(Course::Show(pending)),
        (Some(pending), Some(plan)) if pending.plan == plan => Ok(Course::Confirm(pending)),
        (Some(pending), Some(plan)) => Err(Failure::Superseded(format!(
            "{what}: plan {plan} is not what waits now; it is {}. Look at it and confirm that one",
            pending.plan
        ))),
    }
}

/// Runs `meridian app confirm-delete`.
pub(super) async fn run(args: &ConfirmArgs, hub: &Hub, progress: Progress) -> Result<(), Failure> {
    let app = &args.app;
    let namespace = hub.namespace(app.namespace.as_deref());
    let status = hub.app(&namespace, &app.name).await?.status.unwrap_or_default();
    let what = format!("application {namespace}/{}", app.name);
    if let Some(text) = structured(args.output.output, &status.pending_deletes)? {
        emit(&text)?;
    } else if let Some(pending) = &status.pending_deletes {
        emit(&table(pending))?;
    }
    match course(status.pending_deletes.as_ref(), args.plan.as_deref(), &what)? {
        Course::Nothing => {
            progress.done(format!("{what}: no delete waits for a confirmation"));
            args.unchanged.end(format!("{what}: nothing was changed"))
        }
        Course::Show(pending) if args.pause.exit_on_pause => Err(Failure::Waits(waits(&namespace, &app.name, pending))),
        Course::Show(pending) => {
            progress.hint(waits(&namespace, &app.name, pending));
            Ok(())
        }
        Course::Confirm(pending) => {
            let objects = counted(pending);
            progress.consent(args.yes, &format!("Delete {objects} of {what} in the members?"))?;
            hub.annotate_app(&namespace, &app.name, labels::CONFIRM_DELETE, &pending.plan).await?;
            progress.done(format!("confirmed plan {}: {objects} are deleted", pending.plan));
            progress.hint(format!("`meridian app status {} -n {namespace}` follows it", app.name));
            Ok(())
        }
    }
}

fn counted(pending: &PendingDeletes) -> String {
    if pending.count == 1 { "1 object".to_owned() } else { format!("{} objects", pending.count) }
}

/// Lists the objects to be deleted, and the reason why their deletion waits.
pub(super) fn table(pending: &PendingDeletes) -> String {
    let mut text = format!("Plan {}: {} would be deleted\n", pending.plan, counted(pending));
    for object in &pending.objects {
        text.push_str(&format!("  {object}\n"));
    }
    let shown = i32::try_from(pending.objects.len()).unwrap_or(i32::MAX);
    if shown < pending.count {
        text.push_str(&format!("  and {} more\n", pending.count - shown));
    }
    text.push_str(&format!("Why it waits: {}\n", pending.reason));
    text
}

/// Reports that deletes wait, and names the command that confirms them.
pub(super) fn waits(namespace: &str, name: &str, pending: &PendingDeletes) -> String {
    format!(
        "application {namespace}/{name}: {} wait for a confirmation; `meridian app confirm-delete {name} -n {namespace} --plan {} --yes` deletes them",
        counted(pending),
        pending.plan
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_plan_that_was_shown_is_confirmed() {
        let pending = PendingDeletes {
            plan: "a1".to_owned(),
            objects: vec!["north: ConfigMap web".to_owned()],
            count: 3,
            reason: "3 of 5 objects".to_owned(),
        };
        assert_eq!(course(None, None, "x").unwrap(), Course::Nothing);
        assert_eq!(course(Some(&pending), None, "x").unwrap(), Course::Show(&pending));
        assert_eq!(course(Some(&pending), Some("a1"), "x").unwrap(), Course::Confirm(&pending));
        let stale = course(Some(&pending), Some("b2"), "x").unwrap_err().to_string();
        assert!(stale.contains("b2 is not what waits now; it is a1"), "{stale}");
        assert!(matches!(course(None, Some("a1"), "x"), Err(Failure::Superseded(_))));
        let shown = table(&pending);
        assert!(shown.contains("north: ConfigMap web") && shown.contains("and 2 more"), "{shown}");
    }
}
