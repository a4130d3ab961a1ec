//! Data Cloud against a local org: the two token stages on a clock that the tests move, and a real Hyper behind the
//! tenant's host.

mod broken;
mod files;
mod ingestion;
mod live;
mod queries;
mod stages;
mod stages_fail;
mod world;
