//! Pages of lists: sizes and opaque tokens. Pure.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::body::Query;
use crate::code::Code;
use crate::failure::Failure;

/// Number of items of a page, unless the client asks for another.
const SIZE_DEFAULT: i64 = 50;
/// Maximum number of items of a page; larger requests get this many.
const SIZE_MAX: i64 = 500;

/// Number of items to read, and the place at which the page before ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PageRequest {
    pub(crate) size: i64,
    pub(crate) after: Option<String>,
}

impl PageRequest {
    /// Reads `pageSize` and `pageToken`. A token of another list is refused.
    pub(crate) fn of(query: &Query, list: &str) -> Result<Self, Failure> {
        let size: i64 = query.value("pageSize", "a number from 1 to 500")?.unwrap_or(SIZE_DEFAULT);
        if size < 1 {
            return Err(Failure::new(Code::InvalidRequest, format!("pageSize={size} is not a number from 1 to 500")));
        }
        let after = query.text("pageToken").map(|token| decode(list, token)).transpose()?;
        Ok(Self { size: size.min(SIZE_MAX), after })
    }

    /// Parses the place at which the page before ended.
    pub(crate) fn after<T: std::str::FromStr>(&self) -> Result<Option<T>, Failure> {
        self.after.as_deref().map(|after| after.parse().map_err(|_| wrong_token())).transpose()
    }

    /// Returns the token of the next page, when there is one: the page is full.
    pub(crate) fn next(&self, list: &str, items: usize, last: Option<String>) -> Option<String> {
        let is_full = i64::try_from(items).unwrap_or(i64::MAX) >= self.size;
        last.filter(|_| is_full).map(|last| URL_SAFE_NO_PAD.encode(format!("{list}:{last}")))
    }
}

pub(crate) fn wrong_token() -> Failure {
    Failure::new(Code::InvalidRequest, "pageToken is not one that this list returned; begin without it")
}

fn decode(list: &str, token: &str) -> Result<String, Failure> {
    let bytes = URL_SAFE_NO_PAD.decode(token).map_err(|_| wrong_token())?;
    let text = String::from_utf8(bytes).map_err(|_| wrong_token())?;
    text.strip_prefix(list).and_then(|rest| rest.strip_prefix(':')).map(str::to_owned).ok_or_else(wrong_token)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn token_continues_only_its_own_list() {
        let page = |query: &str, list: &str| {
            PageRequest::of(&Query::parse(Some(query), &["pageSize", "pageToken"]).unwrap(), list)
        };
        let first = page("pageSize=2", "operations").unwrap();
        assert_eq!(first.next("operations", 1, Some("a".to_owned())), None, "the last page is not full");
        let token = first.next("operations", 2, Some("a".to_owned())).unwrap();
        assert_eq!(page(&format!("pageToken={token}"), "operations").unwrap().after.as_deref(), Some("a"));
        assert!(page(&format!("pageToken={token}"), "locks").is_err());
        assert!(page("pageToken=%20", "operations").is_err() && page("pageSize=0", "operations").is_err());
        assert_eq!(page("pageSize=9999", "operations").unwrap().size, SIZE_MAX);
    }
}
