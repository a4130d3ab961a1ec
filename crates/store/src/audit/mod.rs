//! Who did what: entries that are only ever added, each with the digest of the one before it.
//!
//! Every business has a chain of its own, and the service has one (of what concerns no business). An entry that was
//! changed, taken out, moved or slipped in shows when the chain is verified, also when it was the newest: the end of the
//! chain is noted beside it. Who may write the whole database can forge the whole chain; whoever keeps a
//! [`head`](Verification::Verified) elsewhere finds that out too.
//!
//! Reading order: [`entry`] (what is said), `chain` (the digest), here (appending and reading), `verify` (and what thins
//! the log out).

mod chain;
pub mod entry;
mod verify;

use jiff::Timestamp;
use uuid::Uuid;

pub use entry::{Action, Actor, AuditEntry, Entry, Outcome, Target};
pub use verify::Verification;

use crate::cleaned;
use crate::error::StoreError;
use crate::open::{Store, Tenant};
use crate::sql::{Row, Tx, Value};

/// Longest text within an entry, in characters.
const LONGEST: usize = 1_000;

/// Which entries to list. All conditions must hold; none lists all.
#[derive(Debug, Clone, Default)]
pub struct AuditFilter<'a> {
    /// By this person or key: its id.
    pub actor: Option<Uuid>,
    /// Of this action.
    pub action: Option<Action>,
    /// That ended so.
    pub outcome: Option<Outcome>,
    /// Of this kind of target: `connection`, …
    pub target_kind: Option<&'a str>,
    /// Of the target with this id.
    pub target: Option<&'a str>,
    /// From then on.
    pub from: Option<Timestamp>,
    /// Before then.
    pub until: Option<Timestamp>,
}

impl Tenant {
    /// Adds an entry to the business's chain; its position.
    ///
    /// # Errors
    /// [`StoreError`]: then there is no entry, and what it was to tell of should not be done.
    pub async fn audit(&self, entry: &Entry<'_>, now: Timestamp) -> Result<i64, StoreError> {
        let mut tx = self.write("writing the audit log").await?;
        let position = append(&mut tx, Some(self.business()), entry, now).await?;
        tx.commit().await?;
        Ok(position)
    }

    /// Tells of a change within the transaction that makes it, as its last statement: the two are one, and a caller who
    /// leaves in between loses neither. Who made it stands in [`Tenant::by`].
    pub(crate) async fn note(
        &self,
        tx: &mut Tx,
        action: Action,
        target: Option<(&str, Uuid)>,
        detail: serde_json::Value,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let (actor, address) = self.changed_by();
        let target = target.map(|(kind, id)| (kind, id.to_string()));
        let target = target.as_ref().map(|(kind, id)| Target { kind, id });
        let entry = Entry { target, detail, address, ..Entry::new(actor, action) };
        append(tx, Some(self.business()), &entry, now).await.map(drop)
    }

    /// The entries, newest first, at most `limit`; the next page begins `before` the position of the last.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn audit_entries(
        &self,
        filter: &AuditFilter<'_>,
        before: Option<i64>,
        limit: u32,
    ) -> Result<Vec<AuditEntry>, StoreError> {
        let mut tx = self.read("reading the audit log").await?;
        entries(&mut tx, Some(self.business()), filter, before, limit).await
    }
}

impl Store {
    /// Adds an entry to the service's own chain; its position.
    ///
    /// # Errors
    /// As [`Tenant::audit`].
    pub async fn audit(&self, entry: &Entry<'_>, now: Timestamp) -> Result<i64, StoreError> {
        let mut tx = self.write("writing the audit log").await?;
        let position = append(&mut tx, None, entry, now).await?;
        tx.commit().await?;
        Ok(position)
    }

    /// The entries of the service's own chain, as [`Tenant::audit_entries`].
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn audit_entries(
        &self,
        filter: &AuditFilter<'_>,
        before: Option<i64>,
        limit: u32,
    ) -> Result<Vec<AuditEntry>, StoreError> {
        let mut tx = self.read("reading the audit log").await?;
        entries(&mut tx, None, filter, before, limit).await
    }
}

/// The rows of one chain, whose business is `$1`.
fn of(business: Option<Uuid>) -> &'static str {
    if business.is_some() { "business_id = $1" } else { "business_id IS NULL AND $1 IS NULL" }
}

/// Adds an entry within a transaction, so that a change and its entry are one; its position.
///
/// It holds the chain's lock until the transaction ends: it belongs at the transaction's end, and where an entry goes to
/// the service's chain too, the business's comes first.
pub(crate) async fn append(
    tx: &mut Tx,
    business: Option<Uuid>,
    entry: &Entry<'_>,
    now: Timestamp,
) -> Result<i64, StoreError> {
    let next = format!(
        "UPDATE audit_chains SET head_position = head_position + 1 WHERE {} RETURNING head_position, head_digest",
        of(business)
    );
    let head = match tx.query(next.clone()).bind(business).optional().await? {
        Some(head) => head,
        None => {
            // Whoever comes second waits for the first, and then finds its row.
            tx.query(
                "INSERT INTO audit_chains (business_id, anchor_digest, head_digest) VALUES ($1, $2, $2) ON CONFLICT DO NOTHING",
            )
            .bind(business)
            .bind(chain::BEGINNING.as_slice())
            .execute()
            .await?;
            tx.query(next).bind(business).one().await?
        }
    };
    let before: Vec<u8> = head.get("head_digest")?;
    let text = |text: &str| cleaned::text(text, LONGEST);
    let kept = AuditEntry {
        id: Uuid::now_v7(),
        position: head.get("head_position")?,
        at: Timestamp::from_millisecond(now.as_millisecond()).unwrap_or(now),
        actor_type: entry.actor.kind().to_owned(),
        actor_id: entry.actor.id().map(|id| id.to_string()),
        action: entry.action.name().to_owned(),
        outcome: entry.outcome.name().to_owned(),
        target_type: entry.target.map(|target| text(target.kind)),
        target_id: entry.target.map(|target| text(target.id)),
        detail: cleaned::json(entry.detail.clone(), LONGEST).to_string(),
        address: entry.address.map(text),
    };
    let digest = chain::digest(&before, business, &kept);
    tx.query(
        "INSERT INTO audit_log (id, business_id, position, at, actor_type, actor_id, action, outcome, target_type,
         target_id, detail, address, digest) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)",
    )
    .bind(kept.id)
    .bind(business)
    .bind(kept.position)
    .bind(kept.at)
    .bind(kept.actor_type)
    .bind(kept.actor_id)
    .bind(kept.action)
    .bind(kept.outcome)
    .bind(kept.target_type)
    .bind(kept.target_id)
    .bind(kept.detail)
    .bind(kept.address)
    .bind(digest.as_slice())
    .execute()
    .await?;
    tx.query(format!("UPDATE audit_chains SET head_digest = $2 WHERE {}", of(business)))
        .bind(business)
        .bind(digest.as_slice())
        .execute()
        .await?;
    Ok(kept.position)
}

async fn entries(
    tx: &mut Tx,
    business: Option<Uuid>,
    filter: &AuditFilter<'_>,
    before: Option<i64>,
    limit: u32,
) -> Result<Vec<AuditEntry>, StoreError> {
    let conditions: [(&str, Option<Value>); 8] = [
        ("position <", before.map(Value::from)),
        ("actor_id =", filter.actor.map(|id| id.to_string().into())),
        ("action =", filter.action.map(|action| action.name().into())),
        ("outcome =", filter.outcome.map(|outcome| outcome.name().into())),
        ("target_type =", filter.target_kind.map(Value::from)),
        ("target_id =", filter.target.map(Value::from)),
        ("at >=", filter.from.map(Value::from)),
        ("at <", filter.until.map(Value::from)),
    ];
    let mut sql = format!("SELECT * FROM audit_log WHERE {}", of(business));
    let mut values: Vec<Value> = vec![business.into()];
    for (condition, value) in conditions {
        if let Some(value) = value {
            values.push(value);
            sql.push_str(&format!(" AND {condition} ${}", values.len()));
        }
    }
    values.push(limit.into());
    sql.push_str(&format!(" ORDER BY position DESC LIMIT ${}", values.len()));
    tx.query(sql).bind_all(values).all().await?.iter().map(audit_entry).collect()
}

fn audit_entry(row: &Row) -> Result<AuditEntry, StoreError> {
    Ok(AuditEntry {
        id: row.get("id")?,
        position: row.get("position")?,
        at: row.get("at")?,
        actor_type: row.get("actor_type")?,
        actor_id: row.find("actor_id")?,
        action: row.get("action")?,
        outcome: row.get("outcome")?,
        target_type: row.find("target_type")?,
        target_id: row.find("target_id")?,
        detail: row.get("detail")?,
        address: row.find("address")?,
    })
}
