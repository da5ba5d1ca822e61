//! How many objects may go without a person's word: what the mass-delete guard allows.
//!
//! Both limits count a sliding window, all causes together. `objects` is what there was when the window began.

/// Objects of a cluster that may always go.
const CLUSTER_FREE: i64 = 10;
/// Percent of a cluster's objects that may go.
const CLUSTER_PERCENT: i64 = 20;
/// Percent of an application's objects that may go.
const APP_PERCENT: i64 = 30;
/// Applications with fewer objects have no limit of their own.
const APP_FROM: i64 = 5;

/// Most objects of a cluster that may go within a window.
pub fn cluster_limit(objects: i64) -> i64 {
    CLUSTER_FREE.max(objects * CLUSTER_PERCENT / 100)
}

/// Most objects of an application that may go within a window while the application stays; `None` when nothing limits.
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
