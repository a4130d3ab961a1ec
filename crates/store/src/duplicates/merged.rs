//! Rows that were merged: who stands for them, and what they look like together.

use std::collections::{BTreeMap, HashMap, HashSet};

use serde_json::Value;
use uuid::Uuid;

use super::{FIELDS, Subject};
use crate::error::StoreError;
use crate::leads::{Lead, lead};
use crate::sql::{Row, Tx};

/// Merges one after the other that are followed: each has taken a person's decision.
const DEEPEST: usize = 1_000;

/// For each row that went into another: which.
pub(super) type Went = HashMap<Uuid, Uuid>;

/// The merges that these rows have a part in, with all others that lead to them or on from them. Asked for by the rows'
/// ids: how many merges a business has makes no difference.
pub(super) async fn went(
    tx: &mut Tx,
    business: Uuid,
    subject: Subject,
    ids: impl IntoIterator<Item = Uuid>,
) -> Result<Went, StoreError> {
    let mut seen: HashSet<Uuid> = ids.into_iter().collect();
    let (mut went, mut next): (Went, Vec<Uuid>) = (Went::new(), seen.iter().copied().collect());
    for _ in 0..DEEPEST {
        if next.is_empty() {
            break;
        }
        let mut met = Vec::new();
        for end in ["id", "merged_into"] {
            let rows = tx
                .query(format!(
                    "SELECT id, merged_into FROM {} WHERE business_id = $1 AND {end} = ANY($2) AND merged_into IS NOT NULL",
                    subject.table()
                ))
                .bind(business)
                .bind(next.clone())
                .all()
                .await?;
            for row in &rows {
                let (id, into): (Uuid, Uuid) = (row.get("id")?, row.get("merged_into")?);
                went.insert(id, into);
                met.extend([id, into]);
            }
        }
        next = met.into_iter().filter(|id| seen.insert(*id)).collect();
    }
    Ok(went)
}

/// Who stands for a row: itself, if it went into no other.
pub(super) fn root(went: &Went, id: Uuid) -> Uuid {
    let mut at = id;
    for _ in 0..DEEPEST {
        match went.get(&at) {
            Some(next) => at = *next,
            None => break,
        }
    }
    at
}

/// Who stands for each of these rows.
pub(crate) async fn roots(
    tx: &mut Tx,
    business: Uuid,
    subject: Subject,
    ids: &[Uuid],
) -> Result<HashMap<Uuid, Uuid>, StoreError> {
    let (mut went, mut next) = (Went::new(), ids.to_vec());
    for _ in 0..DEEPEST {
        let rows = tx
            .query(format!(
                "SELECT id, merged_into FROM {} WHERE business_id = $1 AND id = ANY($2) AND merged_into IS NOT NULL",
                subject.table()
            ))
            .bind(business)
            .bind(next)
            .all()
            .await?;
        if rows.is_empty() {
            break;
        }
        next = Vec::with_capacity(rows.len());
        for row in &rows {
            let into: Uuid = row.get("merged_into")?;
            went.insert(row.get("id")?, into);
            next.push(into);
        }
    }
    Ok(ids.iter().map(|id| (*id, root(&went, *id))).collect())
}

/// Which fields of a row are another's: that row, by field.
pub(super) fn taken(merged_fields: Option<&Value>) -> BTreeMap<String, Uuid> {
    let fields = merged_fields.and_then(Value::as_object).into_iter().flatten();
    fields.filter_map(|(field, row)| Some((field.clone(), row.as_str()?.parse().ok()?))).collect()
}

pub(super) fn as_json(taken: &BTreeMap<String, Uuid>) -> Option<Value> {
    (!taken.is_empty())
        .then(|| taken.iter().map(|(field, row)| (field.clone(), Value::from(row.to_string()))).collect())
}

/// The fields of a row that are shown of others, with what these have in them. Where such a row is gone, the row's own.
pub(crate) async fn taken_fields(
    tx: &mut Tx,
    business: Uuid,
    subject: Subject,
    row: &Row,
) -> Result<BTreeMap<String, Option<String>>, StoreError> {
    let mut fields = BTreeMap::new();
    for (name, other) in taken(row.find::<Value>("merged_fields")?.as_ref()) {
        let other = tx
            .query(format!("SELECT * FROM {} WHERE business_id = $1 AND id = $2", subject.table()))
            .bind(business)
            .bind(other)
            .optional()
            .await?;
        if let Some(other) = other.filter(|_| FIELDS.contains(&name.as_str())) {
            let held = other.find(&name)?;
            fields.insert(name, held);
        }
    }
    Ok(fields)
}

/// The leads as they are shown: with the fields that merges have taken of others. Where such a row is gone, the lead's own.
pub(crate) async fn composed_leads(tx: &mut Tx, business: Uuid, mut leads: Vec<Lead>) -> Result<Vec<Lead>, StoreError> {
    let of: Vec<BTreeMap<String, Uuid>> = leads.iter().map(|lead| taken(lead.merged_fields.as_ref())).collect();
    let wanted: Vec<Uuid> = of.iter().flat_map(|fields| fields.values().copied()).collect();
    if wanted.is_empty() {
        return Ok(leads);
    }
    let others = tx
        .query("SELECT * FROM leads WHERE business_id = $1 AND id = ANY($2)")
        .bind(business)
        .bind(wanted)
        .all()
        .await?;
    let others: Vec<Lead> = others.iter().map(lead).collect::<Result<_, _>>()?;
    let others: HashMap<Uuid, &Lead> = others.iter().map(|lead| (lead.id, lead)).collect();
    for (lead, fields) in leads.iter_mut().zip(&of) {
        for (name, row) in fields {
            let from = others.get(row).and_then(|other| field(other, name));
            if let (Some(from), Some(into)) = (from, field_of(lead, name)) {
                into.clone_from(from);
            }
        }
    }
    Ok(leads)
}

fn field<'l>(lead: &'l Lead, name: &str) -> Option<&'l Option<String>> {
    Some(match name {
        "first_name" => &lead.first_name,
        "last_name" => &lead.last_name,
        "name" => &lead.name,
        "email" => &lead.email,
        "phone" => &lead.phone,
        "company" => &lead.company,
        "title" => &lead.title,
        _ => return None,
    })
}

fn field_of<'l>(lead: &'l mut Lead, name: &str) -> Option<&'l mut Option<String>> {
    Some(match name {
        "first_name" => &mut lead.first_name,
        "last_name" => &mut lead.last_name,
        "name" => &mut lead.name,
        "email" => &mut lead.email,
        "phone" => &mut lead.phone,
        "company" => &mut lead.company,
        "title" => &mut lead.title,
        _ => return None,
    })
}
