//! The store, on a real SQLite file and on a real PostgreSQL server: one suite for both.
#![expect(clippy::print_stderr, reason = "a test says aloud what it skips and what it measured")]

#[path = "../../../cli/tests/it/parts.rs"]
mod parts;
#[path = "../../../cli/tests/it/servers.rs"]
mod servers;

#[macro_use]
mod database;
mod alerts;
mod audited;
mod contact_pages;
mod contact_steps;
mod deletion;
mod duplicates;
mod erased_records;
mod erasure;
mod export;
mod guards;
mod identities;
mod import_cost;
mod imports;
mod keys;
mod leads;
mod many_rows;
mod mappings;
mod object_tables;
mod opening;
mod outages;
mod people;
mod plans;
mod pooler;
mod records;
mod retention;
mod rotation;
mod staged;
mod steps;
mod sync_cost;
mod sync_work;
mod tenancy;
mod tokens;
mod usage;
