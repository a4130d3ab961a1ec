//! People.

use std::collections::HashSet;

use futures_util::{Stream, TryStreamExt};
use jiff::Timestamp;
use sqlx::sqlite::SqliteRow;
use sqlx::{QueryBuilder, Row, Sqlite, SqliteConnection};
use uuid::Uuid;

use crate::error::StoreError;
use crate::open::Store;
use crate::runs::StepOutcome;

/// Rows of one INSERT: 17 values each, well below SQLite's 32,766 parameters, and few enough statements that
/// the database, not the round trip to its thread, takes the time.
const CHUNK: usize = 250;

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
    /// The source's other fields: a JSON object with sorted keys.
    pub source_metadata: String,
    /// The source's stamp of this version.
    pub source_stamp: Timestamp,
    /// The source has deleted it.
    pub deleted: bool,
}

/// A contact as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contact {
    /// Our id: a UUID.
    pub id: String,
    /// What the source had.
    pub row: ContactRow,
    /// Milliseconds since 1970.
    pub last_synced_at: i64,
}

impl Store {
    /// Inserts and updates. A version older than the one held is left aside, an equal one touches nothing.
    pub(crate) async fn upsert_contacts(
        &self,
        connection: &mut SqliteConnection,
        integration: &str,
        contacts: &[ContactRow],
        now: Timestamp,
    ) -> Result<StepOutcome, sqlx::Error> {
        let mut outcome = StepOutcome::default();
        for chunk in contacts.chunks(CHUNK) {
            let ids: Vec<String> = chunk.iter().map(|_| Uuid::now_v7().to_string()).collect();
            let mut query = QueryBuilder::<Sqlite>::new(
                "INSERT INTO contacts (id, business_id, integration_id, source_type, source_id, first_name, last_name, name,
                 email, phone, company, title, source_metadata, source_stamp, deleted, sync_status, last_synced_at, created_at) ",
            );
            query.push_values(chunk.iter().zip(&ids), |mut values, (contact, id)| {
                values
                    .push_bind(id)
                    .push_bind(&self.business)
                    .push_bind(integration)
                    .push("'salesforce'")
                    .push_bind(&contact.source_id)
                    .push_bind(&contact.first_name)
                    .push_bind(&contact.last_name)
                    .push_bind(&contact.name)
                    .push_bind(&contact.email)
                    .push_bind(&contact.phone)
                    .push_bind(&contact.company)
                    .push_bind(&contact.title)
                    .push_bind(&contact.source_metadata)
                    .push_bind(contact.source_stamp.as_millisecond())
                    .push_bind(contact.deleted)
                    .push("'synced'")
                    .push_bind(now.as_millisecond())
                    .push_bind(now.as_millisecond());
            });
            query.push(
                " ON CONFLICT (business_id, source_type, source_id) DO UPDATE SET
                 integration_id = excluded.integration_id, first_name = excluded.first_name, last_name = excluded.last_name,
                 name = excluded.name, email = excluded.email, phone = excluded.phone, company = excluded.company,
                 title = excluded.title, source_metadata = excluded.source_metadata, source_stamp = excluded.source_stamp,
                 deleted = excluded.deleted, sync_status = 'synced', last_synced_at = excluded.last_synced_at
                 WHERE excluded.source_stamp >= contacts.source_stamp AND (
                 excluded.source_stamp, excluded.deleted, excluded.source_metadata, excluded.first_name, excluded.last_name,
                 excluded.name, excluded.email, excluded.phone, excluded.company, excluded.title) IS NOT (
                 contacts.source_stamp, contacts.deleted, contacts.source_metadata, contacts.first_name, contacts.last_name,
                 contacts.name, contacts.email, contacts.phone, contacts.company, contacts.title)
                 RETURNING id, deleted",
            );
            let written = query.build().fetch_all(&mut *connection).await?;
            let fresh: HashSet<&str> = ids.iter().map(String::as_str).collect();
            for row in &written {
                if fresh.contains(row.get::<&str, _>("id")) {
                    outcome.inserted += 1;
                } else {
                    outcome.updated += 1;
                }
                outcome.deleted += u64::from(row.get::<bool, _>("deleted"));
            }
        }
        Ok(outcome)
    }

    /// Contacts that are not deleted.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn count_contacts(&self) -> Result<i64, StoreError> {
        sqlx::query_scalar("SELECT count(*) FROM contacts WHERE business_id = $1 AND NOT deleted")
            .bind(&self.business)
            .fetch_one(&self.reader)
            .await
            .map_err(StoreError::doing("counting the contacts"))
    }

    /// All contacts in the order of their source ids, tombstones included, as a stream.
    pub fn contacts(&self) -> impl Stream<Item = Result<Contact, StoreError>> + '_ {
        sqlx::query("SELECT * FROM contacts WHERE business_id = $1 ORDER BY source_id")
            .bind(&self.business)
            .fetch(&self.reader)
            .map_ok(|row| contact(&row))
            .map_err(StoreError::doing("reading the contacts"))
    }

    /// The contacts that changed here last, newest first, tombstones included.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn recent_contacts(&self, limit: u32) -> Result<Vec<Contact>, StoreError> {
        let rows = sqlx::query("SELECT * FROM contacts WHERE business_id = $1 ORDER BY last_synced_at DESC, source_stamp DESC, source_id LIMIT $2")
            .bind(&self.business)
            .bind(limit)
            .fetch_all(&self.reader)
            .await
            .map_err(StoreError::doing("reading the contacts"))?;
        Ok(rows.iter().map(contact).collect())
    }
}

fn contact(row: &SqliteRow) -> Contact {
    Contact {
        id: row.get("id"),
        row: ContactRow {
            source_id: row.get("source_id"),
            first_name: row.get("first_name"),
            last_name: row.get("last_name"),
            name: row.get("name"),
            email: row.get("email"),
            phone: row.get("phone"),
            company: row.get("company"),
            title: row.get("title"),
            source_metadata: row.get("source_metadata"),
            source_stamp: Timestamp::from_millisecond(row.get("source_stamp")).unwrap_or(Timestamp::UNIX_EPOCH),
            deleted: row.get("deleted"),
        },
        last_synced_at: row.get("last_synced_at"),
    }
}
