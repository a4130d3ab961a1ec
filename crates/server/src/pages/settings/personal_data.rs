//! Somebody asks what is kept of them, or wants to be forgotten. What is typed is in no address.

use askama::Template;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{Html, IntoResponse, Response};
use serde::Deserialize;
use serde_json::Value;
use tieline_store::{Role, Uuid};

use super::super::Failed;
use super::super::denied::denied;
use super::super::frame::{Frame, Place};
use super::super::visit::{Nothing, Sent, Visit, done};
use super::super::words::{Ago, ago, counted};
use crate::extract::{Body, Path, Query};
use crate::lists;
use crate::personal_data::{self as api, Named, PersonView, RemovedView, SourceName, ToErase};
use crate::problem::Problem;

const TITLE: &str = "Personal data";
const ABOUT: &str = "What is kept of a person, and its erasure.";

/// Who is meant, as it was typed, and what is to be done.
#[derive(Default, Deserialize)]
pub(crate) struct Asked {
    /// An address, or the id of a record.
    #[serde(default)]
    who: String,
    /// `find`, `preview` or `erase`.
    #[serde(default)]
    go: String,
    /// The same once more, of somebody who means it.
    #[serde(default)]
    again: String,
}

impl Asked {
    /// An address has an @, and the id of a record has none.
    fn named(&self) -> Named {
        let who = self.who.trim().to_owned();
        if who.contains('@') {
            return Named { email: Some(who), source_type: None, source_id: None };
        }
        Named { email: None, source_type: Some(SourceName::Salesforce), source_id: Some(who) }
    }
}

/// What is kept of somebody, by kinds: how many rows of one, and which.
struct Kept {
    words: String,
    json: String,
}

fn kept(of: PersonView) -> Vec<Kept> {
    let kinds = [
        ("contact", "contacts", of.contacts),
        ("lead", "leads", of.leads),
        ("row of an import", "rows of imports", of.import_rows),
        ("record of a mapping", "records of mappings", of.objects),
        ("line of a log", "lines of logs", of.logs),
        ("open invitation", "open invitations", of.invitations),
    ];
    let kinds = kinds.into_iter().filter(|(_, _, rows)| !rows.is_empty());
    let kind = |(one, many, rows): (&str, &str, Vec<Value>)| Kept {
        words: counted(rows.len() as u64, one, many),
        json: serde_json::to_string_pretty(&rows).unwrap_or_default(),
    };
    kinds.map(kind).collect()
}

/// How many rows of each kind, with commas between; empty where there is none.
fn counts(of: &RemovedView) -> String {
    let all = [
        (of.contacts, "contact", "contacts"),
        (of.leads, "lead", "leads"),
        (of.import_rows, "row of an import", "rows of imports"),
        (of.object_rows, "record of a mapping", "records of mappings"),
        (of.logs, "line of a log", "lines of logs"),
        (of.messages, "message", "messages"),
        (of.invitations, "open invitation", "open invitations"),
    ];
    let all = all.into_iter().filter(|(count, ..)| *count > 0);
    all.map(|(count, one, many)| counted(count, one, many)).collect::<Vec<_>>().join(", ")
}

/// An erasure that stands: it does not say of whom.
struct Line {
    id: Uuid,
    at: Ago,
    removed: String,
}

/// What the last question has led to.
#[derive(Default)]
struct Answer {
    found: Option<Vec<Kept>>,
    would_go: Option<String>,
    /// With the erasure that stands from now on, if one does.
    gone: Option<(Option<Uuid>, String)>,
}

#[derive(Template)]
#[template(path = "personal_data.html")]
struct Page {
    frame: Frame,
    asked: Asked,
    answer: Answer,
    erasures: Vec<Line>,
    next: Option<String>,
    problem: Option<Problem>,
}

/// The page.
pub(crate) async fn page(visit: Visit, Query(place): Query<lists::Place>) -> Result<Response, Failed> {
    shown(&visit, place, Asked::default(), Ok(Answer::default())).await
}

async fn shown(
    visit: &Visit,
    place: lists::Place,
    asked: Asked,
    answer: Result<Answer, Problem>,
) -> Result<Response, Failed> {
    if visit.caller.role < Role::Admin {
        return denied(visit, Place::Settings, TITLE, Role::Admin, ABOUT).await;
    }
    let now = visit.service.now();
    let Json(standing) = api::erasures(visit.caller.clone(), Query(place)).await?;
    let line = |erasure: api::ErasureView| Line {
        id: erasure.id,
        at: ago(erasure.created_at, now),
        removed: counts(&erasure.removed),
    };
    let (answer, problem) = match answer {
        Ok(answer) => (answer, None),
        Err(problem) => (Answer::default(), Some(problem)),
    };
    let status = problem.as_ref().map_or(StatusCode::OK, Problem::status);
    let page = Page {
        frame: visit.frame(Place::Settings, TITLE).await?,
        asked,
        answer,
        erasures: standing.items.into_iter().map(line).collect(),
        next: standing.next,
        problem,
    };
    Ok((status, Html(page.render()?)).into_response())
}

/// Finds a person, tells what an erasure would take, or erases.
pub(crate) async fn asked(sent: Sent<Asked>) -> Result<Response, Failed> {
    let Sent { visit, form } = sent;
    let answer = answered(&visit, &form).await;
    shown(&visit, lists::Place { cursor: None, limit: None }, form, answer).await
}

async fn answered(visit: &Visit, asked: &Asked) -> Result<Answer, Problem> {
    let (service, caller) = (State(visit.service.clone()), visit.caller.clone());
    if asked.go == "find" {
        let Json(found) = api::person(service, caller, Body(asked.named())).await?;
        return Ok(Answer { found: Some(kept(found)), ..Answer::default() });
    }
    let preview = asked.go != "erase";
    if !preview && asked.again.trim() != asked.who.trim() {
        caller.at_least(Role::Admin)?;
        let hint = "look what would go, and type the address or id once more";
        return Err(Problem::invalid("nothing was erased: what was typed is not the same both times", hint));
    }
    let to_erase = ToErase { persons: vec![asked.named()], preview };
    let Json(erased) = api::erase(service, caller, Body(to_erase)).await?;
    let mut answer = Answer::default();
    for person in erased.persons {
        let removed = counts(&person.removed);
        match preview {
            true => answer.would_go = Some(removed),
            false => answer.gone = Some((person.erasure, removed)),
        }
    }
    Ok(answer)
}

/// Lets somebody come back.
pub(crate) async fn lift(Path(id): Path<Uuid>, sent: Sent<Nothing>) -> Result<Response, Failed> {
    let Sent { visit, .. } = sent;
    api::lift_erasure(State(visit.service.clone()), visit.caller.clone(), Path(id)).await?;
    Ok(done("/settings/personal-data", "lifted"))
}
