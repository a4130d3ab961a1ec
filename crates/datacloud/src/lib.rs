//! Salesforce Data Cloud: two-stage tokens, SQL at the speed of Arrow, ingestion.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use tieline_auth::{OrgConfig, Settings};
//! use tieline_datacloud::{DataCloud, DataCloudTokenProvider};
//!
//! let provider = DataCloudTokenProvider::for_org(OrgConfig::from_env()?, None, Settings::default())?;
//! let cloud = DataCloud::new(provider)?;
//! let mut rows = cloud.query(r#"SELECT "ssot__FirstName__c" FROM "ssot__Individual__dlm""#).run().await?;
//! while let Some(batch) = rows.next().await? {
//!     println!("{} rows", batch.num_rows());
//! }
//! # Ok(()) }
//! ```
//!
//! Reading order: [`config`] → [`provider`] and [`token`] (the two stages) → [`DataCloud`] → `grpc` (one door for all
//! calls to Hyper) → [`query`] → [`results`] (batches, in order, each row once) → [`output`]. Where gRPC is blocked:
//! [`rest`]. Beside the road: [`ingest`], [`metadata`], [`error`].

mod cloud;
pub mod config;
pub mod error;
mod grpc;
mod http;
pub mod ingest;
pub mod metadata;
#[cfg(feature = "output")]
pub mod output;
pub mod provider;
pub mod query;
pub mod rest;
pub mod results;
pub mod token;

pub use arrow_array;
pub use arrow_schema;
pub use cloud::{DataCloud, Options};
pub use config::{AuthMode, SalesforceAuthConfig};
pub use error::DataCloudError;
pub use provider::{DataCloudTokenProvider, SharedTokenProvider};
pub use query::{ParameterStyle, Query, Transfer, Value};
pub use results::{QueryStatus, Results};
pub use token::DataCloudToken;

/// What `build.rs` makes of `proto/hyper_service.proto`.
#[allow(missing_docs, unreachable_pub, clippy::all, reason = "generated")]
mod proto {
    tonic::include_proto!("salesforce.hyperdb.grpc.v1");
}

/// The program of the guide compiles.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/datacloud.md")]
struct Guide;
