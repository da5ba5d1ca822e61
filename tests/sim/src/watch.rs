//! Watches: events after a revision, bookmarks, and 410 for a revision that the log no longer holds.

use std::time::Duration;

use bytes::Bytes;
use futures::{Stream, stream};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::answers::{Kind, failure};
use crate::collection::{Event, Selector};
use crate::member::Member;

/// Interval between two bookmarks of a watch.
const BOOKMARK: Duration = Duration::from_secs(15);

struct Watch {
    member: Member,
    kind: Kind,
    selector: Selector,
    revision: u64,
    newest: watch::Receiver<u64>,
    bookmark: Instant,
    ends: Instant,
    over: bool,
}

/// Returns the lines of a watch that ends after `life`.
pub(crate) fn lines(
    member: Member,
    kind: Kind,
    selector: Selector,
    revision: u64,
    life: Duration,
) -> impl Stream<Item = Bytes> + Send {
    let newest = member.subscribe();
    let now = Instant::now();
    let watch =
        Watch { member, kind, selector, revision, newest, bookmark: now + BOOKMARK, ends: now + life, over: false };
    stream::unfold(watch, |mut watch| async move {
        let lines = watch.next().await?;
        Some((lines, watch))
    })
}

impl Watch {
    async fn next(&mut self) -> Option<Bytes> {
        while !self.over {
            self.newest.borrow_and_update();
            let Some((events, newest)) = self.member.since(self.kind, self.revision) else {
                self.over = true;
                let status = failure(410, "Expired", "too old resource version");
                return Some(line("ERROR", status.to_string().as_bytes()));
            };
            self.revision = newest;
            let text: Vec<u8> = events.iter().filter_map(|event| self.text(event)).flatten().collect();
            if !text.is_empty() {
                return Some(text.into());
            }
            let at = self.bookmark.min(self.ends);
            if tokio::time::timeout_at(at, self.newest.changed()).await.is_err() {
                self.over = Instant::now() >= self.ends;
                self.bookmark = Instant::now() + BOOKMARK;
                let object = format!(
                    r#"{{"kind":"{}","apiVersion":"{}","metadata":{{"resourceVersion":"{}"}}}}"#,
                    self.kind.name,
                    self.kind.api_version(),
                    self.revision
                );
                return Some(line("BOOKMARK", object.as_bytes()));
            }
        }
        None
    }

    fn text(&self, event: &Event) -> Option<Bytes> {
        let before = event.before.as_ref().is_some_and(|labels| self.selector.matches(labels));
        let after = event.after.as_ref().is_some_and(|labels| self.selector.matches(labels));
        let kind = match (before, after) {
            (false, true) => "ADDED",
            (true, true) => "MODIFIED",
            (true, false) => "DELETED",
            (false, false) => return None,
        };
        Some(line(kind, &event.bytes))
    }
}

fn line(kind: &str, object: &[u8]) -> Bytes {
    [br#"{"type":""#, kind.as_bytes(), br#"","object":"#, object, b"}\n"].concat().into()
}
