//! The fourth step: which of the org's objects are kept in step.

use std::collections::BTreeMap;

use askama::Template;
use axum::extract::State;
use axum::response::{Html, IntoResponse, Redirect, Response};
use serde::Deserialize;
use tieline_store::Uuid;

use super::{Chosen, Instead, Scene, Step, StepLine};
use crate::extract::{Path, Query};
use crate::mappings::objects::{ObjectView, WhichObjects, objects as objects_of};
use crate::pages::chosen::all_chosen;
use crate::pages::frame::Frame;
use crate::pages::visit::{Sent, Visit};
use crate::pages::words::grouped;
use crate::problem::Problem;

/// What most people want, in this order.
const USUAL: [&str; 9] = ["Contact", "Lead", "Account", "Opportunity", "Task", "Event", "User", "Case", "Campaign"];

/// Objects that one page shows.
const SHOWN: usize = 60;

/// Objects that one setup takes. There can be as many as one likes, made one by one.
const MOST: usize = 50;

/// What the form sends.
#[derive(Default, Deserialize)]
pub(crate) struct Form {
    #[serde(default)]
    q: String,
    /// Chosen on pages before this one, with white space between.
    #[serde(default)]
    chosen: String,
    /// Of this page: all that were shown, and those that are chosen.
    #[serde(default)]
    shown: String,
    #[serde(default)]
    one: Vec<String>,
    /// `search` or `save`.
    #[serde(default)]
    go: String,
}

impl Form {
    fn all_chosen(&self) -> Vec<String> {
        all_chosen(&self.chosen, &self.shown, &self.one)
    }
}

struct Line {
    name: String,
    label: String,
    is_custom: bool,
    is_contacts: bool,
    is_mapped: bool,
    is_chosen: bool,
    /// About how many records it has.
    records: String,
}

#[derive(Template)]
#[template(path = "setup_objects.html")]
struct Page {
    frame: Frame,
    steps: Vec<StepLine>,
    id: Uuid,
    q: String,
    lines: Vec<Line>,
    chosen: Vec<String>,
    /// Of how many this page shows some.
    found: usize,
    all: usize,
    problem: Option<Problem>,
}

/// The org's objects that can be mapped.
async fn every(scene: &Scene) -> Result<Vec<ObjectView>, Problem> {
    let (service, caller) = (State(scene.visit.service.clone()), scene.visit.caller.clone());
    let axum::Json(all) = objects_of(service, caller, Path(scene.id()), Query(WhichObjects::default())).await?;
    Ok(all.objects.into_iter().filter(|object| object.queryable).collect())
}

/// About how many records objects have, as the org has counted; what it does not say is left out.
async fn counts(scene: &Scene, objects: &[&str]) -> BTreeMap<String, u64> {
    if objects.is_empty() {
        return BTreeMap::new();
    }
    let Ok(connection) = scene.visit.service.connection(&scene.visit.caller.tenant, &scene.integration).await else {
        return BTreeMap::new();
    };
    connection.record_counts(objects).await.unwrap_or_default()
}

/// The usual ones first, then the org's own. Others are found by their names.
fn shown(mut all: Vec<ObjectView>, q: &str) -> Vec<ObjectView> {
    let place = |object: &ObjectView| USUAL.iter().position(|usual| *usual == object.name).unwrap_or(USUAL.len());
    if q.is_empty() {
        all.retain(|object| object.custom || USUAL.contains(&object.name.as_str()));
    }
    all.sort_by_key(place);
    all.truncate(SHOWN);
    all
}

async fn page(scene: &Scene, form: &Form, problem: Option<Problem>) -> Result<Response, Instead> {
    let (q, chosen) = (form.q.trim(), form.all_chosen());
    let (mut problem, mut all) = (problem, 0);
    let found: Vec<ObjectView> = match every(scene).await {
        Ok(every) => {
            all = every.len();
            let part = q.to_lowercase();
            let fits = |object: &ObjectView| {
                let named = |text: &str| text.to_lowercase().contains(&part);
                named(&object.name) || named(&object.label)
            };
            every.into_iter().filter(fits).collect()
        }
        Err(error) => {
            problem = problem.or(Some(error));
            Vec::new()
        }
    };
    let number = found.len();
    let shown = shown(found, q);
    let names: Vec<&str> = shown.iter().map(|object| object.name.as_str()).collect();
    let counts = counts(scene, &names).await;
    let line = |object: ObjectView| Line {
        is_custom: object.custom,
        is_contacts: object.name == "Contact",
        is_mapped: scene.is_mapped(&object.name),
        is_chosen: chosen.contains(&object.name),
        records: counts.get(&object.name).map(|n| grouped(*n)).unwrap_or_default(),
        name: object.name,
        label: object.label,
    };
    let status = problem.as_ref().map_or(axum::http::StatusCode::OK, Problem::status);
    let page = Page {
        frame: scene.frame().await?,
        steps: scene.steps(Step::Objects),
        id: scene.id(),
        q: form.q.clone(),
        lines: shown.into_iter().map(line).collect(),
        chosen,
        found: number,
        all,
        problem,
    };
    Ok((status, Html(page.render()?)).into_response())
}

/// Which objects.
#[derive(Deserialize)]
pub(crate) struct Which {
    #[serde(default)]
    q: String,
}

/// The list, with what was chosen before.
pub(crate) async fn objects(
    visit: Visit,
    Path(id): Path<Uuid>,
    Query(which): Query<Which>,
) -> Result<Response, Instead> {
    let scene = Scene::at(visit, id, Step::Objects).await?;
    let chosen = scene.chosen.objects.clone().unwrap_or_default().join(" ");
    let form = Form { q: which.q, chosen, ..Form::default() };
    // What stands in `chosen` and is not said to be shown is kept.
    page(&scene, &form, None).await
}

/// Another search, or what is chosen.
pub(crate) async fn choose(Path(id): Path<Uuid>, sent: Sent<Form>) -> Result<Response, Instead> {
    let Sent { visit, form } = sent;
    let scene = Scene::at(visit, id, Step::Objects).await?;
    if form.go == "search" {
        return page(&scene, &form, None).await;
    }
    let there = match every(&scene).await {
        Ok(there) => there,
        Err(problem) => return page(&scene, &form, Some(problem)).await,
    };
    let is_there = |name: &String| name != "Contact" && there.iter().any(|object| object.name == *name);
    let chosen: Vec<String> = form.all_chosen().into_iter().filter(is_there).collect();
    if chosen.len() > MOST {
        let detail = format!("{} objects are chosen, and a setup takes {MOST}", chosen.len());
        let problem = Problem::invalid(detail, "begin with fewer: others can be added later, under Mappings");
        return page(&scene, &form, Some(problem)).await;
    }
    let mut asked: Vec<&str> = chosen.iter().map(String::as_str).collect();
    asked.push("Contact");
    let counts = counts(&scene, &asked).await;
    scene.keep(&Chosen { app: true, objects: Some(chosen), skipped: Vec::new(), counts }).await?;
    Ok(Redirect::to(&format!("/connections/{id}/setup")).into_response())
}
