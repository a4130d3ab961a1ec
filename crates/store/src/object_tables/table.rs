//! What a table is like: its name and its columns.

/// Longest name of a table or column. PostgreSQL cuts at 63 bytes.
const LONGEST_NAME: usize = 63;
/// Most columns beside ours. SQLite has 2,000 and PostgreSQL 1,600; Salesforce has 800 custom fields at most.
const MOST_COLUMNS: usize = 1_200;

/// What a column keeps.
///
/// | | SQLite | PostgreSQL |
/// | --- | --- | --- |
/// | `Text` | `TEXT` | `text` |
/// | `Integer` | `INTEGER` | `bigint` |
/// | `Number` | `ANY`: a number, or its text where a double would round it | `numeric` |
/// | `Bool` | `INTEGER`, 0 or 1 | `boolean` |
/// | `Date` | `TEXT`, `2026-06-01` | `date` |
/// | `DateTime` | `TEXT`, `2026-06-01T12:00:00.000Z` | `timestamptz` |
/// | `Time` | `TEXT`, `12:00:00.000` | `time` |
/// | `Json` | `TEXT` | `jsonb` |
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ColumnKind {
    /// Characters.
    Text,
    /// Whole numbers of 64 bits.
    Integer,
    /// Decimal numbers, exact.
    Number,
    /// True or false.
    Bool,
    /// A day.
    Date,
    /// A moment, to a millisecond.
    DateTime,
    /// A time of day, to a millisecond.
    Time,
    /// Anything, as JSON.
    Json,
}

impl ColumnKind {
    /// Its name in definitions and in the API.
    pub fn name(self) -> &'static str {
        match self {
            ColumnKind::Text => "text",
            ColumnKind::Integer => "integer",
            ColumnKind::Number => "number",
            ColumnKind::Bool => "bool",
            ColumnKind::Date => "date",
            ColumnKind::DateTime => "date_time",
            ColumnKind::Time => "time",
            ColumnKind::Json => "json",
        }
    }
}

/// A column of a mapping's own.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// What it keeps.
    pub kind: ColumnKind,
}

impl Column {
    /// Whether a table can have it.
    ///
    /// # Errors
    /// [`TableError`], if its name is none, or one of ours.
    pub fn check(&self) -> Result<(), TableError> {
        if self.name == "id" || self.name.starts_with('_') {
            return Err(TableError::Reserved(self.name.clone()));
        }
        checked(&self.name)
    }
}

/// Why a table cannot be like that.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TableError {
    /// A name that is none.
    #[error("`{0}` cannot name a table or column: a name has up to 63 of a-z, 0-9 and _, and begins with a letter")]
    Name(String),
    /// A name that we need ourselves.
    #[error("the column `{0}` is one of tieline's own")]
    Reserved(String),
    /// Two of one name.
    #[error("there are two columns `{0}`")]
    Twice(String),
    /// Too many.
    #[error("a table with {0} columns is too wide: it has {MOST_COLUMNS} at most")]
    TooWide(usize),
}

/// A table of a mapping's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectTable {
    name: String,
    columns: Vec<Column>,
}

impl ObjectTable {
    /// A table with these columns, beside ours.
    ///
    /// # Errors
    /// [`TableError`], if a database could not have it so.
    pub fn new(name: &str, columns: Vec<Column>) -> Result<Self, TableError> {
        checked(name)?;
        if columns.len() > MOST_COLUMNS {
            return Err(TableError::TooWide(columns.len()));
        }
        let mut seen = std::collections::HashSet::new();
        for column in &columns {
            column.check()?;
            if !seen.insert(column.name.as_str()) {
                return Err(TableError::Twice(column.name.clone()));
            }
        }
        Ok(Self { name: name.to_owned(), columns })
    }

    /// The table `contacts`, with what is read into it. The names are the org's own, as far as they are keys of its JSON.
    pub(crate) fn of_contacts(columns: Vec<Column>) -> Self {
        Self { name: crate::mappings::CONTACTS.to_owned(), columns }
    }

    /// Its name in the database.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its columns, without ours.
    pub fn columns(&self) -> &[Column] {
        &self.columns
    }

    /// The same table with other columns.
    #[must_use]
    pub fn with_columns(&self, columns: Vec<Column>) -> Self {
        Self { name: self.name.clone(), columns }
    }

    /// The same table with these of its columns only, by their places.
    ///
    /// # Panics
    /// At a place that it has not.
    #[must_use]
    pub fn part(&self, columns: &[usize]) -> Self {
        Self { name: self.name.clone(), columns: columns.iter().map(|n| self.columns[*n].clone()).collect() }
    }

    /// Name and columns as SQL has them: `"accounts"`, and `"id", …, "_change"` with ours around.
    pub(super) fn quoted_columns(&self) -> Vec<String> {
        let own = self.columns.iter().map(|column| quoted(&column.name));
        std::iter::once(quoted("id")).chain(own).chain(OURS.map(quoted)).collect()
    }
}

/// Our columns behind the mapped ones, in the order in which they are written.
pub(super) const OURS: [&str; 5] = ["_stamp", "_deleted", "_master_id", "_synced_at", "_change"];

/// Those at the end that say when a row was written, and not what it is: they are not compared.
pub(super) const NOT_COMPARED: usize = 2;

/// A name that was checked, as an identifier of SQL.
pub(crate) fn quoted(name: &str) -> String {
    format!("\"{name}\"")
}

fn checked(name: &str) -> Result<(), TableError> {
    let good = name.len() <= LONGEST_NAME
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
    if good { Ok(()) } else { Err(TableError::Name(name.to_owned())) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(name: &str) -> Column {
        Column { name: name.to_owned(), kind: ColumnKind::Text }
    }

    #[test]
    fn names_are_plain_and_not_ours() {
        assert!(ObjectTable::new("order", vec![text("group"), text("name_2")]).is_ok(), "words of SQL are quoted");
        for name in ["", "Accounts", "a b", "a\"; DROP TABLE users; --", "1a", "_a", "é", &"a".repeat(64)] {
            assert_eq!(ObjectTable::new(name, vec![]), Err(TableError::Name(name.to_owned())));
            assert!(ObjectTable::new("t", vec![text(name)]).is_err(), "{name}");
        }
        assert_eq!(ObjectTable::new("t", vec![text("id")]), Err(TableError::Reserved("id".to_owned())));
        assert_eq!(ObjectTable::new("t", vec![text("_stamp")]), Err(TableError::Reserved("_stamp".to_owned())));
        assert_eq!(ObjectTable::new("t", vec![text("a"), text("a")]), Err(TableError::Twice("a".to_owned())));
    }
}
