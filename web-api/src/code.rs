//! Codes of errors: one place for word, status, meaning and remedy. Pure.

use axum::http::StatusCode;

/// A stable code of an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "the table explains each code")]
pub enum Code {
    MalformedJson,
    InvalidRequest,
    Unauthenticated,
    TokenExpired,
    Forbidden,
    NotFound,
    MethodNotAllowed,
    Conflict,
    StateConflict,
    IdempotencyKeyReused,
    Locked,
    Stale,
    TooLarge,
    Invalid,
    UnknownField,
    UnknownKind,
    PreconditionRequired,
    RateLimited,
    Internal,
    StoreUnavailable,
    ResultUnknown,
    HubUnavailable,
    HubRefused,
    NoHub,
    FieldsOwned,
    Busy,
    DeadlineExceeded,
}

/// Description of a code.
#[derive(Debug, Clone, Copy)]
pub struct CodeText {
    /// The code.
    pub code: Code,
    /// Its text form.
    pub word: &'static str,
    /// HTTP status.
    pub status: StatusCode,
    /// The code as a sentence.
    pub title: &'static str,
    /// What to do, unless the error itself is more exact.
    pub remedy: &'static str,
    /// The same request may succeed later.
    pub is_retryable: bool,
}

macro_rules! codes {
    ($($code:ident $word:literal $status:ident $retryable:literal $title:literal $remedy:literal)*) => {
        /// All codes.
        pub const CODES: &[CodeText] = &[$(CodeText {
            code: Code::$code,
            word: $word,
            status: StatusCode::$status,
            title: $title,
            remedy: $remedy,
            is_retryable: $retryable,
        }),*];
    };
}

codes! {
    MalformedJson "malformed-json" BAD_REQUEST false
        "The body is no JSON object." "Send one JSON object."
    InvalidRequest "invalid-request" BAD_REQUEST false
        "A header or a parameter of the query is wrong." "Correct what the detail names."
    Unauthenticated "unauthenticated" UNAUTHORIZED false
        "The request proves no identity." "Send a valid token as `Authorization: Bearer TOKEN`; `meridian-web-api token create` makes one."
    TokenExpired "token-expired" UNAUTHORIZED false
        "The token ended." "Create another token."
    Forbidden "forbidden" FORBIDDEN false
        "The subject lacks a right." "Ask an administrator for one of the roles that the detail names."
    NotFound "not-found" NOT_FOUND false
        "What the request names does not exist." "Check the path; `GET` of the collection lists what exists."
    MethodNotAllowed "method-not-allowed" METHOD_NOT_ALLOWED false
        "The path does not have this method." "Use a method of the header `Allow`."
    Conflict "conflict" CONFLICT false
        "The request does not fit the present state." "Read the present state, and decide again."
    StateConflict "state-conflict" CONFLICT false
        "The state of the operation does not permit the verb." "Use a verb that the detail names."
    IdempotencyKeyReused "idempotency-key-reused" CONFLICT false
        "The idempotency key was used for another request." "Use a new key for a new request."
    Locked "locked" CONFLICT true
        "Another operation holds a lock that this one needs." "Wait for the holder, or cancel it."
    Stale "stale" PRECONDITION_FAILED false
        "The object changed since it was read." "Read it again, and repeat the change."
    TooLarge "too-large" PAYLOAD_TOO_LARGE false
        "The body is larger than 1 MiB." "Send less."
    Invalid "invalid" UNPROCESSABLE_ENTITY false
        "A field has a wrong value." "Correct the fields in `errors`."
    UnknownField "unknown-field" UNPROCESSABLE_ENTITY false
        "The body has a field that this version does not have." "Remove the fields in `errors`, or correct their names."
    UnknownKind "unknown-kind" UNPROCESSABLE_ENTITY false
        "There is no such kind of operation." "Use one of the kinds that the detail names."
    PreconditionRequired "precondition-required" PRECONDITION_REQUIRED false
        "The change must name the version that it was made from." "Send the `ETag` that was read as `If-Match`."
    RateLimited "rate-limited" TOO_MANY_REQUESTS true
        "The subject sends too many requests." "Wait as long as `Retry-After` says. Verbs are not limited."
    Internal "internal" INTERNAL_SERVER_ERROR false
        "The server has a defect." "Search the server's log for the request id."
    StoreUnavailable "store-unavailable" SERVICE_UNAVAILABLE true
        "The database does not answer." "Repeat the request after `Retry-After`."
    ResultUnknown "result-unknown" SERVICE_UNAVAILABLE true
        "It is not known whether the change was made." "Repeat the request with the same `Idempotency-Key`, or read the object."
    HubUnavailable "hub-unavailable" SERVICE_UNAVAILABLE true
        "The hub does not answer." "Repeat the request. To prove an identity, an API token works without the hub."
    HubRefused "hub-refused" BAD_GATEWAY false
        "The hub refuses the identity of this server." "Give it the rights on the hub that docs/trust.md lists."
    NoHub "no-hub" SERVICE_UNAVAILABLE false
        "This server has no connection to the hub." "Start it with --hub-kubeconfig FILE or --hub-in-cluster, or edit the Application with kubectl."
    FieldsOwned "fields-owned" CONFLICT false
        "Another field manager owns the fields." "Make the change where that manager takes it from, or send `forceConflicts: true` to take the fields over."
    Busy "busy" SERVICE_UNAVAILABLE true
        "The server has too much to do." "Repeat the request after `Retry-After`."
    DeadlineExceeded "deadline-exceeded" GATEWAY_TIMEOUT true
        "The request took too long." "Repeat the request; with the same `Idempotency-Key` nothing happens twice."
}

impl Code {
    /// Returns the description.
    pub fn text(self) -> &'static CodeText {
        CODES.iter().find(|text| text.code == self).expect("a test checks that the table has every code")
    }

    /// Finds a code by its text form.
    pub fn parse(word: &str) -> Option<&'static CodeText> {
        CODES.iter().find(|text| text.word == word)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_described_once() {
        // `DeadlineExceeded` is the last one.
        assert_eq!(CODES.len(), Code::DeadlineExceeded as usize + 1);
        for text in CODES {
            assert_eq!(CODES.iter().filter(|other| other.word == text.word).count(), 1, "{}", text.word);
            assert_eq!(text.code.text().word, text.word);
        }
    }
}
