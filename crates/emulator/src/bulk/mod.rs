//! The Bulk APIs: files of records in, files of records out, worked off in the background.
//!
//! Reading order: [`job`] (what a job is), [`ingest`] and [`upload`] (how one comes and gets its file), [`work`] (what
//! becomes of it: [`csv_file`] reads, [`columns`] understands, [`rows`] writes), [`outcome`] (what a client gets back),
//! [`query`], [`export`] and [`pages`] (the other direction), [`list`], [`behaviour`] (what the control API changes),
//! [`classic`] (the first Bulk API).

pub(crate) mod behaviour;
mod classic;
mod columns;
mod csv_file;
mod export;
pub(crate) mod forced;
mod gzip;
mod ingest;
mod job;
mod list;
mod outcome;
mod pages;
mod query;
mod rows;
mod slice;
mod stream;
mod upload;
mod work;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::routing::{get, post};
use jiff::{SignedDuration, Timestamp};
use tokio::sync::Notify;
use tokio::task::AbortHandle;

pub(crate) use behaviour::{Behaviour, Change};
use job::Job;

use crate::Shared;
use crate::api_error::ApiError;
use crate::org::Org;

/// How long jobs and their results are kept.
const KEPT: SignedDuration = SignedDuration::from_hours(7 * 24);

/// All that the Bulk APIs of an org know.
#[derive(Default)]
pub(crate) struct State {
    /// By id, which is the order in which they were made.
    jobs: BTreeMap<String, Job>,
    classic: BTreeMap<String, classic::job::Job>,
    pub(crate) behaviour: Behaviour,
    /// Told when a job may go on, or must not.
    moved: Arc<Notify>,
    /// Made at first use, gone with the org.
    folder: Option<tempfile::TempDir>,
}

impl State {
    pub(crate) fn change(&mut self, change: Change) {
        self.behaviour.change(change);
        self.moved.notify_waiters();
    }

    pub(crate) fn reset(&mut self) {
        self.behaviour = Behaviour::default();
        self.moved.notify_waiters();
    }

    /// The folder of a job's files.
    fn folder(&mut self, job: &str) -> std::io::Result<PathBuf> {
        if self.folder.is_none() {
            self.folder = Some(tempfile::Builder::new().prefix("tieline-bulk-").tempdir()?);
        }
        let folder = self.folder.as_ref().map_or_else(PathBuf::new, |f| f.path().join(job));
        std::fs::create_dir_all(&folder)?;
        Ok(folder)
    }

    /// Removes a job's files. One that is still read is read to its end.
    fn remove_files(&self, job: &str) {
        if let Some(folder) = &self.folder {
            // A job without files has no folder.
            let _ = std::fs::remove_dir_all(folder.path().join(job));
        }
    }

    fn expire(&mut self, now: Timestamp) {
        let old = |created: Timestamp| now.duration_since(created) > KEPT;
        let gone: Vec<String> = self
            .jobs
            .values()
            .filter(|job| old(job.created))
            .map(|job| job.id.clone())
            .chain(self.classic.values().filter(|job| old(job.created)).map(|job| job.id.clone()))
            .collect();
        for id in gone {
            self.jobs.remove(&id);
            self.classic.remove(&id);
            self.remove_files(&id);
            self.moved.notify_waiters();
        }
    }
}

/// The jobs that have not expired.
fn jobs(org: &mut Org) -> &mut BTreeMap<String, Job> {
    let now = org.now();
    org.bulk.expire(now);
    &mut org.bulk.jobs
}

/// A job of one of the two kinds, by its id of 15 or 18 characters.
fn job<'a>(org: &'a mut Org, id: &str, query: bool) -> Result<&'a mut Job, ApiError> {
    let id = crate::id::normalise(id).ok_or_else(ApiError::not_found)?;
    jobs(org).get_mut(&id).filter(|job| job.operation.is_query() == query).ok_or_else(ApiError::not_found)
}

fn io_error(error: &std::io::Error) -> ApiError {
    // The emulator's own fault, said as such: it must never pass for an answer of Salesforce.
    ApiError::new(500, "UNKNOWN_EXCEPTION", format!("emulator files: {error}"))
}

/// What works in the background, to be ended with the org.
#[derive(Default)]
pub(crate) struct Workers(Mutex<Vec<AbortHandle>>);

impl Workers {
    fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        let mut handles = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        handles.retain(|handle| !handle.is_finished());
        handles.push(tokio::spawn(work).abort_handle());
    }

    pub(crate) fn abort(&self) {
        for handle in self.0.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            handle.abort();
        }
    }
}

pub(crate) fn router() -> Router<Shared> {
    let jobs = "/services/data/{version}/jobs";
    let classic = "/services/async/{version}/job";
    Router::new()
        .route(&format!("{jobs}/ingest"), post(ingest::create).get(list::ingest))
        .route(&format!("{jobs}/ingest/{{id}}"), get(ingest::read).patch(ingest::change).delete(ingest::delete))
        .route(&format!("{jobs}/ingest/{{id}}/{{part}}"), get(outcome::read).put(upload::upload))
        .route(&format!("{jobs}/query"), post(query::create).get(list::query))
        .route(&format!("{jobs}/query/{{id}}"), get(query::read).patch(query::change).delete(query::delete))
        .route(&format!("{jobs}/query/{{id}}/{{part}}"), get(pages::read))
        .route(classic, post(classic::job::create))
        .route(&format!("{classic}/{{id}}"), get(classic::job::read).post(classic::job::change))
        .route(&format!("{classic}/{{id}}/batch"), get(classic::batch::list).post(classic::batch::add))
        .route(&format!("{classic}/{{id}}/batch/{{batch}}"), get(classic::batch::read))
        .route(&format!("{classic}/{{id}}/batch/{{batch}}/{{part}}"), get(classic::outcome::read))
        .route(&format!("{classic}/{{id}}/batch/{{batch}}/result/{{result}}"), get(classic::outcome::rows))
}
