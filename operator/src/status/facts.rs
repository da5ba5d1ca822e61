//! Facts from which the status of an Application is built.

use std::collections::{BTreeMap, HashMap};

use domain::intent::Intent;
use domain::topology::Topology;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use store::{ApplicationRow, OperationStep, PlacementId, PlacementRow, ReleaseRow, RevisionRow, StatusRow};
use vocabulary::ContentHash;

use crate::intake::Refusal;

/// A release with what its operation does now.
#[derive(Debug)]
pub(super) struct Release {
    pub(super) row: ReleaseRow,
    /// `None` once the release is over.
    pub(super) step: Option<OperationStep>,
}

/// Facts from which an Application's status is built.
pub(super) struct Facts<'a> {
    pub(super) row: &'a ApplicationRow,
    pub(super) intent: &'a Intent,
    /// Revision decided for each cell, by cell.
    pub(super) cell_revisions: &'a HashMap<String, ContentHash>,
    pub(super) rows: &'a [PlacementRow],
    pub(super) status: &'a HashMap<PlacementId, StatusRow>,
    pub(super) revisions: &'a [RevisionRow],
    /// The newest release, with what its operation does now.
    pub(super) release: Option<&'a Release>,
    pub(super) topology: &'a Topology,
    /// Time of the last sign of life of each cluster.
    pub(super) seen: &'a BTreeMap<String, Timestamp>,
    pub(super) refusal: Option<Refusal>,
    pub(super) before: &'a [Condition],
    pub(super) generation: i64,
    pub(super) now: Timestamp,
    pub(super) stale_after: SignedDuration,
}
