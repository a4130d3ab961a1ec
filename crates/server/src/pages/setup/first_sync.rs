//! The last step: the first sync, as it happens.

use std::collections::BTreeMap;

use askama::Template;
use axum::extract::State;
use axum::response::{Html, IntoResponse, Redirect, Response};
use tieline_store::mappings::{Mapping, MappingState, WalkKind};
use tieline_store::{StoreError, Uuid};

use super::{Instead, Scene, Step, StepLine};
use crate::extract::{Body, Path};
use crate::mappings::runs::{ToRun, request_run};
use crate::pages::frame::Frame;
use crate::pages::help;
use crate::pages::visit::{Nothing, Sent, Visit, done};
use crate::pages::words::{Ago, Pill, ago, grouped, pill};

/// What is brought in by one mapping.
struct Line {
    id: Uuid,
    name: String,
    object: String,
    state: Pill,
    /// What is under way, in words.
    doing: &'static str,
    /// Records that the org has sent.
    read: String,
    /// Records that the table shows as there.
    rows: String,
    /// Of about how many, where that is known.
    total: String,
    /// What is known of how far it is.
    far: Far,
    verified: Option<Ago>,
    error: String,
    /// Where that is explained.
    help: Option<String>,
    is_here: bool,
}

/// How far a first load is.
#[derive(Clone, Copy)]
enum Far {
    /// Not begun, or over.
    Not,
    /// Nobody knows of how much.
    Some,
    /// Of about how many records how many are read.
    Of(u64, u64),
}

#[derive(Template)]
#[template(path = "setup_sync.html")]
struct Page {
    frame: Frame,
    steps: Vec<StepLine>,
    id: Uuid,
    lines: Vec<Line>,
    /// Records that are here, of all mappings.
    rows: String,
    all_here: bool,
    any_failed: bool,
}

async fn line(scene: &Scene, mapping: &Mapping, totals: &BTreeMap<String, u64>) -> Result<(Line, u64), StoreError> {
    let (tenant, now) = (&scene.visit.caller.tenant, scene.visit.service.now());
    let work = tenant.work_of_mapping(mapping.id).await?;
    let run = tenant.runs_of_mapping(mapping.id, None, 1).await?.items.pop();
    let rows = tenant.count_present(mapping).await?;
    let progress = &mapping.standing.progress;
    let is_running = work.as_ref().is_some_and(|work| work.is_running(now));
    let is_here = mapping.standing.checkpoint.through.is_some() && mapping.state == MappingState::Synced;
    let doing = match &progress.walk {
        _ if is_here => "kept in step",
        _ if progress.job.is_some() => "the org works at a Bulk job",
        _ if mapping.standing.checkpoint.scan.is_some() => "reads records",
        Some(walk) => match walk.kind {
            WalkKind::Compare => "compares ids",
            WalkKind::Fill => "fills columns",
            WalkKind::Refresh => "reads formulas",
            WalkKind::Reload => "reads records",
        },
        None if is_running => "begins",
        None => "waits for its turn",
    };
    let read = run.as_ref().map_or(0, |run| u64::try_from(run.rows_read).unwrap_or_default());
    let failing = work.and_then(|work| work.failing).map(|failing| failing.reason);
    let error = failing.or_else(|| run.and_then(|run| run.error)).unwrap_or_default();
    let far = match totals.get(&mapping.object) {
        _ if is_here || (!is_running && read == 0) => Far::Not,
        Some(total) if *total > 0 => Far::Of(read.min(*total), *total),
        _ => Far::Some,
    };
    let total = if let Far::Of(_, total) = far { grouped(total) } else { String::new() };
    let line = Line {
        total,
        id: mapping.id,
        name: mapping.name.clone(),
        object: mapping.object.clone(),
        state: pill(mapping.state.name()),
        doing,
        read: grouped(read),
        rows: grouped(rows),
        far,
        verified: mapping.standing.verified_through.map(|at| ago(at, now)),
        help: help::place_of(&error),
        error,
        is_here,
    };
    Ok((line, rows))
}

/// How it goes.
pub(crate) async fn sync(visit: Visit, Path(id): Path<Uuid>) -> Result<Response, Instead> {
    let scene = Scene::at(visit, id, Step::Sync).await?;
    let mut mappings: Vec<&Mapping> = scene.mappings.iter().collect();
    mappings.sort_by_key(|mapping| !mapping.is_contacts());
    let (mut lines, mut rows) = (Vec::new(), 0);
    for mapping in mappings {
        let (line, count) = line(&scene, mapping, &scene.chosen.counts).await?;
        lines.push(line);
        rows += count;
    }
    let page = Page {
        frame: scene.frame().await?,
        steps: scene.steps(Step::Sync),
        id,
        rows: grouped(rows),
        all_here: lines.iter().all(|line| line.is_here),
        any_failed: lines.iter().any(|line| !line.error.is_empty()),
        lines,
    };
    Ok(Html(page.render()?).into_response())
}

/// Asks for a run of each: the first ones begin by themselves, and what failed may be tried again now.
pub(crate) async fn again(Path(id): Path<Uuid>, sent: Sent<Nothing>) -> Result<Response, Instead> {
    let scene = Scene::at(sent.visit, id, Step::Sync).await?;
    for mapping in scene.mappings.iter().filter(|mapping| mapping.state != MappingState::Paused) {
        let (service, caller) = (State(scene.visit.service.clone()), scene.visit.caller.clone());
        drop(request_run(service, caller, Path(mapping.id), Body(ToRun::default())).await?);
    }
    Ok(done(&Step::Sync.path(id), "synced"))
}

/// Says that the setup is done.
pub(crate) async fn finish(Path(id): Path<Uuid>, sent: Sent<Nothing>) -> Result<Response, Instead> {
    let scene = Scene::open(sent.visit, id).await?;
    if scene.next() != Step::Sync {
        return Ok(Redirect::to(&scene.next().path(id)).into_response());
    }
    scene.finish().await?;
    Ok(done(&format!("/connections/{id}"), "finished"))
}
