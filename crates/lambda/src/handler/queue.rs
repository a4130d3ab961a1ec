//! Messages from SQS, of which some may fail.
//!
//! With `ReportBatchItemFailures` on the event source, Lambda gives back to the queue the messages that the answer names,
//! and no others. Without an answer it gives back all: one bad message would have the work of the good ones done again.

use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use aws_lambda_events::sqs::{BatchItemFailure, SqsBatchResponse, SqsEvent, SqsMessage};
use futures_util::{FutureExt, StreamExt};

use super::{HandlerError, Invocation, error};

/// What is left at the end for the answer, which must come before the invocation as a whole is given up.
const RESERVE: Duration = Duration::from_millis(300);

/// Does `work` with each message, at most `at_once` at a time, and answers which ones failed. Messages that there is no
/// time left for count as failed: they come again.
///
/// The messages of a FIFO queue are taken one after the other, and after the first that fails none is: their order is
/// kept (Lambda Developer Guide, "Handling errors for an SQS event source").
///
/// `work` may see a message twice: write by an external id.
pub async fn each<W>(
    invocation: &Invocation,
    event: SqsEvent,
    at_once: usize,
    work: impl Fn(SqsMessage) -> W,
) -> SqsBatchResponse
where
    W: Future<Output = Result<(), lambda_runtime::Error>>,
{
    let in_order = event
        .records
        .iter()
        .any(|message| message.event_source_arn.as_deref().is_some_and(|queue| queue.ends_with(".fifo")));
    let at_once = if in_order { 1 } else { at_once.max(1) };
    let stopped = AtomicBool::new(false);
    let (work, stopped) = (&work, &stopped);
    let done = futures_util::stream::iter(event.records).map(|message| async move {
        // Lambda takes an answer without a name to mean all of them.
        let id = message.message_id.clone().unwrap_or_default();
        let left = invocation.time_left().saturating_sub(RESERVE);
        if stopped.load(Ordering::Relaxed) || left.is_zero() {
            return Some(id);
        }
        // One that panics must not have the work of the others done again.
        let done = AssertUnwindSafe(async { work(message).await }).catch_unwind();
        let outcome = match tokio::time::timeout(left, done).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(_)) => Err("the work on it panicked".into()),
            Err(_) => Err(HandlerError::Deadline.into()),
        };
        let error = outcome.err()?;
        stopped.fetch_or(in_order, Ordering::Relaxed);
        let told = error::diagnostic(&*error);
        tracing::warn!(message = id, code = told.error_type, "{}", told.error_message);
        Some(id)
    });
    let failed: Vec<Option<String>> = done.buffer_unordered(at_once).collect().await;
    let mut answer = SqsBatchResponse::default();
    answer.batch_item_failures = failed.into_iter().flatten().map(named).collect();
    answer
}

fn named(id: String) -> BatchItemFailure {
    let mut failure = BatchItemFailure::default();
    failure.item_identifier = id;
    failure
}
