//! Descriptions of all error codes, as text: `type` of every problem links here.

use axum::extract::Path;
use axum::http::header;
use axum::response::{IntoResponse, Response};

use crate::code::{CODES, Code, CodeText};
use crate::failure::Failure;

/// Lists all codes.
pub(crate) async fn index() -> Response {
    let lines: String =
        CODES.iter().map(|text| format!("{:<24} {}  {}\n", text.word, text.status.as_u16(), text.title)).collect();
    plain(lines)
}

/// Describes one code.
pub(crate) async fn describe(Path(code): Path<String>) -> Result<Response, Failure> {
    let CodeText { word, status, title, remedy, is_retryable, .. } = Code::parse(&code)
        .ok_or_else(|| Failure::new(Code::NotFound, format!("there is no code {code}; /problems lists all")))?;
    let again = if *is_retryable { "The same request may succeed later." } else { "The same request fails again." };
    Ok(plain(format!("{word} (HTTP {})\n\n{title}\n\n{remedy}\n{again}\n", status.as_u16())))
}

fn plain(text: String) -> Response {
    ([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], text).into_response()
}
