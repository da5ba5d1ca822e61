//! Roles, and the rights they give. Pure.
//!
//! | role | gives |
//! |---|---|
//! | `viewer` | reading |
//! | `deployer` | what `viewer` gives, releases and their verbs |
//! | `operator` | what `deployer` gives, drains and all other operations, and the verbs that override safeguards |
//! | `approver` | what `viewer` gives, `approve` and `reject` |
//! | `admin` | everything |
//!
//! A verb needs its own right. Except for `approve` and `reject` it also needs the right to create one of that kind.
//! So a deployer resumes releases, and no drains.

use domain::operation::Verb;

use crate::Right;

/// A named set of rights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs, reason = "the module documents each role")]
pub enum Role {
    Viewer,
    Deployer,
    Operator,
    Approver,
    Admin,
}

/// All roles with their text form, in order of power.
const ROLES: [(Role, &str); 5] = [
    (Role::Viewer, "viewer"),
    (Role::Deployer, "deployer"),
    (Role::Approver, "approver"),
    (Role::Operator, "operator"),
    (Role::Admin, "admin"),
];

impl Role {
    /// Returns all roles; the weaker ones first.
    pub fn all() -> impl Iterator<Item = Self> {
        ROLES.iter().map(|(role, _)| *role)
    }

    /// Returns the text form.
    pub fn as_str(self) -> &'static str {
        ROLES.iter().find(|(role, _)| *role == self).map_or("", |(_, text)| text)
    }

    /// Parses the text form.
    pub fn parse(text: &str) -> Option<Self> {
        ROLES.iter().find(|(_, known)| *known == text).map(|(role, _)| *role)
    }

    /// Returns whether the role gives a right.
    pub const fn gives(self, right: Right) -> bool {
        match right {
            Right::Get | Right::List => true,
            Right::Release => matches!(self, Self::Deployer | Self::Operator | Self::Admin),
            Right::Drain | Right::Execute | Right::ReadAudit => matches!(self, Self::Operator | Self::Admin),
            Right::ManageAccess => matches!(self, Self::Admin),
            Right::Control(verb) => match verb {
                Verb::Approve | Verb::Reject => matches!(self, Self::Approver | Self::Admin),
                Verb::Skip | Verb::Force => matches!(self, Self::Operator | Self::Admin),
                Verb::Start
                | Verb::Pause
                | Verb::Resume
                | Verb::Cancel
                | Verb::Retry
                | Verb::Confirm
                | Verb::Revert => matches!(self, Self::Deployer | Self::Operator | Self::Admin),
            },
        }
    }
}
