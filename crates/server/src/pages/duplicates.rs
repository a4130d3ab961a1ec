//! Pairs that may be one person, and the two of a pair side by side.

use std::collections::BTreeMap;

use askama::Template;
use axum::extract::State;
use axum::response::{Html, IntoResponse, Response};
use jiff::Timestamp;
use serde::Deserialize;
use tieline_store::duplicates::{Duplicate, DuplicateFilter, DuplicatePair, DuplicateState, FIELDS, Side};
use tieline_store::{Cursor, Uuid};

use super::Failed;
use super::frame::{Frame, Place};
use super::visit::{Nothing, Sent, Visit, done};
use super::words::{Ago, Pill, ago, pill};
use crate::duplicates::pairs;
use crate::extract::{Body, Path, Query};
use crate::lists;
use crate::problem::Problem;

/// Pairs of a page: each is read with both its rows.
const SHOWN: u32 = 25;

/// Which pairs.
#[derive(Deserialize)]
pub(crate) struct Which {
    #[serde(default)]
    state: String,
    cursor: Option<String>,
}

/// A pair in the list.
struct Line {
    id: Uuid,
    names: [String; 2],
    agreed: String,
    kind: &'static str,
    state: Pill,
    found: Ago,
}

impl Line {
    fn of(pair: DuplicatePair, now: Timestamp) -> Self {
        Self {
            names: pair.sides.each_ref().map(|side| shown_name(&side.fields)),
            id: pair.duplicate.id,
            agreed: agreed(&pair.duplicate),
            kind: pair.duplicate.subject.name(),
            state: pill(pair.duplicate.state.name()),
            found: ago(pair.duplicate.created_at, now),
        }
    }
}

fn shown_name(fields: &[Option<String>; FIELDS.len()]) -> String {
    let place = |name: &str| FIELDS.iter().position(|field| *field == name).and_then(|n| fields[n].clone());
    place("name").or_else(|| place("email")).unwrap_or_else(|| "without a name".to_owned())
}

fn agreed(pair: &Duplicate) -> String {
    let words = pair.agreed.iter().map(|by| match by.as_str() {
        "email" => "e-mail".to_owned(),
        "name_company" => "name and company".to_owned(),
        other => other.replace("external_id:", "").replace('_', " "),
    });
    words.collect::<Vec<_>>().join(", ")
}

#[derive(Template)]
#[template(path = "duplicates.html")]
struct Listed {
    frame: Frame,
    pairs: Vec<Line>,
    state: String,
    next: Option<String>,
}

/// The list: what nobody has decided yet, unless told otherwise.
pub(crate) async fn duplicates(visit: Visit, Query(which): Query<Which>) -> Result<Response, Failed> {
    let (tenant, now) = (&visit.caller.tenant, visit.service.now());
    let state = match which.state.as_str() {
        "dismissed" => DuplicateState::Dismissed,
        "merged" => DuplicateState::Merged,
        _ => DuplicateState::Open,
    };
    let place = lists::Place { cursor: which.cursor, limit: Some(SHOWN) };
    let cursor: Option<Cursor> = place.cursor()?;
    let found = tenant.duplicates(&DuplicateFilter { state: Some(state), rule: None }, cursor, SHOWN).await?;
    let mut pairs = Vec::with_capacity(found.items.len());
    for pair in found.items {
        // One whose row was deleted meanwhile is left out.
        pairs.extend(tenant.duplicate(pair.id).await?.map(|pair| Line::of(pair, now)));
    }
    let page = Listed {
        frame: visit.frame(Place::Duplicates, "Duplicates").await?,
        pairs,
        state: state.name().to_owned(),
        next: found.next.map(|cursor| cursor.to_string()),
    };
    Ok(Html(page.render()?).into_response())
}

/// One of the two.
struct OfPair {
    row: Uuid,
    is_first: bool,
    name: String,
    source: String,
    changed: Ago,
}

/// A field of both.
struct Field {
    name: &'static str,
    words: String,
    values: Vec<Value>,
    differs: bool,
}

struct Value {
    row: Uuid,
    is_first: bool,
    text: String,
}

#[derive(Template)]
#[template(path = "duplicate.html")]
struct Page {
    frame: Frame,
    pair: Duplicate,
    state: Pill,
    sides: Vec<OfPair>,
    agreed: String,
    fields: Vec<Field>,
    problem: Option<Problem>,
}

/// A pair.
pub(crate) async fn duplicate(visit: Visit, Path(id): Path<Uuid>) -> Result<Response, Failed> {
    shown(&visit, id, None).await
}

async fn shown(visit: &Visit, id: Uuid, problem: Option<Problem>) -> Result<Response, Failed> {
    let found = visit.caller.tenant.duplicate(id).await?.ok_or_else(|| Problem::not_found("duplicate"))?;
    let now = visit.service.now();
    let value = |n: usize| {
        let of = |(place, side): (usize, &Side)| Value {
            row: side.id,
            is_first: place == 0,
            text: side.fields[n].clone().unwrap_or_default(),
        };
        found.sides.iter().enumerate().map(of).collect()
    };
    let field = |(n, name): (usize, &&'static str)| Field {
        name,
        words: name.replace('_', " "),
        values: value(n),
        differs: found.differing.contains(name),
    };
    let side = |(place, side): (usize, &Side)| OfPair {
        row: side.id,
        is_first: place == 0,
        name: shown_name(&side.fields),
        source: format!("{} {}", side.source_type.name(), side.source_id),
        changed: ago(side.last_synced_at, now),
    };
    let page = Page {
        frame: visit.frame(Place::Duplicates, "Two that may be one").await?,
        fields: FIELDS.iter().enumerate().map(field).collect(),
        sides: found.sides.iter().enumerate().map(side).collect(),
        agreed: agreed(&found.duplicate),
        state: pill(found.duplicate.state.name()),
        pair: found.duplicate,
        problem,
    };
    let status = page.problem.as_ref().map_or(axum::http::StatusCode::OK, Problem::status);
    Ok((status, Html(page.render()?)).into_response())
}

/// Which row stays, and whose fields are shown.
#[derive(Deserialize)]
pub(crate) struct Merge {
    keep: Uuid,
    /// `first_name`, … with the row that it is taken of.
    #[serde(flatten)]
    fields: BTreeMap<String, String>,
}

/// Makes them one.
pub(crate) async fn merge(Path(id): Path<Uuid>, sent: Sent<Merge>) -> Result<Response, Failed> {
    let Sent { visit, form } = sent;
    let keep = form.keep.to_string();
    let of_the_other = form.fields.iter().filter(|(_, row)| **row != keep).map(|(name, _)| name.as_str());
    let merge = pairs::ToMerge::of(form.keep, of_the_other);
    let (service, caller) = (State(visit.service.clone()), visit.caller.clone());
    match pairs::merge_duplicate(service, caller, Path(id), Body(merge)).await {
        Ok(_) => Ok(done(&format!("/duplicates/{id}"), "merged")),
        Err(problem) => shown(&visit, id, Some(problem)).await,
    }
}

/// Says that they are two.
pub(crate) async fn dismiss(Path(id): Path<Uuid>, sent: Sent<Nothing>) -> Result<Response, Failed> {
    let Sent { visit, .. } = sent;
    let (service, caller) = (State(visit.service.clone()), visit.caller.clone());
    match pairs::dismiss_duplicate(service, caller, Path(id)).await {
        Ok(_) => Ok(done("/duplicates", "dismissed")),
        Err(problem) => shown(&visit, id, Some(problem)).await,
    }
}

/// Takes the decision back.
pub(crate) async fn undo(Path(id): Path<Uuid>, sent: Sent<Nothing>) -> Result<Response, Failed> {
    let Sent { visit, .. } = sent;
    let (service, caller) = (State(visit.service.clone()), visit.caller.clone());
    match pairs::undo_duplicate(service, caller, Path(id)).await {
        Ok(_) => Ok(done(&format!("/duplicates/{id}"), "undone")),
        Err(problem) => shown(&visit, id, Some(problem)).await,
    }
}
