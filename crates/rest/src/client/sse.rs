//! Parser of `text/event-stream`. Pure.

use std::time::Duration;

/// Maximum number of bytes of one event. A longer one is an error of the server.
const EVENT_BYTES_MAX: usize = 4 << 20;

/// An event of a stream.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct SseEvent {
    /// Name of the event; empty for the default, `message`.
    pub(super) name: String,
    /// Lines of data, joined by line breaks.
    pub(super) data: String,
}

/// Collects bytes and returns the events in them.
#[derive(Debug, Default)]
pub(super) struct SseParser {
    line: Vec<u8>,
    event: SseEvent,
    has_data: bool,
    after_carriage_return: bool,
    /// Id of the last complete event.
    last_id: Option<String>,
    next_id: Option<String>,
    retry: Option<Duration>,
}

/// An event is longer than any that the server makes.
#[derive(Debug, thiserror::Error)]
#[error("an event is longer than {EVENT_BYTES_MAX} bytes")]
pub(super) struct EventTooLong;

impl SseParser {
    /// Takes the next bytes of the stream. Returns the events that they complete, in order.
    ///
    /// # Errors
    /// [`EventTooLong`]; the stream cannot be read on.
    pub(super) fn push(&mut self, bytes: &[u8]) -> Result<Vec<SseEvent>, EventTooLong> {
        let mut events = Vec::new();
        for byte in bytes {
            match byte {
                // The second half of CRLF.
                b'\n' if self.after_carriage_return => {}
                b'\n' | b'\r' => events.extend(self.end_line()),
                _ => self.line.push(*byte),
            }
            self.after_carriage_return = *byte == b'\r';
            if self.line.len() + self.event.data.len() > EVENT_BYTES_MAX {
                return Err(EventTooLong);
            }
        }
        Ok(events)
    }

    /// Replaces the id of the last event.
    pub(super) fn set_last_id(&mut self, id: String) {
        self.last_id = Some(id);
    }

    /// Returns the id after which the stream is resumed.
    pub(super) fn last_id(&self) -> Option<&str> {
        self.last_id.as_deref()
    }

    /// Returns the delay before a reconnect, where the server named one.
    pub(super) fn retry(&self) -> Option<Duration> {
        self.retry
    }

    /// Begins a new connection. An event that the old one did not complete is dropped; it is sent again.
    pub(super) fn reconnect(&mut self) {
        self.line.clear();
        self.event = SseEvent::default();
        self.has_data = false;
        self.after_carriage_return = false;
        self.next_id = None;
    }

    fn end_line(&mut self) -> Option<SseEvent> {
        let line = std::mem::take(&mut self.line);
        if line.is_empty() {
            return self.end_event();
        }
        let line = String::from_utf8_lossy(&line);
        let (field, value) = line.split_once(':').unwrap_or((&line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => value.clone_into(&mut self.event.name),
            "data" => {
                if self.has_data {
                    self.event.data.push('\n');
                }
                self.event.data.push_str(value);
                self.has_data = true;
            }
            "id" if !value.contains('\0') => self.next_id = Some(value.to_owned()),
            "retry" => self.retry = value.parse().ok().map(Duration::from_millis).or(self.retry),
            // Comments have an empty field; unknown fields are ignored.
            _ => {}
        }
        None
    }

    fn end_event(&mut self) -> Option<SseEvent> {
        if let Some(id) = self.next_id.take() {
            self.last_id = Some(id);
        }
        let event = std::mem::take(&mut self.event);
        // An event without data is no event.
        std::mem::take(&mut self.has_data).then_some(event)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(name: &str, data: &str) -> SseEvent {
        SseEvent { name: name.to_owned(), data: data.to_owned() }
    }

    #[test]
    fn streams_are_parsed_however_they_are_cut() {
        for (case, stream, expected, id) in [
            ("one", "id: 1\ndata: a\n\n", vec![event("", "a")], Some("1")),
            ("named", "event: resync\ndata: {}\nid: 7\n\n", vec![event("resync", "{}")], Some("7")),
            ("lines", "data: a\ndata: b\n\n", vec![event("", "a\nb")], None),
            (
                "carriage returns",
                "id: 1\r\ndata: a\r\n\r\ndata: b\r\r",
                vec![event("", "a"), event("", "b")],
                Some("1"),
            ),
            ("no blank", "data:a\n\n", vec![event("", "a")], None),
            ("comment", ": heartbeat\n\ndata: a\n\n", vec![event("", "a")], None),
            ("unfinished", "id: 1\ndata: a\n\nid: 2\ndata: b\n", vec![event("", "a")], Some("1")),
            ("only an id", "id: 3\n\n", vec![], Some("3")),
            ("not ASCII", "data: grün\n\n", vec![event("", "grün")], None),
        ] {
            for size in [1, 3, stream.len()] {
                let mut parser = SseParser::default();
                let mut events = Vec::new();
                for part in stream.as_bytes().chunks(size) {
                    events.extend(parser.push(part).expect("short events"));
                }
                assert_eq!(events, expected, "{case}, {size} bytes each");
                assert_eq!(parser.last_id(), id, "{case}");
            }
        }
    }

    #[test]
    fn reconnects_drop_the_unfinished_event_and_keep_the_place() {
        let mut parser = SseParser::default();
        parser.push(b"retry: 250\nid: 1\ndata: a\n\nid: 2\ndata: lost").expect("short events");
        parser.reconnect();
        assert_eq!(parser.last_id(), Some("1"));
        assert_eq!(parser.retry(), Some(Duration::from_millis(250)));
        assert_eq!(parser.push(b"id: 2\ndata: b\n\n").expect("short events"), [event("", "b")]);
        assert_eq!(parser.last_id(), Some("2"));
    }

    #[test]
    fn endless_events_are_refused() {
        let mut parser = SseParser::default();
        let bytes = vec![b'x'; 1 << 20];
        assert!((0..5).any(|_| parser.push(&bytes).is_err()));
    }
}
