//! Imports: what becomes of contacts that were chosen.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tieline_store::{Import, ImportRow, ImportState, Role, RowOutcome, Uuid};
use utoipa::{IntoParams, ToSchema};

use crate::caller::Caller;
use crate::extract::{Path, Query};
use crate::lists::{Place, bad_cursor};
use crate::problem::Problem;
use crate::service::Service;

/// An import.
#[derive(Serialize, ToSchema)]
pub(crate) struct ImportView {
    /// UUID.
    id: Uuid,
    /// Where the contacts come from.
    integration_id: Uuid,
    /// The caller's own name for it.
    idempotency_key: Option<String>,
    /// The campaign that the leads are given.
    campaign: Option<String>,
    /// Tags that the leads are given.
    tags: Vec<String>,
    /// `waiting`, `running`, `success`, `failed` or `cancelled`.
    #[schema(value_type = String, example = "success")]
    state: ImportState,
    /// Why it failed, or waits.
    error: Option<String>,
    /// Contacts in all.
    total: i64,
    /// Not worked on yet.
    pending: i64,
    /// Leads that are new.
    created: i64,
    /// Leads that changed.
    updated: i64,
    /// Leads that were as they are.
    unchanged: i64,
    /// Contacts that became none.
    failed: i64,
    /// Persons who were erased, and stay so.
    skipped_erased: i64,
    /// Who asked for it.
    created_by: Option<String>,
    /// When.
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    /// When it ended.
    #[schema(value_type = Option<String>, format = DateTime)]
    finished_at: Option<Timestamp>,
}

impl ImportView {
    pub(crate) fn id(&self) -> Uuid {
        self.id
    }
}

impl From<Import> for ImportView {
    fn from(i: Import) -> Self {
        Self {
            id: i.id,
            integration_id: i.integration_id,
            idempotency_key: i.idempotency_key,
            campaign: i.campaign,
            tags: i.tags,
            state: i.state,
            error: i.error,
            total: i.total,
            pending: i.pending,
            created: i.created,
            updated: i.updated,
            unchanged: i.unchanged,
            failed: i.failed,
            skipped_erased: i.skipped_erased,
            created_by: i.created_by,
            created_at: i.created_at,
            finished_at: i.finished_at,
        }
    }
}

/// A page of imports.
#[derive(Serialize, ToSchema)]
pub(crate) struct ImportPage {
    /// Newest first.
    items: Vec<ImportView>,
    /// Where the next page begins; none: this was the last.
    next: Option<String>,
}

/// What became of one contact.
#[derive(Serialize, ToSchema)]
pub(crate) struct RowView {
    /// Its place in the request.
    position: i64,
    /// Its id; empty of somebody who was erased.
    source_id: String,
    /// `pending`, `created`, `updated`, `unchanged`, `failed` or `skipped_erased`.
    #[schema(value_type = String, example = "created")]
    outcome: RowOutcome,
    /// The lead.
    lead_id: Option<Uuid>,
    /// Why there is none.
    error: Option<String>,
}

impl From<ImportRow> for RowView {
    fn from(row: ImportRow) -> Self {
        Self {
            position: row.position,
            source_id: row.source_id,
            outcome: row.outcome,
            lead_id: row.lead_id,
            error: row.error,
        }
    }
}

/// A page of an import's rows.
#[derive(Serialize, ToSchema)]
pub(crate) struct RowPage {
    /// In the order of the request.
    items: Vec<RowView>,
    /// Where the next page begins; none: this was the last.
    next: Option<String>,
}

/// Which rows.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct WhichRows {
    /// Those with this outcome alone.
    #[param(max_length = 20)]
    outcome: Option<String>,
    /// `next` of the page before.
    #[param(max_length = 200)]
    cursor: Option<String>,
    /// Rows of a page.
    #[param(minimum = 1, maximum = 200, default = 50)]
    limit: Option<u32>,
}

/// The imports of the business
#[utoipa::path(get, path = "/api/imports", tag = "contacts", params(Place), responses(
    (status = 200, description = "A page", body = ImportPage),
    (status = "4XX", description = "There is none", body = Problem, content_type = "application/problem+json"),
    (status = "5XX", description = "The service failed", body = Problem, content_type = "application/problem+json"),
))]
pub(crate) async fn imports(caller: Caller, Query(place): Query<Place>) -> Result<Json<ImportPage>, Problem> {
    let page = caller.tenant.imports(place.cursor()?, place.limit()?).await?;
    let items = page.items.into_iter().map(ImportView::from).collect();
    Ok(Json(ImportPage { items, next: page.next.map(|cursor| cursor.to_string()) }))
}

/// One import
#[utoipa::path(get, path = "/api/imports/{id}", tag = "contacts", params(("id" = Uuid, Path, description = "The import")), responses(
    (status = 200, description = "It", body = ImportView),
    (status = "4XX", description = "There is none", body = Problem, content_type = "application/problem+json"),
    (status = "5XX", description = "The service failed", body = Problem, content_type = "application/problem+json"),
))]
pub(crate) async fn import(caller: Caller, Path(id): Path<Uuid>) -> Result<Json<ImportView>, Problem> {
    let import = caller.tenant.import(id).await?.ok_or_else(|| Problem::not_found("import"))?;
    Ok(Json(import.into()))
}

/// What became of each contact
#[utoipa::path(get, path = "/api/imports/{id}/rows", tag = "contacts", params(("id" = Uuid, Path, description = "The import"), WhichRows), responses(
    (status = 200, description = "A page", body = RowPage),
    (status = "4XX", description = "There is none", body = Problem, content_type = "application/problem+json"),
    (status = "5XX", description = "The service failed", body = Problem, content_type = "application/problem+json"),
))]
pub(crate) async fn import_rows(
    caller: Caller,
    Path(id): Path<Uuid>,
    Query(which): Query<WhichRows>,
) -> Result<Json<RowPage>, Problem> {
    let outcome = match which.outcome.as_deref() {
        None => None,
        Some(name) => Some(RowOutcome::from_name(name).ok_or_else(|| {
            Problem::invalid(
                "there is no such outcome",
                "one of pending, created, updated, unchanged, failed, skipped_erased",
            )
        })?),
    };
    let place = Place { cursor: which.cursor, limit: which.limit };
    let cursor: Option<i64> = place.cursor()?;
    if cursor.is_some_and(|position| position < 0) {
        return Err(bad_cursor());
    }
    let limit = place.limit()?;
    caller.tenant.import(id).await?.ok_or_else(|| Problem::not_found("import"))?;
    let page = caller.tenant.import_rows(id, outcome, cursor, limit).await?;
    let items = page.items.into_iter().map(RowView::from).collect();
    Ok(Json(RowPage { items, next: page.next.map(|position| position.to_string()) }))
}

/// Stop an import
///
/// What it has made stays.
#[utoipa::path(post, path = "/api/imports/{id}/cancel", tag = "contacts", params(("id" = Uuid, Path, description = "The import")), responses(
    (status = 204, description = "It is stopped"),
    (status = "4XX", description = "It has ended already, or there is none", body = Problem, content_type = "application/problem+json"),
    (status = "5XX", description = "The service failed", body = Problem, content_type = "application/problem+json"),
))]
pub(crate) async fn cancel_import(
    State(service): State<Service>,
    caller: Caller,
    Path(id): Path<Uuid>,
) -> Result<StatusCode, Problem> {
    caller.at_least(Role::Member)?;
    if !caller.tenant.cancel_import(id, service.now()).await? {
        return Err(ended_or_missing(&caller, id, "has ended already").await?);
    }
    Ok(StatusCode::NO_CONTENT)
}

/// Go on with an import that failed
///
/// Rows that failed are tried again too.
#[utoipa::path(post, path = "/api/imports/{id}/retry", tag = "contacts", params(("id" = Uuid, Path, description = "The import")), responses(
    (status = 204, description = "It goes on"),
    (status = "4XX", description = "There is nothing to go on with", body = Problem, content_type = "application/problem+json"),
    (status = "5XX", description = "The service failed", body = Problem, content_type = "application/problem+json"),
))]
pub(crate) async fn retry_import(
    State(service): State<Service>,
    caller: Caller,
    Path(id): Path<Uuid>,
) -> Result<StatusCode, Problem> {
    caller.at_least(Role::Member)?;
    if !caller.tenant.retry_import(id, service.now()).await? {
        return Err(ended_or_missing(&caller, id, "has nothing to be tried again").await?);
    }
    service.nudge_imports();
    Ok(StatusCode::NO_CONTENT)
}

async fn ended_or_missing(caller: &Caller, id: Uuid, why: &str) -> Result<Problem, Problem> {
    Ok(match caller.tenant.import(id).await? {
        Some(_) => Problem::conflict("import_ended", format!("the import {why}"), "look at its state"),
        None => Problem::not_found("import"),
    })
}
