//! Random edits by users, faults of members, and steps of the processes.

use proptest::collection::vec;
use proptest::prelude::*;

use super::directives::{DirectiveEdit, directive_edit};
use super::hub::KINDS;

/// Scope of the main workload of an application.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Multiply {
    Divided,
    PerCell,
    PerCluster,
}

/// Component beside the main workload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    ConfigMap,
    ConfigPerCell,
    Service,
    StatefulSet,
    Job,
}

/// Edit of an Application.
#[derive(Debug, Clone)]
pub(super) enum AppEdit {
    Create,
    Delete,
    RenameComponent(usize),
    RenameObject(usize),
    RenameBoth(usize),
    Multiply(Multiply),
    /// Sets another kind or API version of the main workload.
    Kind(usize),
    Replicas(i32),
    OwnReplicas(Option<i32>),
    Content(u8),
    ContentOfSide(usize),
    Add(Side),
    Remove(usize),
    RenameSide(usize),
    Suspend(bool),
    Select(u8),
    MaxPerCluster(Option<i32>),
    SpreadByZone(bool),
    Reschedule(bool),
    AdoptAlways(bool),
    /// Sets or removes `spec.release`.
    ByRelease(bool),
}

/// Edit of a cluster or a cell.
#[derive(Debug, Clone, Copy)]
pub(super) enum FleetEdit {
    Cordon(bool),
    /// Sets or removes the label that an override rule selects.
    Gold(bool),
    /// Sets the node selector of a declared cell.
    Pool(usize, u8),
    Drain(bool),
    Silent(bool),
    Remove {
        delete: bool,
    },
    Join,
    Declare(usize),
    DeleteCell(usize),
    Misdeclare(usize),
}

/// Change in a member that Meridian did not make.
#[derive(Debug, Clone, Copy)]
pub(super) enum MemberEdit {
    DeleteObject(usize),
    BreakPods(usize, i32),
    Linger(u32),
}

/// Step of one process or of a member's controllers.
#[derive(Debug, Clone, Copy)]
pub(super) enum Step {
    Decide,
    /// A second scheduler reads and decides now, and writes at the next `Write`.
    Read,
    Write,
    Deliver(usize),
    Work(usize),
    /// All processes end and start anew.
    Restart,
}

/// Target and content of an edit.
#[derive(Debug, Clone)]
pub(super) enum What {
    App(usize, AppEdit),
    Cluster(usize, FleetEdit),
    Member(usize, MemberEdit),
    Directive(usize, DirectiveEdit),
}

/// An edit, and the steps that run before the next edit.
#[derive(Debug, Clone)]
pub(super) struct Edit {
    pub(super) what: What,
    pub(super) steps: Vec<Step>,
    /// Whether the model settles before the next edit.
    pub(super) rest: bool,
}

fn app_edit() -> impl Strategy<Value = AppEdit> {
    use AppEdit::{
        Add, AdoptAlways, Content, ContentOfSide, Create, Delete, Kind, MaxPerCluster, OwnReplicas, Remove, RenameBoth,
        RenameComponent, RenameObject, RenameSide, Replicas, Reschedule, Select, SpreadByZone, Suspend,
    };
    let multiply = prop_oneof![Just(Multiply::Divided), Just(Multiply::PerCell), Just(Multiply::PerCluster)];
    let side = prop_oneof![
        Just(Side::ConfigMap),
        Just(Side::ConfigPerCell),
        Just(Side::Service),
        Just(Side::StatefulSet),
        Just(Side::Job)
    ];
    prop_oneof![
        2 => Just(Create),
        1 => Just(Delete),
        3 => (0usize..3).prop_map(RenameComponent),
        3 => (0usize..3).prop_map(RenameObject),
        2 => (0usize..3).prop_map(RenameBoth),
        3 => multiply.prop_map(AppEdit::Multiply),
        2 => (0..KINDS.len()).prop_map(Kind),
        3 => (0i32..10).prop_map(Replicas),
        1 => proptest::option::of(1i32..4).prop_map(OwnReplicas),
        2 => (0u8..3).prop_map(Content),
        1 => (0usize..4).prop_map(ContentOfSide),
        2 => side.prop_map(Add),
        1 => (0usize..4).prop_map(Remove),
        1 => (0usize..4).prop_map(RenameSide),
        1 => any::<bool>().prop_map(Suspend),
        2 => (0u8..16).prop_map(Select),
        1 => proptest::option::of(1i32..5).prop_map(MaxPerCluster),
        1 => any::<bool>().prop_map(SpreadByZone),
        1 => any::<bool>().prop_map(Reschedule),
        1 => any::<bool>().prop_map(AdoptAlways),
        2 => any::<bool>().prop_map(AppEdit::ByRelease),
    ]
}

fn fleet_edit() -> impl Strategy<Value = FleetEdit> {
    use FleetEdit::*;
    prop_oneof![
        2 => any::<bool>().prop_map(Cordon),
        2 => any::<bool>().prop_map(Gold),
        1 => (0usize..2, 0u8..3).prop_map(|(cell, pool)| Pool(cell, pool)),
        4 => any::<bool>().prop_map(Drain),
        3 => any::<bool>().prop_map(Silent),
        1 => any::<bool>().prop_map(|delete| Remove { delete }),
        2 => Just(Join),
        2 => (0usize..2).prop_map(Declare),
        1 => (0usize..2).prop_map(DeleteCell),
        1 => (0usize..2).prop_map(Misdeclare),
    ]
}

fn member_edit() -> impl Strategy<Value = MemberEdit> {
    prop_oneof![
        (0usize..8).prop_map(MemberEdit::DeleteObject),
        (0usize..8, 1i32..4).prop_map(|(nth, count)| MemberEdit::BreakPods(nth, count)),
        (0u32..4).prop_map(MemberEdit::Linger),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => Just(Step::Decide),
        1 => Just(Step::Read),
        1 => Just(Step::Write),
        6 => (0usize..4).prop_map(Step::Deliver),
        6 => (0usize..4).prop_map(Step::Work),
        1 => Just(Step::Restart),
    ]
}

/// Generates sequences of 1 to 40 edits.
pub(super) fn edits() -> impl Strategy<Value = Vec<Edit>> {
    let what = prop_oneof![
        6 => (0usize..2, app_edit()).prop_map(|(app, edit)| What::App(app, edit)),
        3 => (0usize..4, fleet_edit()).prop_map(|(cluster, edit)| What::Cluster(cluster, edit)),
        1 => (0usize..4, member_edit()).prop_map(|(cluster, edit)| What::Member(cluster, edit)),
        2 => (0usize..4, directive_edit()).prop_map(|(cluster, edit)| What::Directive(cluster, edit)),
    ];
    let edit = (what, vec(step(), 0..10), prop::bool::weighted(0.3)).prop_map(|(what, steps, rest)| Edit {
        what,
        steps,
        rest,
    });
    vec(edit, 1..=40)
}
