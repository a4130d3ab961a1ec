//! Where things are kept: the only crate that contains SQL.
//!
//! One concrete [`Store`] over SQLite (PostgreSQL follows behind the same type). Rows, checkpoint and counters of
//! a sync step are one transaction; credentials are sealed before they reach the database.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use tieline_store::{Credentials, Store};
//!
//! let folder = tempfile::tempdir()?;
//! let store = Store::open(&folder.path().join("tieline.db")).await?;
//! let now = "2026-01-01T00:00:00Z".parse()?;
//! let id = store.save_integration("acme", &Credentials::new(b"{}".to_vec()), now).await?;
//! assert_eq!(store.integrations().await?[0].id, id);
//! # Ok(()) }
//! ```
//!
//! Reading order: [`open`](Store::open), [`integrations`], [`checkpoints`], [`contacts`], [`runs`].
//! Beside them, for fleets: [`token_stores`] (from a URL to a token store) and [`token_table`] (the one in PostgreSQL).

pub mod checkpoints;
pub mod contacts;
mod error;
pub mod integrations;
mod migrations;
mod open;
pub mod runs;
pub mod token_stores;
pub mod token_table;

pub use checkpoints::{Checkpoint, Position};
pub use contacts::{Contact, ContactRow};
pub use error::StoreError;
pub use integrations::{Credentials, Integration};
pub use open::Store;
pub use runs::{Run, RunState, Step, StepOutcome};
