//! What each transform does to a value.

use std::borrow::Cow;
use std::collections::BTreeMap;

use jiff::fmt::strtime;
use jiff::{Timestamp, civil};

use super::cell::{self, Cell};
use super::chain::{Buffer, Reason};
use super::moment;
use super::transform::{Marks, Otherwise, Transform};

/// What a value is between two steps; a text is in the buffer.
#[derive(Clone, Copy)]
pub(super) enum Now {
    /// Empty: nothing.
    Text,
    Digits,
    Json,
    Date(i64),
    Other(Cell<'static>),
}

pub(super) fn enter(value: Cell<'_>, buffer: &mut Buffer) -> Now {
    buffer.text.clear();
    match value {
        Cell::Text(text) => {
            buffer.text.push_str(text);
            Now::Text
        }
        Cell::Digits(text) => {
            buffer.text.push_str(text);
            Now::Digits
        }
        Cell::Json(text) => {
            buffer.text.push_str(text);
            Now::Json
        }
        Cell::Date(days) => Now::Date(days),
        Cell::Int(number) => Now::Other(Cell::Int(number)),
        Cell::Bool(truth) => Now::Other(Cell::Bool(truth)),
        Cell::DateTime(at) => Now::Other(Cell::DateTime(at)),
        Cell::Time(at) => Now::Other(Cell::Time(at)),
    }
}

pub(super) fn run_step(step: &Transform, now: Now, buffer: &mut Buffer) -> Result<Option<Now>, Reason> {
    if let Transform::Format(form) = step {
        return format(form, now, buffer).map(Some);
    }
    // Whatever it is, it goes on as its text.
    match now {
        Now::Text | Now::Digits | Now::Json => {}
        Now::Date(days) => Cell::Date(days).append(&mut buffer.text),
        Now::Other(cell) => cell.append(&mut buffer.text),
    }
    let Buffer { text, spare } = buffer;
    spare.clear();
    match step {
        Transform::Trim => spare.push_str(text.trim()),
        Transform::Lower if text.is_ascii() => {
            text.make_ascii_lowercase();
            return Ok(Some(Now::Text));
        }
        Transform::Upper if text.is_ascii() => {
            text.make_ascii_uppercase();
            return Ok(Some(Now::Text));
        }
        Transform::Lower => text.chars().for_each(|c| spare.extend(c.to_lowercase())),
        Transform::Upper => text.chars().for_each(|c| spare.extend(c.to_uppercase())),
        Transform::Title => title(text, spare),
        Transform::Collapse => {
            for word in text.split_whitespace() {
                if !spare.is_empty() {
                    spare.push(' ');
                }
                spare.push_str(word);
            }
        }
        Transform::Digits => spare.extend(text.chars().filter(char::is_ascii_digit)),
        Transform::Truncate(most) => spare.extend(text.chars().take(*most)),
        Transform::Replace(from, to) => {
            let mut rest = text.as_str();
            while let Some((before, after)) = rest.split_once(from.as_str()) {
                spare.push_str(before);
                spare.push_str(to);
                rest = after;
            }
            spare.push_str(rest);
        }
        Transform::Map(map, otherwise) => match mapped(map, otherwise, text) {
            Some(value) => spare.push_str(value),
            None => return Ok(None),
        },
        Transform::Split => {
            let values: Vec<&str> = text.split(';').map(str::trim).filter(|value| !value.is_empty()).collect();
            spare.push_str(&serde_json::to_string(&values).map_err(|error| Cow::Owned(error.to_string()))?);
            std::mem::swap(text, spare);
            return Ok(Some(Now::Json));
        }
        Transform::Number(marks) => {
            number(*marks, text, spare)?;
            std::mem::swap(text, spare);
            return Ok(Some(Now::Digits));
        }
        Transform::Date(form) => {
            if text.trim().is_empty() {
                return Ok(None);
            }
            let date = civil::Date::strptime(form, text.trim()).map_err(|_| format!("it is no date like `{form}`"))?;
            let days = moment::date(&date.to_string()).ok_or(Cow::Borrowed("it is no date of the calendar"))?;
            text.clear();
            return Ok(Some(Now::Date(days)));
        }
        Transform::Phone(region) => {
            if text.trim().is_empty() {
                return Ok(None);
            }
            super::phone::e164(text, region, spare)?;
        }
        // Done above.
        Transform::Format(_) => {}
    }
    std::mem::swap(text, spare);
    Ok(Some(Now::Text))
}

fn mapped<'t>(map: &'t BTreeMap<String, String>, otherwise: &'t Otherwise, text: &'t str) -> Option<&'t str> {
    match (map.get(text), otherwise) {
        (Some(value), _) | (None, Otherwise::Value(value)) => Some(value),
        (None, Otherwise::Keep) => Some(text),
        (None, Otherwise::Null) => None,
    }
}

/// Each word with a great letter and small ones. A word begins after white space and hyphens.
fn title(text: &str, out: &mut String) {
    let mut begins = true;
    for c in text.chars() {
        if begins {
            out.extend(c.to_uppercase());
        } else {
            out.extend(c.to_lowercase());
        }
        begins = c.is_whitespace() || c == '-';
    }
}

fn number(marks: Marks, text: &str, out: &mut String) -> Result<(), Reason> {
    let (thousands, point) = match marks {
        Marks::De => ('.', ','),
        Marks::En => (',', '.'),
    };
    for c in text.trim().chars().filter(|c| *c != thousands && *c != '\'' && !c.is_whitespace()) {
        out.push(if c == point { '.' } else { c });
    }
    cell::is_decimal(out).then_some(()).ok_or(Cow::Borrowed("it is no number"))
}

fn format(form: &str, now: Now, buffer: &mut Buffer) -> Result<Now, Reason> {
    let written = match now {
        Now::Date(days) => {
            let text = tieline_store::object_tables::date(days);
            text.parse::<civil::Date>().and_then(|date| strtime::format(form, date))
        }
        Now::Other(Cell::DateTime(at)) => Timestamp::from_millisecond(at).and_then(|at| strtime::format(form, at)),
        Now::Other(Cell::Time(at)) => {
            let text = tieline_store::object_tables::time(at);
            text.parse::<civil::Time>().and_then(|time| strtime::format(form, time))
        }
        // The plan has no such chain.
        _ => return Err(Cow::Borrowed("it is neither a date nor a time")),
    };
    let written = written.map_err(|error| Cow::Owned(format!("it cannot be written as `{form}`: {error}")))?;
    buffer.text.clear();
    buffer.text.push_str(&written);
    Ok(Now::Text)
}
