//! Calls against the local org: login, refusal, retry, pages, records.

mod bulk;
mod calls;
mod faults;
mod fixtures;
mod fuzz;
mod given_up;
mod login;
mod metadata;
mod proxy;
mod registry;
mod resources;
mod server;
mod world;
mod writes;
