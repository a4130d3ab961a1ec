//! A mapping: what it is, how it stands, what fails, and what waits for a decision.

use askama::Template;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{Html, IntoResponse, Response};
use jiff::Timestamp;
use serde::Deserialize;
use tieline_store::mappings::{ErrorCursor, KeptError, Mapping, MappingState};
use tieline_store::sync_work::Pace;
use tieline_store::{Integration, Uuid};
use tieline_sync::engine::kept_plan;
use tieline_sync::mapping::{ColumnDefinition, Definition, Method, Source};

use super::{list, state, steps, text};
use crate::extract::{Path, Query};
use crate::lists;
use crate::mappings::detail::{self, MappingDetail, StageName, UnderWayView};
use crate::mappings::no_mapping;
use crate::pages::Failed;
use crate::pages::frame::{Frame, Place};
use crate::pages::overview::RunRow;
use crate::pages::visit::Visit;
use crate::pages::words::{Ago, Pill, Span, ago, grouped};
use crate::problem::Problem;

/// Runs, and values that did not fit, of a page.
const RUNS: u32 = 10;
const ERRORS: u32 = 20;

/// A column, and what it is made of.
struct Column {
    name: String,
    kind: &'static str,
    from: String,
    /// What is done to a value.
    steps: String,
    note: &'static str,
}

#[derive(Template)]
#[template(path = "mapping.html")]
struct Page {
    frame: Frame,
    id: Uuid,
    is_built_in: bool,
    connection: Option<Integration>,
    state: Pill,
    detail: MappingDetail,
    rows: String,
    lag: Option<Span>,
    cursor: Option<String>,
    method: &'static str,
    pace: String,
    columns: Vec<Column>,
    runs: Vec<RunRow>,
    errors: Vec<KeptError>,
    more_errors: Option<String>,
    definition: String,
    problem: Option<Problem>,
    now: Timestamp,
}

impl Page {
    fn is_paused(&self) -> bool {
        self.detail.mapping.state == MappingState::Paused
    }

    /// What waits for somebody who says whether it is gone.
    fn held(&self) -> Option<(String, String, Ago)> {
        let held = self.detail.mapping.held.as_ref().filter(|_| self.is_paused())?;
        Some((grouped(held.records), grouped(held.of), ago(held.at, self.now)))
    }

    fn stage(&self, stage: &UnderWayView) -> &'static str {
        match stage.stage {
            StageName::BulkJob => "A Bulk job is read",
            StageName::Scan => "Changes are read",
            StageName::Compare => "All ids are compared with the org's",
            StageName::Fill => "New columns are filled",
            StageName::Refresh => "Formulas are read again",
            StageName::Reload => "Everything is read anew",
        }
    }

    fn seen(&self, stage: &UnderWayView) -> Option<String> {
        stage.seen.map(grouped)
    }

    fn ago(&self, at: &Option<Timestamp>) -> Option<Ago> {
        at.map(|at| ago(at, self.now))
    }

    /// When, unless it is due.
    fn next(&self) -> Option<Ago> {
        self.detail.next_run_at.filter(|at| *at > self.now).map(|at| ago(at, self.now))
    }
}

/// Which values that did not fit.
#[derive(Deserialize)]
pub(crate) struct Which {
    errors: Option<String>,
}

/// The page.
pub(crate) async fn mapping(
    visit: Visit,
    Path(id): Path<Uuid>,
    Query(which): Query<Which>,
) -> Result<Response, Failed> {
    let cursor: Option<ErrorCursor> = lists::Place { cursor: which.errors, limit: None }.cursor()?;
    shown(&visit, id, cursor, None).await
}

pub(super) async fn shown(
    visit: &Visit,
    id: Uuid,
    after: Option<ErrorCursor>,
    problem: Option<Problem>,
) -> Result<Response, Failed> {
    let (tenant, now) = (&visit.caller.tenant, visit.service.now());
    let mapping = tenant.mapping(id).await?.ok_or_else(no_mapping)?;
    let connection = match mapping.integration_id {
        Some(id) => tenant.integration(id).await?,
        None => None,
    };
    let Json(detail) = detail::mapping(State(visit.service.clone()), visit.caller.clone(), Path(id)).await?;
    let errors = tenant.row_errors_from(id, after, ERRORS).await?;
    let definition = Definition::of(&mapping).ok();
    let page = Page {
        frame: visit.frame(Place::Mappings, mapping.name.clone()).await?,
        id,
        is_built_in: mapping.is_contacts(),
        connection,
        state: state(&mapping),
        cursor: mapping.standing.progress.cursor.clone(),
        rows: grouped(detail.rows),
        lag: list::lag(&mapping, now),
        method: match definition.as_ref().map(|definition| definition.method) {
            Some(Method::Rest) => "REST",
            Some(Method::Bulk) => "Bulk API 2.0",
            _ => "REST or Bulk, by how much there is to read",
        },
        pace: pace(detail.pace.as_deref()),
        columns: columns(&mapping, definition.as_ref()),
        runs: tenant.mapping_runs(&mapping, RUNS).await?.into_iter().map(|run| RunRow::of(run, now)).collect(),
        more_errors: errors.next.map(|cursor| cursor.to_string()),
        errors: errors.items,
        definition: text::write(&mapping.definition),
        detail,
        problem,
        now,
    };
    let status = page.problem.as_ref().map_or(StatusCode::OK, Problem::status);
    Ok((status, Html(page.render()?)).into_response())
}

fn pace(pace: Option<&str>) -> String {
    match pace.map(str::parse::<Pace>) {
        Some(Ok(Pace::Every(every))) => {
            format!("every {}", Span(jiff::SignedDuration::try_from(every).unwrap_or_default()))
        }
        Some(Ok(Pace::Continuous)) => "continuously".to_owned(),
        Some(Ok(Pace::OnRequest)) => "when somebody asks".to_owned(),
        Some(_) => format!("{} (UTC)", pace.unwrap_or_default()),
        None => "as often as the service is set to".to_owned(),
    }
}

/// The table's columns; what they are made of is known after the first run.
fn columns(mapping: &Mapping, definition: Option<&Definition>) -> Vec<Column> {
    let (plan, progress) = (kept_plan(mapping), &mapping.standing.progress);
    let from = |name: &str| -> (String, String) {
        let place = plan.as_ref().and_then(|plan| plan.columns.iter().position(|column| column.name == name));
        let sources: Vec<&str> = plan.as_ref().zip(place).map(|(plan, place)| plan.sources(place)).unwrap_or_default();
        let written = definition.map(|definition| &definition.columns).and_then(|columns| {
            let given = columns.iter().find(|column| column.column.as_deref() == Some(name));
            // One without a name of its own is named after its one field.
            let is_of = |path: &str| matches!(sources.as_slice(), [only] if only.eq_ignore_ascii_case(path));
            let is_named_so = |column: &&ColumnDefinition| match &column.source {
                Source::Field(path) => column.column.is_none() && is_of(path),
                _ => false,
            };
            given.or_else(|| columns.iter().find(is_named_so))
        });
        let from = match written.map(|column| &column.source) {
            Some(Source::Template(text)) => text.clone(),
            Some(Source::Constant(value)) => format!("always {value}"),
            Some(Source::Field(path)) => path.clone(),
            None => sources.join(", "),
        };
        let steps = written.map(|column| column.transforms.iter().map(steps::write).collect::<Vec<_>>().join("; "));
        (from, steps.unwrap_or_default())
    };
    let column = |column: &tieline_store::object_tables::Column, note| {
        let (from, steps) = from(&column.name);
        Column { name: column.name.clone(), kind: column.kind.name(), from, steps, note }
    };
    let is_unfilled = |name: &String| progress.unfilled.contains(name);
    let there = mapping.table.columns().iter();
    let mut all: Vec<Column> =
        there.map(|of| column(of, if is_unfilled(&of.name) { "is yet to be filled" } else { "" })).collect();
    all.extend(progress.lost.iter().map(|of| column(of, "the org shows the field no more: it keeps its values")));
    all.extend(progress.left_out.iter().map(|of| column(of, "left out: it keeps its values")));
    all
}
