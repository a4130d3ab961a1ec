//! What became of records that were written.

use futures_util::{Stream, StreamExt};
use serde_json::{Value, json};
use tieline_client::{Record, SaveResult};

use crate::commands::stopped;
use crate::failure::{FAILED, Failure, PARTLY};
use crate::output;
use crate::rows::{Format, Sink};
use crate::setup::bootstrap::ENDED_BY_A_PERSON;

/// Tells of one record: its id for programs, a sentence for people.
pub(super) fn one(id: Option<&str>, done: &str, created: Option<bool>, json: bool) -> Result<(), Failure> {
    // What was done must not look undone: whoever repeats it does it twice.
    let untold = |error: std::io::Error| {
        let which = id.map(|id| format!(" ({id})")).unwrap_or_default();
        let message = format!("1 record was {done}{which}, and that cannot be printed: {error}");
        Failure::new(message, "do not repeat the command; see where its output goes")
    };
    if json {
        let mut told = json!({"id": id, "success": true, "errors": []});
        if let Some(created) = created {
            told["created"] = json!(created);
        }
        output::line(&told.to_string()).map_err(untold)?;
        return Ok(());
    }
    if let Some(id) = id {
        output::line(id).map_err(untold)?;
    }
    note!("1 record {done}");
    Ok(())
}

/// Tells of each record, in the order of the input. `done`: what becomes of one that is not refused.
pub(super) async fn many(
    results: impl Stream<Item = Result<SaveResult, Failure>>,
    of: usize,
    done: &str,
    format: &Format,
) -> Result<(), Failure> {
    let columns = ["row", "id", "result", "error"].map(str::to_owned);
    let mut sink = Sink::open(format)?;
    let bar = sink.bar();
    output::total_is(&bar, of as u64);
    let (mut failed, mut wanted) = (0, true);
    let mut results = std::pin::pin!(results);
    let ended = loop {
        let next = tokio::select! {
            next = results.next() => next,
            () = stopped() => break Err(Failure::told(ENDED_BY_A_PERSON)),
        };
        let result = match next {
            None => break Ok(()),
            Some(Err(failure)) => break Err(failure),
            Some(Ok(result)) => result,
        };
        bar.inc(1);
        failed += u64::from(!result.success);
        let row = bar.position();
        // Whoever reads the results may have seen enough; the records are written all the same.
        if wanted && row == 1 {
            wanted = sink.header(&columns)?;
        }
        if wanted {
            wanted = sink.record(&columns, told(row, &result, done, sink.is_json()))?;
        }
    };
    let total = bar.position();
    bar.finish_and_clear();
    if wanted {
        sink.end(total, "")?;
    }
    let succeeded = total - failed;
    if ended.is_err() && total < of as u64 {
        note!("{succeeded} {done}, {failed} failed; of the 200 after them nobody knows, and the others were not sent");
    }
    if let Err(failure) = ended {
        // Whoever repeats the command does that twice.
        let partly = succeeded > 0 && (failure.is_transient() || failure.is_unfinished());
        return Err(if partly { failure.with_code(PARTLY) } else { failure });
    }
    note!("{succeeded} {done}, {failed} failed");
    match (failed, succeeded) {
        (0, _) => Ok(()),
        (_, 0) => Err(Failure::told(FAILED)),
        _ => Err(Failure::told(PARTLY)),
    }
}

/// For programs as the org says it, for people in a row.
fn told(row: u64, result: &SaveResult, done: &str, json: bool) -> Record {
    if json {
        let written = serde_json::to_value(result).unwrap_or_default();
        return written.as_object().cloned().unwrap_or_default();
    }
    let errors: Vec<String> = result.errors.iter().map(ToString::to_string).collect();
    let word = match (result.success, result.created) {
        (false, _) => "failed",
        (true, Some(true)) => "created",
        (true, Some(false)) => "updated",
        (true, None) => done,
    };
    Record::from_iter([
        ("row".to_owned(), json!(row)),
        ("id".to_owned(), json!(result.id)),
        ("result".to_owned(), json!(word)),
        ("error".to_owned(), Value::String(errors.join("; "))),
    ])
}
