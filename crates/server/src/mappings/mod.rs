//! Mappings: which objects of an org are kept in step, in which tables, and how that goes.
//!
//! Reading order: `objects` (what there is to be mapped), `check` (a definition tried), `view` and `detail` (a mapping as it
//! is told), `changing` (made, changed, deleted), `resting` (paused, resumed), `runs` (asked for, and what they did) and
//! `errors` (values that did not fit).

pub(crate) mod changing;
pub(crate) mod check;
pub(crate) mod detail;
pub(crate) mod errors;
pub(crate) mod objects;
pub(crate) mod resting;
pub(crate) mod runs;
pub(crate) mod view;

use axum::http::StatusCode;
use tieline_client::Connection;
use tieline_store::{Integration, Status, StoreError, Uuid};
use tieline_sync::SyncError;

use crate::caller::Caller;
use crate::contacts::upstream;
use crate::problem::Problem;
use crate::service::Service;

pub(crate) fn no_mapping() -> Problem {
    Problem::not_found("mapping")
}

/// 422: it can be read, and it cannot be so.
fn flawed(detail: String, hint: String) -> Problem {
    Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid_mapping", detail, hint)
}

/// The org of an integration, for whoever may ask it.
struct Org {
    integration: Integration,
    connection: Connection,
}

impl Org {
    async fn of(service: &Service, caller: &Caller, id: Uuid) -> Result<Self, Problem> {
        let found = caller.tenant.integration(id).await?.ok_or_else(|| Problem::not_found("integration"))?;
        if !matches!(found.status, Status::Active | Status::Error) {
            let detail = format!("the integration `{}` is not connected", found.name);
            return Err(Problem::conflict("not_connected", detail, "connect it first"));
        }
        let connection = service.connection(&caller.tenant, &found).await.map_err(|error| upstream(&error))?;
        Ok(Self { integration: found, connection })
    }

    /// What went wrong, as a problem; that somebody must log in is noted, too.
    async fn problem(&self, service: &Service, caller: &Caller, error: impl Into<SyncError>) -> Problem {
        let error = error.into();
        if error.needs_person() {
            let (reason, hint) = (error.to_string(), error.hint());
            service.note_needed_login(&caller.tenant, &self.integration, &reason, &hint).await;
        }
        match error {
            SyncError::Mapping(error) => flawed(error.to_string(), error.hint()),
            SyncError::Store(StoreError::Table(error)) => flawed(error.to_string(), "choose other names".to_owned()),
            SyncError::Store(error) => error.into(),
            SyncError::NoMapping { .. } => no_mapping(),
            other => upstream(&other),
        }
    }
}
