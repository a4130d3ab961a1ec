//! All mappings of the business, by connection.

use askama::Template;
use axum::response::{Html, IntoResponse, Response};
use futures_util::{StreamExt, TryStreamExt, stream};
use jiff::{SignedDuration, Timestamp};
use tieline_store::mappings::{Held, Mapping, MappingState};
use tieline_store::{Integration, Status, Uuid};

use super::state;
use crate::pages::frame::{Frame, Place};
use crate::pages::visit::Visit;
use crate::pages::words::{Ago, Pill, Span, ago, grouped, pill};
use crate::pages::{AT_ONCE, Failed};

/// A mapping.
struct Line {
    id: Uuid,
    name: String,
    is_built_in: bool,
    object: String,
    table: String,
    state: Pill,
    reason: String,
    rows: String,
    lag: Option<Span>,
    verified: Option<Ago>,
    last: Option<LastRun>,
    next: Option<Ago>,
}

struct LastRun {
    id: Uuid,
    state: Pill,
    at: Ago,
}

/// One that waits for a decision.
struct Waiting {
    id: Uuid,
    name: String,
    connection: String,
    held: Held,
    since: Ago,
}

/// A connection with its mappings; none: what is left of connections that were deleted.
struct Group {
    of: Option<Integration>,
    lines: Vec<Line>,
}

impl Group {
    fn name(&self) -> &str {
        self.of.as_ref().map_or("Of connections that were deleted", |of| of.name.as_str())
    }

    fn is_connected(&self) -> bool {
        self.of.as_ref().is_some_and(|of| matches!(of.status, Status::Active | Status::Error))
    }
}

#[derive(Template)]
#[template(path = "mappings.html")]
struct Page {
    frame: Frame,
    waiting: Vec<Waiting>,
    groups: Vec<Group>,
}

/// The page.
pub(crate) async fn mappings(visit: Visit) -> Result<Response, Failed> {
    let (tenant, now) = (&visit.caller.tenant, visit.service.now());
    let (integrations, all) = (tenant.integrations().await?, tenant.every_mapping().await?);
    let name = |id: Option<Uuid>| {
        integrations.iter().find(|of| Some(of.id) == id).map(|of| of.name.clone()).unwrap_or_default()
    };
    let waiting = all.iter().filter_map(|mapping| {
        let held = mapping.held.filter(|_| mapping.state == MappingState::Paused)?;
        let (name, connection) = (mapping.name.clone(), name(mapping.integration_id));
        Some(Waiting { id: mapping.id, name, connection, held, since: ago(held.at, now) })
    });
    let waiting = waiting.collect();
    let mut groups: Vec<Group> = integrations.into_iter().map(|of| Group { of: Some(of), lines: Vec::new() }).collect();
    let lines = all.into_iter().map(async |mapping: Mapping| {
        let of = mapping.integration_id;
        Ok::<_, Failed>((of, line(&visit, mapping, now).await?))
    });
    let (frame, lines) = tokio::try_join!(
        visit.frame(Place::Mappings, "Mappings"),
        stream::iter(lines).buffered(AT_ONCE).try_collect::<Vec<_>>(),
    )?;
    let mut left = Vec::new();
    for (of, line) in lines {
        match groups.iter_mut().find(|group| group.of.as_ref().map(|of| of.id) == of) {
            Some(group) => group.lines.push(line),
            None => left.push(line),
        }
    }
    if !left.is_empty() {
        groups.push(Group { of: None, lines: left });
    }
    let page = Page { frame, waiting, groups };
    Ok(Html(page.render()?).into_response())
}

async fn line(visit: &Visit, mapping: Mapping, now: Timestamp) -> Result<Line, Failed> {
    let tenant = &visit.caller.tenant;
    let work = tenant.work_of_mapping(mapping.id).await?;
    let last = tenant.mapping_runs(&mapping, 1).await?.pop();
    let rests = mapping.state == MappingState::Paused;
    Ok(Line {
        id: mapping.id,
        is_built_in: mapping.is_contacts(),
        state: state(&mapping),
        table: mapping.table.name().to_owned(),
        reason: mapping.state_reason.clone().unwrap_or_default(),
        rows: mapping.standing.progress.rows.map(grouped).unwrap_or_default(),
        lag: lag(&mapping, now),
        verified: mapping.standing.verified_through.map(|at| ago(at, now)),
        last: last.map(|run| LastRun { id: run.id, state: pill(&run.state), at: ago(run.started_at, now) }),
        next: work.and_then(|work| work.ready_at).filter(|_| !rests).map(|at| ago(at.max(now), now)),
        object: mapping.object,
        name: mapping.name,
    })
}

/// How far behind the org it has been read.
pub(super) fn lag(mapping: &Mapping, now: Timestamp) -> Option<Span> {
    let through = mapping.standing.checkpoint.through?;
    Some(Span(now.duration_since(through).max(SignedDuration::ZERO)))
}
