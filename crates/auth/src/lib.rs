//! Who: from configuration to a valid Salesforce token.
//!
//! This crate knows no API, no database and no web server. It answers one question, *which token and which
//! instance URL does the next call carry?*, and asks the org only when it has to.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use tieline_auth::{Credentials, OrgConfig};
//!
//! let credentials = Credentials::new(OrgConfig::from_env()?)?;
//! let token = credentials.token().await?; // logs in at the first call, answers from memory afterwards
//! println!("calls go to {}", token.instance_url());
//! // The org answered 401 to this token? Say so; the next `token()` gets a new one.
//! credentials.refused(&token);
//! # Ok(()) }
//! ```
//!
//! Reading order, which is the order in which data flows: [`config`] (and [`environment`]) → [`grant`] →
//! `token_endpoint` → [`token`] → `single_flight` (one process) → `fleet`, `renewal`, `login` and `record` (a fleet,
//! through [`token_store`]; `cooldown` is what it does not try again yet,
//! [`refresh_token_home`] where a replaced refresh token outlives the store) → [`credentials`] → [`second_stage`] (a token that
//! theirs is exchanged for). Beside the road: [`secret`] (what cannot print), [`redact`]
//! (the last net), [`sealing`] (what lies at
//! rest) and [`keyring`] (the keys of those keys), [`host`] (where a token may go), [`certificate`], [`transit`] and `aws` (the key behind an assertion), [`clock`], [`event`], [`error`] and its [`catalogue`].

#[cfg(feature = "aws")]
pub mod aws;
pub mod catalogue;
pub mod certificate;
pub mod clock;
pub mod config;
mod cooldown;
pub mod credentials;
pub mod environment;
pub mod error;
pub mod event;
mod fleet;
pub mod grant;
pub mod host;
pub mod http;
pub mod identity;
pub mod introspection;
pub mod keyring;
mod login;
mod record;
pub mod redact;
pub mod refresh_token_home;
mod renewal;
pub mod revocation;
pub mod sealing;
pub mod second_stage;
pub mod secret;
pub mod settings;
mod single_flight;
pub mod stats;
mod sync;
pub mod token;
mod token_endpoint;
mod token_state;
pub mod token_store;
pub mod transit;
mod vault;

pub use clock::{Clock, ManualClock, SystemClock};
pub use config::{App, OrgConfig, Reuse};
pub use credentials::Credentials;
pub use error::{AuthError, ConfigError};
pub use event::{Event, EventKind, Events};
pub use grant::Grant;
pub use grant::jwt_bearer::PrivateKey;
pub use host::AllowedHosts;
pub use secret::Secret;
pub use settings::{LoginRetry, Settings, SharedStore};
pub use stats::Stats;
pub use token::Token;
