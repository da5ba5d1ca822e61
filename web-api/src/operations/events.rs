//! `GET /operations/{id}/events`: the journal, as a page or as a stream of events.
//!
//! The id of an event is the number of its journal entry. Numbers are dense, so a client that gives the last one it got
//! misses nothing. The stream ends when the operation is over, at shutdown, and after some minutes. Then the client
//! connects again, and its token and rights are checked again.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::time::Duration;

use access::Right;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use domain::operation::State as OperationState;
use flow::LoadError;
use futures::stream::unfold;
use rest::{JournalEvent, Page};
use serde_json::{Value, json};
use store::JournalRow;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;
use vocabulary::OperationId;

use super::{id_of, namespace_of};
use crate::answer::json as json_answer;
use crate::api::Api;
use crate::body::{PathOf, Query};
use crate::caller::Caller;
use crate::code::Code;
use crate::failure::Failure;
use crate::page::PageRequest;
use crate::wakes::OperationWake;

/// Name of the list in page tokens.
const LIST: &str = "events";
/// Header by which a client continues a stream.
const LAST_EVENT_ID: &str = "last-event-id";
/// Interval between two comments on a stream without events. Proxies close idle connections after a minute.
const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(15);
/// Maximum time between two reads of the journal without a hint.
const LOOK_AGAIN: Duration = Duration::from_secs(5);
/// Pause after a failed read of the journal.
const READ_AGAIN: Duration = Duration::from_secs(1);
/// Maximum life of a stream.
const STREAM_LIFE: Duration = Duration::from_mins(10);
/// Pause before a client connects again.
const RECONNECT_AFTER: Duration = Duration::from_secs(3);
/// Number of journal entries read at once.
const ROWS: i64 = 200;

pub(crate) async fn events(
    State(api): State<Api>,
    mut caller: Caller,
    PathOf(id): PathOf<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    let query = Query::parse(query.as_deref(), &["after", "pageSize", "pageToken"])?;
    let page = PageRequest::of(&query, LIST)?;
    let after = after(&query, &page, &headers)?;
    let id = id_of(&id)?;
    let row = caller.store().operation_get(id).await?.ok_or(LoadError::NotFound(id))?;
    caller.require(Right::Get, namespace_of(&row.kind, &row.spec)).await?;
    let accept = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
    if !accept.contains("text/event-stream") {
        let rows = caller.store().journal_list(id, after, page.size).await?;
        let next_page_token = page.next(LIST, rows.len(), rows.last().map(|row| row.seq.to_string()));
        return Ok(json_answer(&Page { items: rows.into_iter().map(journal_event).collect(), next_page_token }));
    }
    caller.end_turn();
    let is_over = OperationState::parse(&row.state).is_some_and(OperationState::is_terminal);
    if is_over && after == row.journal_seq {
        // By the standard, a client does not connect again after this status.
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    stream(&api, id, after, row.journal_seq)
}

/// Returns the number of the entry after which the client wants to continue.
fn after(query: &Query, page: &PageRequest, headers: &HeaderMap) -> Result<i64, Failure> {
    let last = headers.get(LAST_EVENT_ID).map(|value| {
        let number = value.to_str().ok().and_then(|text| text.parse().ok());
        number.ok_or_else(|| Failure::new(Code::InvalidRequest, "Last-Event-ID is not the id of an event"))
    });
    let asked = query.value("after", "the id of an event")?;
    let after: i64 = page.after()?.or(last.transpose()?).or(asked).unwrap_or(0);
    if after < 0 {
        return Err(Failure::new(Code::InvalidRequest, format!("after={after} is not the id of an event")));
    }
    Ok(after)
}

fn journal_event(row: JournalRow) -> JournalEvent {
    JournalEvent {
        seq: row.seq,
        entry: row.entry,
        step: row.step,
        target: row.target,
        body: serde_json::from_str(&row.body).unwrap_or(Value::String(row.body)),
        actor: row.actor,
        at: row.at,
        hash: hex::encode(row.hash),
    }
}

/// A stream of the journal of one operation.
struct Follower {
    api: Api,
    id: OperationId,
    /// Number of the last entry that was sent.
    after: i64,
    waiting: VecDeque<Event>,
    wake: OperationWake,
    ends_at: Instant,
    has_ended: bool,
    _waiter: OwnedSemaphorePermit,
}

fn stream(api: &Api, id: OperationId, after: i64, journal_seq: i64) -> Result<Response, Failure> {
    let mut follower = Follower {
        api: api.clone(),
        id,
        after,
        waiting: VecDeque::from([Event::default().retry(RECONNECT_AFTER)]),
        wake: api.wakes.subscribe(),
        ends_at: Instant::now() + STREAM_LIFE,
        has_ended: false,
        _waiter: api.limits.waiter()?,
    };
    if after > journal_seq {
        // The database was restored from an older state: what the client has is not in it.
        follower.waiting.push_back(resync(journal_seq));
        follower.after = journal_seq;
    }
    let events = unfold(follower, |mut follower| async move {
        let event = follower.next().await?;
        Some((Ok::<_, Infallible>(event), follower))
    });
    let mut response = Sse::new(events).keep_alive(KeepAlive::new().interval(HEARTBEAT_INTERVAL)).into_response();
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response.headers_mut().insert("x-accel-buffering", HeaderValue::from_static("no"));
    Ok(response)
}

fn resync(journal_seq: i64) -> Event {
    Event::default().event(rest::EVENT_RESYNC).data(json!({ "journalSeq": journal_seq }).to_string())
}

fn event(row: JournalRow) -> Event {
    let seq = row.seq.to_string();
    let data = serde_json::to_string(&journal_event(row)).expect("an entry is plain data");
    Event::default().id(seq).event(rest::EVENT_JOURNAL).data(data)
}

impl Follower {
    /// Returns the next event; `None` when the stream ends.
    async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.waiting.pop_front() {
                return Some(event);
            }
            if self.has_ended || self.api.shutdown.is_cancelled() || Instant::now() >= self.ends_at {
                return None;
            }
            let pause = match self.read().await {
                Ok(true) => continue,
                Ok(false) => LOOK_AGAIN,
                Err(failure) => {
                    tracing::warn!(operation = %self.id, error = failure.detail, "a stream could not read the journal; it reads again");
                    tokio::time::sleep(READ_AGAIN).await;
                    continue;
                }
            };
            let shutdown = self.api.shutdown.clone();
            tokio::select! {
                () = shutdown.cancelled() => {}
                () = self.wake.wait(self.id, self.ends_at.min(Instant::now() + pause)) => {}
            }
        }
    }

    /// Reads further entries. Returns whether there is something to send, or the stream has ended.
    async fn read(&mut self) -> Result<bool, Failure> {
        let _turn = self.api.limits.turn().await?;
        let store = &self.api.general.store;
        // The state is read first: entries of the end are then in the journal.
        let row = store.operation_get(self.id).await?;
        let rows = store.journal_list(self.id, self.after, ROWS).await?;
        if let Some(first) = rows.first().filter(|first| first.seq > self.after + 1) {
            self.waiting.push_back(resync(first.seq - 1));
        }
        self.after = rows.last().map_or(self.after, |last| last.seq);
        self.waiting.extend(rows.into_iter().map(event));
        let is_over = row.is_none_or(|row| {
            let is_terminal = OperationState::parse(&row.state).is_some_and(OperationState::is_terminal);
            is_terminal && self.after >= row.journal_seq
        });
        if is_over {
            self.has_ended = true;
            self.waiting.push_back(Event::default().event("end").data(json!({ "journalSeq": self.after }).to_string()));
        }
        Ok(!self.waiting.is_empty())
    }
}
