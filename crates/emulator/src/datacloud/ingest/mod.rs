//! The ingestion API: records by streaming, or by bulk jobs.
//!
//! Sources: the pages of "Data 360 Ingestion API" (developer.salesforce.com, c360-a-api-…) on each resource.

mod batches;
mod jobs;
mod land;
mod schema;
mod stream;

use axum::Router;
use axum::routing::{get, post, put};

use crate::Shared;

pub(super) use jobs::Jobs;

pub(super) fn router() -> Router<Shared> {
    let source = "/api/v1/ingest/sources/{connector}/{object}";
    let jobs = "/api/v1/ingest/jobs";
    Router::new()
        .route(source, post(stream::insert).delete(stream::delete))
        .route(&format!("{source}/actions/test"), post(stream::test))
        .route(jobs, post(jobs::create).get(jobs::list))
        .route(&format!("{jobs}/{{id}}"), get(jobs::read).patch(jobs::change).delete(jobs::delete))
        .route(&format!("{jobs}/{{id}}/batches"), put(batches::upload))
}
