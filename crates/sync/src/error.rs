//! What can stop a run.

use tieline_client::ClientError;
use tieline_client::catalogue::{Remedy, explain};
use tieline_store::StoreError;

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
            SyncError::NoServerTime { .. } => {
                "a proxy between here and Salesforce removes the header: let it through".to_owned()
            }
        }
    }

    /// Heals without anybody's help.
    pub fn is_transient(&self) -> bool {
        match self {
            SyncError::Client(error) => error.is_transient(),
            SyncError::Store(StoreError::Fenced { .. }) => true,
            _ => false,
        }
    }

    /// The org has no API calls left, of the day's or of those that are not kept in reserve: it passes within hours, and trying
    /// again soon is of no use.
    pub fn is_out_of_calls(&self) -> bool {
        match self {
            SyncError::Client(ClientError::Reserve { .. }) => true,
            SyncError::Client(error) => {
                explain(error.salesforce_code().unwrap_or_default()).is_some_and(|row| row.remedy == Remedy::WaitLong)
            }
            _ => false,
        }
    }

    /// Somebody has to log in again or change the org's settings.
    pub fn needs_person(&self) -> bool {
        matches!(self, SyncError::Client(error) if error.needs_person())
    }
}
