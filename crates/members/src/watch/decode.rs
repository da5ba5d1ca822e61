//! Splits bytes of the wire into frames: lines of a watch, items of a list page.
//!
//! No object is decoded or copied.

use bytes::{Bytes, BytesMut};
use serde::Deserialize;
use serde_json::value::RawValue;

/// Splits a chunked body into lines.
#[derive(Debug, Default)]
pub(super) struct Lines {
    buffer: BytesMut,
    searched: usize,
}

impl Lines {
    pub(super) fn push(&mut self, chunk: &[u8]) {
        self.buffer.extend_from_slice(chunk);
    }

    /// Returns the next complete line without its end; skips blank lines.
    pub(super) fn next(&mut self) -> Option<Bytes> {
        loop {
            let Some(at) = self.buffer[self.searched..].iter().position(|byte| *byte == b'\n') else {
                self.searched = self.buffer.len();
                return None;
            };
            let line = self.buffer.split_to(self.searched + at + 1).freeze();
            self.searched = 0;
            let line = line.slice(..line.len() - 1);
            if !line.trim_ascii().is_empty() {
                return Some(line);
            }
        }
    }

    /// Returns the number of bytes of the line that has not ended yet.
    pub(super) fn pending(&self) -> usize {
        self.buffer.len()
    }
}

/// A frame of a watch.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Frame {
    /// An object was added or modified. Holds the object's bytes.
    Upsert {
        version: String,
        object: Bytes,
    },
    Delete(Identity),
    Bookmark {
        version: String,
    },
    /// An error. Holds the server's `Status` and its code.
    Error {
        code: u16,
        status: Bytes,
    },
}

/// Metadata that identifies an object.
#[derive(Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Identity {
    pub(super) name: String,
    pub(super) namespace: String,
    pub(super) uid: String,
    pub(super) resource_version: String,
}

#[derive(Deserialize)]
struct RawFrame<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    #[serde(borrow)]
    object: &'a RawValue,
}

#[derive(Deserialize)]
struct Object {
    #[serde(default)]
    metadata: Identity,
}

/// Decodes one line of a watch.
///
/// Returns `None` for an unknown event type, which clients must ignore by the API conventions.
pub(super) fn frame(line: &Bytes) -> Result<Option<Frame>, serde_json::Error> {
    let raw: RawFrame<'_> = serde_json::from_slice(line)?;
    let text = raw.object.get();
    let identity = || serde_json::from_str::<Object>(text).map(|object| object.metadata);
    Ok(Some(match raw.kind {
        "ADDED" | "MODIFIED" => {
            Frame::Upsert { version: identity()?.resource_version, object: line.slice_ref(text.as_bytes()) }
        }
        "DELETED" => Frame::Delete(identity()?),
        "BOOKMARK" => Frame::Bookmark { version: identity()?.resource_version },
        "ERROR" => {
            #[derive(Deserialize)]
            struct Coded {
                #[serde(default)]
                code: u16,
            }
            Frame::Error { code: serde_json::from_str::<Coded>(text)?.code, status: line.slice_ref(text.as_bytes()) }
        }
        _ => return Ok(None),
    }))
}

/// A page of a list.
#[derive(Debug)]
pub(super) struct Page {
    /// Items of the page, each a slice of its bytes.
    pub(super) items: Vec<Bytes>,
    pub(super) version: String,
    /// Token of the next page; empty on the last page.
    pub(super) next: String,
}

/// Decodes one page of a list.
pub(super) fn page(body: &Bytes) -> Result<Page, serde_json::Error> {
    #[derive(Deserialize)]
    struct RawPage<'a> {
        metadata: ListMeta,
        #[serde(borrow, default)]
        items: Option<Vec<&'a RawValue>>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct ListMeta {
        #[serde(default)]
        resource_version: String,
        #[serde(rename = "continue", default)]
        next: String,
    }
    let raw: RawPage<'_> = serde_json::from_slice(body)?;
    let items = raw.items.unwrap_or_default();
    Ok(Page {
        items: items.into_iter().map(|item| body.slice_ref(item.get().as_bytes())).collect(),
        version: raw.metadata.resource_version,
        next: raw.metadata.next,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_come_out_whole_however_they_are_cut() {
        let text = b"{\"a\":1}\n\n{\"b\":2}\r\n{\"c\":";
        for cut in 1..text.len() {
            let mut lines = Lines::default();
            let mut out = Vec::new();
            for chunk in text.chunks(cut) {
                lines.push(chunk);
                while let Some(line) = lines.next() {
                    out.push(String::from_utf8(line.to_vec()).unwrap().trim().to_owned());
                }
            }
            assert_eq!(out, ["{\"a\":1}", "{\"b\":2}"], "cut at {cut}");
            assert_eq!(lines.pending(), 5);
        }
    }

    #[test]
    fn frames_keep_the_objects_own_bytes() {
        let object =
            r#"{"kind":"Pod","metadata":{"name":"p","namespace":"n","uid":"u","resourceVersion":"7"},"odd": 1.50}"#;
        let line = Bytes::from(format!(r#"{{"type":"ADDED","object":{object}}}"#));
        assert_eq!(
            frame(&line).unwrap(),
            Some(Frame::Upsert { version: "7".into(), object: Bytes::from(object.to_owned()) })
        );
        let line = Bytes::from(format!(r#"{{"type":"DELETED","object":{object}}}"#));
        let Some(Frame::Delete(identity)) = frame(&line).unwrap() else { panic!() };
        assert_eq!((identity.namespace.as_str(), identity.uid.as_str()), ("n", "u"));
    }

    #[test]
    fn bookmarks_errors_and_unknown_types() {
        let line = Bytes::from(r#"{"type":"BOOKMARK","object":{"kind":"Pod","metadata":{"resourceVersion":"9"}}}"#);
        assert_eq!(frame(&line).unwrap(), Some(Frame::Bookmark { version: "9".into() }));
        let line = Bytes::from(r#"{"type":"ERROR","object":{"kind":"Status","code":410,"reason":"Expired"}}"#);
        assert!(matches!(frame(&line).unwrap(), Some(Frame::Error { code: 410, .. })));
        let line = Bytes::from(r#"{"type":"NEW","object":{}}"#);
        assert_eq!(frame(&line).unwrap(), None);
        assert!(frame(&Bytes::from("{\"type\":")).is_err());
    }

    #[test]
    fn pages_give_items_and_the_next_token() {
        let body = Bytes::from(
            r#"{"kind":"PodList","metadata":{"resourceVersion":"3","continue":"t"},"items":[{"a":1},{"b":[2]}]}"#,
        );
        let first = page(&body).unwrap();
        assert_eq!(first.items, [Bytes::from(r#"{"a":1}"#), Bytes::from(r#"{"b":[2]}"#)]);
        assert_eq!((first.version.as_str(), first.next.as_str()), ("3", "t"));
        let last = page(&Bytes::from(r#"{"metadata":{},"items":null}"#)).unwrap();
        assert!(last.items.is_empty() && last.next.is_empty());
    }
}
