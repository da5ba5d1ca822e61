//! Crash points: places at which a test may end the process.
//!
//! Tests show with them that a crash at any write loses nothing and repeats nothing. Without the feature `crash-points`
//! they do nothing.
//!
//! `MERIDIAN_CRASH_AT=write:before` ends the process just before the named write is sent. `write:after` ends it just
//! after the write took effect, and `write:after:3` only the third time.

/// Side of a write on which the process ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The write was not sent yet.
    Before,
    /// The write took effect, and its result was not reported yet.
    After,
}

impl Side {
    /// Returns the word used in `MERIDIAN_CRASH_AT`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Before => "before",
            Self::After => "after",
        }
    }
}

/// Does nothing, because the feature `crash-points` is off.
#[cfg(not(feature = "crash-points"))]
#[inline]
pub fn point(_: &'static str, _: Side) {}

/// Aborts the process here if `MERIDIAN_CRASH_AT` asks for it.
#[cfg(feature = "crash-points")]
pub fn point(write: &'static str, side: Side) {
    use std::sync::LazyLock;
    use std::sync::atomic::{AtomicU32, Ordering};

    static ASKED: LazyLock<Option<Asked>> =
        LazyLock::new(|| std::env::var("MERIDIAN_CRASH_AT").ok().and_then(|text| Asked::parse(&text)));
    static PASSED: AtomicU32 = AtomicU32::new(0);
    let Some(asked) = ASKED.as_ref() else { return };
    if asked.write == write && asked.side == side.as_str() && PASSED.fetch_add(1, Ordering::Relaxed) + 1 == asked.time {
        // Like SIGKILL: no destructor runs and no connection is closed in order.
        std::process::abort();
    }
}

#[cfg(any(test, feature = "crash-points"))]
#[derive(Debug, PartialEq, Eq)]
struct Asked {
    write: String,
    side: String,
    time: u32,
}

#[cfg(any(test, feature = "crash-points"))]
impl Asked {
    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split(':');
        let (write, side) = (parts.next()?.to_owned(), parts.next()?.to_owned());
        let time = parts.next().map_or(Some(1), |time| time.parse().ok())?;
        Some(Self { write, side, time })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_point_is_named_by_write_side_and_time() {
        let asked =
            |write: &str, side: &str, time| Some(Asked { write: write.to_owned(), side: side.to_owned(), time });
        assert_eq!(Asked::parse("decision:before"), asked("decision", "before", 1));
        assert_eq!(Asked::parse("apply:after:3"), asked("apply", "after", 3));
        assert_eq!(Asked::parse("apply"), None);
    }
}
