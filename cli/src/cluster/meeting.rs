//! Connects to a member as the administrator of a kubeconfig.

use crds::Cluster;
use members::admin::{self, AdminAccess};
use members::install;
use vocabulary::chain;

use crate::args::MemberFlags;
use crate::failure::Failure;
use crate::progress::Progress;

/// A member that was reached with the user's credentials.
pub(crate) struct Met {
    pub(crate) access: AdminAccess,
    pub(super) version: String,
    pub(crate) uid: String,
}

/// Refuses a kubeconfig that leads to another cluster than the one that joined under the name.
pub(crate) fn is_the_cluster(cluster: &Cluster, met: &Met) -> Result<(), Failure> {
    if cluster.spec.uid == met.uid {
        return Ok(());
    }
    Err(Failure::Refused(format!(
        "this is not the cluster that joined as {} (kube-system UID {} instead of {}); give the kubeconfig of that cluster",
        cluster.metadata.name.as_deref().unwrap_or_default(),
        met.uid,
        cluster.spec.uid
    )))
}

/// Connects to a member with the user's credentials, and reads its version and UID.
pub(crate) async fn meet(flags: &MemberFlags, progress: Progress) -> Result<Met, Failure> {
    let access = admin::load(&flags.kubeconfig, flags.context.as_deref())
        .await
        .map_err(|error| Failure::Usage(chain(&error)))?;
    let refused = |error: install::InstallError| Failure::member(&access.server, &error);
    let version = install::server_version(&access.client).await.map_err(refused)?;
    let uid = install::kube_system_uid(&access.client).await.map_err(refused)?;
    progress.done(format!("reached {} (Kubernetes {})", access.server, version.git_version));
    Ok(Met { version: version.git_version, uid, access })
}
