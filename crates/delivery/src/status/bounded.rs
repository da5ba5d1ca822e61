//! Limits on the amount of a member's data that is kept. Pure.
//!
//! Any user of a member who may label objects, write status or bind pods controls this data. Such data may cost that
//! member's deliverer some memory, but must never crash the process.

/// Maximum number of live objects that carry our label and belong to no row.
pub(crate) const FOREIGN_OBJECTS_MAX: usize = 10_000;
/// Maximum number of bound pods that are counted: 2,000 nodes of 250 pods.
pub(crate) const PODS_MAX: usize = 500_000;
/// Maximum number of bytes kept of a message.
const MESSAGE_BYTES_MAX: usize = 4_096;

/// Reduces a member's message to its cause, and cuts the middle out of a very long one.
pub(crate) fn bounded_message(message: String) -> String {
    vocabulary::shorten(&vocabulary::cause(&message), MESSAGE_BYTES_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_messages_keep_both_ends() {
        assert_eq!(bounded_message("short".to_owned()), "short");
        let long = format!("begins {} field is immutable", "ä".repeat(1 << 20));
        let kept = bounded_message(long);
        assert!(kept.starts_with("begins ") && kept.ends_with("field is immutable"), "{kept:.40}");
        assert!(kept.len() <= MESSAGE_BYTES_MAX, "{}", kept.len());
    }
}
