//! What people have a right to: to know what is kept of them, and to have it erased.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tieline_store::{Erasure, Person, PersonData, Removed, Role, SourceType, Uuid};
use tieline_sync::importer::import_ids;
use utoipa::ToSchema;

use crate::accounts::checked_email;
use crate::caller::Caller;
use crate::extract::{Body, Path, Query};
use crate::lists::Place;
use crate::problem::Problem;
use crate::service::Service;

/// Persons of one request.
const MOST: usize = 100;

/// A kind of source.
#[derive(Debug, Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = SourceType)]
pub(crate) enum SourceName {
    /// An org.
    Salesforce,
    /// A HubSpot portal.
    Hubspot,
    /// A file.
    Csv,
    /// Somebody's hand.
    Manual,
}

impl From<SourceName> for SourceType {
    fn from(name: SourceName) -> Self {
        match name {
            SourceName::Salesforce => SourceType::Salesforce,
            SourceName::Hubspot => SourceType::Hubspot,
            SourceName::Csv => SourceType::Csv,
            SourceName::Manual => SourceType::Manual,
        }
    }
}

/// Who is meant: everybody with an address, or who has an id at a source.
#[derive(Deserialize, ToSchema)]
pub(crate) struct Named {
    /// E-mail address, in whatever case.
    #[schema(max_length = 254)]
    pub(crate) email: Option<String>,
    /// The kind of source; with `source_id`.
    pub(crate) source_type: Option<SourceName>,
    /// The source's id.
    #[schema(max_length = 255)]
    pub(crate) source_id: Option<String>,
}

/// The same, checked.
#[derive(Clone)]
enum Checked {
    Email(String),
    Source(SourceType, String),
}

impl Named {
    fn checked(self) -> Result<Checked, Problem> {
        let plain = |name: &str, text: String, most: usize| {
            let text = text.trim().to_owned();
            if text.is_empty() || text.chars().count() > most || text.chars().any(char::is_control) {
                let detail = format!("{name} is empty, longer than {most} characters, or holds control characters");
                return Err(Problem::invalid(detail, "send it as it is kept"));
            }
            Ok(text)
        };
        match (self.email, self.source_type, self.source_id) {
            (Some(email), None, None) => Ok(Checked::Email(checked_email(&email)?)),
            (None, Some(kind), Some(id)) => {
                let (kind, id) = (SourceType::from(kind), plain("source_id", id, 255)?);
                // Contacts are kept under ids of 18 characters.
                let id = if kind == SourceType::Salesforce { import_ids(&[id]).remove(0) } else { id };
                Ok(Checked::Source(kind, id))
            }
            _ => Err(Problem::invalid(
                "a person is named by `email`, or by `source_type` and `source_id`",
                "send one of the two; several persons are several entries",
            )),
        }
    }
}

impl Checked {
    fn person(&self) -> Person<'_> {
        match self {
            Checked::Email(email) => Person::Email(email),
            Checked::Source(kind, id) => Person::Source { kind: *kind, id },
        }
    }
}

/// Who is to be erased.
#[derive(Deserialize, ToSchema)]
pub(crate) struct ToErase {
    /// Who is meant.
    #[schema(min_items = 1, max_items = 100)]
    pub(crate) persons: Vec<Named>,
    /// Only tell what would go.
    #[serde(default)]
    pub(crate) preview: bool,
}

/// How many rows.
#[derive(Serialize, ToSchema)]
pub(crate) struct RemovedView {
    /// Contacts, tombstones included.
    pub(crate) contacts: u64,
    /// Leads.
    pub(crate) leads: u64,
    /// Rows of imports: they keep their outcome, and nothing else.
    pub(crate) import_rows: u64,
    /// Lines of the integrations' log that named the person.
    pub(crate) logs: u64,
    /// Other messages that did, which are empty now.
    pub(crate) messages: u64,
    /// Open invitations to the address.
    pub(crate) invitations: u64,
    /// Records in tables of mappings: they keep their id, and nothing else.
    pub(crate) object_rows: u64,
}

impl From<Removed> for RemovedView {
    fn from(removed: Removed) -> Self {
        let Removed { contacts, leads, import_rows, logs, messages, invitations, object_rows } = removed;
        Self { contacts, leads, import_rows, logs, messages, invitations, object_rows }
    }
}

/// What became of one person.
#[derive(Serialize, ToSchema)]
pub(crate) struct ErasedView {
    /// The request, which keeps the person from coming back until it is lifted; none of a preview.
    pub(crate) erasure: Option<Uuid>,
    /// What went, or would.
    pub(crate) removed: RemovedView,
}

/// What became of all.
#[derive(Serialize, ToSchema)]
pub(crate) struct ErasedPersons {
    /// One entry for each, in their order.
    pub(crate) persons: Vec<ErasedView>,
}

/// A request that stands. It does not say who was erased.
#[derive(Serialize, ToSchema)]
pub(crate) struct ErasureView {
    /// UUID.
    pub(crate) id: Uuid,
    /// What went.
    pub(crate) removed: RemovedView,
    /// When it was asked for first.
    #[schema(value_type = String, format = DateTime)]
    pub(crate) created_at: Timestamp,
}

impl From<Erasure> for ErasureView {
    fn from(erasure: Erasure) -> Self {
        Self { id: erasure.id, removed: erasure.removed.into(), created_at: erasure.created_at }
    }
}

/// A page of requests.
#[derive(Serialize, ToSchema)]
pub(crate) struct ErasurePage {
    /// Newest first.
    pub(crate) items: Vec<ErasureView>,
    /// Where the next page begins; none: this was the last.
    pub(crate) next: Option<String>,
}

/// All that is kept of a person.
#[derive(Serialize, ToSchema)]
pub(crate) struct PersonView {
    /// Contacts, tombstones included.
    #[schema(value_type = Vec<Object>)]
    pub(crate) contacts: Vec<Value>,
    /// Leads.
    #[schema(value_type = Vec<Object>)]
    pub(crate) leads: Vec<Value>,
    /// Rows of imports.
    #[schema(value_type = Vec<Object>)]
    pub(crate) import_rows: Vec<Value>,
    /// Lines of the integrations' log that name the person.
    #[schema(value_type = Vec<Object>)]
    pub(crate) logs: Vec<Value>,
    /// Open invitations to the address.
    #[schema(value_type = Vec<Object>)]
    pub(crate) invitations: Vec<Value>,
    /// Records of mappings: `{"table": …, "row": {…}}`.
    #[schema(value_type = Vec<Object>)]
    pub(crate) objects: Vec<Value>,
}

impl From<PersonData> for PersonView {
    fn from(data: PersonData) -> Self {
        let PersonData { contacts, leads, import_rows, logs, invitations, objects } = data;
        Self { contacts, leads, import_rows, logs, invitations, objects }
    }
}

/// Erase persons
///
/// Their contacts and leads go, tombstones too, and every line that names them. No sync and no import brings them back until
/// the erasure is lifted. Each person is done as a whole or not at all, one after the other.
#[utoipa::path(post, path = "/api/personal-data/erasures", tag = "personal data", request_body = ToErase, responses(
    (status = 200, description = "What went, or would", body = ErasedPersons),
    (status = "4XX", description = "Nothing went", body = Problem, content_type = "application/problem+json"),
    (status = "5XX", description = "The service failed: ask again, it goes on", body = Problem, content_type = "application/problem+json"),
))]
pub(crate) async fn erase(
    State(service): State<Service>,
    caller: Caller,
    Body(given): Body<ToErase>,
) -> Result<Json<ErasedPersons>, Problem> {
    caller.at_least(Role::Admin)?;
    if given.persons.is_empty() || given.persons.len() > MOST {
        let detail = format!("{} persons were sent, and a request takes from 1 to {MOST}", given.persons.len());
        return Err(Problem::invalid(detail, "send several requests"));
    }
    let named = given.persons.into_iter().map(Named::checked).collect::<Result<Vec<_>, _>>()?;
    let mut persons = Vec::with_capacity(named.len());
    for one in &named {
        persons.push(if given.preview {
            let removed = caller.tenant.preview_erasure(&one.person()).await?;
            ErasedView { erasure: None, removed: removed.into() }
        } else {
            let (tenant, now, one) = (caller.tenant.clone(), service.now(), one.clone());
            // To its end, also when whoever asked has left.
            let erasing = tokio::spawn(async move { tenant.erase_person(&one.person(), now).await });
            let erasing = erasing.await;
            let erasure = erasing.map_err(|panicked| Problem::internal("a person was not erased", &panicked))??;
            ErasedView { erasure: Some(erasure.id), removed: erasure.removed.into() }
        });
    }
    if !given.preview {
        service.changed();
    }
    Ok(Json(ErasedPersons { persons }))
}

/// The erasures that stand
#[utoipa::path(get, path = "/api/personal-data/erasures", tag = "personal data", params(Place), responses(
    (status = 200, description = "A page", body = ErasurePage),
    (status = "4XX", description = "There is none", body = Problem, content_type = "application/problem+json"),
    (status = "5XX", description = "The service failed", body = Problem, content_type = "application/problem+json"),
))]
pub(crate) async fn erasures(caller: Caller, Query(place): Query<Place>) -> Result<Json<ErasurePage>, Problem> {
    caller.at_least(Role::Admin)?;
    let page = caller.tenant.erasures(place.cursor()?, place.limit()?).await?;
    let items = page.items.into_iter().map(ErasureView::from).collect();
    Ok(Json(ErasurePage { items, next: page.next.map(|cursor| cursor.to_string()) }))
}

/// Lift an erasure
///
/// The person may come back: by the next import, or once the org changes the record. Nothing is brought back by this.
#[utoipa::path(delete, path = "/api/personal-data/erasures/{id}", tag = "personal data", params(("id" = Uuid, Path, description = "The erasure")), responses(
    (status = 204, description = "It is lifted"),
    (status = "4XX", description = "There is none", body = Problem, content_type = "application/problem+json"),
    (status = "5XX", description = "The service failed", body = Problem, content_type = "application/problem+json"),
))]
pub(crate) async fn lift_erasure(
    State(service): State<Service>,
    caller: Caller,
    Path(id): Path<Uuid>,
) -> Result<StatusCode, Problem> {
    caller.at_least(Role::Admin)?;
    match caller.tenant.lift_erasure(id, service.now()).await? {
        true => Ok(StatusCode::NO_CONTENT),
        false => Err(Problem::not_found("erasure")),
    }
}

/// All that is kept of a person
///
/// That it was read stands in the audit log. It is no GET, so that no address is in anybody's log of requests.
#[utoipa::path(post, path = "/api/personal-data/exports", tag = "personal data", request_body = Named, responses(
    (status = 200, description = "It; empty lists where there is nothing", body = PersonView),
    (status = "4XX", description = "Not for this caller", body = Problem, content_type = "application/problem+json"),
    (status = "5XX", description = "The service failed", body = Problem, content_type = "application/problem+json"),
))]
pub(crate) async fn person(
    State(service): State<Service>,
    caller: Caller,
    Body(named): Body<Named>,
) -> Result<Json<PersonView>, Problem> {
    caller.at_least(Role::Admin)?;
    let named = named.checked()?;
    Ok(Json(caller.tenant.person_data(&named.person(), service.now()).await?.into()))
}
