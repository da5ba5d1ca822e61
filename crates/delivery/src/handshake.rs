//! First member_info with a member, and again from time to time: is it the one we think, what does it serve, what may we do.

use std::collections::HashMap;

use members::{ApiKind, Member, MemberError, Unusable};
use vocabulary::Verdict;

use crate::observe::cluster_state::GroupKind;

/// What a member serves and lets us do.
#[derive(Debug, Clone, Default)]
pub(crate) struct MemberInfo {
    pub(crate) version: String,
    /// Version of what join installed there; nothing when it is not known.
    pub(crate) installation: Option<u32>,
    /// Kinds that can be delivered, observed and pruned.
    kinds: Vec<ApiKind>,
}

const PERMISSION_MISSING: &str = "PermissionMissing";
/// Nobody handed a credential over.
pub(crate) const NO_CREDENTIAL: &str = "NoCredential";
/// This process cannot open the credential it has.
pub(crate) const CREDENTIAL_UNUSABLE: &str = "CredentialUnusable";

/// Why a member cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Trouble {
    pub(crate) verdict: Verdict,
    pub(crate) reason: &'static str,
    pub(crate) message: String,
}

impl Trouble {
    /// It says at once that the member cannot be used. A missing right does not: an API server that has just begun does
    /// not know its own rules for a moment.
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

    /// Of a cluster without a member: why it has none.
    pub(crate) fn without_member(name: &str, why: Option<Unusable>) -> Self {
        let (verdict, reason, message) = match why {
            Some(Unusable::Connection(message)) => (Verdict::Fail, "ConnectionInvalid", message),
            Some(Unusable::OtherConnection(message)) => (Verdict::Fail, "CredentialForOtherConnection", message),
            // It speaks of this process: another may be able to use it.
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
    /// `group/version/Kind`, or `version/Kind` in the core group, sorted.
    pub(crate) fn kind_names(&self) -> Vec<String> {
        let mut names: Vec<String> =
            self.kinds.iter().map(|kind| format!("{}/{}", kind.api_version(), kind.kind)).collect();
        names.sort();
        names
    }

    /// The kind as served, by `group/version` and name.
    pub(crate) fn kind(&self, api_version: &str, name: &str) -> Option<&ApiKind> {
        self.kinds.iter().find(|kind| kind.kind == name && kind.api_version() == api_version)
    }

    /// Kinds to be watches, in the versions given.
    pub(crate) fn watchable(&self, wanted: &HashMap<GroupKind, String>) -> Vec<ApiKind> {
        wanted.iter().filter_map(|((_, name), api_version)| self.kind(api_version, name).cloned()).collect()
    }
}

/// Whether the one who answers is the member we think.
pub(crate) fn is_expected(member: &Member, uid: &str, expected_uid: &str) -> Result<(), Trouble> {
    if uid == expected_uid {
        return Ok(());
    }
    let name = member.name();
    Err(Trouble {
        verdict: Verdict::Fail,
        reason: "AnotherCluster",
        message: format!(
            "the server answers for the cluster with kube-system UID {uid}, not {expected_uid}; if it takes the other's place, run `meridian cluster replace {name} --kubeconfig FILE`"
        ),
    })
}

/// Meets a member.
pub(crate) async fn handshake(member: &Member, expected_uid: &str) -> Result<MemberInfo, Trouble> {
    let trouble = |error: MemberError| Trouble::of(&error);
    let version = member.version().await.map_err(trouble)?;
    let uid = member.kube_system_uid().await.map_err(trouble)?;
    is_expected(member, &uid, expected_uid)?;
    if !version.supported() {
        return Err(Trouble {
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
        // A member that lets us in and does not let us read this takes part all the same.
        Err(MemberError::Forbidden { .. }) => None,
        found => found.map_err(trouble)?,
    };
    Ok(MemberInfo { version: version.git_version, installation, kinds })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_no_member_says_why_and_only_the_last_asks_for_a_credential() {
        let of = |why| Trouble::without_member("north", why);
        let connection = of(Some(Unusable::Connection("spec.connection.proxyUrl: no URL".to_owned())));
        assert_eq!((connection.verdict, connection.reason), (Verdict::Fail, "ConnectionInvalid"));
        assert_eq!(connection.message, "spec.connection.proxyUrl: no URL");
        let credential = of(Some(Unusable::Credential("another key".to_owned())));
        assert_eq!((credential.verdict, credential.message.as_str()), (Verdict::Unknown, "another key"));
        assert!(of(None).message.contains("meridian cluster update-credential north"));
    }
}
