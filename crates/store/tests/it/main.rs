//! The store, on a real SQLite file and on a real PostgreSQL server: one suite for both.

#[path = "../../../cli/tests/it/parts.rs"]
mod parts;
#[path = "../../../cli/tests/it/servers.rs"]
mod servers;

#[macro_use]
mod database;
mod keys;
mod opening;
mod outages;
mod people;
mod rotation;
mod steps;
mod tenancy;
mod tokens;
