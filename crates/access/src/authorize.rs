//! Decides whether a subject has a right. Pure.

use domain::operation::Verb;
use store::RoleBindingRow;

use crate::{Right, Role, Subject, SubjectKind};

/// A role that a subject has.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Binding {
    kind: SubjectKind,
    subject: String,
    role: Role,
    namespace: Option<String>,
}

/// The roles of all subjects.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Bindings(Vec<Binding>);

impl Bindings {
    /// Reads rows. Rows with words of a later version give nothing.
    pub fn of_rows(rows: Vec<RoleBindingRow>) -> Self {
        let binding = |row: RoleBindingRow| {
            let kind = SubjectKind::parse(&row.subject_kind)?;
            let role = Role::parse(&row.role)?;
            Some(Binding { kind, subject: row.subject, role, namespace: row.namespace })
        };
        Self(rows.into_iter().filter_map(binding).collect())
    }

    /// Returns the roles of a subject, each with the namespace in which it counts.
    pub fn of<'a>(&'a self, subject: &'a Subject) -> impl Iterator<Item = (Role, Option<&'a str>)> {
        self.0
            .iter()
            .filter(|binding| is_about(binding, subject))
            .map(|binding| (binding.role, binding.namespace.as_deref()))
    }
}

fn is_about(binding: &Binding, subject: &Subject) -> bool {
    match binding.kind {
        SubjectKind::Group => subject.groups.contains(&binding.subject),
        kind => kind == subject.kind && binding.subject == subject.name,
    }
}

/// A right that a subject does not have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{subject} has no right to {} {place}: {why}", right.as_str())]
pub struct Denied {
    /// The subject.
    pub subject: String,
    /// The right.
    pub right: Right,
    /// `in namespace x`, or `in all namespaces`.
    pub place: String,
    /// Why, and which role would give the right.
    pub why: String,
}

/// Checks that a subject has a right in a namespace, or everywhere when there is none.
///
/// # Errors
/// [`Denied`] with the roles that would give the right.
pub fn authorize(bindings: &Bindings, subject: &Subject, right: Right, namespace: Option<&str>) -> Result<(), Denied> {
    let denied = |why: String| {
        let place = namespace.map_or_else(|| "in all namespaces".to_owned(), |name| format!("in namespace {name}"));
        Denied { subject: subject.to_string(), right, place, why }
    };
    if right == Right::Control(Verb::Approve) && subject.kind.is_machine() {
        return Err(denied("machines do not approve; a person must".to_owned()));
    }
    if !subject.scopes.is_empty() && !subject.scopes.iter().any(|scope| scope.gives(right)) {
        let scopes: Vec<&str> = subject.scopes.iter().map(|scope| scope.as_str()).collect();
        return Err(denied(format!("the token is limited to {}", scopes.join(", "))));
    }
    let counts = |place: Option<&str>| place.is_none() || place == namespace;
    let own: Vec<Role> = bindings.of(subject).filter(|(_, place)| counts(*place)).map(|(role, _)| role).collect();
    if own.iter().any(|role| role.gives(right)) {
        return Ok(());
    }
    let own: Vec<&str> = own.into_iter().map(Role::as_str).collect();
    let has = if own.is_empty() { "it has no role there".to_owned() } else { format!("it has {}", own.join(", ")) };
    let givers: Vec<&str> = Role::all().filter(|role| role.gives(right)).map(Role::as_str).collect();
    Err(denied(format!("{has}, and the right comes with {}", givers.join(", "))))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bindings(rows: &[(&str, &str, &str, Option<&str>)]) -> Bindings {
        let row = |(kind, subject, role, namespace): &(&str, &str, &str, Option<&str>)| RoleBindingRow {
            id: uuid::Uuid::nil(),
            subject_kind: (*kind).to_owned(),
            subject: (*subject).to_owned(),
            role: (*role).to_owned(),
            namespace: namespace.map(str::to_owned),
            created_by: "test".to_owned(),
        };
        Bindings::of_rows(rows.iter().map(row).collect())
    }

    fn subject(kind: SubjectKind, name: &str) -> Subject {
        Subject { kind, name: name.to_owned(), groups: vec!["sre".to_owned()], scopes: Vec::new() }
    }

    #[test]
    fn roles_give_their_rights_where_they_are_bound() {
        let person = subject(SubjectKind::Person, "ann");
        let machine = subject(SubjectKind::Token, "ci");
        let limited = Subject { scopes: vec![Role::Viewer], ..machine.clone() };
        let (cancel, approve) = (Right::Control(Verb::Cancel), Right::Control(Verb::Approve));
        let viewer = ("person", "ann", "viewer", None);
        let here = ("token", "ci", "deployer", Some("shop"));
        let admin = ("token", "ci", "admin", None);
        let group = ("group", "sre", "operator", None);
        for (case, rows, subject, right, namespace, refused) in [
            ("no role", vec![], &person, Right::Get, None, Some("it has no role there")),
            ("reading", vec![viewer], &person, Right::Get, None, None),
            ("verb of a viewer", vec![viewer], &person, cancel, None, Some("deployer, operator, admin")),
            (
                "namesake of another kind",
                vec![("person", "ci", "admin", None)],
                &machine,
                Right::Get,
                None,
                Some("no role"),
            ),
            ("its namespace", vec![here], &machine, Right::Release, Some("shop"), None),
            ("another namespace", vec![here], &machine, Right::Release, Some("pay"), Some("in namespace pay")),
            ("everywhere", vec![here], &machine, Right::Get, None, Some("in all namespaces")),
            ("by its group", vec![group], &person, Right::Drain, None, None),
            ("machine approves", vec![admin], &machine, approve, None, Some("machines do not approve")),
            ("person approves", vec![("person", "ann", "approver", None)], &person, approve, None, None),
            ("approver cancels", vec![("person", "ann", "approver", None)], &person, cancel, None, Some("approver")),
            ("limited token", vec![admin], &limited, cancel, None, Some("limited to viewer")),
            (
                "role of a later version",
                vec![("person", "ann", "auditor", None)],
                &person,
                Right::Get,
                None,
                Some("no role"),
            ),
        ] {
            match (authorize(&bindings(&rows), subject, right, namespace), refused) {
                (Ok(()), None) => {}
                (Err(denied), Some(words)) => assert!(denied.to_string().contains(words), "{case}: {denied}"),
                (outcome, _) => panic!("{case}: {outcome:?}"),
            }
        }
    }

    #[test]
    fn admin_has_every_right_and_each_right_a_word() {
        for right in Right::all() {
            assert!(Role::Admin.gives(right), "{right:?}");
            assert!(!right.as_str().is_empty(), "{right:?}");
        }
        for role in Role::all() {
            assert_eq!(Role::parse(role.as_str()), Some(role));
        }
    }
}
