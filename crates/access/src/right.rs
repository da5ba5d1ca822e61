//! Rights: what a request needs. Pure.

use domain::operation::Verb;

/// A right: one thing that a subject may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Right {
    /// Read one object.
    Get,
    /// Read lists.
    List,
    /// Read the audit.
    ReadAudit,
    /// Create operations that release an Application.
    Release,
    /// Create operations that drain a cluster, zone or cell.
    Drain,
    /// Create all other operations.
    Execute,
    /// Use a verb on an operation.
    Control(Verb),
    /// Create tokens, and give roles.
    ManageAccess,
}

/// All rights besides verbs, with their text form.
const WORDS: [(Right, &str); 7] = [
    (Right::Get, "get"),
    (Right::List, "list"),
    (Right::ReadAudit, "read-audit"),
    (Right::Release, "release"),
    (Right::Drain, "drain"),
    (Right::Execute, "execute"),
    (Right::ManageAccess, "manage-access"),
];

impl Right {
    /// Returns all rights.
    pub fn all() -> impl Iterator<Item = Self> {
        WORDS.iter().map(|(right, _)| *right).chain(Verb::all().map(Self::Control))
    }

    /// Returns the text form. The text of a verb's right is the verb.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Control(verb) => verb.as_str(),
            other => WORDS.iter().find(|(right, _)| *right == other).map_or("", |(_, text)| text),
        }
    }

    /// Returns the right to create an operation of a kind.
    pub fn to_create(kind: &str) -> Self {
        match kind {
            "release" => Self::Release,
            "drain" => Self::Drain,
            _ => Self::Execute,
        }
    }
}
