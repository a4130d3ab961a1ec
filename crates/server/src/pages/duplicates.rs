//! Pairs that may be one person, and the two of a pair side by side.

use std::collections::BTreeMap;

use askama::Template;
use axum::extract::State;
use axum::response::{Html, IntoResponse, Response};
use futures_util::{StreamExt, TryStreamExt, stream};
use jiff::Timestamp;
use serde::Deserialize;
use tieline_store::duplicates::{
    Duplicate, DuplicateFilter, DuplicatePair, DuplicateState, FIELDS, MatchAction, Side, Subject,
};
use tieline_store::{Cursor, Tenant, Uuid};

use super::frame::{Frame, Place};
use super::visit::{Nothing, Sent, Visit, done};
use super::words::{Ago, Pill, ago, pill};
use super::{AT_ONCE, Failed, answer};
use crate::duplicates::{pairs, passes};
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
    /// Whether a rule merges without asking.
    merges: bool,
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
    let whole = stream::iter(found.items.into_iter().map(|pair| tenant.duplicate(pair.id))).buffered(AT_ONCE);
    let (frame, rules, pairs) = tokio::try_join!(
        visit.frame(Place::Duplicates, "Duplicates"),
        answer(tenant.match_rules()),
        answer(whole.try_collect::<Vec<_>>()),
    )?;
    let page = Listed {
        frame,
        // One whose row was deleted meanwhile is left out.
        pairs: pairs.into_iter().flatten().map(|pair| Line::of(pair, now)).collect(),
        merges: rules.rules.iter().any(|rule| rule.action == MatchAction::Merge),
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
    /// The connection that brought it.
    from: String,
    source_id: String,
    came: Ago,
    changed: Ago,
    /// Of two that were merged: the one that stayed.
    stays: bool,
}

/// A field of both.
struct Field {
    name: &'static str,
    words: String,
    values: Vec<Value>,
    differs: bool,
    /// Of two that were merged: it is the other's.
    is_taken: bool,
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
    /// Who has decided.
    by: String,
    decided: Option<Ago>,
    problem: Option<Problem>,
}

impl Page {
    fn is_of_contacts(&self) -> bool {
        self.pair.subject == Subject::Contact
    }
}

/// Who has decided, as people know them.
async fn decider(tenant: &Tenant, by: Option<&str>) -> Result<String, Failed> {
    let Some(by) = by else { return Ok(String::new()) };
    if let Some(id) = by.strip_prefix("user ") {
        let members = tenant.members().await?;
        let member = members.into_iter().find(|member| member.user.id.to_string() == id);
        return Ok(member.map_or_else(|| "somebody who is not in the team any more".to_owned(), |m| m.user.name));
    }
    Ok(match by {
        "salesforce" => "the org itself".to_owned(),
        "system" => "the service".to_owned(),
        other => match other.strip_prefix("rule:") {
            Some(rule) => format!("the rule {rule}"),
            None => other.replace("api_key", "API key"),
        },
    })
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
    let pair = &found.duplicate;
    let field = |(n, name): (usize, &&'static str)| Field {
        is_taken: pair.fields.iter().any(|taken| taken == name),
        name,
        words: name.replace('_', " "),
        values: value(n),
        differs: found.differing.contains(name),
    };
    let integrations = visit.caller.tenant.integrations().await?;
    let from = |side: &Side| {
        let found = integrations.iter().find(|integration| Some(integration.id) == side.integration_id);
        found.map_or_else(|| side.source_type.name().to_owned(), |integration| integration.name.clone())
    };
    let side = |(place, side): (usize, &Side)| OfPair {
        row: side.id,
        is_first: place == 0,
        name: shown_name(&side.fields),
        from: from(side),
        source_id: side.source_id.clone(),
        came: ago(side.created_at, now),
        changed: ago(side.last_synced_at, now),
        stays: pair.kept_id == Some(side.id),
    };
    let page = Page {
        frame: visit.frame(Place::Duplicates, "Two that may be one").await?,
        by: decider(&visit.caller.tenant, pair.decided_by.as_deref()).await?,
        decided: pair.decided_at.map(|at| ago(at, now)),
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

/// Looks for more, as the service does by itself once a minute.
pub(crate) async fn scan(sent: Sent<Nothing>) -> Result<Response, Failed> {
    let Sent { visit, .. } = sent;
    let (service, caller) = (State(visit.service.clone()), visit.caller.clone());
    let axum::Json(scan) = passes::scan_duplicates(service, caller).await?;
    visit.service.changed();
    Ok(done("/duplicates", scan.outcome()))
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
