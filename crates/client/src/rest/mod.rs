//! The REST API, one file per resource.

pub mod describe;
pub mod limits;
pub mod query;
pub mod sobject;
