//! `tieline worker --lambda`: sync runs in AWS Lambda, where nobody may look for work all the time.
//!
//! A schedule invokes the function, which sends a message for each piece of work that could be taken now; a message invokes it
//! again, and it takes that very work. Messages only wake somebody: what is due, and whose it is, the database says, so that
//! one too many does nothing, and one too few is made up for by the schedule (docs/decisions/0019).

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use jiff::Timestamp;
use lambda_runtime::{Diagnostic, LambdaEvent, service_fn};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tieline_auth::aws::AwsError;
use tieline_auth::{Clock, SystemClock, redact};
use tieline_lambda::sqs::Queue;
use tieline_server::Service;
use tieline_store::{StoreError, Uuid};
use tieline_sync::worker::Ended;
use tokio::sync::watch;

use crate::failure::Failure;

/// Messages that one tick sends. What does not fit is among the next one's, or follows what was done before it.
const MOST: u32 = 1_000;
/// So long before the deadline no more steps are begun: three seconds are for the last one, the rest for giving the work back
/// and saying so.
const MARGIN: Duration = Duration::from_secs(6);
/// How long what is being written still may take before the environment is frozen.
const LAST_WRITES: Duration = Duration::from_secs(1);

/// A message: whose work, and which.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Wake {
    business: Uuid,
    work: Uuid,
}

struct Function {
    service: Service,
    queue: Queue,
    at_once: usize,
    clock: SystemClock,
}

/// Serves events until Lambda ends the process.
pub(super) async fn serve(service: Service, queue: Queue, at_once: usize) -> Result<(), Failure> {
    let function = Arc::new(Function { service, queue, at_once, clock: SystemClock::default() });
    let serve = move |event: LambdaEvent<Value>| {
        let function = function.clone();
        async move {
            let answer = function.answer(event).await;
            // What is open now would be dead after the freeze, and the server's to hold meanwhile.
            function.service.store().let_go(LAST_WRITES).await;
            answer
        }
    };
    lambda_runtime::run(service_fn(serve)).await.map_err(|error| {
        Failure::new(
            format!("Lambda's Runtime API failed: {error}"),
            "`--lambda` is for AWS Lambda; without it the worker runs anywhere else",
        )
    })
}

impl Function {
    async fn answer(&self, event: LambdaEvent<Value>) -> Result<Value, Diagnostic> {
        match event.payload["Records"].as_array() {
            Some(messages) => {
                let failed = self.messages(messages, self.time_left(event.context.deadline)).await;
                let failed: Vec<Value> = failed.into_iter().map(|id| json!({"itemIdentifier": id})).collect();
                Ok(json!({"batchItemFailures": failed}))
            }
            None => self.tick().await,
        }
    }

    /// Until no more steps are begun. A deadline is milliseconds since 1970.
    fn time_left(&self, deadline: u64) -> Duration {
        let deadline = i64::try_from(deadline).ok().and_then(|at| Timestamp::from_millisecond(at).ok());
        let left = deadline.map(|at| at.duration_since(self.clock.now())).unwrap_or_default();
        Duration::try_from(left).unwrap_or_default().saturating_sub(MARGIN)
    }

    /// Sends a message for whatever could be taken now.
    async fn tick(&self) -> Result<Value, Diagnostic> {
        let ready = self.service.ready_syncs(None, MOST).await.map_err(|error| of_database(&error))?;
        self.send(&ready).await.map_err(|error| of_queue(&error))?;
        tracing::info!(messages = ready.len(), "sync runs that are due were told of");
        Ok(json!({"sent": ready.len()}))
    }

    async fn send(&self, ready: &[(Uuid, Uuid)]) -> Result<(), AwsError> {
        let wakes = ready.iter().map(|(business, work)| Wake { business: *business, work: *work });
        let bodies: Vec<String> = wakes.filter_map(|wake| serde_json::to_string(&wake).ok()).collect();
        self.queue.send(&bodies).await
    }

    /// Works on what the messages name; the ids of those that nothing could be decided about.
    async fn messages(&self, messages: &[Value], time: Duration) -> Vec<String> {
        let (stop, stopping) = watch::channel(false);
        let (all, stopping) = (futures_util::stream::iter(messages), &stopping);
        let done = all.map(|message| async move {
            let id = message["messageId"].as_str().unwrap_or_default();
            let Ok(wake) = serde_json::from_str::<Wake>(message["body"].as_str().unwrap_or_default()) else {
                tracing::error!(message = id, "a message in the queue is none of tieline's, and is left out");
                return None;
            };
            let undecided = self.message(wake, stopping.clone()).await.err()?;
            tracing::error!(message = id, error = %undecided, hint = undecided.hint(), "a sync run comes again");
            Some(id.to_owned())
        });
        let done = done.buffer_unordered(self.at_once.max(1)).collect::<Vec<_>>();
        tokio::pin!(done);
        let done = tokio::select! {
            done = &mut done => done,
            () = tokio::time::sleep(time) => {
                stop.send_replace(true);
                done.await
            }
        };
        done.into_iter().flatten().collect()
    }

    async fn message(&self, wake: Wake, stopping: watch::Receiver<bool>) -> Result<(), StoreError> {
        let Wake { business, work } = wake;
        let ended = if *stopping.borrow() {
            Some(Ended::GivenBack)
        } else {
            self.service.work_on_sync(business, work, stopping).await?
        };
        let next = match ended {
            // Somebody else has it, or it is not due.
            None => return Ok(()),
            // It goes on in another invocation.
            Some(Ended::GivenBack) => vec![(business, work)],
            // The business has a place now.
            Some(Ended::Ran(_) | Ended::TakenOver) => {
                self.service.ready_syncs(Some(business), 1).await.unwrap_or_default()
            }
        };
        if let Err(error) = self.send(&next).await {
            // What was done is done; the schedule tells of the rest.
            tracing::error!(%error, hint = error.hint(), "the next sync run waits for the schedule");
        }
        Ok(())
    }
}

fn diagnostic(error_type: &str, error: &dyn std::error::Error, hint: &str) -> Diagnostic {
    let error_message = redact::mask(&format!("{error} (hint: {hint})")).into_owned();
    tracing::error!(code = error_type, "{error_message}");
    Diagnostic { error_type: error_type.to_owned(), error_message }
}

fn of_database(error: &StoreError) -> Diagnostic {
    diagnostic("database", error, &error.hint())
}

fn of_queue(error: &AwsError) -> Diagnostic {
    diagnostic("queue", error, &error.hint())
}
