//! Queries by their id: how far they are, their rows, their end.

use std::sync::Arc;

use arrow_schema::SchemaRef;
use tonic::{Code, Status, Streaming};

use super::begin::{Stopped, decode, unreadable};
use super::decoder::Decoder;
use super::{CancelOnDrop, QueryStatus, Results, Shared};
use crate::cloud::DataCloud;
use crate::error::DataCloudError;
use crate::grpc::{Ask, SILENT};
use crate::proto::query_info::Content;
use crate::proto::{CancelQueryParam, OutputFormat, QueryInfo, QueryInfoParam};

/// Between two looks at a query that says nothing new.
const A_MOMENT: std::time::Duration = std::time::Duration::from_millis(100);

impl DataCloud {
    /// How far a query is.
    ///
    /// # Errors
    /// The query's own error, if it has failed; and when its result has expired, or there is none of that id.
    pub async fn query_status(&self, query_id: &str) -> Result<QueryStatus, DataCloudError> {
        let shared = Shared::of(query_id);
        self.look(&shared, "", false, |_| true).await?;
        let status = shared.known().status.clone();
        Ok(status)
    }

    /// The result of a query that was sent before, by this process or another one, from its first row. Whoever stops reading
    /// it does not end it.
    ///
    /// # Errors
    /// As [`DataCloud::query_status`].
    pub async fn results(&self, query_id: &str) -> Result<Results, DataCloudError> {
        let shared = Arc::new(Shared::of(query_id));
        Results::of_id(self.clone(), "".into(), shared, None).await
    }

    /// Ends a query, whatever it has produced. Succeeds also if it has ended already.
    ///
    /// # Errors
    /// When the tenant cannot be reached.
    pub async fn cancel(&self, query_id: &str) -> Result<(), DataCloudError> {
        let message = CancelQueryParam { query_id: query_id.to_owned() };
        let ask = Ask { what: "cancelling the query", query: Some(query_id), sql: "", reads: true };
        self.call(ask, |mut client, metadata| {
            let request = metadata.with(message.clone());
            async move { client.cancel_query(request).await.map(drop) }
        })
        .await
    }

    /// Waits until there are rows beyond the first so many, or there will be no more.
    pub(super) async fn wait_for_rows(&self, shared: &Shared, sql: &str, beyond: u64) -> Result<(), DataCloudError> {
        self.look(shared, sql, true, |status| status.complete || status.rows > beyond).await.map(drop)
    }

    /// Asks for the state of a query until it is `enough`; answers the schema, if that was told.
    async fn look(
        &self,
        shared: &Shared,
        sql: &str,
        streaming: bool,
        enough: impl Fn(&QueryStatus) -> bool,
    ) -> Result<Option<SchemaRef>, DataCloudError> {
        let query_id = shared.known().status.query_id.clone();
        let what = format!("looking at query {query_id}");
        let format = if streaming { OutputFormat::Unspecified } else { OutputFormat::ArrowIpc };
        let message = QueryInfoParam { query_id: query_id.clone(), streaming, schema_output_format: format.into() };
        let ask = Ask { what: &what, query: Some(&query_id), sql, reads: true };
        let mut patience = self.patience(&ask);
        loop {
            let token = self.0.provider.token().await?;
            let call = self.call(ask, |mut client, metadata| {
                let request = metadata.with(message.clone());
                async move { client.get_query_info(request).await.map(tonic::Response::into_inner) }
            });
            let mut stream = call.await?;
            let mut heard = false;
            let status = match self.read(&mut stream, shared, streaming, &enough, &mut heard).await {
                Ok(schema) if !streaming || enough(&shared.known().status) => return Ok(schema),
                Ok(_) => Status::cancelled("it stopped telling"),
                Err(Stopped::Status(status)) => status,
                Err(Stopped::Unreadable(reason)) => return Err(unreadable(self, reason)),
            };
            if heard && status.code() == Code::Cancelled {
                // That is how the server ends such a stream after 100 s (seen with hyperd 0.0.26963).
                patience.restored();
                tokio::time::sleep(A_MOMENT).await;
            } else {
                self.bear(&mut patience, &ask, &token, status).await?;
            }
        }
    }

    async fn read(
        &self,
        stream: &mut Streaming<QueryInfo>,
        shared: &Shared,
        streaming: bool,
        enough: &impl Fn(&QueryStatus) -> bool,
        heard: &mut bool,
    ) -> Result<Option<SchemaRef>, Stopped> {
        let mut decoder = Decoder::default();
        loop {
            let message = tokio::time::timeout(self.0.options.silence, stream.message()).await;
            let message = message.unwrap_or_else(|_| Err(Status::unavailable(SILENT)));
            match message.map_err(Stopped::Status)?.map(|message| message.content) {
                None => return Ok(decoder.schema()),
                Some(Some(Content::BinarySchema(part))) => drop(decode(&mut decoder, part.data, shared)?),
                Some(Some(Content::QueryStatus(status))) => {
                    *heard = true;
                    shared.learn(status);
                    // A schema may come before the status or after it.
                    if streaming && enough(&shared.known().status) {
                        return Ok(decoder.schema());
                    }
                }
                Some(_) => {}
            }
        }
    }
}

impl Shared {
    pub(super) fn of(query_id: &str) -> Self {
        let shared = Self::default();
        shared.known().status.query_id = query_id.to_owned();
        shared
    }
}

impl Results {
    /// The rows of a query that runs, or has run, under this id.
    pub(super) async fn of_id(
        cloud: DataCloud,
        sql: Arc<str>,
        shared: Arc<Shared>,
        cancel: Option<CancelOnDrop>,
    ) -> Result<Self, DataCloudError> {
        let mut schema = cloud.look(&shared, &sql, false, |_| true).await?;
        while schema.is_none() && !shared.known().status.complete {
            tokio::time::sleep(A_MOMENT).await;
            cloud.wait_for_rows(&shared, &sql, 0).await?;
            schema = cloud.look(&shared, &sql, false, |_| true).await?;
        }
        let results = Self::empty(cloud, sql, shared, schema, cancel);
        results.shared.known().first = Some(0);
        Ok(results)
    }
}
