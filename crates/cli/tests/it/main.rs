//! The program as people and scripts use it: transcripts, faults, real clients, a real browser.
#![expect(clippy::print_stderr, reason = "a test says aloud what it skips and what it measured")]

mod clients;
mod consent;
mod crashes;
mod failures;
mod fixtures;
mod fleet;
mod jobs;
mod keychain;
mod org;
mod page;
mod parts;
mod secrets;
mod servers;
