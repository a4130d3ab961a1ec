//! Working off imports: the chosen contacts are read from the org by their ids and written as leads, batch by batch.
//!
//! It takes no input: which import is next, and which of its rows, the database knows. So it may be killed at any moment
//! and started on as many nodes as there are; see [`Claim`] for why each row is nevertheless written once. In memory there
//! is one batch.

use std::collections::{BTreeSet, HashMap};
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::TryStreamExt;
use jiff::{SignedDuration, Timestamp};
use tieline_auth::Clock;
use tieline_client::{Connection, id};
use tieline_store::{Batch, BatchOutcome, Claim, ContactRow, Fetched, ImportRow, Store, StoreError, Tenant, Uuid};

use crate::contact;
use crate::error::SyncError;

/// Rows of a batch.
const BATCH: u32 = 1_000;

/// How long a worker may be silent before another one takes its import. It says three times in so long that it lives; one
/// that is only slow (or whose clock is behind by more than that) loses its batch, nothing else.
pub const LEASE: Duration = Duration::from_secs(30);

/// How long a worker says so without having written a batch: several times what a batch takes, the client's own
/// repetitions included. One that hangs longer than that is as good as dead.
const HANGS: Duration = Duration::from_secs(180);

/// Ids of one query. An id takes 24 bytes of the address (quotes, an encoded comma, a space), the fields and the rest
/// below 1,000, and Salesforce takes 16,384 bytes of address and headers together, of which an access token may be 2,000
/// (REST API Developer Guide, status codes 414 and 431). SOQL's own limit is 100,000 characters.
const IDS: usize = 400;

/// Before an import is tried again whose org could not be reached.
const SOON: SignedDuration = SignedDuration::from_secs(60);
/// The same for an org whose calls for the day are used up: the 24 hours roll on by the quarter of an hour or so.
pub const LATER: SignedDuration = SignedDuration::from_mins(15);

/// First characters of every contact's id. Source: Object Reference, "Key prefixes"; fixed for standard objects.
const PREFIX: &str = "003";

/// Works imports off.
#[derive(Debug, Clone)]
pub struct Importer<C> {
    store: Store,
    connections: C,
    clock: Arc<dyn Clock>,
    batch: u32,
    lease: Duration,
}

/// An import that was worked on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Worked {
    /// Whose it is.
    pub business: Uuid,
    /// Which one.
    pub import: Uuid,
    /// Where its contacts are read.
    pub integration: Uuid,
    /// It stopped because somebody has to log in again or change the org's settings.
    pub needs_person: bool,
    /// What was written this time.
    pub outcome: BatchOutcome,
    /// How it ended.
    pub ended: Ended,
}

/// How the work on an import ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    /// Every row has its outcome.
    Success,
    /// Somebody must do something first; the import says what, and waits to be tried again by hand.
    Failed(String),
    /// What is in the way passes by itself: it is taken up again, not before this time.
    Postponed(String, Timestamp),
    /// Somebody has cancelled it.
    Cancelled,
    /// Another worker has it.
    Fenced,
    /// This worker is being stopped: the next one goes on, at once.
    GivenBack,
}

impl<C, F> Importer<C>
where
    C: Fn(Tenant, Uuid) -> F + Send + Sync,
    F: Future<Output = Result<Connection, SyncError>> + Send,
{
    /// An importer for all businesses. `connections` leads to the org of an integration.
    pub fn new(store: Store, connections: C, clock: Arc<dyn Clock>) -> Self {
        Self { store, connections, clock, batch: BATCH, lease: LEASE }
    }

    /// With batches of another size than 1,000 rows.
    #[must_use]
    pub fn with_batch(self, rows: u32) -> Self {
        Self { batch: rows.max(1), ..self }
    }

    /// With another lease than 30 seconds: how long an import waits whose worker was killed.
    #[must_use]
    pub fn with_lease(self, lease: Duration) -> Self {
        Self { lease: lease.max(Duration::from_secs(1)), ..self }
    }

    /// Claims the next import and works on it until it ends, one way or another. `None`: there is nothing to do.
    ///
    /// # Errors
    /// [`StoreError`] when the database does not answer: the import is taken up again once its lease has ended. What is
    /// wrong with the org or the import stands in [`Worked::ended`].
    pub async fn run_once(&self) -> Result<Option<Worked>, StoreError> {
        self.run_until(std::future::pending()).await
    }

    /// The same until somebody wants it to stop. A batch that is being written then is written; one that is being fetched
    /// is not, and the import is given back.
    ///
    /// # Errors
    /// As [`run_once`](Self::run_once).
    pub async fn run_until(&self, stop: impl Future<Output = ()> + Send) -> Result<Option<Worked>, StoreError> {
        let Some(claim) = self.store.claim_import(self.clock.now(), self.lease).await? else { return Ok(None) };
        let (mut outcome, batches) = (BatchOutcome::default(), AtomicU64::new(0));
        let mut needs_person = false;
        let worked = tokio::select! {
            worked = self.work(&claim, &mut outcome, &batches, stop) => worked,
            never = self.say_alive(&claim, &batches) => match never {},
        };
        let ended = match worked {
            Ok(ended) => ended,
            Err(SyncError::Store(error)) if error.is_passing() => return Err(error),
            Err(error) => {
                needs_person = error.needs_person();
                self.stop(&claim, &error).await?
            }
        };
        let (import, integration) = (claim.import.id, claim.import.integration_id);
        Ok(Some(Worked { business: claim.tenant.business(), import, integration, needs_person, outcome, ended }))
    }

    async fn work(
        &self,
        claim: &Claim,
        outcome: &mut BatchOutcome,
        batches: &AtomicU64,
        stop: impl Future<Output = ()> + Send,
    ) -> Result<Ended, SyncError> {
        let mut stop = std::pin::pin!(stop);
        // An import with nothing left needs no org to end.
        let mut connection = None;
        let mut after = -1;
        loop {
            let rows = claim.pending_rows(after, self.batch).await?;
            let Some(last) = rows.last() else { break };
            after = last.position;
            let fetching = async {
                let connection = match &connection {
                    Some(connection) => connection,
                    None => {
                        connection.insert((self.connections)(claim.tenant.clone(), claim.import.integration_id).await?)
                    }
                };
                fetch(connection, &rows).await
            };
            let fetched = tokio::select! {
                biased;
                () = &mut stop => {
                    let held = claim.give_back().await?;
                    return Ok(if held { Ended::GivenBack } else { Ended::Fenced });
                }
                fetched = fetching => fetched?,
            };
            match claim.commit_batch(&fetched, self.clock.now()).await? {
                Batch::Written(written) => {
                    outcome.created += written.created;
                    outcome.updated += written.updated;
                    outcome.unchanged += written.unchanged;
                    outcome.failed += written.failed;
                    batches.fetch_add(1, Ordering::Relaxed);
                    outcome.skipped_erased += written.skipped_erased;
                }
                Batch::Cancelled => return Ok(Ended::Cancelled),
                Batch::Fenced => return Ok(Ended::Fenced),
            }
        }
        let ended = claim.finish_import(None, self.clock.now()).await?;
        Ok(if ended { Ended::Success } else { Ended::Fenced })
    }

    /// Prolongs the lease as long as there is hope for the worker. Whether the import is still this one's the next batch
    /// finds out.
    async fn say_alive(&self, claim: &Claim, batches: &AtomicU64) -> Infallible {
        let (every, mut seen, mut silent) = (self.lease / 3, 0, Duration::ZERO);
        while silent < HANGS {
            tokio::time::sleep(every).await;
            let written = batches.load(Ordering::Relaxed);
            silent = if written == seen { silent + every } else { Duration::ZERO };
            seen = written;
            // A database that does not answer now may do so before the lease ends.
            if let Ok(false) = claim.prolong(self.clock.now()).await {
                break;
            }
        }
        std::future::pending().await
    }

    /// Leaves an import that cannot go on now.
    async fn stop(&self, claim: &Claim, error: &SyncError) -> Result<Ended, StoreError> {
        let now = self.clock.now();
        if error.is_transient() {
            let again = now.saturating_add(pause(error)).unwrap_or(now);
            let reason = error.to_string();
            let held = claim.release_import(&reason, again).await?;
            return Ok(if held { Ended::Postponed(reason, again) } else { Ended::Fenced });
        }
        let reason = format!("{error}; hint: {}", error.hint());
        let held = claim.finish_import(Some(&reason), now).await?;
        Ok(if held { Ended::Failed(reason) } else { Ended::Fenced })
    }
}

fn pause(error: &SyncError) -> SignedDuration {
    if error.is_out_of_calls() { LATER } else { SOON }
}

/// Ids as an import should be asked for: with 18 characters, so that two spellings of one contact are one. What is no id
/// stays as it is, to be told as a failed row.
pub fn import_ids(ids: &[String]) -> Vec<String> {
    ids.iter().map(|given| id::to_18(given.trim()).unwrap_or_else(|| given.clone())).collect()
}

/// The contact's id in 18 characters, or why it is none. An id that the org would not take for one makes it refuse the
/// whole query.
fn contact_id(given: &str) -> Result<String, String> {
    let shown: String = given.chars().take(40).collect();
    match id::to_18(given.trim()) {
        Some(id) if id.starts_with(PREFIX) => Ok(id),
        Some(_) => Err(format!("`{shown}` is the id of something else than a contact: those begin with {PREFIX}")),
        None => {
            Err(format!("`{shown}` is not an id: it needs 15 letters and digits, or 18 of which the last three fit"))
        }
    }
}

/// What the org has of these rows.
async fn fetch(connection: &Connection, rows: &[ImportRow]) -> Result<Vec<Fetched>, SyncError> {
    let ids: Vec<Result<String, String>> = rows.iter().map(|row| contact_id(&row.source_id)).collect();
    let asked: BTreeSet<&str> = ids.iter().flatten().map(String::as_str).collect();
    let asked: Vec<&str> = asked.into_iter().collect();
    let mut found: HashMap<String, ContactRow> = HashMap::with_capacity(asked.len());
    for ids in asked.chunks(IDS) {
        // They are letters and digits: nothing in them is syntax.
        let soql = format!("SELECT {} FROM {} WHERE Id IN ('{}')", contact::FIELDS, contact::OBJECT, ids.join("', '"));
        let mut records = std::pin::pin!(connection.query::<contact::Row>(&soql));
        while let Some(contact::Row(row)) = records.try_next().await? {
            found.insert(row.source_id.clone(), row);
        }
    }
    let fetched = rows.iter().zip(ids).map(|(row, id)| {
        let contact = id.and_then(|id| {
            let missing = || "the org has no such contact (or this user may not see it)".to_owned();
            found.get(&id).cloned().ok_or_else(missing)
        });
        Fetched { position: row.position, contact }
    });
    Ok(fetched.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_can_be_a_contacts_id_is_asked_for() {
        let whole = Ok("003000000000001AAA".to_owned());
        for same in ["003000000000001", "003000000000001AAA", "003000000000001aaa", " 003000000000001 "] {
            assert_eq!(contact_id(same), whole, "{same}");
        }
        for other in ["", "x", "003000000000001AAB", "001000000000001AAA", "003' OR Name != '", "003000000000é01"] {
            assert!(contact_id(other).is_err(), "{other}");
        }
        let given = ["003000000000001", "no id", "003000000000001AAA"].map(str::to_owned);
        assert_eq!(import_ids(&given), ["003000000000001AAA", "no id", "003000000000001AAA"]);
    }

    #[test]
    fn the_longest_query_fits_into_an_address() {
        // Percent-encoded as the client does it: a comma takes three bytes, a space one.
        let ids = vec!["003000000000001AAA"; IDS].join("'%2C+'").len();
        let fields = contact::FIELDS.replace(',', "%2C").len();
        assert!(ids + fields + 300 < 16_384 - 4_000, "{}", ids + fields);
    }
}
