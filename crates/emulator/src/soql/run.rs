//! Runs a [`Plan`] and writes the records as JSON, straight into the answer's bytes.

use rusqlite::types::{Value as SqlValue, ValueRef};
use rusqlite::{Connection, Row, params_from_iter};

use super::plan::{Output, Plan, Render, Shape};
use crate::api_error::ApiError;

/// What a query found: how many, and the row numbers of those to be served.
pub(crate) enum Found {
    Count(u64),
    /// Row numbers in the order asked for. A cursor keeps these and reads values page by page.
    Rows(Vec<i64>),
    /// Finished records: groups are few and cannot be read again by row.
    Aggregates(Vec<Vec<u8>>),
}

/// Runs the query and remembers which rows it found.
pub(crate) fn find(db: &Connection, plan: &Plan) -> Result<Found, ApiError> {
    let window = window(plan.limit, plan.offset);
    let from = format!("FROM \"{}\" t0{}{}{}", plan.object, plan.joins, plan.filter, plan.grouping);
    match plan.shape {
        Shape::Count => {
            let sql = format!("SELECT count(*) FROM (SELECT 1 {from}{window})");
            let n: i64 = db.prepare_cached(&sql)?.query_row(params_from_iter(&plan.values), |row| row.get(0))?;
            Ok(Found::Count(n.unsigned_abs()))
        }
        Shape::Rows => Ok(Found::Rows(rows(db, plan, "", None)?)),
        Shape::Aggregate => {
            let sql = format!("SELECT {} {from}{}{window}", plan.columns.join(", "), plan.order);
            let mut statement = db.prepare_cached(&sql)?;
            let mut rows = statement.query(params_from_iter(&plan.values))?;
            let mut records = Vec::new();
            while let Some(row) = rows.next()? {
                let mut out = br#"{"attributes":{"type":"AggregateResult"}"#.to_vec();
                for output in &plan.outputs {
                    if let Output::Field { key, column, render } = output {
                        write_key(&mut out, key);
                        write_value(&mut out, row.get_ref(*column)?, *render);
                    }
                }
                out.push(b'}');
                records.push(out);
            }
            Ok(Found::Aggregates(records))
        }
    }
}

/// Whether a query matches more than so many rows, whatever its LIMIT.
pub(crate) fn matches_more_than(db: &Connection, plan: &Plan, most: u64) -> Result<bool, ApiError> {
    let from = format!("FROM \"{}\" t0{}{}{}", plan.object, plan.joins, plan.filter, plan.grouping);
    let sql = format!("SELECT count(*) FROM (SELECT 1 {from} LIMIT {})", most.saturating_add(1).min(1 << 31));
    let found: i64 = db.prepare_cached(&sql)?.query_row(params_from_iter(&plan.values), |row| row.get(0))?;
    Ok(found.unsigned_abs() > most)
}

/// The rows of a plan that also meet `and`, a condition with one value.
pub(crate) fn rows(db: &Connection, plan: &Plan, and: &str, value: Option<&str>) -> Result<Vec<i64>, ApiError> {
    let and = match (and.is_empty(), plan.filter.is_empty()) {
        (true, _) => String::new(),
        (false, true) => format!(" WHERE {and}"),
        (false, false) => format!(" AND {and}"),
    };
    let sql = format!(
        "SELECT t0.rowid FROM \"{}\" t0{}{}{and}{}{}",
        plan.object,
        plan.joins,
        plan.filter,
        plan.order,
        window(plan.limit, plan.offset)
    );
    let mut statement = db.prepare_cached(&sql)?;
    let value = value.map(|v| SqlValue::Text(v.to_owned()));
    let rows = statement.query_map(params_from_iter(plan.values.iter().chain(&value)), |row| row.get(0))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

fn window(limit: Option<u64>, offset: u64) -> String {
    match (limit, offset) {
        (None, 0) => String::new(),
        (limit, offset) => {
            format!(" LIMIT {} OFFSET {offset}", limit.map_or("-1".to_owned(), |l| l.min(1 << 31).to_string()))
        }
    }
}

/// Writes the records of `rows`, comma separated, in that order. A row that is gone by now is left out.
pub(crate) fn records(db: &Connection, plan: &Plan, rows: &[i64], version: &str) -> Result<Vec<u8>, ApiError> {
    let wanted = serde_json::to_string(rows).expect("numbers are JSON");
    let sql = format!(
        "SELECT {} FROM json_each(?) wanted CROSS JOIN \"{}\" t0 ON t0.rowid = wanted.value{} ORDER BY wanted.key",
        plan.columns.join(", "),
        plan.object,
        plan.joins
    );
    let mut statement = db.prepare_cached(&sql)?;
    let mut found = statement.query([wanted])?;
    let mut out = Vec::with_capacity(rows.len() * 512);
    while let Some(row) = found.next()? {
        if !out.is_empty() {
            out.push(b',');
        }
        record(db, &mut out, row, (&plan.object, &plan.object), 0, &plan.outputs, version)?;
    }
    Ok(out)
}

/// Writes one record. Its type is that of its object, or `Name` for a parent of several possible objects.
fn record(
    db: &Connection,
    out: &mut Vec<u8>,
    row: &Row<'_>,
    (type_name, object): (&str, &str),
    id: usize,
    outputs: &[Output],
    version: &str,
) -> Result<(), ApiError> {
    let id = row.get_ref(id)?.as_str().unwrap_or("");
    out.extend_from_slice(
        format!(r#"{{"attributes":{{"type":"{type_name}","url":"/services/data/v{version}/sobjects/{object}/{id}"}}"#)
            .as_bytes(),
    );
    for output in outputs {
        match output {
            Output::Field { key, column, render } => {
                write_key(out, key);
                write_value(out, row.get_ref(*column)?, *render);
            }
            Output::Parent { key, object, id, fields } => {
                write_key(out, key);
                match row.get_ref(*id)? {
                    ValueRef::Null => out.extend_from_slice(b"null"),
                    _ => record(db, out, row, (object, object), *id, fields, version)?,
                }
            }
            Output::Name { key, targets, fields } => {
                write_key(out, key);
                match targets.iter().find(|(_, id)| is_there(row, *id)) {
                    Some((object, id)) => record(db, out, row, ("Name", object), *id, fields, version)?,
                    None => out.extend_from_slice(b"null"),
                }
            }
            Output::TypeOf { key, branches } => {
                write_key(out, key);
                match branches.iter().find(|(_, id, _)| is_there(row, *id)) {
                    Some((object, id, fields)) => record(db, out, row, (object, object), *id, fields, version)?,
                    None => out.extend_from_slice(b"null"),
                }
            }
            Output::Children { key, link, id, plan } => {
                write_key(out, key);
                children(db, out, row.get_ref(*id)?.as_str().unwrap_or(""), link, plan, version)?;
            }
        }
    }
    out.push(b'}');
    Ok(())
}

fn is_there(row: &Row<'_>, id: usize) -> bool {
    row.get_ref(id).is_ok_and(|value| value != ValueRef::Null)
}

fn children(
    db: &Connection,
    out: &mut Vec<u8>,
    parent: &str,
    link: &str,
    plan: &Plan,
    version: &str,
) -> Result<(), ApiError> {
    let rows = rows(db, plan, &format!("t0.\"{link}\" = ?"), Some(parent))?;
    if rows.is_empty() {
        out.extend_from_slice(b"null");
        return Ok(());
    }
    out.extend_from_slice(format!(r#"{{"totalSize":{},"done":true,"records":["#, rows.len()).as_bytes());
    out.extend(records(db, plan, &rows, version)?);
    out.extend_from_slice(b"]}");
    Ok(())
}

fn write_key(out: &mut Vec<u8>, key: &str) {
    out.extend_from_slice(b",\"");
    out.extend_from_slice(key.as_bytes());
    out.extend_from_slice(b"\":");
}

pub(crate) fn write_value(out: &mut Vec<u8>, value: ValueRef<'_>, render: Render) {
    match (value, render) {
        (ValueRef::Null, _) => out.extend_from_slice(b"null"),
        (ValueRef::Integer(n), Render::Boolean) => out.extend_from_slice(if n == 0 { b"false" } else { b"true" }),
        (ValueRef::Integer(n), Render::Double) => out.extend_from_slice(format!("{n}.0").as_bytes()),
        (ValueRef::Integer(n), _) => out.extend_from_slice(n.to_string().as_bytes()),
        (ValueRef::Real(n), Render::Int) => out.extend_from_slice(format!("{n:.0}").as_bytes()),
        (ValueRef::Real(n), _) => out.extend_from_slice(format!("{n:?}").as_bytes()),
        (ValueRef::Text(text) | ValueRef::Blob(text), Render::Json) => out.extend_from_slice(text),
        (ValueRef::Text(text) | ValueRef::Blob(text), _) => {
            let text = std::str::from_utf8(text).unwrap_or("");
            serde_json::to_writer(&mut *out, text).expect("text is JSON");
        }
    }
}
