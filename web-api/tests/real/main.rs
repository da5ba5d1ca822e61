//! Tests of the server on a real database, with a kind of operation that the tests control.

#![allow(clippy::unwrap_used, reason = "a test")]

mod bad_input;
mod client;
mod hub;
mod kind;
mod operations;
mod program;
mod releases;
mod releases_refused;
mod server;
mod stream;
