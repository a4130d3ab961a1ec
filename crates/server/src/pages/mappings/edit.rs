//! What is done in the editor. A form without script: each button sends all that is typed, and has it back.

use askama::Template;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{Html, IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Map, Value};
use tieline_store::mappings::{Mapping, is_reserved};
use tieline_store::{Integration, Role, Uuid};
use tieline_sync::mapping::Definition;

use super::draft::{Draft, Row};
use super::editor::{Page, Sheet};
use super::tried::{Outcome, check};
use super::{fields, text};
use crate::extract::{Body, Path, Query};
use crate::mappings::changing::{self, MappingChange, NewMapping};
use crate::mappings::check::FlawView;
use crate::mappings::no_mapping;
use crate::pages::Failed;
use crate::pages::frame::Place;
use crate::pages::visit::{Sent, Visit, done};
use crate::problem::Problem;

/// What the form sends: rows of columns have names with numbers.
type Pairs = Vec<(String, String)>;

const NOT_IN_A_FORM: &str =
    "The form cannot hold all of this definition, so it is shown as text: nothing of it gets lost.";

/// What is written, and for what.
struct Desk {
    connection: Integration,
    object: String,
    /// The mapping that is changed; none: a new one.
    mapping: Option<Mapping>,
}

/// What came of an act.
#[derive(Default)]
struct Shown {
    outcome: Outcome,
    problem: Option<Problem>,
    note: &'static str,
    status: Option<StatusCode>,
}

/// The editor of a new mapping: all fields, unless somebody says otherwise.
pub(super) async fn new(
    visit: Visit,
    connection: Integration,
    object: &str,
    as_text: bool,
) -> Result<Response, Failed> {
    let desk = Desk { connection, object: object.to_owned(), mapping: None };
    let fields = fields::of(&visit, desk.connection.id, object).await;
    let object = fields.as_ref().map_or(object, |fields| fields.object.as_str());
    let name = object.to_lowercase();
    let name = name.strip_suffix("__c").unwrap_or(&name);
    let name = if is_reserved(name) { format!("{name}_crm") } else { name.to_owned() };
    let definition = Definition::all_of(&name, object);
    let sheet = match Draft::of(&definition) {
        Some(draft) if !as_text => Sheet::Form(Box::new(draft)),
        _ => Sheet::Text(text::write(&definition.to_json())),
    };
    let desk = Desk { object: object.to_owned(), ..desk };
    match fields {
        Ok(_) => show(&visit, desk, sheet, Shown::default()).await,
        Err(problem) => show(&visit, desk, sheet, Shown { problem: Some(problem), ..Shown::default() }).await,
    }
}

/// How the definition is to be shown.
#[derive(Deserialize)]
pub(crate) struct Wanted {
    #[serde(default, rename = "as")]
    form: String,
}

/// The editor of a mapping that is there.
pub(crate) async fn edit(visit: Visit, Path(id): Path<Uuid>, Query(wanted): Query<Wanted>) -> Result<Response, Failed> {
    let desk = Desk::of(&visit, id).await?;
    let json = desk.mapping.as_ref().map(|mapping| mapping.definition.clone()).unwrap_or_default();
    let draft = Definition::from_json(json.clone()).ok().as_ref().and_then(Draft::of);
    let note = if draft.is_none() && wanted.form != "text" { NOT_IN_A_FORM } else { "" };
    let sheet = match draft {
        Some(mut draft) if wanted.form != "text" => {
            // It stays as it is, whatever the mapping is called from now on.
            if draft.table.is_empty() {
                draft.table.clone_from(&draft.name);
            }
            Sheet::Form(Box::new(draft))
        }
        _ => Sheet::Text(text::write(&json)),
    };
    show(&visit, desk, sheet, Shown { note, ..Shown::default() }).await
}

/// What a form of a new mapping sends.
pub(crate) async fn make(sent: Sent<Pairs>) -> Result<Response, Failed> {
    let Sent { visit, form } = sent;
    visit.caller.at_least(Role::Member)?;
    let id = Uuid::parse_str(value(&form, "connection")).map_err(|_| Problem::not_found("connection"))?;
    let found = visit.caller.tenant.integration(id).await?;
    let connection = found.ok_or_else(|| Problem::not_found("connection"))?;
    let desk = Desk { connection, object: value(&form, "object").to_owned(), mapping: None };
    act(visit, desk, &form).await
}

/// What the form of a mapping sends.
pub(crate) async fn change(Path(id): Path<Uuid>, sent: Sent<Pairs>) -> Result<Response, Failed> {
    let Sent { visit, form } = sent;
    let desk = Desk::of(&visit, id).await?;
    act(visit, desk, &form).await
}

impl Desk {
    async fn of(visit: &Visit, id: Uuid) -> Result<Self, Failed> {
        let mapping = visit.caller.tenant.mapping(id).await?.ok_or_else(no_mapping)?;
        visit.caller.at_least(Role::Member)?;
        if mapping.is_contacts() {
            let hint = "make another mapping of Contact beside it, with columns of your choice";
            return Err(
                Problem::conflict("built_in", "the mapping of contacts is built in, and stays as it is", hint).into()
            );
        }
        let connection = match mapping.integration_id {
            Some(id) => visit.caller.tenant.integration(id).await?,
            None => None,
        };
        let Some(connection) = connection else {
            let detail = "the mapping's connection was deleted: nothing is read for it any more";
            return Err(Problem::conflict("not_connected", detail, "make another mapping").into());
        };
        Ok(Self { connection, object: mapping.object.clone(), mapping: Some(mapping) })
    }
}

fn value<'p>(pairs: &'p Pairs, key: &str) -> &'p str {
    pairs.iter().find(|(name, _)| name == key).map_or("", |(_, value)| value.as_str())
}

/// What of it can be read, and what is wrong already.
fn read(sheet: &Sheet, object: &str) -> (Option<Map<String, Value>>, Vec<FlawView>) {
    match sheet {
        Sheet::Form(draft) => {
            let (definition, flaws) = draft.definition(object);
            (Some(definition), flaws)
        }
        Sheet::Text(written) => match text::read(written) {
            Ok(definition) => (Some(definition), Vec::new()),
            Err(flaw) => (None, vec![FlawView { at: flaw.at, reason: flaw.reason, hint: flaw.hint }]),
        },
    }
}

async fn act(visit: Visit, desk: Desk, pairs: &Pairs) -> Result<Response, Failed> {
    // A textarea's lines end as HTTP has them.
    let mut sheet = match value(pairs, "as") {
        "text" => Sheet::Text(value(pairs, "text").replace("\r\n", "\n")),
        _ => Sheet::Form(Box::new(Draft::sent(pairs))),
    };
    let act = value(pairs, "act");
    let (act, which) = act.split_once(' ').unwrap_or((act, ""));
    let plain = Shown::default();
    match (act, &mut sheet) {
        ("add", Sheet::Form(draft)) => {
            draft.columns.push(Row::of_a_field());
            return show(&visit, desk, sheet, plain).await;
        }
        ("step", Sheet::Form(draft)) => {
            let row = which.parse::<usize>().ok().and_then(|n| draft.columns.get_mut(n));
            row.into_iter().for_each(|row| row.steps.push(String::new()));
            return show(&visit, desk, sheet, plain).await;
        }
        ("remove", Sheet::Form(draft)) => {
            if let Some(n) = which.parse::<usize>().ok().filter(|n| *n < draft.columns.len()) {
                draft.columns.remove(n);
            }
            return show(&visit, desk, sheet, plain).await;
        }
        ("text", Sheet::Form(draft)) => {
            draft.drop_blank();
            let (definition, flaws) = draft.definition(&desk.object);
            if !flaws.is_empty() {
                // Something else would stand there.
                let outcome = Outcome { flaws, ..Outcome::default() };
                return show(&visit, desk, sheet, Shown { outcome, ..plain }).await;
            }
            let sheet = Sheet::Text(text::write(&Value::Object(definition)));
            return show(&visit, desk, sheet, plain).await;
        }
        ("form", Sheet::Text(written)) => return to_form(&visit, desk, written.clone()).await,
        ("save", _) => {}
        (_, Sheet::Form(draft)) => draft.drop_blank(),
        _ => {}
    }
    if let ("save", Sheet::Form(draft)) = (act, &mut sheet) {
        draft.drop_blank();
    }
    let (definition, flaws) = read(&sheet, &desk.object);
    let Some(definition) = definition else {
        let outcome = Outcome { flaws, ..Outcome::default() };
        return show(&visit, desk, sheet, Shown { outcome, status: Some(StatusCode::UNPROCESSABLE_ENTITY), ..plain })
            .await;
    };
    if act == "save" && flaws.is_empty() {
        let problem = match desk.save(&visit, definition.clone()).await {
            Ok(response) => return Ok(response),
            Err(problem) => problem,
        };
        let mut shown = Shown { status: Some(problem.status()), ..Shown::default() };
        if problem.code() == "invalid_mapping" {
            shown.outcome = tried(&visit, &desk, definition, flaws).await.unwrap_or_default();
        }
        // What the check cannot see is told as it is: another object, another table.
        if shown.outcome.flaws.is_empty() {
            shown.outcome = Outcome::default();
            shown.problem = Some(problem);
        }
        return show(&visit, desk, sheet, shown).await;
    }
    let shown = match tried(&visit, &desk, definition, flaws).await {
        Ok(outcome) => {
            let status = (act == "save").then_some(StatusCode::UNPROCESSABLE_ENTITY);
            Shown { outcome, status, ..Shown::default() }
        }
        Err(problem) => Shown { status: Some(problem.status()), problem: Some(problem), ..Shown::default() },
    };
    show(&visit, desk, sheet, shown).await
}

async fn tried(
    visit: &Visit,
    desk: &Desk,
    definition: Map<String, Value>,
    known: Vec<FlawView>,
) -> Result<Outcome, Problem> {
    let mut outcome = check(visit, desk.connection.id, definition, known).await?;
    if let Some(mapping) = &desk.mapping {
        // That it is there already is no news.
        let itself = format!("there is a mapping `{}` already", mapping.name);
        outcome.warnings.retain(|warning| !warning.starts_with(&itself));
    }
    Ok(outcome)
}

async fn to_form(visit: &Visit, desk: Desk, written: String) -> Result<Response, Failed> {
    let flawed = |flaws| Shown { outcome: Outcome { flaws, ..Outcome::default() }, ..Shown::default() };
    let sheet = Sheet::Text(written);
    let (Some(definition), _) = read(&sheet, &desk.object) else {
        let (_, flaws) = read(&sheet, &desk.object);
        return show(visit, desk, sheet, flawed(flaws)).await;
    };
    match Definition::from_json(Value::Object(definition)) {
        Ok(definition) if definition.object.eq_ignore_ascii_case(&desk.object) || desk.mapping.is_none() => {
            match Draft::of(&definition) {
                Some(draft) => {
                    let desk = Desk { object: definition.object, ..desk };
                    show(visit, desk, Sheet::Form(Box::new(draft)), Shown::default()).await
                }
                None => show(visit, desk, sheet, Shown { note: NOT_IN_A_FORM, ..Shown::default() }).await,
            }
        }
        Ok(definition) => {
            let reason =
                format!("the mapping is of `{}`, and cannot become one of `{}`", desk.object, definition.object);
            let hint = Some("make another mapping".to_owned());
            show(visit, desk, sheet, flawed(vec![FlawView { at: "object".to_owned(), reason, hint }])).await
        }
        Err(error) => {
            let flaws =
                error.flaws.into_iter().map(|flaw| FlawView { at: flaw.at, reason: flaw.reason, hint: flaw.hint });
            show(visit, desk, sheet, flawed(flaws.collect())).await
        }
    }
}

impl Desk {
    async fn save(&self, visit: &Visit, definition: Map<String, Value>) -> Result<Response, Problem> {
        let (service, caller) = (State(visit.service.clone()), visit.caller.clone());
        match &self.mapping {
            Some(mapping) => {
                let change = Body(MappingChange { definition });
                let _ = changing::change_mapping(service, caller, Path(mapping.id), change).await?;
                Ok(done(&format!("/mappings/{}", mapping.id), "redefined"))
            }
            None => {
                let new = Body(NewMapping { integration_id: self.connection.id, definition });
                let (_, Json(made)) = changing::create_mapping(service, caller, new).await?;
                Ok(done(&format!("/mappings/{}", made.mapping.id), "mapped"))
            }
        }
    }
}

async fn show(visit: &Visit, desk: Desk, sheet: Sheet, shown: Shown) -> Result<Response, Failed> {
    let Shown { outcome, problem, note, status } = shown;
    let mapping = desk.mapping.map(|mapping| (mapping.id, mapping.name));
    let title =
        mapping.as_ref().map_or_else(|| format!("New mapping of {}", desk.object), |(_, name)| format!("Edit {name}"));
    let page = Page {
        frame: visit.frame(Place::Mappings, title).await?,
        // Without what the org says, all is typed.
        fields: fields::of(visit, desk.connection.id, &desk.object).await.ok(),
        connection: desk.connection,
        object: desk.object,
        mapping,
        sheet,
        flaws: outcome.flaws,
        warnings: outcome.warnings,
        tried: outcome.tried,
        problem,
        note,
    };
    Ok((status.unwrap_or(StatusCode::OK), Html(page.render()?)).into_response())
}
