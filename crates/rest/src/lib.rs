//! Types of the REST API, shared by the server and its clients.
//!
//! All fields are camelCase. A field that a client does not know is ignored; a word that it does not know (a state, a
//! kind) means something in progress.

mod access;
#[cfg(feature = "client")]
mod client;
mod fleet;
mod operation;
mod preview;
mod problem;
mod release;

pub use access::{AuditEvent, RoleView, WhoAmI};
#[cfg(feature = "client")]
pub use client::{
    Client, ClientConfig, ClientError, ConfigError, Events, OperationFilter, PageRequest, StreamEvent, Waited,
};
pub use fleet::{Application, ApplicationCell, ApplicationStatus, Cell, Cluster, Decision, PlacedObject};
pub use operation::{
    ControlBody, JournalEvent, Lock, NewOperation, Operation, OperationLinks, Page, Pause, Progress, StepView,
    TargetView, Verification,
};
pub use preview::{LockNeed, Preview};
pub use problem::{FieldProblem, Holder, Problem};
pub use release::{NewRelease, NewRollback, Revision, RevisionContent, StartedRelease};

/// Prefix of all paths.
pub const PREFIX: &str = "/api/v1";
/// Header by which a repeated request is recognized.
pub const IDEMPOTENCY_KEY: &str = "idempotency-key";
/// Header of an answer that was given to the same request before.
pub const IDEMPOTENCY_REPLAYED: &str = "idempotency-replayed";
/// Name of the events of a stream that carry journal entries.
pub const EVENT_JOURNAL: &str = "journal";
/// Name of the event after which a client reads the operation anew: entries that it has, or waits for, are gone.
pub const EVENT_RESYNC: &str = "resync";
/// Media type of errors, RFC 9457.
pub const PROBLEM_JSON: &str = "application/problem+json";
