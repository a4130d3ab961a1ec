//! Compares both sides afresh: every contact of the org against every row.

use futures_util::{TryStreamExt, stream};
use serde::Serialize;
use tieline_client::Connection;
use tieline_client::rest::query::QueryOptions;
use tieline_store::{ContactRow, Tenant};

use crate::error::SyncError;
use crate::mapping::{Decoder, Definition, Describes, Plan};

/// How the two sides differ.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Comparison {
    /// Contacts in the org.
    pub org: u64,
    /// Rows here that are no tombstones.
    pub database: u64,
    /// In the org, but not here.
    pub missing: u64,
    /// Here, but not in the org.
    pub extra: u64,
    /// On both sides, with another value in any field.
    pub different: u64,
}

impl Comparison {
    /// Both sides hold the same.
    pub fn is_equal(&self) -> bool {
        self.missing == 0 && self.extra == 0 && self.different == 0
    }
}

/// Walks both sides in the order of ids, side by side: memory does not grow with the org. Org and database sort
/// ids by byte.
///
/// # Errors
/// When either side cannot be read.
pub async fn compare_contacts(connection: &Connection, store: &Tenant) -> Result<Comparison, SyncError> {
    let definition = Definition::contacts();
    let plan = Plan::of_shown(&definition, &Describes::load(connection, &definition).await?)?;
    let soql = format!("SELECT {} FROM {} ORDER BY Id", plan.select_list(), plan.object);
    let pages = connection.query_pages_by(&soql, QueryOptions::default(), Decoder::new(&plan));
    let theirs = stream::try_unfold(pages, async |mut pages| {
        let Some(page) = pages.next().await? else { return Ok(None) };
        let rows = page.records.rows;
        let contacts: Vec<ContactRow> = (0..rows.len()).map(|row| ContactRow::of(&rows, row, &plan.columns)).collect();
        Ok::<_, SyncError>(Some((stream::iter(contacts.into_iter().map(Ok::<_, SyncError>)), pages)))
    });
    let mut theirs = std::pin::pin!(theirs.try_flatten());
    let mut ours = std::pin::pin!(
        store.contacts().map_err(SyncError::from).try_filter(|c| std::future::ready(c.row.deleted.is_none()))
    );
    let mut found = Comparison::default();
    let mut there: Option<ContactRow> = None;
    let mut here: Option<ContactRow> = None;
    loop {
        if there.is_none()
            && let Some(record) = theirs.try_next().await?
        {
            there = Some(record);
            found.org += 1;
        }
        if here.is_none()
            && let Some(contact) = ours.try_next().await?
        {
            here = Some(contact.row);
            found.database += 1;
        }
        let order = match (&there, &here) {
            (None, None) => return Ok(found),
            (Some(_), None) => std::cmp::Ordering::Less,
            (None, Some(_)) => std::cmp::Ordering::Greater,
            (Some(a), Some(b)) => a.source_id.cmp(&b.source_id),
        };
        match order {
            std::cmp::Ordering::Less => {
                found.missing += 1;
                there = None;
            }
            std::cmp::Ordering::Greater => {
                found.extra += 1;
                here = None;
            }
            std::cmp::Ordering::Equal => {
                found.different += u64::from(there.take() != here.take());
            }
        }
    }
}
