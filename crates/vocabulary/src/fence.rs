//! The fence, by which a member refuses a late writer.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Width of one number in the text form; ten digits hold every `u32`.
const WIDTH: usize = 10;

/// Order of writes to an object: `store generation . authority epoch . plan epoch`.
///
/// Every delivered object carries its fence. The text form has fixed width (`GGGGGGGGGG.AAAAAAAAAA.PPPPPPPPPP`), so
/// that a member's `ValidatingAdmissionPolicy` can compare two fences as strings. The fields are in order of
/// significance: the derived order of the struct equals the order of its text form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Fence {
    /// Generation of the database itself; rises when a database is restored or promoted.
    pub generation: u32,
    /// Authority epoch of the object's cell; rises when a site is fenced.
    pub authority: u32,
    /// Plan epoch of the object's placement row; rises with every change of that row.
    pub plan: u32,
}

/// Error for a text that is not a fence.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a fence: three numbers of ten digits, separated by dots")]
pub struct FenceError {
    text: String,
}

impl fmt::Display for Fence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:0w$}.{:0w$}.{:0w$}", self.generation, self.authority, self.plan, w = WIDTH)
    }
}

impl FromStr for Fence {
    type Err = FenceError;

    fn from_str(text: &str) -> Result<Self, FenceError> {
        let refuse = || FenceError { text: text.chars().take(64).collect() };
        let mut parts = text.split('.').map(|part| {
            let digits = part.len() == WIDTH && part.bytes().all(|b| b.is_ascii_digit());
            digits.then(|| part.parse::<u32>().ok()).flatten()
        });
        let mut next = || parts.next().flatten().ok_or_else(refuse);
        let fence = Self { generation: next()?, authority: next()?, plan: next()? };
        match parts.next() {
            None => Ok(fence),
            Some(_) => Err(refuse()),
        }
    }
}

impl From<Fence> for String {
    fn from(fence: Fence) -> Self {
        fence.to_string()
    }
}

impl TryFrom<String> for Fence {
    type Error = FenceError;

    fn try_from(text: String) -> Result<Self, FenceError> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_order_is_number_order() {
        let fences = [(0, 0, 0), (0, 0, 9), (0, 0, 10), (0, 2, 1), (1, 0, 0), (1, 0, u32::MAX), (9, 9, 9), (10, 0, 0)]
            .map(|(generation, authority, plan)| Fence { generation, authority, plan });
        for pair in fences.windows(2) {
            assert!(pair[0] < pair[1]);
            assert!(pair[0].to_string() < pair[1].to_string());
            assert_eq!(pair[0].to_string().parse::<Fence>().unwrap(), pair[0]);
        }
    }

    #[test]
    fn anything_but_fixed_width_is_refused() {
        for text in [
            "",
            "1.2.3",
            "0000000001.0000000001",
            "0000000001.0000000001.0000000001.0000000001",
            "0000000001.0000000001.+000000001",
            "9999999999.0000000001.0000000001",
        ] {
            assert!(text.parse::<Fence>().is_err(), "{text}");
        }
    }
}
