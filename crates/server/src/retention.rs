//! How long things are kept, and who takes out what is older.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use jiff::SignedDuration;
use serde::{Deserialize, Serialize};
use tieline_store::{Retention, Role, StoreError, Swept, Uuid};
use utoipa::ToSchema;

use crate::caller::Caller;
use crate::extract::Body;
use crate::problem::Problem;
use crate::service::Service;

/// How often a node looks whether it is its turn.
const LOOK_EVERY: Duration = Duration::from_secs(10 * 60);
/// How often anything is taken out. A service that is new, or was brought up to date, waits so long for the first time:
/// whoever keeps things longer has a day to say so.
const SWEEP_EVERY: SignedDuration = SignedDuration::from_hours(24);
/// After a sweep that could not do all.
const AGAIN: SignedDuration = SignedDuration::from_hours(1);
/// How long a node may be at one business before another one takes over.
const LEASE: Duration = Duration::from_secs(15 * 60);

/// The chore's name in the database.
const CHORE: &str = "retention";

/// For how many days things are kept.
#[derive(Serialize, Deserialize, ToSchema)]
pub(crate) struct RetentionView {
    /// Logs of integrations, and the history of runs.
    #[schema(minimum = 1, maximum = 3650, example = 90)]
    pub(crate) log_days: u32,
    /// The audit log.
    #[schema(minimum = 30, maximum = 3650, example = 400)]
    pub(crate) audit_days: u32,
    /// Imports that have ended, with their rows and idempotency keys. Leads stay.
    #[schema(minimum = 1, maximum = 3650, example = 90)]
    pub(crate) import_days: u32,
    /// Leads that did not change for so long; none: for ever.
    #[schema(minimum = 30, maximum = 3650)]
    pub(crate) lead_days: Option<u32>,
    /// Contacts that did not change for so long; none: for ever.
    #[schema(minimum = 30, maximum = 3650)]
    pub(crate) contact_days: Option<u32>,
}

impl From<Retention> for RetentionView {
    fn from(keeps: Retention) -> Self {
        let Retention { log_days, audit_days, import_days, lead_days, contact_days } = keeps;
        Self { log_days, audit_days, import_days, lead_days, contact_days }
    }
}

impl RetentionView {
    /// The same, if the numbers are within their bounds.
    pub(crate) fn checked(&self) -> Result<Retention, Problem> {
        let Self { log_days, audit_days, import_days, lead_days, contact_days } = *self;
        let to = Retention { log_days, audit_days, import_days, lead_days, contact_days };
        match to.outside() {
            None => Ok(to),
            Some((name, fewest, most)) => {
                Err(Problem::invalid(format!("{name} is from {fewest} to {most} days"), "send another number"))
            }
        }
    }
}

/// How long things are kept
#[utoipa::path(get, path = "/api/retention", tag = "personal data", responses(
    (status = 200, description = "In days", body = RetentionView),
    (status = "4XX", description = "Not for this caller", body = Problem, content_type = "application/problem+json"),
    (status = "5XX", description = "The service failed", body = Problem, content_type = "application/problem+json"),
))]
pub(crate) async fn retention(caller: Caller) -> Result<Json<RetentionView>, Problem> {
    caller.at_least(Role::Admin)?;
    Ok(Json(caller.tenant.retention().await?.into()))
}

/// Change how long things are kept
///
/// All of it: what is left out of `lead_days` and `contact_days` is kept for ever. What is older goes within a day.
#[utoipa::path(put, path = "/api/retention", tag = "personal data", request_body = RetentionView, responses(
    (status = 200, description = "It is changed", body = RetentionView),
    (status = "4XX", description = "It is not", body = Problem, content_type = "application/problem+json"),
    (status = "5XX", description = "The service failed", body = Problem, content_type = "application/problem+json"),
))]
pub(crate) async fn change_retention(
    State(service): State<Service>,
    caller: Caller,
    Body(to): Body<RetentionView>,
) -> Result<Json<RetentionView>, Problem> {
    caller.at_least(Role::Admin)?;
    let to = to.checked()?;
    caller.tenant.set_retention(&to, service.now()).await?;
    Ok(Json(to.into()))
}

impl Service {
    /// Looks now and then whether it is this node's turn to take out what is kept no longer, until dropped.
    pub(crate) async fn sweep_daily(&self) {
        loop {
            match self.sweep().await {
                Ok(Some(swept)) => tracing::info!(businesses = swept.len(), "took out what is kept no longer"),
                Ok(None) => {}
                Err(error) => tracing::error!(%error, hint = error.hint(), "what is kept no longer was not taken out"),
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Takes out what is kept no longer, if that is due and no other node is at it: what went, by business.
    ///
    /// # Errors
    /// [`StoreError`], when the database does not answer. That one business's rows could not be taken out is logged, and
    /// tried again within the hour.
    pub async fn sweep(&self) -> Result<Option<Vec<(Uuid, Swept)>>, StoreError> {
        let Some(chore) = self.store().take_chore(CHORE, SWEEP_EVERY, LEASE, self.now()).await? else {
            return Ok(None);
        };
        let (mut swept, mut next) = (Vec::new(), SWEEP_EVERY);
        for tenant in self.store().every_tenant().await? {
            match tenant.sweep(self.now()).await {
                Ok(gone) => swept.push((tenant.business(), gone)),
                Err(error) => {
                    let business = tenant.business();
                    tracing::error!(%error, %business, "what a business keeps no longer was not taken out");
                    next = AGAIN;
                }
            }
            if !chore.prolong(self.now()).await? {
                return Ok(Some(swept));
            }
        }
        if let Err(error) = self.store().sweep_ended(self.now()).await {
            tracing::error!(%error, "what has ended was not taken out");
            next = AGAIN;
        }
        let now = self.now();
        chore.end(now.checked_add(next).unwrap_or(now)).await?;
        Ok(Some(swept))
    }
}
