//! Handshake with a member: verifies its identity and reads its kinds and our permissions.
//!
//! Runs before the first delivery to the member, and again periodically.

use std::collections::HashMap;

use members::{ApiKind, Member, MemberError, Unusable};
use vocabulary::Verdict;

use crate::observe::entry::GroupKind;

/// Version and kinds of a member, limited to the kinds that Meridian may deliver.
#[derive(Debug, Clone, Default)]
pub(crate) struct MemberInfo {
    pub(crate) version: String,
    /// Version of the manifests that join installed in the member; `None` when it cannot be read.
    pub(crate) installation: Option<u32>,
    /// Kinds that can be delivered, observed and pruned.
    kinds: Vec<ApiKind>,
}

const PERMISSION_MISSING: &str = "PermissionMissing";
/// Reason: no credential was handed over.
pub(crate) const NO_CREDENTIAL: &str = "NoCredential";
/// Reason: this process cannot open the stored credential.
pub(crate) const CREDENTIAL_UNUSABLE: &str = "CredentialUnusable";

/// Reason why a member cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Unavailable {
    pub(crate) verdict: Verdict,
    pub(crate) reason: &'static str,
    pub(crate) message: String,
}

impl Unavailable {
    /// Whether the member is reported as unusable at once, without waiting for the silence limit.
    ///
    /// A missing permission is not certain: an API server that has just started lacks its own RBAC rules for a moment.
    pub(crate) fn is_certain(&self) -> bool {
        self.verdict == Verdict::Fail && self.reason != PERMISSION_MISSING
    }

    pub(crate) fn of(error: &MemberError) -> Self {
        let (verdict, reason) = match error {
            MemberError::Unauthorized { .. } => (Verdict::Fail, "CredentialRejected"),
            MemberError::Config { .. } => (Verdict::Fail, "ConnectionInvalid"),
            MemberError::Forbidden { .. } => (Verdict::Fail, PERMISSION_MISSING),
            MemberError::Throttled { .. } => (Verdict::Unknown, "Throttled"),
            _ => (Verdict::Unknown, "Unreachable"),
        };
        Self { verdict, reason, message: error.to_string() }
    }

    /// Unavailable of a cluster that has no usable member in this process.
    pub(crate) fn without_member(name: &str, why: Option<Unusable>) -> Self {
        let (verdict, reason, message) = match why {
            Some(Unusable::Connection(message)) => (Verdict::Fail, "ConnectionInvalid", message),
            Some(Unusable::OtherConnection(message)) => (Verdict::Fail, "CredentialForOtherConnection", message),
            // Unknown, because another process may be able to open the credential.
            Some(Unusable::Credential(message)) => (Verdict::Unknown, CREDENTIAL_UNUSABLE, message),
            None => (
                Verdict::Unknown,
                NO_CREDENTIAL,
                format!(
                    "no credential was handed over yet; run `meridian cluster update-credential {name} --kubeconfig FILE`"
                ),
            ),
        };
        Self { verdict, reason, message }
    }
}

impl MemberInfo {
    /// Names of the kinds, sorted: `group/version/Kind`, or `version/Kind` in the core group.
    pub(crate) fn kind_names(&self) -> Vec<String> {
        let mut names: Vec<String> =
            self.kinds.iter().map(|kind| format!("{}/{}", kind.api_version(), kind.kind)).collect();
        names.sort();
        names
    }

    /// Finds a served kind by `group/version` and name.
    pub(crate) fn kind(&self, api_version: &str, name: &str) -> Option<&ApiKind> {
        self.kinds.iter().find(|kind| kind.kind == name && kind.api_version() == api_version)
    }

    /// Returns the kinds to watch, in the versions given.
    pub(crate) fn watchable(&self, wanted: &HashMap<GroupKind, String>) -> Vec<ApiKind> {
        wanted.iter().filter_map(|((_, name), api_version)| self.kind(api_version, name).cloned()).collect()
    }
}

/// Checks that the responding server is the expected member.
pub(crate) fn is_expected(member: &Member, uid: &str, expected_uid: &str) -> Result<(), Unavailable> {
    if uid == expected_uid {
        return Ok(());
    }
    let name = member.name();
    Err(Unavailable {
        verdict: Verdict::Fail,
        reason: "AnotherCluster",
        message: format!(
            "the server answers for the cluster with kube-system UID {uid}, not {expected_uid}; if it takes the other's place, run `meridian cluster replace {name} --kubeconfig FILE`"
        ),
    })
}

/// Verifies the identity of a member and reads its version, kinds and our permissions.
pub(crate) async fn handshake(member: &Member, expected_uid: &str) -> Result<MemberInfo, Unavailable> {
    let trouble = |error: MemberError| Unavailable::of(&error);
    let version = member.version().await.map_err(trouble)?;
    let uid = member.kube_system_uid().await.map_err(trouble)?;
    is_expected(member, &uid, expected_uid)?;
    if !version.supported() {
        return Err(Unavailable {
            verdict: Verdict::Fail,
            reason: "MemberOutdated",
            message: format!("{} is too old: Meridian needs Kubernetes 1.30 or later", version.git_version),
        });
    }
    let served = member.discover().await.map_err(trouble)?;
    let namespaced: Vec<ApiKind> = served
        .into_iter()
        .filter(|kind| {
            kind.namespaced
                && ["get", "list", "watch", "patch", "delete"].iter().all(|verb| kind.verbs.iter().any(|v| v == verb))
        })
        .collect();
    let access = member.permissions(&namespaced).await.map_err(trouble)?;
    let kinds = access.into_iter().filter(members::KindAccess::deliverable).map(|access| access.kind).collect();
    let installation = match member.installation().await {
        // A member that denies reading the installed version can be used all the same.
        Err(MemberError::Forbidden { .. }) => None,
        found => found.map_err(trouble)?,
    };
    Ok(MemberInfo { version: version.git_version, installation, kinds })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_member_reports_its_cause() {
        let of = |why| Unavailable::without_member("north", why);
        let connection = of(Some(Unusable::Connection("spec.connection.proxyUrl: no URL".to_owned())));
        assert_eq!((connection.verdict, connection.reason), (Verdict::Fail, "ConnectionInvalid"));
        assert_eq!(connection.message, "spec.connection.proxyUrl: no URL");
        let credential = of(Some(Unusable::Credential("another key".to_owned())));
        assert_eq!((credential.verdict, credential.message.as_str()), (Verdict::Unknown, "another key"));
        assert!(of(None).message.contains("meridian cluster update-credential north"));
    }
}
