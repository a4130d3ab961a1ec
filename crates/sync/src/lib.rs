//! Keeps a database in step with an org without losing a row.
//!
//! A [`mapping`] says which object goes where, and what of it into which column; the contacts of an org are one that is built
//! in. An [`engine`] run brings a mapping up to date: it walks the object in the order of its cursor, from the checkpoint less
//! a lookback to now, deleted records included, and writes rows together with the new checkpoint and the run's counters in
//! one transaction. It takes no input: what to do follows from checkpoint and org, so it may be killed, repeated and started
//! twice. Which run is next, and on which node, decides the queue: [`worker`].
//!
//! Why no row is lost:
//!
//! - The checkpoint moves to the *org's* time at the start of the scan less the lag, never to what was read and
//!   never to the local clock.
//! - A record may become visible after others with later stamps (it is stamped inside its transaction). The
//!   next scan begins `lookback` earlier, so a commit that took up to lookback + lag is seen; and once an hour all that was
//!   stamped since the last proof is read again.
//! - Many records may share one second. The position is a pair, so a scan that is killed among them goes on in
//!   the middle.
//! - A record that changes while a scan passes gets a later stamp, and is read again.
//!
//! Beside it, for people who choose contacts by hand: [`mod@contact_page`] shows the org's contacts live, and [`importer`]
//! makes leads of the chosen ones, which it reads by [`contact`].
//!
//! Reading order: [`scan`] (the arithmetic, without I/O), [`mapping`], [`engine`], [`worker`], [`compare`],
//! [`integration`], [`mod@contact_page`], [`importer`].

pub mod compare;
pub mod contact;
pub mod contact_page;
pub mod engine;
mod error;
pub mod importer;
pub mod integration;
pub mod mapping;
pub mod scan;
pub mod worker;

pub use compare::{Comparison, compare_contacts};
pub use contact_page::{ContactPage, ContactPageError, ContactRequest, OrgContact, contact_page};
pub use engine::{MappingReport, Progress};
pub use error::SyncError;
pub use importer::{Ended, Importer, Worked};
pub use scan::Window;
pub use worker::{Job, Outcome, RunWork, Steps, Worker, WorkerSettings};
