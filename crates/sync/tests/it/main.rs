//! Runs against the local org, one file per family of traps. The numbers (T1, T2, …) are those of the list of
//! correctness traps that the design names.
#![expect(clippy::print_stderr, reason = "a test says aloud what it skips and what it measured")]

#[path = "../../../store/tests/it/database.rs"]
#[macro_use]
#[allow(dead_code, reason = "the store's own tests use all of it")]
mod database;
#[path = "../../../cli/tests/it/parts.rs"]
mod parts;
#[path = "../../../cli/tests/it/servers.rs"]
mod servers;

mod commits;
mod contact_pages;
mod decoding;
mod decoding_cost;
mod deletes;
mod engine;
mod importing;
mod mapping_docs;
mod moving;
mod planning;
mod previewing;
mod recorded;
mod simulation;
mod ties;
mod transforming;
mod traps;
mod working;
mod world;
