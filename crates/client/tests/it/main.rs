//! Calls against the local org: login, refusal, retry, pages, records.

mod bulk;
mod calls;
mod login;
mod metadata;
mod registry;
mod world;
