//! What: one Salesforce org and its calls.
//!
//! Retry is outside, authorisation inside, sending innermost: every attempt asks the credentials for a token
//! again, a refused token is dropped and replaced once, and only what may safely be repeated is repeated.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use futures_util::TryStreamExt;
//! use tieline_auth::{Credentials, OrgConfig};
//! use tieline_client::{Connection, Record};
//!
//! let org = Connection::new(Credentials::new(OrgConfig::from_env()?)?)?;
//! let people = org.query::<Record>("SELECT Id, Name FROM Contact");
//! let mut people = std::pin::pin!(people);
//! while let Some(person) = people.try_next().await? {
//!     println!("{}", person["Name"]);
//! }
//! # Ok(()) }
//! ```
//!
//! Reading order: [`connection`] (and [`connections`] for many orgs) → [`request`] → [`send`] with [`retry`] → [`reply`] → [`rest`], one
//! file per resource, [`bulk`] (jobs) and [`metadata`] (the org's setup). Beside the road: [`error`] with [`refusal`] and the [`catalogue`],
//! [`session`] (what an expired one looks like), [`limits`], [`version`], [`soql`] (queries whose values are bound),
//! [`id`].

pub mod bulk;
pub mod catalogue;
pub mod connection;
pub mod connections;
pub mod error;
#[doc(hidden)]
pub mod fuzzing;
mod gzip;
pub mod id;
pub mod limits;
pub mod metadata;
pub mod once;
pub mod refusal;
mod remember;
pub mod reply;
pub mod request;
pub mod rest;
pub mod retry;
pub mod send;
pub mod session;
pub mod soql;
pub mod version;
mod visited;
mod wait;

pub use connection::{Connection, Options, Timeouts};
pub use connections::{ConnectionOptions, ConnectionStats, Connections};
pub use error::ClientError;
pub use limits::{ApiUsage, Reserve};
pub use once::Once;
pub use refusal::{ErrorItem, Refusal};
pub use reply::{Download, Reply};
pub use request::{Body, Request};
/// HTTP methods.
pub use reqwest::Method;
pub use rest::apex::{ActionResult, AnonymousApex};
pub use rest::changes::{Deleted, DeletedRecord, Updated, parse_datetime};
pub use rest::collections::AllOrNone;
pub use rest::composite;
pub use rest::query::{Page, PageOf, Pages, PagesBy, QueryOptions, QueryPlan, RecordReader, Typed};
pub use rest::search::{Attributes, Hit, search_term};
pub use rest::sobject::{SaveResult, Upserted};
pub use retry::RetryPolicy;
pub use version::{ApiVersion, DEFAULT_API_VERSION, VersionInfo};
pub use wait::Wait;

/// A record whose fields are not known at compile time.
pub type Record = serde_json::Map<String, serde_json::Value>;
