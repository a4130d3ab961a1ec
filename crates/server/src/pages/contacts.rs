//! The contacts that are kept in step: looked through, and each with all that is known of it.

use askama::Template;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{Html, IntoResponse, Redirect, Response};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value as Json;
use tieline_store::contact_pages::SEARCHED;
use tieline_store::duplicates::{Duplicate, DuplicateState, Subject};
use tieline_store::{ContactCursor, ContactFilter, Integration, Lead, ListedContact, SourceType, Status, Uuid};

use super::frame::{Frame, Place};
use super::visit::{Nothing, Sent, Visit};
use super::words::{Ago, Pill, ago, grouped, pill};
use super::{Failed, answer};
use crate::contacts::{self, Chosen};
use crate::extract::{Body, Path, Query};
use crate::lists;
use crate::problem::Problem;

/// Rows of a page: what a browser lays out before it paints anything.
const SHOWN: u32 = 25;

/// Which contacts.
#[derive(Deserialize)]
pub(crate) struct Which {
    #[serde(default)]
    q: String,
    #[serde(default)]
    connection: String,
    /// `hidden`: without those that have gone in the org.
    #[serde(default)]
    gone: String,
    cursor: Option<String>,
}

#[derive(Template)]
#[template(path = "contacts.html")]
struct Listed {
    frame: Frame,
    contacts: Vec<ListedContact>,
    integrations: Vec<Integration>,
    total: String,
    which: Which,
    next: Option<String>,
    now: Timestamp,
}

impl Listed {
    fn is_filtered(&self) -> bool {
        !self.which.q.trim().is_empty() || !self.which.connection.is_empty()
    }

    /// Whether a search has ended before the page was full: there may be more.
    fn is_cut(&self) -> bool {
        self.next.is_some() && self.contacts.len() < SHOWN as usize
    }

    fn searched(&self) -> String {
        grouped(SEARCHED)
    }
}

/// The list.
pub(crate) async fn contacts(visit: Visit, Query(which): Query<Which>) -> Result<Response, Failed> {
    let tenant = &visit.caller.tenant;
    let integrations = tenant.integrations().await?;
    let integration = match which.connection.as_str() {
        "" => None,
        named => {
            let found = integrations.iter().find(|integration| integration.id.to_string() == named);
            Some(found.ok_or_else(|| Problem::not_found("connection"))?.id)
        }
    };
    let text = Some(which.q.trim()).filter(|text| !text.is_empty());
    let filter = ContactFilter { integration, text, without_gone: which.gone == "hidden" };
    let place = lists::Place { cursor: which.cursor.clone(), limit: None };
    let cursor: Option<ContactCursor> = place.cursor()?;
    let (frame, total, found) = tokio::try_join!(
        visit.frame(Place::Contacts, "Contacts"),
        answer(tenant.count_contacts()),
        answer(tenant.contact_page(&filter, cursor, SHOWN)),
    )?;
    let page = Listed {
        frame,
        total: grouped(total),
        contacts: found.items,
        next: found.next.map(|cursor| cursor.to_string()),
        integrations,
        which,
        now: visit.service.now(),
    };
    Ok(Html(page.render()?).into_response())
}

/// A field with what is in it.
struct Field {
    name: String,
    value: String,
}

/// A pair that the contact is one of.
struct Pair {
    id: Uuid,
    state: Pill,
    found: Ago,
}

#[derive(Template)]
#[template(path = "contact.html")]
struct One {
    frame: Frame,
    listed: ListedContact,
    integration: Option<Integration>,
    /// Where the org shows it.
    in_org: Option<String>,
    fields: Vec<Field>,
    custom: Vec<Field>,
    others: Vec<Field>,
    lead: Option<Lead>,
    pairs: Vec<Pair>,
    may_import: bool,
    problem: Option<Problem>,
    now: Timestamp,
}

impl One {
    fn groups(&self) -> [(&'static str, &'static str, &'static str, &[Field]); 2] {
        [
            ("custom", "Custom fields", "The org has none that are filled.", &self.custom),
            ("others", "Other fields", "None are read.", &self.others),
        ]
    }
}

/// One of them.
pub(crate) async fn contact(visit: Visit, Path(id): Path<Uuid>) -> Result<Response, Failed> {
    shown(&visit, id, None).await
}

async fn shown(visit: &Visit, id: Uuid, problem: Option<Problem>) -> Result<Response, Failed> {
    let (tenant, now) = (&visit.caller.tenant, visit.service.now());
    let listed = tenant.contact(id).await?.ok_or_else(|| Problem::not_found("contact"))?;
    let row = &listed.contact.row;
    let integration = match listed.integration_id {
        Some(id) => tenant.integration(id).await?,
        None => None,
    };
    let lead = tenant.lead_of_source(SourceType::Salesforce, &row.source_id).await?;
    let pair = |pair: Duplicate| Pair { id: pair.id, state: pill(pair.state.name()), found: ago(pair.created_at, now) };
    let pairs = tenant.duplicates_of(Subject::Contact, id).await?;
    let pairs = pairs.into_iter().filter(|pair| pair.state != DuplicateState::Dismissed).map(pair).collect();
    let works = integration.as_ref().is_some_and(|i| matches!(i.status, Status::Active | Status::Error));
    let org = integration.as_ref().and_then(|integration| integration.config["instance_url"].as_str());
    let name = row.name.clone().unwrap_or_else(|| "Without a name".to_owned());
    let status = problem.as_ref().map_or(axum::http::StatusCode::OK, Problem::status);
    let page = One {
        frame: visit.frame(Place::Contacts, name).await?,
        in_org: org.filter(|_| row.deleted.is_none()).map(|org| format!("{org}/{}", row.source_id)),
        fields: own_fields(&listed),
        custom: json_fields(&row.custom_fields),
        others: json_fields(&row.source_metadata),
        may_import: works && lead.is_none() && row.deleted.is_none() && listed.merged_into.is_none(),
        lead,
        pairs,
        integration,
        listed,
        problem,
        now,
    };
    Ok((status, Html(page.render()?)).into_response())
}

fn own_fields(listed: &ListedContact) -> Vec<Field> {
    let row = &listed.contact.row;
    let fields = [
        ("First name", &row.first_name),
        ("Last name", &row.last_name),
        ("E-mail", &row.email),
        ("Phone", &row.phone),
        ("Company", &row.company),
        ("Title", &row.title),
    ];
    let field = |(name, value): (&str, &Option<String>)| Field {
        name: name.to_owned(),
        value: value.clone().unwrap_or_default(),
    };
    fields.into_iter().map(field).collect()
}

/// What a JSON object holds, as people read it.
fn json_fields(json: &Json) -> Vec<Field> {
    let text = |value: &Json| match value {
        Json::String(text) => text.clone(),
        Json::Bool(true) => "yes".to_owned(),
        Json::Bool(false) => "no".to_owned(),
        other => other.to_string(),
    };
    let fields = json.as_object().into_iter().flatten();
    fields.map(|(name, value)| Field { name: name.clone(), value: text(value) }).collect()
}

/// Makes a lead of it. Once more is no harm: a contact is one lead however often it is imported.
pub(crate) async fn import(Path(id): Path<Uuid>, sent: Sent<Nothing>) -> Result<Response, Failed> {
    let Sent { visit, .. } = sent;
    let listed = visit.caller.tenant.contact(id).await?.ok_or_else(|| Problem::not_found("contact"))?;
    let Some(integration) = listed.integration_id else {
        let hint = "connect the org again, and wait for a sync";
        let problem = Problem::conflict("not_connected", "the connection that brought this contact is gone", hint);
        return shown(&visit, id, Some(problem)).await;
    };
    let chosen = Chosen::of(integration, vec![listed.contact.row.source_id], None);
    let (service, caller) = (State(visit.service.clone()), visit.caller.clone());
    match contacts::import_contacts(service, caller, HeaderMap::new(), Body(chosen)).await {
        Ok((_, axum::Json(import))) => Ok(Redirect::to(&format!("/imports/{}", import.id())).into_response()),
        Err(problem) => shown(&visit, id, Some(problem)).await,
    }
}
