//! The integration service: accounts, connected orgs, an API and pages, and the schedule that keeps the database in
//! step.
//!
//! The router is a library, so that a test, the demo and the program serve the same one. Pages are made by the
//! server and work without script; with script they follow changes by server-sent events.
//!
//! Reading order: [`service`] (what runs), [`router`] (the table of contents), [`caller`] (who asks) with `cookies`,
//! `secrets` and `passwords`, `extract` and [`problem`] (what comes in, and what goes wrong); then what it does:
//! `accounts`, `integrations`, `connect`, `contacts` with `imports` and `leads`, `records`, `proxy`, `logs`, `alerts`, `personal_data`
//! with `retention` and `export`; `usage`, `pages`, `openapi` and `health` with `readiness`; `guard`, [`limits`] with `wrong_keys`,
//! and [`telemetry`] around all of it. [`outbound`] is the way out for alerts and webhooks.

mod accounts;
mod alerts;
mod assets;
mod background;
pub mod caller;
pub mod client_address;
mod connect;
mod contacts;
mod cookies;
mod duplicates;
mod export;
mod extract;
mod guard;
mod health;
mod imports;
mod integrations;
mod leads;
pub mod limits;
mod lists;
mod logs;
mod mappings;
mod openapi;
mod openapi_page;
pub mod outbound;
mod pages;
mod passwords;
mod personal_data;
pub mod problem;
mod proxy;
mod readiness;
mod records;
mod retention;
pub mod router;
mod secrets;
pub mod service;
pub mod telemetry;
mod usage;
mod wrong_keys;

pub use accounts::oidc::OpenIdProvider;
pub use accounts::password_reset::ResetLink;
pub use problem::Problem;
pub use router::{serve, work};
pub use service::{SalesforceApp, Service, Settings, SyncWorker};
