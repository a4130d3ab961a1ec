//! Leads.

use axum::Json;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tieline_store::{Lead, LeadFilter, SourceType, SyncStatus, Uuid};
use utoipa::{IntoParams, ToSchema};

use crate::caller::Caller;
use crate::extract::{Path, Query};
use crate::lists::Place;
use crate::problem::Problem;

/// A lead.
#[derive(Serialize, ToSchema)]
pub(crate) struct LeadView {
    /// UUID.
    id: Uuid,
    /// Where it comes from.
    integration_id: Option<Uuid>,
    /// `salesforce`, `hubspot`, `csv` or `manual`.
    #[schema(value_type = String, example = "salesforce")]
    source_type: SourceType,
    /// The source's id.
    source_id: String,
    /// Given name.
    first_name: Option<String>,
    /// Family name.
    last_name: Option<String>,
    /// Full name.
    name: Option<String>,
    /// E-mail address.
    email: Option<String>,
    /// Phone number.
    phone: Option<String>,
    /// Name of the company.
    company: Option<String>,
    /// Job title.
    title: Option<String>,
    /// The source's other fields.
    #[schema(value_type = Object)]
    source_metadata: Value,
    /// Tags.
    tags: Vec<String>,
    /// Fields of the business's own.
    #[schema(value_type = Object)]
    custom_fields: Value,
    /// The campaign.
    campaign: Option<String>,
    /// `synced`, `pending` or `error`.
    #[schema(value_type = String, example = "synced")]
    sync_status: SyncStatus,
    /// The lead that it has become a part of.
    merged_into: Option<Uuid>,
    /// When this version came.
    #[schema(value_type = String, format = DateTime)]
    last_synced_at: Timestamp,
    /// When it was made.
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    /// Its last change here.
    #[schema(value_type = String, format = DateTime)]
    updated_at: Timestamp,
}

impl From<Lead> for LeadView {
    fn from(l: Lead) -> Self {
        Self {
            id: l.id,
            integration_id: l.integration_id,
            source_type: l.source_type,
            source_id: l.source_id,
            first_name: l.first_name,
            last_name: l.last_name,
            name: l.name,
            email: l.email,
            phone: l.phone,
            company: l.company,
            title: l.title,
            source_metadata: l.source_metadata,
            tags: l.tags,
            custom_fields: l.custom_fields,
            campaign: l.campaign,
            sync_status: l.sync_status,
            merged_into: l.merged_into,
            last_synced_at: l.last_synced_at,
            created_at: l.created_at,
            updated_at: l.updated_at,
        }
    }
}

/// A page of leads.
#[derive(Serialize, ToSchema)]
pub(crate) struct LeadPage {
    /// Newest first.
    items: Vec<LeadView>,
    /// Where the next page begins; none: this was the last.
    next: Option<String>,
}

/// Which leads.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Which {
    /// Of this campaign.
    #[param(max_length = 200)]
    campaign: Option<String>,
    /// From this kind of source: `salesforce`, `hubspot`, `csv` or `manual`.
    #[param(max_length = 20)]
    source_type: Option<String>,
    /// Part of a name, an address or a company.
    #[param(max_length = 255)]
    q: Option<String>,
    /// `next` of the page before.
    #[param(max_length = 200)]
    cursor: Option<String>,
    /// Leads of a page.
    #[param(minimum = 1, maximum = 200, default = 50)]
    limit: Option<u32>,
}

/// The leads of the business
#[utoipa::path(get, path = "/api/leads", tag = "contacts", params(Which), responses(
    (status = 200, description = "A page", body = LeadPage),
    (status = "4XX", description = "There is none", body = Problem, content_type = "application/problem+json"),
    (status = "5XX", description = "The service failed", body = Problem, content_type = "application/problem+json"),
))]
pub(crate) async fn leads(caller: Caller, Query(which): Query<Which>) -> Result<Json<LeadPage>, Problem> {
    let source_type = match which.source_type.as_deref() {
        None => None,
        Some(name) => Some(SourceType::from_name(name).ok_or_else(|| {
            Problem::invalid("there is no such source_type", "one of salesforce, hubspot, csv, manual")
        })?),
    };
    let long = |text: &Option<String>, most: usize| text.as_ref().is_some_and(|text| text.chars().count() > most);
    if long(&which.q, 255) || long(&which.campaign, 200) {
        return Err(Problem::invalid("q or campaign is too long", "search for a part of it"));
    }
    let place = Place { cursor: which.cursor, limit: which.limit };
    let filter = LeadFilter { campaign: which.campaign.as_deref(), source_type, text: which.q.as_deref() };
    let page = caller.tenant.leads(&filter, place.cursor()?, place.limit()?).await?;
    let items = page.items.into_iter().map(LeadView::from).collect();
    Ok(Json(LeadPage { items, next: page.next.map(|cursor| cursor.to_string()) }))
}

/// One lead
#[utoipa::path(get, path = "/api/leads/{id}", tag = "contacts", params(("id" = Uuid, Path, description = "The lead")), responses(
    (status = 200, description = "It", body = LeadView),
    (status = "4XX", description = "There is none", body = Problem, content_type = "application/problem+json"),
    (status = "5XX", description = "The service failed", body = Problem, content_type = "application/problem+json"),
))]
pub(crate) async fn lead(caller: Caller, Path(id): Path<Uuid>) -> Result<Json<LeadView>, Problem> {
    let lead = caller.tenant.lead(id).await?.ok_or_else(|| Problem::not_found("lead"))?;
    Ok(Json(lead.into()))
}
