//! Imports: lists of a source's contacts that are to become leads, with what became of each.
//!
//! An import is kept with all its rows before anything is read from the source, so that whoever works on it may die at
//! any moment: the next one goes on with the rows that are still pending. Who may work on it, and how a batch is written,
//! is in [`Claim`](crate::Claim).

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::json;
use uuid::Uuid;

use crate::audit::Action;
use crate::digest::Digest;
use crate::error::StoreError;
use crate::leads::tags;
use crate::open::Tenant;
use crate::pages::{Cursor, Page};
use crate::sql::{Row, Tx, Value};

/// Rows of one INSERT; two values each.
const CHUNK: usize = 1_000;

/// How an import stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ImportState {
    /// Nobody has begun yet.
    Waiting,
    /// Under way, or about to be taken up again.
    Running,
    /// Every row has its outcome; some may have failed.
    Success,
    /// It stopped for a reason that somebody must remove; [`Tenant::retry_import`] goes on.
    Failed,
    /// Somebody stopped it for good.
    Cancelled,
}

impl ImportState {
    /// Its name in the database and in the API.
    pub fn name(self) -> &'static str {
        match self {
            ImportState::Waiting => "waiting",
            ImportState::Running => "running",
            ImportState::Success => "success",
            ImportState::Failed => "failed",
            ImportState::Cancelled => "cancelled",
        }
    }

    fn from_name(name: &str) -> Self {
        match name {
            "waiting" => ImportState::Waiting,
            "running" => ImportState::Running,
            "success" => ImportState::Success,
            "cancelled" => ImportState::Cancelled,
            _ => ImportState::Failed,
        }
    }
}

/// What became of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RowOutcome {
    /// Nothing yet.
    Pending,
    /// A lead that was not there before.
    Created,
    /// A lead that is different now.
    Updated,
    /// A lead that was so already, and was not touched.
    Unchanged,
    /// No lead; the row's error says why.
    Failed,
    /// No lead: the person was erased. The row's source id is gone too.
    SkippedErased,
}

impl RowOutcome {
    /// Its name in the database and in the API.
    pub fn name(self) -> &'static str {
        match self {
            RowOutcome::Pending => "pending",
            RowOutcome::Created => "created",
            RowOutcome::Updated => "updated",
            RowOutcome::Unchanged => "unchanged",
            RowOutcome::Failed => "failed",
            RowOutcome::SkippedErased => "skipped_erased",
        }
    }

    /// From its name.
    pub fn from_name(name: &str) -> Option<Self> {
        let all = [Self::Pending, Self::Created, Self::Updated, Self::Unchanged, Self::Failed, Self::SkippedErased];
        all.into_iter().find(|outcome| outcome.name() == name)
    }
}

/// An import with its counters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Import {
    /// UUID, in order of time.
    pub id: Uuid,
    /// Where the contacts are read.
    pub integration_id: Uuid,
    /// The caller's key, under which the same request is the same import.
    pub idempotency_key: Option<String>,
    /// Set on every lead of it, if given.
    pub campaign: Option<String>,
    /// Added to every lead of it.
    pub tags: Vec<String>,
    /// How it stands.
    pub state: ImportState,
    /// Why it failed; of one that is running, why it waits.
    pub error: Option<String>,
    /// Rows.
    pub total: i64,
    /// Rows without an outcome.
    pub pending: i64,
    /// Rows that became new leads.
    pub created: i64,
    /// Rows that changed a lead.
    pub updated: i64,
    /// Rows whose leads were so already.
    pub unchanged: i64,
    /// Rows that became none.
    pub failed: i64,
    /// Rows of persons who were erased.
    pub skipped_erased: i64,
    /// Who asked for it.
    pub created_by: Option<String>,
    /// When.
    pub created_at: Timestamp,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
}

/// A row of an import.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ImportRow {
    /// Its place in the list, from 0.
    pub position: i64,
    /// The source's id, as it was given; empty of somebody who was erased.
    pub source_id: String,
    /// What became of it.
    pub outcome: RowOutcome,
    /// The lead.
    pub lead_id: Option<Uuid>,
    /// Why there is none.
    pub error: Option<String>,
}

/// What is asked for.
#[derive(Debug, Clone, Copy)]
pub struct NewImport<'a> {
    /// Where the contacts are read.
    pub integration: Uuid,
    /// The caller's key; none: every request is another import.
    pub idempotency_key: Option<&'a str>,
    /// Set on every lead, if given.
    pub campaign: Option<&'a str>,
    /// Added to every lead.
    pub tags: &'a [String],
    /// The source's ids. One that is given twice counts once, at its first place.
    pub source_ids: &'a [String],
    /// Who asks.
    pub created_by: Option<&'a str>,
}

/// How a request for an import ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Creation {
    /// It is kept, and waits to be worked on.
    Created(Import),
    /// The same was asked for under this key before; this is it.
    Existing(Import),
    /// Something else was asked for under this key before; nothing was done.
    KeyReused,
    /// The business has no such integration; nothing was done.
    NoIntegration,
}

/// PostgreSQL keeps no NUL.
fn kept(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}

fn once(texts: &[String]) -> Vec<String> {
    let mut seen = std::collections::HashSet::with_capacity(texts.len());
    texts.iter().map(|text| kept(text)).filter(|text| seen.insert(text.clone())).collect()
}

impl Tenant {
    /// Keeps an import, with all its rows, for somebody to work on.
    ///
    /// # Errors
    /// [`StoreError`]; nothing is kept then.
    pub async fn create_import(&self, new: &NewImport<'_>, now: Timestamp) -> Result<Creation, StoreError> {
        let (tags, source_ids) = (once(new.tags), once(new.source_ids));
        let (campaign, key) = (new.campaign.map(kept), new.idempotency_key.map(kept));
        // Who asks is no part of it: a colleague who repeats a request does not mean another one.
        let asked = serde_json::json!([new.integration, campaign, tags, source_ids]).to_string();
        let asked = Digest::of(asked);
        let mut tx = self.write("keeping an import").await?;
        let integration = tx
            .query("SELECT id FROM integrations WHERE business_id = $1 AND id = $2")
            .bind(self.business())
            .bind(new.integration)
            .optional()
            .await?;
        if integration.is_none() {
            return Ok(Creation::NoIntegration);
        }
        let id = Uuid::now_v7();
        // Whoever comes second with a key waits here for the first, and then finds its import.
        let made = tx
            .query(
                "INSERT INTO imports (id, business_id, integration_id, idempotency_key, request_hash, campaign, tags,
                 state, total, created_by, created_at)
                 VALUES ($1, $2, $3, $4, $5, $6, $7, 'waiting', $8, $9, $10)
                 ON CONFLICT (business_id, idempotency_key) DO NOTHING RETURNING *",
            )
            .bind(id)
            .bind(self.business())
            .bind(new.integration)
            .bind(key.as_deref())
            .bind(asked)
            .bind(campaign)
            .bind(serde_json::Value::from(tags))
            .bind(source_ids.len() as i64)
            .bind(new.created_by)
            .bind(now)
            .optional()
            .await?;
        let Some(made) = made else {
            let row = tx
                .query("SELECT * FROM imports WHERE business_id = $1 AND idempotency_key = $2")
                .bind(self.business())
                .bind(key)
                .one()
                .await?;
            let same = row.get::<Vec<u8>>("request_hash")? == asked.as_bytes();
            return Ok(if same { Creation::Existing(import(&row)?) } else { Creation::KeyReused });
        };
        self.insert_rows(&mut tx, id, &source_ids).await?;
        let detail = json!({"contacts": source_ids.len()});
        self.note(&mut tx, Action::ImportCreated, Some(("import", id)), detail, now).await?;
        tx.commit().await?;
        Ok(Creation::Created(import(&made)?))
    }

    async fn insert_rows(&self, tx: &mut Tx, import: Uuid, source_ids: &[String]) -> Result<(), StoreError> {
        let mut position = 0_i64;
        for ids in source_ids.chunks(CHUNK) {
            let mut sql = String::with_capacity(ids.len() * 35 + 100);
            sql.push_str("INSERT INTO import_rows (business_id, import_id, position, source_id, outcome) VALUES ");
            let mut values: Vec<Value> = vec![self.business().into(), import.into()];
            for id in ids {
                let (comma, n) = (if values.len() == 2 { "" } else { ", " }, values.len());
                let _ = std::fmt::Write::write_fmt(
                    &mut sql,
                    format_args!("{comma}($1, $2, ${}, ${}, 'pending')", n + 1, n + 2),
                );
                values.push(position.into());
                values.push(id.into());
                position += 1;
            }
            tx.query(sql).bind_all(values).execute().await?;
        }
        Ok(())
    }

    /// One import by its id.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn import(&self, id: Uuid) -> Result<Option<Import>, StoreError> {
        let mut tx = self.read("reading an import").await?;
        let row = tx
            .query("SELECT * FROM imports WHERE business_id = $1 AND id = $2")
            .bind(self.business())
            .bind(id)
            .optional()
            .await?;
        row.as_ref().map(import).transpose()
    }

    /// A page of the imports, newest first: at most `limit`, from behind the cursor.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn imports(&self, cursor: Option<Cursor>, limit: u32) -> Result<Page<Import>, StoreError> {
        let mut tx = self.read("listing the imports").await?;
        let query = match cursor {
            None => tx
                .query("SELECT * FROM imports WHERE business_id = $1 ORDER BY created_at DESC, id DESC LIMIT $2")
                .bind(self.business())
                .bind(i64::from(limit).saturating_add(1)),
            Some(Cursor { at, id }) => tx
                .query(
                    "SELECT * FROM imports WHERE business_id = $1 AND (created_at, id) < ($3, $4)
                     ORDER BY created_at DESC, id DESC LIMIT $2",
                )
                .bind(self.business())
                .bind(i64::from(limit).saturating_add(1))
                .bind(at)
                .bind(id),
        };
        let imports = query.all().await?.iter().map(import).collect::<Result<Vec<_>, _>>()?;
        Ok(Page::of(imports, limit, |import| Cursor { at: import.created_at, id: import.id }))
    }

    /// A page of an import's rows in their order, those with one outcome or all: at most `limit`, from behind the
    /// position that is the cursor.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn import_rows(
        &self,
        id: Uuid,
        outcome: Option<RowOutcome>,
        cursor: Option<i64>,
        limit: u32,
    ) -> Result<Page<ImportRow, i64>, StoreError> {
        let mut tx = self.read("reading an import's rows").await?;
        let sql = match outcome {
            None => {
                "SELECT * FROM import_rows WHERE business_id = $1 AND import_id = $2 AND position > $3
                 ORDER BY position LIMIT $4"
            }
            Some(_) => {
                "SELECT * FROM import_rows WHERE business_id = $1 AND import_id = $2 AND position > $3 AND outcome = $5
                 ORDER BY position LIMIT $4"
            }
        };
        let query = tx
            .query(sql)
            .bind(self.business())
            .bind(id)
            .bind(cursor.unwrap_or(-1))
            .bind(i64::from(limit).saturating_add(1));
        let query = outcome.into_iter().fold(query, |query, outcome| query.bind(outcome.name()));
        let rows = query.all().await?.iter().map(import_row).collect::<Result<Vec<_>, _>>()?;
        Ok(Page::of(rows, limit, |row| row.position))
    }

    /// Stops an import for good; what it has made stays. False if it has ended, or there is none.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn cancel_import(&self, id: Uuid, now: Timestamp) -> Result<bool, StoreError> {
        let mut tx = self.write("cancelling an import").await?;
        let cancelled = tx
            .query(
                "UPDATE imports SET state = 'cancelled', finished_at = $1, leased_until = NULL, error = NULL
                 WHERE business_id = $2 AND id = $3 AND state IN ('waiting', 'running')",
            )
            .bind(now)
            .bind(self.business())
            .bind(id)
            .execute()
            .await?;
        if cancelled > 0 {
            self.note(&mut tx, Action::ImportCancelled, Some(("import", id)), json!({}), now).await?;
        }
        tx.commit().await?;
        Ok(cancelled > 0)
    }

    /// Goes on with an import that failed, or tries the rows again that failed in one that ended: rows with a lead stay
    /// as they are. False if there is nothing to be tried again.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn retry_import(&self, id: Uuid, now: Timestamp) -> Result<bool, StoreError> {
        let mut tx = self.write("trying an import again").await?;
        let again = tx
            .query(
                "UPDATE imports SET state = 'waiting', finished_at = NULL, leased_until = NULL, error = NULL, failed = 0
                 WHERE business_id = $1 AND id = $2 AND (state = 'failed' OR (state = 'success' AND failed > 0))",
            )
            .bind(self.business())
            .bind(id)
            .execute()
            .await?;
        if again == 0 {
            return Ok(false);
        }
        tx.query(
            "UPDATE import_rows SET outcome = 'pending', error = NULL
             WHERE business_id = $1 AND import_id = $2 AND outcome = 'failed'",
        )
        .bind(self.business())
        .bind(id)
        .execute()
        .await?;
        self.note(&mut tx, Action::ImportRetried, Some(("import", id)), json!({}), now).await?;
        tx.commit().await?;
        Ok(true)
    }
}

pub(crate) fn import(row: &Row) -> Result<Import, StoreError> {
    let count = |name: &str| row.get::<i64>(name);
    let (total, created, updated) = (count("total")?, count("created")?, count("updated")?);
    let (unchanged, failed, skipped_erased) = (count("unchanged")?, count("failed")?, count("skipped_erased")?);
    Ok(Import {
        id: row.get("id")?,
        integration_id: row.get("integration_id")?,
        idempotency_key: row.find("idempotency_key")?,
        campaign: row.find("campaign")?,
        tags: tags(&row.get("tags")?),
        state: ImportState::from_name(&row.get::<String>("state")?),
        error: row.find("error")?,
        total,
        pending: total - created - updated - unchanged - failed - skipped_erased,
        created,
        updated,
        unchanged,
        failed,
        skipped_erased,
        created_by: row.find("created_by")?,
        created_at: row.get("created_at")?,
        finished_at: row.find("finished_at")?,
    })
}

pub(crate) fn import_row(row: &Row) -> Result<ImportRow, StoreError> {
    Ok(ImportRow {
        position: row.get("position")?,
        source_id: row.get("source_id")?,
        outcome: RowOutcome::from_name(&row.get::<String>("outcome")?).unwrap_or(RowOutcome::Failed),
        lead_id: row.find("lead_id")?,
        error: row.find("error")?,
    })
}
