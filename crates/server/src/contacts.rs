//! The contacts of an org, live, and making leads of those that are chosen.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use serde::{Deserialize, Serialize};
use tieline_store::{Creation, Integration, NewImport, Role, Status, Uuid};
use tieline_sync::importer::import_ids;
use tieline_sync::{ContactPageError, ContactRequest, OrgContact, SyncError, contact_page};
use utoipa::{IntoParams, ToSchema};

use crate::caller::Caller;
use crate::extract::{Body, Query};
use crate::imports::ImportView;
use crate::problem::Problem;
use crate::service::Service;

/// Contacts of one import.
const MOST_IDS: usize = 200_000;
/// The caller's own name for an import.
pub(crate) const IDEMPOTENCY_KEY: &str = "idempotency-key";

/// Which contacts.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Wanted {
    /// The integration; may be left out where there is only one that works.
    integration: Option<Uuid>,
    /// `next` of the page before; left out for the first page.
    #[param(max_length = 200)]
    cursor: Option<String>,
    /// Contacts of a page.
    #[param(minimum = 1, maximum = 200, default = 50)]
    limit: Option<u32>,
    /// Part of a name, an address or a company.
    #[param(min_length = 2, max_length = 255)]
    q: Option<String>,
}

/// A contact as the org has it now.
#[derive(Serialize, ToSchema)]
pub(crate) struct ContactView {
    /// Its id: 18 characters.
    id: String,
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
    /// Job title.
    title: Option<String>,
    /// Name of the account.
    company: Option<String>,
    /// The lead that was made of it here.
    lead_id: Option<Uuid>,
}

/// A page of contacts.
#[derive(Serialize, ToSchema)]
pub(crate) struct ContactPage {
    /// The contacts.
    items: Vec<ContactView>,
    /// Where the next page begins; none: this was the last.
    next: Option<String>,
}

/// Which contacts become leads.
#[derive(Deserialize, ToSchema)]
pub(crate) struct Chosen {
    /// The integration; may be left out where there is only one that works.
    integration: Option<Uuid>,
    /// Their ids, of 15 or 18 characters.
    #[schema(min_items = 1, max_items = 200000)]
    ids: Vec<String>,
    /// The campaign that the leads are given.
    #[schema(max_length = 200)]
    campaign: Option<String>,
    /// Tags that the leads are given beside those they have.
    #[serde(default)]
    #[schema(max_items = 20)]
    tags: Vec<String>,
}

impl Chosen {
    /// These contacts of an integration.
    pub(crate) fn of(integration: Uuid, ids: Vec<String>, campaign: Option<String>) -> Self {
        Self { integration: Some(integration), ids, campaign, tags: Vec::new() }
    }
}

/// The integration that is named, or the only one.
pub(crate) async fn integration(caller: &Caller, named: Option<Uuid>) -> Result<Integration, Problem> {
    let found = match named {
        Some(id) => caller.tenant.integration(id).await?.ok_or_else(|| Problem::not_found("integration"))?,
        None => {
            let all = caller.tenant.integrations().await?;
            let mut working = all.into_iter().filter(|i| matches!(i.status, Status::Active | Status::Error));
            match (working.next(), working.next()) {
                (Some(only), None) => only,
                (None, _) => {
                    return Err(Problem::conflict("not_connected", "no org is connected", "connect one first"));
                }
                (Some(_), Some(_)) => {
                    return Err(Problem::invalid("several orgs are connected", "name one: integration=<id>"));
                }
            }
        }
    };
    match found.status {
        Status::Active | Status::Error => Ok(found),
        Status::Pending | Status::Inactive => Err(Problem::conflict(
            "not_connected",
            format!("the integration `{}` is not connected", found.name),
            "connect it first",
        )),
    }
}

/// What an org or a login says, as a problem.
pub(crate) fn upstream(error: &SyncError) -> Problem {
    let (detail, hint) = (error.to_string(), error.hint());
    if let SyncError::Client(client) = error
        && client.needs_person()
    {
        return Problem::conflict("needs_login", detail, hint);
    }
    match error {
        SyncError::Config(_) => Problem::conflict("needs_login", detail, hint),
        SyncError::Store(_) => Problem::internal("the database failed", error),
        _ if error.is_transient() => Problem::unavailable("org_unavailable", detail, hint),
        _ => Problem::new(StatusCode::BAD_GATEWAY, "org_refused", detail, hint),
    }
}

/// The contacts of an org
///
/// Asked of the org now: newest first. Nothing is kept here.
#[utoipa::path(get, path = "/api/integrations/salesforce/contacts", tag = "contacts", params(Wanted), responses(
    (status = 200, description = "A page", body = ContactPage),
    (status = "4XX", description = "There is none", body = Problem, content_type = "application/problem+json"),
    (status = "5XX", description = "The service or the org failed", body = Problem, content_type = "application/problem+json"),
))]
pub(crate) async fn contacts(
    State(service): State<Service>,
    caller: Caller,
    Query(wanted): Query<Wanted>,
) -> Result<Json<ContactPage>, Problem> {
    let request = ContactRequest { cursor: wanted.cursor.as_deref(), limit: wanted.limit, q: wanted.q.as_deref() };
    let page = page_of(&service, &caller, wanted.integration, &request).await?;
    let view = |c: OrgContact| ContactView {
        id: c.id,
        first_name: c.first_name,
        last_name: c.last_name,
        name: c.name,
        email: c.email,
        phone: c.phone,
        title: c.title,
        company: c.company,
        lead_id: c.lead_id,
    };
    Ok(Json(ContactPage { items: page.items.into_iter().map(view).collect(), next: page.next }))
}

/// A page of the org's contacts. That somebody has to log in is noted.
pub(crate) async fn page_of(
    service: &Service,
    caller: &Caller,
    integration_id: Option<Uuid>,
    request: &ContactRequest<'_>,
) -> Result<tieline_sync::ContactPage, Problem> {
    request.check().map_err(page_problem)?;
    let integration = integration(caller, integration_id).await?;
    let connection = service.connection(&caller.tenant, &integration).await.map_err(|e| upstream(&e))?;
    match contact_page(&connection, &caller.tenant, request).await {
        Ok(page) => Ok(page),
        Err(error) => {
            if let ContactPageError::Client(client) = &error
                && client.needs_person()
            {
                let (reason, hint) = (client.to_string(), client.hint());
                service.note_needed_login(&caller.tenant, &integration, &reason, &hint).await;
            }
            Err(page_problem(error))
        }
    }
}

fn page_problem(error: ContactPageError) -> Problem {
    if error.is_the_callers() {
        return Problem::invalid(error.to_string(), error.hint());
    }
    match error {
        ContactPageError::Store(error) => error.into(),
        ContactPageError::Client(error) => upstream(&error.into()),
        other => Problem::invalid(other.to_string(), other.hint()),
    }
}

/// Make leads of contacts
///
/// The import is written down and worked on behind; its rows tell what became of each contact. A contact is one lead
/// however often it is imported. The same `Idempotency-Key` with the same contacts is the same import.
#[utoipa::path(post, path = "/api/integrations/salesforce/contacts", tag = "contacts", request_body = Chosen,
    params(("Idempotency-Key" = Option<String>, Header, description = "The caller's own name for this import", max_length = 200)),
    responses(
    (status = 202, description = "The import", body = ImportView),
    (status = 200, description = "The import that was asked for before under this key", body = ImportView),
    (status = "4XX", description = "Nothing is imported", body = Problem, content_type = "application/problem+json"),
    (status = "5XX", description = "The service failed", body = Problem, content_type = "application/problem+json"),
))]
pub(crate) async fn import_contacts(
    State(service): State<Service>,
    caller: Caller,
    headers: HeaderMap,
    Body(chosen): Body<Chosen>,
) -> Result<(StatusCode, Json<ImportView>), Problem> {
    caller.at_least(Role::Member)?;
    let key = idempotency_key(&headers)?;
    if chosen.ids.is_empty() || chosen.ids.len() > MOST_IDS {
        let detail = format!("{} ids were sent, and an import takes from 1 to {MOST_IDS}", chosen.ids.len());
        return Err(Problem::invalid(detail, "send several imports"));
    }
    let short = |text: &String| !text.trim().is_empty() && text.chars().count() <= 200;
    if chosen.tags.len() > 20 || !chosen.tags.iter().all(short) || !chosen.campaign.iter().all(short) {
        return Err(Problem::invalid(
            "a campaign or tag is empty or longer than 200 characters, or there are over 20 tags",
            "send shorter ones",
        ));
    }
    if chosen.ids.iter().any(|id| id.len() > 100) {
        return Err(Problem::invalid("an id is longer than ids are", "send ids of 15 or 18 characters"));
    }
    let integration = integration(&caller, chosen.integration).await?;
    let ids = import_ids(&chosen.ids);
    let who = caller.who.to_string();
    let new = NewImport {
        integration: integration.id,
        idempotency_key: key.as_deref(),
        campaign: chosen.campaign.as_deref(),
        tags: &chosen.tags,
        source_ids: &ids,
        created_by: Some(&who),
    };
    match caller.tenant.create_import(&new, service.now()).await? {
        Creation::Created(import) => {
            service.nudge_imports();
            Ok((StatusCode::ACCEPTED, Json(import.into())))
        }
        Creation::Existing(import) => Ok((StatusCode::OK, Json(import.into()))),
        Creation::KeyReused => Err(Problem::conflict(
            "idempotency_key_reused",
            "another import was asked for under this Idempotency-Key",
            "take a new key for other contacts",
        )),
        Creation::NoIntegration => Err(Problem::not_found("integration")),
    }
}

fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let Some(value) = headers.get(IDEMPOTENCY_KEY) else { return Ok(None) };
    let text = value.to_str().ok().filter(|text| !text.is_empty() && text.len() <= 200);
    text.map(|text| Some(text.to_owned())).ok_or_else(|| {
        Problem::invalid(
            "Idempotency-Key is empty, too long, or not plain text",
            "send up to 200 characters, such as a UUID",
        )
    })
}
