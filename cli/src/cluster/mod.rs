//! `meridian cluster …`

mod declared;
mod join;
mod leave;
mod look;
pub(crate) mod meeting;
mod permissions;
mod residents;
mod standing;
mod uninstall;

use crate::args::ClusterCommand;
use crate::failure::Failure;
use crate::hub::Hub;
use crate::progress::Progress;

/// Runs one `meridian cluster` command.
pub(crate) async fn run(
    command: ClusterCommand,
    hub: impl AsyncFnOnce() -> Result<Hub, Failure>,
    progress: Progress,
) -> Result<(), Failure> {
    match command {
        ClusterCommand::Join(args) => join::join(args, &hub().await?, progress).await,
        ClusterCommand::Replace(args) => join::replace(args, &hub().await?, progress).await,
        ClusterCommand::UpdateCredential { name, member, wait, output } => {
            join::update_credential(&name, &member, wait.limit(), output.output, &hub().await?, progress).await
        }
        ClusterCommand::List { output } => look::list(output.output, &hub().await?, progress).await,
        ClusterCommand::Describe { name, output } => look::describe(&name, output.output, &hub().await?).await,
        ClusterCommand::Cordon { name, unchanged, output } => {
            standing::cordon(&name, unchanged, output.output, &hub().await?, progress).await
        }
        ClusterCommand::Uncordon { name, unchanged, output } => {
            standing::uncordon(&name, unchanged, output.output, &hub().await?, progress).await
        }
        ClusterCommand::Drain(args) => standing::drain(&args, &hub().await?, progress).await,
        ClusterCommand::Remove(args) => leave::remove(args, &hub().await?, progress).await,
        ClusterCommand::Uninstall(args) => uninstall::run(args, hub, progress).await,
        ClusterCommand::Permissions(args) => permissions::run(args, hub, progress).await,
    }
}
