//! Runs of the mapping, whole and broken off, and what happens in the middle of them.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use tieline_client::ClientError;
use tieline_store::StoreError;
use tieline_sync::SyncError;
use tieline_sync::engine::{Asked, Engine, MappingReport};
use tieline_sync::{Window, engine};

use super::life::{Act, Event, Run};
use super::stage::Stage;

type Outcome = Result<MappingReport, SyncError>;
type Running<'r> = Pin<Box<dyn Future<Output = Outcome> + 'r>>;

/// How a run ended.
#[derive(Debug)]
pub(super) enum Ending {
    Ended(Box<Outcome>),
    Killed,
}

impl Ending {
    pub(super) fn is_ok(&self) -> bool {
        matches!(self, Ending::Ended(outcome) if outcome.is_ok())
    }
}

impl Stage {
    pub(super) fn engine(&self, run: &Run) -> Engine {
        let due = |now: bool| if now { Duration::ZERO } else { Duration::from_secs(400 * 86_400) };
        let mut engine = self.world.engine.clone();
        engine.care = engine::EngineCare {
            window: Window {
                lookback: Duration::from_secs(self.life.lookback),
                lag: Duration::from_secs(self.life.lag),
            },
            bulk_from: if run.bulk { 0 } else { u64::MAX },
            job_wait: Duration::from_millis(15),
            describe_every: due(run.describe),
            verify_every: due(run.verify),
            compare_every: due(false),
            refresh_every: due(run.refresh),
            step_rows: run.step_rows,
            step_bytes: run.step_bytes,
            gone_at_least: 3,
            ..engine.care
        };
        engine
    }

    /// Runs the mapping.
    pub(super) async fn run(&mut self, run: &Run) -> Ending {
        let engine = self.engine(run);
        let mapping = self.world.mapping;
        let connection = engine.connection.clone();
        let began = connection.api_calls();
        let failpoint = match run.failpoint {
            Some((place, rows)) => Some(self.break_database(place, rows).await),
            None => None,
        };
        let asked = Asked { verify: run.verify, compare: run.compare, reload: run.reload, allow_gone: run.allow_gone };
        let mut progress = |_| {};
        let mut future: Option<Running<'_>> = Some(Box::pin(engine.run(mapping, asked, &mut progress)));
        let mut ended = None;
        for (calls, event) in &run.meanwhile {
            let Some(running) = &mut future else { break };
            if let Some(outcome) = until(running, || connection.api_calls() - began >= *calls).await {
                ended = Some(outcome);
                break;
            }
            match event {
                Event::Org(act) => {
                    self.note(format!("in the middle of the run, after {} calls:", connection.api_calls() - began));
                    Box::pin(self.act(act)).await;
                }
                Event::Rival { reload, compare, seconds, deeds } => {
                    self.note("in the middle of the run, another one".to_owned());
                    if *seconds > 0 {
                        Box::pin(self.act(&Act::Pass(*seconds))).await;
                        Box::pin(self.act(&Act::Write(deeds.clone()))).await;
                    }
                    let asked = Asked { verify: true, compare: *compare, reload: *reload, allow_gone: run.allow_gone };
                    let (engine, mut progress) = (engine.clone(), |_| {});
                    let mut rival: Running<'_> = Box::pin(engine.run(mapping, asked, &mut progress));
                    // It waits for the first one's turn at the database, if that is held just now.
                    if tokio::time::timeout(Duration::from_millis(300), &mut rival).await.is_err() {
                        let (first, _) = futures_util::future::join(running, rival).await;
                        ended = Some(first);
                        break;
                    }
                    drop(rival);
                    // What it has proven, the first one must not take back.
                    self.broken = self.broken.take().or(Box::pin(self.keep_promises(None)).await.err());
                }
                Event::Kill(steps) => {
                    let mut done = 0;
                    let dies = || {
                        done += 1;
                        done > *steps
                    };
                    ended = until(running, dies).await;
                    future = None;
                }
            }
        }
        let ending = match (ended, future) {
            (Some(outcome), _) => Ending::Ended(Box::new(outcome)),
            (None, Some(running)) => Ending::Ended(Box::new(running.await)),
            (None, None) => Ending::Killed,
        };
        if let Some(table) = failpoint {
            // A killed run's last write may be under way yet.
            tokio::time::sleep(Duration::from_millis(if matches!(ending, Ending::Killed) { 5 } else { 0 })).await;
            self.world.db.raw.mend(&table).await;
        }
        if matches!(ending, Ending::Killed) {
            self.world.restart();
        }
        ending
    }

    /// Makes a write to the database fail; answers which table's.
    async fn break_database(&self, place: u8, rows: u16) -> String {
        let mapping = self.mapping().await;
        let table = format!("\"{}\"", mapping.table.name());
        let id = if mapping.is_contacts() { "source_id" } else { "id" };
        let (table, event, when) = match place {
            0 => ("mapping_checkpoints".to_owned(), "BEFORE UPDATE OF progress ON mapping_checkpoints", String::new()),
            1 => ("runs".to_owned(), "BEFORE UPDATE OF rows_read ON runs", format!("NEW.rows_read > {rows}")),
            2 => (table.clone(), "BEFORE INSERT ON ", format!("NEW.{id} LIKE '%{}_AA'", rows % 10)),
            _ => (table.clone(), "BEFORE UPDATE ON ", format!("NEW.{id} LIKE '%{}_A_'", rows % 10)),
        };
        let event = if event.ends_with(' ') { format!("{event}{table}") } else { event.to_owned() };
        self.world.db.raw.failpoint(&event, &when).await;
        table
    }

    /// Whether a run that nothing stood in the way of may end so.
    pub(super) fn is_fair(error: &SyncError) -> bool {
        match error {
            SyncError::MassDelete { .. } | SyncError::Store(StoreError::Fenced { .. }) => true,
            // The job may have ended so before.
            SyncError::Client(error) => {
                matches!(error, ClientError::StillRunning { .. } | ClientError::JobEnded { .. })
            }
            _ => false,
        }
    }
}

/// Goes on with a run until something is so, or it has ended.
async fn until(running: &mut Running<'_>, mut is: impl FnMut() -> bool) -> Option<Outcome> {
    poll_fn(|context| match running.as_mut().poll(context) {
        Poll::Ready(outcome) => Poll::Ready(Some(outcome)),
        Poll::Pending if is() => Poll::Ready(None),
        Poll::Pending => Poll::Pending,
    })
    .await
}
