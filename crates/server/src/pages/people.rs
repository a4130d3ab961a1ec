//! Choosing contacts of an org, live; what became of them; and the leads that they are.

use std::collections::BTreeSet;

use askama::Template;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue};
use axum::response::{Html, IntoResponse, Response};
use jiff::Timestamp;
use serde::Deserialize;
use tieline_store::{Cursor, Import, ImportRow, Lead, LeadFilter, RowOutcome, Uuid};
use tieline_sync::{ContactRequest, OrgContact};

use super::chosen::all_chosen;
use super::frame::{Frame, Place};
use super::visit::{Nothing, Sent, Visit, done};
use super::words::{Pill, grouped, pill};
use super::{Failed, answer};
use crate::contacts::{self, Chosen};
use crate::extract::{Body, Path, Query};
use crate::imports;
use crate::lists;
use crate::problem::Problem;

/// Contacts of an org on a page: many, for whoever picks.
const SHOWN: u32 = 50;

/// Leads on a page: what a browser lays out before it paints anything.
const LEADS: u32 = 25;

#[derive(Template)]
#[template(path = "pick.html")]
struct Picker {
    frame: Frame,
    id: Uuid,
    name: String,
    q: String,
    contacts: Vec<(OrgContact, bool)>,
    /// All that are chosen, on whatever page.
    chosen: BTreeSet<String>,
    /// Those of this page.
    shown: Vec<String>,
    /// The cursors of this page and of those before it.
    trail: Vec<String>,
    next: Option<String>,
    /// One import, however often the form is sent.
    key: String,
    problem: Option<Problem>,
}

/// What the picker sends along from page to page.
#[derive(Default, Deserialize)]
pub(crate) struct Picked {
    #[serde(default)]
    q: String,
    /// Ids that were chosen before, with spaces between them.
    #[serde(default)]
    chosen: String,
    /// Ids of the page that was shown.
    #[serde(default)]
    shown: String,
    /// Those of them that are chosen.
    #[serde(default)]
    one: Vec<String>,
    /// Where that page began, and those before it; the first begins nowhere.
    #[serde(default)]
    trail: String,
    #[serde(default)]
    key: String,
    #[serde(default)]
    campaign: String,
    /// `search`, `back`, `import`, or `next` and the cursor.
    #[serde(default)]
    go: String,
}

impl Picked {
    fn all_chosen(&self) -> Vec<String> {
        all_chosen(&self.chosen, &self.shown, &self.one)
    }
}

/// The first page.
pub(crate) async fn pick(visit: Visit, Path(id): Path<Uuid>) -> Result<Response, Failed> {
    let picked = Picked { key: Uuid::now_v7().to_string(), ..Picked::default() };
    picker(&visit, id, picked, Vec::new(), None).await
}

/// Another page, another search, or the import.
pub(crate) async fn picked(Path(id): Path<Uuid>, sent: Sent<Picked>) -> Result<Response, Failed> {
    let Sent { visit, form } = sent;
    let mut trail: Vec<String> = form.trail.split_whitespace().map(str::to_owned).collect();
    match form.go.split_once(' ') {
        Some(("next", cursor)) => trail.push(cursor.to_owned()),
        _ if form.go == "back" => drop(trail.pop()),
        _ if form.go == "import" => return import(&visit, id, form, trail).await,
        _ => trail.clear(),
    }
    picker(&visit, id, form, trail, None).await
}

async fn import(visit: &Visit, id: Uuid, form: Picked, trail: Vec<String>) -> Result<Response, Failed> {
    let campaign = Some(form.campaign.trim().to_owned()).filter(|campaign| !campaign.is_empty());
    let chosen = Chosen::of(id, form.all_chosen(), campaign);
    let mut headers = HeaderMap::new();
    if let Ok(key) = HeaderValue::from_str(&form.key) {
        headers.insert(contacts::IDEMPOTENCY_KEY, key);
    }
    let (service, caller) = (State(visit.service.clone()), visit.caller.clone());
    match contacts::import_contacts(service, caller, headers, Body(chosen)).await {
        Ok((_, axum::Json(import))) => {
            Ok(axum::response::Redirect::to(&format!("/imports/{}", import.id())).into_response())
        }
        Err(problem) => picker(visit, id, form, trail, Some(problem)).await,
    }
}

async fn picker(
    visit: &Visit,
    id: Uuid,
    form: Picked,
    trail: Vec<String>,
    problem: Option<Problem>,
) -> Result<Response, Failed> {
    let tenant = &visit.caller.tenant;
    let integration = tenant.integration(id).await?.ok_or_else(|| Problem::not_found("connection"))?;
    let q = form.q.trim();
    let request = ContactRequest {
        cursor: trail.last().map(String::as_str),
        limit: Some(SHOWN),
        q: Some(q).filter(|q| !q.is_empty()),
    };
    let asked = contacts::page_of(&visit.service, &visit.caller, Some(id), &request).await;
    let (found, problem) = match asked {
        Ok(found) => (Some(found), problem),
        Err(error) => (None, Some(problem.unwrap_or(error))),
    };
    let (items, next) = found.map_or_else(Default::default, |page| (page.items, page.next));
    let chosen: BTreeSet<String> = form.all_chosen().into_iter().collect();
    let status = problem.as_ref().map_or(axum::http::StatusCode::OK, Problem::status);
    let page = Picker {
        frame: visit.frame(Place::Connections, "Choose contacts").await?,
        id,
        name: integration.name,
        q: form.q.clone(),
        shown: items.iter().map(|contact| contact.id.clone()).collect(),
        contacts: items
            .into_iter()
            .map(|contact| (chosen.contains(&contact.id), contact))
            .map(|(is, c)| (c, is))
            .collect(),
        chosen,
        trail,
        next,
        key: form.key,
        problem,
    };
    Ok((status, Html(page.render()?)).into_response())
}

/// An import in a list.
struct ImportLine {
    state: Pill,
    import: Import,
}

#[derive(Template)]
#[template(path = "imports.html")]
struct Imports {
    frame: Frame,
    imports: Vec<ImportLine>,
    next: Option<String>,
    now: Timestamp,
}

/// All imports.
pub(crate) async fn imports(visit: Visit, Query(place): Query<lists::Place>) -> Result<Response, Failed> {
    let page = visit.caller.tenant.imports(place.cursor()?, place.limit()?).await?;
    let line = |import: Import| ImportLine { state: pill(import.state.name()), import };
    let page = Imports {
        frame: visit.frame(Place::Imports, "Imports").await?,
        imports: page.items.into_iter().map(line).collect(),
        next: page.next.map(|cursor| cursor.to_string()),
        now: visit.service.now(),
    };
    Ok(Html(page.render()?).into_response())
}

/// Which rows of an import.
#[derive(Deserialize)]
pub(crate) struct WhichRows {
    #[serde(default)]
    outcome: String,
    cursor: Option<i64>,
}

#[derive(Template)]
#[template(path = "import.html")]
struct OneImport {
    frame: Frame,
    state: Pill,
    import: Import,
    /// Of all, worked on.
    done: i64,
    ends: bool,
    rows: Vec<(Pill, ImportRow)>,
    outcome: String,
    next: Option<i64>,
    now: Timestamp,
}

/// One import with its rows.
pub(crate) async fn one_import(
    visit: Visit,
    Path(id): Path<Uuid>,
    Query(which): Query<WhichRows>,
) -> Result<Response, Failed> {
    let tenant = &visit.caller.tenant;
    let import = tenant.import(id).await?.ok_or_else(|| Problem::not_found("import"))?;
    let rows = tenant.import_rows(id, RowOutcome::from_name(&which.outcome), which.cursor, SHOWN).await?;
    let page = OneImport {
        frame: visit.frame(Place::Imports, "Import").await?,
        state: pill(import.state.name()),
        done: import.total - import.pending,
        ends: import.finished_at.is_none(),
        rows: rows.items.into_iter().map(|row| (pill(row.outcome.name()), row)).collect(),
        outcome: which.outcome,
        next: rows.next,
        now: visit.service.now(),
        import,
    };
    Ok(Html(page.render()?).into_response())
}

/// Stops it.
pub(crate) async fn cancel_import(Path(id): Path<Uuid>, sent: Sent<Nothing>) -> Result<Response, Failed> {
    let Sent { visit, .. } = sent;
    imports::cancel_import(State(visit.service.clone()), visit.caller.clone(), Path(id)).await?;
    Ok(done(&format!("/imports/{id}"), "cancelled"))
}

/// Goes on with it.
pub(crate) async fn retry_import(Path(id): Path<Uuid>, sent: Sent<Nothing>) -> Result<Response, Failed> {
    let Sent { visit, .. } = sent;
    imports::retry_import(State(visit.service.clone()), visit.caller.clone(), Path(id)).await?;
    Ok(done(&format!("/imports/{id}"), "retried"))
}

/// Which leads.
#[derive(Deserialize)]
pub(crate) struct WhichLeads {
    #[serde(default)]
    q: String,
    #[serde(default)]
    campaign: String,
    cursor: Option<String>,
}

#[derive(Template)]
#[template(path = "leads.html")]
struct Leads {
    frame: Frame,
    leads: Vec<Lead>,
    total: String,
    q: String,
    campaign: String,
    next: Option<String>,
    now: Timestamp,
}

/// The leads.
pub(crate) async fn leads(visit: Visit, Query(which): Query<WhichLeads>) -> Result<Response, Failed> {
    let tenant = &visit.caller.tenant;
    fn some(text: &str) -> Option<&str> {
        Some(text.trim()).filter(|text| !text.is_empty())
    }
    let filter = LeadFilter { campaign: some(&which.campaign), text: some(&which.q), ..LeadFilter::default() };
    let place = lists::Place { cursor: which.cursor.clone(), limit: None };
    let cursor: Option<Cursor> = place.cursor()?;
    let (frame, total, found) = tokio::try_join!(
        visit.frame(Place::Leads, "Leads"),
        answer(tenant.count_leads()),
        answer(tenant.leads(&filter, cursor, LEADS)),
    )?;
    let page = Leads {
        frame,
        total: grouped(total),
        leads: found.items,
        next: found.next.map(|cursor| cursor.to_string()),
        q: which.q,
        campaign: which.campaign,
        now: visit.service.now(),
    };
    Ok(Html(page.render()?).into_response())
}
