//! Erasing a person: every row of theirs, tombstones too, and every line that names them.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::json;
use uuid::Uuid;

use super::markers::{Digests, hold_alone};
use super::{Found, Person, TEXTS, find, folded, naming, objects};
use crate::audit::Action;
use crate::error::StoreError;
use crate::open::Tenant;
use crate::pages::{Cursor, Page};
use crate::sql::{Row, Tx, Value};

/// Columns with words for people, which may quote a person: they are emptied where they do.
const WORDS: [(&str, &str); 9] = [
    ("imports", "error"),
    ("imports", "idempotency_key"),
    ("runs", "error"),
    ("integrations", "status_reason"),
    ("record_webhooks", "last_error"),
    ("record_webhooks", "disabled_reason"),
    ("mappings", "state_reason"),
    ("sync_work", "error"),
    ("sync_work", "failing_reason"),
];

/// Rows of one statement.
const CHUNK: usize = 500;

/// How many rows went, or would.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Removed {
    /// Contacts, tombstones included.
    pub contacts: u64,
    /// Leads.
    pub leads: u64,
    /// Rows of imports, which keep their place and their outcome and nothing else.
    pub import_rows: u64,
    /// Lines of the integrations' log that named the person.
    pub logs: u64,
    /// Messages in other places that did, which are empty now.
    pub messages: u64,
    /// Open invitations to the address.
    pub invitations: u64,
    /// Records in tables of mappings, which keep their id and nothing else.
    pub object_rows: u64,
}

/// A request to erase somebody, as long as it stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Erasure {
    /// UUID.
    pub id: Uuid,
    /// What went.
    pub removed: Removed,
    /// When it was asked for first.
    pub created_at: Timestamp,
}

impl Tenant {
    /// Erases a person, and keeps them from coming back until [`Tenant::lift_erasure`]. To ask again for somebody who
    /// was erased is the same request, which takes out what has come since.
    ///
    /// # Errors
    /// [`StoreError`]; nothing went then.
    pub async fn erase_person(&self, person: &Person<'_>, now: Timestamp) -> Result<Erasure, StoreError> {
        let digests = self.digests(now).await?;
        let mut tx = self.write("erasing a person").await?;
        let (found, removed) = self.erase(&mut tx, person, now).await?;
        let erasure = self.mark(&mut tx, &digests, person, &found, removed, now).await?;
        let detail = serde_json::to_value(removed).unwrap_or_default();
        self.note(&mut tx, Action::ContactErased, Some(("erasure", erasure.id)), detail, now).await?;
        tx.commit().await?;
        self.store().database().fold().await;
        Ok(Erasure { removed, ..erasure })
    }

    /// What [`Tenant::erase_person`] would take out. Nothing is changed.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn preview_erasure(&self, person: &Person<'_>) -> Result<Removed, StoreError> {
        // The very same statements; the transaction is not committed.
        let mut tx = self.write("looking at what is kept of a person").await?;
        Ok(self.erase(&mut tx, person, Timestamp::UNIX_EPOCH).await?.1)
    }

    async fn erase(&self, tx: &mut Tx, person: &Person<'_>, now: Timestamp) -> Result<(Found, Removed), StoreError> {
        hold_alone(tx, self.business()).await?;
        let tables = objects::tables(tx, self.business()).await?;
        let found = find(tx, self.business(), person, &tables).await?;
        let mut removed = Removed { import_rows: self.blank_rows(tx, &found).await?, ..Removed::default() };
        removed.object_rows = objects::erase(tx, self.business(), &tables, &found, now).await?;
        removed.messages = objects::empty_numbers(tx, &tables, &found).await?;
        for (table, ids, gone) in
            [("contacts", &found.contacts, &mut removed.contacts), ("leads", &found.leads, &mut removed.leads)]
        {
            for ids in ids.chunks(CHUNK) {
                *gone += tx
                    .query(format!("DELETE FROM {table} WHERE business_id = $1 AND id = ANY($2)"))
                    .bind(self.business())
                    .bind(ids.to_vec())
                    .execute()
                    .await?;
            }
        }
        if let Person::Email(email) = person {
            removed.invitations = tx
                .query("DELETE FROM invitations WHERE business_id = $1 AND email = $2")
                .bind(self.business())
                .bind(folded(email))
                .execute()
                .await?;
        }
        let texts: Vec<&String> = found.texts.iter().collect();
        for texts in texts.chunks(TEXTS) {
            let (conditions, values) = naming(&["message", "detail"], texts);
            removed.logs += tx
                .query(format!("DELETE FROM integration_logs WHERE business_id = $1 AND ({conditions})"))
                .bind(self.business())
                .bind_all(values)
                .execute()
                .await?;
            // What still is so is told anew, in other words.
            for (table, columns) in [("alert_deliveries", &["payload"][..]), ("notifications", &["title", "detail"])] {
                let (conditions, values) = naming(columns, texts);
                removed.logs += tx
                    .query(format!("DELETE FROM {table} WHERE business_id = $1 AND ({conditions})"))
                    .bind(self.business())
                    .bind_all(values)
                    .execute()
                    .await?;
            }
            for (table, column) in WORDS {
                let (conditions, values) = naming(&[column], texts);
                removed.messages += tx
                    .query(format!("UPDATE {table} SET {column} = NULL WHERE business_id = $1 AND ({conditions})"))
                    .bind(self.business())
                    .bind_all(values)
                    .execute()
                    .await?;
            }
        }
        Ok((found, removed))
    }

    /// Takes the person out of the rows of imports. The rows stay in their places, for the imports' counters; one without
    /// a lead will get none.
    async fn blank_rows(&self, tx: &mut Tx, found: &Found) -> Result<u64, StoreError> {
        let mut blanked = 0;
        let theirs = "business_id = $1 AND source_id <> '' AND (source_id = ANY($2) OR lead_id = ANY($3))";
        // Imports before their rows, as everybody takes them.
        let imports = format!(
            "SELECT id FROM imports WHERE business_id = $1 AND id IN (SELECT import_id FROM import_rows WHERE {theirs}) ORDER BY id FOR UPDATE"
        );
        if self.rows_of(tx, found, imports).await?.is_empty() {
            return Ok(0);
        }
        for (outcome, counter) in [("pending", ""), ("failed", ", failed = failed - 1")] {
            let skip = format!(
                "UPDATE import_rows SET outcome = 'skipped_erased', source_id = '', lead_id = NULL, error = NULL
                 WHERE outcome = '{outcome}' AND {theirs} RETURNING import_id"
            );
            let rows = self.rows_of(tx, found, skip).await?;
            blanked += rows.len() as u64;
            for row in &rows {
                tx.query(format!(
                    "UPDATE imports SET skipped_erased = skipped_erased + 1{counter} WHERE business_id = $1 AND id = $2"
                ))
                .bind(self.business())
                .bind(row.get::<Uuid>("import_id")?)
                .execute()
                .await?;
            }
        }
        let rest = format!(
            "UPDATE import_rows SET source_id = '', lead_id = NULL, error = NULL WHERE {theirs} RETURNING import_id"
        );
        Ok(blanked + self.rows_of(tx, found, rest).await?.len() as u64)
    }

    /// What a statement answers of the person's rows of imports: `$2` are the source's ids, `$3` those of leads.
    async fn rows_of(&self, tx: &mut Tx, found: &Found, sql: String) -> Result<Vec<Row>, StoreError> {
        tx.query(sql).bind(self.business()).bind(found.imported()).bind(found.leads.clone()).all().await
    }

    /// Writes down what keeps the person from coming back.
    async fn mark(
        &self,
        tx: &mut Tx,
        digests: &Digests,
        person: &Person<'_>,
        found: &Found,
        removed: Removed,
        now: Timestamp,
    ) -> Result<Erasure, StoreError> {
        let (own, kind) = match person {
            Person::Email(email) => (digests.of_email(email), None),
            Person::Source { kind, id } => (digests.of_source(kind.name(), id), Some(kind.name())),
        };
        let known = tx
            .query(
                "SELECT * FROM erasures WHERE business_id = $1 AND id IN
                 (SELECT erasure_id FROM erased_persons WHERE business_id = $1 AND digest = $2) ORDER BY id LIMIT 1",
            )
            .bind(self.business())
            .bind(&own)
            .optional()
            .await?;
        let erasure = match known.as_ref().map(erasure).transpose()? {
            Some(known) => Erasure { removed: known.removed.and(removed), ..known },
            None => Erasure { id: Uuid::now_v7(), removed, created_at: now },
        };
        tx.query(
            "INSERT INTO erasures (id, business_id, removed, created_at) VALUES ($1, $2, $3, $4)
             ON CONFLICT (id) DO UPDATE SET removed = excluded.removed",
        )
        .bind(erasure.id)
        .bind(self.business())
        .bind(serde_json::to_value(erasure.removed).unwrap_or_default())
        .bind(erasure.created_at)
        .execute()
        .await?;
        let of_sources = found.sources.iter().map(|(kind, id)| (digests.of_source(kind, id), Some(kind.as_str())));
        for (digest, kind) in of_sources.chain([(own, kind)]) {
            tx.query(
                "INSERT INTO erased_persons (business_id, digest, erasure_id, source_type) VALUES ($1, $2, $3, $4)
                 ON CONFLICT DO NOTHING",
            )
            .bind(self.business())
            .bind(digest)
            .bind(erasure.id)
            .bind(kind)
            .execute()
            .await?;
        }
        Ok(erasure)
    }

    /// A page of the requests that stand, newest first: at most `limit`, from behind the cursor.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn erasures(&self, cursor: Option<Cursor>, limit: u32) -> Result<Page<Erasure>, StoreError> {
        let mut tx = self.read("listing the erasures").await?;
        let mut sql = "SELECT * FROM erasures WHERE business_id = $1".to_owned();
        let mut values: Vec<Value> = vec![self.business().into(), i64::from(limit).saturating_add(1).into()];
        if let Some(Cursor { at, id }) = cursor {
            sql.push_str(" AND (created_at, id) < ($3, $4)");
            values.extend::<[Value; 2]>([at.into(), id.into()]);
        }
        sql.push_str(" ORDER BY created_at DESC, id DESC LIMIT $2");
        let rows = tx.query(sql).bind_all(values).all().await?;
        let erasures = rows.iter().map(erasure).collect::<Result<Vec<_>, _>>()?;
        Ok(Page::of(erasures, limit, |erasure| Cursor { at: erasure.created_at, id: erasure.id }))
    }

    /// Lets somebody come back who was erased. Nothing is brought back by this. False if there is no such request.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn lift_erasure(&self, id: Uuid, now: Timestamp) -> Result<bool, StoreError> {
        let mut tx = self.write("lifting an erasure").await?;
        let of = "business_id = $1 AND";
        tx.query(format!("DELETE FROM erased_persons WHERE {of} erasure_id = $2"))
            .bind(self.business())
            .bind(id)
            .execute()
            .await?;
        let lifted = tx
            .query(format!("DELETE FROM erasures WHERE {of} id = $2"))
            .bind(self.business())
            .bind(id)
            .execute()
            .await?;
        if lifted == 0 {
            return Ok(false);
        }
        self.note(&mut tx, Action::ContactErasureLifted, Some(("erasure", id)), json!({}), now).await?;
        tx.commit().await?;
        Ok(true)
    }
}

impl Removed {
    /// Both together.
    fn and(self, more: Removed) -> Removed {
        Removed {
            contacts: self.contacts + more.contacts,
            leads: self.leads + more.leads,
            import_rows: self.import_rows + more.import_rows,
            logs: self.logs + more.logs,
            messages: self.messages + more.messages,
            invitations: self.invitations + more.invitations,
            object_rows: self.object_rows + more.object_rows,
        }
    }
}

pub(super) fn erasure(row: &Row) -> Result<Erasure, StoreError> {
    // A newer program may count more kinds.
    let removed = serde_json::from_value(row.get("removed")?).unwrap_or_default();
    Ok(Erasure { id: row.get("id")?, removed, created_at: row.get("created_at")? })
}
