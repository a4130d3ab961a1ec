//! The records of a mapping, and the contacts that are kept in step.

use axum::Json;
use axum::http::StatusCode;
use serde::Serialize;
use serde_json::value::RawValue;
use tieline_store::Uuid;
use tieline_store::records::RecordSource;
use utoipa::ToSchema;

use super::no_mapping;
use super::wanted::Wanted;
use crate::caller::Caller;
use crate::extract::Path;
use crate::problem::Problem;

/// A record as it is here.
#[derive(ToSchema)]
#[schema(as = Record)]
#[expect(dead_code, reason = "it describes what the store has written")]
pub(crate) struct RecordShape {
    /// The org's id.
    id: String,
    /// How it has gone in the org: `deleted`, `merged`, `erased` or `hidden`; none: it is there.
    deleted: Option<String>,
    /// Of a merged one: the record that stayed.
    master_id: Option<String>,
    /// The version: the org's SystemModstamp.
    #[schema(format = DateTime)]
    stamp: Option<String>,
    /// When this version was written here.
    #[schema(format = DateTime)]
    synced_at: String,
    /// The columns that were asked for. A number is a text of its digits where a double would not keep them.
    #[schema(value_type = Object)]
    fields: (),
}

/// A page of records.
#[derive(Serialize, ToSchema)]
pub(crate) struct RecordPage {
    /// In the order that was asked for.
    #[schema(value_type = Vec<RecordShape>)]
    items: Vec<Box<RawValue>>,
    /// Where to go on: now, if there is more; else later, for what changes from now on.
    next_cursor: String,
    /// Whether there is more now.
    has_more: bool,
}

async fn page(caller: &Caller, source: &RecordSource, id: Uuid, wanted: &Wanted) -> Result<Json<RecordPage>, Problem> {
    let (filters, fields) = (wanted.filters(source)?, wanted.fields(source)?);
    let query = wanted.query(id, &filters, &fields)?;
    let page = caller.tenant.records(source, &query).await?.ok_or_else(|| {
        let hint = "the database was set back to an earlier state: begin anew, without a cursor";
        Problem::new(StatusCode::GONE, "cursor_ahead", "the cursor is ahead of all changes", hint)
    })?;
    Ok(Json(RecordPage { items: page.records, next_cursor: page.next.to_string(), has_more: page.more }))
}

async fn one(
    caller: &Caller,
    source: &RecordSource,
    id: &str,
    wanted: &Wanted,
) -> Result<Json<Box<RawValue>>, Problem> {
    let fields = wanted.fields(source)?;
    // A filter of one record is a slip.
    wanted.filters(source)?;
    let record = caller.tenant.record(source, id, &fields).await?;
    Ok(Json(record.ok_or_else(|| Problem::not_found("record"))?))
}

async fn of_mapping(caller: &Caller, id: Uuid) -> Result<RecordSource, Problem> {
    Ok(RecordSource::mapping(&caller.tenant.mapping(id).await?.ok_or_else(no_mapping)?))
}

/// The records of a mapping
///
/// By id, for a pass through all of them, or by change. `next_cursor` is always there: behind the last page of either it leads
/// to what changes from then on, and nothing is left out in between. A filter leaves out whatever does not fit any more,
/// without a word; whoever keeps a copy follows without filters.
#[utoipa::path(get, path = "/api/mappings/{id}/records", tag = "records", params(("id" = Uuid, Path, description = "The mapping"), Wanted), responses(
    (status = 200, description = "A page", body = RecordPage),
    (status = "4XX", description = "There is none", body = Problem, content_type = "application/problem+json"),
    (status = "5XX", description = "The service failed", body = Problem, content_type = "application/problem+json"),
))]
pub(crate) async fn records(caller: Caller, Path(id): Path<Uuid>, wanted: Wanted) -> Result<Json<RecordPage>, Problem> {
    page(&caller, &of_mapping(&caller, id).await?, id, &wanted.without_integration()?).await
}

/// One record of a mapping
///
/// One that has gone in the org, too, for as long as it is kept.
#[utoipa::path(get, path = "/api/mappings/{id}/records/{record_id}", tag = "records", params(
    ("id" = Uuid, Path, description = "The mapping"),
    ("record_id" = String, Path, description = "The org's id"),
    ("fields" = Option<String>, Query, description = "The columns to answer with, parted by commas"),
), responses(
    (status = 200, description = "It", body = RecordShape),
    (status = "4XX", description = "There is none", body = Problem, content_type = "application/problem+json"),
    (status = "5XX", description = "The service failed", body = Problem, content_type = "application/problem+json"),
))]
pub(crate) async fn record(
    caller: Caller,
    Path((id, record_id)): Path<(Uuid, String)>,
    wanted: Wanted,
) -> Result<Json<Box<RawValue>>, Problem> {
    one(&caller, &of_mapping(&caller, id).await?, &record_id, &wanted.without_integration()?).await
}

/// The contacts of the integration that is named, or of the only one.
async fn of_contacts(caller: &Caller, wanted: &Wanted) -> Result<(RecordSource, Uuid), Problem> {
    let id = match wanted.integration()? {
        Some(id) => caller.tenant.integration(id).await?.ok_or_else(|| Problem::not_found("integration"))?.id,
        None => match &caller.tenant.integrations().await?[..] {
            [only] => only.id,
            [] => return Err(Problem::conflict("not_connected", "there is no integration", "connect an org first")),
            _ => return Err(Problem::invalid("there are several integrations", "name one: integration=<id>")),
        },
    };
    Ok((RecordSource::contacts(id), id))
}

/// The contacts that are kept in step
///
/// As they are here, and as the records of a mapping are read. `GET /api/integrations/salesforce/contacts` asks the org.
#[utoipa::path(get, path = "/api/contacts", tag = "records", params(
    ("integration" = Option<Uuid>, Query, description = "The integration; may be left out where there is only one"), Wanted,
), responses(
    (status = 200, description = "A page", body = RecordPage),
    (status = "4XX", description = "There is none", body = Problem, content_type = "application/problem+json"),
    (status = "5XX", description = "The service failed", body = Problem, content_type = "application/problem+json"),
))]
pub(crate) async fn synced_contacts(caller: Caller, wanted: Wanted) -> Result<Json<RecordPage>, Problem> {
    let (source, id) = of_contacts(&caller, &wanted).await?;
    page(&caller, &source, id, &wanted).await
}

/// One contact that is kept in step
#[utoipa::path(get, path = "/api/contacts/{id}", tag = "records", params(
    ("id" = String, Path, description = "The org's id"),
    ("integration" = Option<Uuid>, Query, description = "The integration; may be left out where there is only one"),
    ("fields" = Option<String>, Query, description = "The columns to answer with, parted by commas"),
), responses(
    (status = 200, description = "It", body = RecordShape),
    (status = "4XX", description = "There is none", body = Problem, content_type = "application/problem+json"),
    (status = "5XX", description = "The service failed", body = Problem, content_type = "application/problem+json"),
))]
pub(crate) async fn synced_contact(
    caller: Caller,
    Path(record_id): Path<String>,
    wanted: Wanted,
) -> Result<Json<Box<RawValue>>, Problem> {
    let (source, _) = of_contacts(&caller, &wanted).await?;
    one(&caller, &source, &record_id, &wanted).await
}
