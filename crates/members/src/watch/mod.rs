//! Endless watch: lists page by page, follows changes, reports failures and lists again where needed.
//!
//! # Guarantees
//! - After [`WatchEvent::Reset`] the listener receives every object again, then [`WatchEvent::Synced`]. Objects that
//!   the listener has from before and did not receive in between are gone.
//! - Between two resets no event is lost: the watch resumes from the last `resourceVersion` that it received.
//! - The watch does not resume after an outage longer than [`crate::Limits::resume_within`], because the member's store
//!   may have been exchanged for a restored one. In a history that went back, the last version lies in the future or
//!   means another state. The API server reports neither.
//! - [`WatchEvent::Down`] comes once for each failed attempt. Afterwards the stream continues by itself.
//!
//! # Assumptions
//! - The listener drops no event. The listener may be slow: the stream reads only when polled.

mod decode;

use std::collections::VecDeque;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use bytes::Bytes;
use futures::Stream;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::time::Instant;
use vocabulary::ObjectKey;

use crate::api_kind::{ApiKind, encode};
use crate::error::MemberError;
use crate::member::Member;
use crate::transport::{Call, Transport};
use decode::{Frame, Lines};

/// Selection of objects of a kind; all objects by default.
///
/// An object that ceases to match is reported as deleted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selection {
    /// Label selector; empty selects all.
    pub labels: String,
    /// Field selector; empty selects all.
    pub fields: String,
}

impl Selection {
    /// Selects by a label selector.
    pub fn labels(selector: impl Into<String>) -> Self {
        Self { labels: selector.into(), fields: String::new() }
    }

    /// Selects by a field selector. The available fields depend on the kind.
    pub fn fields(selector: impl Into<String>) -> Self {
        Self { labels: String::new(), fields: selector.into() }
    }

    fn query(&self) -> String {
        let given = [("labelSelector", &self.labels), ("fieldSelector", &self.fields)];
        let given = given.iter().filter(|(_, selector)| !selector.is_empty());
        given.map(|(name, selector)| format!("&{name}={}", encode(selector))).collect()
    }
}

/// Event of a watch.
#[derive(Debug, Clone, PartialEq)]
pub enum WatchEvent {
    /// A full list begins. Objects that are not sent again before [`WatchEvent::Synced`] are gone.
    Reset,
    /// A new or changed object, as the JSON that the server sent.
    ///
    /// Items of a list carry no `apiVersion` and `kind`. Items share the memory of their page, so copy objects that are
    /// kept for long.
    Upsert(Bytes),
    /// An object was deleted, or no longer matches the selector.
    Delete(Deleted),
    /// The list is complete. Later events are changes.
    Synced {
        /// The collection's `resourceVersion`.
        resource_version: String,
    },
    /// The watch is open: the objects sent so far are complete, and later changes will be sent.
    ///
    /// Comes after each list, and after each failure from which the watch resumes.
    Opened,
    /// The collection has no changes up to this version, so the watch is fresh as of now.
    Bookmark {
        /// The collection's `resourceVersion`.
        resource_version: String,
    },
    /// This attempt failed, and the objects sent so far become stale. The stream retries after a pause.
    Down(MemberError),
}

/// An object that was deleted or no longer matches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deleted {
    /// Key of the object.
    pub key: ObjectKey,
    /// UID of the object, which distinguishes it from a successor of the same name.
    pub uid: String,
    /// `resourceVersion` of the deletion.
    pub resource_version: String,
}

impl Member {
    /// Watches the selected objects of a kind, in all namespaces.
    ///
    /// The stream never ends by itself. Dropping the stream ends the watch.
    pub fn watch(&self, kind: &ApiKind, selected: &Selection) -> impl Stream<Item = WatchEvent> + Send + Unpin + use<> {
        let watch = Watch {
            transport: self.transport.clone(),
            kind: kind.clone(),
            selected: selected.query(),
            phase: Phase::List { next: String::new() },
            ready: VecDeque::new(),
            pauses: None,
            wait: None,
            cut_off: None,
            page_size: self.transport.limits().page_size,
        };
        Box::pin(futures::stream::unfold(watch, |mut watch| async move {
            let event = watch.event().await;
            Some((event, watch))
        }))
    }
}

struct Watch {
    transport: Arc<Transport>,
    kind: ApiKind,
    /// Query parameters of the selectors, each with a `&` before it.
    selected: String,
    phase: Phase,
    ready: VecDeque<WatchEvent>,
    /// Pauses of the current sequence of failures.
    pauses: Option<ExponentialBackoff>,
    wait: Option<Instant>,
    /// Time since which the member may have been cut off, in the current sequence of failures.
    cut_off: Option<Instant>,
    /// Number of objects to request in one page; lowered when a page was refused for its size.
    page_size: u32,
}

enum Phase {
    /// The next page to request; an empty token requests the first page.
    List {
        next: String,
    },
    /// The next step opens a watch from this version on.
    Resume {
        version: String,
    },
    Following {
        version: String,
        body: Incoming,
        lines: Lines,
        began: Instant,
        ends: Instant,
    },
}

impl Watch {
    async fn event(&mut self) -> WatchEvent {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return event;
            }
            if let Some(until) = self.wait.take() {
                tokio::time::sleep_until(until).await;
            }
            if let Err(error) = self.step().await {
                self.fail(error);
            }
        }
    }

    async fn step(&mut self) -> Result<(), MemberError> {
        match &mut self.phase {
            Phase::List { next } => {
                let next = std::mem::take(next);
                self.page(next).await
            }
            Phase::Resume { version } => {
                let version = version.clone();
                self.open(version).await
            }
            Phase::Following { .. } => self.follow().await,
        }
    }

    async fn page(&mut self, token: String) -> Result<(), MemberError> {
        let page_size = self.page_size;
        let mut path = format!("{}?limit={page_size}{}", self.kind.collection_path(), self.selected);
        if !token.is_empty() {
            path = format!("{path}&continue={}", encode(&token));
        }
        let body = match self.transport.page(&Call::get(path)).await {
            Ok(body) => body,
            // The token expired, so the pages so far are void. Other failures keep the token; `fail` decides whether to
            // list again.
            Err(error @ MemberError::Expired { .. }) => return Err(error),
            Err(MemberError::TooLarge { .. }) if page_size > 1 => {
                self.page_size = (page_size / 4).max(1);
                self.phase = Phase::List { next: token };
                return Ok(());
            }
            Err(error) => {
                self.phase = Phase::List { next: token };
                return Err(error);
            }
        };
        let page = decode::page(&body).map_err(|error| MemberError::protocol(self.transport.cluster(), error))?;
        if token.is_empty() {
            self.ready.push_back(WatchEvent::Reset);
        }
        self.ready.extend(page.items.into_iter().map(WatchEvent::Upsert));
        self.cut_off = None;
        self.phase = if page.next.is_empty() {
            self.ready.push_back(WatchEvent::Synced { resource_version: page.version.clone() });
            Phase::Resume { version: page.version }
        } else {
            Phase::List { next: page.next }
        };
        self.pauses = None;
        Ok(())
    }

    async fn open(&mut self, version: String) -> Result<(), MemberError> {
        let life = jittered(self.transport.limits().watch_timeout);
        let path = format!(
            "{}?watch=1&allowWatchBookmarks=true&timeoutSeconds={}&resourceVersion={}{}",
            self.kind.collection_path(),
            life.as_secs().max(1),
            encode(&version),
            self.selected
        );
        let body = self.transport.open(&Call::get(path)).await?;
        if let Some(since) = self.cut_off.take()
            && since.elapsed() > self.transport.limits().resume_within
        {
            self.phase = Phase::List { next: String::new() };
            return Ok(());
        }
        self.ready.push_back(WatchEvent::Opened);
        let began = Instant::now();
        self.phase = Phase::Following {
            version,
            body,
            lines: Lines::default(),
            began,
            // The server ends the watch at `life`; a watch that stays open longer is treated as hung.
            ends: began + life + self.transport.limits().request_timeout,
        };
        Ok(())
    }

    async fn follow(&mut self) -> Result<(), MemberError> {
        let Phase::Following { version, body, lines, began, ends } = &mut self.phase else {
            return Ok(());
        };
        if let Some(line) = lines.next() {
            return self.line(&line);
        }
        let cluster = self.transport.cluster();
        let limit = self.transport.limits().answer_max;
        if lines.pending() > limit {
            return Err(MemberError::TooLarge {
                message: format!("cluster {cluster}: an event is larger than {limit} bytes"),
            });
        }
        match tokio::time::timeout_at(*ends, body.frame()).await {
            Ok(Some(Ok(frame))) => {
                if let Some(data) = frame.data_ref() {
                    lines.push(data);
                }
                Ok(())
            }
            Ok(Some(Err(error))) => Err(self.transport.broken(&error)),
            // The server closed the watch regularly: reopen at once, or after a pause if the watch was short.
            Ok(None) => {
                let short = began.elapsed() < Duration::from_secs(1);
                let version = std::mem::take(version);
                self.phase = Phase::Resume { version };
                if short {
                    self.pause();
                } else {
                    self.pauses = None;
                }
                Ok(())
            }
            Err(_) => Err(MemberError::TimedOut { cluster: cluster.clone(), after: began.elapsed() }),
        }
    }

    fn line(&mut self, line: &Bytes) -> Result<(), MemberError> {
        let cluster = self.transport.cluster();
        let frame = decode::frame(line).map_err(|error| MemberError::protocol(cluster, error))?;
        let (reached, event) = match frame {
            None => return Ok(()),
            Some(Frame::Error { code, status }) => {
                return Err(MemberError::from_answer(cluster, code, None, &status));
            }
            Some(Frame::Upsert { version, object }) => (version, WatchEvent::Upsert(object)),
            Some(Frame::Bookmark { version }) => (version.clone(), WatchEvent::Bookmark { resource_version: version }),
            Some(Frame::Delete(gone)) => (
                gone.resource_version.clone(),
                WatchEvent::Delete(Deleted {
                    key: self.kind.key(&gone.namespace, &gone.name),
                    uid: gone.uid,
                    resource_version: gone.resource_version,
                }),
            ),
        };
        if let Phase::Following { version, .. } = &mut self.phase {
            *version = reached;
        }
        self.pauses = None;
        self.ready.push_back(event);
        Ok(())
    }

    /// Reports the failure, and schedules the next attempt from the last state that is still valid.
    fn fail(&mut self, error: MemberError) {
        let heard = self.transport.heard();
        // A member that was already silent is cut off since its last answer, not only since the failure.
        let was_silent = heard.elapsed() > self.transport.limits().ping_interval;
        self.cut_off.get_or_insert_with(|| if was_silent { heard } else { Instant::now() });
        match &mut self.phase {
            Phase::Following { version, .. } | Phase::Resume { version } if !starts_over(&error) => {
                let version = std::mem::take(version);
                self.phase = Phase::Resume { version };
            }
            Phase::List { .. } if !starts_over(&error) => {}
            _ => self.phase = Phase::List { next: String::new() },
        }
        tracing::debug!(cluster = %self.transport.cluster(), kind = %self.kind.kind, error = error.kind(), "watch failed");
        self.pause();
        self.ready.push_back(WatchEvent::Down(error));
    }

    fn pause(&mut self) {
        let limits = self.transport.limits();
        let pauses = self.pauses.get_or_insert_with(|| {
            ExponentialBuilder::new()
                .with_min_delay(limits.watch_pause)
                .with_max_delay(limits.watch_pause_max)
                .without_max_times()
                .with_jitter()
                .build()
        });
        let pause = pauses.next().unwrap_or(limits.watch_pause_max);
        self.wait = Some(Instant::now() + pause.min(limits.watch_pause_max));
    }
}

/// Returns whether the watch must list again after this error.
fn starts_over(error: &MemberError) -> bool {
    // The API server answers 400 to a version from another etcd ("invalid resource version", too large).
    matches!(error, MemberError::Expired { .. } | MemberError::Invalid { .. } | MemberError::Protocol { .. })
}

/// Varies a time by up to a quarter, so that watches opened together do not end together.
fn jittered(time: Duration) -> Duration {
    let random = RandomState::new().hash_one(0_u8) % 1000;
    time.mul_f64(0.75 + random as f64 / 2000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jitter_stays_within_a_quarter() {
        let base = Duration::from_mins(1);
        let times: Vec<_> = (0..200).map(|_| jittered(base)).collect();
        assert!(times.iter().all(|t| (45.0..=75.0).contains(&t.as_secs_f64())));
        assert!(times.iter().any(|t| *t != times[0]));
    }
}
