//! Tests of the store against a real database.

#![allow(clippy::unwrap_used, reason = "a test")]

mod amounts;
mod application;
mod credential;
mod dead_link;
mod fences;
mod lease;
mod operations;
mod refused;
mod rows;
mod schema;
mod status;
