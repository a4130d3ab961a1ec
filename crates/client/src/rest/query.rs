//! SOQL: pages of up to 2,000 records, with the next one read ahead.

use futures_util::{Stream, StreamExt, TryStreamExt, stream};
use jiff::Timestamp;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::task::JoinHandle;

use crate::connection::Connection;
use crate::error::ClientError;
use crate::send::Request;

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
#[derive(Debug)]
pub struct Pages<T> {
    connection: Connection,
    ahead: Option<JoinHandle<Result<Page<T>, ClientError>>>,
}

impl<T> Drop for Pages<T> {
    fn drop(&mut self) {
        if let Some(task) = &self.ahead {
            task.abort();
        }
    }
}

impl<T: DeserializeOwned + Send + 'static> Pages<T> {
    fn start(connection: Connection, path: String) -> Self {
        let ahead = Some(tokio::spawn(fetch(connection.clone(), path)));
        Self { connection, ahead }
    }

    /// The next page; `None` after the last.
    ///
    /// # Errors
    /// As [`Connection::send`]; nothing follows an error.
    pub async fn next(&mut self) -> Result<Option<Page<T>>, ClientError> {
        let Some(task) = &mut self.ahead else { return Ok(None) };
        let outcome = task.await;
        self.ahead = None;
        let mut page = match outcome {
            Ok(page) => page?,
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        };
        if let Some(next) = page.next.take() {
            self.ahead = Some(tokio::spawn(fetch(self.connection.clone(), next)));
        }
        Ok(Some(page))
    }
}

async fn fetch<T: DeserializeOwned>(connection: Connection, path: String) -> Result<Page<T>, ClientError> {
    connection
        .send_and(&Request::get(path), |reply| {
            let answer: Answer<T> = serde_json::from_slice(&reply.body)?;
            let next = match (answer.done, answer.next_records_url) {
                (true, _) => None,
                (false, Some(next)) => Some(next),
                // To stop here would pass a part for the whole.
                (false, None) => return Err(serde::de::Error::custom("it says `done: false` and names no next page")),
            };
            Ok(Page {
                records: answer.records,
                total_size: answer.total_size,
                server_time: reply.server_time,
                is_last: next.is_none(),
                next,
            })
        })
        .await
}

impl Connection {
    /// Runs a query and answers its records as a stream, in bounded memory. `T` is a type of the caller's or
    /// [`Record`](crate::Record).
    pub fn query<T: DeserializeOwned + Send + 'static>(
        &self,
        soql: &str,
    ) -> impl Stream<Item = Result<T, ClientError>> + use<T> {
        records(self.query_pages(soql))
    }

    /// The same, deleted and archived records included.
    pub fn query_all<T: DeserializeOwned + Send + 'static>(
        &self,
        soql: &str,
    ) -> impl Stream<Item = Result<T, ClientError>> + use<T> {
        records(self.query_all_pages(soql))
    }

    /// The pages of a query. Must be called within a Tokio runtime: the first page is asked for at once.
    pub fn query_pages<T: DeserializeOwned + Send + 'static>(&self, soql: &str) -> Pages<T> {
        Pages::start(self.clone(), self.query_path("query", soql))
    }

    /// The pages of a query over deleted and archived records too.
    pub fn query_all_pages<T: DeserializeOwned + Send + 'static>(&self, soql: &str) -> Pages<T> {
        Pages::start(self.clone(), self.query_path("queryAll", soql))
    }

    fn query_path(&self, resource: &str, soql: &str) -> String {
        self.data_path(&format!("{resource}?q={}", utf8_percent_encode(soql, NON_ALPHANUMERIC)))
    }
}

fn records<T: DeserializeOwned + Send + 'static>(pages: Pages<T>) -> impl Stream<Item = Result<T, ClientError>> {
    let step = |mut pages: Pages<T>| async move {
        let page = pages.next().await?;
        Ok::<_, ClientError>(page.map(|page| (page, pages)))
    };
    stream::try_unfold(pages, step).map_ok(|page| stream::iter(page.records).map(Ok)).try_flatten()
}
