//! Where things are kept: the only crate that contains SQL.
//!
//! One concrete [`Store`] over SQLite or PostgreSQL. What belongs to a business is reached through its [`Tenant`],
//! which the database itself keeps to the rows of that business. Rows, checkpoint and counters of a sync step are one
//! transaction; credentials are sealed before they reach the database.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use tieline_store::{Credentials, Store};
//!
//! let folder = tempfile::tempdir()?;
//! let store = Store::open(&folder.path().join("tieline.db")).await?;
//! let now = "2026-01-01T00:00:00Z".parse()?;
//! let id = store.own().save_integration("acme", &Credentials::new(b"{}".to_vec()), now).await?;
//! assert_eq!(store.own().integrations().await?[0].id, id);
//! # Ok(()) }
//! ```
//!
//! Reading order: [`open`](Store::open), `sql` (one way to speak to either database), [`tenancy`] (who sees which
//! rows), `keys` (what seals them) with `rotation` (how keys are changed); then table by table: [`people`],
//! [`identities`], [`password_resets`], [`invitations`], [`api_keys`], [`integrations`], [`logins`], [`checkpoints`], [`contacts`] with [`contact_pages`], [`runs`],
//! [`integration_tokens`], [`sync_work`] (when what is synced, and by whom), [`leads`] and [`imports`]; [`mappings`] with
//! [`object_tables`] (any object of an org, in a table of its own), and [`records`] (read and told of).
//! For people's rights: [`personal_data`], [`retention`], and the export and deletion of a business.
//! Around them: [`audit`] (who did what), [`integration_logs`] (what happened), [`alerts`] (what is wrong, and who is
//! told), [`rate_limits`] (how much at once), [`usage`] (how much there was, by day).
//! Beside them, for fleets without a database of ours: [`token_stores`] (from a URL to a token store) and
//! [`token_table`] (the one in PostgreSQL).

pub mod alerts;
pub mod api_keys;
pub mod audit;
mod canaries;
pub mod checkpoints;
mod chores;
mod cleaned;
pub mod contact_pages;
pub mod contacts;
mod deletion;
pub mod digest;
pub mod duplicates;
mod error;
pub mod export;
pub mod identities;
mod import_work;
pub mod imports;
pub mod inspection;
pub mod integration_logs;
pub mod integration_tokens;
pub mod integrations;
pub mod invitations;
mod key_usage;
mod keys;
mod lead_upsert;
pub mod leads;
pub mod logins;
pub mod mappings;
mod migrations;
pub mod object_tables;
mod open;
pub mod pages;
pub mod password_resets;
pub mod people;
pub mod personal_data;
pub mod pools;
pub mod rate_limits;
pub mod records;
pub mod retention;
mod rotation;
pub mod runs;
mod sealed;
mod sql;
pub mod sync_work;
pub mod tenancy;
pub mod token_stores;
pub mod token_table;
pub mod usage;

pub use api_keys::{ApiKey, NewApiKey};
pub use canaries::Canary;
pub use checkpoints::{Checkpoint, Position};
pub use chores::Chore;
pub use contact_pages::{ContactCursor, ContactFilter, ListedContact};
pub use contacts::{Contact, ContactRow};
pub use deletion::AccountDeletion;
pub use digest::Digest;
pub use error::StoreError;
pub use identities::{Identity, NewIdentity, NewSignIn, NoSignIn, TakenSignIn, Unlinked, WaysIn};
pub use import_work::{Batch, BatchOutcome, Claim, Fetched};
pub use imports::{Creation, Import, ImportRow, ImportState, NewImport, RowOutcome};
pub use integrations::{Credentials, Integration, Status};
pub use invitations::{Invitation, Invited};
pub use key_usage::{DataKeyUse, KeyUse};
pub use leads::{Lead, LeadFilter, SourceType, SyncStatus};
pub use logins::{Connected, NewAccess, NewLogin, NoLogin, TakenLogin};
pub use open::{Store, Tenant};
pub use pages::{Cursor, MalformedCursor, Page};
pub use password_resets::ListedUser;
pub use people::{Account, Member, Membership, NewUser, Role, Session, TeamChange, User};
pub use personal_data::{Erasure, Person, PersonData, Removed};
pub use pools::PoolUse;
pub use retention::{Retention, Swept};
pub use rotation::Progress;
pub use runs::{Run, RunFilter, RunState, StepOutcome};
pub use usage::DayUsage;
pub use uuid::Uuid;
