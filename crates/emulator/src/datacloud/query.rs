//! The REST query API, version 2: pages of a result, each offered once.

use std::collections::HashMap;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::response::Response;
use axum::routing::{get, post};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value, json};

use super::Engine;
use super::message::{
    ARROW_IPC, ASYNC, ExecuteQueryResponse, JSON_ARRAY, QueryInfo, QueryInfoParam, QueryParam, QueryResult,
    QueryResultParam, ResultRange,
};
use super::refusal::{RestError, moment, settled};
use super::statement::only_reads;
use crate::Shared;
use crate::rest::json_response;

/// The next page must be asked for within this time …
const BATCH_LIFE: SignedDuration = SignedDuration::from_mins(3);
/// … and the last one within this time of the first.
const RESULT_LIFE: SignedDuration = SignedDuration::from_hours(1);

/// A page ends at so many bytes, if it has not by its rows: what the documents say the first answer holds at most.
const PAGE_BYTES: u64 = 8 << 20;

pub(super) fn router() -> Router<Shared> {
    Router::new().route("/api/v2/query", post(start)).route("/api/v2/query/{batch}", get(next))
}

/// Pages that may be asked for, by the id under which they were offered.
pub(super) type Cursors = HashMap<String, Cursor>;

#[derive(Clone)]
pub(super) struct Cursor {
    query: String,
    /// The first row of the page.
    offset: u64,
    total: u64,
    columns: Value,
    arrow: bool,
    first_asked: Timestamp,
    offered: Timestamp,
}

async fn start(State(shared): State<Shared>, headers: HeaderMap, body: Bytes) -> Response {
    let arrow = headers.get("enable-arrow-stream").is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"true"));
    let answer = first_page(&shared, &body, arrow).await;
    settled(&shared, answer).await
}

async fn first_page(shared: &Shared, body: &[u8], arrow: bool) -> Result<Response, RestError> {
    let engine = shared.engine.as_deref().ok_or_else(RestError::no_engine)?;
    let body: Value = serde_json::from_slice(body).map_err(|_| RestError::new(400, "the body is not JSON"))?;
    let sql = body["sql"].as_str().ok_or_else(|| RestError::new(400, "the body has no text under `sql`"))?;
    if !only_reads(sql) {
        // The words are ours; that the API takes queries only is documented.
        return Err(RestError::new(400, "only queries are allowed: SELECT, WITH, VALUES, TABLE or EXPLAIN"));
    }
    let asked = shared.with_org(|org| org.now()).await;
    let query = execute(engine, sql).await?;
    let (columns, total) = finished(engine, &query).await?;
    let cursor = Cursor { query, offset: 0, total, columns, arrow, first_asked: asked, offered: asked };
    page(shared, engine, cursor).await
}

async fn next(State(shared): State<Shared>, Path(batch): Path<String>) -> Response {
    let answer = later_page(&shared, batch).await;
    settled(&shared, answer).await
}

async fn later_page(shared: &Shared, batch: String) -> Result<Response, RestError> {
    let engine = shared.engine.as_deref().ok_or_else(RestError::no_engine)?;
    let cursor = shared
        .with_org(move |org| {
            let now = org.now();
            let cursor = org.datacloud.as_mut()?.cursors.remove(&batch)?;
            cursor.lives(now).then_some(cursor)
        })
        .await;
    page(shared, engine, cursor.ok_or_else(|| RestError::new(404, "there is no such batch, or no more"))?).await
}

impl Cursor {
    fn lives(&self, now: Timestamp) -> bool {
        now.duration_since(self.offered) <= BATCH_LIFE && now.duration_since(self.first_asked) <= RESULT_LIFE
    }
}

/// Starts a query; its id.
async fn execute(engine: &Engine, sql: &str) -> Result<String, RestError> {
    let databases = vec![engine.attached()];
    let query = QueryParam { query: sql.to_owned(), databases, output_format: JSON_ARRAY, transfer_mode: ASYNC };
    let mut id = None;
    let keep = |answer: ExecuteQueryResponse| {
        id = answer.query_info.and_then(|info| info.query_status).map(|status| status.query_id).or(id.take());
    };
    engine.call("ExecuteQuery", None, &query, keep).await??;
    id.ok_or_else(|| RestError::new(500, "hyperd told no query id"))
}

/// Waits for the end of a query: the metadata of its columns, and how many rows it has.
async fn finished(engine: &Engine, id: &str) -> Result<(Value, u64), RestError> {
    let question = QueryInfoParam { query_id: id.to_owned(), streaming: true, schema_output_format: JSON_ARRAY };
    let (mut schema, mut rows) = (None, None);
    // A stream of news ends after 100 seconds, the query perhaps not.
    while rows.is_none() {
        let keep = |info: QueryInfo| {
            schema = info.string_schema.map(|part| part.data).or(schema.take());
            rows = info.query_status.filter(|s| s.completion_status > 0).map(|s| s.row_count).or(rows);
        };
        engine.call("GetQueryInfo", Some(id), &question, keep).await??;
    }
    let columns = schema.as_deref().and_then(columns);
    Ok((columns.ok_or_else(|| RestError::new(500, "hyperd told no columns"))?, rows.unwrap_or_default()))
}

/// The columns as this API tells them.
fn columns(schema: &str) -> Option<Value> {
    let schema: Value = serde_json::from_str(schema).ok()?;
    let mut columns = Map::new();
    for (place, column) in schema["columns"].as_array()?.iter().enumerate() {
        // Codes are those of java.sql.Types; `TIMESTAMP WITH TIME ZONE` has its own.
        let (name, code) = match column["type"].as_str()? {
            "bool" => ("BOOLEAN", 16),
            "smallint" => ("SMALLINT", 5),
            "integer" => ("INTEGER", 4),
            "bigint" | "oid" => ("BIGINT", -5),
            "float4" => ("REAL", 7),
            "float8" => ("DOUBLE", 8),
            "numeric" => ("DECIMAL", 3),
            "varchar" => ("VARCHAR", 12),
            "char" => ("CHAR", 1),
            "date" => ("DATE", 91),
            "time" => ("TIME", 92),
            "timestamp" => ("TIMESTAMP", 93),
            "timestamptz" => ("TIMESTAMP_WITH_TIMEZONE", 2014),
            "array" => ("ARRAY", 2003),
            _ => ("OTHER", 1111),
        };
        let told = json!({"type": name, "placeInOrder": place, "typeCode": code});
        columns.insert(column["name"].as_str()?.to_owned(), told);
    }
    Some(columns.into())
}

/// Answers the page at which the cursor stands, and offers the one after it.
async fn page(shared: &Shared, engine: &Engine, mut cursor: Cursor) -> Result<Response, RestError> {
    let most = shared.with_org(|org| org.datacloud.as_ref().map_or(1, |datacloud| datacloud.page_rows)).await;
    let (data, rows) = rows(engine, &cursor, most).await?;
    cursor.offset += rows;
    let done = cursor.offset >= cursor.total;
    let mut envelope = json!({
        "startTime": moment(cursor.first_asked), "endTime": null, "rowCount": rows, "queryId": cursor.query,
        "done": done, "metadata": cursor.columns,
    });
    let (now, offer) = shared.with_org(move |org| (org.now(), offer(org, cursor, done))).await;
    envelope["endTime"] = json!(moment(now));
    if let Some(batch) = offer {
        envelope["nextBatchId"] = json!(batch);
    }
    // Rows pass as they are: a number that is read and written again may change.
    let mut body = data;
    body.push(b',');
    body.extend_from_slice(&envelope.to_string().as_bytes()[1..]);
    Ok(json_response(200, body))
}

/// The id of the next page, if there is one.
fn offer(org: &mut crate::org::Org, mut cursor: Cursor, done: bool) -> Option<String> {
    let now = org.now();
    let cursors = &mut org.datacloud.as_mut()?.cursors;
    cursors.retain(|_, cursor| cursor.lives(now));
    if done {
        return None;
    }
    cursor.offered = now;
    let batch = super::uuid();
    cursors.insert(batch.clone(), cursor);
    Some(batch)
}

/// The beginning of the body, with the rows in it, and their number.
async fn rows(engine: &Engine, cursor: &Cursor, most: u64) -> Result<(Vec<u8>, u64), RestError> {
    let name = if cursor.arrow { "arrowStream" } else { "data" };
    let mut body = format!("{{\"{name}\":").into_bytes();
    let (mut text, mut binary, mut rows) = (Vec::new(), Vec::new(), 0);
    if cursor.total == 0 && cursor.arrow {
        // No range of no rows can be asked for.
        let id = cursor.query.clone();
        let question = QueryInfoParam { query_id: id, streaming: false, schema_output_format: ARROW_IPC };
        let keep = |info: QueryInfo| {
            if let Some(schema) = info.binary_schema {
                binary.extend_from_slice(&schema.data);
            }
        };
        engine.call("GetQueryInfo", Some(&cursor.query), &question, keep).await??;
    } else if cursor.offset < cursor.total {
        let question = QueryResultParam {
            query_id: cursor.query.clone(),
            output_format: if cursor.arrow { ARROW_IPC } else { JSON_ARRAY },
            // Each page of Arrow is a stream of its own.
            omit_schema: !cursor.arrow,
            result_range: Some(ResultRange {
                row_offset: cursor.offset,
                row_limit: Some(most),
                byte_limit: PAGE_BYTES,
            }),
        };
        let keep = |part: QueryResult| {
            rows += part.result_part_row_count;
            if let Some(part) = part.binary_part {
                binary.extend_from_slice(&part.data);
            }
            // `[[…],[…]]`, part by part.
            if let Some(part) = part.string_part.map(|part| part.data).filter(|part| part.len() > 2) {
                text.push(part[1..part.len() - 1].to_owned());
            }
        };
        engine.call("GetQueryResult", Some(&cursor.query), &question, keep).await??;
    }
    if cursor.arrow {
        body.extend_from_slice(format!("\"{}\"", STANDARD.encode(binary)).as_bytes());
    } else {
        body.push(b'[');
        body.extend_from_slice(text.join(",").as_bytes());
        body.push(b']');
    }
    Ok((body, rows))
}
