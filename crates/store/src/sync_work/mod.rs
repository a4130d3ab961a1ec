//! What is to be synced, when next, and who is at it: the queue of sync runs.
//!
//! One row is one thing that is kept in step: its schedule, its place in the queue and its lease at once. So a tick of the
//! schedule, a request and an interrupted run can only ever lead to the same one run:
//!
//! - Whoever claims work moves its next tick on in the same statement. A tick is taken once, and ticks that were missed are
//!   one ([`Pace::next`]).
//! - Requests are counted. A claim takes all that have come until then; one that comes during a run is another run
//!   after it.
//! - What a request asks of the run beside what is due ([`Asked`]) stands in the row until a run of the mapping begins. That
//!   moves it, in one transaction, to what the engine keeps of the mapping, where it stands until it is done: no crash
//!   loses it, and no two runs take it.
//! - A claim is a lease with a fence that grows. If the worker dies, the lease ends and the next one goes on; a worker whose
//!   fence is not the newest ends nothing and prolongs nothing. What it writes of the org is fenced by its run's checkpoint
//!   ([`crate::runs`]), whose number the next run raises: that does not rest on anybody's clock.
//! - Businesses take turns: the one whose work was taken longest ago is next, and none has more than so many runs at a time
//!   ([`Claiming::per_business`]).
//!
//! Leases go by the node's clock, as those of imports do: nodes whose clocks are apart by less than a third of the lease
//! see no difference. Beyond that, work is taken from somebody who lives, which costs a run begun anew, never a row.
//!
//! Why it is no crate: `docs/decisions/0017-queue.md`.

mod asked;
mod claim;
mod cron;
mod pace;
mod schedule;

use jiff::Timestamp;
use uuid::Uuid;

pub use asked::Asked;
pub(crate) use asked::take_asked;
pub use claim::{Claiming, Ended, WorkClaim};
pub use cron::Cron;
pub use pace::{Pace, PaceError};
pub use schedule::{QueueState, Ticket};
pub(crate) use schedule::{REQUEST, schedule_contacts};

use crate::error::StoreError;
use crate::sql::Row;

/// What a sync run works on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Work {
    /// The contacts of an integration.
    Contacts {
        /// The integration.
        integration: Uuid,
    },
    /// A mapping.
    Mapping {
        /// The mapping.
        mapping: Uuid,
    },
}

impl Work {
    /// Its row's key.
    pub fn id(self) -> Uuid {
        match self {
            Work::Contacts { integration } => integration,
            Work::Mapping { mapping } => mapping,
        }
    }

    /// `contacts` or `mapping`.
    pub fn kind(self) -> &'static str {
        match self {
            Work::Contacts { .. } => CONTACTS,
            Work::Mapping { .. } => MAPPING,
        }
    }
}

pub(crate) const CONTACTS: &str = "contacts";
pub(crate) const MAPPING: &str = "mapping";

/// How a piece of work stands.
#[derive(Debug, Clone, serde::Serialize)]
pub struct WorkItem {
    /// What it is.
    pub work: Work,
    /// Its integration.
    pub integration_id: Uuid,
    /// How often; none: as the service is told.
    pub pace: Option<Pace>,
    /// Within the business: the greater comes first.
    pub priority: i64,
    /// The next tick.
    pub due_at: Option<Timestamp>,
    /// It is not tried before this: it failed, or the org has no calls left.
    pub retry_at: Option<Timestamp>,
    /// When somebody may take it; none: only once somebody asks.
    pub ready_at: Option<Timestamp>,
    /// Whether somebody has asked for a run that has not begun.
    pub is_requested: bool,
    /// Requests so far.
    pub requested: i64,
    /// Up to which of them a run has ended, well or not.
    pub served: i64,
    /// What has been asked for beside what is due, and no run has taken up.
    pub asked: Asked,
    /// Who has it.
    pub owner: Option<String>,
    /// Until when.
    pub leased_until: Option<Timestamp>,
    /// Times in a row that it has failed.
    pub failures: i64,
    /// When it was taken last.
    pub started_at: Option<Timestamp>,
    /// When a run of it ended last.
    pub ended_at: Option<Timestamp>,
    /// How that ended: `done`, `failed`, `paused_quota`.
    pub outcome: Option<String>,
    /// Why it failed.
    pub error: Option<String>,
    /// How it fails; none: it does not, as far as is known.
    pub failing: Option<Failing>,
}

/// What fails from run to run.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Failing {
    /// Somebody must log in to the org, or change its settings.
    pub needs_person: bool,
    /// Why the last run failed.
    pub reason: String,
    /// Since when.
    pub since: Timestamp,
    /// Runs that have failed since one that did not.
    pub runs: i64,
}

impl WorkItem {
    /// Whether somebody is at it.
    pub fn is_running(&self, now: Timestamp) -> bool {
        self.leased_until.is_some_and(|until| until > now)
    }
}

fn item(row: &Row) -> Result<WorkItem, StoreError> {
    let id = row.get("id")?;
    let work = match row.get::<String>("kind")?.as_str() {
        CONTACTS => Work::Contacts { integration: id },
        // The database's own check lets no third kind in.
        _ => Work::Mapping { mapping: id },
    };
    // A pace that a newer program has written is the service's here.
    let pace = row.find::<String>("pace")?.and_then(|text| text.parse().ok());
    let failing = match (row.find::<String>("failing")?, row.find("failing_since")?) {
        (Some(kind), Some(since)) => Some(Failing {
            needs_person: kind == "auth",
            reason: row.find("failing_reason")?.unwrap_or_default(),
            since,
            runs: row.get("failed_runs")?,
        }),
        _ => None,
    };
    Ok(WorkItem {
        work,
        integration_id: row.get("integration_id")?,
        pace,
        priority: row.get("priority")?,
        due_at: row.find("due_at")?,
        retry_at: row.find("retry_at")?,
        ready_at: row.find("ready_at")?,
        is_requested: row.get::<i64>("requested")? > row.get::<i64>("taken")?,
        requested: row.get("requested")?,
        served: row.get("served")?,
        asked: asked::read(row)?,
        owner: row.find("owner")?,
        leased_until: row.find("leased_until")?,
        failures: row.get("failures")?,
        started_at: row.find("started_at")?,
        ended_at: row.find("ended_at")?,
        outcome: row.find("outcome")?,
        error: row.find("error")?,
        failing,
    })
}
