//! The program as people and scripts use it: transcripts, faults, real clients, a real browser.

mod clients;
mod crashes;
mod failures;
mod fixtures;
mod jobs;
mod org;
mod page;
mod parts;
