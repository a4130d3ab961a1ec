//! The pages: the overview with its live part, and what its button does; signing in.

pub(crate) mod account;
pub(crate) mod connect;
pub(crate) mod sign_in;

use std::convert::Infallible;
use std::time::Duration;

use askama::Template;
use axum::Form;
use axum::extract::rejection::FormRejection;
use axum::extract::{FromRequestParts, State};
use axum::http::request::Parts;
use axum::http::{Method, StatusCode};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{Html, IntoResponse, Redirect, Response};
use futures_util::{Stream, StreamExt};
use jiff::Timestamp;
use tieline_store::{Contact, Role, Run, StoreError, Tenant};
use tokio_stream::wrappers::WatchStream;

use crate::caller::{Caller, SignedIn};
use crate::problem::Problem;
use crate::service::Service;
use crate::telemetry::measures::Counted;

/// Rows of each table.
const SHOWN: u32 = 20;

#[derive(Template)]
#[template(path = "page.html")]
struct Page {
    overview: Overview,
    signed_in: Option<SignedInView>,
}

struct SignedInView {
    /// There is something to be linked to the account.
    links: bool,
    name: String,
    csrf: String,
}

#[derive(Template)]
#[template(path = "overview.html")]
struct Overview {
    connection: Option<ConnectionView>,
    contacts: i64,
    runs_total: i64,
    runs: Vec<RunView>,
    people: Vec<PersonView>,
}

struct ConnectionView {
    name: String,
    /// `active`, `error`, …: also the class of the badge.
    status: String,
    instance_url: String,
    organization_id: String,
    last_sync: String,
    api_usage: String,
    /// Why the last run failed, if it did.
    error: Option<String>,
}

struct RunView {
    id: String,
    state: String,
    started: String,
    took: String,
    rows_read: i64,
    inserted: i64,
    updated: i64,
    deleted: i64,
    api_calls: i64,
    error: String,
}

struct PersonView {
    id: String,
    name: String,
    email: String,
    company: String,
    title: String,
    phone: String,
    changed: String,
    deleted: bool,
}

impl Overview {
    async fn read(service: &Service, store: &Tenant) -> Result<Self, StoreError> {
        let integration = store.integrations().await?.into_iter().next();
        let (runs, runs_total) = match &integration {
            Some(integration) => (store.runs(integration.id, SHOWN).await?, store.count_runs(integration.id).await?),
            None => (Vec::new(), 0),
        };
        let connection = integration.map(|integration| {
            let text = |key: &str| integration.config[key].as_str().unwrap_or("").to_owned();
            let usage = service.open_connection(&integration).and_then(|c| c.api_usage());
            ConnectionView {
                instance_url: text("instance_url"),
                organization_id: text("organization_id"),
                last_sync: integration.last_sync_at.map_or_else(|| "never".to_owned(), moment),
                api_usage: usage
                    .map_or_else(|| "unknown".to_owned(), |u| format!("{} of {}", grouped(u.used), grouped(u.allowed))),
                error: runs.first().and_then(|run| run.error.clone()),
                status: integration.status.name().to_owned(),
                name: integration.name,
            }
        });
        Ok(Self {
            connection,
            contacts: store.count_contacts().await?,
            runs_total,
            runs: runs.into_iter().map(RunView::from).collect(),
            people: store.recent_contacts(SHOWN).await?.into_iter().map(PersonView::from).collect(),
        })
    }
}

impl From<Run> for RunView {
    fn from(run: Run) -> Self {
        let took = run
            .finished_at
            .map_or_else(|| "…".to_owned(), |end| format!("{:.1} s", end.duration_since(run.started_at).as_secs_f64()));
        Self {
            started: moment(run.started_at),
            took,
            id: run.id.to_string(),
            state: run.state,
            rows_read: run.rows_read,
            inserted: run.inserted,
            updated: run.updated,
            deleted: run.deleted,
            api_calls: run.api_calls,
            error: run.error.unwrap_or_default(),
        }
    }
}

impl From<Contact> for PersonView {
    fn from(contact: Contact) -> Self {
        let changed = moment(contact.last_synced_at);
        let row = contact.row;
        let or_nothing = Option::unwrap_or_default;
        Self {
            id: row.source_id,
            name: or_nothing(row.name),
            email: or_nothing(row.email),
            company: or_nothing(row.company),
            title: or_nothing(row.title),
            phone: or_nothing(row.phone),
            changed,
            deleted: row.deleted.is_some(),
        }
    }
}

/// `2026-11-23 09:15:02 UTC`
fn moment(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M:%S UTC").to_string()
}

fn grouped(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// Whoever asks for a page. A form's token stands in the form, not in a header; who is not signed in is sent to where one
/// signs in.
pub(crate) struct PageCaller(pub(crate) Caller);

impl FromRequestParts<Service> for PageCaller {
    type Rejection = Redirect;

    async fn from_request_parts(parts: &mut Parts, service: &Service) -> Result<Self, Redirect> {
        // Pages may be come to from anywhere, the org's login page for one.
        let changes = !matches!(parts.method, Method::GET | Method::HEAD);
        if changes && crate::caller::same_origin(&parts.headers, service).is_err() {
            return Err(Redirect::to("/"));
        }
        match crate::caller::of_a_form(parts, service).await {
            Ok(caller) => Ok(Self(caller)),
            Err(_) if service.store().has_users().await.is_ok_and(|has| !has) => Err(Redirect::to("/setup")),
            // Signing in would lead here again.
            Err(problem) if problem.code() == "no_business" => Err(Redirect::to("/account")),
            Err(_) => Err(Redirect::to("/sign-in")),
        }
    }
}

/// An error as a page: a sentence for the reader, the chain in the log.
pub(crate) struct Failed(String);

impl IntoResponse for Failed {
    fn into_response(self) -> Response {
        tracing::error!(error = %self.0, "a page could not be made");
        (StatusCode::INTERNAL_SERVER_ERROR, "the database could not be read; the log says why\n").into_response()
    }
}

impl From<StoreError> for Failed {
    fn from(error: StoreError) -> Self {
        Failed(error.to_string())
    }
}

impl From<askama::Error> for Failed {
    fn from(error: askama::Error) -> Self {
        Failed(error.to_string())
    }
}

pub(crate) async fn page(
    page: Result<PageCaller, Redirect>,
    State(service): State<Service>,
) -> Result<Response, Failed> {
    let caller = match page {
        Ok(PageCaller(caller)) => caller,
        Err(redirect) => return Ok(redirect.into_response()),
    };
    let page = Page {
        overview: Overview::read(&service, &caller.tenant).await?,
        signed_in: caller.signed_in().ok().map(|s| SignedInView {
            links: service.settings().open_id.is_some(),
            name: s.user.name.clone(),
            csrf: s.csrf_token.clone(),
        }),
    };
    Ok(Html(page.render()?).into_response())
}

/// The live part alone, which the script puts in place of the old one.
pub(crate) async fn overview(caller: Caller, State(service): State<Service>) -> Result<Response, Failed> {
    let overview = Overview::read(&service, &caller.tenant).await?;
    Ok(Html(overview.render()?).into_response())
}

/// What the forms of a page send along.
#[derive(Default, serde::Deserialize)]
pub(crate) struct Sent {
    #[serde(default)]
    csrf: String,
}

/// Asks for runs and goes back to the page; without script this is all there is to it. A long run goes on after the
/// answer.
pub(crate) async fn sync_now(
    page: Result<PageCaller, Redirect>,
    State(service): State<Service>,
    sent: Result<Form<Sent>, FormRejection>,
) -> Result<Response, Problem> {
    let sent = sent.map_or_else(|_| Sent::default(), |Form(sent)| sent);
    let caller = match page {
        Ok(PageCaller(caller)) => caller,
        Err(redirect) => return Ok(redirect.into_response()),
    };
    caller.at_least(Role::Member)?;
    if let Ok(signed_in) = caller.signed_in() {
        check_csrf(signed_in, &sent.csrf)?;
    }
    service.sync_now(&caller.tenant, Duration::from_secs(5)).await;
    Ok(Redirect::to("/").into_response())
}

pub(crate) fn check_csrf(signed_in: &SignedIn, sent: &str) -> Result<(), Problem> {
    if crate::secrets::are_equal(sent, &signed_in.csrf_token) {
        return Ok(());
    }
    Err(Problem::forbidden("csrf", "this form is not of this session", "open the page again, and send it once more"))
}

/// An event whenever there may be something new to show, at most four a second.
pub(crate) async fn events(
    _caller: Caller,
    State(service): State<Service>,
) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let open = Counted::event_stream();
    let changes = WatchStream::new(service.changes()).then(|n| async move {
        tokio::time::sleep(Duration::from_millis(250)).await;
        Ok(Event::default().event("changed").data(n.to_string()))
    });
    let mut stopping = service.stopping().subscribe();
    let until_stopped = changes.take_until(async move {
        let _ = stopping.wait_for(|stopping| *stopping).await;
    });
    // Counted as long as it is open.
    let until_stopped = until_stopped.inspect(move |_| {
        let _ = &open;
    });
    Sse::new(until_stopped).keep_alive(KeepAlive::default())
}
