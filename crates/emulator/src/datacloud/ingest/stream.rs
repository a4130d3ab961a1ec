//! Streaming: records in the body of a request, accepted at once.

use std::collections::HashMap;

use anyhow::Context;
use axum::body::Bytes;
use axum::extract::{Path, Query, State};
use axum::response::Response;
use serde_json::{Value, json};

use super::land::{self, Operation};
use super::schema::{Object, find};
use crate::Shared;
use crate::datacloud::refusal::{RestError, settled};
use crate::rest::json_response;

/// "The payload must be less than 200 KB."
const LARGEST: usize = 200 * 1_000;

/// Ids in one deletion.
const MOST_IDS: usize = 200;

type Target = Path<(String, String)>;

fn object((connector, object): &(String, String)) -> Result<Object, RestError> {
    find(connector, object)
        .ok_or_else(|| RestError::new(404, format!("the connector {connector} has no object {object}")))
}

fn records(body: &[u8]) -> Result<Vec<Value>, RestError> {
    if body.len() > LARGEST {
        return Err(RestError::new(413, "the payload must be less than 200 KB"));
    }
    let body: Value = serde_json::from_slice(body).map_err(|_| RestError::new(400, "the body is not JSON"))?;
    let records = body["data"].as_array().cloned();
    records.ok_or_else(|| RestError::new(400, "the body has no list under `data`"))
}

fn accepted() -> Response {
    json_response(202, json!({"accepted": true}).to_string().into_bytes())
}

/// Records that do not fit are dropped in silence: the caller has been told long before.
pub(super) async fn insert(State(shared): State<Shared>, Path(target): Target, body: Bytes) -> Response {
    let answer = async {
        let object = object(&target)?;
        let engine = shared.engine.as_deref().ok_or_else(RestError::no_engine)?;
        let mut rows = Vec::new();
        for record in records(&body)? {
            match object.read(&record) {
                Ok(values) => rows.push(values),
                Err(wrong) => tracing::warn!(?wrong, "a streamed record does not fit its schema, and is dropped"),
            }
        }
        if !rows.is_empty() {
            let file = written(land::file(engine), rows)?;
            land::land(engine, &object, Operation::Upsert, &file).await??;
        }
        Ok(accepted())
    };
    settled(&shared, answer.await).await
}

/// Ids come in the body, or separated by commas in the query string.
pub(super) async fn delete(
    State(shared): State<Shared>,
    Path(target): Target,
    Query(query): Query<HashMap<String, String>>,
    body: Bytes,
) -> Response {
    let answer = async {
        let object = object(&target)?;
        let engine = shared.engine.as_deref().ok_or_else(RestError::no_engine)?;
        let ids = match query.get("ids") {
            Some(ids) => ids.split(',').map(str::to_owned).collect(),
            None => {
                let body: Value = serde_json::from_slice(&body).unwrap_or_default();
                let ids =
                    body["ids"].as_array().map(|ids| ids.iter().map(|id| id.as_str().map(str::to_owned)).collect());
                let ids: Option<Vec<String>> = ids.flatten();
                ids.ok_or_else(|| RestError::new(400, "neither the query nor the body has `ids`"))?
            }
        };
        if ids.is_empty() || ids.len() > MOST_IDS {
            return Err(RestError::new(400, "a deletion takes 1 to 200 ids; bulk jobs take more"));
        }
        let file = written(land::file(engine), ids.into_iter().map(|id| vec![id]).collect())?;
        land::land(engine, &object, Operation::Delete, &file).await??;
        Ok(accepted())
    };
    settled(&shared, answer.await).await
}

/// Writes numbered rows.
fn written(file: std::path::PathBuf, rows: Vec<Vec<String>>) -> anyhow::Result<std::path::PathBuf> {
    let mut csv = csv::Writer::from_path(&file).with_context(|| format!("could not write {}", file.display()))?;
    for (number, row) in rows.into_iter().enumerate() {
        csv.write_record(std::iter::once(number.to_string()).chain(row))?;
    }
    csv.flush()?;
    Ok(file)
}

/// Checks records and keeps none.
pub(super) async fn test(State(shared): State<Shared>, Path(target): Target, body: Bytes) -> Response {
    let records = object(&target).and_then(|object| Ok((object, records(&body)?)));
    let (object, records) = match records {
        Ok(found) => found,
        Err(error) => return settled(&shared, Err(error)).await,
    };
    let report: Vec<Value> = records
        .iter()
        .filter_map(|record| Some((record, object.read(record).err()?)))
        .map(|(record, wrong)| json!({"record": record.to_string(), "causingExceptions": wrong}))
        .collect();
    if report.is_empty() {
        // With what body a tenant says so is not documented; the status is.
        return json_response(200, json!({"accepted": true}).to_string().into_bytes());
    }
    let (now, tenant) = shared.with_org(|org| (org.now(), org.datacloud.as_ref().map(|d| d.tenant.clone()))).await;
    let error = RestError::new(400, "Bad Request: JSON is properly formatted but has a mismatch with Schema.");
    let mut body = error.body(now);
    body["path"] = json!(format!("uri=/api/v1/ingest/sources/{}/{}/actions/test", target.0, target.1));
    body["tenantId"] = json!(tenant);
    body["details"] = json!({"validationReport": report});
    json_response(400, body.to_string().into_bytes())
}
