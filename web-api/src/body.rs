//! Reads bodies and queries, with the field at which they are wrong.

use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{FromRequestParts, Path};
use axum::http::request::Parts;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::api::Api;
use crate::code::Code;
use crate::failure::Failure;
use crate::limits::BODY_BYTES_MAX;

/// Timeout for the whole body of a request.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// Reads a body of at most 1 MiB.
pub(crate) async fn read(body: Body) -> Result<Bytes, Failure> {
    let limited = Limited::new(body, BODY_BYTES_MAX).collect();
    let late = |_| {
        Failure::new(Code::DeadlineExceeded, format!("the body did not arrive within {} s", BODY_TIMEOUT.as_secs()))
    };
    match tokio::time::timeout(BODY_TIMEOUT, limited).await.map_err(late)? {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => {
            Err(Failure::new(Code::TooLarge, format!("the body has more than {BODY_BYTES_MAX} bytes")))
        }
        Err(error) => Err(Failure::new(Code::MalformedJson, format!("the body did not arrive: {error}"))),
    }
}

/// Parses a JSON object.
pub(crate) fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Failure> {
    let malformed = |detail: String| Failure::new(Code::MalformedJson, detail);
    let value: Value = serde_json::from_slice(body).map_err(|error| malformed(error.to_string()))?;
    if !value.is_object() {
        return Err(malformed("the body is JSON, but no object".to_owned()));
    }
    serde_path_to_error::deserialize(value).map_err(|error| {
        let path = error.path().clone();
        let message = error.into_inner().to_string();
        let (code, field) = match (quoted(&message, "unknown field `"), quoted(&message, "missing field `")) {
            (Some(field), _) => (Code::UnknownField, Some(field)),
            (None, field) => (Code::Invalid, field),
        };
        Failure::of_field(code, &pointer(&path, field), message)
    })
}

/// Returns the name after `begin`, up to the next backtick.
fn quoted<'a>(message: &'a str, begin: &str) -> Option<&'a str> {
    message.strip_prefix(begin)?.split('`').next()
}

/// Returns a path as JSON pointer, with the field that the message is about as its last part.
fn pointer(path: &serde_path_to_error::Path, field: Option<&str>) -> String {
    let mut parts: Vec<String> = path
        .iter()
        .filter_map(|segment| match segment {
            serde_path_to_error::Segment::Seq { index } => Some(index.to_string()),
            serde_path_to_error::Segment::Map { key } => Some(key.clone()),
            serde_path_to_error::Segment::Enum { variant } => Some(variant.clone()),
            serde_path_to_error::Segment::Unknown => None,
        })
        .collect();
    if let Some(field) = field.filter(|field| parts.last().map(String::as_str) != Some(*field)) {
        parts.push(field.to_owned());
    }
    parts.iter().map(|part| format!("/{}", part.replace('~', "~0").replace('/', "~1"))).collect()
}

/// Parameters of a path. A path that is no text names nothing.
#[derive(Debug)]
pub(crate) struct PathOf<T>(pub(crate) T);

impl<T: DeserializeOwned + Send> FromRequestParts<Api> for PathOf<T> {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, Failure> {
        match Path::from_request_parts(parts, api).await {
            Ok(Path(value)) => Ok(Self(value)),
            Err(error) => Err(Failure::new(Code::NotFound, format!("the path names nothing: {error}"))),
        }
    }
}

/// Parameters of a query.
#[derive(Debug)]
pub(crate) struct Query(Vec<(String, String)>);

impl Query {
    /// Parses a query whose parameters all have one of the known names, each at most once.
    pub(crate) fn parse(query: Option<&str>, known: &[&str]) -> Result<Self, Failure> {
        let pairs: Vec<(String, String)> =
            url::form_urlencoded::parse(query.unwrap_or_default().as_bytes()).into_owned().collect();
        for (position, (name, _)) in pairs.iter().enumerate() {
            if !known.contains(&name.as_str()) {
                let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
                let detail = format!("there is no parameter {name}; there are: {known}");
                return Err(Failure::new(Code::InvalidRequest, detail));
            }
            if pairs[..position].iter().any(|(other, _)| other == name) {
                return Err(Failure::new(Code::InvalidRequest, format!("the parameter {name} occurs twice")));
            }
        }
        Ok(Self(pairs))
    }

    /// Returns a text; an empty one counts as none.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, value)| known == name && !value.is_empty()).map(|(_, value)| value.as_str())
    }

    /// Parses a value.
    pub(crate) fn value<T: std::str::FromStr>(&self, name: &str, expected: &str) -> Result<Option<T>, Failure> {
        let Some(text) = self.text(name) else { return Ok(None) };
        let refuse = |_| Failure::new(Code::InvalidRequest, format!("{name}={text:?} is not {expected}"));
        text.parse().map(Some).map_err(refuse)
    }

    /// Returns a flag: absent, `true` or `false`.
    pub(crate) fn flag(&self, name: &str) -> Result<bool, Failure> {
        Ok(self.value(name, "`true` or `false`")?.unwrap_or(false))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_names_the_field() {
        let failure = |text: &str| parse::<rest::NewOperation>(text.as_bytes()).unwrap_err();
        for (case, text, code, at) in [
            ("no JSON", "{", Code::MalformedJson, None),
            ("no object", "[]", Code::MalformedJson, None),
            ("empty", "", Code::MalformedJson, None),
            ("unknown field", r#"{"kind":"a","spec":{},"force":true}"#, Code::UnknownField, Some("/force")),
            ("missing field", r#"{"spec":{}}"#, Code::Invalid, Some("/kind")),
            ("wrong type", r#"{"kind":1,"spec":{}}"#, Code::Invalid, Some("/kind")),
            ("escaped", r#"{"kind":"a","spec":{},"a/b":1}"#, Code::UnknownField, Some("/a~1b")),
        ] {
            let failure = failure(text);
            assert_eq!(failure.code, code, "{case}");
            assert_eq!(failure.errors.first().map(|error| error.pointer.as_str()), at, "{case}: {failure:?}");
        }
    }

    #[test]
    fn query_with_unknown_or_repeated_parameter_is_refused() {
        for (case, query, known) in [
            ("none", None, true),
            ("known", Some("a=1&b=x%20y"), true),
            ("unknown", Some("c=1"), false),
            ("repeated", Some("a=1&a=2"), false),
        ] {
            assert_eq!(Query::parse(query, &["a", "b"]).is_ok(), known, "{case}");
        }
        let query = Query::parse(Some("a=1&b=x%20y"), &["a", "b"]).unwrap();
        assert_eq!((query.text("b"), query.value::<u32>("a", "a number").unwrap()), (Some("x y"), Some(1)));
        assert!(query.value::<u32>("b", "a number").is_err() && query.flag("a").is_err());
    }
}
