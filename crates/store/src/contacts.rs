//! People, as the sources have them.

use std::collections::{HashMap, HashSet};

use futures_util::{Stream, stream};
use jiff::Timestamp;
use serde_json::{Map, Value as Json};
use uuid::Uuid;

use crate::duplicates::{Subject, taken_fields};
use crate::error::StoreError;
use crate::object_tables::{Column, Deletion, Rows};
use crate::open::Tenant;
use crate::runs::StepOutcome;
use crate::sql::{Row, Tx, Value};

/// Rows of one INSERT: 14 values each, well below SQLite's 32,766 parameters and PostgreSQL's 65,535, and few enough statements that
/// the database, not the round trip to its thread, takes the time.
pub(crate) const CHUNK: usize = 250;

/// Rows of one page when all are read.
const PAGE: u32 = 2_000;

/// A contact as a source has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContactRow {
    /// The source's id.
    pub source_id: String,
    /// Given name.
    pub first_name: Option<String>,
    /// Family name.
    pub last_name: Option<String>,
    /// Full name, as the source writes it.
    pub name: Option<String>,
    /// E-mail address.
    pub email: Option<String>,
    /// Phone number, as written.
    pub phone: Option<String>,
    /// Name of the company.
    pub company: Option<String>,
    /// Job title.
    pub title: Option<String>,
    /// The source's other fields: a JSON object.
    pub source_metadata: Json,
    /// The fields that the source's own people have made: a JSON object.
    pub custom_fields: Json,
    /// The source's stamp of this version.
    pub source_stamp: Timestamp,
    /// How it went at the source; none if it is there.
    pub deleted: Option<Deletion>,
}

/// A contact as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contact {
    /// Our id.
    pub id: Uuid,
    /// What the source had.
    pub row: ContactRow,
    /// When this version came.
    pub last_synced_at: Timestamp,
}

impl ContactRow {
    /// A row of the mapping of contacts, with its columns.
    pub fn of(rows: &Rows, row: usize, columns: &[Column]) -> Self {
        let stamp = rows.stamp(row).and_then(|stamp| Timestamp::from_millisecond(stamp).ok());
        let mut contact = Self {
            source_id: rows.id(row).to_owned(),
            first_name: None,
            last_name: None,
            name: None,
            email: None,
            phone: None,
            company: None,
            title: None,
            source_metadata: Json::Object(Map::new()),
            custom_fields: Json::Object(Map::new()),
            source_stamp: stamp.unwrap_or(Timestamp::UNIX_EPOCH),
            deleted: rows.deleted(row),
        };
        contact.take(rows, row, columns);
        contact
    }

    /// Takes cells: columns of its own, custom fields, and the source's other fields. Of JSON what is empty is left out, and
    /// the keys are in order, so that two readings of one version are the same text.
    pub(crate) fn take(&mut self, rows: &Rows, row: usize, columns: &[Column]) {
        for (n, column) in columns.iter().enumerate() {
            let value = match rows.json(row, n, column.kind) {
                // PostgreSQL keeps none.
                Json::String(text) if text.contains('\0') => Json::String(text.replace('\0', "")),
                // REST writes 7.0 where Bulk writes 7.
                Json::Number(number) => number.as_f64().and_then(whole).map_or(Json::Number(number), Json::from),
                value => value,
            };
            if let Some(field) = self.field(&column.name) {
                *field = match value {
                    Json::Null => None,
                    Json::String(text) => Some(text),
                    other => Some(other.to_string()),
                };
                continue;
            }
            let Some(fields) = self.fields_of(&column.name).as_object_mut() else { continue };
            match value {
                Json::Null => drop(fields.shift_remove(&column.name)),
                value => drop(fields.insert(column.name.clone(), value)),
            }
        }
        for fields in [&mut self.source_metadata, &mut self.custom_fields] {
            fields.as_object_mut().into_iter().for_each(Map::sort_keys);
        }
    }

    /// Keeps what another version has in a column that is not read any more.
    pub(crate) fn keep(&mut self, held: &mut ContactRow, column: &str) {
        if let Some(field) = held.field(column).and_then(Option::take) {
            self.set(column, Some(field));
        } else if let Some(value) =
            held.fields_of(column).as_object_mut().and_then(|fields| fields.shift_remove(column))
            && let Some(fields) = self.fields_of(column).as_object_mut()
        {
            fields.insert(column.to_owned(), value);
            fields.sort_keys();
        }
    }

    /// The JSON that has a field of the source: its own people's end in `__c`, and the parts of a place in `__s`.
    fn fields_of(&mut self, name: &str) -> &mut Json {
        if name.ends_with("__c") || name.ends_with("__s") { &mut self.custom_fields } else { &mut self.source_metadata }
    }

    fn set(&mut self, name: &str, to: Option<String>) {
        if let Some(field) = self.field(name) {
            *field = to;
        }
    }

    fn field(&mut self, name: &str) -> Option<&mut Option<String>> {
        Some(match name {
            "first_name" => &mut self.first_name,
            "last_name" => &mut self.last_name,
            "name" => &mut self.name,
            "email" => &mut self.email,
            "phone" => &mut self.phone,
            "company" => &mut self.company,
            "title" => &mut self.title,
            _ => return None,
        })
    }

    /// The columns from `source_id` to `title`.
    pub(crate) fn values(&self) -> [Value; 8] {
        [
            (&self.source_id).into(),
            (&self.first_name).into(),
            (&self.last_name).into(),
            (&self.name).into(),
            (&self.email).into(),
            (&self.phone).into(),
            (&self.company).into(),
            (&self.title).into(),
        ]
    }
}

impl Tenant {
    /// Inserts and updates. A version older than the one held is left aside, and an equal one touches nothing. What is
    /// written gets the number `change`. Who was erased is to be left out before.
    pub(crate) async fn upsert_contacts(
        &self,
        tx: &mut Tx,
        integration: Uuid,
        contacts: &[ContactRow],
        change: i64,
        now: Timestamp,
    ) -> Result<StepOutcome, StoreError> {
        let mut outcome = StepOutcome::default();
        for chunk in contacts.chunks(CHUNK) {
            let ids: Vec<Uuid> = chunk.iter().map(|_| Uuid::now_v7()).collect();
            // $1 to $4 are the same for all rows.
            let mut sql = String::with_capacity(chunk.len() * 120 + 2_000);
            sql.push_str(
                "INSERT INTO contacts (business_id, integration_id, last_synced_at, created_at, change, source_type, sync_status,
                 id, source_id, first_name, last_name, name, email, phone, company, title, source_metadata, custom_fields,
                 source_stamp, deleted, deletion) VALUES ",
            );
            let mut values: Vec<Value> = vec![self.business().into(), integration.into(), now.into(), change.into()];
            for (contact, id) in chunk.iter().zip(&ids) {
                sql.push_str(if values.len() == 4 { "(" } else { ", (" });
                sql.push_str("$1, $2, $3, $3, $4, 'salesforce', 'synced'");
                let first = values.len();
                values.push((*id).into());
                values.extend(contact.values());
                values.push((&contact.source_metadata).into());
                values.push((&contact.custom_fields).into());
                values.push(contact.source_stamp.into());
                values.push(contact.deleted.is_some().into());
                values.push(contact.deleted.map(Deletion::name).into());
                for n in first..values.len() {
                    let _ = std::fmt::Write::write_fmt(&mut sql, format_args!(", ${}", n + 1));
                }
                sql.push(')');
            }
            sql.push_str(
                " ON CONFLICT (business_id, source_type, source_id) DO UPDATE SET
                 integration_id = excluded.integration_id, first_name = excluded.first_name, last_name = excluded.last_name,
                 name = excluded.name, email = excluded.email, phone = excluded.phone, company = excluded.company,
                 title = excluded.title, source_metadata = excluded.source_metadata, custom_fields = excluded.custom_fields,
                 source_stamp = excluded.source_stamp, deleted = excluded.deleted, deletion = excluded.deletion, sync_status = 'synced', last_synced_at = excluded.last_synced_at,
                 change = excluded.change, matched = false
                 WHERE excluded.source_stamp >= contacts.source_stamp AND (
                 excluded.integration_id, excluded.source_stamp, excluded.deletion, excluded.source_metadata,
                 excluded.custom_fields, excluded.first_name, excluded.last_name, excluded.name, excluded.email,
                 excluded.phone, excluded.company, excluded.title) IS DISTINCT FROM (
                 contacts.integration_id, contacts.source_stamp, contacts.deletion, contacts.source_metadata,
                 contacts.custom_fields, contacts.first_name, contacts.last_name, contacts.name, contacts.email,
                 contacts.phone, contacts.company, contacts.title)
                 RETURNING id, deleted",
            );
            let written = tx.query(sql).bind_all(values).all().await?;
            let fresh: HashSet<Uuid> = ids.into_iter().collect();
            for row in &written {
                if fresh.contains(&row.get("id")?) {
                    outcome.inserted += 1;
                } else {
                    outcome.updated += 1;
                }
                outcome.deleted += u64::from(row.get::<bool>("deleted")?);
            }
        }
        Ok(outcome)
    }

    /// These contacts of the org, as they are held, by their source's ids.
    pub(crate) async fn held_contacts(
        &self,
        tx: &mut Tx,
        ids: Vec<String>,
    ) -> Result<HashMap<String, ContactRow>, StoreError> {
        let rows = tx
            .query(
                "SELECT * FROM contacts WHERE business_id = $1 AND source_type = 'salesforce' AND source_id = ANY($2)",
            )
            .bind(self.business())
            .bind(ids)
            .all()
            .await?;
        rows.iter().map(|row| contact(row).map(|contact| (contact.row.source_id.clone(), contact.row))).collect()
    }

    /// Contacts that are not deleted, and no parts of others.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn count_contacts(&self) -> Result<i64, StoreError> {
        let mut tx = self.read("counting the contacts").await?;
        // The first count comes from an index alone, the second reads the rows that are gone. To ask each row whether it is gone
        // would read the whole table.
        tx.query(
            "SELECT (SELECT count(*) FROM contacts WHERE business_id = $1)
                  - (SELECT count(*) FROM contacts WHERE business_id = $1 AND (deleted OR merged_into IS NOT NULL)) AS n",
        )
        .bind(self.business())
        .value("n")
        .await
    }

    /// All contacts in the order of their source ids, tombstones included. They are read page by page: what is
    /// written meanwhile may be seen or not.
    pub fn contacts(&self) -> impl Stream<Item = Result<Contact, StoreError>> + Send + '_ {
        let pages = stream::try_unfold(Some(String::new()), move |after| async move {
            let Some(after) = after else { return Ok(None) };
            let page = self.contacts_after(&after).await?;
            let next = page.last().filter(|_| page.len() == PAGE as usize).map(|contact| contact.row.source_id.clone());
            Ok::<_, StoreError>(Some((page, next)))
        });
        futures_util::TryStreamExt::try_flatten(futures_util::TryStreamExt::map_ok(pages, |page| {
            stream::iter(page.into_iter().map(Ok))
        }))
    }

    async fn contacts_after(&self, source_id: &str) -> Result<Vec<Contact>, StoreError> {
        let mut tx = self.read("reading the contacts").await?;
        let rows = tx
            .query(
                "SELECT * FROM contacts WHERE business_id = $1 AND source_type = 'salesforce' AND source_id > $2
                 ORDER BY source_id LIMIT $3",
            )
            .bind(self.business())
            .bind(source_id)
            .bind(PAGE)
            .all()
            .await?;
        rows.iter().map(contact).collect()
    }

    /// The contacts that changed here last, newest first, tombstones included, without those that have become parts of
    /// others, each with the fields that a merge has taken of them.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn recent_contacts(&self, limit: u32) -> Result<Vec<Contact>, StoreError> {
        let mut tx = self.read("reading the contacts").await?;
        let rows = tx
            .query(
                "SELECT * FROM contacts WHERE business_id = $1 AND merged_into IS NULL
                 ORDER BY last_synced_at DESC, source_stamp DESC, source_id LIMIT $2",
            )
            .bind(self.business())
            .bind(limit)
            .all()
            .await?;
        let mut contacts = Vec::with_capacity(rows.len());
        for row in &rows {
            contacts.push(composed(&mut tx, self.business(), row).await?);
        }
        Ok(contacts)
    }
}

/// A contact as it is shown: with the fields that a merge has taken of others.
pub(crate) async fn composed(tx: &mut Tx, business: Uuid, row: &Row) -> Result<Contact, StoreError> {
    let mut contact = contact(row)?;
    for (name, field) in taken_fields(tx, business, Subject::Contact, row).await? {
        contact.row.set(&name, field);
    }
    Ok(contact)
}

/// A number without a fraction, as far as a double keeps each of them.
fn whole(number: f64) -> Option<i64> {
    (number.fract() == 0.0 && number.abs() < 9_007_199_254_740_992.0).then_some(number as i64)
}

fn contact(row: &Row) -> Result<Contact, StoreError> {
    Ok(Contact {
        id: row.get("id")?,
        row: ContactRow {
            source_id: row.get("source_id")?,
            first_name: row.find("first_name")?,
            last_name: row.find("last_name")?,
            name: row.find("name")?,
            email: row.find("email")?,
            phone: row.find("phone")?,
            company: row.find("company")?,
            title: row.find("title")?,
            source_metadata: row.get("source_metadata")?,
            custom_fields: row.get("custom_fields")?,
            source_stamp: row.get("source_stamp")?,
            deleted: row.find::<String>("deletion")?.and_then(|name| Deletion::named(&name)),
        },
        last_synced_at: row.get("last_synced_at")?,
    })
}
