//! Takes a cluster out of the fleet.

use crds::condition::READY;
use kube::api::DeleteParams;
use serde_json::json;
use vocabulary::labels;

use crate::args::RemoveArgs;
use crate::failure::Failure;
use crate::hub::{Hub, call, watch_until};
use crate::output::condition;
use crate::progress::Progress;

/// Asks a person to type a name, unless they said yes already.
pub(super) fn confirm(yes: bool, question: &str, name: &str, progress: Progress) -> Result<(), Failure> {
    if yes {
        return Ok(());
    }
    if !progress.interactive() {
        return Err(Failure::Usage("this needs a confirmation and nobody can be asked here; add --yes".to_owned()));
    }
    let answer = Progress::ask(question).map_err(|error| Failure::Failed(error.to_string()))?;
    if answer == name { Ok(()) } else { Err(Failure::Refused("not confirmed; nothing was changed".to_owned())) }
}

/// `meridian cluster remove`
pub(super) async fn remove(args: RemoveArgs, hub: &Hub, progress: Progress) -> Result<(), Failure> {
    let name = args.name.as_str();
    let cluster = hub.cluster(name).await?;
    let ready = cluster.status.as_ref().and_then(|status| condition(&status.conditions, READY));
    if args.gone && ready.is_some_and(|ready| ready.status != "Unknown") {
        return Err(Failure::Refused(format!(
            "cluster {name} answers, so it is not gone; `meridian cluster remove {name}` releases what runs there"
        )));
    }
    let apps = cluster.status.as_ref().map(|status| status.apps).unwrap_or_default();
    let what = if args.gone {
        "what was placed there is forgotten: if it still runs, it runs on without belonging to Meridian, beside the replicas \
         that take its place"
    } else if args.delete_workloads {
        "what Meridian delivered there moves elsewhere and is deleted there"
    } else {
        "what Meridian delivered there stays and runs on, without belonging to Meridian"
    };
    confirm(
        args.yes,
        &format!("{apps} applications have objects in {name}; {what}. Type the name of the cluster to go on:"),
        name,
        progress,
    )?;
    if args.delete_workloads {
        let uid = cluster.metadata.uid.clone().unwrap_or_default();
        hub.patch_cluster(name, json!({ "metadata": { "annotations": { labels::DELETE_WORKLOADS: uid } } })).await?;
    }
    if args.gone {
        let change = json!({ "metadata": { "annotations": { labels::GONE: cluster.spec.uid } } });
        hub.patch_cluster(name, change).await?;
    }
    let api = hub.clusters();
    call(&format!("cluster {name}"), api.delete(name, &DeleteParams::default())).await?;
    progress.done(format!("cluster {name} is leaving; {what}"));
    if args.timeout.is_zero() {
        return Ok(());
    }
    let mut left = apps;
    let gone = watch_until(hub.clusters(), &format!("cluster {name}"), name, args.timeout, |cluster| {
        let Some(cluster) = cluster else { return Ok(Some(())) };
        let now = cluster.status.map(|status| status.apps).unwrap_or_default();
        if now != left {
            left = now;
            progress.doing(format!("{left} applications have objects there"));
        }
        Ok(None)
    })
    .await?;
    match gone {
        Some(()) => {
            progress.done(format!("cluster {name} is gone from the fleet"));
            Ok(())
        }
        None => Err(Failure::TimedOut(format!(
            "{left} applications still have objects in {name}; removal goes on: `meridian cluster describe {name}`{}",
            if ready.is_some_and(|ready| ready.status == "Unknown") && !args.gone {
                format!(
                    "; it does not answer: if it is gone for good, `meridian cluster remove {name} --gone` forgets it"
                )
            } else {
                String::new()
            }
        ))),
    }
}
