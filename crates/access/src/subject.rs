//! Subjects: persons and machines that use the API. Pure.

use std::fmt;

use crate::Role;

/// Kind of a subject, as in role bindings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SubjectKind {
    /// A person.
    Person,
    /// A machine with tokens of its own: a pipeline, a script.
    Token,
    /// A group of hub users.
    Group,
    /// A `ServiceAccount` of the hub: `namespace/name`.
    ServiceAccount,
    /// Another user of the hub.
    HubUser,
}

/// All kinds with their text form.
const KINDS: [(SubjectKind, &str); 5] = [
    (SubjectKind::Person, "person"),
    (SubjectKind::Token, "token"),
    (SubjectKind::Group, "group"),
    (SubjectKind::ServiceAccount, "serviceAccount"),
    (SubjectKind::HubUser, "hubUser"),
];

impl SubjectKind {
    /// Returns all kinds.
    pub fn all() -> impl Iterator<Item = Self> {
        KINDS.iter().map(|(kind, _)| *kind)
    }

    /// Returns the text form.
    pub fn as_str(self) -> &'static str {
        KINDS.iter().find(|(kind, _)| *kind == self).map_or("", |(_, text)| text)
    }

    /// Parses the text form.
    pub fn parse(text: &str) -> Option<Self> {
        KINDS.iter().find(|(_, known)| *known == text).map(|(kind, _)| *kind)
    }

    /// Returns whether the subject is a machine. Machines do not approve.
    pub const fn is_machine(self) -> bool {
        matches!(self, Self::Token | Self::ServiceAccount)
    }
}

/// A person or machine whose identity was proved. Its text form is the actor of operations and of the audit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subject {
    /// Kind of the subject.
    pub kind: SubjectKind,
    /// Name of the subject.
    pub name: String,
    /// Groups that the hub named.
    pub groups: Vec<String>,
    /// Roles that limit the credential: it gives no right that none of them gives. Empty for no limit.
    pub scopes: Vec<Role>,
}

impl fmt::Display for Subject {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.kind.as_str(), self.name)
    }
}
