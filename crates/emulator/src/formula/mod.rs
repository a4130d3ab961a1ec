//! Formula fields: their text becomes SQL, once, when the field is made. A value is worked out whenever it is read, so
//! it changes with the parent, or with the day, and no stamp of the record moves.
//!
//! A small part of Salesforce's language: text, numbers, dates and the functions of `function`, fields of the record
//! itself and of its parents. What it does not know is refused, never guessed.

mod function;
mod lexer;
mod parse;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use jiff::Timestamp;
use rusqlite::Connection;
use rusqlite::functions::FunctionFlags;

use crate::clock::datetime;
use crate::schema::{Field, FieldKind, SObject, Schema};

/// Where the SQL of a formula names the table that it reads from.
const TABLE: char = '\u{1}';

/// A formula that has been read.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Formula {
    pub(crate) text: String,
    /// "Treat blank fields as zeroes".
    pub(crate) blank_as_zero: bool,
    sql: String,
}

impl Formula {
    /// The SQL of the value, read from a table with this alias.
    pub(crate) fn sql(&self, table: &str) -> String {
        self.sql.replace(TABLE, table)
    }
}

/// What a part of a formula yields.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Text,
    Number,
    Boolean,
    Date,
    DateTime,
}

impl Kind {
    fn of(kind: &FieldKind) -> Option<Self> {
        Some(match kind {
            FieldKind::Id | FieldKind::Text { .. } | FieldKind::Picklist { .. } | FieldKind::Reference { .. } => {
                Kind::Text
            }
            FieldKind::Boolean => Kind::Boolean,
            FieldKind::Int { .. } | FieldKind::Number { .. } => Kind::Number,
            FieldKind::Date => Kind::Date,
            FieldKind::DateTime => Kind::DateTime,
            FieldKind::Time | FieldKind::Address | FieldKind::Location | FieldKind::Base64 => return None,
        })
    }
}

/// A part of a formula, as SQL.
#[derive(Debug, Clone)]
struct Part {
    sql: String,
    kind: Kind,
}

/// Reads a formula of `object` whose value a field of `field`'s type holds.
///
/// # Errors
/// In words, when the text is no formula, names what is not there, or yields another type.
pub(crate) fn compile(
    schema: &Schema,
    object: &SObject,
    field: &Field,
    text: &str,
    blank_as_zero: bool,
) -> Result<Formula, String> {
    let part = parse::read(schema, object, &field.name, text, blank_as_zero)?;
    let wanted = Kind::of(&field.kind).ok_or_else(|| format!("no formula yields a {}", field.kind.type_name()))?;
    if wanted != part.kind {
        return Err(format!(
            "Formula result is data type ({:?}), incompatible with expected data type ({wanted:?})",
            part.kind
        ));
    }
    let sql = match &field.kind {
        FieldKind::Number { scale, .. } => format!("round({}, {scale})", part.sql),
        // Empty text is null, as in any other field.
        FieldKind::Text { .. } => format!("nullif({}, '')", part.sql),
        _ => part.sql,
    };
    Ok(Formula { text: text.to_owned(), blank_as_zero, sql: format!("({sql})") })
}

/// The functions that the SQL of formulas calls; `now` holds the org's time in seconds.
pub(crate) fn register(db: &Connection, now: &Arc<AtomicI64>) -> rusqlite::Result<()> {
    let at = |now: &AtomicI64| datetime(Timestamp::from_second(now.load(Ordering::Relaxed)).unwrap_or_default());
    let cell = now.clone();
    db.create_scalar_function("org_now", 0, FunctionFlags::SQLITE_UTF8, move |_| Ok(at(&cell)))?;
    let cell = now.clone();
    db.create_scalar_function("org_today", 0, FunctionFlags::SQLITE_UTF8, move |_| {
        let mut day = at(&cell);
        day.truncate(10);
        Ok(day)
    })?;
    let flags = FunctionFlags::SQLITE_DETERMINISTIC | FunctionFlags::SQLITE_UTF8;
    // SQLite's own know ASCII only.
    for (name, change) in
        [("formula_upper", str::to_uppercase as fn(&str) -> String), ("formula_lower", str::to_lowercase)]
    {
        db.create_scalar_function(name, 1, flags, move |context| {
            Ok(context.get::<Option<String>>(0)?.map(|text| change(&text)))
        })?;
    }
    db.create_scalar_function("formula_power", 2, flags, |context| {
        let (base, exponent): (Option<f64>, Option<f64>) = (context.get(0)?, context.get(1)?);
        Ok(base.zip(exponent).map(|(base, exponent)| base.powf(exponent)).filter(|power| power.is_finite()))
    })?;
    db.create_scalar_function("formula_text", 1, flags, |context| {
        Ok(context.get::<Option<f64>>(0)?.map(|number| number.to_string()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::records;
    use crate::schema;

    fn value(text: &str, kind: &str) -> Result<rusqlite::types::Value, String> {
        let schema = Schema::standard();
        let contact = schema.object("Contact").expect("a standard object");
        let field = schema::typed_field("F__c", kind, "-").expect("a type");
        let formula = compile(&schema, contact, &field, text, false)?;
        let db = records::open().expect("a database");
        let now = Arc::new(AtomicI64::new(1_800_000_000)); // 2027-01-15T08:00:00Z
        register(&db, &now).expect("functions");
        for object in ["Account", "Contact", "User"] {
            records::create_table(&db, schema.object(object).expect("standard")).expect("a table");
        }
        db.execute_batch(
            "INSERT INTO Account (Id, Name, NumberOfEmployees) VALUES ('001A', 'Acme', 7);
             INSERT INTO Contact (Id, AccountId, FirstName, LastName, Birthdate, CreatedDate)
                VALUES ('003A', '001A', 'Ada', NULL, '2000-01-05', '2027-01-14T20:00:00.000+0000');",
        )
        .expect("rows");
        let sql = format!("SELECT {} FROM Contact t0", formula.sql("t0"));
        db.query_row(&sql, [], |row| row.get(0)).map_err(|e| format!("{e}: {sql}"))
    }

    #[test]
    fn formulas_yield_what_they_say() {
        use rusqlite::types::Value::{Integer, Null, Real, Text};
        let text = |text: &str| Text(text.to_owned());
        for (formula, kind, expected) in [
            ("FirstName & ' of ' & Account.Name", "string 255", text("Ada of Acme")),
            ("\"a\" & LastName & \"\\\"b\"", "string 255", text("a\"b")),
            ("LastName", "string 255", Null),
            ("Account.NumberOfEmployees * 2 + 1 - 6 / 4", "double 18,1", Real(13.5)),
            ("2 ^ 3 ^ 1 - -1", "double 18,0", Real(9.0)),
            ("IF(Account.NumberOfEmployees >= 7 && NOT(ISBLANK(FirstName)), 'big', 'small')", "string 10", text("big")),
            ("IF(LastName = 'x' || FirstName <> 'ada', 1, 2)", "double 3,0", Real(1.0)),
            ("TODAY() - Birthdate", "double 18,0", Real(9872.0)),
            ("TODAY() + 20", "date", text("2027-02-04")),
            ("NOW() - CreatedDate", "double 18,2", Real(0.5)),
            ("NOW()", "datetime", text("2027-01-15T08:00:00.000+0000")),
            ("CreatedDate + 0.5", "datetime", text("2027-01-15T08:00:00.000+0000")),
            ("YEAR(TODAY()) > YEAR(Birthdate)", "boolean", Integer(1)),
            ("CASE(FirstName, 'Bob', 1, 'Ada', 2, 3)", "double 3,0", Real(2.0)),
            ("UPPER(LEFT(FirstName, 2)) & TEXT(LEN(FirstName)) & TEXT(1.5)", "string 10", text("AD31.5")),
            ("BLANKVALUE(LastName, 'none')", "string 10", text("none")),
            ("1 / 0", "double 3,1", Null),
            ("LastName & ''", "string 10", Null),
            ("Account.Owner.Name & 'x'", "string 10", text("x")),
        ] {
            assert_eq!(value(formula, kind), Ok(expected), "{formula}");
        }
    }

    #[test]
    fn what_is_not_known_is_refused() {
        for (formula, problem) in [
            ("Nothing__c", "Field Nothing__c does not exist"),
            ("Account.Nothing__c", "Field Nothing__c does not exist"),
            ("Nothing__r.Name", "Field Nothing__r does not exist"),
            ("VLOOKUP(Name)", "Unknown function VLOOKUP"),
            ("1 + 2", "Formula result is data type (Number)"),
            ("FirstName & 1", "Incorrect parameter type for operator '&'"),
            ("IF(FirstName, 'a', 'b')", "Incorrect parameter type for function 'IF()'"),
            ("FirstName &", "Syntax error"),
            ("F__c & 'x'", "refers to itself"),
            ("LEFT('x')", "Incorrect number of parameters for function 'LEFT()'"),
            ("'open", "Syntax error"),
            (&"(".repeat(500), "Syntax error"),
        ] {
            let told = value(formula, "string 80").expect_err(formula);
            assert!(told.contains(problem), "{formula}: {told}");
        }
    }
}
