//! What can stop a run.

use tieline_client::ClientError;
use tieline_client::catalogue::{Remedy, explain};
use tieline_store::StoreError;

use crate::mapping::MappingError;

/// A run that ended early. What was read until then is kept, and the next run goes on there.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SyncError {
    /// The org could not be read.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The database could not be written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The credentials kept with the integration do not lead to a login.
    #[error(transparent)]
    Config(#[from] tieline_auth::ConfigError),
    /// There is no such mapping.
    #[error("there is no mapping {mapping}")]
    NoMapping {
        /// Its id or name.
        mapping: String,
    },
    /// The mapping does not fit the org's object.
    #[error(transparent)]
    Mapping(#[from] MappingError),
    /// The mapping's object is not there, or not to be seen.
    #[error("org `{org}` no longer shows the object `{object}`; its table `{table}` stays as it is")]
    ObjectGone {
        /// The org.
        org: String,
        /// The object.
        object: String,
        /// The table.
        table: String,
    },
    /// Much of a table would be marked as gone at once.
    #[error(
        "{records} of {of} records of `{object}` in the table `{table}` are not to be found in org `{org}`; no more is marked as gone"
    )]
    MassDelete {
        /// The org.
        org: String,
        /// The object.
        object: String,
        /// The table.
        table: String,
        /// How many are not there.
        records: u64,
        /// How many the table has.
        of: u64,
    },
    /// It rests until somebody says that it goes on.
    #[error("the mapping `{mapping}` is paused{}", if .reason.is_empty() { String::new() } else { format!(": {reason}") })]
    Paused {
        /// Its name.
        mapping: String,
        /// Why; empty if nobody said.
        reason: String,
    },
    /// Pages of a query that do not make up a whole.
    #[error("org `{org}` answered a query of `{object}` with pages that leave out records, {times} times in a row")]
    Incomplete {
        /// The org.
        org: String,
        /// The object.
        object: String,
        /// How often.
        times: u32,
    },
    /// The rest of the org's API calls is others'.
    #[error(
        "org `{org}` has used {used} of {allowed} API calls, {ours} of them by this run: the rest is left to others"
    )]
    Share {
        /// The org.
        org: String,
        /// Calls of this run.
        ours: u64,
        /// Calls of everybody.
        used: u64,
        /// Calls of a day.
        allowed: u64,
    },
    /// A query that takes too long, however little is asked for.
    #[error("org `{org}` gives up on queries of `{object}` even for the smallest part of it: {reason}")]
    Unsplittable {
        /// The org.
        org: String,
        /// The object.
        object: String,
        /// What the org says.
        reason: String,
    },
    /// The pages of an answer do not make a whole.
    #[error("the answer of org `{org}` to a query of `{object}` is not whole: {reason}")]
    Inconsistent {
        /// The org.
        org: String,
        /// The object.
        object: String,
        /// What does not fit.
        reason: String,
    },
    /// Records that change faster than their parts can be read.
    #[error("org `{org}` changes records while their columns are read, one part after the other: {records}")]
    NeverStill {
        /// The org.
        org: String,
        /// Their ids.
        records: String,
    },
    /// The program is ending.
    #[error("the run was interrupted; the next one goes on where it stopped")]
    Interrupted,
    /// The org's answers carry no clock.
    #[error("org `{org}` sends no usable Date header, and without the org's clock a checkpoint would be a guess")]
    NoServerTime {
        /// The org.
        org: String,
    },
}

impl SyncError {
    /// The next act.
    pub fn hint(&self) -> String {
        match self {
            SyncError::Client(error) => error.hint(),
            SyncError::Store(error) => error.hint(),
            SyncError::Config(error) => error.hint().to_owned(),
            SyncError::NoMapping { .. } => "`tieline sync mappings` lists them".to_owned(),
            SyncError::Mapping(error) => error.hint(),
            SyncError::ObjectGone { .. } => {
                "give the user the right to see the object again, or delete the mapping".to_owned()
            }
            SyncError::MassDelete { .. } => {
                "if they are really gone, run `tieline sync run` with --allow-gone; if the user \
                may no longer see them, give back the right (View All, sharing rules)"
                    .to_owned()
            }
            SyncError::Paused { mapping, .. } => format!("`tieline sync mappings resume {mapping}` has it go on"),
            SyncError::Incomplete { .. } => "nothing was inferred from it; the next run asks again".to_owned(),
            SyncError::Share { .. } => {
                "it goes on by itself when older calls are a day old; a larger share can be set".to_owned()
            }
            SyncError::Unsplittable { .. } => "read it by the Bulk API: `method = \"bulk\"` in the mapping".to_owned(),
            SyncError::Inconsistent { .. } => {
                "nothing is lost: what it belongs to is read again with the next run".to_owned()
            }
            SyncError::NeverStill { .. } => {
                "it is tried again; fewer columns in the mapping would fit into one query".to_owned()
            }
            SyncError::Interrupted => "nothing is lost".to_owned(),
            SyncError::NoServerTime { .. } => {
                "a proxy between here and Salesforce removes the header: let it through".to_owned()
            }
        }
    }

    /// Heals without anybody's help.
    pub fn is_transient(&self) -> bool {
        match self {
            SyncError::Client(error) => error.is_transient(),
            SyncError::Store(StoreError::Fenced { .. })
            | SyncError::Share { .. }
            | SyncError::NeverStill { .. }
            | SyncError::Incomplete { .. }
            | SyncError::Interrupted => true,
            _ => false,
        }
    }

    /// The org has no API calls left, of the day's or of those that are not kept in reserve: it passes within hours, and trying
    /// again soon is of no use.
    pub fn is_out_of_calls(&self) -> bool {
        match self {
            SyncError::Share { .. } | SyncError::Client(ClientError::Reserve { .. }) => true,
            SyncError::Client(error) => {
                explain(error.salesforce_code().unwrap_or_default()).is_some_and(|row| row.remedy == Remedy::WaitLong)
            }
            _ => false,
        }
    }

    /// The org's objects or fields are not what they were when they were described.
    pub(crate) fn is_schema_change(&self) -> bool {
        let SyncError::Client(error) = self else { return false };
        matches!(error.salesforce_code(), Some("INVALID_FIELD" | "INVALID_TYPE" | "NOT_FOUND"))
    }

    /// Somebody has to log in again or change the org's settings.
    pub fn needs_person(&self) -> bool {
        matches!(self, SyncError::Client(error) if error.needs_person())
    }
}
