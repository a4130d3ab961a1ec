//! Writing the leads of a batch: which are new, which have changed and which are left alone is decided here, not by
//! the database, so that it is decided alike in both and told exactly.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write;

use jiff::Timestamp;
use uuid::Uuid;

use crate::contacts::ContactRow;
use crate::error::StoreError;
use crate::imports::{Import, RowOutcome};
use crate::leads::{Lead, SourceType, SyncStatus, lead};
use crate::sql::{Tx, Value};

/// Rows of one INSERT; 18 values each at most, and SQLite takes 32,766, PostgreSQL 65,535. Statements of 1,000 rows,
/// UNNEST, and COPY into a temporary table (the only table that COPY may fill under row-level security) were measured
/// within 6% of this (the test `ways_into_postgres`).
const CHUNK: usize = 250;

const COLUMNS: &str = "business_id, source_type, last_synced_at, updated_at, created_at, sync_status, custom_fields, \
    id, integration_id, source_id, first_name, last_name, name, email, phone, company, title, source_metadata, \
    source_stamp, tags, campaign, search_text";

const CHANGE: &str = " ON CONFLICT (business_id, source_type, source_id) DO UPDATE SET
    integration_id = excluded.integration_id, first_name = excluded.first_name, last_name = excluded.last_name,
    name = excluded.name, email = excluded.email, phone = excluded.phone, company = excluded.company,
    title = excluded.title, source_metadata = excluded.source_metadata, source_stamp = excluded.source_stamp,
    tags = excluded.tags, campaign = excluded.campaign, search_text = excluded.search_text, sync_status = 'synced',
    last_synced_at = excluded.last_synced_at, updated_at = excluded.updated_at,
    matched = false";

/// What became of each source id.
pub(crate) type Outcomes = HashMap<String, (RowOutcome, Uuid)>;

/// Makes leads of contacts, each source id once. `None`: somebody else has made one of them in the meantime; the
/// transaction must be begun again, for waiting within it for whoever holds that row may be waiting for each other.
///
/// No two transactions wait for each other: each locks the leads that are there in the order of their ids, before it
/// writes any, and then writes new ones in that order.
pub(crate) async fn upsert_leads(
    tx: &mut Tx,
    business: Uuid,
    import: &Import,
    contacts: &BTreeMap<&str, &ContactRow>,
    now: Timestamp,
) -> Result<Option<Outcomes>, StoreError> {
    let ids: Vec<String> = contacts.keys().map(|id| (*id).to_owned()).collect();
    let there = tx
        .query(
            "SELECT * FROM leads WHERE business_id = $1 AND source_type = $2 AND source_id = ANY($3)
             ORDER BY source_id FOR UPDATE",
        )
        .bind(business)
        .bind(SourceType::Salesforce.name())
        .bind(ids)
        .all()
        .await?;
    let there: Vec<Lead> = there.iter().map(lead).collect::<Result<_, _>>()?;
    let there: HashMap<&str, &Lead> = there.iter().map(|lead| (lead.source_id.as_str(), lead)).collect();
    let mut outcomes = Outcomes::with_capacity(contacts.len());
    let (mut new, mut changed) = (Vec::new(), Vec::new());
    for (id, contact) in contacts {
        let (outcome, lead_id) = match there.get(id) {
            None => {
                let lead = applied(fresh(id, now), contact, import);
                let id = lead.id;
                new.push(lead);
                (RowOutcome::Created, id)
            }
            Some(held) => {
                let lead = applied((*held).clone(), contact, import);
                let (is_equal, id) = (lead == **held, lead.id);
                if !is_equal {
                    changed.push(lead);
                }
                (if is_equal { RowOutcome::Unchanged } else { RowOutcome::Updated }, id)
            }
        };
        outcomes.insert((*id).to_owned(), (outcome, lead_id));
    }
    let mut made = 0;
    for leads in new.chunks(CHUNK) {
        made += insert(tx, business, leads, " ON CONFLICT DO NOTHING", now).await?;
    }
    if made < new.len() as u64 {
        return Ok(None);
    }
    for leads in changed.chunks(CHUNK) {
        insert(tx, business, leads, CHANGE, now).await?;
    }
    Ok(Some(outcomes))
}

fn fresh(source_id: &str, now: Timestamp) -> Lead {
    Lead {
        id: Uuid::now_v7(),
        integration_id: None,
        source_type: SourceType::Salesforce,
        source_id: source_id.to_owned(),
        first_name: None,
        last_name: None,
        name: None,
        email: None,
        phone: None,
        company: None,
        title: None,
        source_metadata: serde_json::json!({}),
        tags: Vec::new(),
        custom_fields: serde_json::json!({}),
        campaign: None,
        sync_status: SyncStatus::Synced,
        last_synced_at: now,
        created_at: now,
        updated_at: now,
        merged_into: None,
        source_stamp: None,
        merged_fields: None,
    }
}

/// The lead once an import has brought this version of the contact: a version older than the one held changes no
/// field, but the import's campaign and tags hold all the same.
fn applied(mut lead: Lead, contact: &ContactRow, import: &Import) -> Lead {
    // Both databases keep milliseconds.
    let stamp = Timestamp::from_millisecond(contact.source_stamp.as_millisecond()).unwrap_or(contact.source_stamp);
    if lead.source_stamp.is_none_or(|held| held <= stamp) {
        lead.first_name.clone_from(&contact.first_name);
        lead.last_name.clone_from(&contact.last_name);
        lead.name.clone_from(&contact.name);
        lead.email.clone_from(&contact.email);
        lead.phone.clone_from(&contact.phone);
        lead.company.clone_from(&contact.company);
        lead.title.clone_from(&contact.title);
        lead.source_metadata.clone_from(&contact.source_metadata);
        lead.source_stamp = Some(stamp);
        lead.integration_id = Some(import.integration_id);
        lead.sync_status = SyncStatus::Synced;
    }
    if import.campaign.is_some() {
        lead.campaign.clone_from(&import.campaign);
    }
    for tag in &import.tags {
        if !lead.tags.contains(tag) {
            lead.tags.push(tag.clone());
        }
    }
    lead
}

/// Inserts rows; how many it touched.
async fn insert(
    tx: &mut Tx,
    business: Uuid,
    leads: &[Lead],
    conflict: &str,
    now: Timestamp,
) -> Result<u64, StoreError> {
    let mut sql = String::with_capacity(leads.len() * 130 + 1_000);
    sql.push_str("INSERT INTO leads (");
    sql.push_str(COLUMNS);
    sql.push_str(") VALUES ");
    // $1 to $3 are the same for all rows.
    let mut values: Vec<Value> = vec![business.into(), SourceType::Salesforce.name().into(), now.into()];
    for lead in leads {
        sql.push_str(if values.len() == 3 { "(" } else { ", (" });
        sql.push_str("$1, $2, $3, $3, $3, 'synced', '{}'");
        let first = values.len();
        values.extend::<[Value; 15]>([
            lead.id.into(),
            lead.integration_id.into(),
            (&lead.source_id).into(),
            (&lead.first_name).into(),
            (&lead.last_name).into(),
            (&lead.name).into(),
            (&lead.email).into(),
            (&lead.phone).into(),
            (&lead.company).into(),
            (&lead.title).into(),
            (&lead.source_metadata).into(),
            lead.source_stamp.into(),
            serde_json::Value::from(lead.tags.clone()).into(),
            (&lead.campaign).into(),
            lead.search_text().into(),
        ]);
        for n in first..values.len() {
            let _ = write!(sql, ", ${}", n + 1);
        }
        sql.push(')');
    }
    sql.push_str(conflict);
    tx.query(sql).bind_all(values).execute().await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::imports::ImportState;

    fn contact(last_name: &str, second: i64) -> ContactRow {
        ContactRow {
            source_id: "1".to_owned(),
            first_name: None,
            last_name: Some(last_name.to_owned()),
            name: None,
            email: None,
            phone: None,
            company: None,
            title: None,
            source_metadata: serde_json::json!({}),
            source_stamp: Timestamp::new(second, 999_999).unwrap(),
            custom_fields: serde_json::json!({}),
            deleted: None,
        }
    }

    fn import(campaign: Option<&str>, tags: &[&str]) -> Import {
        Import {
            id: Uuid::nil(),
            integration_id: Uuid::nil(),
            idempotency_key: None,
            campaign: campaign.map(str::to_owned),
            tags: tags.iter().map(|tag| (*tag).to_owned()).collect(),
            state: ImportState::Running,
            error: None,
            total: 1,
            pending: 1,
            created: 0,
            updated: 0,
            unchanged: 0,
            failed: 0,
            skipped_erased: 0,
            created_by: None,
            created_at: Timestamp::UNIX_EPOCH,
            finished_at: None,
        }
    }

    #[test]
    fn an_older_version_changes_no_field_and_the_imports_words_hold_all_the_same() {
        let now = Timestamp::UNIX_EPOCH;
        let held = applied(fresh("1", now), &contact("new", 20), &import(Some("spring"), &["a"]));
        assert_eq!((held.last_name.as_deref(), held.campaign.as_deref()), (Some("new"), Some("spring")));
        assert_eq!(applied(held.clone(), &contact("new", 20), &import(None, &["a", "a"])), held);
        let after = applied(held.clone(), &contact("old", 10), &import(None, &["b", "a"]));
        assert_eq!((after.last_name.as_deref(), after.campaign.as_deref()), (Some("new"), Some("spring")));
        assert_eq!(after.tags, ["a", "b"]);
        // What the stamp does not tell, such as the account's name, is taken as it came last.
        assert_eq!(applied(held, &contact("other", 20), &import(None, &[])).last_name.as_deref(), Some("other"));
    }
}
