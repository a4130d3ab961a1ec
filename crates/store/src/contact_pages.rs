//! Contacts as people look through them: newest first, page by page, by a text within name, e-mail or company.
//!
//! A search reads rows in the order of the list until a page is full, and not more than so many of them at once: there is no
//! index of the middle of texts, letters of all languages are compared alike on both databases, and no search, whatever
//! it is for, holds anybody up for long. Where it stopped is the cursor of the next page.

use std::collections::{HashMap, HashSet};
use std::str::FromStr;

use jiff::Timestamp;
use uuid::Uuid;

use crate::contacts::{Contact, composed};
use crate::duplicates::{self, Subject};
use crate::error::StoreError;
use crate::open::Tenant;
use crate::pages::{Cursor, MalformedCursor, Page};
use crate::sql::{Row, Tx, Value};

/// Rows that one page of a search looks at.
pub const SEARCHED: u32 = 20_000;
/// Of these, as many by one statement.
const CHUNK: u32 = 2_000;

/// Which contacts are meant; what is none of these is not asked for.
#[derive(Debug, Clone, Copy, Default)]
pub struct ContactFilter<'a> {
    /// Of this integration.
    pub integration: Option<Uuid>,
    /// With this text, in whatever case, within name, e-mail or company.
    pub text: Option<&'a str>,
    /// Without those that have gone at the source.
    pub without_gone: bool,
}

/// A contact with where it is here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedContact {
    /// It, as it is shown: with the fields that a merge has taken of others.
    pub contact: Contact,
    /// The integration that brought it; none once that is gone.
    pub integration_id: Option<Uuid>,
    /// When it came first.
    pub created_at: Timestamp,
    /// The contact that it has become a part of.
    pub merged_into: Option<Uuid>,
}

/// Where a page ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ContactCursor {
    /// Of all contacts: by when they came.
    Time(Cursor),
    /// Of one integration: by its own numbers, for which there is an index.
    Change(i64, String),
}

impl std::fmt::Display for ContactCursor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            ContactCursor::Time(cursor) => cursor.fmt(f),
            ContactCursor::Change(change, id) => write!(f, "{change}.{id}"),
        }
    }
}

impl FromStr for ContactCursor {
    type Err = MalformedCursor;

    fn from_str(text: &str) -> Result<Self, MalformedCursor> {
        match text.split_once('.') {
            // PostgreSQL takes no NUL, and no id has one.
            Some((change, id)) if !id.contains('\0') => {
                Ok(Self::Change(change.parse().map_err(|_| MalformedCursor)?, id.to_owned()))
            }
            _ => text.parse().map(Self::Time),
        }
    }
}

/// Where one stands in the list, and what it holds of the text.
struct Place {
    id: Uuid,
    at: ContactCursor,
    fits: bool,
    is_part: bool,
}

impl Tenant {
    /// A page of the contacts that a filter means, newest first: at most `limit`, from behind the cursor. A search may end a page
    /// before it is full, once it has looked at [`SEARCHED`] rows. One that has become a part of another is found as that one.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn contact_page(
        &self,
        filter: &ContactFilter<'_>,
        cursor: Option<ContactCursor>,
        limit: u32,
    ) -> Result<Page<ListedContact, ContactCursor>, StoreError> {
        let mut tx = self.read("listing the contacts").await?;
        let text = filter.text.map(str::to_lowercase);
        let chunk = if text.is_some() { CHUNK } else { limit.saturating_add(1) };
        let (mut found, mut at, mut seen): (Vec<Place>, _, u32) = (Vec::new(), cursor, 0);
        let more = 'all: loop {
            let places = self.contact_places(&mut tx, filter, text.as_deref(), at.as_ref(), chunk).await?;
            let count = places.len();
            for place in places {
                if place.fits && found.len() == limit as usize {
                    break 'all true;
                }
                at = Some(place.at.clone());
                if place.fits {
                    found.push(place);
                }
            }
            seen = seen.saturating_add(chunk);
            if count < chunk as usize {
                break false;
            }
            if seen >= SEARCHED {
                break true;
            }
        };
        let items = self.listed(&mut tx, filter, text.as_deref(), found).await?;
        Ok(Page { items, next: at.filter(|_| more) })
    }

    async fn contact_places(
        &self,
        tx: &mut Tx,
        filter: &ContactFilter<'_>,
        text: Option<&str>,
        after: Option<&ContactCursor>,
        limit: u32,
    ) -> Result<Vec<Place>, StoreError> {
        let mut sql =
            "SELECT id, last_synced_at, change, source_id, merged_into, first_name, last_name, name, email, company
             FROM contacts WHERE business_id = $1"
                .to_owned();
        let mut values: Vec<Value> = vec![self.business().into()];
        let mut also = |condition: String, more: Vec<Value>| {
            sql.push_str(&condition);
            values.extend(more);
            values.len() + 1
        };
        let mut n = 2;
        if let Some(integration) = filter.integration {
            n = also(format!(" AND integration_id = ${n}"), vec![integration.into()]);
        }
        if filter.without_gone {
            n = also(" AND NOT deleted".to_owned(), vec![]);
        }
        if text.is_none() {
            n = also(" AND merged_into IS NULL".to_owned(), vec![]);
        }
        match (after, filter.integration) {
            (Some(ContactCursor::Time(Cursor { at, id })), None) => {
                n = also(format!(" AND (last_synced_at, id) < (${n}, ${})", n + 1), vec![(*at).into(), (*id).into()]);
            }
            (Some(ContactCursor::Change(change, id)), Some(_)) => {
                n = also(format!(" AND (change, source_id) < (${n}, ${})", n + 1), vec![(*change).into(), id.into()]);
            }
            // That of another list: this one begins.
            _ => {}
        }
        let order =
            if filter.integration.is_some() { "change DESC, source_id DESC" } else { "last_synced_at DESC, id DESC" };
        also(format!(" ORDER BY {order} LIMIT ${n}"), vec![limit.into()]);
        let rows = tx.query(sql).bind_all(values).all().await?;
        let place = |row: &Row| {
            let id = row.get("id")?;
            Ok(Place {
                id,
                at: match filter.integration {
                    Some(_) => ContactCursor::Change(row.get("change")?, row.get("source_id")?),
                    None => ContactCursor::Time(Cursor { at: row.get("last_synced_at")?, id }),
                },
                fits: text.map_or(Ok(true), |text| fits(row, text))?,
                is_part: row.find::<Uuid>("merged_into")?.is_some(),
            })
        };
        rows.iter().map(place).collect()
    }

    /// The rows of these places in their order, each once; of parts those that they are parts of.
    async fn listed(
        &self,
        tx: &mut Tx,
        filter: &ContactFilter<'_>,
        text: Option<&str>,
        found: Vec<Place>,
    ) -> Result<Vec<ListedContact>, StoreError> {
        let parts: Vec<Uuid> = found.iter().filter(|place| place.is_part).map(|place| place.id).collect();
        let roots = match parts.is_empty() {
            true => HashMap::new(),
            false => duplicates::roots(tx, self.business(), Subject::Contact, &parts).await?,
        };
        let wanted: Vec<Uuid> = found.iter().map(|place| roots.get(&place.id).copied().unwrap_or(place.id)).collect();
        let rows = tx
            .query("SELECT * FROM contacts WHERE business_id = $1 AND id = ANY($2)")
            .bind(self.business())
            .bind(wanted.clone())
            .all()
            .await?;
        let mut rows: HashMap<Uuid, Row> =
            rows.into_iter().map(|row| Ok((row.get("id")?, row))).collect::<Result<_, StoreError>>()?;
        let whole: HashSet<Uuid> = found.iter().filter(|place| !place.is_part).map(|place| place.id).collect();
        let mut listed = Vec::with_capacity(wanted.len());
        for (place, id) in found.iter().zip(wanted) {
            // What is in the list by itself is not there once more for a part of it.
            if place.is_part && whole.contains(&id) {
                continue;
            }
            let Some(row) = rows.remove(&id) else { continue };
            if place.is_part {
                let of: Option<Uuid> = row.find("integration_id")?;
                let is_meant = filter.integration.is_none_or(|wanted| of == Some(wanted))
                    && !(filter.without_gone && row.get::<bool>("deleted")?)
                    && !text.map_or(Ok(false), |text| fits(&row, text))?;
                if !is_meant {
                    continue;
                }
            }
            listed.push(self.listed_contact(tx, &row).await?);
        }
        Ok(listed)
    }

    async fn listed_contact(&self, tx: &mut Tx, row: &Row) -> Result<ListedContact, StoreError> {
        Ok(ListedContact {
            contact: composed(tx, self.business(), row).await?,
            integration_id: row.find("integration_id")?,
            created_at: row.get("created_at")?,
            merged_into: row.find("merged_into")?,
        })
    }

    /// One contact by its id.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn contact(&self, id: Uuid) -> Result<Option<ListedContact>, StoreError> {
        let mut tx = self.read("reading a contact").await?;
        let row = tx.query("SELECT * FROM contacts WHERE business_id = $1 AND id = $2");
        match row.bind(self.business()).bind(id).optional().await? {
            Some(row) => self.listed_contact(&mut tx, &row).await.map(Some),
            None => Ok(None),
        }
    }
}

/// Whether a search finds the row. It looks at what one of leads looks at.
fn fits(row: &Row, text: &str) -> Result<bool, StoreError> {
    let field = |name: &str| row.find::<String>(name).map(Option::unwrap_or_default);
    let name = match row.find::<String>("name")? {
        Some(name) => name,
        None => format!("{} {}", field("first_name")?, field("last_name")?),
    };
    let held = [name, field("email")?, field("company")?];
    Ok(held.iter().any(|held| held.to_lowercase().contains(text)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursors_of_both_lists_are_read_as_they_were_written() {
        let at = Cursor { at: Timestamp::from_second(1_700_000_000).unwrap(), id: Uuid::nil() };
        for cursor in [ContactCursor::Time(at), ContactCursor::Change(7, "003xx000004TmiQAAS".to_owned())] {
            assert_eq!(cursor.to_string().parse(), Ok(cursor));
        }
        for text in ["", ".", "x.y", "1.\0", "7"] {
            assert_eq!(text.parse::<ContactCursor>(), Err(MalformedCursor), "{text}");
        }
    }
}
