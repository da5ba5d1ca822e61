//! Bounds on what is kept of what a member says. Pure.
//!
//! Anybody in a member who may label objects, write status or bind pods decides what is told here. It may cost that member's
//! deliverer some memory, and never the process its life.

/// Maximum number of live objects that carry our label and belong to no row.
pub(crate) const FOREIGN_OBJECTS_MAX: usize = 10_000;
/// Maximum number of bound pods that are counted: 2,000 nodes of 250 pods.
pub(crate) const PODS_MAX: usize = 500_000;
/// Maximum number of bytes kept of each end of a message. Its cause most often stands last.
const MESSAGE_END_BYTES: usize = 2_048;

/// A message with its middle left out where it is very long.
pub(crate) fn bounded_message(message: String) -> String {
    if message.len() <= 2 * MESSAGE_END_BYTES {
        return message;
    }
    let head = message.floor_char_boundary(MESSAGE_END_BYTES);
    let tail = message.ceil_char_boundary(message.len() - MESSAGE_END_BYTES);
    format!("{} … {}", &message[..head], &message[tail..])
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
        assert!(kept.len() <= 2 * MESSAGE_END_BYTES + 5, "{}", kept.len());
    }
}
