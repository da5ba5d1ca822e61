//! A member is restored from an older state, or loses an object: it is put right, and nothing is made twice.

use acceptance::manifests::{namespace, patch, web};
use acceptance::{Fleet, History, SOON};
use anyhow::{Context, ensure};
use crds::Cluster;
use jiff::Timestamp;
use kube::Api;
use serde_json::json;
use testbed::{Revisions, eventually};

const DEPLOYMENTS: &str = "apps/v1/Deployment";

pub(crate) async fn a_member_restored_from_an_older_snapshot_is_put_right(fleet: &mut Fleet) -> anyhow::Result<()> {
    a_member_restored(fleet, Revisions::Bumped, "member").await
}

/// The member is restored without etcd's instructions: its revisions go back.
pub(crate) async fn a_member_restored_with_revisions_that_go_back_is_put_right(
    fleet: &mut Fleet,
) -> anyhow::Result<()> {
    a_member_restored(fleet, Revisions::GoBack, "member-went-back").await
}

async fn a_member_restored(fleet: &mut Fleet, revisions: Revisions, space: &str) -> anyhow::Result<()> {
    namespace(fleet, space)?;
    fleet.apply("hub", &web(space, "web", 6))?;
    fleet.ready(space, "web").await?;
    let snapshot = fleet.bed.snapshot("south-a", space).await?;
    seen_well(fleet, "south-a").await?;
    patch(fleet, space, "web", &json!({"spec": {"replicas": 12}}))?;
    fleet.ready(space, "web").await?;
    let uid = |fleet: &Fleet| -> anyhow::Result<String> {
        let object = fleet.get("south-a", "deployment", space, "web")?.context("delivered")?;
        Ok(object["metadata"]["uid"].to_string())
    };
    let (object, creations) = (uid(fleet)?, created(fleet, "south-a", space));
    fleet.bed.restore("south-a", Some(&snapshot), revisions).await?;
    eventually("it is told the present number again", SOON, async || {
        let object = fleet.get("south-a", "deployment", space, "web")?.context("restored")?;
        ensure!(object["spec"]["replicas"] == 4, "{}", object["spec"]["replicas"]);
        Ok(Some(()))
    })
    .await?;
    fleet.ready(space, "web").await?;
    ensure!(uid(fleet)? == object, "it is the same object");
    ensure!(created(fleet, "south-a", space) == creations, "nothing is made again");
    fleet.meridian(&["app", "delete", "web", "-n", space, "--yes", "--timeout", "60s"]).map(drop)
}

pub(crate) async fn an_object_deleted_behind_our_back_is_made_again_once(fleet: &mut Fleet) -> anyhow::Result<()> {
    namespace(fleet, "behind")?;
    fleet.apply("hub", &web("behind", "web", 6))?;
    fleet.ready("behind", "web").await?;
    let history = History::follow(fleet, &["south-a"], DEPLOYMENTS, "behind").await?;
    let before = created(fleet, "south-a", "behind");
    fleet.kubectl("south-a", &["delete", "deployment", "web", "-n", "behind"])?;
    eventually("it is there again", SOON, async || {
        let object = fleet.get("south-a", "deployment", "behind", "web")?.context("not yet")?;
        Ok((object["status"]["availableReplicas"] == 2).then_some(()))
    })
    .await?;
    fleet.ready("behind", "web").await?;
    ensure!(history.lives("south-a", "web") == 2, "the one before and the one after");
    ensure!(created(fleet, "south-a", "behind") == before + 1, "it was made once");
    fleet.meridian(&["app", "delete", "web", "-n", "behind", "--yes", "--timeout", "60s"]).map(drop)
}

/// Waits until a member is healthy by facts that are newer than this call.
///
/// The member's store may have stopped for so long that the member became silent. A silent member receives no replicas.
async fn seen_well(fleet: &Fleet, member: &str) -> anyhow::Result<()> {
    let begun = Timestamp::now();
    let clusters: Api<Cluster> = Api::all(fleet.client("hub").await?);
    eventually("the member is seen well", SOON, async || {
        let status = clusters.get(member).await?.status.context("no status yet")?;
        let ready =
            status.conditions.iter().find(|condition| condition.type_ == "Ready").context("no condition yet")?;
        ensure!(ready.status == "True", "{ready:?}");
        Ok(status.as_of.is_some_and(|seen| seen.0 > begun).then_some(()))
    })
    .await
}

/// Returns the number of objects that Meridian created in a namespace of a member.
///
/// The source is the member's audit log.
fn created(fleet: &Fleet, member: &str, namespace: &str) -> usize {
    let events = fleet.member_events();
    let made = events.iter().filter(|(cluster, event)| cluster == member && event.namespace == namespace);
    made.filter(|(_, event)| event.is_creation()).count()
}
