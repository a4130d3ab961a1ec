//! Merges that follow from others: leads follow their contacts, and both follow the org.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use jiff::Timestamp;
use serde_json::{Value, json};
use uuid::Uuid;

use super::list::duplicate;
use super::merge::Joining;
use super::merged::{Went, root, roots, went};
use super::normal::Matched;
use super::pairs::sides;
use super::{DuplicateState, Subject};
use crate::audit::Action;
use crate::error::StoreError;
use crate::leads::SourceType;
use crate::open::Tenant;
use crate::personal_data::hold_alone;
use crate::sql::Tx;

/// Who has decided where the org has merged the records itself, and the name of the rule.
const ORG: &str = "salesforce";

/// What is to be told of leads that followed a merge of the org, at the end of the transaction.
pub(crate) type Told = Vec<(Uuid, Value)>;

/// The leads of contacts that are one, by contact: of each the one that stands for it.
async fn leads_of(tx: &mut Tx, business: Uuid, contacts: &[Uuid]) -> Result<BTreeMap<Uuid, Uuid>, StoreError> {
    let rows = tx
        .query(
            "SELECT c.id AS contact_id, l.id AS lead_id FROM contacts AS c JOIN leads AS l
             ON l.business_id = c.business_id AND l.source_type = c.source_type AND l.source_id = c.source_id
             WHERE c.business_id = $1 AND c.id = ANY($2)",
        )
        .bind(business)
        .bind(contacts.to_vec())
        .all()
        .await?;
    let leads: Vec<Uuid> = rows.iter().map(|row| row.get("lead_id")).collect::<Result<_, _>>()?;
    let standing = roots(tx, business, Subject::Lead, &leads).await?;
    rows.iter().map(|row| Ok((row.get("contact_id")?, standing[&row.get::<Uuid>("lead_id")?]))).collect()
}

/// All rows that are one with this one, itself included.
fn parts(went: &Went, of: Uuid) -> Vec<Uuid> {
    went.keys().copied().filter(|id| root(went, *id) == of).chain([of]).collect()
}

/// The leads of two contacts that become one, where they are two: the one that stays, and the other.
pub(super) async fn leads_of_two(
    tx: &mut Tx,
    business: Uuid,
    keep: Uuid,
    other: Uuid,
) -> Result<Option<(Uuid, Uuid)>, StoreError> {
    let went = went(tx, business, Subject::Contact, [keep, other]).await?;
    let ours = leads_of(tx, business, &parts(&went, keep)).await?;
    let theirs = leads_of(tx, business, &parts(&went, other)).await?;
    let of =
        |leads: &BTreeMap<Uuid, Uuid>, contact: Uuid| leads.get(&contact).or_else(|| leads.values().min()).copied();
    Ok(of(&ours, keep).zip(of(&theirs, other)).filter(|(keep, other)| keep != other))
}

/// Leads that came to contacts after these were merged: the merge of the contacts, the lead that stays, and the other.
pub(super) async fn leads_to_merge(
    tx: &mut Tx,
    business: Uuid,
    rows: &[Matched],
) -> Result<Vec<(Uuid, Uuid, Uuid)>, StoreError> {
    let contacts = tx
        .query(
            "SELECT c.id AS id FROM contacts AS c JOIN leads AS l
             ON l.business_id = c.business_id AND l.source_type = c.source_type AND l.source_id = c.source_id
             WHERE c.business_id = $1 AND l.id = ANY($2)",
        )
        .bind(business)
        .bind(rows.iter().map(|row| row.id).collect::<Vec<_>>())
        .all()
        .await?;
    let contacts: Vec<Uuid> = contacts.iter().map(|row| row.get("id")).collect::<Result<_, _>>()?;
    let went = went(tx, business, Subject::Contact, contacts.iter().copied()).await?;
    if went.is_empty() {
        return Ok(Vec::new());
    }
    let mut persons = BTreeSet::new();
    for id in contacts {
        let standing = root(&went, id);
        if standing != id || went.values().any(|into| *into == id) {
            persons.insert(standing);
        }
    }
    let mut merging = Vec::new();
    for person in persons {
        let parts = parts(&went, person);
        let leads = leads_of(tx, business, &parts).await?;
        let all: BTreeSet<Uuid> = leads.values().copied().collect();
        let Some(keep) = leads.get(&person).or_else(|| all.first()).copied() else { continue };
        if all.len() < 2 {
            continue;
        }
        let cause = tx
            .query(
                "SELECT id FROM duplicates WHERE business_id = $1 AND state = 'merged' AND merged_id = ANY($2)
                 ORDER BY decided_at, id LIMIT 1",
            )
            .bind(business)
            .bind(parts)
            .optional()
            .await?;
        if let Some(cause) = cause {
            let cause: Uuid = cause.get("id")?;
            merging.extend(all.iter().filter(|lead| **lead != keep).map(|lead| (cause, keep, *lead)));
        }
    }
    Ok(merging)
}

impl Tenant {
    /// Merges leads whose contacts were merged before they came. How many.
    pub(super) async fn follow_contacts(
        &self,
        leads: &[(Uuid, Uuid, Uuid)],
        now: Timestamp,
    ) -> Result<u64, StoreError> {
        let mut merged = 0;
        for (cause, keep, other) in leads {
            let mut tx = self.write("merging the leads of contacts that were merged").await?;
            hold_alone(&mut tx, self.business()).await?;
            let Some(held) = self.held(&mut tx, *cause).await? else { continue };
            let by = held.decided_by.clone().unwrap_or_default();
            if held.state != DuplicateState::Merged {
                continue;
            }
            let fields = BTreeSet::new();
            let followed = self.join_following(&mut tx, (*keep, *other), &fields, &by, *cause, now).await?;
            if let Some(pair) = followed {
                let detail = json!({"kind": "lead", "kept": keep, "merged": other, "cause": cause, "by": by});
                self.note(&mut tx, Action::DuplicateMerged, Some(("duplicate", pair)), detail, now).await?;
                tx.commit().await?;
                merged += 1;
            }
        }
        Ok(merged)
    }

    /// Merges two leads because of another merge: their pair. None, if somebody has said that they are two.
    pub(super) async fn join_following(
        &self,
        tx: &mut Tx,
        (keep, other): (Uuid, Uuid),
        fields: &BTreeSet<String>,
        by: &str,
        cause: Uuid,
        now: Timestamp,
    ) -> Result<Option<Uuid>, StoreError> {
        let rule = by.strip_prefix("rule:").unwrap_or("contacts");
        let Some(pair) = self.pair_of(tx, keep, other, rule, now).await? else { return Ok(None) };
        let joining = Joining { subject: Subject::Lead, pair, keep, other, fields, by, cause: Some(cause) };
        Ok(self.join_rows(tx, &joining, now).await?.then_some(pair))
    }

    /// The pair of two leads, which is made where there is none. None, if it is not open.
    async fn pair_of(
        &self,
        tx: &mut Tx,
        one: Uuid,
        other: Uuid,
        rule: &str,
        now: Timestamp,
    ) -> Result<Option<Uuid>, StoreError> {
        let (a, b) = sides(Subject::Lead);
        let (first, second) = if one < other { (one, other) } else { (other, one) };
        tx.query(format!(
            "INSERT INTO duplicates (id, business_id, {a}, {b}, rule, agreed, state, created_at)
             VALUES ($1, $2, $3, $4, $5, $6, 'open', $7) ON CONFLICT DO NOTHING"
        ))
        .bind(Uuid::now_v7())
        .bind(self.business())
        .bind(first)
        .bind(second)
        .bind(rule)
        .bind(json!([]))
        .bind(now)
        .execute()
        .await?;
        let row = tx
            .query(format!("SELECT * FROM duplicates WHERE business_id = $1 AND {a} = $2 AND {b} = $3 FOR UPDATE"))
            .bind(self.business())
            .bind(first)
            .bind(second)
            .one()
            .await?;
        let pair = duplicate(&row)?;
        Ok((pair.state == DuplicateState::Open).then_some(pair.id))
    }

    /// Ends what was merged into a contact that its source has deleted: those rows stand for themselves again, or are
    /// parts of the contact that the org has merged it into.
    pub(super) async fn end_merges_of(&self, contact: Uuid, now: Timestamp) -> Result<(), StoreError> {
        let mut tx = self.write("ending the merges of a deleted contact").await?;
        hold_alone(&mut tx, self.business()).await?;
        let row = tx
            .query("SELECT source_metadata FROM contacts WHERE business_id = $1 AND id = $2 AND deleted FOR UPDATE")
            .bind(self.business())
            .bind(contact)
            .optional()
            .await?;
        let Some(row) = row else { return Ok(()) };
        let metadata: Value = row.get("source_metadata")?;
        let mut winner: Option<Uuid> = None;
        if let Some(master) = metadata.get("MasterRecordId").and_then(Value::as_str) {
            let there = tx
                .query(
                    "SELECT id FROM contacts WHERE business_id = $1 AND source_type = $2 AND source_id = $3 AND NOT deleted",
                )
                .bind(self.business())
                .bind(SourceType::Salesforce.name())
                .bind(master)
                .optional()
                .await?;
            winner = there.map(|row| row.get("id")).transpose()?;
        }
        let winner = match winner {
            Some(id) => roots(&mut tx, self.business(), Subject::Contact, &[id]).await?.get(&id).copied(),
            None => None,
        };
        let rows = tx
            .query(
                "UPDATE contacts SET merged_into = $3, matched = false, last_synced_at = $4
                 WHERE business_id = $1 AND merged_into = $2 AND id <> $5",
            )
            .bind(self.business())
            .bind(contact)
            .bind(winner)
            .bind(now)
            .bind(winner.unwrap_or(Uuid::nil()))
            .execute()
            .await?;
        // One of the merged ones is the org's winner itself: it stands for the rest.
        tx.query("UPDATE contacts SET merged_into = NULL, matched = false WHERE business_id = $1 AND merged_into = $2")
            .bind(self.business())
            .bind(contact)
            .execute()
            .await?;
        tx.query("UPDATE contacts SET merged_fields = NULL WHERE business_id = $1 AND id = $2")
            .bind(self.business())
            .bind(contact)
            .execute()
            .await?;
        tx.query("DELETE FROM duplicates WHERE business_id = $1 AND kept_id = $2 AND state = 'merged'")
            .bind(self.business())
            .bind(contact)
            .execute()
            .await?;
        let (action, because) = match winner {
            Some(_) => (Action::DuplicateMerged, "the org has merged it"),
            None => (Action::DuplicateUndone, "the org has deleted it"),
        };
        let detail = json!({"kind": "contact", "contact": contact, "into": winner, "rows": rows, "because": because});
        self.note(&mut tx, action, Some(("contact", contact)), detail, now).await?;
        tx.commit().await
    }
}

/// Leads of contacts that the org has merged go to the contact that stayed: a lead becomes that contact's, or a part of
/// the lead that the contact has already. `None`: somebody else has made that lead meanwhile; begin again.
///
/// `lost`: the source's ids of the contacts that went, and of those that stayed. It costs nothing where there are none.
pub(crate) async fn org_merges(
    tenant: &Tenant,
    tx: &mut Tx,
    lost: &BTreeMap<String, String>,
    now: Timestamp,
) -> Result<Option<Told>, StoreError> {
    let mut told = Told::new();
    if lost.is_empty() {
        return Ok(Some(told));
    }
    let ids: BTreeSet<&String> = lost.iter().flat_map(|(loser, master)| [loser, master]).collect();
    // In the order in which everybody takes leads.
    let rows = tx
        .query(
            "SELECT id, source_id, merged_into FROM leads WHERE business_id = $1 AND source_type = $2 AND source_id = ANY($3)
             ORDER BY source_id FOR UPDATE",
        )
        .bind(tenant.business())
        .bind(SourceType::Salesforce.name())
        .bind(ids.into_iter().cloned().collect::<Vec<_>>())
        .all()
        .await?;
    let mut leads: HashMap<String, (Uuid, bool)> = HashMap::new();
    for row in &rows {
        leads.insert(row.get("source_id")?, (row.get("id")?, row.find::<Uuid>("merged_into")?.is_some()));
    }
    for loser in lost.keys() {
        let Some((lead, false)) = leads.get(loser).copied() else { continue };
        // A winner of the same page may have lost to another one since.
        let (mut winner, mut steps) = (&lost[loser], 0);
        while let Some(next) = lost.get(winner).filter(|_| steps < lost.len()) {
            (winner, steps) = (next, steps + 1);
        }
        match leads.get(winner).copied() {
            None => {
                let moved = tx
                    .query(
                        "UPDATE leads SET source_id = $3, source_stamp = NULL, sync_status = 'pending', updated_at = $4,
                         matched = false WHERE business_id = $1 AND id = $2",
                    )
                    .bind(tenant.business())
                    .bind(lead)
                    .bind(winner)
                    .bind(now)
                    .execute()
                    .await;
                match moved {
                    Err(error) if error.is_duplicate() => return Ok(None),
                    moved => moved?,
                };
                leads.insert(winner.clone(), (lead, false));
                told.push((lead, json!({"kind": "lead", "redirected": lead, "by": ORG})));
            }
            Some((theirs, _)) => {
                let keep = roots(tx, tenant.business(), Subject::Lead, &[theirs]).await?[&theirs];
                if keep == lead {
                    continue;
                }
                let Some(pair) = tenant.pair_of(tx, keep, lead, ORG, now).await? else { continue };
                let fields = BTreeSet::new();
                let joining =
                    Joining { subject: Subject::Lead, pair, keep, other: lead, fields: &fields, by: ORG, cause: None };
                if tenant.join_rows(tx, &joining, now).await? {
                    told.push((lead, json!({"kind": "lead", "kept": keep, "merged": lead, "by": ORG})));
                }
            }
        }
        leads.remove(loser);
    }
    Ok(Some(told))
}
