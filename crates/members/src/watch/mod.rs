//! A watch that never ends: list page by page, then follow; say when it is down, start over when it must.
//!
//! # Guarantees
//! - After [`WatchEvent::Reset`] the listener gets every object again, then [`WatchEvent::Synced`]: what it knew
//!   before and was not sent again in between is gone.
//! - Between two resets no event is lost: the watch resumes from the last resourceVersion seen.
//! - A watch that was cut off for long enough that the member's store may have been exchanged for a restored one
//!   ([`crate::Limits::resume_within`]) does not resume: in a history that went back, its version lies in the future
//!   or means something else, and neither is told by the server.
//! - [`WatchEvent::Down`] comes once for each failed attempt; afterwards the stream goes on by itself.
//!
//! # Assumptions
//! - The listener drops nothing. It may be slow: the stream reads only when polled.

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

/// Which objects of a kind; everything by default. An object that ceases to match is told as deleted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selection {
    /// Label selector; empty for any.
    pub labels: String,
    /// Field selector; empty for any.
    pub fields: String,
}

impl Selection {
    /// By a label selector.
    pub fn labels(selector: impl Into<String>) -> Self {
        Self { labels: selector.into(), fields: String::new() }
    }

    /// By a field selector. Which fields there are depends on the kind.
    pub fn fields(selector: impl Into<String>) -> Self {
        Self { labels: String::new(), fields: selector.into() }
    }

    fn query(&self) -> String {
        let given = [("labelSelector", &self.labels), ("fieldSelector", &self.fields)];
        let given = given.iter().filter(|(_, selector)| !selector.is_empty());
        given.map(|(name, selector)| format!("&{name}={}", encode(selector))).collect()
    }
}

/// What a watch tells.
#[derive(Debug, Clone, PartialEq)]
pub enum WatchEvent {
    /// A full list begins: everything not sent again before [`WatchEvent::Synced`] is gone.
    Reset,
    /// An object, new or changed: its JSON as the server sent it. Items of a list carry no apiVersion and kind, and
    /// share the page's memory: copy what is kept for long.
    Upsert(Bytes),
    /// An object was deleted, or no longer matches the selector.
    Delete(Deleted),
    /// The list is complete; from here on events are changes.
    Synced {
        /// The collection's resourceVersion.
        resource_version: String,
    },
    /// The watch is open: what is known is complete, and changes will be told. Comes after each list and after each failure
    /// from which it resumes.
    Opened,
    /// Nothing new up to this version: the watch is fresh as of now.
    Bookmark {
        /// The collection's resourceVersion.
        resource_version: String,
    },
    /// This attempt failed; what is known is getting stale. The stream tries again after a pause.
    Down(MemberError),
}

/// An object that is gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deleted {
    /// Which object.
    pub key: ObjectKey,
    /// Its UID, so that a successor of the same name is not mistaken for it.
    pub uid: String,
    /// The version of the deletion.
    pub resource_version: String,
}

impl Member {
    /// Watches what is selected of a kind, in all namespaces. The stream never ends by itself; dropping it ends the
    /// watch.
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
    /// Query parameters that select, each with a `&` before it.
    selected: String,
    phase: Phase,
    ready: VecDeque<WatchEvent>,
    /// Pauses of the present row of failures.
    pauses: Option<ExponentialBackoff>,
    wait: Option<Instant>,
    /// Since when the member may have been away, in the present row of failures.
    cut_off: Option<Instant>,
    /// Objects asked for in one page: fewer where objects are so large that a page was refused for its size.
    page_size: u32,
}

enum Phase {
    /// The next page to ask for; an empty token is the first.
    List {
        next: String,
    },
    /// To be watched from this version on.
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
            // The token expired: the pages so far are void. Any other failure resumes from the same token.
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
            // The server ends it at `life`; one that does not is as good as hung.
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
            // The server closed it in good order: go on at once, unless it does so all the time.
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

    /// Says so, waits, and goes on from where it is still valid to go on.
    fn fail(&mut self, error: MemberError) {
        let heard = self.transport.heard();
        // One that was silent before it failed was away for longer than the failure tells.
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

/// Whether only a new list can mend it.
fn starts_over(error: &MemberError) -> bool {
    // 400 comes for a version from another etcd ("invalid resource version", too large).
    matches!(error, MemberError::Expired { .. } | MemberError::Invalid { .. } | MemberError::Protocol { .. })
}

/// A quarter more or less, so that watches opened together do not end together.
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
