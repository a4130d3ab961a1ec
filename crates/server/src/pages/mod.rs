//! The pages: not part of the API, and free to change.
//!
//! Each works without script. A form is sent and answered by a redirect, or by the page again with what was wrong; a little
//! script of ours only brings in what has changed since (`assets/live.js`). What pages show and do they read and do by what
//! the API's routes use, so that neither knows more or may more than the other.
//!
//! Reading order: [`visit`] (who looks, and what they send), [`frame`] (what surrounds every page), [`words`] (how things are
//! said), then any page, [`overview`] first; [`setup`] is the longest way through several.

pub(crate) mod account;
pub(crate) mod alerting;
mod charts;
pub(crate) mod choices;
mod chosen;
pub(crate) mod connect;
pub(crate) mod connections;
pub(crate) mod contacts;
mod denied;
pub(crate) mod duplicate_rules;
pub(crate) mod duplicates;
mod frame;
pub(crate) mod guide;
pub(crate) mod help;
pub(crate) mod keys;
pub(crate) mod mappings;
pub(crate) mod overview;
pub(crate) mod people;
pub(crate) mod runs;
pub(crate) mod settings;
pub(crate) mod setup;
pub(crate) mod sign_in;
pub(crate) mod team;
pub(crate) mod usage;
mod visit;
pub(crate) mod watch;
pub(crate) mod webhooks;
mod words;

use std::convert::Infallible;
use std::time::Duration;

use askama::Template;
use axum::extract::{FromRequestParts, State};
use axum::http::request::Parts;
use axum::http::{Method, StatusCode};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{Html, IntoResponse, Redirect, Response};
use futures_util::{Stream, StreamExt};
use tieline_store::{Role, StoreError};
use tokio_stream::wrappers::WatchStream;

use crate::caller::{Caller, SignedIn};
use crate::problem::Problem;
use crate::service::Service;
use crate::telemetry::measures::Counted;
use visit::{Nothing, Sent, done};

/// How long somebody who asks for a sync waits for its end before the page comes back: a short one is over by then.
const SYNC_PATIENCE: Duration = Duration::from_millis(1_500);

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

/// An error as a page: what happened and what to do; of what is ours to put right, the chain is in the log.
pub(crate) struct Failed(Problem);

#[derive(Template)]
#[template(path = "failed.html")]
struct FailedPage<'a> {
    problem: &'a Problem,
}

impl FailedPage<'_> {
    fn title(&self) -> &'static str {
        match self.problem.status() {
            StatusCode::NOT_FOUND => "There is nothing here",
            StatusCode::FORBIDDEN => "This is not for you",
            StatusCode::INTERNAL_SERVER_ERROR => "This went wrong here",
            StatusCode::SERVICE_UNAVAILABLE => "Not right now",
            _ => "This could not be done",
        }
    }
}

impl IntoResponse for Failed {
    fn into_response(self) -> Response {
        let Self(problem) = self;
        match (FailedPage { problem: &problem }).render() {
            Ok(page) => (problem.status(), Html(page)).into_response(),
            Err(_) => problem.into_response(),
        }
    }
}

/// What is asked for each row of a page is asked for so many at the same time: a page leaves the database to others, too.
const AT_ONCE: usize = 3;

/// What the database answers, to be asked for beside other things of the page.
async fn answer<T>(asked: impl Future<Output = Result<T, StoreError>>) -> Result<T, Failed> {
    Ok(asked.await?)
}

impl From<Problem> for Failed {
    fn from(problem: Problem) -> Self {
        Failed(problem)
    }
}

impl From<StoreError> for Failed {
    fn from(error: StoreError) -> Self {
        Failed(error.into())
    }
}

impl From<askama::Error> for Failed {
    fn from(error: askama::Error) -> Self {
        Failed(Problem::internal("a page could not be made", &error))
    }
}

/// Asks for runs and goes back to the page; without script this is all there is to it. A long run goes on after the
/// answer.
pub(crate) async fn sync_now(sent: Sent<Nothing>) -> Result<Response, Failed> {
    let Sent { visit, .. } = sent;
    visit.caller.at_least(Role::Member)?;
    visit.service.sync_now(&visit.caller.tenant, SYNC_PATIENCE).await;
    Ok(done("/", "synced"))
}

pub(crate) fn check_csrf(signed_in: &SignedIn, sent: &str) -> Result<(), Problem> {
    // Behind the session's token, forms of a business's pages name the business.
    let token = sent.split_once('.').map_or(sent, |(token, _)| token);
    if crate::secrets::are_equal(token, &signed_in.csrf_token) {
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
