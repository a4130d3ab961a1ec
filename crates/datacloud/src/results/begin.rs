//! The answer to the query itself: the schema, and in most modes the first rows.

use std::collections::VecDeque;
use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tonic::{Status, Streaming};

use super::decoder::Decoder;
use super::{CancelOnDrop, Part, Results, Shared, WAITING};
use crate::cloud::DataCloud;
use crate::error::DataCloudError;
use crate::grpc::{Ask, Failed, SILENT, classify, refused};
use crate::proto::execute_query_response::Result as Answer;
use crate::proto::query_info::Content;
use crate::proto::query_result::Result as Rows;
use crate::proto::{ExecuteQueryResponse, QueryParam};

pub(super) const WHAT: &str = "the query";

impl Results {
    /// Sends a query, and reads its answer as far as the schema.
    pub(crate) async fn begin(cloud: DataCloud, message: QueryParam) -> Result<Self, DataCloudError> {
        let sql: Arc<str> = message.query.as_str().into();
        let shared = Arc::new(Shared::default());
        // From here on: whoever gives up before the schema is known has sent a query all the same.
        let cancel = Some(CancelOnDrop { cloud: cloud.clone(), shared: shared.clone() });
        let ask = Ask { what: WHAT, query: None, sql: &sql, reads: false };
        let mut patience = cloud.patience(&ask);
        let (first, begun) = loop {
            // The token that the call will carry, or an older one: either is renewed if it is refused.
            let token = cloud.0.provider.token().await?;
            let call = cloud.call(ask, |mut client, metadata| {
                let request = metadata.with(message.clone());
                async move { client.execute_query(request).await.map(tonic::Response::into_inner) }
            });
            let mut first = First { stream: call.await?, decoder: Decoder::default(), shared: shared.clone() };
            let status = match first.until_schema(cloud.0.options.silence).await {
                Ok(begun) if !begun.ended || shared.is_told() => break (first, begun),
                Ok(_) => Status::unavailable("it ended without an answer"),
                Err(Stopped::Unreadable(reason)) => return Err(unreadable(&cloud, reason)),
                Err(Stopped::Status(status)) => status,
            };
            cloud.bear(&mut patience, &ask, &token, status).await?;
            if shared.is_told() {
                // It runs there already: its result is read by its id.
                return Self::of_id(cloud, sql.clone(), shared, cancel).await;
            }
        };
        if begun.ended && first.decoder.schema().is_none() && !shared.known().status.complete {
            // The server's patience ended before there was anything to tell.
            return Self::of_id(cloud, sql.clone(), shared, cancel).await;
        }
        let schema = first.decoder.schema();
        let mut results = Self::empty(cloud, sql.clone(), shared, schema, cancel);
        results.go_on(first, begun.batches, begun.ended);
        Ok(results)
    }

    pub(super) fn empty(
        cloud: DataCloud,
        sql: Arc<str>,
        shared: Arc<Shared>,
        schema: Option<SchemaRef>,
        cancel: Option<CancelOnDrop>,
    ) -> Self {
        let has_rows = schema.is_some();
        let schema = schema.unwrap_or_else(Self::empty_schema);
        let (parts, tasks) = (VecDeque::new(), JoinSet::new());
        Self { cloud, sql, schema, has_rows, shared, parts, planned: None, tasks, ended: false, _cancel: cancel }
    }

    /// Reads the rest of the answer in a task of its own.
    fn go_on(&mut self, mut first: First, begun: Vec<RecordBatch>, ended: bool) {
        let (rows, batches) = mpsc::channel(WAITING);
        let (cloud, sql) = (self.cloud.clone(), self.sql.clone());
        self.parts.push_back(Part { batches, come: 0, wanted: None });
        self.tasks.spawn(async move {
            let silence = cloud.0.options.silence;
            let mut count = 0;
            let mut waiting = begun;
            let mut ended = ended;
            loop {
                for batch in waiting.drain(..) {
                    count += batch.num_rows() as u64;
                    if rows.send(Ok(batch)).await.is_err() {
                        return;
                    }
                }
                if ended {
                    break;
                }
                match first.next(silence).await {
                    Ok(Some(batches)) => waiting = batches,
                    Ok(None) => ended = true,
                    Err(Stopped::Unreadable(reason)) => {
                        let _ = rows.send(Err(unreadable(&cloud, reason))).await;
                        return;
                    }
                    Err(Stopped::Status(status)) => {
                        if let Failed::ForGood = classify(&status) {
                            let ask = Ask { what: WHAT, query: None, sql: &sql, reads: true };
                            let _ = rows.send(Err(refused(cloud.org(), &ask, &status))).await;
                            return;
                        }
                        // Not a failure of the query: the rest is asked for by row number.
                        tracing::info!(org = cloud.org(), rows = count, "the answer ended early; going on from there");
                        ended = true;
                    }
                }
            }
            first.shared.known().first = Some(count);
        });
    }
}

pub(super) fn unreadable(cloud: &DataCloud, reason: String) -> DataCloudError {
    DataCloudError::Unreadable { org: cloud.org().to_owned(), what: WHAT.to_owned(), reason }
}

/// The answer's stream.
struct First {
    stream: Streaming<ExecuteQueryResponse>,
    decoder: Decoder,
    shared: Arc<Shared>,
}

struct Begun {
    batches: Vec<RecordBatch>,
    ended: bool,
}

pub(super) enum Stopped {
    Status(Status),
    Unreadable(String),
}

impl First {
    async fn until_schema(&mut self, silence: std::time::Duration) -> Result<Begun, Stopped> {
        let mut batches = Vec::new();
        while self.decoder.schema().is_none() {
            match self.next(silence).await? {
                Some(some) => batches.extend(some),
                None => return Ok(Begun { batches, ended: true }),
            }
        }
        Ok(Begun { batches, ended: false })
    }

    /// What the next message brings; `None` at the end.
    async fn next(&mut self, silence: std::time::Duration) -> Result<Option<Vec<RecordBatch>>, Stopped> {
        let message = tokio::time::timeout(silence, self.stream.message()).await;
        let message = message.unwrap_or_else(|_| Err(Status::unavailable(SILENT)));
        let Some(message) = message.map_err(Stopped::Status)? else { return Ok(None) };
        match message.result {
            Some(Answer::QueryInfo(info)) => {
                if let Some(Content::QueryStatus(status)) = info.content {
                    self.shared.learn(status);
                }
                Ok(Some(Vec::new()))
            }
            Some(Answer::QueryResult(part)) => match part.result {
                Some(Rows::BinaryPart(part)) => decode(&mut self.decoder, part.data, &self.shared).map(Some),
                Some(Rows::StringPart(_)) => Err(Stopped::Unreadable("it is text instead of Arrow".to_owned())),
                None => Ok(Some(Vec::new())),
            },
            // A message of another kind: those that matter are never optional.
            None if message.optional => Ok(Some(Vec::new())),
            None => Err(Stopped::Unreadable("a message of an unknown kind".to_owned())),
        }
    }
}

/// The batches that a part completes.
pub(super) fn decode(decoder: &mut Decoder, part: Bytes, shared: &Shared) -> Result<Vec<RecordBatch>, Stopped> {
    let size = part.len();
    let batches = decoder.decode(part).map_err(|e| Stopped::Unreadable(format!("it is no Arrow: {e}")))?;
    let rows = batches.iter().map(|batch| batch.num_rows() as u64).sum();
    shared.has_come(rows, if rows > 0 { size } else { 0 });
    Ok(batches)
}
