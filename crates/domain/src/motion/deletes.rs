//! Limits how many objects may be deleted without a person's confirmation: the mass-delete guard.
//!
//! Both limits count deletions of all causes together in a sliding window. `objects` is the number at the start of the
//! window.

/// Number of objects of a cluster that may always be deleted.
const CLUSTER_FREE: i64 = 10;
/// Percentage of a cluster's objects that may be deleted.
const CLUSTER_PERCENT: i64 = 20;
/// Percentage of an Application's objects that may be deleted.
const APP_PERCENT: i64 = 30;
/// Minimum number of objects from which an Application has a limit of its own.
const APP_FROM: i64 = 5;

/// Returns the maximum number of a cluster's objects that may be deleted within a window.
pub fn cluster_limit(objects: i64) -> i64 {
    CLUSTER_FREE.max(objects * CLUSTER_PERCENT / 100)
}

/// Returns the maximum number of an Application's objects that may be deleted within a window.
///
/// The limit applies while the Application itself stays. `None` when nothing limits.
pub fn app_limit(objects: i64) -> Option<i64> {
    (objects >= APP_FROM).then_some(objects * APP_PERCENT / 100)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_grow_with_what_there_is() {
        for (objects, cluster, app) in [
            (0, 10, None),
            (4, 10, None),
            (5, 10, Some(1)),
            (10, 10, Some(3)),
            (50, 10, Some(15)),
            (51, 10, Some(15)),
            (1000, 200, Some(300)),
        ] {
            assert_eq!((cluster_limit(objects), app_limit(objects)), (cluster, app), "{objects}");
        }
    }
}
