//! Row ids of applications and placements.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Defines the row id of one table. Its JSON form is the plain number.
macro_rules! row_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, sqlx::Type)]
        #[serde(transparent)]
        #[sqlx(transparent)]
        pub struct $name(pub(crate) i64);

        impl From<i64> for $name {
            fn from(number: i64) -> Self {
                Self(number)
            }
        }

        impl From<$name> for i64 {
            fn from(id: $name) -> Self {
                id.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({})", stringify!($name), self.0)
            }
        }
    };
}

row_id! {
    /// Row id of an application.
    AppId
}

row_id! {
    /// Row id of a placement.
    PlacementId
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn row_id_is_a_plain_number_in_json() {
        assert_eq!(serde_json::to_string(&AppId::from(7)).unwrap(), "7");
        assert_eq!(serde_json::from_str::<PlacementId>("7").unwrap(), PlacementId::from(7));
    }
}
