//! The org's contacts, live, page by page: for somebody who chooses which of them become leads.
//!
//! The order is that of the ids, the greatest first: by and large, newest first. It is the one order that the org can
//! walk by an index and that has no ties, so that a page is found again by the last id of the one before: no OFFSET
//! (Salesforce takes 2,000 at most), and no cursor in the org, which would end by itself or push out another one. A name
//! would be no such key: the org compares text without regard to case and sorts it by the user's language, so that what
//! follows a name in the one sense need not follow it in the other.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures_util::TryStreamExt;
use serde::{Deserialize, Serialize};
use tieline_client::soql::{Like, SoqlError, field, select};
use tieline_client::{ClientError, Connection, id};
use tieline_store::{SourceType, StoreError, Tenant, Uuid};

use crate::contact;

/// Contacts of a page, unless told otherwise.
pub const DEFAULT_LIMIT: u32 = 50;
/// Contacts of a page at most.
pub const MAX_LIMIT: u32 = 200;
/// Characters that a search has at least: the org goes through all contacts for it, and one letter finds most of them.
pub const MIN_SEARCH: usize = 2;
/// Characters that a search has at most. Source: 255 is the longest that Account.Name can be.
pub const MAX_SEARCH: usize = 255;

const VERSION: u32 = 1;

/// Which page.
#[derive(Debug, Clone, Copy, Default)]
pub struct ContactRequest<'a> {
    /// The `next` of the page before; none for the first.
    pub cursor: Option<&'a str>,
    /// Contacts, from 1 to [`MAX_LIMIT`]; [`DEFAULT_LIMIT`] unless told otherwise.
    pub limit: Option<u32>,
    /// What name, e-mail or company must hold, in whatever case. Spaces around it do not count; nothing means all.
    pub q: Option<&'a str>,
}

/// A page of the org's contacts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ContactPage {
    /// The contacts.
    pub items: Vec<OrgContact>,
    /// Where the next page begins; none: this was the last.
    pub next: Option<String>,
}

/// A contact as the org has it now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OrgContact {
    /// The org's id, 18 characters.
    pub id: String,
    /// Given name.
    pub first_name: Option<String>,
    /// Family name.
    pub last_name: Option<String>,
    /// Full name.
    pub name: Option<String>,
    /// E-mail address.
    pub email: Option<String>,
    /// Phone number.
    pub phone: Option<String>,
    /// Job title.
    pub title: Option<String>,
    /// Name of the account.
    pub company: Option<String>,
    /// The lead that it is here already.
    pub lead_id: Option<Uuid>,
}

/// Why there is no page.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ContactPageError {
    /// The cursor is none of ours.
    #[error("could not read the cursor `{0}`")]
    Cursor(String),
    /// The limit is out of bounds.
    #[error("a page of {0} contacts cannot be asked for: it has from 1 to {MAX_LIMIT}")]
    Limit(u32),
    /// The search is too short or too long.
    #[error("a search for `{0}` was not made: it needs from {MIN_SEARCH} to {MAX_SEARCH} characters")]
    Search(String),
    /// The org could not be asked.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The database could not be asked.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The query cannot be made.
    #[error(transparent)]
    Soql(#[from] SoqlError),
}

impl ContactRequest<'_> {
    /// Whether it can be asked, before anybody is.
    ///
    /// # Errors
    /// [`ContactPageError`], of which the caller is the cause.
    pub fn check(&self) -> Result<(), ContactPageError> {
        query(self).map(drop)
    }
}

impl ContactPageError {
    /// Whether the request is at fault, and not the org or the database.
    pub fn is_the_callers(&self) -> bool {
        matches!(self, ContactPageError::Cursor(_) | ContactPageError::Limit(_) | ContactPageError::Search(_))
    }

    /// The next act.
    pub fn hint(&self) -> String {
        match self {
            ContactPageError::Cursor(_) => {
                "give the `next` of the page before as it is, or none for the first page".to_owned()
            }
            ContactPageError::Limit(_) => "ask for fewer, and for the next page".to_owned(),
            ContactPageError::Search(_) => "search for a part of a name, an e-mail address or a company".to_owned(),
            ContactPageError::Client(error) => error.hint(),
            ContactPageError::Store(error) => error.hint(),
            ContactPageError::Soql(_) => "report this: the query is made here".to_owned(),
        }
    }
}

/// What a cursor says.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Place {
    v: u32,
    /// The last id that was seen.
    after: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Record {
    id: String,
    first_name: Option<String>,
    last_name: Option<String>,
    name: Option<String>,
    email: Option<String>,
    phone: Option<String>,
    title: Option<String>,
    account: Option<Account>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Account {
    name: Option<String>,
}

fn cursor_after(id: &str) -> String {
    let place = Place { v: VERSION, after: id.to_owned() };
    URL_SAFE_NO_PAD.encode(serde_json::to_vec(&place).unwrap_or_default())
}

fn read_cursor(cursor: &str) -> Option<String> {
    let place: Place = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(cursor).ok()?).ok()?;
    (place.v == VERSION).then(|| id::to_18(&place.after)).flatten()
}

/// The query for a page, with one contact more than it has, which says whether there is another one.
fn query(request: &ContactRequest<'_>) -> Result<(String, u32), ContactPageError> {
    let limit = request.limit.unwrap_or(DEFAULT_LIMIT);
    if !(1..=MAX_LIMIT).contains(&limit) {
        return Err(ContactPageError::Limit(limit));
    }
    let fields = ["Id", "FirstName", "LastName", "Name", "Email", "Phone", "Title", "Account.Name"];
    let mut query = select(fields).from(contact::OBJECT).order_by_desc("Id").limit(u64::from(limit) + 1);
    if let Some(q) = request.q.map(str::trim).filter(|q| !q.is_empty()) {
        if !(MIN_SEARCH..=MAX_SEARCH).contains(&q.chars().count()) {
            return Err(ContactPageError::Search(q.chars().take(MAX_SEARCH).collect()));
        }
        let holds = |name: &str| field(name).like(Like::containing(q));
        query = query.filter(holds("Name").or(holds("Email")).or(holds("Account.Name")));
    }
    if let Some(cursor) = request.cursor {
        let after =
            read_cursor(cursor).ok_or_else(|| ContactPageError::Cursor(cursor.chars().take(MAX_SEARCH).collect()))?;
        query = query.filter(field("Id").lt(after));
    }
    Ok((query.build()?, limit))
}

/// Reads a page of the org's contacts; which of them are leads of the business already is one question to the database.
/// Deleted contacts are not among them.
///
/// # Errors
/// [`ContactPageError`].
pub async fn contact_page(
    connection: &Connection,
    tenant: &Tenant,
    request: &ContactRequest<'_>,
) -> Result<ContactPage, ContactPageError> {
    let (soql, limit) = query(request)?;
    let mut records: Vec<Record> = connection.query(&soql).try_collect().await?;
    let more = records.len() > limit as usize;
    records.truncate(limit as usize);
    let next = records.last().filter(|_| more).map(|last| cursor_after(&last.id));
    let ids = records.iter().map(|record| record.id.clone()).collect();
    let leads = tenant.leads_of_sources(SourceType::Salesforce, ids).await?;
    let items = records.into_iter().map(|record| OrgContact {
        lead_id: leads.get(&record.id).copied(),
        id: record.id,
        first_name: record.first_name,
        last_name: record.last_name,
        name: record.name,
        email: record.email,
        phone: record.phone,
        title: record.title,
        company: record.account.and_then(|account| account.name),
    });
    Ok(ContactPage { items: items.collect(), next })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn soql(request: ContactRequest<'_>) -> String {
        query(&request).unwrap().0
    }

    #[test]
    fn a_search_is_a_value_and_never_syntax() {
        let asked = soql(ContactRequest { q: Some(" a%' OR Id != '_ "), limit: Some(2), cursor: None });
        let like = r"LIKE '%a\%\' OR Id != \'\_%'";
        assert_eq!(
            asked,
            format!(
                "SELECT Id, FirstName, LastName, Name, Email, Phone, Title, Account.Name FROM Contact \
                 WHERE Name {like} OR Email {like} OR Account.Name {like} ORDER BY Id DESC NULLS LAST LIMIT 3"
            )
        );
        let cursor = cursor_after("003000000000001AAA");
        let asked = soql(ContactRequest { q: Some("xy"), cursor: Some(&cursor), limit: None });
        assert!(asked.contains("WHERE (Name LIKE '%xy%' OR Email LIKE"), "{asked}");
        assert!(asked.contains(") AND Id < '003000000000001AAA' ORDER BY"), "{asked}");
        assert!(!soql(ContactRequest { q: Some("  "), ..Default::default() }).contains("WHERE"));
    }

    #[test]
    fn what_is_no_cursor_is_refused() {
        let encoded = |json: &str| URL_SAFE_NO_PAD.encode(json);
        assert_eq!(read_cursor(&cursor_after("003000000000001")).as_deref(), Some("003000000000001AAA"));
        for cursor in [
            "",
            "003000000000001AAA",
            "eyJ2IjoxLCJhZnRlciI6",
            &encoded(r#"{"v":2,"after":"003000000000001AAA"}"#),
            &encoded(r#"{"v":1,"after":"x' OR Id != '"}"#),
            &encoded(r#"{"v":1,"after":""}"#),
            &encoded(r#"{"v":1}"#),
            &encoded(r#"{"v":1,"after":"003000000000001AAA","offset":9}"#),
            &encoded("[]"),
        ] {
            assert_eq!(read_cursor(cursor), None, "{cursor}");
            let error = query(&ContactRequest { cursor: Some(cursor), ..Default::default() }).unwrap_err();
            assert!(matches!(error, ContactPageError::Cursor(_)) && error.is_the_callers());
        }
    }

    #[test]
    fn a_request_out_of_bounds_is_refused() {
        let of = |limit: Option<u32>, q: Option<&str>| query(&ContactRequest { limit, q, cursor: None });
        assert!(matches!(of(Some(0), None), Err(ContactPageError::Limit(0))));
        assert!(matches!(of(Some(201), None), Err(ContactPageError::Limit(201))));
        assert!(of(Some(200), Some("é€")).is_ok());
        assert!(matches!(of(None, Some(" x ")), Err(ContactPageError::Search(_))));
        assert!(matches!(of(None, Some(&"x".repeat(256))), Err(ContactPageError::Search(_))));
    }
}
