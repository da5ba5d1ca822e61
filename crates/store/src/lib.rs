//! All SQL against Meridian's database, with leases, sealing and hints; one file per noun.
//!
//! Functions are called `noun_verb`; they take rows and return rows. `migrations/` documents each table and why it
//! exists.
//!
//! # Guarantees
//! - A write that claims authority checks the epoch of its lease in the same transaction ([`Claim`]).
//! - This crate makes no decisions: it writes values as given.

mod api_token;
mod application;
mod application_page;
mod audit;
mod cell;
mod cell_decision;
mod claim;
mod clean;
mod cluster;
mod credential;
mod database;
mod decision;
mod decision_row;
mod delete_window;
mod directive;
mod error;
mod exchange;
mod failover_breaker;
mod forgotten_application;
mod hint;
mod hints;
mod identity;
mod journal;
mod lease;
mod lock;
mod operation;
mod operation_commit;
mod operation_insert;
mod operation_summary;
mod operation_target;
mod parsed;
mod parsed_rows;
mod payload;
mod peers;
mod placement;
mod placement_status;
mod placement_write;
#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test")]
mod plans;
mod pool;
mod reach;
mod release;
mod renewal;
mod reservation;
mod resident;
mod revision;
mod role_binding;
mod row_id;
mod schema;
pub mod seal;
mod stored_hash;
mod terms;
mod write;

pub use api_token::{ApiTokenRow, NewApiToken};
pub use application::{ApplicationRow, ApplicationTaken, InMotion, Removal};
pub use audit::{AuditChain, AuditEntry, AuditFilter, AuditRow};
pub use cell::{CellRow, CellTaken};
pub use cell_decision::CellDecisionRow;
pub use claim::{Claim, LeaseTimes, Term};
pub use cluster::{ClusterRow, ClusterStatusRow, ClusterTaken, RECOVERING};
pub use credential::{ConnectionText, Credential, CredentialLife};
pub use database::Deadlines;
pub use decision_row::{Committed, Decided, DecisionBase, DecisionRow};
pub use delete_window::DeleteWindow;
pub use directive::{DirectiveRow, NewDirective};
pub use error::StoreError;
pub use failover_breaker::FailoverBreakerRow;
pub use hint::Hint;
pub use hints::Hints;
pub use journal::{JournalEntry, JournalHead, JournalRow};
pub use lease::Keeper;
pub use lock::{LockHolder, LockPlace, LockRow};
pub use operation::{ActiveOperation, OperationFilter, OperationRow};
pub use operation_commit::{LockChange, OperationChange, OperationCommitted, OperationHeader};
pub use operation_insert::{IdempotencyKey, KeyedOperation, NewOperation, OperationInserted};
pub use operation_summary::{OperationStep, TargetCounts};
pub use operation_target::TargetRow;
pub use parsed::ParsedRevisions;
pub use placement::{DesiredState, OwnerRow, PlacementRow, Slot};
pub use placement_status::{ObjectState, StatusRow};
pub use placement_write::{PlacementChange, PlacementInsert};
pub use pool::Store;
pub use release::{OpenReleaseOperation, ReleaseCandidate, ReleaseKey, ReleaseOpened, ReleaseRow, ReleaseState};
pub use reservation::{Bookings, ReservationRow};
pub use resident::ResidentRow;
pub use revision::RevisionRow;
pub use role_binding::{NewRoleBinding, RoleBindingRow};
pub use row_id::{AppId, PlacementId};
pub use terms::Terms;
pub use write::WRITES;
