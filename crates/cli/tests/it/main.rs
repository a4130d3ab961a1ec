//! The program as people and scripts use it: transcripts, faults, real clients, a real browser.
#![expect(clippy::print_stderr, reason = "a test says aloud what it skips and what it measured")]

mod broker;
mod browser;
mod bulk;
mod bulk_memory;
mod bulk_uncertain;
mod calls;
mod canary;
mod clients;
mod command_line;
mod config;
mod consent;
mod crashes;
mod datacloud;
mod deploy;
mod desk;
mod doctor;
mod failures;
mod fixtures;
mod fleet;
mod import_kills;
mod jobs;
mod keychain;
mod keys;
mod lambda_syncs;
mod login;
mod many_tenants;
mod mappings;
mod million;
#[path = "../../../lambda/tests/it/moto.rs"]
#[allow(dead_code, reason = "the suite beside it uses more of it")]
mod moto;
mod nodes;
mod org;
mod outages;
mod page;
mod parts;
#[path = "../../../lambda/tests/it/project.rs"]
#[allow(dead_code, reason = "the suite beside it uses more of it")]
mod project;
mod records;
mod secrets;
mod servers;
mod service;
mod setup;
mod setup_clients;
mod setup_interrupted;
mod setup_keys;
mod setup_rotation;
mod setup_terminal;
mod telemetry;
mod transcripts;
mod users;
mod workers;
