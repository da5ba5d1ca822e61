//! Names of clusters, cells, Applications and objects, each with its own type.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::ContentHash;

/// Maximum length of a DNS label, and so of the name of a Service, a cell or a cluster.
const LABEL_MAX: usize = 63;

/// Error for a text that is not a valid name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} {text:?} is not a DNS label: 1 to 63 of a-z, 0-9 and '-', beginning and ending with a letter or digit")]
pub struct NameError {
    what: &'static str,
    text: String,
}

fn check_label(what: &'static str, text: &str) -> Result<(), NameError> {
    let bytes = text.as_bytes();
    let edge = |b: Option<&u8>| b.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    let inner = bytes.iter().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || *b == b'-');
    if bytes.len() <= LABEL_MAX && inner && edge(bytes.first()) && edge(bytes.last()) {
        Ok(())
    } else {
        Err(NameError { what, text: text.chars().take(80).collect() })
    }
}

macro_rules! label_name {
    ($(#[$doc:meta])* $name:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// Returns the name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = NameError;

            fn from_str(text: &str) -> Result<Self, NameError> {
                check_label($what, text)?;
                Ok(Self(text.to_owned()))
            }
        }

        impl TryFrom<String> for $name {
            type Error = NameError;

            fn try_from(text: String) -> Result<Self, NameError> {
                check_label($what, &text)?;
                Ok(Self(text))
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
    };
}

label_name!(
    /// Name of a member cluster: a DNS label.
    ClusterName,
    "cluster name"
);
label_name!(
    /// Name of a cell: a DNS label. A cluster's implicit cell carries the cluster's name.
    CellName,
    "cell name"
);

impl From<&ClusterName> for CellName {
    /// Returns the name of the cluster's implicit cell.
    fn from(cluster: &ClusterName) -> Self {
        Self(cluster.0.clone())
    }
}

/// Namespace and name of an Application on the hub.
///
/// The Application's objects are in the same namespace of the members.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct AppKey {
    /// Namespace of the Application, on the hub and in the members.
    pub namespace: String,
    /// Name of the Application.
    pub name: String,
}

impl fmt::Display for AppKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// Identity of a namespaced object in a member cluster.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ObjectKey {
    /// `group/version` or, for the core group, `version`.
    pub api_version: String,
    /// Kind of the object.
    pub kind: String,
    /// Namespace of the object.
    pub namespace: String,
    /// Name of the object.
    pub name: String,
}

impl ObjectKey {
    /// Returns the API group; empty for the core group.
    pub fn group(&self) -> &str {
        self.api_version.split_once('/').map_or("", |(group, _)| group)
    }
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}/{}", self.kind, self.namespace, self.name)
    }
}

/// Returns `<name>-<suffix>`, cut to fit a DNS label.
///
/// A longer name is cut and gets six digits of the hash of both. `salt` gives another result after a collision; 0 is
/// the first try.
pub fn suffixed_name(name: &str, suffix: &str, salt: u32) -> String {
    let plain = format!("{name}-{suffix}");
    if plain.len() <= LABEL_MAX && salt == 0 {
        return plain;
    }
    let digest = ContentHash::of(format!("{name}\0{suffix}\0{salt}").as_bytes()).to_string();
    let mut cut = LABEL_MAX - 7;
    cut = cut.min(plain.len());
    while !plain.is_char_boundary(cut) {
        cut -= 1;
    }
    format!("{}-{}", plain[..cut].trim_end_matches('-'), &digest[..6])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_dns_labels() {
        for good in ["rz01a", "a", "0", "north-1"] {
            assert!(good.parse::<CellName>().is_ok(), "{good}");
        }
        for bad in ["", "RZ01A", "-a", "a-", "a.b", &"x".repeat(64)] {
            assert!(bad.parse::<ClusterName>().is_err(), "{bad}");
        }
    }

    #[test]
    fn suffixed_names_fit_a_label_and_differ() {
        assert_eq!(suffixed_name("trade", "rz01a", 0), "trade-rz01a");
        let long = "x".repeat(60);
        let (a, b) = (suffixed_name(&long, "rz01a", 0), suffixed_name(&long, "rz01b", 0));
        assert!(a.len() <= 63 && b.len() <= 63 && a != b);
        assert_ne!(suffixed_name("trade", "rz01a", 0), suffixed_name("trade", "rz01a", 1));
    }
}
