//! A column's transforms, made ready to be run.

use std::borrow::Cow;
use std::collections::BTreeMap;

use jiff::fmt::strtime;
use jiff::{Timestamp, civil};
use tieline_store::object_tables::ColumnKind;

use super::cell::{self, Cell};
use super::moment;
use super::transform::{Marks, Otherwise, Transform};

/// Why a value has no place in its column.
pub(super) type Reason = Cow<'static, str>;

/// The steps from a value of the org's to one of the column's kind.
#[derive(Debug, Clone)]
pub(super) struct Chain {
    steps: Vec<Transform>,
    /// What the column keeps.
    kind: ColumnKind,
    /// Nothing is to be done.
    pub(super) plain: bool,
}

/// Memory that is used for one value after the other.
#[derive(Debug, Default)]
pub(super) struct Buffer {
    text: String,
    spare: String,
}

/// What a value is between two steps; a text is in the buffer.
#[derive(Clone, Copy)]
enum Now {
    /// Empty: nothing.
    Text,
    Digits,
    Json,
    Date(i64),
    Other(Cell<'static>),
}

impl Chain {
    /// Makes the chain ready. `from`: the kind of what goes in.
    ///
    /// # Errors
    /// The number of the step, if it is one that is wrong, and why.
    pub(super) fn new(
        steps: &[Transform],
        from: ColumnKind,
        kind: Option<ColumnKind>,
    ) -> Result<Self, (Option<usize>, String)> {
        let mut now = from;
        for (n, step) in steps.iter().enumerate() {
            now = after(step, now).map_err(|reason| (Some(n), reason))?;
        }
        let kind = kind.unwrap_or(now);
        if !converts(now, kind) {
            return Err((None, format!("{} does not become {}", with_article(now), with_article(kind))));
        }
        Ok(Self { steps: steps.to_vec(), kind, plain: steps.is_empty() && now == kind })
    }

    pub(super) fn kind(&self) -> ColumnKind {
        self.kind
    }

    /// Runs a value through; none: there is nothing left of it.
    pub(super) fn run<'b>(&self, value: Cell<'b>, buffer: &'b mut Buffer) -> Result<Option<Cell<'b>>, Reason> {
        if self.steps.is_empty() {
            return convert_cell(value, self.kind, buffer);
        }
        let mut now = enter(value, buffer);
        for step in &self.steps {
            let Some(next) = run_step(step, now, buffer)? else { return Ok(None) };
            now = next;
        }
        match now {
            Now::Text if buffer.text.is_empty() => Ok(None),
            Now::Text => from_text(self.kind, buffer),
            Now::Digits | Now::Json if self.kind == ColumnKind::Text => Ok(Some(Cell::Text(&buffer.text))),
            Now::Digits => convert_digits(self.kind, buffer),
            Now::Json => Ok(Some(Cell::Json(&buffer.text))),
            Now::Date(days) => convert_cell(Cell::Date(days), self.kind, buffer),
            Now::Other(cell) => convert_cell(cell, self.kind, buffer),
        }
    }
}

fn with_article(kind: ColumnKind) -> &'static str {
    match kind {
        ColumnKind::Text => "a text",
        ColumnKind::Integer => "a whole number",
        ColumnKind::Number => "a number",
        ColumnKind::Bool => "true or false",
        ColumnKind::Date => "a date",
        ColumnKind::DateTime => "a date and time",
        ColumnKind::Time => "a time of day",
        ColumnKind::Json => "JSON",
    }
}

/// Whether values of one kind can become values of another: all do become texts and JSON, and of a text it is seen value
/// by value.
fn converts(from: ColumnKind, to: ColumnKind) -> bool {
    use ColumnKind::{Bool, Date, DateTime, Integer, Json, Number, Text};
    from == to
        || matches!((from, to), (_, Text | Json) | (Text, _) | (Bool, Integer | Number))
        || matches!((from, to), (Integer, Number) | (Number, Integer) | (Date, DateTime) | (DateTime, Date))
}

/// The kind behind a step.
fn after(step: &Transform, kind: ColumnKind) -> Result<ColumnKind, String> {
    Ok(match step {
        Transform::Date(form) => {
            readable(form)?;
            ColumnKind::Date
        }
        Transform::Format(form) => {
            let sample = civil::date(2024, 1, 2);
            let written = match kind {
                ColumnKind::Date => strtime::format(form, sample),
                ColumnKind::DateTime => strtime::format(form, Timestamp::UNIX_EPOCH),
                ColumnKind::Time => strtime::format(form, civil::time(3, 4, 5, 0)),
                _ => return Err(format!("`format` writes dates and times, and this is {}", with_article(kind))),
            };
            written.map_err(|error| format!("`{form}` is no form of {}: {error}", with_article(kind)))?;
            ColumnKind::Text
        }
        Transform::Split => ColumnKind::Json,
        Transform::Number(_) => ColumnKind::Number,
        Transform::Truncate(0) => return Err("`truncate` leaves at least one character".to_owned()),
        Transform::Replace(from, _) if from.is_empty() => return Err("`replace` needs something to replace".to_owned()),
        Transform::Phone(region) => super::phone::region(region).map(|_| ColumnKind::Text)?,
        _ => ColumnKind::Text,
    })
}

/// A form in which a date that is written can be read again.
fn readable(form: &str) -> Result<(), String> {
    let sample = civil::date(2024, 11, 23);
    let read = strtime::format(form, sample).and_then(|text| civil::Date::strptime(form, text));
    match read {
        Ok(date) if date == sample => Ok(()),
        Ok(_) => Err(format!("`{form}` is no form of a date: it needs day, month and year, such as `%d.%m.%Y`")),
        Err(error) => Err(format!("`{form}` is no form of a date, such as `%d.%m.%Y`: {error}")),
    }
}

fn enter(value: Cell<'_>, buffer: &mut Buffer) -> Now {
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

fn run_step(step: &Transform, now: Now, buffer: &mut Buffer) -> Result<Option<Now>, Reason> {
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

/// The text in the buffer as a value of a kind.
fn from_text(kind: ColumnKind, buffer: &mut Buffer) -> Result<Option<Cell<'_>>, Reason> {
    if kind == ColumnKind::Json {
        return json_text(buffer).map(Some);
    }
    cell::read(kind, &buffer.text).map(Some).map_err(Cow::Borrowed)
}

/// The text in the buffer as a JSON text.
fn json_text(buffer: &mut Buffer) -> Result<Cell<'_>, Reason> {
    buffer.spare = serde_json::to_string(&buffer.text).map_err(|error| Cow::Owned(error.to_string()))?;
    Ok(Cell::Json(&buffer.spare))
}

fn convert_digits(kind: ColumnKind, buffer: &Buffer) -> Result<Option<Cell<'_>>, Reason> {
    match kind {
        ColumnKind::Integer => cell::read(kind, &buffer.text).map(Some).map_err(Cow::Borrowed),
        ColumnKind::Json => Ok(Some(Cell::Json(&buffer.text))),
        _ => Ok(Some(Cell::Digits(&buffer.text))),
    }
}

fn convert_cell<'b>(value: Cell<'b>, kind: ColumnKind, buffer: &'b mut Buffer) -> Result<Option<Cell<'b>>, Reason> {
    const DAY: i64 = 86_400_000;
    if value.kind() == kind {
        return Ok(Some(value));
    }
    Ok(Some(match (value, kind) {
        (Cell::Bool(truth), ColumnKind::Integer) => Cell::Int(i64::from(truth)),
        (Cell::Bool(truth), ColumnKind::Number) => Cell::Digits(if truth { "1" } else { "0" }),
        (Cell::Date(days), ColumnKind::DateTime) => Cell::DateTime(days * DAY),
        (Cell::DateTime(at), ColumnKind::Date) => Cell::Date(at.div_euclid(DAY)),
        (Cell::Digits(digits), ColumnKind::Json) => Cell::Json(digits),
        (Cell::Digits(digits), ColumnKind::Integer) => cell::read(kind, digits).map_err(Cow::Borrowed)?,
        (Cell::Text(text), ColumnKind::Json) => {
            buffer.text.clear();
            buffer.text.push_str(text);
            json_text(buffer)?
        }
        (Cell::Text(text), _) => cell::read(kind, text).map_err(Cow::Borrowed)?,
        (value, kind) => {
            buffer.text.clear();
            value.append(&mut buffer.text);
            match (value, kind) {
                (_, ColumnKind::Text) => Cell::Text(&buffer.text),
                (Cell::Int(_), ColumnKind::Number) => Cell::Digits(&buffer.text),
                (Cell::Int(_) | Cell::Bool(_), ColumnKind::Json) => Cell::Json(&buffer.text),
                (_, ColumnKind::Json) => json_text(buffer)?,
                // The plan has no such chain.
                _ => return Err(Cow::Borrowed("it does not fit the column's kind")),
            }
        }
    }))
}
