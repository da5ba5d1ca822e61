//! `meridian cluster remove`: removes a cluster from the fleet.

use crds::{Cluster, condition};
use kube::api::DeleteParams;
use serde_json::json;
use vocabulary::{ClusterName, labels};

use super::look::state;
use super::meeting::{is_the_cluster, meet};
use super::residents::{Report, apps, residents};
use super::uninstall;
use crate::args::RemoveArgs;
use crate::failure::Failure;
use crate::hub::{Hub, call, watch_until};
use crate::output;
use crate::progress::Progress;

/// Asks the user to type a name, unless `--yes` was given.
pub(super) fn confirm(yes: bool, question: &str, name: &str, progress: Progress) -> Result<(), Failure> {
    if yes {
        return Ok(());
    }
    if !progress.interactive() {
        return Err(Failure::Usage("this needs a confirmation and nobody can be asked here; add --yes".to_owned()));
    }
    let answer = Progress::ask(question).map_err(|error| Failure::Failed(error.to_string()))?;
    if answer == name { Ok(()) } else { Err(Failure::Superseded("not confirmed; nothing was changed".to_owned())) }
}

/// Treatment of the delivered objects in a cluster that leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Farewell {
    Release,
    Delete,
    /// The cluster no longer exists, so nothing can be done there.
    Forget,
}

impl Farewell {
    fn of(args: &RemoveArgs) -> Self {
        match (args.gone, args.delete_workloads) {
            (true, _) => Self::Forget,
            (false, true) => Self::Delete,
            (false, false) => Self::Release,
        }
    }

    fn effect(self) -> &'static str {
        match self {
            Self::Release => "what Meridian delivered there stays and runs on, without belonging to Meridian",
            Self::Delete => "what Meridian delivered there moves elsewhere and is deleted there",
            Self::Forget => {
                "what was placed there is forgotten and not cleaned up: if it still runs, it runs on without belonging to \
                 Meridian, beside the replicas that take its place"
            }
        }
    }

    /// Returns the annotation that requests this treatment from the operator.
    ///
    /// The value of the annotation is a UID, so that the request holds for this cluster only.
    fn annotation(self, cluster: &Cluster) -> Option<(&'static str, String)> {
        match self {
            Self::Release => None,
            Self::Delete => Some((labels::DELETE_WORKLOADS, cluster.metadata.uid.clone().unwrap_or_default())),
            Self::Forget => Some((labels::GONE, cluster.spec.uid.clone())),
        }
    }

    /// Refuses to forget a cluster that still answers.
    ///
    /// The operator would not forget it. The cluster would leave in another way than the user asked for.
    fn refuse(self, cluster: &Cluster) -> Result<(), Failure> {
        if self != Self::Forget || is_silent(cluster) {
            return Ok(());
        }
        let name = cluster.metadata.name.as_deref().unwrap_or_default();
        Err(Failure::Refused(format!(
            "cluster {name} answers, so it is not gone; `meridian cluster remove {name}` releases what runs there"
        )))
    }
}

/// Whether the hub shows the member's readiness as Unknown, or not at all.
fn is_silent(cluster: &Cluster) -> bool {
    let conditions = cluster.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
    output::condition(conditions, condition::READY).is_none_or(|ready| ready.status == "Unknown")
}

/// Returns the hint for a cluster that can no longer be reached.
fn if_gone(name: &ClusterName) -> String {
    format!("{name} does not answer: if it is gone for good, `meridian cluster remove {name} --gone` forgets it")
}

/// Runs `meridian cluster remove`.
pub(super) async fn remove(args: RemoveArgs, hub: &Hub, progress: Progress) -> Result<(), Failure> {
    let (name, format) = (args.name.as_str(), args.output.output);
    let cluster = hub.cluster(name).await?;
    let farewell = Farewell::of(&args);
    farewell.refuse(&cluster)?;
    let met = match args.member() {
        Some(member) => {
            let met = meet(&member, progress).await?;
            is_the_cluster(&cluster, &met)?;
            Some(met)
        }
        None => None,
    };
    let effect = farewell.effect();
    let mut report = Report {
        cluster: name,
        dry_run: args.consent.dry_run,
        state: state(&cluster),
        effect,
        applications: residents(&args.name, args.consent.dry_run, format, hub).await?,
        apps: apps(&cluster),
    };
    if args.consent.dry_run {
        report.show(format)?;
        progress.done(format!("{}; {effect}", report.sum()));
        progress.hint("nothing was changed; run it without --dry-run to remove the cluster");
        return Ok(());
    }
    confirm(
        args.consent.yes,
        &format!(
            "{} applications have objects in {name}; {effect}. Type the name of the cluster to go on:",
            report.apps
        ),
        name,
        progress,
    )?;
    if let Some((key, value)) = farewell.annotation(&cluster) {
        hub.patch_cluster(name, json!({ "metadata": { "annotations": { key: value } } })).await?;
    }
    let api = hub.clusters();
    call(&format!("cluster {name}"), api.delete(name, &DeleteParams::default())).await?;
    progress.done(format!("cluster {name} is leaving; {effect}"));
    report.state = "Leaving";
    let mut silent = false;
    let mut follow = |cluster: &Cluster| {
        let left = apps(cluster);
        if left != report.apps {
            report.apps = left;
            progress.doing(format!("{left} applications have objects there"));
        }
        // The hint is printed at once, so that a user who waits in vain can stop before the timeout.
        let was_silent = std::mem::replace(&mut silent, farewell != Farewell::Forget && is_silent(cluster));
        if silent && !was_silent {
            progress.hint(if_gone(&args.name));
        }
    };
    let gone = if let Some(limit) = args.wait.limit() {
        watch_until(hub.clusters(), &format!("cluster {name}"), name, limit, |cluster| {
            let Some(cluster) = cluster else { return Ok(Some(())) };
            follow(&cluster);
            Ok(None)
        })
        .await?
    } else {
        follow(&cluster);
        None
    };
    if gone.is_some() {
        (report.state, report.apps) = ("Gone", 0);
        progress.done(format!("cluster {name} is gone from the fleet"));
    }
    match (&met, gone) {
        (Some(met), Some(())) => uninstall::take_away(&met.access, progress).await?,
        (_, None) if farewell != Farewell::Forget => progress.hint(
            "our rights and credential there serve until the cluster is gone from the fleet; \
             `meridian cluster uninstall --kubeconfig FILE` takes them away then",
        ),
        (None, Some(())) if farewell != Farewell::Forget => progress.hint(
            "our rights and credential are still in the member; `meridian cluster uninstall --kubeconfig FILE` takes \
             them away",
        ),
        _ => {}
    }
    report.show(format)?;
    if gone.is_some() || args.wait.limit().is_none() {
        return Ok(());
    }
    let why = if silent { format!("; {}", if_gone(&args.name)) } else { String::new() };
    Err(Failure::TimedOut(format!(
        "{} applications still have objects in {name}; removal goes on: `meridian cluster describe {name}`{why}",
        report.apps
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cluster(ready: Option<&str>) -> Cluster {
        let condition = |status| {
            json!({ "type": "Ready", "status": status, "reason": "", "message": "",
                    "lastTransitionTime": "2026-11-02T03:04:05Z" })
        };
        serde_json::from_value(json!({
            "apiVersion": "fleet.meridian.io/v1alpha1", "kind": "Cluster",
            "metadata": { "name": "north", "uid": "of-the-object" },
            "spec": { "region": "n", "zones": ["n1"], "uid": "of-the-member", "connection": { "server": "https://n" } },
            "status": { "apps": 1, "conditions": ready.into_iter().map(condition).collect::<Vec<_>>() },
        }))
        .unwrap()
    }

    #[test]
    fn only_who_does_not_answer_is_forgotten() {
        for silent in [Some("Unknown"), None] {
            assert!(Farewell::Forget.refuse(&cluster(silent)).is_ok(), "{silent:?}");
        }
        for answers in ["True", "False"] {
            let refused = Farewell::Forget.refuse(&cluster(Some(answers)));
            assert!(matches!(refused, Err(Failure::Refused(_))), "{answers}");
            assert!(Farewell::Release.refuse(&cluster(Some(answers))).is_ok());
        }
    }

    #[test]
    fn annotations_for_the_operator_name_their_cluster() {
        let cluster = cluster(None);
        assert_eq!(Farewell::Release.annotation(&cluster), None);
        assert_eq!(Farewell::Delete.annotation(&cluster), Some((labels::DELETE_WORKLOADS, "of-the-object".to_owned())));
        assert_eq!(Farewell::Forget.annotation(&cluster), Some((labels::GONE, "of-the-member".to_owned())));
    }
}
