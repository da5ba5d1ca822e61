//! Starts releases, takes superseded ones back, and stores how those ended that did not do so themselves.
//!
//! | the newest release | the wanted revision | what follows |
//! |---|---|---|
//! | none, or over | held by all cells | nothing |
//! | none, or over | not held by all cells, and not taken back before | an operation is created |
//! | its operation is not over | the same | nothing |
//! | its operation is not over | another one | the operation is taken back, or cancelled if it did nothing yet |
//! | open, and its operation is over | any | it is stored as released or rolled back |

use domain::operation::{Control, Verb};
use flow::{ControlError, ControlRequest, CreateError, Kinds, PlanFailure, Request, control, create};
use store::{
    AppId, Claim, Hint, Hints, OpenReleaseOperation, OperationRow, ReleaseCandidate, ReleaseKey, ReleaseRow,
    ReleaseState, Slot, Store, StoreError,
};
use vocabulary::{ContentHash, OperationId};

use crate::directives;
use crate::release::{RELEASE, release_identity, release_request, subject_of};

/// Identity under which releases are started and superseded.
const ACTOR: &str = "meridian";

/// Starts releases under the claim of the leader.
#[derive(Debug, Clone)]
pub struct ReleaseStarter {
    /// The database.
    pub store: Store,
    /// Hints of this and other processes.
    pub hints: Hints,
    /// Kinds of operations; `release` is among them.
    pub kinds: Kinds,
    /// Claim of the leader.
    pub claim: Claim,
}

/// What was done for an application.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Looked {
    /// Nothing is to be done, or nothing before the next hint.
    Nothing,
    /// The scheduler has not decided the present spec yet. The application is to be looked at again.
    Undecided,
    /// A release was started.
    Started(OperationId),
    /// An operation for another revision was asked to end.
    Superseded(OperationId),
    /// A release was stored as ended. The application is looked at again.
    Concluded(ReleaseState),
}

/// Why an application could not be looked at. It is looked at again.
#[derive(Debug, thiserror::Error)]
pub enum StarterError {
    /// No operation was created.
    #[error("no release was started")]
    Create(#[from] CreateError),
    /// A superseded operation was not asked to end.
    #[error("operation {operation} was not superseded")]
    Control {
        /// The operation.
        operation: OperationId,
        /// The reason.
        source: ControlError,
    },
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl ReleaseStarter {
    /// Does what is next for an application that may need a release or has an open one.
    ///
    /// # Guarantees
    /// A process that ends at any place leaves nothing that the next one does twice: the id of an operation derives from
    /// the application, the revision and the release before.
    ///
    /// # Errors
    /// [`StarterError`]. Nothing was done, or it is found done the next time.
    pub async fn look_at(&self, candidate: &ReleaseCandidate) -> Result<Looked, StarterError> {
        let open = self.store.release_operations_open(&subject_of(&candidate.key)).await?;
        if let Some(outdated) = open.iter().find(|operation| revision_of(operation) != Some(candidate.wanted)) {
            return self.supersede(outdated.id, candidate.wanted).await;
        }
        if !open.is_empty() {
            return Ok(Looked::Nothing);
        }
        let row = self.store.release_get(candidate.app).await?;
        if let Some(row) = row.as_ref().filter(|row| row.state == ReleaseState::Open) {
            let operation = self.store.operation_get(row.operation).await?;
            let key =
                ReleaseKey { app: row.app, revision: row.revision, previous: row.previous, operation: row.operation };
            return self.conclude(&key, operation.as_ref()).await;
        }
        if !candidate.is_due {
            return Ok(Looked::Nothing);
        }
        if !candidate.is_decided {
            return Ok(Looked::Undecided);
        }
        let id = derived_id(candidate, row.as_ref());
        match self.store.operation_get(id).await? {
            // It ended before it opened its release: a person cancelled it.
            Some(ended) => match release_identity(&ended) {
                Some(key) => self.conclude(&key, Some(&ended)).await,
                None => Ok(Looked::Nothing),
            },
            None => self.start(candidate, id).await,
        }
    }

    async fn start(&self, candidate: &ReleaseCandidate, id: OperationId) -> Result<Looked, StarterError> {
        let request = Request {
            id,
            kind: RELEASE.to_owned(),
            spec: release_request(&candidate.key, candidate.wanted),
            actor: ACTOR.to_owned(),
            reason: format!("the spec has revision {}", candidate.wanted.short()),
            starts: true,
            key: None,
        };
        match create(&self.store, &self.hints, &self.kinds, request).await {
            Ok(created) => {
                tracing::info!(app = %candidate.key, revision = %candidate.wanted, operation = %id, "release started");
                Ok(Looked::Started(created.operation.id))
            }
            // The rows changed since the candidate was read. Their change is a hint of its own.
            Err(CreateError::Plan(PlanFailure::Conflict(reason) | PlanFailure::NotFound(reason))) => {
                tracing::info!(app = %candidate.key, revision = %candidate.wanted, reason, "no release was started");
                Ok(Looked::Nothing)
            }
            Err(error) => Err(error.into()),
        }
    }

    async fn supersede(&self, operation: OperationId, wanted: ContentHash) -> Result<Looked, StarterError> {
        let ask = |verb| {
            let reason = Some(format!("superseded by revision {}", wanted.short()));
            let asked = Control { verb, step: None, target: None, actor: ACTOR.to_owned(), reason };
            ControlRequest { operation, control: asked, key: None }
        };
        // A release that did nothing yet has nothing to take back.
        let mut outcome = control(&self.store, &self.hints, &ask(Verb::Revert)).await;
        if matches!(outcome, Err(ControlError::Refused(_))) {
            outcome = control(&self.store, &self.hints, &ask(Verb::Cancel)).await;
        }
        match outcome {
            Ok(row) => {
                tracing::info!(%operation, state = row.state, revision = %wanted, "release superseded");
                Ok(Looked::Superseded(operation))
            }
            Err(source) => Err(StarterError::Control { operation, source }),
        }
    }

    /// Stores how a release ended whose operation is over and did not store it.
    async fn conclude(&self, key: &ReleaseKey, operation: Option<&OperationRow>) -> Result<Looked, StarterError> {
        let decisions = self.store.cell_decision_list(&[key.app]).await?;
        let cells = decisions.iter().filter(|(_, decision)| decision.slot == Slot::Main).count();
        let holding = decisions
            .iter()
            .filter(|(_, decision)| decision.slot == Slot::Main && decision.revision == key.revision)
            .count();
        let is_released = cells > 0 && holding == cells && decisions.len() == cells;
        let how = operation.map_or_else(|| "its operation is gone".to_owned(), how_it_ended);
        let (state, message) = if is_released {
            (ReleaseState::Released, how)
        } else {
            let remedy = if holding > 0 {
                format!("; `meridian op revert {}` gives all cells the previous one", key.operation)
            } else {
                String::new()
            };
            (ReleaseState::RolledBack, format!("{how}; {holding} of {cells} cells hold the revision{remedy}"))
        };
        let owner = directives::owner(key.operation);
        if !self.store.release_conclude_ended(&self.claim, key, &owner, state, &message).await? {
            // A person began the operation again.
            return Ok(Looked::Nothing);
        }
        tracing::info!(operation = %key.operation, state = state.as_str(), message, "release concluded");
        self.hints.send(Hint::Directives(Some(key.app)));
        self.hints.send(Hint::Show(key.app));
        Ok(Looked::Concluded(state))
    }

    /// Returns the candidates among these applications.
    ///
    /// # Errors
    /// [`StoreError`] of the query.
    pub async fn candidates(&self, apps: &[AppId]) -> Result<Vec<ReleaseCandidate>, StoreError> {
        self.store.release_candidates(apps).await
    }
}

/// Returns the id of the release of the wanted revision that follows the release before.
fn derived_id(candidate: &ReleaseCandidate, before: Option<&ReleaseRow>) -> OperationId {
    let before = before.map_or_else(|| "none".to_owned(), |row| row.operation.to_string());
    OperationId::derived(&format!("release/{}/{}/{before}", i64::from(candidate.app), candidate.wanted))
}

fn revision_of(operation: &OpenReleaseOperation) -> Option<ContentHash> {
    operation.spec["revision"].as_str()?.parse().ok()
}

fn how_it_ended(operation: &OperationRow) -> String {
    let failure = operation.marks["failure"].as_str().map(|failure| format!(": {failure}")).unwrap_or_default();
    format!("its operation ended {}{failure}", operation.state)
}
