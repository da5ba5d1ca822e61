//! Records of one run, the input of the checker.
//!
//! All times are milliseconds from the start of the run.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::plan::Fault;

/// All observations of one run.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Gathered {
    /// Requests of users, in order.
    pub asked: Vec<Asked>,
    /// Faults that were injected.
    pub faults: Vec<Broken>,
    /// Versions of the applications' workloads in members, in the order of arrival.
    pub versions: Vec<Version>,
    /// Versions of the applications' status on the hub, in the order of arrival.
    pub statuses: Vec<Status>,
    /// Objects that Meridian created and deleted in members, in the order of each member's own audit log.
    pub writes: Vec<Written>,
    /// State after all faults ended and the fleet settled.
    pub end: End,
    /// End of the run.
    pub over: u64,
}

impl Gathered {
    /// Returns the last step of the plan that had begun at `at`.
    pub fn step_at(&self, at: u64) -> Option<usize> {
        let asked = self.asked.iter().map(|asked| (asked.at, asked.step));
        let broken = self.faults.iter().map(|broken| (broken.from, broken.step));
        asked.chain(broken).filter(|(begun, _)| *begun <= at).map(|(_, step)| step).max()
    }
}

/// One request of a user. The run records a request before it sends the request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Asked {
    /// Time of the request.
    pub at: u64,
    /// Index of the step in the plan.
    pub step: usize,
    /// Name of the application.
    pub app: String,
    /// State that the user requests.
    pub what: DesiredState,
}

/// State that a user can request for an application.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub enum DesiredState {
    /// A number of replicas of an image. Creating the application requests this state too.
    Run {
        /// Requested number of replicas.
        replicas: i64,
        /// Image of the first container.
        image: String,
    },
    /// The user deletes the application.
    Gone,
    /// The object vanished from the hub without a request; the workloads must keep running.
    Vanished,
}

/// A fault that was injected.
#[derive(Debug, Clone, Serialize)]
pub struct Broken {
    /// Kind and place of the fault.
    #[serde(serialize_with = "as_text")]
    pub fault: Fault,
    /// Number of the fault in the plan.
    pub number: usize,
    /// Step at which the fault began.
    pub step: usize,
    /// Time at which the fault began.
    pub from: u64,
    /// Time at which the repair began.
    pub healing: u64,
    /// Time at which the repair was complete.
    pub until: u64,
}

fn as_text<S: serde::Serializer>(fault: &Fault, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&format_args!("{fault:?}"))
}

/// One version of an application's workload in a member.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Version {
    /// Time at which the watch of the run received the version.
    pub at: u64,
    /// Name of the member.
    pub cluster: String,
    /// Name of the application, which is also the name of the workload.
    pub app: String,
    /// UID of the object.
    pub uid: String,
    /// The object was deleted.
    pub gone: bool,
    /// `spec.replicas`.
    pub replicas: i64,
    /// `status.availableReplicas`.
    pub available: i64,
    /// The member's own controllers have not observed the present spec.
    ///
    /// The next order of these controllers may follow an older spec.
    pub is_unobserved: bool,
    /// Fence annotation of the object.
    pub fence: Option<String>,
}

/// One version of an application's status on the hub.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Status {
    /// Time at which the watch of the run received the status.
    pub at: u64,
    /// Name of the application.
    pub app: String,
    /// `status.ready`.
    pub ready: i64,
    /// `status.staleReady`.
    pub stale_ready: i64,
    /// Cells of the application by cluster: ready replicas, and whether the number is stale.
    pub cells: BTreeMap<String, (i64, bool)>,
}

/// A write that created or deleted an object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Written {
    /// Time at which the API server received the request.
    pub at: u64,
    /// Name of the member.
    pub cluster: String,
    /// Plural name of the kind.
    pub resource: String,
    /// Name of the object.
    pub name: String,
    /// True for a creation, false for a deletion.
    pub made: bool,
}

/// State of hub, database and members at the end of the run.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct End {
    /// Applications on the hub, by name.
    pub hub: BTreeMap<String, Shown>,
    /// Rows of table `application`, by name.
    pub rows: BTreeMap<String, Row>,
    /// Rows of table `placement`.
    pub placements: Vec<Placement>,
    /// Objects of Meridian in members.
    pub objects: Vec<Object>,
}

/// An application on the hub.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Shown {
    /// `spec.replicas`.
    pub replicas: i64,
    /// Image of its workload.
    pub image: String,
    /// Status describes the present generation of the spec.
    pub current: bool,
    /// The object has a deletion timestamp.
    pub going: bool,
    /// Replicas without a place, from the last decision.
    pub shortfall: i64,
    /// Status and message of condition `Ready`.
    pub is_ready: (String, String),
    /// Totals and cells in status.
    pub status: Status,
    /// `status.desired`.
    pub desired: i64,
    /// `status.placed`.
    pub placed: i64,
    /// Shortened revision in status.
    pub revision: String,
    /// Plan of deletes that wait for a person's confirmation.
    pub pending: Option<String>,
}

/// A row of table `application`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, serde::Deserialize)]
pub struct Row {
    /// Replicas in the stored intent.
    pub replicas: i64,
    /// Revision in hexadecimal.
    pub revision: String,
    /// Removal policy of the application; nothing while no removal is requested.
    pub removal: Option<String>,
}

/// A row of table `placement`, joined with `placement_status`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, serde::Deserialize)]
pub struct Placement {
    /// Name of the application.
    pub app: String,
    /// Name of the member.
    pub cluster: String,
    /// Kind of the object.
    pub kind: String,
    /// Name of the object.
    pub name: String,
    /// The object carries replicas.
    pub divided: bool,
    /// Replicas that the scheduler decided.
    pub target: i64,
    /// Replicas that Meridian writes to the member: the higher of target and floor, plus surge.
    pub rendered: i64,
    /// Desired state: `Present`, `Delete` or `Orphan`.
    pub desired_state: String,
    /// State of the delivery.
    pub state: Option<String>,
    /// Decided revision in hexadecimal.
    pub revision: String,
    /// Revision of the last apply, in hexadecimal.
    pub applied: Option<String>,
    /// Available replicas by the last observation.
    pub available: i64,
}

/// An object that Meridian created in a member.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Object {
    /// Name of the member.
    pub cluster: String,
    /// Kind of the object.
    pub kind: String,
    /// Name of the object.
    pub name: String,
    /// `spec.replicas`.
    pub replicas: i64,
    /// `status.availableReplicas`.
    pub available: i64,
    /// `status.readyReplicas`.
    pub ready: i64,
    /// Image of the first container.
    pub image: String,
    /// Fence annotation of the object.
    pub fence: Option<String>,
}
