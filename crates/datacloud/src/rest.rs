//! Queries over the REST API (Query API V2): slower than gRPC, and through every proxy.
//!
//! Pages come forward only, each one once: a page whose answer was lost is gone, and the query must run again. The next
//! page must be asked for within 3 minutes, the last one within an hour. Source: Data 360 Query API documentation.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_array::cast::AsArray;
use arrow_json::StructMode;
use arrow_json::reader::ReaderBuilder;
use arrow_schema::{DataType, Field, Schema, SchemaRef, TimeUnit};
use reqwest::Method;
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;

use crate::cloud::DataCloud;
use crate::error::DataCloudError;
use crate::http::{Call, segment};

const WHAT: &str = "the query";

/// The rows of a query, page by page.
#[derive(Debug)]
pub struct RestResults {
    cloud: DataCloud,
    schema: SchemaRef,
    query_id: String,
    rows: u64,
    page: Option<RecordBatch>,
    next: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Page<'a> {
    #[serde(borrow)]
    data: &'a RawValue,
    #[serde(default)]
    query_id: String,
    #[serde(default)]
    next_batch_id: Option<String>,
    #[serde(default)]
    done: bool,
    #[serde(default)]
    metadata: BTreeMap<String, Column>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Column {
    place_in_order: usize,
    type_code: i32,
}

impl DataCloud {
    /// Runs a query over REST. Answers with the first page at hand.
    ///
    /// # Errors
    /// [`DataCloudError::Refused`] when the statement is wrong; else the failure of token or call.
    ///
    /// ```no_run
    /// # async fn example(cloud: tieline_datacloud::DataCloud) -> Result<(), tieline_datacloud::DataCloudError> {
    /// let mut rows = cloud.query_by_rest(r#"SELECT "ssot__Id__c" FROM "ssot__Individual__dlm""#).await?;
    /// while let Some(batch) = rows.next().await? {
    ///     println!("{} rows", batch.num_rows());
    /// }
    /// # Ok(()) }
    /// ```
    pub async fn query_by_rest(&self, sql: &str) -> Result<RestResults, DataCloudError> {
        // Reading twice does no harm.
        let call = Call::json(WHAT, Method::POST, "/api/v2/query", &json!({"sql": sql})).idempotent();
        let body = self.rest(&call).await?;
        let page = self.page(&body)?;
        let schema = schema(&page.metadata);
        let batch = self.batch(&schema, &page)?;
        let rows = batch.num_rows() as u64;
        let query_id = page.query_id.clone();
        let next = page.next_batch_id.filter(|_| !page.done);
        Ok(RestResults { cloud: self.clone(), schema, query_id, rows, page: Some(batch), next })
    }

    fn page<'a>(&self, body: &'a [u8]) -> Result<Page<'a>, DataCloudError> {
        serde_json::from_slice(body).map_err(|e| self.unreadable(WHAT, e.to_string()))
    }

    /// The page's rows, which are lists, as columns.
    fn batch(&self, schema: &SchemaRef, page: &Page<'_>) -> Result<RecordBatch, DataCloudError> {
        let unreadable = |reason: String| self.unreadable(WHAT, reason);
        let rows = Field::new("row", DataType::Struct(schema.fields().clone()), false);
        let whole = Schema::new(vec![Field::new("rows", DataType::List(Arc::new(rows)), false)]);
        let decode = || {
            let mut decoder = ReaderBuilder::new(Arc::new(whole))
                .with_struct_mode(StructMode::ListOnly)
                .with_coerce_primitive(true)
                .build_decoder()?;
            // One row that is a list of the rows: the decoder knows lists, and the page is one.
            for piece in ["[", page.data.get(), "]"] {
                decoder.decode(piece.as_bytes())?;
            }
            decoder.flush()
        };
        let whole = decode().map_err(|e| unreadable(e.to_string()))?;
        let whole = whole.ok_or_else(|| unreadable("it has no data".to_owned()))?;
        Ok(RecordBatch::from(whole.column(0).as_list::<i32>().value(0).as_struct()))
    }
}

impl RestResults {
    /// Names and types of the columns.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// Identifies the query at the tenant.
    pub fn query_id(&self) -> &str {
        &self.query_id
    }

    /// Rows that have come so far.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// The next page; `None` after the last one.
    ///
    /// # Errors
    /// As [`DataCloud::query_by_rest`]. A page that got lost cannot be had again: run the query again.
    pub async fn next(&mut self) -> Result<Option<RecordBatch>, DataCloudError> {
        if let Some(page) = self.page.take() {
            return Ok(Some(page));
        }
        // Kept until the page is here: a call that was given up, or failed, does not look like the end.
        let Some(id) = self.next.clone() else { return Ok(None) };
        let call = Call { idempotent: false, ..Call::get(WHAT, format!("/api/v2/query/{}", segment(&id))) };
        let body = self.cloud.rest(&call).await?;
        let page = self.cloud.page(&body)?;
        let batch = self.cloud.batch(&self.schema, &page)?;
        self.next = page.next_batch_id.filter(|_| !page.done);
        self.rows += batch.num_rows() as u64;
        Ok(Some(batch))
    }
}

fn schema(columns: &BTreeMap<String, Column>) -> SchemaRef {
    let mut columns: Vec<_> = columns.iter().collect();
    columns.sort_by_key(|(_, column)| column.place_in_order);
    let fields = columns.into_iter().map(|(name, column)| Field::new(name, data_type(column.type_code), true));
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

/// By the numbers of `java.sql.Types`, which the API uses.
fn data_type(code: i32) -> DataType {
    match code {
        -7 | 16 => DataType::Boolean,
        -6 | 5 => DataType::Int16,
        4 => DataType::Int32,
        -5 => DataType::Int64,
        7 => DataType::Float32,
        6 | 8 => DataType::Float64,
        // Data Cloud's numbers have 18 places; the answer tells neither precision nor scale.
        2 | 3 => DataType::Decimal128(38, 18),
        91 => DataType::Date32,
        92 => DataType::Time64(TimeUnit::Microsecond),
        93 => DataType::Timestamp(TimeUnit::Microsecond, None),
        2_014 => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        _ => DataType::Utf8,
    }
}
