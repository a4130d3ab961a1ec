//! Logins against a local org: every grant, every failure, and a fleet that shares one token.
//!
//! Tests that hold one of the project's fault scenarios bear its number: `s04_…`.
#![expect(clippy::print_stderr, reason = "a leak is said aloud before the run ends")]

mod asked_for;
mod callbacks;
mod grants;
mod home;
mod hosts;
mod interleavings;
mod lifetimes;
mod model;
mod refusals;
mod rotation;
mod secrets;
mod stores;
mod world;
