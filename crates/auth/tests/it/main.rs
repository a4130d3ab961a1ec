//! Logins against a local org: every grant, every failure, and a fleet that shares one token.
//!
//! Tests that hold one of the project's fault scenarios bear its number: `s04_…`.

mod callbacks;
mod grants;
mod hosts;
mod interleavings;
mod lifetimes;
mod model;
mod refusals;
mod rotation;
mod stores;
mod world;
