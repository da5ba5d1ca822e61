//! Tests of the engine against a real database.

#![allow(clippy::unwrap_used, reason = "a test")]

mod bench;
mod faults;
mod journal;
mod locks;
mod owners;
mod verbs;
