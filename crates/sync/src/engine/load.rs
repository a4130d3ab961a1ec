//! The first reading of everything, and the next one from the beginning: by pages, or by a Bulk job.

use std::collections::HashSet;

use jiff::Timestamp;
use tieline_client::bulk::{BulkQueryOptions, QueryJob, Wait};
use tieline_client::{ClientError, Connection};
use tieline_store::Checkpoint;
use tieline_store::mappings::Job;

use super::poll::is_too_slow;
use super::work::{Kind, Work};
use crate::error::SyncError;
use crate::mapping::{Decoder, Method};
use crate::scan::before;

impl Work<'_> {
    /// Goes on with the load under way, or begins one.
    pub(super) async fn load(&mut self) -> Result<(), SyncError> {
        if self.standing.checkpoint == Checkpoint::default() && self.standing.progress.job.is_none() {
            // Parents that change while their children are being read have not reached all of them.
            let now = self.org_time().await?;
            self.standing.progress.parents_through = Some(before(now, self.window().lag));
        }
        let standing = &self.standing;
        let at_once = standing.checkpoint.scan.is_none() && standing.progress.job.is_none();
        let mut begun = false;
        loop {
            if let Some(job) = self.standing.progress.job.clone() {
                if self.read_job(&job, begun).await? {
                    break;
                }
            } else if self.standing.checkpoint.scan.is_some() || !self.bulk_is_better().await? {
                break;
            } else if self.begin_job().await? {
                begun = true;
            } else {
                break;
            }
        }
        // What has changed since the job began; or all of it, where there was none.
        self.poll().await?;
        let now = self.engine.clock.now();
        let progress = &mut self.standing.progress;
        let through = self.standing.checkpoint.through;
        progress.deletes_through = progress.deletes_through.or(through);
        progress.parents_through = progress.parents_through.or(through);
        // What is gone is not in a reading anew: all ids are compared behind it.
        let anew = std::mem::take(&mut progress.reloading);
        // Where some of it was read by an earlier run, what has changed without a stamp since then is not in it.
        if at_once {
            progress.refreshed_at = Some(now);
            progress.compared_at = if anew { None } else { Some(now) };
        } else if anew {
            progress.compared_at = None;
        }
        self.note().await
    }

    /// Whether the first reading is one for a Bulk job.
    async fn bulk_is_better(&mut self) -> Result<bool, SyncError> {
        match self.definition.method {
            // Nor does the Bulk API answer addresses and places as a whole.
            _ if !self.plan.rest_only.is_empty() || self.reading.is_divided() => return Ok(false),
            Method::Rest => return Ok(false),
            Method::Bulk => return Ok(true),
            Method::Auto => {}
        }
        let since = self.plan.cursor.as_deref().and_then(|cursor| self.since(cursor));
        let condition = since.map(|since| format!(" WHERE {since}")).unwrap_or_default();
        let connection = &self.engine.connection;
        match connection.count(&format!("SELECT count() FROM {}{condition}", self.plan.object)).await {
            Ok(records) => {
                self.show(0, Some(records));
                // A budget that is short is a reason, too: a job takes a handful of calls, whatever its size.
                let pages = records / 2_000;
                let left = connection.api_usage().map(|usage| usage.allowed.saturating_sub(usage.used));
                Ok(records >= self.engine.care.bulk_from || left.is_some_and(|left| pages > left / 10))
            }
            Err(error) if is_too_slow(&error) => Ok(true),
            Err(error) => Err(error.into()),
        }
    }

    /// False if the org has no Bulk API for this object or user.
    async fn begin_job(&mut self) -> Result<bool, SyncError> {
        let connection = &self.engine.connection;
        let now = self.org_time().await?;
        let plan = self.plan.clone();
        let since = self.plan.cursor.as_deref().and_then(|cursor| self.since(cursor));
        let condition = since.map(|since| format!(" WHERE {since}")).unwrap_or_default();
        // Without an order, which would keep the org from working at parts of it side by side.
        let soql = format!("SELECT {} FROM {}{condition}", plan.select_list(), plan.object);
        let options = BulkQueryOptions { deleted_too: true, ..BulkQueryOptions::default() };
        let job = match connection.bulk_query(&soql, options).await {
            Ok(job) => job,
            Err(error) if self.definition.method == Method::Auto && is_not_for_bulk(&error) => {
                tracing::info!(mapping = %self.mapping.name, %error, "the Bulk API does not take it; it is read by pages");
                return Ok(false);
            }
            Err(error) => return Err(error.into()),
        };
        let until = before(now, self.window().lag);
        self.standing.progress.job = Some(Job { id: job.id().to_owned(), until, begun: now });
        self.note().await?;
        Ok(true)
    }

    /// Writes what a job has found. False if it came to nothing: it has expired, ended without success, or was begun by an
    /// earlier run for other columns.
    async fn read_job(&mut self, job: &Job, begun: bool) -> Result<bool, SyncError> {
        let query = self.engine.connection.query_job(&job.id);
        let wait = Wait { at_most: Some(self.engine.care.job_wait), ..Wait::default() };
        // Each look is a sign that the org is still at it.
        let waited = query.wait_and(&wait, |info| self.show(0, Some(info.number_records_processed))).await;
        let outcome = match waited {
            Ok(info) => {
                self.show(0, Some(info.number_records_processed));
                self.read_rows(&query, info.number_records_processed, begun).await
            }
            Err(error) => Err(error.into()),
        };
        match outcome {
            Ok(false) => {
                tracing::info!(mapping = %self.mapping.name, job = job.id, "the job was begun for other columns");
                self.standing.progress.job = None;
                self.note().await?;
                forget(&self.engine.connection, query).await;
                Ok(false)
            }
            Ok(true) => {
                self.standing.checkpoint.through = Some(job.until);
                self.standing.checkpoint.scan = None;
                self.standing.progress.job = None;
                self.standing.progress.parents_through.get_or_insert(job.until);
                self.note().await?;
                forget(&self.engine.connection, query).await;
                Ok(true)
            }
            Err(SyncError::Client(error)) if is_lost(&error) => {
                tracing::warn!(mapping = %self.mapping.name, job = job.id, %error, "the job has come to nothing");
                self.settle().await?;
                self.standing.progress.job = None;
                self.note().await?;
                match error {
                    // It would end so again; pages can be divided.
                    ClientError::JobEnded { .. } if self.definition.method == Method::Auto => {
                        self.definition.method = Method::Rest;
                        Ok(false)
                    }
                    ClientError::JobEnded { .. } => Err(error.into()),
                    _ => Ok(false),
                }
            }
            Err(error) => Err(error),
        }
    }

    /// False if the results lack a column, and another run has asked for them.
    async fn read_rows(&mut self, job: &QueryJob, promised: u64, begun: bool) -> Result<bool, SyncError> {
        let mut rows = job.rows();
        let decoder = Decoder::new(&self.plan);
        let width = self.plan.columns.len();
        let mut batch = decoder.decoded();
        let mut csv = None;
        let mut erased = HashSet::new();
        self.check_share()?;
        while let Some(row) = rows.next().await? {
            let csv = match &csv {
                Some(csv) => csv,
                None => {
                    let header: Vec<&str> = row.columns().collect();
                    match decoder.csv(&header) {
                        Ok(found) => csv.insert(found),
                        Err(_) if !begun => return Ok(false),
                        Err(reason) => return Err(self.unreadable(job, &reason.to_string()).into()),
                    }
                }
            };
            csv.row(row, &mut batch).map_err(|reason| self.unreadable(job, &reason.to_string()))?;
            if self.is_full(&batch.rows) {
                self.check_share()?;
                self.show(batch.rows.len() as u64, None);
                let full = std::mem::replace(&mut batch, decoder.decoded());
                erased.extend(self.engine.store.erased_among(&self.mapping.table, &full.rows).await?);
                self.commit(Kind::Rows, full.into(), 0).await?;
                batch.rows = self.empty_rows(width);
            }
        }
        self.show(batch.rows.len() as u64, None);
        erased.extend(self.engine.store.erased_among(&self.mapping.table, &batch.rows).await?);
        self.commit(Kind::Rows, batch.into(), 0).await?;
        self.settle().await?;
        // A page that came in the place of another has as many rows, but not as many different ones.
        let mut here = self.engine.store.count_rows(&self.mapping).await?;
        if here < promised && !erased.is_empty() {
            // Persons who were erased stay away, but for the empty rows that are left of some.
            let left = self.engine.store.versions(&self.mapping, erased.iter().cloned().collect()).await?;
            here += (erased.len() - left.len()) as u64;
        }
        if here < promised {
            let reason = format!("it has {promised} records, and {here} different ones are here");
            return Err(self.unreadable(job, &reason).into());
        }
        Ok(true)
    }

    fn unreadable(&self, job: &QueryJob, reason: &str) -> ClientError {
        ClientError::Unreadable {
            org: self.engine.connection.org().to_owned(),
            what: format!("reading the results of job {}", job.id()),
            reason: reason.to_owned(),
            outcome_unknown: false,
        }
    }

    /// The org's clock. It is asked, where no answer has told it yet.
    pub(super) async fn org_time(&mut self) -> Result<Timestamp, SyncError> {
        let connection = &self.engine.connection;
        if connection.org_time().is_none() {
            connection.limits().await?;
        }
        let org = || connection.org().to_owned();
        connection.org_time().ok_or_else(|| SyncError::NoServerTime { org: org() })
    }
}

/// The job or its results are not there any more, or never will be.
fn is_lost(error: &ClientError) -> bool {
    matches!(error, ClientError::JobEnded { .. })
        || matches!(error.salesforce_code(), Some("NOT_FOUND" | "INVALIDJOB" | "INVALID_JOB" | "INVALIDJOBSTATE"))
}

/// What the org answers where an object or a user may not use the Bulk API.
/// Source: Bulk API 2.0 Developer Guide, "Query Jobs: considerations"; the codes are those that clients report.
fn is_not_for_bulk(error: &ClientError) -> bool {
    let codes =
        ["INVALIDENTITY", "API_DISABLED_FOR_ORG", "FUNCTIONALITY_NOT_ENABLED", "FeatureNotEnabled", "API_ERROR"];
    error.salesforce_code().is_some_and(|code| codes.contains(&code))
}

/// Its results are written: it is in nobody's way for seven days, but counts among the org's jobs.
pub(super) async fn forget(connection: &Connection, job: QueryJob) {
    if let Err(error) = job.delete().await {
        tracing::info!(org = connection.org(), job = job.id(), %error, "the job was not deleted; the org does it after seven days");
    }
}
