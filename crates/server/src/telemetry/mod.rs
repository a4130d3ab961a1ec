//! What operators see of the service: one line a request, metrics, traces.
//!
//! None of it holds a secret: query strings, headers and bodies are not written anywhere, text from elsewhere is masked
//! on its way out, and labels of metrics come from lists that this program knows.
//!
//! Reading order: [`request`] (what is noted of each request), [`measures`] (every metric, and how it is counted),
//! `scrape` (`GET /metrics`) with `process`; [`traces`] (OpenTelemetry) with `otlp` and `spans`.

pub mod measures;
mod otlp;
mod process;
pub mod request;
mod scrape;
mod spans;
pub mod traces;

pub use scrape::{Metrics, SHORTEST_TOKEN};
pub(crate) use scrape::{keep_small, routes};
pub use traces::Traces;
