//! The REST API, one file per resource.

pub mod apex;
pub mod changes;
pub mod collections;
pub mod composite;
pub mod describe;
pub mod limits;
pub mod query;
pub mod search;
pub mod sobject;
