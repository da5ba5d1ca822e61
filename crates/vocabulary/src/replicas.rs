//! Number of replicas that a placement row renders for its member.

/// Returns the replicas that a row renders: the greater of `target` and `floor`, plus `surge`.
///
/// `target` is the decided number and `floor` the number that may not be given up yet. Decisions, reservations, floors
/// and delivery all use this one definition.
pub const fn rendered_replicas(target: i32, floor: i32, surge: i32) -> i32 {
    let held = if target > floor { target } else { floor };
    held.saturating_add(surge)
}
