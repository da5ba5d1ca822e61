//! Identity of an operation.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Identity of an operation.
///
/// A new one is a UUID of version 7, so ids sort by the time of creation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct OperationId(Uuid);

impl OperationId {
    /// Returns a new id.
    pub fn generate() -> Self {
        Self(Uuid::now_v7())
    }

    /// Returns the id of an operation that follows from a source, such as a revision of an Application.
    ///
    /// Equal sources give equal ids, so an operation is not created twice for one source.
    pub fn derived(source: &str) -> Self {
        Self(Uuid::new_v5(&NAMESPACE, source.as_bytes()))
    }

    /// Returns the idempotency key of one effect of the operation: step, target and round.
    ///
    /// Automatic retries repeat the key. Only a person's retry after a definite failure begins another round.
    pub fn effect_key(self, step: &str, target: &str, round: i32) -> Uuid {
        Uuid::new_v5(&self.0, format!("{step}\n{target}\n{round}").as_bytes())
    }
}

/// Namespace of derived ids; a random constant.
const NAMESPACE: Uuid = Uuid::from_u128(0x6f1c_8a52_3d0b_4c7e_9b1f_52d7_e0a4_13c8);

impl From<Uuid> for OperationId {
    fn from(id: Uuid) -> Self {
        Self(id)
    }
}

impl From<OperationId> for Uuid {
    fn from(id: OperationId) -> Self {
        id.0
    }
}

impl fmt::Display for OperationId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

impl FromStr for OperationId {
    type Err = uuid::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self)
    }
}
