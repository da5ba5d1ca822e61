//! Record of the installation of Meridian that owns a member.

use serde_json::Value;

/// An installation of Meridian, as `join` records it in a member.
///
/// Two installations in one member would take over each other's objects, because account, field manager and labels are
/// the same.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Owner {
    /// Identity of the installation's database; empty until its operator publishes it.
    pub installation: String,
    /// UID of the hub's kube-system namespace.
    pub hub: String,
    /// Name of the member on that hub.
    pub cluster: String,
}

impl Owner {
    /// Reads the data of a record; `None` where a version without owners wrote it.
    pub(super) fn read_from(data: &Value) -> Option<Self> {
        let text = |key: &str| data[key].as_str().unwrap_or_default().to_owned();
        let owner = Self { installation: text("installation"), hub: text("hub"), cluster: text("cluster") };
        (!owner.hub.is_empty() || !owner.installation.is_empty()).then_some(owner)
    }

    pub(super) fn write_to(&self, data: &mut Value) {
        for (key, value) in [("installation", &self.installation), ("hub", &self.hub), ("cluster", &self.cluster)] {
            if !value.is_empty() {
                data[key] = value.clone().into();
            }
        }
    }

    /// Returns whether both name the same installation.
    ///
    /// The database identities are compared where both are present, because a hub may be rebuilt. Otherwise the hubs
    /// are compared.
    pub fn is_same(&self, other: &Self) -> bool {
        if self.installation.is_empty() || other.installation.is_empty() {
            return self.hub == other.hub;
        }
        self.installation == other.installation
    }
}

impl std::fmt::Display for Owner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let installation = if self.installation.is_empty() { "unknown" } else { &self.installation };
        write!(f, "installation {installation} (hub {}, joined there as {})", self.hub, self.cluster)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_installation_is_known_by_its_database_and_else_by_its_hub() {
        let owner = |installation: &str, hub: &str| Owner {
            installation: installation.to_owned(),
            hub: hub.to_owned(),
            cluster: "north".to_owned(),
        };
        for (case, one, other, same) in [
            ("the same", owner("i", "h"), owner("i", "h"), true),
            ("a hub built anew", owner("i", "h"), owner("i", "h2"), true),
            ("a second database on one hub", owner("i", "h"), owner("j", "h"), false),
            ("not published yet", owner("", "h"), owner("i", "h"), true),
            ("not published by another", owner("", "h"), owner("i", "h2"), false),
        ] {
            assert_eq!(one.is_same(&other), same, "{case}");
        }
        let mut data = serde_json::json!({"version": "2"});
        owner("i", "h").write_to(&mut data);
        assert_eq!(Owner::read_from(&data), Some(owner("i", "h")));
        assert_eq!(Owner::read_from(&serde_json::json!({"version": "1"})), None);
    }
}
