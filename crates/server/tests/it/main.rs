//! The service as its users meet it, on SQLite and on PostgreSQL.
#![expect(clippy::print_stderr, reason = "a test says aloud what it skips")]

#[path = "../../../store/tests/it/database.rs"]
#[macro_use]
#[allow(dead_code)]
mod database;
#[path = "../../../cli/tests/it/parts.rs"]
mod parts;
#[path = "../../../cli/tests/it/servers.rs"]
mod servers;

mod accounts;
mod alerts;
mod connect;
mod contacts;
mod duplicates;
mod exposition;
mod figures;
mod limited;
mod local;
mod manage;
mod mapping_pages;
mod mappings;
mod oidc;
mod openapi;
mod outbound;
mod password_reset;
mod personal_data;
mod proxy;
mod records;
mod schemathesis;
mod setup;
mod telemetry;
mod world;
