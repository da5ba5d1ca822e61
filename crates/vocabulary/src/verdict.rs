//! Three-valued results of checks.

use serde::{Deserialize, Serialize};

/// Result of a check.
///
/// There is no conversion to `bool`: each caller must handle Unknown explicitly.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Verdict {
    /// The check ran and its condition holds.
    Pass,
    /// The check ran and its condition does not hold.
    Fail,
    /// The check did not run, or its facts are stale. Unknown never counts as Pass.
    Unknown,
}

impl Verdict {
    /// Text form in the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pass => "Pass",
            Self::Fail => "Fail",
            Self::Unknown => "Unknown",
        }
    }

    /// Reads the text form. A word that this version does not know gives Unknown, which counts as nothing.
    pub fn parse(text: &str) -> Self {
        match text {
            "Pass" => Self::Pass,
            "Fail" => Self::Fail,
            _ => Self::Unknown,
        }
    }

    /// Combines verdicts of checks that must all hold: Fail wins, then Unknown.
    ///
    /// Without a verdict the result is Unknown.
    pub fn all(verdicts: impl IntoIterator<Item = Self>) -> Self {
        verdicts
            .into_iter()
            .reduce(|a, b| match (a, b) {
                (Self::Fail, _) | (_, Self::Fail) => Self::Fail,
                (Self::Unknown, _) | (_, Self::Unknown) => Self::Unknown,
                (Self::Pass, Self::Pass) => Self::Pass,
            })
            .unwrap_or(Self::Unknown)
    }
}

#[cfg(test)]
mod tests {
    use super::Verdict::{self, Fail, Pass, Unknown};

    #[test]
    fn unknown_is_never_pass() {
        for (verdicts, expected) in [
            (vec![], Unknown),
            (vec![Pass], Pass),
            (vec![Pass, Unknown], Unknown),
            (vec![Unknown, Fail], Fail),
            (vec![Pass, Pass, Fail], Fail),
        ] {
            assert_eq!(Verdict::all(verdicts.clone()), expected, "{verdicts:?}");
        }
    }
}
