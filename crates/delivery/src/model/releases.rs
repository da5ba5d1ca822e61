//! A release from its first replica to the return of the last one, as directives order it.

use std::collections::BTreeMap;

use store::DesiredState;
use vocabulary::ContentHash;

use super::directives::DirectiveEdit;
use super::edits::{AppEdit, Edit, What};
use super::world::World;

/// Returns the decided replicas of the only application by revision.
fn revisions(world: &World<'_>) -> BTreeMap<ContentHash, i32> {
    let mut found = BTreeMap::new();
    let present = |row: &&store::PlacementRow| row.divided && row.desired_state == DesiredState::Present;
    for row in world.tables.placements.values().filter(present).filter(|row| row.target > 0) {
        *found.entry(row.revision).or_default() += row.target;
    }
    found
}

fn wanted(world: &World<'_>) -> ContentHash {
    world.tables.apps.values().next().unwrap().revision
}

/// Returns the number of gray workloads in all members.
fn gray_objects(world: &World<'_>) -> usize {
    world.members.values().flat_map(|member| member.objects.keys()).filter(|(.., name)| name.ends_with("-gray")).count()
}

#[test]
fn release_moves_replicas_to_the_gray_slot_and_back() {
    let app = |change: AppEdit| Edit { what: What::App(0, change), steps: Vec::new(), rest: true };
    let release = |cluster, revision, gray, main| {
        let edit = DirectiveEdit::Release { app: 0, cell: None, revision, gray, main };
        Edit { what: What::Directive(cluster, edit), steps: Vec::new(), rest: true }
    };
    let mut world = World::new(None);
    for edit in [app(AppEdit::ByRelease(true)), app(AppEdit::Create), app(AppEdit::ByRelease(true))] {
        world.edit(&edit).unwrap();
    }
    let first = revisions(&world);
    world.edit(&app(AppEdit::Content(1))).unwrap();
    assert_eq!(revisions(&world), first, "a new revision waits for a release");
    let wanted = wanted(&world);
    assert_ne!(first, [(wanted, 6)].into());
    world.edit(&release(0, 0, 1, false)).unwrap();
    assert_eq!(revisions(&world).get(&wanted), Some(&1), "one replica is gray");
    assert_eq!(gray_objects(&world), 1);
    world.edit(&app(AppEdit::Replicas(9))).unwrap();
    assert_eq!(revisions(&world).get(&wanted), Some(&1), "new replicas join the main slot");
    for cluster in 0..3 {
        world.edit(&release(cluster, 0, 2, true)).unwrap();
    }
    assert_eq!(revisions(&world), [(wanted, 9)].into(), "both slots run the revision");
    for cluster in 0..3 {
        world.edit(&release(cluster, 0, 0, true)).unwrap();
    }
    assert_eq!((revisions(&world), gray_objects(&world)), ([(wanted, 9)].into(), 0));
    let end = Edit { what: What::Directive(0, DirectiveEdit::EndReleases(0)), steps: Vec::new(), rest: true };
    world.edit(&end).unwrap();
    assert_eq!(revisions(&world), [(wanted, 9)].into(), "the cells keep what they run");
}
