//! Tests of kinds of operations against a real database.

#![allow(clippy::unwrap_used, reason = "a test")]

mod faults;
mod release;
mod stage;
mod starter;
