//! The overview: what calls for somebody, how each connection stands, and what came lately.

use std::cmp::Reverse;

use askama::Template;
use axum::response::{Html, IntoResponse, Response};
use jiff::Timestamp;
use tieline_store::alerts::{Notification, NotificationFilter, NotificationState};
use tieline_store::mappings::Mapping;
use tieline_store::{Contact, Integration, Run, Uuid};

use super::charts::Chart;
use super::connections::Connected;
use super::frame::{Frame, Place};
use super::usage;
use super::visit::Visit;
use super::words::{Ago, Pill, ago, grouped, pill, took};
use super::{Failed, answer};

/// Rows of each table.
const SHOWN: u32 = 10;

#[derive(Template)]
#[template(path = "overview.html")]
struct Page {
    frame: Frame,
    calling: Vec<Notification>,
    connections: Vec<Connected>,
    /// Rows and API calls of the last week.
    week: Vec<Chart>,
    contacts: String,
    leads: String,
    mappings: Vec<MappingRow>,
    runs_total: i64,
    runs: Vec<RunRow>,
    people: Vec<PersonRow>,
    now: Timestamp,
}

/// A run in a list.
pub(crate) struct RunRow {
    pub(crate) id: String,
    pub(crate) state: Pill,
    pub(crate) object: String,
    pub(crate) started: Ago,
    pub(crate) took: String,
    pub(crate) read: String,
    pub(crate) inserted: String,
    pub(crate) updated: String,
    pub(crate) deleted: String,
    pub(crate) api_calls: String,
    pub(crate) error: String,
}

impl RunRow {
    pub(crate) fn of(run: Run, now: Timestamp) -> Self {
        Self {
            id: run.id.to_string(),
            state: pill(&run.state),
            object: run.object,
            started: ago(run.started_at, now),
            took: took(run.started_at, run.finished_at),
            read: grouped(run.rows_read),
            inserted: grouped(run.inserted),
            updated: grouped(run.updated),
            deleted: grouped(run.deleted),
            api_calls: grouped(run.api_calls),
            error: run.error.unwrap_or_default(),
        }
    }
}

/// A mapping in a list.
pub(crate) struct MappingRow {
    pub(crate) id: Uuid,
    pub(crate) name: String,
    pub(crate) object: String,
    pub(crate) connection: String,
    pub(crate) state: Pill,
    pub(crate) reason: String,
    pub(crate) rows: String,
    /// Up to when it is proven that nothing is missing.
    pub(crate) verified: Option<Ago>,
}

impl MappingRow {
    fn of(mapping: Mapping, integration: &Integration, now: Timestamp) -> Self {
        Self {
            id: mapping.id,
            state: super::mappings::state(&mapping),
            reason: mapping.state_reason.unwrap_or_default(),
            rows: mapping.standing.progress.rows.map(grouped).unwrap_or_default(),
            verified: mapping.standing.verified_through.map(|at| ago(at, now)),
            connection: integration.name.clone(),
            object: mapping.object,
            name: mapping.name,
        }
    }
}

struct PersonRow {
    id: Uuid,
    source_id: String,
    name: String,
    email: String,
    company: String,
    title: String,
    phone: String,
    changed: Timestamp,
    deleted: bool,
}

impl From<Contact> for PersonRow {
    fn from(contact: Contact) -> Self {
        let (row, or_nothing) = (contact.row, Option::unwrap_or_default);
        Self {
            id: contact.id,
            source_id: row.source_id,
            name: row.name.unwrap_or_else(|| "without a name".to_owned()),
            email: or_nothing(row.email),
            company: or_nothing(row.company),
            title: or_nothing(row.title),
            phone: or_nothing(row.phone),
            changed: contact.last_synced_at,
            deleted: row.deleted.is_some(),
        }
    }
}

/// The page.
pub(crate) async fn overview(visit: Visit) -> Result<Response, Failed> {
    let (store, now) = (&visit.caller.tenant, visit.service.now());
    let open = NotificationFilter { state: Some(NotificationState::Open), ..NotificationFilter::default() };
    // One after the other: however many connections there are, a page leaves the database to others, too.
    let of_each = async {
        let mut each = Vec::new();
        for integration in store.integrations().await? {
            let runs = (store.runs(integration.id, SHOWN).await?, store.count_runs(integration.id).await?);
            let mappings = store.mappings(integration.id).await?;
            each.push((integration, runs, mappings));
        }
        Ok(each)
    };
    let (frame, calling, each, week, contacts, leads, people) = tokio::try_join!(
        visit.frame(Place::Overview, "Overview"),
        answer(store.notifications(&open, None, SHOWN)),
        answer(of_each),
        usage::strip(&visit),
        answer(store.count_contacts()),
        answer(store.count_leads()),
        answer(store.recent_contacts(SHOWN)),
    )?;
    let (mut connections, mut mappings, mut runs, mut runs_total) = (Vec::new(), Vec::new(), Vec::new(), 0);
    for (integration, (latest, total), made) in each {
        runs.extend(latest);
        runs_total += total;
        mappings.extend(made.into_iter().map(|mapping| MappingRow::of(mapping, &integration, now)));
        connections.push(Connected::of(integration, &visit));
    }
    runs.sort_by_key(|run| Reverse((run.started_at, run.id)));
    runs.truncate(SHOWN as usize);
    let page = Page {
        frame,
        calling: calling.items,
        week: if connections.is_empty() { Vec::new() } else { week },
        connections,
        contacts: grouped(contacts),
        leads: grouped(leads),
        mappings,
        runs_total,
        runs: runs.into_iter().map(|run| RunRow::of(run, now)).collect(),
        people: people.into_iter().map(PersonRow::from).collect(),
        now,
    };
    Ok(Html(page.render()?).into_response())
}
