//! The connections of a business: all of them, and each with what it is and what can be done with it.

use std::time::Duration;

use askama::Template;
use axum::extract::State;
use axum::response::{Html, IntoResponse, Response};
use jiff::Timestamp;
use serde::Deserialize;
use tieline_store::integration_logs::{IntegrationLog, LogFilter};
use tieline_store::{Integration, Role, Status, Uuid};

use super::Failed;
use super::frame::{Frame, Place};
use super::overview::RunRow;
use super::visit::{Nothing, Sent, Visit, done};
use super::words::{Ago, Pill, ago, grouped, pill};
use super::{help, setup};
use crate::extract::{Body, Path};
use crate::integrations::{self, IntegrationChange};
use crate::problem::Problem;

/// Runs and events that the page of a connection shows.
const SHOWN: u32 = 10;

/// A connection, as lists show it.
pub(crate) struct Connected {
    pub(crate) id: Uuid,
    pub(crate) name: String,
    pub(crate) status: Pill,
    pub(crate) reason: String,
    /// Where the reason is explained.
    pub(crate) help: Option<String>,
    /// It is being set up, and the reader may go on with that.
    pub(crate) goes_on: bool,
    pub(crate) instance_url: String,
    pub(crate) organization_id: String,
    pub(crate) last_sync: Option<Ago>,
    /// API calls of the last 24 hours, as the org told them to this node last.
    pub(crate) usage: Option<Usage>,
}

/// The org's budget of API calls.
pub(crate) struct Usage {
    pub(crate) used: u64,
    pub(crate) allowed: u64,
    pub(crate) words: String,
}

impl Connected {
    pub(crate) fn of(integration: Integration, visit: &Visit) -> Self {
        let text = |key: &str| integration.config[key].as_str().unwrap_or("").to_owned();
        let usage = visit.service.open_connection(&integration).and_then(|connection| connection.api_usage());
        Self {
            id: integration.id,
            status: pill(integration.status.name()),
            help: integration.status_reason.as_deref().and_then(help::place_of),
            goes_on: setup::is_unfinished(&integration) && setup::may(visit),
            reason: integration.status_reason.clone().unwrap_or_default(),
            instance_url: text("instance_url"),
            organization_id: integration.organization_id.clone().unwrap_or_else(|| text("organization_id")),
            last_sync: integration.last_sync_at.map(|at| ago(at, visit.service.now())),
            usage: usage.map(|usage| Usage {
                used: usage.used,
                allowed: usage.allowed,
                words: format!("{} of {}", grouped(usage.used), grouped(usage.allowed)),
            }),
            name: integration.name,
        }
    }

    pub(crate) fn needs_login(&self) -> bool {
        self.status.name != "active"
    }
}

#[derive(Template)]
#[template(path = "connections.html")]
struct Listed {
    frame: Frame,
    connections: Vec<Connected>,
}

/// All of them.
pub(crate) async fn connections(visit: Visit) -> Result<Response, Failed> {
    let all = visit.caller.tenant.integrations().await?;
    let page = Listed {
        frame: visit.frame(Place::Connections, "Connections").await?,
        connections: all.into_iter().map(|integration| Connected::of(integration, &visit)).collect(),
    };
    Ok(Html(page.render()?).into_response())
}

#[derive(Template)]
#[template(path = "connection.html")]
struct Page {
    frame: Frame,
    of: Connected,
    environment: String,
    own_app: bool,
    client_id: String,
    scopes: Vec<String>,
    proxy: String,
    api_reserve: String,
    certificate_until: Option<String>,
    token: Option<TokenInUse>,
    created: Ago,
    is_shut: bool,
    runs: Vec<RunRow>,
    events: Vec<IntegrationLog>,
    /// Why the last attempt to change something failed.
    problem: Option<Problem>,
    now: Timestamp,
}

/// The access token that calls are made with, by this node or another.
struct TokenInUse {
    issued: Ago,
    /// When another one takes its place; without, it is used until the org refuses it.
    replaced: Option<Ago>,
}

impl TokenInUse {
    /// What is known of it here, without asking the org: `None` also where that cannot be found out soon.
    async fn of(visit: &Visit, integration: &Integration) -> Option<Self> {
        let known = async {
            let connection = visit.service.connection(&visit.caller.tenant, integration).await.ok()?;
            connection.credentials().known_token().await.ok()?
        };
        // A token store that is away does not keep the page.
        let token = tokio::time::timeout(Duration::from_secs(1), known).await.ok()??;
        let now = visit.service.now();
        Some(Self { issued: ago(token.issued_at(), now), replaced: token.expires_at().map(|at| ago(at, now)) })
    }
}

/// One of them.
pub(crate) async fn connection(visit: Visit, Path(id): Path<Uuid>) -> Result<Response, Failed> {
    shown(&visit, id, None).await
}

async fn shown(visit: &Visit, id: Uuid, problem: Option<Problem>) -> Result<Response, Failed> {
    let (store, now) = (&visit.caller.tenant, visit.service.now());
    let found = store.integration(id).await?.ok_or_else(|| Problem::not_found("connection"))?;
    let text = |key: &str| found.config[key].as_str().unwrap_or("").to_owned();
    let filter = LogFilter { integration: Some(id), ..LogFilter::default() };
    let status = problem.as_ref().map_or(axum::http::StatusCode::OK, Problem::status);
    let page = Page {
        frame: visit.frame(Place::Connections, found.name.clone()).await?,
        environment: text("environment"),
        own_app: found.config["own_app"].as_bool().unwrap_or(false),
        client_id: text("client_id"),
        scopes: text("scope").split_whitespace().map(str::to_owned).collect(),
        proxy: text("proxy"),
        api_reserve: text("api_reserve"),
        certificate_until: found.config["certificate"]["not_after"].as_str().map(str::to_owned),
        token: TokenInUse::of(visit, &found).await,
        created: ago(found.created_at, now),
        is_shut: found.status == Status::Inactive,
        runs: store.runs(id, SHOWN).await?.into_iter().map(|run| RunRow::of(run, now)).collect(),
        events: store.integration_logs(&filter, None, SHOWN).await?.items,
        of: Connected::of(found, visit),
        problem,
        now,
    };
    Ok((status, Html(page.render()?)).into_response())
}

/// Another name for it.
#[derive(Deserialize)]
pub(crate) struct Name {
    name: String,
}

/// Renames it.
pub(crate) async fn rename(Path(id): Path<Uuid>, sent: Sent<Name>) -> Result<Response, Failed> {
    let Sent { visit, form } = sent;
    let change = IntegrationChange::name(form.name);
    let changed =
        integrations::change_integration(State(visit.service.clone()), visit.caller.clone(), Path(id), Body(change));
    match changed.await {
        Ok(_) => Ok(done(&format!("/connections/{id}"), "renamed")),
        Err(problem) => shown(&visit, id, Some(problem)).await,
    }
}

/// Asks the org who is logged in.
pub(crate) async fn test(Path(id): Path<Uuid>, sent: Sent<Nothing>) -> Result<Response, Failed> {
    let Sent { visit, .. } = sent;
    visit.caller.at_least(Role::Member)?;
    let tenant = &visit.caller.tenant;
    let found = tenant.integration(id).await?.ok_or_else(|| Problem::not_found("connection"))?;
    let asked = async {
        let connection = visit.service.connection(tenant, &found).await?;
        connection.refresh_api_usage().await.map_err(tieline_sync::SyncError::from)
    };
    match asked.await {
        Ok(_) => Ok(done(&format!("/connections/{id}"), "tested")),
        Err(error) => {
            let problem = Problem::conflict("org_unreachable", error.to_string(), error.hint());
            shown(&visit, id, Some(problem)).await
        }
    }
}

/// Ends its tokens at the org and shuts it.
pub(crate) async fn disconnect(Path(id): Path<Uuid>, sent: Sent<Nothing>) -> Result<Response, Failed> {
    let Sent { visit, .. } = sent;
    match crate::connect::disconnect(State(visit.service.clone()), visit.caller.clone(), Path(id)).await {
        Ok(_) => Ok(done(&format!("/connections/{id}"), "disconnected")),
        Err(problem) => shown(&visit, id, Some(problem)).await,
    }
}

/// What somebody types to say that they mean it.
#[derive(Deserialize)]
pub(crate) struct Confirmed {
    #[serde(default)]
    name: String,
}

/// Deletes it, if its name was typed.
pub(crate) async fn delete(Path(id): Path<Uuid>, sent: Sent<Confirmed>) -> Result<Response, Failed> {
    let Sent { visit, form } = sent;
    let found = visit.caller.tenant.integration(id).await?.ok_or_else(|| Problem::not_found("connection"))?;
    if form.name.trim() != found.name {
        let hint = "type the connection's name as it stands there";
        let problem = Problem::invalid(format!("nothing was deleted: `{}` is not its name", form.name), hint);
        return shown(&visit, id, Some(problem)).await;
    }
    integrations::delete_integration(State(visit.service.clone()), visit.caller.clone(), Path(id)).await?;
    Ok(done("/connections", "deleted"))
}
