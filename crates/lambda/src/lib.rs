//! Valid tokens in AWS Lambda, and on any other host.
//!
//! A token broker on localhost: any program on the machine asks it, and gets a valid token.
//!
//! In AWS Lambda it is an extension (`tieline-extension`, see [`extension`]) beside a function in any language; on
//! any other host it is a sidecar (`tieline broker`). Both are the same [`broker`].
//!
//! A function that is written in Rust needs no broker: it has the same orgs in its own process (`handler`).
//!
//! Reading order: [`broker`] (a request's path) → [`orgs`] (whose token, from which settings) → [`sources`] (where
//! settings are; `secret_home`, which is written to as well) → [`dynamodb`] (where a fleet shares tokens), [`sqs`] (where work is told of) → [`extension`] (Lambda's life cycle) → [`counters`] and [`metrics`].

pub mod broker;
pub mod counters;
mod digest;
pub mod dynamodb;
pub mod extension;
#[cfg(feature = "handler")]
pub mod handler;
pub mod logging;
pub mod metrics;
pub mod orgs;
mod prefetch;
mod secret_home;
pub mod sources;
pub mod sqs;
