//! What is kept of people: finding it, erasing it, and keeping those who were erased from coming back.
//!
//! Reading order: here (who is meant, and which rows are theirs), `markers` (what is left of somebody who was erased),
//! `objects` (the tables of mappings), [`erasure`], [`access`].

pub mod access;
pub mod erasure;
mod markers;
mod objects;

pub(crate) use markers::{Digests, Markers, hold, hold_alone};
pub(crate) use objects::{addresses, tables};
pub use {access::PersonData, erasure::Erasure, erasure::Removed};

use std::collections::{BTreeMap, BTreeSet, HashSet};

use futures_util::StreamExt;
use uuid::Uuid;

use crate::error::StoreError;
use crate::leads::SourceType;
use crate::object_tables::ObjectTable;
use crate::sql::{Row, Tx, Value};

/// Who is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Person<'a> {
    /// Everybody with this e-mail address, in whatever case.
    Email(&'a str),
    /// Who has this id at a source.
    Source {
        /// The kind of source.
        kind: SourceType,
        /// The source's id: of Salesforce, in 18 characters.
        id: &'a str,
    },
}

/// The tables with a row for a person.
const PEOPLE: [&str; 2] = ["contacts", "leads"];

/// What is read of a row to know whose it is.
const NAMES: &str = "id, source_type, source_id, email, name, phone, first_name, last_name";

/// Texts that name a person are as long as this; a shorter one would be found within other words.
const LONG_ENOUGH: usize = 6;

/// Texts of one statement that looks for them: SQLite takes expressions of a depth of 1,000.
const TEXTS: usize = 40;

/// What is a person's.
#[derive(Debug, Default)]
struct Found {
    contacts: Vec<Uuid>,
    leads: Vec<Uuid>,
    /// Those of both.
    seen: HashSet<Uuid>,
    /// By source type.
    sources: BTreeSet<(String, String)>,
    /// What names them, wherever it stands: addresses, ids, full names, telephone numbers.
    texts: BTreeSet<String>,
    /// Their telephone numbers.
    numbers: BTreeSet<String>,
    /// The records of mappings that are theirs, by table.
    objects: BTreeMap<String, Vec<serde_json::Value>>,
}

impl Found {
    /// The ids that an import may have.
    fn imported(&self) -> Vec<String> {
        let own = SourceType::Salesforce.name();
        self.sources.iter().filter(|(kind, _)| kind == own).map(|(_, id)| id.clone()).collect()
    }

    fn take(&mut self, table: &str, row: &Row) -> Result<(), StoreError> {
        let rows = if table == "contacts" { &mut self.contacts } else { &mut self.leads };
        let id: Uuid = row.get("id")?;
        if !self.seen.insert(id) {
            return Ok(());
        }
        rows.push(id);
        self.texts.insert(id.to_string());
        let (kind, source_id): (String, String) = (row.get("source_type")?, row.get("source_id")?);
        self.name(&kind, &source_id);
        self.sources.insert((kind, source_id));
        for column in ["email", "phone"] {
            self.say(row.find::<String>(column)?.as_deref());
        }
        self.number(row.find::<String>("phone")?.as_deref());
        // One word may be any word.
        let name = row.find::<String>("name")?.filter(|name| name.trim().contains(char::is_whitespace));
        self.say(name.as_deref());
        let parts: [Option<String>; 2] = [row.find("first_name")?, row.find("last_name")?];
        if let [Some(first), Some(last)] = parts {
            self.say(Some(&format!("{first} {last}")));
        }
        Ok(())
    }

    fn name(&mut self, kind: &str, source_id: &str) {
        // The last three of Salesforce's 18 characters only repeat what the first 15 say, and are left out at times.
        let is_long = kind == SourceType::Salesforce.name() && source_id.len() == 18 && source_id.is_ascii();
        self.say(Some(if is_long { &source_id[..15] } else { source_id }));
    }

    fn number(&mut self, number: Option<&str>) {
        let number = number.unwrap_or_default().trim();
        if number.chars().count() >= LONG_ENOUGH {
            self.numbers.insert(number.to_owned());
        }
    }

    fn say(&mut self, text: Option<&str>) {
        let text = text.unwrap_or_default().trim();
        if text.chars().count() >= LONG_ENOUGH {
            self.texts.insert(text.to_owned());
        }
    }
}

/// The rows of a person: those with the address or id, all others that the same source ids have, and what was merged
/// with them; and the records of mappings with these ids.
async fn find(tx: &mut Tx, business: Uuid, person: &Person<'_>, tables: &[ObjectTable]) -> Result<Found, StoreError> {
    let mut found = Found::default();
    match person {
        Person::Email(email) => {
            let email = folded(email);
            found.say(Some(&email));
            for id in objects::ids_of(tx, tables, &email).await? {
                found.name(objects::source(), &id);
                found.sources.insert((objects::source().to_owned(), id));
            }
            for table in PEOPLE {
                // What is no more than alike is looked at one by one, and not kept.
                let (condition, value) = match email.is_ascii() {
                    true => ("lower(trim(email)) = $2", email.clone()),
                    false => ("lower(email) LIKE $2 ESCAPE '\\'", candidates(&email)),
                };
                let query = tx.query(format!("SELECT {NAMES} FROM {table} WHERE business_id = $1 AND {condition}"));
                let mut rows = query.bind(business).bind(value).stream()?;
                while let Some(row) = rows.next().await {
                    let row = row?;
                    if row.find::<String>("email")?.is_some_and(|held| folded(&held) == email) {
                        found.take(table, &row)?;
                    }
                }
            }
        }
        Person::Source { kind, id } => {
            // An id of Salesforce's is like nothing else; one of another source may be any word, and is looked for in
            // texts where there is a row of it.
            if *kind == SourceType::Salesforce {
                found.name(kind.name(), id);
            }
            found.sources.insert((kind.name().to_owned(), (*id).to_owned()));
        }
    }
    parts(tx, business, &mut found).await?;
    let sources = found.sources.clone();
    let kinds: BTreeSet<&String> = sources.iter().map(|(kind, _)| kind).collect();
    for kind in kinds {
        let ids: Vec<String> = sources.iter().filter(|(of, _)| of == kind).map(|(_, id)| id.clone()).collect();
        for table in PEOPLE {
            let rows = tx
                .query(format!(
                    "SELECT {NAMES} FROM {table} WHERE business_id = $1 AND source_type = $2 AND source_id = ANY($3)"
                ))
                .bind(business)
                .bind(kind)
                .bind(ids.clone())
                .all()
                .await?;
            for row in &rows {
                found.take(table, row)?;
            }
        }
    }
    parts(tx, business, &mut found).await?;
    found.objects = objects::records(tx, tables, &mut found).await?;
    Ok(found)
}

/// Rows that were merged with those that were found: somebody has said that they are one person.
async fn parts(tx: &mut Tx, business: Uuid, found: &mut Found) -> Result<(), StoreError> {
    for table in PEOPLE {
        loop {
            let rows = if table == "contacts" { &found.contacts } else { &found.leads };
            let (known, ids) = (rows.len(), rows.clone());
            let rows = tx
                .query(format!(
                    "SELECT {NAMES} FROM {table} WHERE business_id = $1 AND (merged_into = ANY($2) OR id IN
                     (SELECT merged_into FROM {table} WHERE business_id = $1 AND merged_into IS NOT NULL AND id = ANY($2)))"
                ))
                .bind(business)
                .bind(ids)
                .all()
                .await?;
            for row in &rows {
                found.take(table, row)?;
            }
            let rows = if table == "contacts" { &found.contacts } else { &found.leads };
            if rows.len() == known {
                break;
            }
        }
    }
    Ok(())
}

/// An address as it is compared.
fn folded(email: &str) -> String {
    email.trim().to_lowercase()
}

/// A pattern of LIKE for all that may be this address: SQLite's `lower` knows ASCII alone, and sources leave spaces at
/// ends.
fn candidates(email: &str) -> String {
    let mut pattern = "%".to_owned();
    for c in email.chars() {
        match c {
            '\\' | '%' | '_' => pattern.extend(['\\', c]),
            c if c.is_ascii() => pattern.push(c),
            _ => pattern.push('%'),
        }
    }
    pattern + "%"
}

/// Conditions for columns that hold one of these texts, in whatever case, with their values: `$1` is the business.
///
/// Beyond ASCII, SQLite tells cases apart: there a text is found as the person's row has it.
fn naming(columns: &[&str], texts: &[&String]) -> (String, Vec<Value>) {
    let (mut sql, mut values): (String, Vec<Value>) = (String::new(), Vec::new());
    for text in texts {
        let json = serde_json::Value::from(text.as_str()).to_string();
        let forms: BTreeSet<&str> = [text.as_str(), json.trim_matches('"')].into_iter().collect();
        for form in forms {
            let mut also = |left: &str, pattern: String, right: &str| {
                values.push(pattern.into());
                for column in columns {
                    let or = if sql.is_empty() { "" } else { " OR " };
                    let n = values.len() + 1;
                    sql.push_str(&format!("{or}{left}CAST({column} AS text){right} LIKE ${n} ESCAPE '\\'"));
                }
            };
            also("lower(", containing(&form.to_lowercase()), ")");
            if !form.is_ascii() {
                also("", containing(form), "");
            }
        }
    }
    (sql, values)
}

fn containing(text: &str) -> String {
    let mut pattern = "%".to_owned();
    for c in text.chars() {
        if matches!(c, '\\' | '%' | '_') {
            pattern.push('\\');
        }
        pattern.push(c);
    }
    pattern + "%"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_looked_for_in_every_case_and_nothing_in_it_is_a_wildcard() {
        assert_eq!(folded(" Ada_L@Example.COM "), "ada_l@example.com");
        assert_eq!(candidates("ada_l@müller.de"), "%ada\\_l@m%ller.de%");
    }

    #[test]
    fn short_texts_name_nobody_and_ids_are_looked_for_without_their_check_characters() {
        let mut found = Found::default();
        found.say(Some("Li"));
        found.say(None);
        found.name("salesforce", "003000000000001AAA");
        found.name("csv", "003000000000001AAA");
        let texts: Vec<&str> = found.texts.iter().map(String::as_str).collect();
        assert_eq!(texts, ["003000000000001", "003000000000001AAA"]);
    }
}
