//! `meridian app …`

mod confirm;
mod delete;
mod diff;
mod import;
mod look;
mod status;

use crate::args::AppCommand;
use crate::failure::Failure;
use crate::hub::Hub;
use crate::progress::Progress;
use crate::release;

/// Runs one `meridian app` command.
pub(crate) async fn run(
    command: AppCommand,
    hub: impl AsyncFnOnce() -> Result<Hub, Failure>,
    progress: Progress,
) -> Result<(), Failure> {
    match command {
        AppCommand::List { namespace, all_namespaces, selector, output } => {
            let hub = hub().await?;
            let namespace = (!all_namespaces).then(|| hub.namespace(namespace.as_deref()));
            look::list(namespace.as_deref(), selector.as_deref(), output.output, &hub, progress).await
        }
        AppCommand::Describe { app, output } => look::describe(&app, output.output, &hub().await?).await,
        AppCommand::History { app, output } => look::history(&app, output.output, &hub().await?).await,
        AppCommand::Status { app, wait, pause, output } => {
            status::run(&app, wait.limit(), pause, output.output, &hub().await?, progress).await
        }
        AppCommand::ConfirmDelete(args) => confirm::run(&args, &hub().await?, progress).await,
        AppCommand::Import(args) => import::run(&args, hub().await?, progress).await,
        AppCommand::Delete(args) => delete::run(&args, &hub().await?, progress).await,
        // These ask the server of the API, and need the hub for the default namespace alone.
        AppCommand::Diff(args) => diff::run(&args, hub, progress).await,
        AppCommand::Rollback(args) => release::rollback(&args, hub, progress).await,
    }
}
