//! Counts and times a write to the member, with crash points on both sides.

use std::time::Instant;

use members::MemberError;
use runtime::crash::{Side, point};

use crate::session::Session;

/// Names of the writes to members, for `runtime::crash`.
pub const MEMBER_WRITES: [&str; 3] = ["apply", "delete", "release"];

pub(crate) async fn measured<T>(
    session: &Session,
    write: &'static str,
    call: impl Future<Output = Result<T, MemberError>>,
) -> Result<T, MemberError> {
    let (metrics, label) = (&session.delivery().metrics, session.label());
    metrics.planned.get_or_create(&label).inc();
    let begun = Instant::now();
    metrics.sent.get_or_create(&label).inc();
    point(write, Side::Before);
    let result = call.await;
    point(write, Side::After);
    metrics.seconds.get_or_create(&label).observe(begun.elapsed().as_secs_f64());
    if result.is_ok() {
        metrics.applied.get_or_create(&label).inc();
    }
    result
}
