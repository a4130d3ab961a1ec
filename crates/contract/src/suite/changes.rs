//! What was changed and deleted.

use jiff::{SignedDuration, Timestamp};

use super::documented;
use crate::answer::{Answer, has_keys};
use crate::case::{Case, encoded};
use crate::expectation::{Area, Check, Expectation, Unmet, that};

fn on(name: &'static str, source: super::Source, check: Check) -> Expectation {
    Expectation::new(Area::Changes, name, source, check)
}

async fn ask(case: &Case<'_>, what: &str, start: Timestamp, end: Timestamp) -> Result<Answer, Unmet> {
    let time = |time: Timestamp| encoded(&time.strftime("%Y-%m-%dT%H:%M:%S+00:00").to_string());
    case.get(&format!("sobjects/Account/{what}/?start={}&end={}", time(start), time(end))).await
}

/// The last hour, less a minute.
fn hour(case: &Case<'_>) -> (Timestamp, Timestamp) {
    let end = case.now() - SignedDuration::from_secs(60);
    (end - SignedDuration::from_hours(1), end)
}

fn is_time(text: &str) -> bool {
    text.len() == 28 && text.ends_with("+0000")
}

pub(super) fn all() -> Vec<Expectation> {
    vec![
        on("updated answers ids and until when it knows", documented("3.6"), |case| {
            Box::pin(async move {
                let (start, end) = hour(case);
                let found = ask(case, "updated", start, end).await?.is(200)?.json()?;
                that(found["ids"].is_array(), "ids: []", &found["ids"])?;
                let covered = found["latestDateCovered"].as_str().unwrap_or_default();
                that(is_time(covered), "latestDateCovered with +0000", covered)?;
                Ok("ids".to_owned())
            })
        }),
        on("deleted answers records, and from when until when it knows", documented("3.6"), |case| {
            Box::pin(async move {
                let (start, end) = hour(case);
                let found = ask(case, "deleted", start, end).await?.is(200)?.json()?;
                has_keys(&found, &["deletedRecords", "earliestDateAvailable", "latestDateCovered"])?;
                for record in found["deletedRecords"].as_array().into_iter().flatten().take(1) {
                    has_keys(record, &["id", "deletedDate"])?;
                }
                Ok("deletedRecords".to_owned())
            })
        }),
        on("an end before the start is INVALID_REPLICATION_DATE", documented("3.6"), |case| {
            Box::pin(async move {
                let (start, end) = hour(case);
                ask(case, "updated", end, start).await?.refused(400, "INVALID_REPLICATION_DATE")?.done()
            })
        }),
        on("a start more than 30 days ago is INVALID_REPLICATION_DATE", documented("3.6"), |case| {
            Box::pin(async move {
                let (start, end) = hour(case);
                let start = start - SignedDuration::from_hours(24 * 31);
                ask(case, "updated", start, end).await?.refused(400, "INVALID_REPLICATION_DATE")?.done()
            })
        }),
    ]
}
