//! Query jobs: created, aborted, deleted.

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value};

use super::ingest::{abort, not_terminated, told};
use super::job::{Format, Job, Operation, Phase, invalid_value, object_of, text};
use super::{job, jobs, work};
use crate::Shared;
use crate::api_error::ApiError;
use crate::org::Org;
use crate::rest::Call;
use crate::soql::parse;
use crate::soql::plan::{self, Context, Output, Plan, Render, Shape};

/// Older versions have no query jobs.
const FIRST_VERSION: f64 = 47.0;

pub(super) async fn create(
    State(shared): State<Shared>,
    Path(version): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let mut response = shared
        .clone()
        .answer(version, headers, move |call| {
            if call.version.parse::<f64>().is_ok_and(|version| version < FIRST_VERSION) {
                // The status is documented, the rest is not.
                let message = format!("Bulk query jobs are not available in API version {}", call.version);
                return Err(ApiError::new(409, "API_ERROR", message));
            }
            let made = made(call, &object_of(&body)?)?;
            let mut response = told(made.told());
            response.extensions_mut().insert(Made(made.id.clone()));
            jobs(call.org).insert(made.id.clone(), made);
            Ok(response)
        })
        .await;
    if let Some(Made(id)) = response.extensions_mut().remove() {
        work::start(&shared, id);
    }
    response
}

#[derive(Debug, Clone)]
struct Made(String);

fn made(call: &mut Call<'_>, body: &Map<String, Value>) -> Result<Job, ApiError> {
    let named = text(body, "operation")?.unwrap_or_default();
    let operation = Operation::named(&named).filter(|operation| operation.is_query());
    let operation = operation.ok_or_else(|| invalid_value("operation", &named))?;
    let format = Format::read(body)?;
    let soql = text(body, "query")?.unwrap_or_default();
    let plan = allowed_plan(call.org, &soql, operation)?;
    let mut job = Job::new(call.org, operation, &plan.object, &call.version, &call.user_id);
    (job.format, job.plan) = (format, Some(plan));
    Ok(job)
}

/// The plan of a query that the Bulk APIs run.
pub(super) fn allowed_plan(org: &Org, soql: &str, operation: Operation) -> Result<Plan, ApiError> {
    if soql.trim().is_empty() {
        return Err(ApiError::bad("MALFORMED_QUERY", "A query string has to be specified"));
    }
    let query = parse::parse(soql)?;
    let context = Context {
        soql,
        schema: &org.schema,
        now: org.now(),
        // Only `USING SCOPE mine` asks for it, which is not for bulk queries.
        user_id: &org.admin_id,
        version: 67,
        deleted_too: operation == Operation::QueryAll,
    };
    let plan = plan::plan_in(&context, &query)?;
    let unsupported = |message: &str| Err(ApiError::bad("API_ERROR", message));
    // The texts for aggregates and for OFFSET are unverified; the other two are known.
    if plan.shape != Shape::Rows {
        return unsupported("Aggregate functions and GROUP BY are not supported in Bulk Query");
    }
    if query.offset.is_some() {
        return unsupported("OFFSET is not supported in Bulk Query");
    }
    if !flat(&plan.outputs) {
        return unsupported("Aggregate Relationships not supported in Bulk Query");
    }
    if compound(&plan.outputs) {
        return unsupported("Selecting compound data not supported in Bulk Query");
    }
    Ok(plan)
}

fn flat(outputs: &[Output]) -> bool {
    outputs.iter().all(|output| match output {
        Output::Field { .. } => true,
        Output::Parent { fields, .. } | Output::Name { fields, .. } => flat(fields),
        Output::Children { .. } | Output::TypeOf { .. } => false,
    })
}

fn compound(outputs: &[Output]) -> bool {
    outputs.iter().any(|output| match output {
        Output::Field { render, .. } => *render == Render::Json,
        Output::Parent { fields, .. } | Output::Name { fields, .. } => compound(fields),
        Output::Children { .. } | Output::TypeOf { .. } => false,
    })
}

pub(super) async fn read(
    State(shared): State<Shared>,
    Path((version, id)): Path<(String, String)>,
    headers: HeaderMap,
) -> Response {
    shared
        .answer(version, headers, move |call| {
            let delta = call.org.bulk.behaviour.processed_delta;
            Ok(told(job(call.org, &id, true)?.told_whole(delta)))
        })
        .await
}

/// A query can only be aborted.
pub(super) async fn change(
    State(shared): State<Shared>,
    Path((version, id)): Path<(String, String)>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    shared
        .answer(version, headers, move |call| {
            let wanted = text(&object_of(&body)?, "state")?.unwrap_or_default();
            if wanted != "Aborted" {
                return Err(invalid_value("state", &wanted));
            }
            let now = call.org.now();
            let job = job(call.org, &id, true)?;
            abort(job)?;
            job.changed = now;
            let response = told(job.told());
            call.org.bulk.moved.notify_waiters();
            Ok(response)
        })
        .await
}

pub(super) async fn delete(
    State(shared): State<Shared>,
    Path((version, id)): Path<(String, String)>,
    headers: HeaderMap,
) -> Response {
    shared
        .answer(version, headers, move |call| {
            let job = job(call.org, &id, true)?;
            if matches!(job.phase, Phase::UploadComplete | Phase::InProgress) {
                return Err(not_terminated());
            }
            let id = job.id.clone();
            call.org.bulk.jobs.remove(&id);
            call.org.bulk.remove_files(&id);
            Ok(StatusCode::NO_CONTENT.into_response())
        })
        .await
}
