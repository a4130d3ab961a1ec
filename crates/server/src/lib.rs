//! The integration service: a page that shows how a connection stands, and the schedule that keeps it in step.
//!
//! The router is a library, so that a test, the demo and the program serve the same one. Pages are made by the
//! server and work without script; with script they follow changes by server-sent events.
//!
//! Reading order: [`service`] (what runs), [`router`] (the table of contents), `pages`, `guard`.

pub mod client_address;
mod guard;
pub mod limits;
pub mod outbound;
mod pages;
pub mod router;
pub mod service;

pub use router::serve;
pub use service::{Service, Settings};
