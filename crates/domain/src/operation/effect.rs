//! Effect classes: what may be done when it is not known whether a write took effect.

use serde::{Deserialize, Serialize};

/// Effect class of a step: whether its write may be repeated, and whether its effect can be observed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum EffectClass {
    /// Reads only.
    Pure,
    /// Sets a value; a repetition under the same fence changes nothing.
    Absolute,
    /// Writes on condition of an observed version, so at most one write wins.
    Cas,
    /// The target recognizes the idempotency key and does nothing twice.
    Tokened,
    /// A repetition would do harm, but the effect can be observed.
    Probe,
    /// A repetition would do harm, and the effect cannot be observed.
    Opaque,
}

/// How an attempt continues whose intent is stored and whose outcome is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recovery {
    /// Look, and act again with the same idempotency key where the effect is not there.
    Repeat,
    /// Observe first, and act only where the effect is certainly missing.
    ObserveFirst,
    /// A person decides.
    AskPerson,
}

impl EffectClass {
    /// Returns how an attempt of this class is recovered.
    pub const fn recovery(self) -> Recovery {
        match self {
            Self::Pure | Self::Absolute | Self::Tokened => Recovery::Repeat,
            Self::Cas | Self::Probe => Recovery::ObserveFirst,
            Self::Opaque => Recovery::AskPerson,
        }
    }
}
