//! Having the store look for duplicates: now and then, and when somebody asks.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use jiff::SignedDuration;
use serde::Serialize;
use tieline_store::duplicates::Scan;
use tieline_store::{Role, StoreError, Uuid};
use utoipa::ToSchema;

use crate::caller::Caller;
use crate::problem::Problem;
use crate::service::Service;

/// How often a node looks whether it is its turn.
const LOOK_EVERY: Duration = Duration::from_secs(60);
/// How often anything is looked at.
const PASS_EVERY: SignedDuration = SignedDuration::from_secs(60);
/// How long a node may be at one business before another one takes over.
const LEASE: Duration = Duration::from_secs(5 * 60);
/// Batches of one business before the next has its turn: some 20,000 rows.
const TURN: u32 = 40;
/// Batches of one request: some 5,000 rows, which is a few seconds.
const ASKED: u32 = 10;

/// The chore's name in the database.
const CHORE: &str = "duplicates";

/// What a look has brought.
#[derive(Serialize, ToSchema)]
pub(crate) struct ScanView {
    /// Contacts and leads that were looked at: those that had changed, or all after a change of the rules.
    looked_at: u64,
    /// Pairs that are new, or open again.
    found: u64,
    /// Pairs that a rule has merged, and leads that followed their contacts.
    merged: u64,
    /// Values that so many rows share that they say nothing.
    common: u64,
    /// Whether nothing is left to look at; if not, ask again, or wait a minute.
    done: bool,
}

impl ScanView {
    /// What a page says of it, in a word.
    pub(crate) fn outcome(&self) -> &'static str {
        match self {
            Self { done: false, .. } => "looking",
            Self { found: 0, merged: 0, .. } => "none_found",
            _ => "found",
        }
    }
}

impl From<Scan> for ScanView {
    fn from(scan: Scan) -> Self {
        let Scan { looked_at, found, merged, common, done } = scan;
        Self { looked_at, found, merged, common, done }
    }
}

/// Look for duplicates now
///
/// The service looks by itself once a minute.
#[utoipa::path(post, path = "/api/duplicates/scan", tag = "duplicates", responses(
    (status = 200, description = "What was found", body = ScanView),
    (status = "4XX", description = "Not for this caller", body = Problem, content_type = "application/problem+json"),
    (status = "5XX", description = "The service failed", body = Problem, content_type = "application/problem+json"),
))]
pub(crate) async fn scan_duplicates(State(service): State<Service>, caller: Caller) -> Result<Json<ScanView>, Problem> {
    caller.at_least(Role::Member)?;
    Ok(Json(caller.tenant.find_duplicates(ASKED, service.now()).await?.into()))
}

impl Service {
    /// Looks for duplicates once a minute, on one node at a time, until dropped.
    pub(crate) async fn match_all(&self) {
        loop {
            match self.match_once().await {
                Ok(passes) => {
                    for (business, scan) in passes.into_iter().flatten().filter(|(_, scan)| scan.looked_at > 0) {
                        tracing::info!(%business, rows = scan.looked_at, found = scan.found, merged = scan.merged, "looked for duplicates");
                    }
                }
                Err(error) => tracing::error!(%error, hint = error.hint(), "duplicates were not looked for"),
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Looks for duplicates in every business, if that is due and no other node is at it: what was found, by business.
    ///
    /// # Errors
    /// [`StoreError`], when the database does not answer. That one business could not be looked at is logged.
    pub async fn match_once(&self) -> Result<Option<Vec<(Uuid, Scan)>>, StoreError> {
        let Some(chore) = self.store().take_chore(CHORE, SignedDuration::ZERO, LEASE, self.now()).await? else {
            return Ok(None);
        };
        let mut passes = Vec::new();
        for tenant in self.store().every_tenant().await? {
            let business = tenant.business();
            match tenant.find_duplicates(TURN, self.now()).await {
                Ok(scan) => passes.push((business, scan)),
                Err(error) => tracing::error!(%error, %business, "duplicates of a business were not looked for"),
            }
            if !chore.prolong(self.now()).await? {
                return Ok(Some(passes));
            }
        }
        let now = self.now();
        chore.end(now.checked_add(PASS_EVERY).unwrap_or(now)).await?;
        Ok(Some(passes))
    }
}
