//! The org's log of deletes, read in windows as large as the org is willing to answer.

use jiff::{SignedDuration, Timestamp};

use super::gone::minute;
use super::work::Work;
use crate::error::SyncError;

/// How far back the log goes. Source: REST API Developer Guide, "Get Deleted".
const REACH: SignedDuration = SignedDuration::from_hours(15 * 24);
/// The log's windows are more than a minute long.
const SHORTEST: SignedDuration = SignedDuration::from_mins(2);
/// How closely is looked for the moment from which on the log has something: a call halves the rest.
const NEAR: SignedDuration = SignedDuration::from_hours(1);

/// Where the log is being read.
pub(super) struct Log {
    from: Timestamp,
    to: Timestamp,
    end: Timestamp,
    /// A window that began here was refused: the log begins behind it.
    refused: Option<Timestamp>,
    /// What comes behind the windows before which the log's beginning is looked for.
    behind: Timestamp,
    /// All deletes from here on were told.
    pub(super) known_from: Timestamp,
    /// All deletes before this are visible; none if the org did not say.
    pub(super) covered: Option<Timestamp>,
}

impl Log {
    /// From a moment to now, as far as the log goes back.
    pub(super) fn since(from: Timestamp, now: Timestamp) -> Self {
        let end = minute(now);
        // A window must lie within the reach until it arrives there.
        let from = minute(from.max(end - REACH + SHORTEST));
        Self { from, to: end, end, refused: None, behind: end, known_from: from, covered: None }
    }

    /// All that there is.
    pub(super) fn whole(now: Timestamp) -> Self {
        Self::since(Timestamp::MIN, now)
    }

    /// Ids of the next window; none behind the last. A window of which the org tells too much is halved, and one that
    /// it refuses begins too early for it.
    pub(super) async fn next(&mut self, work: &Work<'_>) -> Result<Option<Vec<String>>, SyncError> {
        loop {
            let length = self.to.duration_since(self.from);
            if length < SHORTEST {
                return Ok(None);
            }
            let asked = work.engine.connection.deleted(&work.plan.object, self.from, self.to).await;
            match asked {
                Ok(deleted) => {
                    self.known_from = self.known_from.max(deleted.earliest_date_available);
                    if self.to == self.end {
                        self.covered = Some(deleted.latest_date_covered.min(self.end));
                    }
                    match self.refused {
                        Some(refused) if self.from.duration_since(refused) > NEAR => {
                            (self.from, self.to) = (between(refused, self.from), self.from);
                        }
                        Some(_) => {
                            self.known_from = self.known_from.max(self.from);
                            self.go_on();
                        }
                        None => (self.from, self.to) = (self.to, self.end),
                    }
                    return Ok(Some(deleted.deleted_records.into_iter().map(|record| record.id).collect()));
                }
                Err(error) => match error.salesforce_code() {
                    Some("EXCEEDED_ID_LIMIT") if self.refused.is_none() && length >= SHORTEST * 2 => {
                        self.to = between(self.from, self.to);
                    }
                    Some("EXCEEDED_ID_LIMIT") => {
                        self.known_from = self.known_from.max(self.to);
                        self.go_on();
                    }
                    Some("INVALID_REPLICATION_DATE") => {
                        if self.refused.is_none() {
                            self.behind = self.to;
                        }
                        self.refused = Some(self.from);
                        if length > NEAR {
                            self.from = between(self.from, self.to);
                        } else {
                            self.known_from = self.known_from.max(self.to);
                            self.go_on();
                        }
                    }
                    _ => return Err(error.into()),
                },
            }
        }
    }

    /// Behind what was refused.
    fn go_on(&mut self) {
        let next = if self.refused.take().is_some() { self.behind } else { self.to };
        (self.from, self.to) = (next, self.end);
    }
}

/// The whole minute in the middle.
fn between(from: Timestamp, to: Timestamp) -> Timestamp {
    minute(from + to.duration_since(from) / 2)
}
