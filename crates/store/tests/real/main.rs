//! The store against a real database.

#![allow(clippy::unwrap_used, reason = "a test")]

mod amounts;
mod application;
mod credential;
mod lease;
mod refused;
mod rows;
mod schema;
mod status;
