//! People, as the sources have them.

use std::collections::HashSet;

use futures_util::{Stream, stream};
use jiff::Timestamp;
use uuid::Uuid;

use crate::duplicates::{Subject, taken_fields};
use crate::error::StoreError;
use crate::open::Tenant;
use crate::personal_data::Markers;
use crate::runs::StepOutcome;
use crate::sql::{Row, Tx, Value};

/// Rows of one INSERT: 12 values each, well below SQLite's 32,766 parameters and PostgreSQL's 65,535, and few enough statements that
/// the database, not the round trip to its thread, takes the time.
const CHUNK: usize = 250;

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
    pub source_metadata: serde_json::Value,
    /// The source's stamp of this version.
    pub source_stamp: Timestamp,
    /// The source has deleted it.
    pub deleted: bool,
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
    fn set(&mut self, name: &str, to: Option<String>) {
        let field = match name {
            "first_name" => &mut self.first_name,
            "last_name" => &mut self.last_name,
            "name" => &mut self.name,
            "email" => &mut self.email,
            "phone" => &mut self.phone,
            "company" => &mut self.company,
            "title" => &mut self.title,
            _ => return,
        };
        *field = to;
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
    /// Inserts and updates. A version older than the one held is left aside, an equal one touches nothing, and nobody
    /// who was erased comes back. What is written gets the number `change`. `None`: begin again (see [`Markers::erased`]).
    pub(crate) async fn upsert_contacts(
        &self,
        tx: &mut Tx,
        markers: &Markers,
        integration: Uuid,
        contacts: &[ContactRow],
        change: i64,
        now: Timestamp,
    ) -> Result<Option<StepOutcome>, StoreError> {
        let Some(erased) = markers.erased(tx, self.business(), contacts.iter()).await? else { return Ok(None) };
        let mut outcome = StepOutcome::default();
        let contacts: Vec<&ContactRow> = contacts.iter().filter(|row| !erased.contains(&row.source_id)).collect();
        for chunk in contacts.chunks(CHUNK) {
            let ids: Vec<Uuid> = chunk.iter().map(|_| Uuid::now_v7()).collect();
            // $1 to $4 are the same for all rows.
            let mut sql = String::with_capacity(chunk.len() * 120 + 2_000);
            sql.push_str(
                "INSERT INTO contacts (business_id, integration_id, last_synced_at, created_at, change, source_type, sync_status,
                 id, source_id, first_name, last_name, name, email, phone, company, title, source_metadata, source_stamp, deleted) VALUES ",
            );
            let mut values: Vec<Value> = vec![self.business().into(), integration.into(), now.into(), change.into()];
            for (contact, id) in chunk.iter().zip(&ids) {
                sql.push_str(if values.len() == 4 { "(" } else { ", (" });
                sql.push_str("$1, $2, $3, $3, $4, 'salesforce', 'synced'");
                let first = values.len();
                values.push((*id).into());
                values.extend(contact.values());
                values.push((&contact.source_metadata).into());
                values.push(contact.source_stamp.into());
                values.push(contact.deleted.into());
                for n in first..values.len() {
                    let _ = std::fmt::Write::write_fmt(&mut sql, format_args!(", ${}", n + 1));
                }
                sql.push(')');
            }
            sql.push_str(
                " ON CONFLICT (business_id, source_type, source_id) DO UPDATE SET
                 integration_id = excluded.integration_id, first_name = excluded.first_name, last_name = excluded.last_name,
                 name = excluded.name, email = excluded.email, phone = excluded.phone, company = excluded.company,
                 title = excluded.title, source_metadata = excluded.source_metadata, source_stamp = excluded.source_stamp,
                 deleted = excluded.deleted, sync_status = 'synced', last_synced_at = excluded.last_synced_at,
                 change = excluded.change, matched = false
                 WHERE excluded.source_stamp >= contacts.source_stamp AND (
                 excluded.source_stamp, excluded.deleted, excluded.source_metadata, excluded.first_name, excluded.last_name,
                 excluded.name, excluded.email, excluded.phone, excluded.company, excluded.title) IS DISTINCT FROM (
                 contacts.source_stamp, contacts.deleted, contacts.source_metadata, contacts.first_name, contacts.last_name,
                 contacts.name, contacts.email, contacts.phone, contacts.company, contacts.title)
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
        Ok(Some(outcome))
    }

    /// Contacts that are not deleted, and no parts of others.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn count_contacts(&self) -> Result<i64, StoreError> {
        let mut tx = self.read("counting the contacts").await?;
        tx.query("SELECT count(*) AS n FROM contacts WHERE business_id = $1 AND NOT deleted AND merged_into IS NULL")
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
            let mut contact = contact(row)?;
            for (name, field) in taken_fields(&mut tx, self.business(), Subject::Contact, row).await? {
                contact.row.set(&name, field);
            }
            contacts.push(contact);
        }
        Ok(contacts)
    }
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
            source_stamp: row.get("source_stamp")?,
            deleted: row.get("deleted")?,
        },
        last_synced_at: row.get("last_synced_at")?,
    })
}
