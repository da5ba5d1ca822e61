//! `meridian cluster uninstall`: removes what `join` installed in a member, and so the credential.

use members::admin::AdminAccess;
use members::install::{self, Change};

use super::meeting::meet;
use crate::args::UninstallArgs;
use crate::failure::Failure;
use crate::hub::Hub;
use crate::progress::Progress;

/// Runs `meridian cluster uninstall`.
pub(super) async fn run(
    args: UninstallArgs,
    hub: impl AsyncFnOnce() -> Result<Hub, Failure>,
    progress: Progress,
) -> Result<(), Failure> {
    let met = meet(&args.member, progress).await?;
    match joined_as(hub, &met.uid).await {
        Ok(Some(name)) => {
            return Err(Failure::Refused(format!(
                "this cluster is joined as {name}; run `meridian cluster remove {name} {member}`, which lets go what runs there first",
                member = args.member
            )));
        }
        Ok(None) => {}
        Err(failure) => {
            progress.warn(format!("whether the cluster still belongs to the hub is not known: {failure}"));
        }
    }
    let owner = install::recorded_owner(&met.access.client).await;
    let owner = owner.map_err(|error| Failure::member(&met.access.server, &error))?;
    let whose = owner.map_or_else(|| "Meridian".to_owned(), |owner| format!("the Meridian {owner}"));
    let question = format!("Take away what {whose} installed in {}? What it delivered stays.", met.access.server);
    progress.consent(args.yes, &question)?;
    take_away(&met.access, progress).await
}

/// Returns the name under which a cluster is joined.
async fn joined_as(hub: impl AsyncFnOnce() -> Result<Hub, Failure>, uid: &str) -> Result<Option<String>, Failure> {
    let clusters = hub().await?.all_clusters().await?;
    let joined = clusters.into_iter().find(|cluster| cluster.spec.uid == uid);
    Ok(joined.and_then(|cluster| cluster.metadata.name))
}

/// Removes roles, account and policies. Tokens of the account end with it.
pub(super) async fn take_away(access: &AdminAccess, progress: Progress) -> Result<(), Failure> {
    let report = install::uninstall(&access.client).await.map_err(|error| {
        Failure::member(
            &format!("{} (`meridian cluster uninstall --kubeconfig FILE` may be repeated)", access.server),
            &error,
        )
    })?;
    let removed = report.objects.iter().filter(|(_, change)| *change == Change::Removed).count();
    progress.done(format!(
        "took away what join installed in {} ({removed} objects); our credential there has ended",
        access.server
    ));
    Ok(())
}
