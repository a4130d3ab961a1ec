//! The history of sync runs, and one run with what it did.

use askama::Template;
use axum::extract::State;
use axum::response::{Html, IntoResponse, Response};
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use tieline_store::integration_logs::IntegrationLog;
use tieline_store::mappings::{KeptError, Mapping};
use tieline_store::{Cursor, Integration, Run, RunFilter, RunState, Uuid};

use super::Failed;
use super::frame::{Frame, Place};
use super::overview::RunRow;
use super::visit::{Nothing, Sent, Visit, done};
use super::words::{Pill, grouped, pill, took};
use crate::extract::{Body, Path, Query};
use crate::lists;
use crate::mappings::runs::{self, ToRun};
use crate::problem::Problem;

/// Runs of a page.
const SHOWN: u32 = 50;
/// Values that did not fit, and entries of the log, of a run's page.
const ERRORS: u32 = 50;
const EVENTS: u32 = 200;

/// Which runs.
#[derive(Deserialize)]
pub(crate) struct Which {
    #[serde(default)]
    mapping: String,
    #[serde(default)]
    state: String,
    cursor: Option<String>,
}

/// A run in the history.
struct Line {
    row: RunRow,
    mapping: Option<Uuid>,
    name: String,
}

#[derive(Template)]
#[template(path = "runs.html")]
struct Listed {
    frame: Frame,
    lines: Vec<Line>,
    /// To choose from: each with its connection, if there are several.
    mappings: Vec<(String, String)>,
    which: Which,
    next: Option<String>,
}

impl Listed {
    fn states(&self) -> [(&'static str, &'static str); 4] {
        RunState::ALL.map(|state| match state {
            RunState::Running => ("running", "running"),
            RunState::Success => ("success", "success"),
            RunState::Failed => ("failed", "failed"),
            RunState::PausedQuota => ("paused_quota", "paused quota"),
        })
    }
}

/// That of the contacts has its integration's id; runs from before it was a mapping name none.
fn mapping_of(run: &Run) -> Uuid {
    run.mapping_id.unwrap_or(run.integration_id)
}

fn name_of(id: Uuid, all: &[Mapping]) -> Option<&Mapping> {
    all.iter().find(|mapping| mapping.id == id)
}

/// The history.
pub(crate) async fn runs(visit: Visit, Query(which): Query<Which>) -> Result<Response, Failed> {
    let (tenant, now) = (&visit.caller.tenant, visit.service.now());
    let filter = RunFilter {
        mapping: Uuid::parse_str(&which.mapping).ok(),
        state: RunState::from_name(&which.state),
        integration: None,
    };
    let cursor: Option<Cursor> = lists::Place { cursor: which.cursor.clone(), limit: None }.cursor()?;
    let found = tenant.run_history(&filter, cursor, SHOWN).await?;
    let (all, integrations) = (tenant.every_mapping().await?, tenant.integrations().await?);
    let choice = |mapping: &Mapping| {
        let of = integrations.iter().find(|of| Some(of.id) == mapping.integration_id);
        let behind = of.filter(|_| integrations.len() > 1).map(|of| format!(" ({})", of.name)).unwrap_or_default();
        (mapping.id.to_string(), format!("{}{behind}", mapping.name))
    };
    let line = |run: Run| {
        let mapping = name_of(mapping_of(&run), &all);
        Line {
            mapping: mapping.map(|mapping| mapping.id),
            name: mapping.map(|mapping| mapping.name.clone()).unwrap_or_default(),
            row: RunRow::of(run, now),
        }
    };
    let page = Listed {
        frame: visit.frame(Place::Runs, "Runs").await?,
        lines: found.items.into_iter().map(line).collect(),
        mappings: all.iter().map(choice).collect(),
        which,
        next: found.next.map(|cursor| cursor.to_string()),
    };
    Ok(Html(page.render()?).into_response())
}

/// Something that happened to a run, or to its connection while it was under way.
struct Moment {
    at: Timestamp,
    words: String,
    tone: &'static str,
    message: String,
}

#[derive(Template)]
#[template(path = "run.html")]
struct Page {
    frame: Frame,
    run: Run,
    state: Pill,
    took: String,
    mapping: Option<Mapping>,
    connection: Option<Integration>,
    hint: String,
    timeline: Vec<Moment>,
    errors: Vec<KeptError>,
    problem: Option<Problem>,
    now: Timestamp,
}

impl Page {
    /// What it counted, in words.
    fn counters(&self) -> [(&'static str, String); 8] {
        let Run { rows_read, inserted, updated, deleted, drift_found, failed_cells, api_calls, bytes, .. } = &self.run;
        [
            ("Records read", grouped(*rows_read)),
            ("New", grouped(*inserted)),
            ("Changed", grouped(*updated)),
            ("Deleted", grouped(*deleted)),
            ("Drift found", grouped(*drift_found)),
            ("Failed values", grouped(*failed_cells)),
            ("API calls", grouped(*api_calls)),
            ("Bytes", grouped(*bytes)),
        ]
    }
}

/// One run.
pub(crate) async fn run(visit: Visit, Path(id): Path<Uuid>) -> Result<Response, Failed> {
    shown(&visit, id, None).await
}

async fn shown(visit: &Visit, id: Uuid, problem: Option<Problem>) -> Result<Response, Failed> {
    let (tenant, now) = (&visit.caller.tenant, visit.service.now());
    let run = tenant.run(id).await?.ok_or_else(|| Problem::not_found("run"))?;
    // Its failure is noted behind its end.
    let until = run.finished_at.map_or(now, |at| at.saturating_add(SignedDuration::from_mins(1)).unwrap_or(at));
    let logged = tenant.integration_logs_between(run.integration_id, (run.started_at, until), EVENTS).await?;
    let logged: Vec<IntegrationLog> = logged.into_iter().filter(|log| belongs(log, &run)).collect();
    let hint = logged.iter().rev().find_map(|log| log.detail["hint"].as_str()).unwrap_or_default().to_owned();
    let mapping = tenant.mapping(mapping_of(&run)).await?;
    let errors = match &mapping {
        Some(mapping) => tenant.row_errors_of_run(mapping.id, run.id, ERRORS).await?,
        None => Vec::new(),
    };
    let page = Page {
        frame: visit.frame(Place::Runs, format!("Run of {}", run.object)).await?,
        state: pill(&run.state),
        took: took(run.started_at, run.finished_at),
        connection: tenant.integration(run.integration_id).await?,
        timeline: timeline(&run, logged),
        mapping,
        hint,
        errors,
        run,
        problem,
        now,
    };
    let status = page.problem.as_ref().map_or(axum::http::StatusCode::OK, Problem::status);
    Ok((status, Html(page.render()?)).into_response())
}

/// What names this run; and of what names none, what happened while it was under way.
fn belongs(log: &IntegrationLog, run: &Run) -> bool {
    match log.detail["run"].as_str() {
        Some(named) => named == run.id.to_string(),
        None => run.finished_at.is_none_or(|end| log.at <= end) && !log.event.starts_with("import"),
    }
}

fn timeline(run: &Run, logged: Vec<IntegrationLog>) -> Vec<Moment> {
    let own = |at, words: &str, tone, message: &str| Moment {
        at,
        words: words.to_owned(),
        tone,
        message: message.to_owned(),
    };
    let mut all = vec![own(run.started_at, "begun", "busy", "")];
    all.extend(logged.into_iter().map(|log| Moment {
        at: log.at,
        words: log.event.replace('_', " "),
        tone: match log.level.as_str() {
            "error" => "bad",
            "warning" => "busy",
            _ => "good",
        },
        message: log.message,
    }));
    if let Some(end) = run.finished_at {
        let state = pill(&run.state);
        all.push(own(end, &format!("ended: {}", state.text), state.tone, ""));
    }
    if let Some(again) = run.retry_at {
        all.push(own(again, "to be tried again", "idle", "The org has no API calls left for it until then."));
    }
    all.sort_by_key(|moment| moment.at);
    all
}

/// Asks for another run of the same mapping.
pub(crate) async fn again(Path(id): Path<Uuid>, sent: Sent<Nothing>) -> Result<Response, Failed> {
    let Sent { visit, .. } = sent;
    let run = visit.caller.tenant.run(id).await?.ok_or_else(|| Problem::not_found("run"))?;
    let mapping = mapping_of(&run);
    let (service, caller) = (State(visit.service.clone()), visit.caller.clone());
    match runs::request_run(service, caller, Path(mapping), Body(ToRun::default())).await {
        Ok(_) => Ok(done(&format!("/mappings/{mapping}"), "asked")),
        Err(problem) => shown(&visit, id, Some(problem)).await,
    }
}
