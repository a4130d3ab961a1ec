//! `updated` and `deleted`: which records changed in a span of time.

use std::collections::HashMap;

use axum::extract::{Path, Query, State};
use axum::http::HeaderMap;
use axum::response::Response;
use jiff::{SignedDuration, Timestamp};
use rusqlite::params;
use serde_json::{Value, json};

use super::{Call, json_response};
use crate::Shared;
use crate::api_error::ApiError;
use crate::clock::datetime;
use crate::soql::parse_datetime;

/// How far back `updated` looks, and for how long deleted records are known.
const UPDATED_DAYS: i64 = 30;
const DELETED_DAYS: i64 = 15;

/// Whole minutes, the end left out.
#[derive(Debug)]
struct Span {
    start: Timestamp,
    end: Timestamp,
}

/// Of the errors only the codes are documented; the words are as remembered.
fn span(start: Option<&String>, end: Option<&String>, now: Timestamp, days: i64) -> Result<Span, ApiError> {
    let date = |value: Option<&String>, name: &str| {
        let value =
            value.ok_or_else(|| ApiError::bad("MISSING_ARGUMENT", format!("{name} is a required parameter")))?;
        // A plus sign that was not escaped has become a space.
        let at = parse_datetime(&value.replace(' ', "+"));
        at.map(minute).ok_or_else(|| ApiError::bad("INVALID_REPLICATION_DATE", format!("invalid date: {value}")))
    };
    let refused = |message: String| Err(ApiError::bad("INVALID_REPLICATION_DATE", message));
    let (start, end) = (date(start, "start")?, date(end, "end")?);
    if end.duration_since(start) < SignedDuration::from_mins(1) {
        return refused("endDate must be at least one minute greater than startDate".to_owned());
    }
    if now.duration_since(start) > SignedDuration::from_hours(24 * days) {
        return refused(format!("startDate cannot be more than {days} days ago"));
    }
    Ok(Span { start, end })
}

fn minute(at: Timestamp) -> Timestamp {
    Timestamp::from_second(at.as_second().div_euclid(60) * 60).unwrap_or(at)
}

/// Up to where nothing can be added any more: not beyond now, nor beyond a write that is not visible yet.
fn covered(call: &Call<'_>, object: &str, span: &Span) -> String {
    let waiting = call.org.oldest_waiting(object).and_then(parse_datetime);
    let until = span.end.min(call.org.now());
    // A transaction that is still open may write to any object yet.
    datetime(minute([waiting, call.org.oldest_open()].into_iter().flatten().fold(until, Timestamp::min)))
}

fn few(count: usize, most: usize) -> Result<(), ApiError> {
    if count <= most {
        return Ok(());
    }
    // Unverified wording.
    Err(ApiError::bad("EXCEEDED_ID_LIMIT", format!("more than {most} ids; use a shorter span")))
}

pub(super) async fn updated(
    State(shared): State<Shared>,
    Path((version, object)): Path<(String, String)>,
    Query(parameters): Query<HashMap<String, String>>,
    headers: HeaderMap,
) -> Response {
    shared
        .answer(version, headers, move |call| {
            let object = call.org.object(&object)?;
            let most = call.org.keeping.most_ids;
            let span = span(parameters.get("start"), parameters.get("end"), call.org.now(), UPDATED_DAYS)?;
            let mut ids: Vec<String> = Vec::new();
            if object.field("SystemModstamp").is_some() {
                let alive = if object.field("IsDeleted").is_some() { " AND \"IsDeleted\" = 0" } else { "" };
                let sql = format!(
                    "SELECT \"Id\" FROM \"{}\" WHERE \"SystemModstamp\" >= ? AND \"SystemModstamp\" < ?{alive} \
                     ORDER BY \"SystemModstamp\", \"Id\" LIMIT {}",
                    object.name,
                    most + 1
                );
                let mut statement = call.org.db.prepare_cached(&sql)?;
                let rows = statement.query_map(params![datetime(span.start), datetime(span.end)], |row| row.get(0))?;
                ids = rows.collect::<Result<_, _>>()?;
            }
            few(ids.len(), most)?;
            let body = json!({"ids": ids, "latestDateCovered": covered(call, &object.name, &span)});
            Ok(json_response(200, body.to_string().into_bytes()))
        })
        .await
}

pub(super) async fn deleted(
    State(shared): State<Shared>,
    Path((version, object)): Path<(String, String)>,
    Query(parameters): Query<HashMap<String, String>>,
    headers: HeaderMap,
) -> Response {
    shared
        .answer(version, headers, move |call| {
            let object = call.org.object(&object)?;
            let now = call.org.now();
            let span = span(parameters.get("start"), parameters.get("end"), now, DELETED_DAYS)?;
            let most = call.org.keeping.most_ids;
            let cut = call.org.delete_log.get(&object.name);
            if cut.is_some_and(|cut| cut.refuse && datetime(span.start) < cut.before) {
                let message = "startDate is before the earliest date available";
                return Err(ApiError::bad("INVALID_REPLICATION_DATE", message));
            }
            // What the log has lost is not told, and the answer looks like any other.
            let start = cut.map_or(datetime(span.start), |cut| datetime(span.start).max(cut.before.clone()));
            let end = datetime(span.end);
            let mut gone: Vec<(String, String)> = Vec::new();
            if object.field("IsDeleted").is_some() {
                let sql = format!(
                    "SELECT \"SystemModstamp\", \"Id\" FROM \"{}\" WHERE \"IsDeleted\" = 1 AND \"SystemModstamp\" >= ? \
                     AND \"SystemModstamp\" < ? LIMIT {}",
                    object.name,
                    most + 1
                );
                let mut statement = call.org.db.prepare_cached(&sql)?;
                let rows =
                    statement.query_map(params![start.clone(), end.clone()], |row| Ok((row.get(0)?, row.get(1)?)))?;
                gone = rows.collect::<Result<_, _>>()?;
            }
            let mut purged = Vec::new();
            for row in call.org.purged.iter().filter(|p| p.object == object.name && p.at >= start && p.at < end) {
                if call.org.is_seen(&row.id)? {
                    purged.push(row);
                }
            }
            let purged = purged.into_iter();
            gone.extend(purged.map(|p| (p.at.clone(), p.id.clone())));
            few(gone.len(), most)?;
            gone.sort();
            let records: Vec<Value> = gone.into_iter().map(|(at, id)| json!({"deletedDate": at, "id": id})).collect();
            let earliest = minute(now - SignedDuration::from_hours(24 * DELETED_DAYS));
            let earliest = cut.map_or(datetime(earliest), |cut| datetime(earliest).max(cut.before.clone()));
            let body = json!({
                "deletedRecords": records, "earliestDateAvailable": earliest,
                "latestDateCovered": covered(call, &object.name, &span),
            });
            Ok(json_response(200, body.to_string().into_bytes()))
        })
        .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_has_whole_minutes_and_lies_in_the_recent_past() {
        let now = "2024-02-01T00:00:00Z".parse().unwrap();
        let of = |start: &str, end: &str| {
            span(Some(&start.to_owned()), Some(&end.to_owned()), now, 30).map_err(|e| (e.code, e.message))
        };
        let good = of("2024-01-31T10:00:59Z", "2024-01-31T10:01:00 00:00").unwrap();
        assert_eq!(
            (good.start, good.end),
            ("2024-01-31T10:00:00Z".parse().unwrap(), "2024-01-31T10:01:00Z".parse().unwrap())
        );
        assert!(of("2024-01-31T10:00:00Z", "2024-01-31T10:00:59Z").unwrap_err().1.starts_with("endDate must be"));
        assert!(of("2024-01-01T10:00:00Z", "2024-01-31T10:00:59Z").unwrap_err().1.contains("30 days"));
        assert_eq!(of("yesterday", "2024-01-31T10:00:59Z").unwrap_err().0, "INVALID_REPLICATION_DATE");
        assert_eq!(span(None, None, now, 30).unwrap_err().code, "MISSING_ARGUMENT");
        assert!(few(10, 10).is_ok() && few(11, 10).is_err());
    }
}
