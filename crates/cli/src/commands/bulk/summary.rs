//! The end of an ingest: what became of the rows.

use std::io::BufWriter;
use std::path::Path;
use std::time::Duration;

use serde_json::json;
use tieline_client::bulk::ingest::{IngestSummary, Results};
use tieline_client::bulk::{Ingest, JobInfo, JobState};

use super::ingest::End;
use crate::failure::{FAILED, Failure, PARTLY, UNFINISHED};
use crate::output;
use crate::place::{Place, unwritten_file};
use crate::rows::of_csv;

const FILES: [(Results, &str); 3] =
    [(Results::Successful, "success.csv"), (Results::Failed, "failed.csv"), (Results::Unprocessed, "unprocessed.csv")];

/// What cannot be written is told before anything is sent.
pub(super) fn prepare(folder: &Path) -> Result<(), Failure> {
    std::fs::create_dir_all(folder).map_err(|error| unwritten_file(folder, &error))
}

/// Says what became of the rows; the exit code says whether all is well.
pub(super) async fn tell(ingest: &Ingest, summary: &IngestSummary, end: &End, named: &str) -> Result<(), Failure> {
    let (sent, failed) = (summary.rows, summary.failed());
    let succeeded = summary.processed().saturating_sub(failed);
    let unprocessed = sent.saturating_sub(summary.processed());
    for job in summary.jobs.iter().filter(|job| job.state != JobState::JobComplete) {
        note!("job {} ended as {}: {}", job.id, job.state, reason(job));
    }
    let first = summary.jobs.first().map(|job| &job.id);
    let jobs: Vec<&String> = summary.jobs.iter().map(|job| &job.id).collect();
    let told = match end.json {
        true => json!({
            "id": first, "jobs": jobs, "sent": sent, "succeeded": succeeded, "failed": failed,
            "unprocessed": unprocessed,
        })
        .to_string(),
        false => format!(
            "{} sent: {succeeded} succeeded, {failed} failed, {unprocessed} unprocessed",
            output::count(sent, "row")
        ),
    };
    output::line(&told)?;
    if let Some(folder) = &end.results {
        write_all(ingest, folder).await?;
    } else if succeeded < sent {
        let which = if failed == 0 { " --rows unprocessed" } else { "" };
        output::hint(&format!("which rows: tieline bulk results {named}{which}"));
        if failed > 0 && unprocessed > 0 {
            output::hint(&format!(
                "and those that the org did not come to: tieline bulk results {named} --rows unprocessed"
            ));
        }
    }
    match succeeded {
        _ if summary.is_success() => Ok(()),
        0 => Err(Failure::told(FAILED)),
        _ => Err(Failure::told(PARTLY)),
    }
}

pub(super) fn reason(job: &JobInfo) -> &str {
    let reason = job.error_message.as_deref().filter(|text| !text.is_empty());
    reason.unwrap_or(match job.state {
        JobState::Aborted => "somebody aborted it",
        _ => "the org gives no reason",
    })
}

pub(super) fn unfinished(waited: Duration, named: &str) -> Failure {
    Failure::new(
        format!("the ingest is not done after {waited:.0?}; it goes on"),
        format!("wait for it again: tieline bulk resume {named}"),
    )
    .with_code(UNFINISHED)
}

/// The three files of results.
pub(super) async fn write_all(ingest: &Ingest, folder: &Path) -> Result<(), Failure> {
    prepare(folder)?;
    for (which, name) in FILES {
        write(ingest, which, &folder.join(name)).await?;
    }
    note!("what became of each row is in {}", folder.display());
    Ok(())
}

/// The results of all jobs in one file, with one header.
async fn write(ingest: &Ingest, which: Results, path: &Path) -> Result<(), Failure> {
    let unwritten = |error: std::io::Error| unwritten_file(path, &error);
    let delimiter = ingest.handle().options.delimiter.byte();
    let place = BufWriter::with_capacity(1 << 18, Place::prepare(path)?);
    let mut file = csv::WriterBuilder::new().delimiter(delimiter).from_writer(place);
    let mut headed = false;
    for job in &ingest.handle().jobs {
        let mut rows = ingest.results(job, which);
        while let Some(row) = rows.next().await? {
            if !headed {
                file.write_record(row.columns()).map_err(|e| unwritten(of_csv(e)))?;
                headed = true;
            }
            file.write_record(row.values()).map_err(|e| unwritten(of_csv(e)))?;
        }
        if !headed && !rows.columns().is_empty() {
            file.write_record(rows.columns()).map_err(|e| unwritten(of_csv(e)))?;
            headed = true;
        }
    }
    let file = file.into_inner().map_err(|e| unwritten(std::io::Error::from(e.error().kind())))?;
    let place = file.into_inner().map_err(|e| unwritten(e.into_error()))?;
    place.keep().map_err(unwritten)
}
