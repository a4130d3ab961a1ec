//! A column's transforms, made ready to be run.

use std::borrow::Cow;

use jiff::fmt::strtime;
use jiff::{Timestamp, civil};
use tieline_store::object_tables::ColumnKind;

use super::cell::{self, Cell};
use super::steps::{Now, enter, run_step};
use super::transform::Transform;

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
    pub(super) text: String,
    pub(super) spare: String,
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
