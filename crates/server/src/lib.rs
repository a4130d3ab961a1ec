//! The integration service: accounts, connected orgs, an API and pages, and the schedule that keeps the database in
//! step.
//!
//! The router is a library, so that a test, the demo and the program serve the same one. Pages are made by the
//! server and work without script; with script they follow changes by server-sent events.
//!
//! Reading order: [`service`] (what runs), [`router`] (the table of contents), [`caller`] (who asks) with `cookies`,
//! `secrets` and `passwords`, `extract` and [`problem`] (what comes in, and what goes wrong); then what it does:
//! `accounts`, `integrations`, `connect`, `proxy`; `pages`, `openapi` and `health`; `guard` around all of it. [`outbound`] sends
//! alerts.

mod accounts;
pub mod caller;
mod connect;
mod cookies;
mod extract;
mod guard;
mod health;
mod integrations;
mod openapi;
mod openapi_page;
pub mod outbound;
mod pages;
mod passwords;
pub mod problem;
mod proxy;
pub mod router;
mod secrets;
pub mod service;

pub use problem::Problem;
pub use router::serve;
pub use service::{SalesforceApp, Service, Settings};
