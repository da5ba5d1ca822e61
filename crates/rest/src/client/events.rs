//! Reads the journal of an operation as a stream, across restarts of the server.

use std::collections::VecDeque;
use std::time::Duration;

use reqwest::Response;
use reqwest::header::{ACCEPT, HeaderValue};
use serde::Deserialize;
use tokio::time::Instant;
use vocabulary::{OperationId, chain};

use super::retry::{Delays, Patience};
use super::send::Request;
use super::sse::{SseEvent, SseParser};
use super::{Client, ClientError};
use crate::{EVENT_JOURNAL, EVENT_RESYNC, JournalEvent};

/// Longest silence of a stream. The server sends a comment every 15 s, so a longer silence is a dead connection.
const SILENCE_MAX: Duration = Duration::from_secs(45);
/// Timeout for the first answer to the request of a stream.
const OPEN_TIMEOUT: Duration = Duration::from_secs(20);
/// Delay before a reconnect where the server names none.
const RECONNECT_DELAY: Duration = Duration::from_secs(1);
/// Maximum delay before a reconnect that the server may name.
const RECONNECT_DELAY_MAX: Duration = Duration::from_secs(30);

/// What a stream brings.
#[derive(Debug, Clone, PartialEq)]
pub enum StreamEvent {
    /// An entry of the journal.
    Entry(Box<JournalEvent>),
    /// Entries were removed that the stream has not brought. The operation must be read anew.
    Resync,
}

/// Data of a resync: the entry after which the stream goes on.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Place {
    journal_seq: i64,
}

/// The journal of an operation from some entry on.
#[derive(Debug)]
pub struct Events {
    client: Client,
    request: Request,
    parser: SseParser,
    after: i64,
    ready: VecDeque<SseEvent>,
    open: Option<Response>,
    ever_opened: bool,
}

impl Client {
    /// Reads the journal of an operation after an entry; 0 reads it from the beginning. Sends no request.
    pub fn operation_events(&self, id: OperationId, after: i64) -> Events {
        let url = self.endpoint.url(&["operations", &id.to_string(), "events"], &[]);
        Events {
            client: self.clone(),
            request: Request::get(url),
            parser: SseParser::default(),
            after,
            ready: VecDeque::new(),
            open: None,
            ever_opened: false,
        }
    }
}

impl Events {
    /// Returns the next event. Returns `None` when the server says that there are no more.
    ///
    /// # Guarantees
    /// No entry is brought twice. A lost connection is opened again after the last entry that was brought.
    ///
    /// # Errors
    /// [`ClientError::Unreachable`] if the stream cannot be opened within the deadline of the client, and refusals.
    ///
    /// # Cancel safety
    /// No event is lost when the future is dropped.
    pub async fn next(&mut self) -> Result<Option<StreamEvent>, ClientError> {
        loop {
            while let Some(event) = self.ready.pop_front() {
                if let Some(event) = self.read(&event)? {
                    return Ok(Some(event));
                }
            }
            let Some(open) = &mut self.open else {
                if !self.connect().await? {
                    return Ok(None);
                }
                continue;
            };
            match tokio::time::timeout(SILENCE_MAX, open.chunk()).await {
                Ok(Ok(Some(bytes))) => {
                    let events = self.parser.push(&bytes).map_err(|error| ClientError::Form {
                        server: self.client.server(),
                        request: "events".to_owned(),
                        why: error.to_string(),
                    })?;
                    self.ready.extend(events);
                }
                // The end of the stream, a lost connection, and a silent one.
                Ok(Ok(None) | Err(_)) | Err(_) => self.open = None,
            }
        }
    }

    /// Opens the stream. Returns false where the server ends it for good.
    async fn connect(&mut self) -> Result<bool, ClientError> {
        if self.ever_opened {
            let delay = self.parser.retry().unwrap_or(RECONNECT_DELAY).min(RECONNECT_DELAY_MAX);
            tokio::time::sleep(delay).await;
        }
        self.parser.reconnect();
        let begun = Instant::now();
        let mut delays = Delays::new();
        loop {
            let last = match tokio::time::timeout(OPEN_TIMEOUT, self.start().send()).await {
                Ok(Ok(response)) if response.status().as_u16() == 204 => return Ok(false),
                Ok(Ok(response)) if response.status().is_success() => {
                    self.open = Some(response);
                    self.ever_opened = true;
                    return Ok(true);
                }
                Ok(Ok(response)) => {
                    let status = response.status().as_u16();
                    let error = self.client.refusal(&self.request.title(), response).await;
                    if !Patience::AnyServerError.repeats(status) {
                        return Err(error);
                    }
                    error.to_string()
                }
                Ok(Err(error)) => chain(&error.without_url()),
                Err(_) => format!("no answer within {} s", OPEN_TIMEOUT.as_secs()),
            };
            let delay = delays.next(None);
            if begun.elapsed() + delay >= self.client.deadline {
                return Err(ClientError::Unreachable { server: self.client.server(), tried: begun.elapsed(), last });
            }
            tokio::time::sleep(delay).await;
        }
    }

    fn start(&self) -> reqwest::RequestBuilder {
        let mut builder = self.client.start(&self.request);
        let after = self.parser.last_id().map_or_else(|| self.after.to_string(), str::to_owned);
        if after != "0"
            && let Ok(value) = HeaderValue::try_from(after)
        {
            builder = builder.header("last-event-id", value);
        }
        builder.header(ACCEPT, "text/event-stream")
    }

    /// Reads an event. Returns `None` for an entry that the stream has brought before, and for an unknown event.
    fn read(&mut self, event: &SseEvent) -> Result<Option<StreamEvent>, ClientError> {
        if event.name == EVENT_RESYNC {
            let place: Place =
                serde_json::from_str(&event.data).map_err(|error| self.client.form(&self.request.title(), &error))?;
            self.after = place.journal_seq;
            self.parser.set_last_id(place.journal_seq.to_string());
            return Ok(Some(StreamEvent::Resync));
        }
        let entry: JournalEvent = match serde_json::from_str(&event.data) {
            Ok(entry) => entry,
            // A later server may send events of other kinds under names of their own.
            Err(_) if !matches!(event.name.as_str(), "" | EVENT_JOURNAL) => return Ok(None),
            Err(error) => return Err(self.client.form(&self.request.title(), &error)),
        };
        if entry.seq <= self.after {
            return Ok(None);
        }
        self.after = entry.seq;
        Ok(Some(StreamEvent::Entry(Box::new(entry))))
    }
}
