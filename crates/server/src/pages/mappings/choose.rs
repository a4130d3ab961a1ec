//! Of which org, and of which object, a new mapping is to be.

use askama::Template;
use axum::Json;
use axum::extract::State;
use axum::response::{Html, IntoResponse, Redirect, Response};
use serde::Deserialize;
use tieline_store::mappings::Mapping;
use tieline_store::{Integration, Role, Status, Uuid};

use crate::extract::{Path, Query};
use crate::mappings::objects::{self, ObjectView, WhichObjects};
use crate::pages::Failed;
use crate::pages::frame::{Frame, Place};
use crate::pages::visit::Visit;
use crate::problem::Problem;

/// Objects of a page.
const SHOWN: usize = 60;

/// Objects that are shown before anybody searches, beside those that the org's own people have made.
const USUAL: [&str; 14] = [
    "Account",
    "Asset",
    "Campaign",
    "CampaignMember",
    "Case",
    "Contact",
    "Contract",
    "Event",
    "Lead",
    "Opportunity",
    "OpportunityLineItem",
    "Product2",
    "Task",
    "User",
];

/// What is chosen already.
#[derive(Deserialize)]
pub(crate) struct Chosen {
    connection: Option<Uuid>,
    #[serde(default)]
    object: String,
    #[serde(default)]
    q: String,
    /// `text`, if the definition is to be written as text.
    #[serde(default, rename = "as")]
    form: String,
}

/// An object, and the mappings that it has.
struct Line {
    object: ObjectView,
    mapped: Vec<(Uuid, String)>,
}

#[derive(Template)]
#[template(path = "mapping_new.html")]
struct Page {
    frame: Frame,
    /// To choose from; empty where it is chosen.
    connections: Vec<Integration>,
    connection: Option<Integration>,
    objects: Vec<Line>,
    q: String,
    /// There are more than are shown.
    more: bool,
    problem: Option<Problem>,
}

/// The page: the connection, then the object, then the editor.
pub(crate) async fn choose(visit: Visit, Query(chosen): Query<Chosen>) -> Result<Response, Failed> {
    visit.caller.at_least(Role::Member)?;
    let tenant = &visit.caller.tenant;
    let mut page = Page {
        frame: visit.frame(Place::Mappings, "New mapping").await?,
        connections: Vec::new(),
        connection: None,
        objects: Vec::new(),
        q: chosen.q,
        more: false,
        problem: None,
    };
    let Some(id) = chosen.connection else {
        let mut all = tenant.integrations().await?;
        all.retain(|of| matches!(of.status, Status::Active | Status::Error));
        if let [only] = all.as_slice() {
            return Ok(Redirect::to(&format!("/mappings/new?connection={}", only.id)).into_response());
        }
        page.connections = all;
        return Ok(Html(page.render()?).into_response());
    };
    let connection = tenant.integration(id).await?.ok_or_else(|| Problem::not_found("connection"))?;
    if !chosen.object.is_empty() {
        return super::edit::new(visit, connection, &chosen.object, chosen.form == "text").await;
    }
    let which = WhichObjects { q: Some(page.q.clone()).filter(|q| !q.is_empty()) };
    match objects::objects(State(visit.service.clone()), visit.caller.clone(), Path(id), Query(which)).await {
        Ok(Json(found)) => {
            let there = tenant.mappings(id).await?;
            let is_usual = |object: &ObjectView| object.custom || USUAL.contains(&object.name.as_str());
            let fits = |object: &ObjectView| object.queryable && (!page.q.is_empty() || is_usual(object));
            let mut objects: Vec<ObjectView> = found.objects.into_iter().filter(fits).collect();
            page.more = objects.len() > SHOWN;
            objects.truncate(SHOWN);
            page.objects = objects.into_iter().map(|object| Line { mapped: of(&there, &object), object }).collect();
        }
        Err(problem) => page.problem = Some(problem),
    }
    page.connection = Some(connection);
    let status = page.problem.as_ref().map_or(axum::http::StatusCode::OK, Problem::status);
    Ok((status, Html(page.render()?)).into_response())
}

fn of(there: &[Mapping], object: &ObjectView) -> Vec<(Uuid, String)> {
    let same = there.iter().filter(|mapping| mapping.object == object.name);
    same.map(|mapping| (mapping.id, mapping.name.clone())).collect()
}
