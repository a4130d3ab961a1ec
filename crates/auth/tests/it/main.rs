//! Logins against a local org: every grant, every failure, and a fleet that shares one token.
//!
//! Tests that hold one of the project's fault scenarios bear its number: `s04_…`.
#![expect(clippy::print_stderr, reason = "a leak is said aloud before the run ends, and so is a part that was skipped")]

mod asked_for;
mod callbacks;
mod grants;
mod home;
mod hosts;
mod interleavings;
mod key_services;
mod keyring;
mod lifetimes;
mod model;
#[path = "../../../cli/tests/it/parts.rs"]
mod parts;
mod refusals;
mod rotation;
mod secrets;
mod stores;
mod world;
