//! Tests of the store against a real database.

#![allow(clippy::unwrap_used, reason = "a test")]

mod access;
mod amounts;
mod application;
mod credential;
mod dead_link;
mod directive;
mod fences;
mod lease;
mod operations;
mod refused;
mod resident;
mod rows;
mod schema;
mod status;
