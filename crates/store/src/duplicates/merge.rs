//! Decisions about a pair: they are two, they are one, and both taken back.
//!
//! Whoever decides holds the business alone (`hold_alone`): syncs, imports and passes, which hold it beside each other,
//! come to their ends first, and so does another decision about the same rows.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde_json::{Value, json};
use uuid::Uuid;

use super::list::duplicate;
use super::merged::{as_json, roots, taken};
use super::pairs::sides;
use super::{Duplicate, DuplicateState, FIELDS, Subject, follow};
use crate::audit::{Action, Actor};
use crate::error::StoreError;
use crate::open::Tenant;
use crate::personal_data::hold_alone;
use crate::sql::{Row, Tx};

/// What became of a decision.
#[derive(Debug, Clone, PartialEq)]
pub enum Decision {
    /// It stands.
    Done(Box<Duplicate>),
    /// There is no such pair.
    NotFound,
    /// Somebody has decided otherwise before.
    Decided(DuplicateState),
    /// The row that is to stay is none of the two.
    NotOfPair,
    /// One of the rows was deleted, or both are one row already.
    Gone,
    /// Something has happened to the rows since, which to take this back would undo, too.
    Moved,
}

/// A merge of two rows that stand for themselves.
pub(super) struct Joining<'a> {
    pub(super) subject: Subject,
    pub(super) pair: Uuid,
    pub(super) keep: Uuid,
    pub(super) other: Uuid,
    pub(super) fields: &'a BTreeSet<String>,
    pub(super) by: &'a str,
    pub(super) cause: Option<Uuid>,
}

impl Tenant {
    /// Who decides, as a pair has it.
    fn decider(&self) -> String {
        match self.changed_by().0 {
            Actor::User(id) => format!("user {id}"),
            Actor::ApiKey(id) => format!("api_key {id}"),
            Actor::System | Actor::Anonymous => "system".to_owned(),
        }
    }

    /// Says that the two rows of an open pair are two persons. The pair does not come back, unless they come to agree in
    /// something else. To say so again changes nothing.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn dismiss_duplicate(&self, id: Uuid, now: Timestamp) -> Result<Decision, StoreError> {
        let mut tx = self.write("dismissing a duplicate").await?;
        hold_alone(&mut tx, self.business()).await?;
        let Some(held) = self.held(&mut tx, id).await? else { return Ok(Decision::NotFound) };
        match held.state {
            DuplicateState::Merged => return Ok(Decision::Decided(held.state)),
            DuplicateState::Dismissed => return Ok(Decision::Done(Box::new(held))),
            DuplicateState::Open => {}
        }
        let dismissed = self.decide(&mut tx, id, DuplicateState::Dismissed, &self.decider(), now).await?;
        let detail = json!({"kind": dismissed.subject.name(), "rows": dismissed.rows});
        self.note(&mut tx, Action::DuplicateDismissed, Some(("duplicate", id)), detail, now).await?;
        tx.commit().await?;
        Ok(Decision::Done(Box::new(dismissed)))
    }

    /// Makes one of the two rows of an open pair: `keep` stays, and is shown with these fields of the other. The org is
    /// told nothing. Leads of two contacts follow them.
    ///
    /// Where a row has become a part of another one meanwhile, that one is meant.
    ///
    /// # Errors
    /// [`StoreError`]; nothing was changed then.
    pub async fn merge_duplicate(
        &self,
        id: Uuid,
        keep: Uuid,
        fields: &BTreeSet<String>,
        now: Timestamp,
    ) -> Result<Decision, StoreError> {
        let mut tx = self.write("merging two rows").await?;
        hold_alone(&mut tx, self.business()).await?;
        let Some(held) = self.held(&mut tx, id).await? else { return Ok(Decision::NotFound) };
        if held.state != DuplicateState::Open {
            return Ok(Decision::Decided(held.state));
        }
        let Some(other) = held.rows.iter().find(|row| **row != keep).filter(|_| held.rows.contains(&keep)) else {
            return Ok(Decision::NotOfPair);
        };
        let by = self.decider();
        self.merge_held(tx, &held, keep, *other, Some(fields), &by, now).await
    }

    /// The same by the rule that has found the pair: the older row stays, and what it lacks is the other's.
    pub(super) async fn merge_by_rule(&self, id: Uuid, now: Timestamp) -> Result<bool, StoreError> {
        let mut tx = self.write("merging two rows").await?;
        hold_alone(&mut tx, self.business()).await?;
        let Some(held) = self.held(&mut tx, id).await? else { return Ok(false) };
        if held.state != DuplicateState::Open || held.decided_by.is_some() {
            return Ok(false);
        }
        let older = tx
            .query(format!(
                "SELECT id FROM {} WHERE business_id = $1 AND id = ANY($2) ORDER BY created_at, id",
                held.subject.table()
            ))
            .bind(self.business())
            .bind(held.rows.to_vec())
            .all()
            .await?;
        let [keep, other] = older.as_slice() else { return Ok(false) };
        let (keep, other) = (keep.get("id")?, other.get("id")?);
        let by = format!("rule:{}", held.rule);
        Ok(matches!(self.merge_held(tx, &held, keep, other, None, &by, now).await?, Decision::Done(_)))
    }

    #[expect(clippy::too_many_arguments, reason = "a decision, with all that it is made of")]
    async fn merge_held(
        &self,
        mut tx: Tx,
        held: &Duplicate,
        keep: Uuid,
        other: Uuid,
        fields: Option<&BTreeSet<String>>,
        by: &str,
        now: Timestamp,
    ) -> Result<Decision, StoreError> {
        let (subject, business) = (held.subject, self.business());
        let standing = roots(&mut tx, business, subject, &[keep, other]).await?;
        let (keep, other) = (standing[&keep], standing[&other]);
        if keep == other {
            return Ok(Decision::Gone);
        }
        let lacking;
        let fields = match fields {
            Some(fields) => fields,
            None => {
                lacking = self.lacking(&mut tx, subject, keep, other).await?;
                &lacking
            }
        };
        let leads = match subject {
            Subject::Contact => follow::leads_of_two(&mut tx, business, keep, other).await?,
            Subject::Lead => None,
        };
        let joining = Joining { subject, pair: held.id, keep, other, fields, by, cause: None };
        if !self.join_rows(&mut tx, &joining, now).await? {
            return Ok(Decision::Gone);
        }
        let mut following = None;
        if let Some((keep, other)) = leads {
            following = self.join_following(&mut tx, (keep, other), fields, by, held.id, now).await?;
        }
        let done = self.held(&mut tx, held.id).await?;
        let mut detail = json!({"kind": subject.name(), "kept": keep, "merged": other, "fields": fields, "by": by});
        if let Some(lead) = following {
            detail["leads"] = json!(lead);
        }
        self.note(&mut tx, Action::DuplicateMerged, Some(("duplicate", held.id)), detail, now).await?;
        tx.commit().await?;
        Ok(done.map_or(Decision::NotFound, |done| Decision::Done(Box::new(done))))
    }

    /// The fields that a row has nothing in, and the other has.
    async fn lacking(
        &self,
        tx: &mut Tx,
        subject: Subject,
        keep: Uuid,
        other: Uuid,
    ) -> Result<BTreeSet<String>, StoreError> {
        let sql = format!("SELECT * FROM {} WHERE business_id = $1 AND id = $2", subject.table());
        let mut rows = Vec::new();
        for id in [keep, other] {
            rows.extend(tx.query(sql.clone()).bind(self.business()).bind(id).optional().await?);
        }
        let [keep, other] = rows.as_slice() else { return Ok(BTreeSet::new()) };
        let has = |row: &Row, field: &str| -> Result<bool, StoreError> {
            let own = row.find::<String>(field)?.is_some_and(|text| !text.trim().is_empty());
            Ok(own || taken(row.find::<Value>("merged_fields")?.as_ref()).contains_key(field))
        };
        let mut lacking = BTreeSet::new();
        for field in FIELDS {
            if !has(keep, field)? && has(other, field)? {
                lacking.insert(field.to_owned());
            }
        }
        Ok(lacking)
    }

    /// Makes one row a part of another, and says so in their pair. False if one of them is gone, or is a part already.
    pub(super) async fn join_rows(
        &self,
        tx: &mut Tx,
        joining: &Joining<'_>,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let Joining { subject, pair, keep, other, fields, by, cause } = joining;
        let (table, business) = (subject.table(), self.business());
        let there = if *subject == Subject::Contact { " AND NOT deleted" } else { "" };
        let rows = tx
            .query(format!(
                "SELECT id, merged_fields FROM {table} WHERE business_id = $1 AND id = ANY($2) AND merged_into IS NULL{there}
                 ORDER BY id FOR UPDATE"
            ))
            .bind(business)
            .bind(vec![*keep, *other])
            .all()
            .await?;
        let mut of = BTreeMap::new();
        for row in &rows {
            of.insert(row.get::<Uuid>("id")?, row.find::<Value>("merged_fields")?);
        }
        let (Some(before), Some(others)) = (of.get(keep), of.get(other)) else { return Ok(false) };
        let (mut after, others) = (taken(before.as_ref()), taken(others.as_ref()));
        for field in fields.iter() {
            // Of whoever has it: what the other has taken of a third is the third's.
            after.insert(field.clone(), others.get(field).copied().unwrap_or(*other));
        }
        let changed = if *subject == Subject::Lead { ", updated_at = $4" } else { ", last_synced_at = $4" };
        tx.query(format!(
            "UPDATE {table} SET merged_into = $3, matched = false{changed} WHERE business_id = $1 AND id = $2"
        ))
        .bind(business)
        .bind(*other)
        .bind(*keep)
        .bind(now)
        .execute()
        .await?;
        tx.query(format!(
            "UPDATE {table} SET merged_fields = $3, matched = false{changed} WHERE business_id = $1 AND id = $2"
        ))
        .bind(business)
        .bind(*keep)
        .bind(as_json(&after))
        .bind(now)
        .execute()
        .await?;
        // What was open about the other is found anew, as the kept one's.
        let (a, b) = sides(*subject);
        tx.query(format!(
            "DELETE FROM duplicates WHERE business_id = $1 AND state = 'open' AND id <> $2 AND ({a} = $3 OR {b} = $3)"
        ))
        .bind(business)
        .bind(*pair)
        .bind(*other)
        .execute()
        .await?;
        tx.query(
            "UPDATE duplicates SET state = 'merged', kept_id = $3, merged_id = $4, fields = $5, before = $6, after = $7,
             cause = $8, decided_by = $9, decided_at = $10 WHERE business_id = $1 AND id = $2",
        )
        .bind(business)
        .bind(*pair)
        .bind(*keep)
        .bind(*other)
        .bind(json!(fields))
        .bind(before.clone())
        .bind(as_json(&after))
        .bind(*cause)
        .bind(*by)
        .bind(now)
        .execute()
        .await?;
        Ok(true)
    }

    /// Takes a decision back: two rows are two again, with what each source says of them by now, or a pair that was
    /// dismissed is open. A merge by a rule, or of leads that followed, becomes one that somebody has dismissed.
    ///
    /// # Errors
    /// [`StoreError`]; nothing was changed then.
    pub async fn undo_duplicate(&self, id: Uuid, now: Timestamp) -> Result<Decision, StoreError> {
        let mut tx = self.write("taking a decision back").await?;
        hold_alone(&mut tx, self.business()).await?;
        let Some(held) = self.held(&mut tx, id).await? else { return Ok(Decision::NotFound) };
        let by = self.decider();
        let undone = match held.state {
            DuplicateState::Open => return Ok(Decision::Decided(held.state)),
            DuplicateState::Dismissed => self.decide(&mut tx, id, DuplicateState::Open, &by, now).await?,
            DuplicateState::Merged => {
                if !self.part_rows(&mut tx, &held, now).await? {
                    return Ok(Decision::Moved);
                }
                let followed = tx
                    .query("SELECT * FROM duplicates WHERE business_id = $1 AND cause = $2 AND state = 'merged'")
                    .bind(self.business())
                    .bind(id)
                    .all()
                    .await?;
                for row in &followed {
                    let leads = duplicate(row)?;
                    if !self.part_rows(&mut tx, &leads, now).await? {
                        return Ok(Decision::Moved);
                    }
                    if leads.agreed.is_empty() {
                        tx.query("DELETE FROM duplicates WHERE business_id = $1 AND id = $2")
                            .bind(self.business())
                            .bind(leads.id)
                            .execute()
                            .await?;
                    } else {
                        self.decide(&mut tx, leads.id, DuplicateState::Open, &by, now).await?;
                    }
                }
                let was_a_persons = held.cause.is_none()
                    && held.decided_by.as_deref().is_some_and(|by| !by.starts_with("rule:") && by != "salesforce");
                let state = if was_a_persons { DuplicateState::Open } else { DuplicateState::Dismissed };
                self.decide(&mut tx, id, state, &by, now).await?
            }
        };
        let detail = json!({"kind": held.subject.name(), "rows": held.rows, "was": held.state});
        self.note(&mut tx, Action::DuplicateUndone, Some(("duplicate", id)), detail, now).await?;
        tx.commit().await?;
        Ok(Decision::Done(Box::new(undone)))
    }

    /// Makes two rows of one again, if both are as the merge has left them. False if they are not.
    async fn part_rows(&self, tx: &mut Tx, held: &Duplicate, now: Timestamp) -> Result<bool, StoreError> {
        let (Some(kept), Some(merged)) = (held.kept_id, held.merged_id) else { return Ok(false) };
        let (table, business) = (held.subject.table(), self.business());
        let rows = tx
            .query(format!(
                "SELECT id, merged_into, merged_fields FROM {table} WHERE business_id = $1 AND id = ANY($2)
                 ORDER BY id FOR UPDATE"
            ))
            .bind(business)
            .bind(vec![kept, merged])
            .all()
            .await?;
        let noted = tx
            .query("SELECT before, after FROM duplicates WHERE business_id = $1 AND id = $2")
            .bind(business)
            .bind(held.id)
            .one()
            .await?;
        let mut is_so = rows.len() == 2;
        for row in &rows {
            let (into, fields): (Option<Uuid>, Option<Value>) = (row.find("merged_into")?, row.find("merged_fields")?);
            is_so &= match row.get::<Uuid>("id")? == kept {
                true => into.is_none() && fields == noted.find("after")?,
                false => into == Some(kept),
            };
        }
        if !is_so {
            return Ok(false);
        }
        let changed = if held.subject == Subject::Lead { ", updated_at = $4" } else { ", last_synced_at = $4" };
        for (id, column, value) in [
            (merged, "merged_into", crate::sql::Value::Id(None)),
            (kept, "merged_fields", noted.find::<Value>("before")?.into()),
        ] {
            tx.query(format!(
                "UPDATE {table} SET {column} = $3, matched = false{changed} WHERE business_id = $1 AND id = $2"
            ))
            .bind(business)
            .bind(id)
            .bind(value)
            .bind(now)
            .execute()
            .await?;
        }
        Ok(true)
    }

    /// A pair, held to the transaction's end.
    pub(super) async fn held(&self, tx: &mut Tx, id: Uuid) -> Result<Option<Duplicate>, StoreError> {
        let row = tx
            .query("SELECT * FROM duplicates WHERE business_id = $1 AND id = $2 FOR UPDATE")
            .bind(self.business())
            .bind(id)
            .optional()
            .await?;
        row.as_ref().map(duplicate).transpose()
    }

    /// Notes that a pair is two rows, and who says so.
    async fn decide(
        &self,
        tx: &mut Tx,
        id: Uuid,
        state: DuplicateState,
        by: &str,
        now: Timestamp,
    ) -> Result<Duplicate, StoreError> {
        let row = tx
            .query(
                "UPDATE duplicates SET state = $3, kept_id = NULL, merged_id = NULL, fields = NULL, before = NULL,
                 after = NULL, cause = NULL, decided_by = $4, decided_at = $5 WHERE business_id = $1 AND id = $2 RETURNING *",
            )
            .bind(self.business())
            .bind(id)
            .bind(state.name())
            .bind(by)
            .bind(now)
            .one()
            .await?;
        duplicate(&row)
    }
}
