//! Bulk API 2.0: millions of rows as CSV, in jobs that the org works off.
//!
//! ```no_run
//! # async fn example(org: tieline_client::Connection) -> Result<(), tieline_client::ClientError> {
//! use tieline_client::bulk::{BulkQueryOptions, Wait};
//!
//! let job = org.bulk_query("SELECT Id, Name FROM Account", BulkQueryOptions::default()).await?;
//! println!("{}", job.id()); // under which `org.query_job` finds it again
//! job.wait(&Wait::default()).await?;
//! let mut rows = job.rows();
//! while let Some(row) = rows.next().await? {
//!     println!("{:?}", row.get("Name"));
//! }
//! # Ok(()) }
//! ```
//!
//! A job outlives the program that began it: a wait that ends early says the job's id
//! ([`ClientError::StillRunning`](crate::ClientError::StillRunning)) and never that it failed.
//!
//! Reading order: [`job`] (what both kinds share), [`query`], [`rows`] over [`pages`](self) (results), [`ingest`] (what is
//! sent) with [`outcome`] (what became of each row); [`csv`] underneath.
//!
//! Source: Bulk API 2.0 Developer Guide, v66.

pub mod csv;
mod feeder;
pub mod ingest;
pub mod job;
mod mark;
pub mod outcome;
mod pages;
pub mod query;
pub mod rows;
mod spool;
mod upload;

pub use crate::wait::Wait;
pub use csv::{Delimiter, Row};
pub use ingest::{Ingest, IngestHandle, IngestOptions, Operation};
pub use job::{JobInfo, JobKind, JobState};
pub use outcome::{Outcome, Outcomes};
pub use query::{BulkQueryOptions, QueryJob};
pub use rows::Rows;
