//! Deletes orphans: objects of ours in a member that belong to no row. Limits apply.
//!
//! A create that arrived late leaves an orphan. A row is stored before its object is created. An object observed before
//! the rows were read, and in none of those rows, is therefore an orphan.
//!
//! Only the observed version of the object is deleted. An object that was written meanwhile is kept.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use members::{MemberError, Preconditions};
use store::StoreError;
use tokio::time::Instant;
use vocabulary::Fence;

use crate::observe::observed_object::ObservedObject;
use crate::session::Session;

/// Maximum number of orphans deleted without a person. More than a few are no late creates.
const PRUNED_MAX: usize = 10;
/// The same limit as a percentage of the objects placed in the member. The larger limit applies.
const PRUNED_PERCENT: usize = 20;
/// Maximum clock difference between a member and the database that is allowed for.
const CLOCK_SKEW_MAX: SignedDuration = SignedDuration::from_mins(5);
/// Maximum number of object names in a message.
const NAMED_MAX: usize = 3;

/// Plan for the orphans of a member.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct OrphanPlan {
    /// Orphans to delete now.
    pub(crate) prune: Vec<ObservedObject>,
    /// Message for users; `None` when there are no orphans.
    pub(crate) message: Option<String>,
}

/// Rules and state of the cluster that decide about orphans.
#[derive(Debug, Clone, Copy)]
pub(crate) struct OrphanRules<'a> {
    /// Identity of this installation of Meridian.
    pub(crate) installation: &'a str,
    /// Generation of its database.
    pub(crate) generation: u32,
    /// Time when the member joined; `None` when it is unknown.
    pub(crate) joined: Option<Timestamp>,
    /// Number of rows in the member.
    pub(crate) placed: usize,
    /// Whether objects in the member are newer than the database.
    pub(crate) outdated: bool,
    /// Minimum age of an orphan before it is deleted. A person who sees it can act until then.
    pub(crate) age_min: Duration,
}

/// Chooses the orphans to delete. Each comes with the time since when it is an orphan.
pub(crate) fn plan_orphans(
    orphans: Vec<(ObservedObject, Instant)>,
    now: Instant,
    rules: OrphanRules<'_>,
) -> OrphanPlan {
    // Objects without a fence are copies that controllers of Kubernetes made with our labels. Objects of another
    // installation, or of a newer generation of this database, are left alone.
    let is_ours = |live: &ObservedObject| {
        live.installation.as_deref() == Some(rules.installation)
            && live.fence.is_some_and(|fence| fence.generation <= rules.generation)
    };
    let ours = orphans.into_iter().filter(|(live, _)| is_ours(live) && !live.deleting);
    // An object older than the join was left behind when the cluster was removed. It is no late create.
    let was_there = |live: &ObservedObject| {
        let joined = rules.joined.and_then(|joined| joined.checked_add(CLOCK_SKEW_MAX).ok());
        matches!((live.created, joined), (Some(created), Some(joined)) if created < joined)
    };
    let (left, mut ours): (Vec<_>, Vec<_>) = ours.partition(|(live, _)| was_there(live));
    if ours.is_empty() {
        let message = (!left.is_empty()).then(|| {
            format!(
                "{} stayed here when the cluster was removed, and run on without an Application: {}; delete there what is not needed",
                count(left.len()),
                named(&left)
            )
        });
        return OrphanPlan { prune: Vec::new(), message };
    }
    ours.sort_by_key(|(live, _)| live.key.to_string());
    let (names, number) = (named(&ours), ours.len());
    let objects = count(number);
    if rules.outdated {
        let message = format!(
            "{objects} belong to no Application: {names}; the database is older than this member, so none is deleted; see what its Applications say"
        );
        return OrphanPlan { prune: Vec::new(), message: Some(message) };
    }
    let limit = PRUNED_MAX.max(rules.placed * PRUNED_PERCENT / 100);
    if number > limit {
        let message = format!(
            "{objects} belong to no Application: {names}; more than {limit} are not deleted by themselves, delete there what is not needed"
        );
        return OrphanPlan { prune: Vec::new(), message: Some(message) };
    }
    let message = format!("{objects} belong to no Application and are deleted, but for StatefulSets: {names}");
    let is_due = |(live, since): &(ObservedObject, Instant)| {
        // A person must remove a StatefulSet, because its pods have identities of their own.
        now.saturating_duration_since(*since) >= rules.age_min && live.key.kind != "StatefulSet"
    };
    let prune = ours.into_iter().filter(is_due).map(|(live, _)| live).take(PRUNED_MAX).collect();
    OrphanPlan { prune, message: Some(message) }
}

fn count(objects: usize) -> String {
    if objects == 1 { "1 object of this Meridian".to_owned() } else { format!("{objects} objects of this Meridian") }
}

/// Lists the first objects by name, and the number of further ones.
fn named(orphans: &[(ObservedObject, Instant)]) -> String {
    let mut names: Vec<String> = orphans.iter().map(|(live, _)| live.key.to_string()).collect();
    names.sort_unstable();
    let more = names.len().saturating_sub(NAMED_MAX);
    names.truncate(NAMED_MAX);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("{}{more}", names.join(", "))
}

impl Session {
    /// Deletes the orphans of `plan`, which was made before the rows were read again.
    pub(crate) async fn prune(&self, plan: Vec<ObservedObject>) -> Result<(), StoreError> {
        if plan.is_empty() {
            return Ok(());
        }
        let objects: Vec<_> = plan.iter().map(|live| (self.name().to_owned(), live.key.clone())).collect();
        let owners = self.delivery().store.placement_owners(&objects).await?;
        let is_owned = |live: &ObservedObject| {
            let same = |owner: &store::OwnerRow| {
                owner.object.group() == live.key.group()
                    && owner.object.kind == live.key.kind
                    && owner.object.namespace == live.key.namespace
                    && owner.object.name == live.key.name
            };
            owners.iter().any(same)
        };
        for live in plan.iter().filter(|live| !is_owned(live)) {
            let Some(fence) = live.fence else { continue };
            match self.take_away(live, fence).await {
                Ok(()) => {
                    self.delivery().metrics.orphans_pruned.get_or_create(&self.label()).inc();
                    tracing::warn!(cluster = self.name(), object = %live.key, "deleted an object that belongs to no row");
                }
                Err(error) => tracing::warn!(
                    cluster = self.name(), object = %live.key, error = vocabulary::chain(&error),
                    "an object that belongs to no row was not deleted; it is tried again"
                ),
            }
        }
        Ok(())
    }

    async fn take_away(&self, live: &ObservedObject, fence: Fence) -> Result<(), MemberError> {
        let Some(kind) = self.member_info().kind(&live.key.api_version, &live.key.kind).cloned() else { return Ok(()) };
        let (member, namespace, name) = (self.member(), &live.key.namespace, &live.key.name);
        let seen = Preconditions { uid: Some(live.uid.clone()), resource_version: Some(live.resource_version.clone()) };
        if domain::render::is_never_deleted(&live.key) {
            let owner = self.former_owner(live.app.as_deref().unwrap_or_default());
            return member.release(&kind, namespace, name, fence, &seen, &owner).await.map(|_| ());
        }
        let stamped = member.stamp_delete(&kind, namespace, name, fence, &seen).await?;
        member.delete(&kind, namespace, name, &Preconditions::of(&stamped)).await
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use vocabulary::labels;

    use super::*;

    fn orphan(kind: &str, name: &str, installation: &str, generation: u32) -> ObservedObject {
        let object = json!({"metadata": {
            "name": name, "namespace": "shop", "uid": name, "resourceVersion": "5",
            "labels": {labels::MANAGED: "true"},
            "annotations": {
                labels::INSTALLATION: installation,
                labels::FENCE: Fence { generation, authority: 1, plan: 1 },
            },
        }});
        ObservedObject::read("apps/v1", kind, &object).unwrap()
    }

    const AGE_MIN: Duration = Duration::from_mins(1);

    fn rules(placed: usize) -> OrphanRules<'static> {
        OrphanRules { installation: "i", generation: 2, joined: None, placed, outdated: false, age_min: AGE_MIN }
    }

    fn names(plan: &OrphanPlan) -> Vec<&str> {
        plan.prune.iter().map(|live| live.key.name.as_str()).collect()
    }

    #[test]
    fn only_old_orphans_of_this_installation_are_deleted() {
        let now = Instant::now() + AGE_MIN * 2;
        let (old, new) = (now - AGE_MIN, now);
        let orphans = vec![
            (orphan("Deployment", "late", "i", 1), old),
            (orphan("Deployment", "just-seen", "i", 1), new),
            (orphan("Deployment", "of-another-installation", "j", 1), old),
            (orphan("Deployment", "of-a-newer-database", "i", 3), old),
            (orphan("StatefulSet", "with-an-identity", "i", 1), old),
        ];
        let plan = plan_orphans(orphans, now, rules(100));
        assert_eq!(names(&plan), ["late"]);
        assert!(plan.message.is_some_and(|message| message.starts_with("3 objects")));
        assert_eq!(plan_orphans(Vec::new(), now, rules(100)).message, None);
    }

    #[test]
    fn objects_from_before_the_cluster_joined_are_left() {
        let now = Instant::now() + AGE_MIN * 2;
        let joined: Timestamp = "2026-01-01T12:00:00Z".parse().unwrap();
        let orphan = |name: &str, created: &str| {
            let live = ObservedObject { created: Some(created.parse().unwrap()), ..orphan("Deployment", name, "i", 1) };
            (live, now - AGE_MIN)
        };
        let (before, late) = (orphan("before", "2026-01-01T11:00:00Z"), orphan("late", "2026-01-01T13:00:00Z"));
        let rules = OrphanRules { joined: Some(joined), ..rules(100) };
        let plan = plan_orphans(vec![before.clone(), late], now, rules);
        assert_eq!(names(&plan), ["late"]);
        let plan = plan_orphans(vec![before], now, rules);
        assert_eq!(names(&plan), [""; 0]);
        assert!(plan.message.is_some_and(|message| message.contains("stayed here")));
    }

    #[test]
    fn older_database_deletes_no_orphan() {
        let now = Instant::now() + AGE_MIN * 2;
        let orphans = vec![(orphan("Deployment", "newer-than-the-backup", "i", 1), now - AGE_MIN)];
        let plan = plan_orphans(orphans, now, OrphanRules { outdated: true, ..rules(100) });
        assert_eq!(names(&plan), [""; 0]);
        assert!(plan.message.is_some_and(|message| message.contains("the database is older")));
    }

    #[test]
    fn many_orphans_wait_for_a_person() {
        let now = Instant::now() + AGE_MIN * 2;
        for (count, placed, pruned) in [(10, 0, 10), (11, 0, 0), (11, 55, 10), (40, 100, 0)] {
            let orphans = (0..count).map(|n| (orphan("Deployment", &format!("d{n:02}"), "i", 1), now - AGE_MIN));
            let plan = plan_orphans(orphans.collect(), now, rules(placed));
            assert_eq!(plan.prune.len(), pruned, "{count} of {placed}");
            assert!(plan.message.is_some());
        }
    }
}
