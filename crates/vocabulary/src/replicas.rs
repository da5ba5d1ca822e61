//! How many replicas a placement row tells its member to run.

/// Replicas that a row renders: what was decided, or what may not be given up yet, and those on top.
///
/// Decisions, reservations, floors and delivery all use this one definition.
pub const fn rendered_replicas(target: i32, floor: i32, surge: i32) -> i32 {
    let held = if target > floor { target } else { floor };
    held.saturating_add(surge)
}
