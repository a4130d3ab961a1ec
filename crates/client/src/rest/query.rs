//! SOQL: pages of up to 2,000 records, with the next one read ahead.

use bytes::Bytes;
use futures_util::{Stream, StreamExt, TryStreamExt, stream};
use jiff::Timestamp;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::Method;
use reqwest::header::{HeaderName, HeaderValue};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio::task::JoinHandle;

use crate::connection::Connection;
use crate::error::{ClientError, refused};
use crate::request::Request;
use crate::soql;
use crate::visited::Visited;

/// Longer paths travel in the body of a composite call. Salesforce refuses URIs beyond 16,384 bytes (REST API Developer
/// Guide, "Request Size Limits"), and a host stands before the path.
const LONGEST_PATH: usize = 16_000;
/// How many records a page has at most.
const BATCH_SIZE: HeaderName = HeaderName::from_static("sforce-query-options");

/// What a query finds and how it comes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct QueryOptions {
    /// Deleted and archived records too (`queryAll`).
    pub deleted_too: bool,
    /// Objects of the Tooling API instead of records.
    pub tooling: bool,
    /// Records in a page, from 200 to 2,000; the org may send fewer. 2,000 unless told otherwise.
    pub batch_size: Option<u16>,
}

/// What stays as it is in a query string; the same as browsers leave. Each other byte takes three.
const SAFE: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'!')
    .remove(b'~')
    .remove(b'*')
    .remove(b'\'')
    .remove(b'(')
    .remove(b')')
    .remove(b' ');

/// A query in a query string: spaces as `+`.
fn encoded(soql: &str) -> String {
    utf8_percent_encode(soql, SAFE).to_string().replace(' ', "+")
}

impl QueryOptions {
    fn resource(self) -> &'static str {
        match (self.tooling, self.deleted_too) {
            (false, false) => "query",
            (false, true) => "queryAll",
            (true, false) => "tooling/query",
            (true, true) => "tooling/queryAll",
        }
    }
}

/// A page of a query's answer.
#[derive(Debug)]
pub struct Page<T> {
    /// Its records.
    pub records: Vec<T>,
    /// Records of the whole answer.
    pub total_size: u64,
    /// The org's clock when this page was asked for; see [`Reply::server_time`](crate::Reply::server_time).
    pub server_time: Option<Timestamp>,
    /// No page follows.
    pub is_last: bool,
    next: Option<String>,
    /// As it came, for the key of its last record.
    body: Bytes,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", bound = "T: DeserializeOwned")]
struct Answer<T> {
    total_size: u64,
    done: bool,
    next_records_url: Option<String>,
    records: Vec<T>,
}

/// The pages of a query. While the caller works on one, the next is on its way; at most those two are held.
///
/// When the org has forgotten how far the query was (after two days, or after ten other queries of the same user), it is
/// asked again for what follows the last record, if it is ordered by `Id`, or by `SystemModstamp`, `CreatedDate` or
/// `LastModifiedDate` and then `Id`, and selects them. What was changed in between is seen as it is then.
#[derive(Debug)]
pub struct Pages<T> {
    connection: Connection,
    soql: String,
    options: QueryOptions,
    /// The first page was asked for. That one comes to the caller itself: there is nothing yet to read it ahead of, and most
    /// queries have no other.
    begun: bool,
    ahead: Option<JoinHandle<Result<Page<T>, ClientError>>>,
    /// The page before the one ahead, and how many records came with it and before.
    behind: Bytes,
    seen: u64,
    total: Option<u64>,
    visited: Visited,
}

impl<T> Drop for Pages<T> {
    fn drop(&mut self) {
        if let Some(task) = &self.ahead {
            task.abort();
        }
    }
}

impl<T: DeserializeOwned + Send + 'static> Pages<T> {
    fn start(connection: Connection, soql: String, options: QueryOptions) -> Self {
        Self {
            connection,
            soql,
            options,
            begun: false,
            ahead: None,
            behind: Bytes::new(),
            seen: 0,
            total: None,
            visited: Visited::default(),
        }
    }

    /// The next page; `None` after the last.
    ///
    /// # Errors
    /// As [`Connection::send`]; nothing follows an error. `INVALID_QUERY_LOCATOR` where the query cannot be continued.
    pub async fn next(&mut self) -> Result<Option<Page<T>>, ClientError> {
        let outcome = match &mut self.ahead {
            Some(task) => match task.await {
                Ok(outcome) => outcome,
                Err(error) => std::panic::resume_unwind(error.into_panic()),
            },
            // Given up by the caller, it is asked for again.
            None if !self.begun => first(self.connection.clone(), self.soql.clone(), self.options).await,
            None => return Ok(None),
        };
        self.begun = true;
        self.ahead = None;
        let mut page = match outcome {
            Err(error) if error.salesforce_code() == Some("INVALID_QUERY_LOCATOR") => match self.continued() {
                Some(soql) => first(self.connection.clone(), soql, self.options).await?,
                None => return Err(error),
            },
            other => other?,
        };
        // A query that was asked again finds only the rest.
        page.total_size = *self.total.get_or_insert(page.total_size);
        self.seen += page.records.len() as u64;
        self.behind = std::mem::take(&mut page.body);
        if let Some(next) = page.next.take() {
            if !self.visited.is_new(&next) {
                return Err(self.connection.unreadable_answer(&Request::get(next), "its pages lead in a circle"));
            }
            self.ahead = Some(tokio::spawn(fetch(self.connection.clone(), next, self.options)));
        }
        Ok(Some(page))
    }

    /// The query for what follows the page that was read last.
    fn continued(&self) -> Option<String> {
        let before: Answer<crate::Record> = serde_json::from_slice(&self.behind).ok()?;
        soql::resume(&self.soql, before.records.last()?, self.seen)
    }
}

fn page<T: DeserializeOwned>(body: Bytes, server_time: Option<Timestamp>) -> Result<Page<T>, serde_json::Error> {
    let answer: Answer<T> = serde_json::from_slice(&body)?;
    let next = match (answer.done, answer.next_records_url) {
        (true, _) => None,
        (false, Some(next)) => Some(next),
        // To stop here would pass a part for the whole.
        (false, None) => return Err(serde::de::Error::custom("it says `done: false` and names no next page")),
    };
    let (records, total_size, is_last) = (answer.records, answer.total_size, next.is_none());
    Ok(Page { records, total_size, server_time, is_last, next, body })
}

async fn first<T: DeserializeOwned>(
    connection: Connection,
    soql: String,
    options: QueryOptions,
) -> Result<Page<T>, ClientError> {
    let path = connection.data_path(&format!("{}?q={}", options.resource(), encoded(&soql)));
    if path.len() > LONGEST_PATH {
        return in_a_body(connection, path, options).await;
    }
    fetch(connection, path, options).await
}

async fn fetch<T: DeserializeOwned>(
    connection: Connection,
    path: String,
    options: QueryOptions,
) -> Result<Page<T>, ClientError> {
    let mut request = Request::get(path);
    if let Some(value) = options.batch_size.and_then(|size| HeaderValue::try_from(format!("batchSize={size}")).ok()) {
        request = request.with_header(BATCH_SIZE, value);
    }
    connection.send_and(&request, |reply| page(reply.body, reply.server_time)).await
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Envelope<'a> {
    composite_request: [Enclosed<'a>; 1],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Enclosed<'a> {
    method: &'a str,
    url: &'a str,
    reference_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    http_headers: Option<serde_json::Value>,
}

#[derive(Deserialize)]
struct Opened {
    #[serde(rename = "compositeResponse")]
    responses: Vec<OpenedOne>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct OpenedOne {
    body: Box<RawValue>,
    http_status_code: u16,
}

/// A query that is too long for a URI, as the one part of a composite call. Source: Salesforce Help 000386264.
async fn in_a_body<T: DeserializeOwned>(
    connection: Connection,
    path: String,
    options: QueryOptions,
) -> Result<Page<T>, ClientError> {
    let http_headers =
        options.batch_size.map(|size| serde_json::json!({"Sforce-Query-Options": format!("batchSize={size}")}));
    let part = Enclosed { method: "GET", url: &path, reference_id: "query", http_headers };
    let request = connection.json(Method::POST, "composite", &Envelope { composite_request: [part] })?.reading();
    let (org, what) = (connection.org(), format!("GET {}", options.resource()));
    let (opened, server_time) = connection
        .send_and(&request, |reply| Ok((serde_json::from_slice::<Opened>(&reply.body)?, reply.server_time)))
        .await?;
    let Some(one) = opened.responses.into_iter().next() else {
        return Err(connection.unreadable_answer(&request, "it holds no response"));
    };
    let body: Box<str> = one.body.into();
    if one.http_status_code != 200 {
        return Err(refused(org, &what, one.http_status_code, body.as_bytes()));
    }
    page(Bytes::from(String::from(body)), server_time)
        .map_err(|e| connection.unreadable_answer(&request, &e.to_string()))
}

/// How the org would run a query.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct QueryPlan {
    /// Records that it expects to find.
    pub cardinality: u64,
    /// Fields of the index that it would use.
    #[serde(default)]
    pub fields: Vec<String>,
    /// `Index`, `Other`, `Sharing` or `TableScan`.
    pub leading_operation_type: String,
    /// Greater than 1: the query is not selective.
    pub relative_cost: f64,
    /// Records of the object.
    pub sobject_cardinality: u64,
    /// The object.
    pub sobject_type: String,
    /// What else the org says, such as `notes`.
    #[serde(flatten)]
    pub more: serde_json::Map<String, serde_json::Value>,
}

#[derive(Deserialize)]
struct Plans {
    plans: Vec<QueryPlan>,
}

impl Connection {
    /// Runs a query and answers its records as a stream, in bounded memory. `T` is a type of the caller's or
    /// [`Record`](crate::Record). Must be read within a Tokio runtime.
    pub fn query<T: DeserializeOwned + Send + 'static>(
        &self,
        soql: &str,
    ) -> impl Stream<Item = Result<T, ClientError>> + Send + use<T> {
        self.query_pages(soql).records()
    }

    /// The same, deleted and archived records included.
    pub fn query_all<T: DeserializeOwned + Send + 'static>(
        &self,
        soql: &str,
    ) -> impl Stream<Item = Result<T, ClientError>> + Send + use<T> {
        self.query_all_pages(soql).records()
    }

    /// The pages of a query. Nothing is sent before the first one is asked for, which must be within a Tokio runtime.
    pub fn query_pages<T: DeserializeOwned + Send + 'static>(&self, soql: &str) -> Pages<T> {
        self.query_pages_with(soql, QueryOptions::default())
    }

    /// The pages of a query over deleted and archived records too.
    pub fn query_all_pages<T: DeserializeOwned + Send + 'static>(&self, soql: &str) -> Pages<T> {
        self.query_pages_with(soql, QueryOptions { deleted_too: true, ..QueryOptions::default() })
    }

    /// The pages of a query, with options.
    pub fn query_pages_with<T: DeserializeOwned + Send + 'static>(
        &self,
        soql: &str,
        options: QueryOptions,
    ) -> Pages<T> {
        Pages::start(self.clone(), soql.to_owned(), options)
    }

    /// How many records a query finds, by one call: `SELECT COUNT() FROM …`.
    ///
    /// # Errors
    /// As [`Connection::send`].
    pub async fn count(&self, soql: &str) -> Result<u64, ClientError> {
        let page: Page<serde::de::IgnoredAny> = first(self.clone(), soql.to_owned(), QueryOptions::default()).await?;
        Ok(page.total_size)
    }

    /// How the org would run a query, the cheapest way first.
    ///
    /// # Errors
    /// As [`Connection::send`].
    pub async fn explain(&self, soql: &str) -> Result<Vec<QueryPlan>, ClientError> {
        let request = Request::get(self.data_path(&format!("query?explain={}", encoded(soql))));
        Ok(self.send_json::<Plans>(&request).await?.plans)
    }
}

impl<T: DeserializeOwned + Send + 'static> Pages<T> {
    /// Its records, one after the other.
    pub fn records(self) -> impl Stream<Item = Result<T, ClientError>> + Send {
        let step = |mut pages: Pages<T>| async move {
            let page = pages.next().await?;
            Ok::<_, ClientError>(page.map(|page| (page, pages)))
        };
        stream::try_unfold(self, step).map_ok(|page| stream::iter(page.records).map(Ok)).try_flatten()
    }
}
