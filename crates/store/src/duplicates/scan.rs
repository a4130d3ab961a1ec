//! The pass that finds duplicates: keys of rows that changed, and who else has them.
//!
//! A row that changes is marked (`matched`), in the statement that changes it and with nothing else to write. A pass takes
//! some hundred marked rows, writes their keys and pairs and takes the marks away, as one transaction; other passes pass
//! these rows by meanwhile. After a change of the rules it goes through all rows once, and notes behind each batch how far
//! it is.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Write;

use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Value as Json, json};
use uuid::Uuid;

use super::normal::{Matched, columns, matched};
use super::rules::{MatchRules, rules};
use super::{Subject, follow};
use crate::error::StoreError;
use crate::open::Tenant;
use crate::personal_data::{Digests, hold};
use crate::sql::{Tx, Value};

/// Rows of one transaction.
const BATCH: u32 = 500;
/// Keys of one INSERT; four values each.
const CHUNK: usize = 500;
/// Merges by rules of one pass: each is a transaction of its own.
const MERGES: u32 = 500;

/// What a pass has done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Scan {
    /// Rows that were looked at.
    pub looked_at: u64,
    /// Pairs that are new, or open again.
    pub found: u64,
    /// Pairs that a rule has merged.
    pub merged: u64,
    /// Values that so many rows share that they say nothing.
    pub common: u64,
    /// Whether nothing is left to look at.
    pub done: bool,
}

/// The keys of a row: kind and digest.
pub(super) type Keys = BTreeSet<(String, String)>;

/// What one batch has done, and what is to be done behind it.
#[derive(Debug, Default)]
pub(super) struct BatchOutcome {
    pub(super) rows: u64,
    pub(super) found: u64,
    pub(super) common: u64,
    /// Leads of contacts that were merged: the one that stays, and the other.
    pub(super) following: Vec<(Uuid, Uuid, Uuid)>,
    /// Contacts that stood for others and were deleted at the source.
    pub(super) ended: Vec<Uuid>,
}

impl Tenant {
    /// Looks for duplicates among what has changed since the last time: so many batches of 500 rows at most.
    ///
    /// # Errors
    /// [`StoreError`]; what was found by then is kept.
    pub async fn find_duplicates(&self, batches: u32, now: Timestamp) -> Result<Scan, StoreError> {
        let (mut scan, mut left) = (Scan::default(), batches);
        loop {
            // The key is made where it is needed first.
            if !self.has_unmatched().await? {
                let merged = self.merge_by_rules(MERGES, now).await?;
                scan.merged += merged;
                if merged == 0 {
                    scan.done = true;
                    return Ok(scan);
                }
            }
            let digests = self.digests(now).await?;
            for subject in Subject::ALL {
                loop {
                    if left == 0 {
                        return Ok(scan);
                    }
                    left -= 1;
                    let batch = self.match_batch(subject, &digests, now).await?;
                    scan.looked_at += batch.rows;
                    scan.found += batch.found;
                    scan.common += batch.common;
                    scan.merged += self.follow_contacts(&batch.following, now).await?;
                    for contact in &batch.ended {
                        self.end_merges_of(*contact, now).await?;
                    }
                    if batch.rows == 0 {
                        break;
                    }
                }
            }
            // Rows that a rule merges now are looked at once more: what agrees with one part agrees with the whole.
        }
    }

    /// Whether there is anything to look at.
    async fn has_unmatched(&self) -> Result<bool, StoreError> {
        let mut tx = self.read("looking for rows that have changed").await?;
        let row = tx
            .query(
                "SELECT business_id FROM match_rules WHERE business_id = $1 AND rescan IS NOT NULL
                 UNION ALL SELECT business_id FROM contacts WHERE business_id = $1 AND NOT matched
                 UNION ALL SELECT business_id FROM leads WHERE business_id = $1 AND NOT matched LIMIT 1",
            )
            .bind(self.business())
            .optional()
            .await?;
        Ok(row.is_some())
    }

    async fn match_batch(
        &self,
        subject: Subject,
        digests: &Digests,
        now: Timestamp,
    ) -> Result<BatchOutcome, StoreError> {
        let mut tx = self.write("looking for duplicates").await?;
        tx.plan_anew().await?;
        tx.by_index().await?;
        // Whoever erases or merges waits, and is not overtaken.
        hold(&mut tx, self.business()).await?;
        let by = tx.query("SELECT * FROM match_rules WHERE business_id = $1").bind(self.business()).optional().await?;
        let (by, rescan) = match &by {
            Some(row) => (rules(row)?, row.find::<Json>("rescan")?),
            None => (MatchRules::default(), None),
        };
        let mut rows = self.marked(&mut tx, subject).await?;
        if rows.is_empty()
            && let Some(rescan) = rescan
        {
            rows = self.next_of_all(&mut tx, subject, rescan).await?;
        }
        if rows.is_empty() {
            // The end of going through all is noted, too.
            tx.commit().await?;
            return Ok(BatchOutcome::default());
        }
        self.write_keys(&mut tx, subject, &by, digests, &rows).await?;
        let mut outcome = self.pair_rows(&mut tx, subject, &by, &rows, now).await?;
        outcome.rows = rows.len() as u64;
        if subject == Subject::Lead {
            outcome.following = follow::leads_to_merge(&mut tx, self.business(), &rows).await?;
        }
        tx.query(format!("UPDATE {} SET matched = true WHERE business_id = $1 AND id = ANY($2)", subject.table()))
            .bind(self.business())
            .bind(rows.iter().map(|row| row.id).collect::<Vec<_>>())
            .execute()
            .await?;
        tx.commit().await?;
        Ok(outcome)
    }

    /// The next rows that have changed.
    async fn marked(&self, tx: &mut Tx, subject: Subject) -> Result<Vec<Matched>, StoreError> {
        let rows = tx
            .query(format!(
                "SELECT {} FROM {} WHERE business_id = $1 AND NOT matched ORDER BY id LIMIT $2 FOR UPDATE SKIP LOCKED",
                columns(subject),
                subject.table()
            ))
            .bind(self.business())
            .bind(BATCH)
            .all()
            .await?;
        rows.iter().map(matched).collect()
    }

    /// The next rows of all, after a change of the rules, with a note of how far they go.
    async fn next_of_all(&self, tx: &mut Tx, subject: Subject, mut rescan: Json) -> Result<Vec<Matched>, StoreError> {
        let place = rescan.get(subject.name()).cloned().unwrap_or_default();
        let text = |n: usize| place.get(n).and_then(Json::as_str).map(str::to_owned);
        let (Some(kind), Some(id)) = (text(0), text(1)) else { return Ok(Vec::new()) };
        let rows = tx
            .query(format!(
                "SELECT {} FROM {} WHERE business_id = $1 AND (source_type, source_id) > ($2, $3)
                 ORDER BY source_type, source_id LIMIT $4 FOR UPDATE",
                columns(subject),
                subject.table()
            ))
            .bind(self.business())
            .bind(kind)
            .bind(id)
            .bind(BATCH)
            .all()
            .await?;
        let rows: Vec<Matched> = rows.iter().map(matched).collect::<Result<_, _>>()?;
        rescan[subject.name()] = rows.last().map_or(Json::Null, |last| json!([last.source_type, last.source_id]));
        let is_over = Subject::ALL.iter().all(|subject| rescan[subject.name()].is_null());
        tx.query("UPDATE match_rules SET rescan = $2 WHERE business_id = $1")
            .bind(self.business())
            .bind((!is_over).then_some(rescan))
            .execute()
            .await?;
        Ok(rows)
    }

    /// Writes the keys of rows, where they are not what they were.
    async fn write_keys(
        &self,
        tx: &mut Tx,
        subject: Subject,
        by: &MatchRules,
        digests: &Digests,
        rows: &[Matched],
    ) -> Result<(), StoreError> {
        let mut known = keys_of(tx, self.business(), subject, rows.iter().map(|row| row.id).collect()).await?;
        let (mut changed, mut new) = (Vec::new(), Vec::new());
        for row in rows {
            let digest = |(kind, text): (String, String)| {
                let digest = digests.of_match(subject.name(), &kind, &text);
                (kind, digest)
            };
            let keys: Keys = row.keys(by).into_iter().map(digest).collect();
            let before = known.remove(&row.id).unwrap_or_default();
            if before == keys {
                continue;
            }
            if !before.is_empty() {
                changed.push(row.id);
            }
            new.extend(keys.into_iter().map(|(kind, digest)| (row.id, kind, digest)));
        }
        let column = column(subject);
        if !changed.is_empty() {
            tx.query(format!("DELETE FROM match_keys WHERE business_id = $1 AND {column} = ANY($2)"))
                .bind(self.business())
                .bind(changed)
                .execute()
                .await?;
        }
        for keys in new.chunks(CHUNK) {
            let mut sql = format!("INSERT INTO match_keys (business_id, {column}, kind, digest) VALUES ");
            let mut values: Vec<Value> = vec![self.business().into()];
            for (row, kind, digest) in keys {
                let (comma, n) = (if values.len() == 1 { "" } else { ", " }, values.len());
                let _ = write!(sql, "{comma}($1, ${}, ${}, ${})", n + 1, n + 2, n + 3);
                values.extend::<[Value; 3]>([(*row).into(), kind.into(), digest.into()]);
            }
            tx.query(sql).bind_all(values).execute().await?;
        }
        Ok(())
    }

    /// Merges pairs that rules are to merge, and nobody has decided about.
    async fn merge_by_rules(&self, most: u32, now: Timestamp) -> Result<u64, StoreError> {
        let merging = self.match_rules().await?.merging();
        if merging.is_empty() {
            return Ok(0);
        }
        let mut tx = self.read("looking for pairs to merge").await?;
        let rows = tx
            .query(
                "SELECT id FROM duplicates WHERE business_id = $1 AND state = 'open' AND decided_by IS NULL
                 AND rule = ANY($2) ORDER BY created_at, id LIMIT $3",
            )
            .bind(self.business())
            .bind(merging)
            .bind(most)
            .all()
            .await?;
        drop(tx);
        let mut merged = 0;
        for row in rows {
            merged += u64::from(self.merge_by_rule(row.get("id")?, now).await?);
        }
        Ok(merged)
    }
}

pub(super) fn column(subject: Subject) -> &'static str {
    match subject {
        Subject::Contact => "contact_id",
        Subject::Lead => "lead_id",
    }
}

/// The keys that rows have, by row.
pub(super) async fn keys_of(
    tx: &mut Tx,
    business: Uuid,
    subject: Subject,
    ids: Vec<Uuid>,
) -> Result<HashMap<Uuid, Keys>, StoreError> {
    let column = column(subject);
    let rows = tx
        .query(format!(
            "SELECT {column} AS row_id, kind, digest FROM match_keys WHERE business_id = $1 AND {column} = ANY($2)"
        ))
        .bind(business)
        .bind(ids)
        .all()
        .await?;
    let mut keys: HashMap<Uuid, Keys> = HashMap::new();
    for row in &rows {
        keys.entry(row.get("row_id")?).or_default().insert((row.get("kind")?, row.get("digest")?));
    }
    Ok(keys)
}

/// Rows by the digest that they share.
pub(super) type Groups = BTreeMap<String, Vec<Uuid>>;
