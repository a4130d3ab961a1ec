//! SOQL: pages of up to 2,000 records, with the next one read ahead.

mod answer;
mod pages;
mod reader;

use futures_util::Stream;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::de::{DeserializeOwned, IgnoredAny};
use serde::{Deserialize, Serialize};

pub use self::pages::{Page, PageOf, Pages, PagesBy};
pub use self::reader::{RecordReader, Typed};
use crate::connection::Connection;
use crate::error::ClientError;
use crate::request::Request;

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
        self.query_pages_by(soql, options, Typed::default())
    }

    /// The pages of a query, their records read by the caller's own reader: into columns, say, that are known only when
    /// the program runs.
    pub fn query_pages_by<R: RecordReader>(&self, soql: &str, options: QueryOptions, reader: R) -> PagesBy<R> {
        PagesBy::start(self.clone(), soql.to_owned(), options, reader)
    }

    /// How many records a query finds, by one call: `SELECT COUNT() FROM …`.
    ///
    /// # Errors
    /// As [`Connection::send`].
    pub async fn count(&self, soql: &str) -> Result<u64, ClientError> {
        let page = self.query_pages::<IgnoredAny>(soql).next().await?;
        Ok(page.map_or(0, |page| page.total_size))
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
