//! The fifth step: what of each chosen object is kept, in which columns, one object after the other.

use std::collections::BTreeMap;

use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{Html, IntoResponse, Redirect, Response};
use serde::Deserialize;
use serde_json::Value;
use tieline_store::Uuid;

use super::draft::{Draft, Form, cleans, fields_of, first, keeps, table_of, text};
use super::{Chosen, Instead, Scene, Step, StepLine};
use crate::extract::{Body, Path, Query};
use crate::mappings::changing::{NewMapping, create_mapping};
use crate::mappings::check::{CheckedView, ToCheck, check_mapping};
use crate::mappings::objects::{ObjectDetail, object as object_of};
use crate::pages::frame::Frame;
use crate::pages::visit::{Sent, Visit};
use crate::problem::Problem;

/// Records that a preview shows.
const PREVIEWED: u8 = 5;

/// A field in the form.
struct Row {
    name: String,
    label: String,
    type_name: String,
    /// The column that it has unless told otherwise.
    default: String,
    is_kept: bool,
    column: String,
    cleans: Vec<Clean>,
    flaw: String,
    is_shown: bool,
}

struct Clean {
    name: &'static str,
    words: &'static str,
    is_chosen: bool,
}

/// What came of a definition that was tried.
#[derive(Default)]
struct Tried {
    /// What is wrong, by field; and what is about no field.
    by_field: BTreeMap<String, String>,
    table: String,
    others: Vec<String>,
    warnings: Vec<String>,
    preview: Option<Preview>,
}

struct Preview {
    columns: Vec<String>,
    rows: Vec<Vec<Cell>>,
    failed: u64,
}

struct Cell {
    text: String,
    error: String,
}

impl Tried {
    fn of(checked: CheckedView, draft: &Draft) -> Self {
        let mut tried = Self::default();
        for flaw in checked.flaws {
            let words = match flaw.hint {
                Some(hint) => format!("{} ({hint})", flaw.reason),
                None => flaw.reason,
            };
            let place = flaw.at.strip_prefix("columns[").and_then(|rest| rest.split_once(']'));
            let field = place.and_then(|(n, _)| draft.fields.get(n.parse::<usize>().ok()?));
            match (field, flaw.at.as_str()) {
                (Some(field), _) => drop(tried.by_field.insert(field.clone(), words)),
                (None, "table" | "name") => tried.table = words,
                (None, _) => tried.others.push(words),
            }
        }
        tried.warnings = checked.warnings;
        if tried.is_good() {
            let rows = checked.rows.into_iter().map(|row| {
                let cell = |cell: crate::mappings::check::CellView| Cell {
                    text: plain(&cell.value),
                    error: cell.error.unwrap_or_default(),
                };
                row.cells.into_iter().map(cell).collect()
            });
            tried.preview = Some(Preview {
                rows: rows.collect(),
                columns: checked.columns.into_iter().map(|column| column.name).collect(),
                failed: checked.failed_cells,
            });
        }
        tried
    }

    fn is_good(&self) -> bool {
        self.by_field.is_empty() && self.table.is_empty() && self.others.is_empty()
    }
}

/// A value as it is read.
fn plain(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

#[derive(Template)]
#[template(path = "setup_fields.html")]
struct Page {
    frame: Frame,
    steps: Vec<StepLine>,
    id: Uuid,
    object: String,
    label: String,
    /// Of how many objects this is which.
    place: usize,
    of: usize,
    rows: Vec<Row>,
    kept: usize,
    table: String,
    region: String,
    has_phones: bool,
    takes_new: bool,
    q: String,
    cursor: Option<String>,
    tried: Tried,
    problem: Option<Problem>,
}

impl Page {
    async fn of(
        scene: &Scene,
        object: &ObjectDetail,
        form: &Form,
        tried: Tried,
        problem: Option<Problem>,
    ) -> Result<Self, Instead> {
        let q = text(form, "q").to_lowercase();
        let row = |field: &super::draft::Field<'_>| {
            let (view, chosen) = (field.view, text(form, &format!("clean-{}", field.view.name)));
            let flaw = tried.by_field.get(&view.name).cloned().unwrap_or_default();
            let named = |text: &str| text.to_lowercase().contains(&q);
            let cleans = cleans(&view.type_name).iter();
            Row {
                is_shown: !flaw.is_empty() || named(&view.name) || named(&view.label),
                flaw,
                is_kept: keeps(form, &view.name),
                column: text(form, &format!("as-{}", view.name)).to_owned(),
                cleans: cleans.map(|&(name, words)| Clean { name, words, is_chosen: name == chosen }).collect(),
                default: field.column.to_owned(),
                name: view.name.clone(),
                label: view.label.clone(),
                type_name: view.type_name.clone(),
            }
        };
        let rows: Vec<Row> = fields_of(object).iter().map(row).collect();
        let all = scene.chosen.objects.clone().unwrap_or_default();
        Ok(Self {
            frame: scene.frame().await?,
            steps: scene.steps(Step::Fields),
            id: scene.id(),
            place: all.iter().position(|name| *name == object.name).map_or(1, |n| n + 1),
            of: all.len(),
            object: object.name.clone(),
            label: object.label.clone(),
            kept: rows.iter().filter(|row| row.is_kept).count(),
            has_phones: rows.iter().any(|row| row.type_name == "phone"),
            rows,
            table: form.get("table").cloned().unwrap_or_default(),
            region: form.get("region").cloned().unwrap_or_default(),
            takes_new: form.contains_key("new_fields"),
            q: form.get("q").cloned().unwrap_or_default(),
            cursor: object.cursor.clone(),
            tried,
            problem,
        })
    }

    fn answer(self, status: StatusCode) -> Result<Response, Instead> {
        Ok((status, Html(self.render()?)).into_response())
    }
}

#[derive(Template)]
#[template(path = "setup_object_failed.html")]
struct Unreadable {
    frame: Frame,
    steps: Vec<StepLine>,
    id: Uuid,
    object: String,
    problem: Option<Problem>,
}

/// The object as the org describes it; or a page that says why it cannot be mapped, with a way around it.
async fn described(scene: &Scene, object: &str) -> Result<ObjectDetail, Instead> {
    let (service, caller) = (State(scene.visit.service.clone()), scene.visit.caller.clone());
    let problem = match object_of(service, caller, Path((scene.id(), object.to_owned()))).await {
        Ok(axum::Json(found)) if found.flaws.is_empty() => return Ok(found),
        Ok(axum::Json(found)) => {
            let reasons: Vec<String> = found.flaws.into_iter().map(|flaw| flaw.reason).collect();
            let hint = "skip it here, and map the fields that you need under Mappings";
            let detail = format!("not all fields of it fit into one table: {}", reasons.join("; "));
            Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid_mapping", detail, hint)
        }
        Err(problem) => problem,
    };
    let status = problem.status();
    let page = Unreadable {
        frame: scene.frame().await?,
        steps: scene.steps(Step::Fields),
        id: scene.id(),
        object: object.to_owned(),
        problem: Some(problem),
    };
    Err(Instead::of((status, Html(page.render()?))))
}

/// Which of the chosen objects.
#[derive(Deserialize)]
pub(crate) struct Which {
    #[serde(default)]
    object: String,
}

/// The object that is named, if it is one of those that are chosen and not decided; else the next of them.
fn object_at<'s>(scene: &'s Scene, wanted: &str) -> Option<&'s str> {
    let all = scene.chosen.objects.iter().flatten();
    let named = all.map(String::as_str).find(|object| *object == wanted && !scene.is_decided(object));
    named.or_else(|| scene.next_object())
}

/// The form of the next object.
pub(crate) async fn fields(
    visit: Visit,
    Path(id): Path<Uuid>,
    Query(which): Query<Which>,
) -> Result<Response, Instead> {
    let scene = Scene::at(visit, id, Step::Fields).await?;
    let name = object_at(&scene, &which.object).unwrap_or_default().to_owned();
    let object = described(&scene, &name).await?;
    let tenant = &scene.visit.caller.tenant;
    let all = tenant.every_mapping().await?;
    let table = table_of(&name, |table| {
        let there = tenant.table_name(table);
        all.iter().any(|mapping| mapping.table.name() == there)
            || scene.mappings.iter().any(|mapping| mapping.name == table)
    });
    let form = first(&object, table);
    Page::of(&scene, &object, &form, Tried::default(), None).await?.answer(StatusCode::OK)
}

/// A filter, a preview, the mapping made, or the object skipped.
pub(crate) async fn choose(Path(id): Path<Uuid>, sent: Sent<Form>) -> Result<Response, Instead> {
    let Sent { visit, form } = sent;
    let scene = Scene::at(visit, id, Step::Fields).await?;
    let (wanted, go) = (text(&form, "object").to_owned(), text(&form, "go").to_owned());
    let on = || Redirect::to(&format!("/connections/{id}/setup"));
    // Somebody has decided it in another tab.
    let Some(name) = object_at(&scene, &wanted).filter(|name| *name == wanted).map(str::to_owned) else {
        return Ok(on().into_response());
    };
    if go == "skip" {
        let mut skipped = scene.chosen.skipped.clone();
        skipped.push(name);
        scene.keep(&Chosen { skipped, ..scene.chosen.clone() }).await?;
        return Ok(on().into_response());
    }
    let object = described(&scene, &name).await?;
    if go == "filter" {
        return Page::of(&scene, &object, &form, Tried::default(), None).await?.answer(StatusCode::OK);
    }
    let draft = Draft::of(&form, &object);
    let mut tried = match tried(&scene, &object, &form, &draft).await {
        Ok(tried) => tried,
        Err(problem) => {
            let status = problem.status();
            return Page::of(&scene, &object, &form, Tried::default(), Some(problem)).await?.answer(status);
        }
    };
    if go != "make" {
        return Page::of(&scene, &object, &form, tried, None).await?.answer(StatusCode::OK);
    }
    if !tried.is_good() {
        return Page::of(&scene, &object, &form, tried, None).await?.answer(StatusCode::UNPROCESSABLE_ENTITY);
    }
    let (service, caller) = (State(scene.visit.service.clone()), scene.visit.caller.clone());
    let new = NewMapping { integration_id: id, definition: draft.definition };
    match create_mapping(service, caller, Body(new)).await {
        Ok(_) => Ok(on().into_response()),
        Err(problem) => {
            tried.preview = None;
            let status = problem.status();
            Page::of(&scene, &object, &form, tried, Some(problem)).await?.answer(status)
        }
    }
}

/// The definition held against the org, with records as they would be written.
async fn tried(scene: &Scene, object: &ObjectDetail, form: &Form, draft: &Draft) -> Result<Tried, Problem> {
    if !fields_of(object).iter().any(|field| keeps(form, &field.view.name)) {
        let others = vec!["No field is chosen. Choose one at least, or skip this object.".to_owned()];
        return Ok(Tried { others, ..Tried::default() });
    }
    if text(form, "table").is_empty() {
        let table = "Type a name for the table.".to_owned();
        return Ok(Tried { table, ..Tried::default() });
    }
    let (service, caller) = (State(scene.visit.service.clone()), scene.visit.caller.clone());
    let check = ToCheck { integration_id: scene.id(), definition: draft.definition.clone(), rows: Some(PREVIEWED) };
    let axum::Json(checked) = check_mapping(service, caller, Body(check)).await?;
    Ok(Tried::of(checked, draft))
}
