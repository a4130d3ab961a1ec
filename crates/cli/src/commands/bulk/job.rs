//! `tieline bulk status`, `abort` and `jobs`: what the org says of jobs.

use tieline_client::Connection;
use tieline_client::bulk::{Ingest, JobInfo, JobKind};

use super::{find, state, summary};
use crate::failure::Failure;
use crate::output;
use crate::settings::OrgChoice;

/// The org does not sort its lists, so all is read: jobs of seven days.
const ALL: usize = 100_000;

/// Show a job, or all jobs of an ingest
#[derive(clap::Args)]
#[command(after_help = "Examples:
  tieline bulk status 750Em0000000001AAA
  tieline bulk status 750Em0000000001AAA --json | jq -r .state")]
pub(crate) struct Status {
    #[command(flatten)]
    org: OrgChoice,
    /// Id of the job; of the first one, where an ingest has several
    id: String,
    /// One JSON object a job, with all that the org says
    #[arg(long)]
    json: bool,
}

/// End a job, or all jobs of an ingest; rows that were worked off stay as they are
#[derive(clap::Args)]
#[command(after_help = "Examples:
  tieline bulk abort 750Em0000000001AAA")]
pub(crate) struct Abort {
    #[command(flatten)]
    org: OrgChoice,
    /// Id of the job; of the first one, where an ingest has several
    id: String,
    /// One JSON object a job, with all that the org says
    #[arg(long)]
    json: bool,
}

/// List the org's jobs, the newest first
#[derive(clap::Args)]
#[command(after_help = "Examples:
  tieline bulk jobs
  tieline bulk jobs --kind query --limit 5 --json")]
pub(crate) struct Jobs {
    #[command(flatten)]
    org: OrgChoice,
    /// One kind alone
    #[arg(long, value_enum)]
    kind: Option<Kind>,
    /// So many at most
    #[arg(long, value_name = "N", default_value_t = 20)]
    limit: usize,
    /// One JSON object a job
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, clap::ValueEnum)]
enum Kind {
    Ingest,
    Query,
}

impl Status {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let connection = self.org.to_call().await?;
        told(&jobs_of(&connection, &self.id).await?, self.json)
    }
}

impl Abort {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let found = state::find(&self.id)?;
        let connection = self.org.to_call().await?;
        match found {
            Some((noted, _)) => {
                noted.is_of(&connection).await?;
                Ingest::resume(&connection, noted.handle).abort().await.map_err(Failure::repeatable)?;
            }
            None => {
                let (kind, _) = find(&connection, &self.id).await?;
                connection.abort_job(kind, &self.id).await.map_err(Failure::repeatable)?;
            }
        }
        told(&jobs_of(&connection, &self.id).await?, self.json)
    }
}

impl Jobs {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let connection = self.org.to_call().await?;
        let mut jobs = Vec::new();
        for (kind, of) in [(Kind::Ingest, JobKind::Ingest), (Kind::Query, JobKind::Query)] {
            if self.kind.is_none_or(|wanted| wanted == kind) {
                let is_query = |job: &JobInfo| matches!(job.operation.as_str(), "query" | "queryAll");
                let mut found = connection.jobs(of, ALL).await?;
                // Either list may hold jobs of both kinds, in any order.
                found.retain(|job| is_query(job) == (kind == Kind::Query));
                jobs.extend(found);
            }
        }
        // Dates as text, for the org writes all of them in the same way.
        jobs.sort_by(|a, b| (&b.created_date, &b.id).cmp(&(&a.created_date, &a.id)));
        jobs.truncate(self.limit);
        if self.json {
            for job in &jobs {
                let mut job = serde_json::to_value(job).map_err(anyhow::Error::from)?;
                if let Some(job) = job.as_object_mut() {
                    // Lists do not tell them: `bulk status` does.
                    for name in ["numberRecordsProcessed", "numberRecordsFailed", "retries", "totalProcessingTime"] {
                        job.remove(name);
                    }
                    job.retain(|_, value| !value.is_null());
                }
                if !output::line(&job.to_string())? {
                    break;
                }
            }
            return Ok(());
        }
        if !jobs.is_empty() {
            let mut table = output::table(&["job", "operation", "object", "state", "created"]);
            for job in &jobs {
                let object = job.object.as_deref().unwrap_or_default();
                let created = job.created_date.as_deref().unwrap_or_default();
                table.add_row([&job.id, &job.operation, object, &job.state.to_string(), created]);
            }
            output::line(&table.to_string())?;
        }
        note!("{}", output::count(jobs.len() as u64, "job"));
        Ok(())
    }
}

/// The jobs of the ingest that is called so, or the one job.
async fn jobs_of(connection: &Connection, id: &str) -> Result<Vec<JobInfo>, Failure> {
    let Some((noted, _)) = state::find(id)? else {
        return Ok(vec![find(connection, id).await?.1]);
    };
    noted.is_of(connection).await?;
    let mut jobs = Vec::new();
    let filled = noted.handle.jobs.iter().chain(&noted.handle.handed).map(|job| &job.id);
    for id in filled.chain(&noted.handle.open_job) {
        jobs.push(connection.job_info(JobKind::Ingest, id).await?);
    }
    Ok(jobs)
}

fn told(jobs: &[JobInfo], json: bool) -> Result<(), Failure> {
    if json {
        for job in jobs {
            if !output::line(&serde_json::to_string(job).map_err(anyhow::Error::from)?)? {
                break;
            }
        }
        return Ok(());
    }
    if !jobs.is_empty() {
        let mut table = output::table(&["job", "operation", "object", "state", "processed", "failed", "created"]);
        for job in jobs {
            table.add_row([
                &job.id,
                &job.operation,
                job.object.as_deref().unwrap_or_default(),
                &job.state.to_string(),
                &job.number_records_processed.to_string(),
                &job.number_records_failed.to_string(),
                job.created_date.as_deref().unwrap_or_default(),
            ]);
        }
        output::line(&table.to_string())?;
    }
    for job in jobs.iter().filter(|job| job.error_message.as_ref().is_some_and(|text| !text.is_empty())) {
        note!("job {}: {}", job.id, summary::reason(job));
    }
    note!("{}", output::count(jobs.len() as u64, "job"));
    Ok(())
}
