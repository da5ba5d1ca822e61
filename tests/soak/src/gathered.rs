//! What a run leaves behind for the checker. All times are milliseconds from the start of the run.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::plan::Fault;

/// Everything that was seen.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Gathered {
    /// What was asked for, in order.
    pub asked: Vec<Asked>,
    /// What was broken.
    pub faults: Vec<Broken>,
    /// Versions of the applications' workloads in members, as they arrived.
    pub versions: Vec<Version>,
    /// Versions of the applications' status on the hub, as they arrived.
    pub statuses: Vec<Status>,
    /// Objects made and deleted by Meridian in members, in the order of each member's own log.
    pub writes: Vec<Written>,
    /// How everything was once it was healed and quiet.
    pub end: End,
    /// When the run was over.
    pub over: u64,
}

impl Gathered {
    /// The last step of the plan that had begun by then.
    pub fn step_at(&self, at: u64) -> Option<usize> {
        let asked = self.asked.iter().map(|asked| (asked.at, asked.step));
        let broken = self.faults.iter().map(|broken| (broken.from, broken.step));
        asked.chain(broken).filter(|(begun, _)| *begun <= at).map(|(_, step)| step).max()
    }
}

/// One thing that was asked for; noted before it is asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Asked {
    /// When.
    pub at: u64,
    /// Step of the plan.
    pub step: usize,
    /// Application.
    pub app: String,
    /// What.
    pub what: DesiredState,
}

/// What can be asked of an application.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub enum DesiredState {
    /// So many replicas of an image; also what it is made with.
    Run {
        /// Replicas.
        replicas: i64,
        /// Image.
        image: String,
    },
    /// To be deleted.
    Gone,
    /// Nothing was asked: the object vanished from the hub. What runs is to run on.
    Vanished,
}

/// A fault as it was.
#[derive(Debug, Clone, Serialize)]
pub struct Broken {
    /// What.
    #[serde(serialize_with = "as_text")]
    pub fault: Fault,
    /// Its number in the plan.
    pub number: usize,
    /// Step at which it began.
    pub step: usize,
    /// When it began.
    pub from: u64,
    /// When it began to be put right.
    pub healing: u64,
    /// When it had ended.
    pub until: u64,
}

fn as_text<S: serde::Serializer>(fault: &Fault, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&format_args!("{fault:?}"))
}

/// A workload of an application in a member.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Version {
    /// When it arrived here.
    pub at: u64,
    /// Member.
    pub cluster: String,
    /// Application, which is also the workload's name.
    pub app: String,
    /// UID.
    pub uid: String,
    /// It is there no more.
    pub gone: bool,
    /// `spec.replicas`.
    pub replicas: i64,
    /// `status.availableReplicas`.
    pub available: i64,
    /// The member's own controllers have not worked on its present spec: what they order next may be older.
    pub behind: bool,
    /// The fence it carries.
    pub fence: Option<String>,
}

/// Status of an application.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Status {
    /// When it arrived here.
    pub at: u64,
    /// Application.
    pub app: String,
    /// `status.ready`.
    pub ready: i64,
    /// `status.staleReady`.
    pub stale_ready: i64,
    /// Its cells by cluster: ready, and whether that is stale.
    pub cells: BTreeMap<String, (i64, bool)>,
}

/// A write that made or deleted an object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Written {
    /// When it was asked for.
    pub at: u64,
    /// Member.
    pub cluster: String,
    /// Plural of the kind.
    pub resource: String,
    /// Name.
    pub name: String,
    /// Made, or deleted.
    pub made: bool,
}

/// How things are at the end.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct End {
    /// Applications on the hub.
    pub hub: BTreeMap<String, Shown>,
    /// Rows of applications.
    pub rows: BTreeMap<String, Row>,
    /// Rows of placements.
    pub placements: Vec<Placement>,
    /// Objects in members.
    pub objects: Vec<Object>,
}

/// An application on the hub.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Shown {
    /// `spec.replicas`.
    pub replicas: i64,
    /// Image of its workload.
    pub image: String,
    /// Status speaks of the present spec.
    pub current: bool,
    /// It is being deleted.
    pub going: bool,
    /// Replicas that found no place, as named in the last decision.
    pub shortfall: i64,
    /// Status, reason and message of `Ready`.
    pub is_ready: (String, String),
    /// Totals.
    pub status: Status,
    /// `status.desired`.
    pub desired: i64,
    /// `status.placed`.
    pub placed: i64,
    /// Shortened revision.
    pub revision: String,
    /// Plan of deletes that wait for a person.
    pub pending: Option<String>,
}

/// A row of an application.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, serde::Deserialize)]
pub struct Row {
    /// Replicas in its intent.
    pub replicas: i64,
    /// Revision, in hexadecimal.
    pub revision: String,
    /// It is being deleted.
    pub removal: Option<String>,
}

/// A row of a placement.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, serde::Deserialize)]
pub struct Placement {
    /// Application.
    pub app: String,
    /// Member.
    pub cluster: String,
    /// Kind.
    pub kind: String,
    /// Name of the object.
    pub name: String,
    /// It carries replicas.
    pub divided: bool,
    /// Replicas decided.
    pub target: i64,
    /// What the member is told.
    pub told: i64,
    /// `Present`, `Delete`, `Orphan`.
    pub desired_state: String,
    /// What became of it.
    pub state: Option<String>,
    /// Revision, in hexadecimal.
    pub revision: String,
    /// Revision that was applied last.
    pub applied: Option<String>,
    /// Replicas available by the last observation.
    pub available: i64,
}

/// An object that Meridian put into a member.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Object {
    /// Member.
    pub cluster: String,
    /// Kind.
    pub kind: String,
    /// Name.
    pub name: String,
    /// `spec.replicas`.
    pub replicas: i64,
    /// `status.availableReplicas`.
    pub available: i64,
    /// `status.readyReplicas`.
    pub ready: i64,
    /// Image of its first container.
    pub image: String,
    /// The fence it carries.
    pub fence: Option<String>,
}
