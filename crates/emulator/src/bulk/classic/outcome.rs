//! What became of a batch, row by row; and the rows of a query.

use axum::extract::{Path, State as Asked};
use axum::http::HeaderMap;
use axum::response::Response;
use serde_json::{Value, json};

use super::batch::{Batch, State, request_file, unknown};
use super::job::ContentType;
use super::message::{Refusal, Wire, document, respond};
use super::{Call, answer};
use crate::Shared;
use crate::api_error::ApiError;
use crate::bulk::io_error;
use crate::bulk::job::Format;
use crate::bulk::rows::{Done, error_text};
use crate::bulk::slice::write_line;
use crate::bulk::stream::Content;
use crate::metadata::xml::element;

pub(super) fn result_file(batch: &str) -> String {
    format!("{batch}.result")
}

pub(super) fn write_results(content_type: ContentType, outcomes: &[Result<Done, ApiError>]) -> Vec<u8> {
    match content_type {
        ContentType::Csv => {
            let mut out = b"\"Id\",\"Success\",\"Created\",\"Error\"\n".to_vec();
            for outcome in outcomes {
                let error = outcome.as_ref().err().map(error_text).unwrap_or_default();
                let values = match outcome {
                    Ok(done) => [done.id.as_str(), "true", if done.created { "true" } else { "false" }, ""],
                    Err(_) => ["", "false", "false", error.as_str()],
                };
                // Writing to memory cannot fail.
                let _ = write_line(&mut out, values.into_iter(), Format::PLAIN);
            }
            out
        }
        ContentType::Json => {
            let told = outcomes.iter().map(|outcome| match outcome {
                Ok(done) => json!({"success": true, "created": done.created, "id": done.id, "errors": []}),
                Err(error) => {
                    let error = json!({
                        "message": error.message, "fields": error.fields.as_deref().unwrap_or_default(),
                        "statusCode": error.code, "extendedErrorDetails": null,
                    });
                    json!({"success": false, "created": false, "id": null, "errors": [error]})
                }
            });
            Value::Array(told.collect()).to_string().into_bytes()
        }
    }
}

fn content_type(of: ContentType) -> &'static str {
    match of {
        ContentType::Csv => "text/csv",
        ContentType::Json => "application/json",
    }
}

fn found(call: &mut Call<'_>, job: &str, batch: &str) -> Result<(String, Batch, ContentType, Wire), Refusal> {
    let job = call.job(job)?;
    let found = job.batches.iter().find(|b| b.id == batch || b.id[..15] == *batch).ok_or_else(|| unknown(batch))?;
    Ok((job.id.clone(), found.clone(), job.content_type, job.wire()))
}

/// `request` and `result`.
pub(in crate::bulk) async fn read(
    Asked(shared): Asked<Shared>,
    Path((version, id, batch, part)): Path<(String, String, String, String)>,
    headers: HeaderMap,
) -> Response {
    let wants = headers.clone();
    answer(&shared, version, headers, move |call| {
        let (job, batch, kind, wire) = found(call, &id, &batch)?;
        let folder = call.org.bulk.folder(&job).map_err(|e| io_error(&e))?;
        let file = match part.as_str() {
            "request" => request_file(&batch.id),
            "result" if batch.state != State::Completed => {
                return Err(Refusal::new("InvalidBatch", "Batch not completed"));
            }
            "result" => match &batch.result {
                None => result_file(&batch.id),
                Some(result) if wire == Wire::Json => {
                    return Ok(respond(200, "application/json", json!([result]).to_string()));
                }
                Some(result) => return Ok(document(200, "result-list", &element("result", result))),
            },
            _ => return Err(Refusal::new("InvalidUrl", format!("there is no {part} of a batch"))),
        };
        Ok(Content::text("").and_file(&folder.join(file), 0, None)?.answer(content_type(kind), &wants))
    })
    .await
}

/// The rows that a query found.
pub(in crate::bulk) async fn rows(
    Asked(shared): Asked<Shared>,
    Path((version, id, batch, result)): Path<(String, String, String, String)>,
    headers: HeaderMap,
) -> Response {
    let wants = headers.clone();
    answer(&shared, version, headers, move |call| {
        let (job, batch, kind, _) = found(call, &id, &batch)?;
        let known = batch.result.filter(|known| *known == result || known[..15] == result);
        let known = known.ok_or_else(|| Refusal::new("InvalidBatch", format!("Unable to find result: {result}")))?;
        let folder = call.org.bulk.folder(&job).map_err(|e| io_error(&e))?;
        Ok(Content::text("").and_file(&folder.join(known), 0, None)?.answer(content_type(kind), &wants))
    })
    .await
}
