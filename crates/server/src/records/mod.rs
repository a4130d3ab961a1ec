//! Records for whoever is outside: rows of mappings, contacts, and webhooks that tell of changes.
//!
//! Reading order: `wanted` (what a query says), `reading` (the answers); then `webhooks` (who is told),
//! `message` (what is said) and `sending` (the worker).

mod message;
pub(crate) mod reading;
mod sending;
mod wanted;
pub(crate) mod webhooks;

use axum::http::StatusCode;
use tieline_store::records::FilterError;

use crate::problem::Problem;

/// 422: it can be read, and there is no such column, operator or value.
fn unprocessable(error: &FilterError) -> Problem {
    Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid_filter", error.to_string(), error.hint())
}

fn no_mapping() -> Problem {
    Problem::not_found("mapping")
}
