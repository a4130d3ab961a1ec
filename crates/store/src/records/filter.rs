//! Filters: a column, an operator and values, checked against the source's columns. Only names that the source has become
//! part of a statement; values are bound.

use jiff::Timestamp;
use jiff::civil::{Date, Time};

use super::source::RecordSource;
use crate::object_tables::{Column, ColumnKind, decimal};
use crate::sql::Value;

/// Values of one filter.
const MOST_VALUES: usize = 100;

/// How a column is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Operator {
    /// The same.
    Eq,
    /// Another one, or none.
    Ne,
    /// Greater.
    Gt,
    /// Greater or the same.
    Gte,
    /// Less.
    Lt,
    /// Less or the same.
    Lte,
    /// One of several.
    In,
    /// Begins so.
    Prefix,
    /// Whether there is none.
    Null,
}

impl Operator {
    /// All of them.
    pub const ALL: [Operator; 9] = [
        Operator::Eq,
        Operator::Ne,
        Operator::Gt,
        Operator::Gte,
        Operator::Lt,
        Operator::Lte,
        Operator::In,
        Operator::Prefix,
        Operator::Null,
    ];

    /// Its name in a query.
    pub fn name(self) -> &'static str {
        match self {
            Operator::Eq => "eq",
            Operator::Ne => "ne",
            Operator::Gt => "gt",
            Operator::Gte => "gte",
            Operator::Lt => "lt",
            Operator::Lte => "lte",
            Operator::In => "in",
            Operator::Prefix => "prefix",
            Operator::Null => "null",
        }
    }

    fn sign(self) -> &'static str {
        match self {
            Operator::Ne => "IS DISTINCT FROM",
            Operator::Gt => ">",
            Operator::Gte => ">=",
            Operator::Lt => "<",
            Operator::Lte => "<=",
            Operator::Eq | Operator::In | Operator::Prefix | Operator::Null => "=",
        }
    }
}

/// Why records cannot be asked for like that.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FilterError {
    /// There is no such column.
    #[error("there is no column `{name}`")]
    Column {
        /// As it was asked for.
        name: String,
        /// The one that is most like it.
        nearest: String,
    },
    /// There is no such operator.
    #[error("there is no operator `{name}`")]
    Operator {
        /// As it was asked for.
        name: String,
        /// The one that is most like it.
        nearest: &'static str,
    },
    /// A column of that kind is not compared so.
    #[error("`{column}` cannot be compared by `{operator}`")]
    Unfit {
        /// The column.
        column: String,
        /// The operator.
        operator: &'static str,
    },
    /// A value that the column cannot have.
    #[error("a value of `{filter}` is {expected}, and this is none")]
    Value {
        /// Operator and column.
        filter: String,
        /// What it is to be.
        expected: &'static str,
    },
    /// Too many values.
    #[error("`{filter}` has more than {MOST_VALUES} values")]
    Long {
        /// Operator and column.
        filter: String,
    },
}

impl FilterError {
    /// The next act.
    pub fn hint(&self) -> String {
        match self {
            FilterError::Column { nearest, .. } => format!("did you mean `{nearest}`?"),
            FilterError::Operator { nearest, .. } => format!("did you mean `{nearest}`?"),
            FilterError::Unfit { operator: "prefix", .. } => "`prefix` is for texts".to_owned(),
            FilterError::Unfit { .. } => {
                "values of JSON have `null` alone, and truth values `eq`, `ne` and `null`".to_owned()
            }
            FilterError::Value { .. } => "write it as the answers have it".to_owned(),
            FilterError::Long { .. } => "ask several times".to_owned(),
        }
    }
}

/// One condition, checked.
#[derive(Debug, Clone)]
pub struct Filter {
    column: String,
    kind: ColumnKind,
    operator: Operator,
    /// In the form that the column's kind has in SQLite.
    values: Vec<Bound>,
}

#[derive(Debug, Clone)]
enum Bound {
    Text(String),
    Int(i64),
    Bool(bool),
}

impl Filter {
    /// Of an operator, a column and what stands behind the sign: for `in` several, parted by commas (`\,` is a comma, and
    /// `\\` a backslash).
    ///
    /// # Errors
    /// [`FilterError`] says what is wrong with it.
    pub fn new(source: &RecordSource, operator: &str, column: &str, text: &str) -> Result<Self, FilterError> {
        let Some(operator) = Operator::ALL.into_iter().find(|known| known.name() == operator) else {
            let nearest = nearest(operator, Operator::ALL.into_iter().map(Operator::name)).unwrap_or_default();
            return Err(FilterError::Operator { name: operator.to_owned(), nearest });
        };
        let Some(kind) = source.kind(column) else { return Err(unknown(source, column)) };
        let ordered = !matches!(kind, ColumnKind::Json | ColumnKind::Bool);
        let fits = match operator {
            Operator::Null => true,
            Operator::Eq | Operator::Ne => kind != ColumnKind::Json,
            Operator::Prefix => kind == ColumnKind::Text,
            Operator::Gt | Operator::Gte | Operator::Lt | Operator::Lte | Operator::In => ordered,
        };
        if !fits {
            return Err(FilterError::Unfit { column: column.to_owned(), operator: operator.name() });
        }
        let filter = || format!("{}.{column}", operator.name());
        let values = match operator {
            Operator::In => listed(text),
            _ => vec![text.to_owned()],
        };
        if values.len() > MOST_VALUES {
            return Err(FilterError::Long { filter: filter() });
        }
        let kind_of_value = if operator == Operator::Null { ColumnKind::Bool } else { kind };
        let values = values.iter().map(|text| {
            bound(text, kind_of_value)
                .ok_or_else(|| FilterError::Value { filter: filter(), expected: expected(kind_of_value) })
        });
        Ok(Self { column: column.to_owned(), kind, operator, values: values.collect::<Result<_, _>>()? })
    }

    /// The condition, with its values behind those that are there already.
    pub(super) fn sql(&self, source: &RecordSource, postgres: bool, values: &mut Vec<Value>) -> String {
        let column = source.compared(&self.column, postgres);
        let mut place = |bound: &Bound| {
            values.push(match bound {
                Bound::Text(text) => text.as_str().into(),
                Bound::Int(number) => (*number).into(),
                Bound::Bool(truth) => (*truth).into(),
            });
            let place = format!("${}", values.len());
            match (self.kind, postgres) {
                (ColumnKind::Number, true) => format!("CAST({place} AS numeric)"),
                (ColumnKind::Number, false) => format!("CAST({place} AS REAL)"),
                (ColumnKind::Date, true) => format!("CAST({place} AS date)"),
                (ColumnKind::DateTime, true) => format!("CAST({place} AS timestamptz)"),
                (ColumnKind::Time, true) => format!("CAST({place} AS time)"),
                _ => place,
            }
        };
        // By byte in either database; and numbers that SQLite keeps as digits beside those that it keeps as numbers.
        let compared = match (self.kind, postgres) {
            (ColumnKind::Text, true) => format!("{column} COLLATE \"C\""),
            (ColumnKind::Number, false) => format!("CAST({column} AS REAL)"),
            _ => column.clone(),
        };
        match (self.operator, &self.values[..]) {
            (Operator::Null, [Bound::Bool(false)]) => format!("{column} IS NOT NULL"),
            (Operator::Null, _) => format!("{column} IS NULL"),
            (Operator::In, all) => {
                let places: Vec<String> = all.iter().map(place).collect();
                format!("{compared} IN ({})", places.join(", "))
            }
            (Operator::Prefix, [prefix, ..]) if postgres => format!("starts_with({column}, {})", place(prefix)),
            (Operator::Prefix, [prefix, ..]) => {
                let place = place(prefix);
                format!("substr({column}, 1, length({place})) = {place}")
            }
            (operator, [value, ..]) => format!("{compared} {} {}", operator.sign(), place(value)),
            (_, []) => "false".to_owned(),
        }
    }
}

/// The columns that were asked for, in that order.
///
/// # Errors
/// [`FilterError::Column`] for one that there is not.
pub fn chosen<'s>(source: &'s RecordSource, names: &[&str]) -> Result<Vec<&'s Column>, FilterError> {
    let mut chosen: Vec<&Column> = Vec::with_capacity(names.len());
    for name in names {
        let Some(column) = source.columns().iter().find(|column| column.name == *name) else {
            let nearest = nearest(name, source.columns().iter().map(|column| column.name.as_str()));
            return Err(FilterError::Column {
                name: (*name).to_owned(),
                nearest: nearest.unwrap_or_default().to_owned(),
            });
        };
        if !chosen.iter().any(|there| there.name == column.name) {
            chosen.push(column);
        }
    }
    Ok(chosen)
}

fn unknown(source: &RecordSource, name: &str) -> FilterError {
    let nearest = nearest(name, source.names()).unwrap_or_default().to_owned();
    FilterError::Column { name: name.to_owned(), nearest }
}

/// Values parted by commas.
fn listed(text: &str) -> Vec<String> {
    let mut values = vec![String::new()];
    let mut characters = text.chars();
    while let Some(c) = characters.next() {
        match c {
            ',' => values.push(String::new()),
            '\\' => values.last_mut().unwrap_or(&mut String::new()).extend(characters.next()),
            c => values.last_mut().unwrap_or(&mut String::new()).push(c),
        }
    }
    values
}

fn bound(text: &str, kind: ColumnKind) -> Option<Bound> {
    Some(match kind {
        ColumnKind::Text => Bound::Text(text.to_owned()),
        ColumnKind::Integer => Bound::Int(text.parse().ok()?),
        ColumnKind::Number => Bound::Text(decimal::plain(text)?),
        ColumnKind::Bool => Bound::Bool(text.parse().ok()?),
        ColumnKind::Date => Bound::Text(text.parse::<Date>().ok()?.to_string()),
        ColumnKind::DateTime => {
            let at = Timestamp::from_millisecond(text.parse::<Timestamp>().ok()?.as_millisecond()).ok()?;
            Bound::Text(format!("{at:.3}"))
        }
        ColumnKind::Time => Bound::Text(format!("{:.3}", text.parse::<Time>().ok()?)),
        ColumnKind::Json => return None,
    })
}

fn expected(kind: ColumnKind) -> &'static str {
    match kind {
        ColumnKind::Text | ColumnKind::Json => "a text",
        ColumnKind::Integer => "a whole number",
        ColumnKind::Number => "a number",
        ColumnKind::Bool => "`true` or `false`",
        ColumnKind::Date => "a date such as `2026-06-01`",
        ColumnKind::DateTime => "a time such as `2026-06-01T12:00:00Z`",
        ColumnKind::Time => "a time of day such as `12:00:00`",
    }
}

/// The name that is most like another one, by the number of characters to change.
pub fn nearest<'a>(wanted: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // Somebody's text, of any length.
    let wanted: Vec<char> = wanted.chars().take(100).collect();
    names.into_iter().min_by_key(|name| distance(&wanted, name))
}

/// Levenshtein's.
fn distance(one: &[char], other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (n, a) in one.iter().enumerate() {
        let mut before = row[0];
        row[0] = n + 1;
        for (m, b) in other.iter().enumerate() {
            let kept = before + usize::from(a != b);
            before = row[m + 1];
            row[m + 1] = kept.min(row[m] + 1).min(before + 1);
        }
    }
    row[other.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_parted_by_commas_that_nothing_stands_before() {
        assert_eq!(listed("a,b"), ["a", "b"]);
        assert_eq!(listed(r"a\,b,\\,"), ["a,b", "\\", ""]);
        assert_eq!(listed(r"a\"), ["a"]);
    }

    #[test]
    fn the_nearest_name_has_the_fewest_changes() {
        assert_eq!(nearest("emial", ["name", "email", "phone"]), Some("email"));
        assert_eq!(nearest(&"x".repeat(100_000), ["a"]), Some("a"));
    }

    #[test]
    fn a_name_that_the_source_does_not_have_is_no_part_of_a_statement() {
        let source = RecordSource::contacts(uuid::Uuid::nil());
        for name in ["email\" = '' OR 1=1 --", "business_id", "", "Email", "change"] {
            let refused = Filter::new(&source, "eq", name, "x").unwrap_err();
            assert!(matches!(refused, FilterError::Column { .. }), "{name}: {refused}");
        }
        let refused = Filter::new(&source, "like", "email", "x").unwrap_err();
        assert!(matches!(refused, FilterError::Operator { .. }), "{refused}");
        let mut values = Vec::new();
        let filter = Filter::new(&source, "eq", "email", "'; DROP TABLE users; --").unwrap();
        assert_eq!(filter.sql(&source, true, &mut values), "email COLLATE \"C\" = $1");
        assert_eq!(values.len(), 1);
    }

    #[test]
    fn values_are_of_the_columns_kind() {
        for (text, kind, good) in [
            ("5", ColumnKind::Integer, true),
            ("5.0", ColumnKind::Integer, false),
            ("1e3", ColumnKind::Number, true),
            ("NaN", ColumnKind::Number, false),
            ("1", ColumnKind::Bool, false),
            ("2026-06-31", ColumnKind::Date, false),
            ("2026-06-01T14:00:00+02:00", ColumnKind::DateTime, true),
            ("2026-06-01", ColumnKind::DateTime, false),
            ("12:00", ColumnKind::Time, true),
            ("{}", ColumnKind::Json, false),
        ] {
            assert_eq!(bound(text, kind).is_some(), good, "{text} {kind:?}");
        }
    }
}
