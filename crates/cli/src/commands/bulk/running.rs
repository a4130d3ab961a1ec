//! An ingest under way: fed, waited for, and noted after each step.

use std::sync::{Arc, Mutex, PoisonError};

use tieline_client::bulk::ingest::{IngestEvent, IngestJob};
use tieline_client::bulk::{Ingest, IngestHandle};
use tieline_client::{ClientError, Connection};
use tokio::io::AsyncRead;

use super::ingest::End;
use super::state::{Noted, StateFile};
use super::{summary, wait};
use crate::commands::{or_stopped, stopped};
use crate::failure::{Failure, UNFINISHED};
use crate::output;
use crate::setup::bootstrap::ENDED_BY_A_PERSON;

fn of_job(job: &IngestJob) {
    note!("job {} has {}", job.id, output::count(job.rows, "row"));
}

/// An ingest of which each step is noted.
pub(super) struct Running {
    ingest: Ingest,
    noted: Arc<Mutex<(Noted, StateFile)>>,
    bar: indicatif::ProgressBar,
    /// Jobs that another process had begun.
    before: usize,
}

impl Running {
    pub(super) fn new(connection: &Connection, noted: Noted, state: StateFile) -> Self {
        let bar = output::rows_bar();
        let handle = noted.handle.clone();
        let before = handle.jobs.len() + usize::from(handle.handed.is_some());
        let noted = Arc::new(Mutex::new((noted, state)));
        let (shared, shown) = (noted.clone(), bar.clone());
        let mut processed = std::collections::HashMap::new();
        let ingest = Ingest::resume(connection, handle).on_event(move |handle, event| {
            note(&shared, handle);
            match event {
                IngestEvent::Produced { rows, .. } => shown.set_position(rows),
                // At once: who is killed after this has an id to go on with.
                IngestEvent::Handed { job } => shown.suspend(|| of_job(job)),
                IngestEvent::Seen { info } => {
                    processed.insert(info.id.clone(), info.number_records_processed);
                    shown.set_position(processed.values().sum());
                }
                _ => {}
            }
        });
        Self { ingest, noted, bar, before }
    }

    /// Sends all rows. When somebody stops that, the job that was being filled is given up; those before it go on.
    pub(super) async fn feed(&mut self, input: Box<dyn AsyncRead + Unpin + Send>) -> Result<(), Failure> {
        self.bar.set_message("sending, ");
        let fed = tokio::select! {
            fed = self.ingest.feed_csv(input) => Some(fed),
            () = stopped() => None,
        };
        let filled = self.ingest.handle().open_job.is_some();
        if fed.is_none() {
            self.ingest.abandon().await;
        }
        note(&self.noted, self.ingest.handle());
        match fed {
            Some(Ok(())) => Ok(()),
            Some(Err(error)) => {
                self.bar.finish_and_clear();
                // What was lost on the way to a job that never began does no harm a second time.
                let failure = Failure::repeatable(error);
                let handle = self.ingest.handle();
                let handed = handle.handed.is_some();
                if handle.rows() == 0 && !handed {
                    return Err(failure);
                }
                self.told_of_jobs();
                // Whoever repeats the command sends those rows twice.
                Err(match failure.after_sending(&self.resume()) {
                    failure if handed => failure.with_code(UNFINISHED),
                    failure => failure,
                })
            }
            None => {
                self.bar.finish_and_clear();
                note!("stopped{}", if filled { "; the job that was being filled is given up" } else { "" });
                self.told_of_jobs();
                Err(Failure::told(ENDED_BY_A_PERSON))
            }
        }
    }

    /// What is in the org's hands already, and how to send the rest.
    fn told_of_jobs(&self) {
        let handle = self.ingest.handle();
        if handle.jobs.is_empty() && handle.handed.is_none() {
            note!("no rows are in the org's hands");
            return;
        }
        if !handle.jobs.is_empty() {
            let jobs = handle.jobs.iter().map(|job| job.id.as_str()).collect::<Vec<_>>().join(", ");
            note!("{} are in the org's hands: job {jobs}", output::count(handle.rows(), "row"));
        }
        if let Some(job) = &handle.handed {
            let rows = output::count(job.rows, "row");
            note!("{rows} may be in the org's hands: job {} has them, and perhaps it was told to begin", job.id);
        }
        note!("to send the others: {}", self.resume());
    }

    /// The command that sends what the org has not.
    fn resume(&self) -> String {
        let guard = self.noted.lock().unwrap_or_else(PoisonError::into_inner);
        let file = if guard.0.input == "-" { "FILE".to_owned() } else { guard.0.input.clone() };
        drop(guard);
        format!("tieline bulk resume {} --file {file}", self.named())
    }

    /// How `bulk resume` is told which ingest is meant.
    fn named(&self) -> String {
        let guard = self.noted.lock().unwrap_or_else(PoisonError::into_inner);
        match guard.1.given() {
            Some(file) => format!("--state {}", file.display()),
            None => guard.0.id().unwrap_or_default().to_owned(),
        }
    }

    /// All is sent; nobody waits.
    pub(super) fn leave(self, json: bool) -> Result<(), Failure> {
        self.bar.finish_and_clear();
        let handle = self.ingest.handle();
        let Some(first) = handle.jobs.first() else {
            note!("the input holds no rows; nothing was sent");
            return Ok(());
        };
        let told = || serde_json::json!({"id": first.id, "jobs": handle.jobs, "sent": handle.rows()}).to_string();
        output::line(&if json { told() } else { first.id.clone() })?;
        let jobs = output::count(handle.jobs.len() as u64, "job");
        note!("{} sent in {jobs}; to wait: tieline bulk resume {}", output::count(handle.rows(), "row"), self.named());
        Ok(())
    }

    /// Waits for all jobs, tells what became of the rows, and writes them where they are wanted.
    pub(super) async fn finish(mut self, end: &End) -> Result<(), Failure> {
        if self.ingest.handle().jobs.is_empty() {
            self.bar.finish_and_clear();
            note!("the input holds no rows; nothing was sent");
            return Ok(());
        }
        let named = self.named();
        let rows = self.ingest.handle().rows();
        for job in self.ingest.handle().jobs.iter().take(self.before) {
            self.bar.suspend(|| of_job(job));
        }
        self.bar.set_message("");
        self.bar.set_position(0);
        output::total_is(&self.bar, rows);
        let limit = wait(end.timeout);
        let waited = tokio::select! {
            waited = self.ingest.wait(&limit) => waited,
            () = stopped() => {
                self.bar.finish_and_clear();
                note!("stopped waiting; the org goes on: tieline bulk resume {named}");
                return Err(Failure::told(ENDED_BY_A_PERSON));
            }
        };
        self.bar.finish_and_clear();
        let told = match waited {
            Ok(summary) => or_stopped(summary::tell(&self.ingest, &summary, end, &named)).await,
            Err(ClientError::StillRunning { waited, .. }) => Err(summary::unfinished(waited, &named)),
            Err(error) => Err(Failure::repeatable(error)),
        };
        told.map_err(|failure| failure.after_sending(&format!("tieline bulk resume {named}")))
    }
}

fn note(noted: &Mutex<(Noted, StateFile)>, handle: &IngestHandle) {
    let mut guard = noted.lock().unwrap_or_else(PoisonError::into_inner);
    let (noted, state) = &mut *guard;
    if noted.handle != *handle {
        noted.handle.clone_from(handle);
        state.note(noted);
    }
}
