//! The pages of a query: fetched, read, and asked for again where the org has forgotten them.

use bytes::Bytes;
use futures_util::{Stream, StreamExt, TryStreamExt, stream};
use jiff::Timestamp;
use reqwest::Method;
use reqwest::header::{HeaderName, HeaderValue};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio::task::JoinHandle;

use super::answer::{self, Answer};
use super::reader::{RecordReader, Typed};
use super::{QueryOptions, encoded};
use crate::connection::Connection;
use crate::error::{ClientError, joined};
use crate::gzip;
use crate::refusal::refused;
use crate::reply::Unread;
use crate::request::Request;
use crate::soql;
use crate::visited::Visited;

/// Longer paths travel in the body of a composite call. Salesforce refuses URIs beyond 16,384 bytes (REST API Developer
/// Guide, "Request Size Limits"), and a host stands before the path.
const LONGEST_PATH: usize = 16_000;
/// How many records a page has at most.
const BATCH_SIZE: HeaderName = HeaderName::from_static("sforce-query-options");

/// A page of a query's answer, its records in a list.
pub type Page<T> = PageOf<Vec<T>>;

/// A page of a query's answer.
#[derive(Debug)]
pub struct PageOf<B> {
    /// Its records.
    pub records: B,
    /// Records of the whole answer.
    pub total_size: u64,
    /// The org's clock when this page was asked for; see [`Reply::server_time`](crate::Reply::server_time).
    pub server_time: Option<Timestamp>,
    /// No page follows.
    pub is_last: bool,
}

/// A page as it came.
#[derive(Debug)]
struct Fetched {
    body: Bytes,
    compressed: bool,
    server_time: Option<Timestamp>,
}

impl Fetched {
    /// Its records, and what they were read from.
    fn read<R: RecordReader>(&self, reader: &R) -> Result<(Answer<R::Batch>, Bytes), Unread> {
        let body = if self.compressed { gzip::inflate(&self.body).map_err(Unread::Gzip)? } else { self.body.clone() };
        Ok((answer::read(reader, &body)?, body))
    }
}

/// What a page is asked for by.
#[derive(Debug, Clone)]
enum Place {
    Query(String),
    Path(String),
}

/// The pages of a query, their records in lists of a type. See [`PagesBy`].
pub type Pages<T> = PagesBy<Typed<T>>;

/// The pages of a query. While the caller works on one, the next is on its way; at most those two are held.
///
/// When the org has forgotten how far the query was (after two days, or after ten other queries of the same user), it is
/// asked again for what follows the last record, if it is ordered by `Id`, or by `SystemModstamp`, `CreatedDate` or
/// `LastModifiedDate` and then `Id`, and selects them. What was changed in between is seen as it is then.
#[derive(Debug)]
pub struct PagesBy<R> {
    connection: Connection,
    soql: String,
    options: QueryOptions,
    /// What comes next, until it has come: a call that is given up in the middle begins again there. `None`: the end.
    place: Option<Place>,
    /// It, on its way. The first page is not asked for ahead: there is nothing yet to read it ahead of, and most queries
    /// have no other.
    ahead: Option<JoinHandle<Result<Fetched, ClientError>>>,
    /// How often it came cut off.
    cut: u32,
    /// The query has an order, and so perhaps a key from which it can be continued.
    ordered: bool,
    /// Then the page before; and how many records came so far.
    behind: Bytes,
    seen: u64,
    total: Option<u64>,
    visited: Visited,
    reader: R,
}

impl<R> Drop for PagesBy<R> {
    fn drop(&mut self) {
        if let Some(task) = &self.ahead {
            task.abort();
        }
    }
}

impl<R: RecordReader> PagesBy<R> {
    pub(super) fn start(connection: Connection, soql: String, options: QueryOptions, reader: R) -> Self {
        Self {
            connection,
            ordered: soql::is_ordered(&soql),
            place: Some(Place::Query(soql.clone())),
            soql,
            options,
            ahead: None,
            cut: 0,
            behind: Bytes::new(),
            seen: 0,
            total: None,
            visited: Visited::default(),
            reader,
        }
    }

    /// The next page; `None` after the last.
    ///
    /// # Errors
    /// As [`Connection::send`]; nothing follows an error. `INVALID_QUERY_LOCATOR` where the query cannot be continued.
    pub async fn next(&mut self) -> Result<Option<PageOf<R::Batch>>, ClientError> {
        while let Some(place) = &self.place {
            let outcome = match &mut self.ahead {
                Some(task) => joined(self.connection.org(), task.await),
                None => fetch(self.connection.clone(), place.clone(), self.options).await,
            };
            self.ahead = None;
            let outcome = match outcome {
                Err(error) if error.salesforce_code() == Some("INVALID_QUERY_LOCATOR") => match self.continued() {
                    // Forgotten before its first page, it would be forgotten again.
                    Some(soql) if matches!(place, Place::Path(_)) => {
                        self.place = Some(Place::Query(soql));
                        continue;
                    }
                    _ => Err(error),
                },
                // Read here and not in the task that fetched it: records that another processor wrote cost more to use.
                Ok(fetched) => match fetched.read(&self.reader) {
                    Err(error) if error.is_cut() && self.cut < self.connection.options().retry.attempts => {
                        self.cut += 1;
                        let (connection, place, options) = (self.connection.clone(), place.clone(), self.options);
                        let pause = connection.options().retry.pause(self.cut, None);
                        self.ahead = Some(tokio::spawn(async move {
                            tokio::time::sleep(pause).await;
                            fetch(connection, place, options).await
                        }));
                        continue;
                    }
                    Err(error) => Err(self.unreadable(&error.to_string())),
                    Ok((answer, body)) => self.take(answer, body, fetched.server_time),
                },
                Err(error) => Err(error),
            };
            if outcome.is_err() {
                self.place = None;
            }
            return outcome.map(Some);
        }
        Ok(None)
    }

    /// Makes a page of an answer, and has the next one fetched.
    fn take(
        &mut self,
        answer: Answer<R::Batch>,
        body: Bytes,
        server_time: Option<Timestamp>,
    ) -> Result<PageOf<R::Batch>, ClientError> {
        let next = match (answer.done, answer.next) {
            (true, _) => None,
            (false, Some(next)) if self.visited.is_new(&next) => Some(Place::Path(next)),
            (false, Some(_)) => return Err(self.unreadable("its pages lead in a circle")),
            // To stop here would pass a part for the whole.
            (false, None) => return Err(self.unreadable("it says `done: false` and names no next page")),
        };
        // A query that was asked again finds only the rest.
        let total_size = *self.total.get_or_insert(answer.total_size);
        self.seen += R::count(&answer.records) as u64;
        self.cut = 0;
        if self.ordered {
            self.behind = body;
        }
        let is_last = next.is_none();
        self.ahead = next.clone().map(|place| tokio::spawn(fetch(self.connection.clone(), place, self.options)));
        self.place = next;
        Ok(PageOf { records: answer.records, total_size, server_time, is_last })
    }

    /// The query for what follows the page that was read last.
    fn continued(&self) -> Option<String> {
        let before = answer::read(&Typed::<crate::Record>::default(), &self.behind).ok()?;
        soql::resume(&self.soql, before.records.last()?, self.seen)
    }

    fn unreadable(&self, reason: &str) -> ClientError {
        let path = match &self.place {
            Some(Place::Path(path)) => path.clone(),
            _ => self.connection.data_path(self.options.resource()),
        };
        self.connection.unreadable_answer(&Request::get(path), reason)
    }
}

async fn fetch(connection: Connection, place: Place, options: QueryOptions) -> Result<Fetched, ClientError> {
    let path = match place {
        Place::Path(path) => path,
        Place::Query(soql) => {
            let resource = format!("{}?q={}", options.resource(), encoded(&soql));
            let path = connection.data_path(&resource);
            if path.len() > LONGEST_PATH {
                return in_a_body(connection, resource, options).await;
            }
            path
        }
    };
    let mut request = Request::get(path);
    if let Some(value) = options.batch_size.and_then(|size| HeaderValue::try_from(format!("batchSize={size}")).ok()) {
        request = request.with_header(BATCH_SIZE, value);
    }
    let raw = connection.send_raw(&request, Ok).await?;
    Ok(Fetched { body: raw.reply.body, compressed: raw.compressed, server_time: raw.reply.server_time })
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
    http_headers: Option<&'a serde_json::Value>,
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
async fn in_a_body(connection: Connection, resource: String, options: QueryOptions) -> Result<Fetched, ClientError> {
    let http_headers =
        options.batch_size.map(|size| serde_json::json!({"Sforce-Query-Options": format!("batchSize={size}")}));
    let request = || {
        // The version may be another than when the path was made.
        let url = connection.data_path(&resource);
        let part = Enclosed { method: "GET", url: &url, reference_id: "query", http_headers: http_headers.as_ref() };
        Ok(connection.json(Method::POST, "composite", &Envelope { composite_request: [part] })?.reading())
    };
    let (org, what) = (connection.org(), format!("GET {}", options.resource()));
    let (opened, server_time): (Opened, _) = connection.send_with_paths(request).await?;
    let Some(one) = opened.responses.into_iter().next() else {
        return Err(connection.unreadable_answer(&request()?, "it holds no response"));
    };
    let body: Box<str> = one.body.into();
    if one.http_status_code != 200 {
        return Err(refused(org, &what, one.http_status_code, body.as_bytes()));
    }
    Ok(Fetched { body: Bytes::from(String::from(body)), compressed: false, server_time })
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
