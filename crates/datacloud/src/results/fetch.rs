//! A part of a result, by row number.

use std::sync::Arc;
use std::time::Duration;

use arrow_array::RecordBatch;
use tokio::sync::mpsc::Sender;
use tonic::{Status, Streaming};

use super::Shared;
use super::begin::{Stopped, WHAT, decode, unreadable};
use super::decoder::Decoder;
use crate::cloud::DataCloud;
use crate::error::DataCloudError;
use crate::grpc::{Ask, SILENT};
use crate::proto::query_result::Result as Rows;
use crate::proto::query_result_param::RequestedData;
use crate::proto::{OutputFormat, QueryResult, QueryResultParam, ResultRange};

/// The most that Hyper gives in one call (its setting `row_based_pagination_max_byte_limit`).
const BYTES_AT_MOST: u64 = 20 << 20;

/// SQLSTATE of a call for rows of a query that has failed (seen with hyperd 0.0.26963).
const EXECUTION_FAILED: &str = "55000";

pub(super) struct Range {
    pub(super) offset: u64,
    pub(super) count: u64,
}

/// Fetches the rows of a range and passes them on. Fewer than asked for is no error: the next call goes on there.
pub(super) async fn fetch(
    cloud: DataCloud,
    sql: Arc<str>,
    shared: Arc<Shared>,
    range: Range,
    rows: Sender<Result<RecordBatch, DataCloudError>>,
) {
    let id = shared.known().status.query_id.clone();
    let ask = Ask { what: WHAT, query: Some(&id), sql: &sql, reads: true };
    let mut patience = cloud.patience(&ask);
    let mut done = 0;
    while done < range.count {
        let left = Range { offset: range.offset + done, count: range.count - done };
        let before = done;
        // The token that the call will carry, or an older one: never a newer one, which a refusal would not mean.
        let token = match cloud.0.provider.token().await {
            Ok(token) => token,
            Err(error) => return drop(rows.send(Err(error.into())).await),
        };
        let outcome = one_call(&cloud, ask, &shared, left, &rows, &mut done).await;
        if done > before {
            patience.restored();
        }
        let borne = match outcome {
            Ok(()) if done > before => continue,
            Ok(()) => cloud.bear(&mut patience, &ask, &token, Status::unavailable("it gave none of the rows")).await,
            Err(Ended::ReaderGone) => return,
            Err(Ended::Failed(error)) => Err(error),
            Err(Ended::Early(status)) => cloud.bear(&mut patience, &ask, &token, status).await,
        };
        if let Err(error) = borne {
            let error = explained(&cloud, &sql, &shared, error).await;
            return drop(rows.send(Err(error)).await);
        }
    }
}

enum Ended {
    Early(Status),
    Failed(DataCloudError),
    ReaderGone,
}

async fn one_call(
    cloud: &DataCloud,
    ask: Ask<'_>,
    shared: &Shared,
    range: Range,
    rows: &Sender<Result<RecordBatch, DataCloudError>>,
    done: &mut u64,
) -> Result<(), Ended> {
    let message = QueryResultParam {
        query_id: ask.query.unwrap_or_default().to_owned(),
        output_format: OutputFormat::ArrowIpc.into(),
        requested_data: Some(RequestedData::ResultRange(ResultRange {
            row_offset: range.offset,
            row_limit: Some(range.count),
            byte_limit: BYTES_AT_MOST,
        })),
        omit_schema: false,
    };
    let call = cloud.call(ask, |mut client, metadata| {
        let request = metadata.with(message.clone());
        async move { client.get_query_result(request).await.map(tonic::Response::into_inner) }
    });
    let mut stream = call.await.map_err(Ended::Failed)?;
    let mut decoder = Decoder::default();
    let mut left = range.count;
    loop {
        let batches = match next(&mut stream, &mut decoder, shared, cloud.0.options.silence).await {
            Ok(Some(batches)) => batches,
            Ok(None) => return Ok(()),
            Err(Stopped::Status(status)) => return Err(Ended::Early(status)),
            Err(Stopped::Unreadable(reason)) => return Err(Ended::Failed(unreadable(cloud, reason))),
        };
        for batch in batches {
            let count = batch.num_rows() as u64;
            if count > left {
                let reason = format!("{count} rows from row {} on, where {left} were asked for", range.offset);
                return Err(Ended::Failed(unreadable(cloud, reason)));
            }
            left -= count;
            rows.send(Ok(batch)).await.map_err(|_| Ended::ReaderGone)?;
            *done += count;
        }
    }
}

/// The query itself has failed, and a call for its rows does not tell why: its state does.
async fn explained(cloud: &DataCloud, sql: &str, shared: &Shared, error: DataCloudError) -> DataCloudError {
    match &error {
        DataCloudError::Query(refused) if refused.sqlstate == EXECUTION_FAILED => {
            cloud.wait_for_rows(shared, sql, u64::MAX).await.err().unwrap_or(error)
        }
        _ => error,
    }
}

/// What the next message brings; `None` at the end.
async fn next(
    stream: &mut Streaming<QueryResult>,
    decoder: &mut Decoder,
    shared: &Shared,
    silence: Duration,
) -> Result<Option<Vec<RecordBatch>>, Stopped> {
    let message = tokio::time::timeout(silence, stream.message()).await;
    let message = message.unwrap_or_else(|_| Err(Status::unavailable(SILENT)));
    match message.map_err(Stopped::Status)?.map(|message| message.result) {
        None => Ok(None),
        Some(Some(Rows::BinaryPart(part))) => decode(decoder, part.data, shared).map(Some),
        Some(Some(Rows::StringPart(_))) => Err(Stopped::Unreadable("it is text instead of Arrow".to_owned())),
        Some(None) => Ok(Some(Vec::new())),
    }
}
