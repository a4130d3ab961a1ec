//! The third step: somebody logs in to the org, in their browser.

use askama::Template;
use axum::http::{HeaderMap, header};
use axum::response::{Html, IntoResponse, Response};
use tieline_store::Uuid;

use super::{Instead, Scene, Step, StepLine, is_connected};
use crate::connect::authorize::{Asked, Wanted, begin};
use crate::connect::credentials;
use crate::extract::Path;
use crate::pages::connect::Leaving;
use crate::pages::frame::Frame;
use crate::pages::visit::{Nothing, Sent, Visit};
use crate::problem::Problem;

#[derive(Template)]
#[template(path = "setup_login.html")]
struct Page {
    frame: Frame,
    steps: Vec<StepLine>,
    id: Uuid,
    login_url: String,
    client_id: String,
    own_app: bool,
    asked: Asked,
    /// Somebody has logged in already: it may be done again.
    connected: bool,
    problem: Option<Problem>,
}

async fn page(scene: &Scene, problem: Option<Problem>) -> Result<Response, Instead> {
    let service = &scene.visit.service;
    let settings = credentials::open_to_replace(&scene.visit.caller.tenant, scene.id()).await?;
    let app = settings.app(service.settings().app.as_ref());
    let status = problem.as_ref().map_or(axum::http::StatusCode::OK, Problem::status);
    let page = Page {
        frame: scene.frame().await?,
        steps: scene.steps(Step::Login),
        id: scene.id(),
        login_url: scene.integration.config["login_url"].as_str().unwrap_or_default().to_owned(),
        own_app: settings.get("SF_CLIENT_ID").is_some(),
        client_id: app.map(|app| app.client_id).unwrap_or_default(),
        asked: Asked::of(service)?,
        connected: is_connected(&scene.integration),
        problem,
    };
    Ok((status, Html(page.render()?)).into_response())
}

/// What is about to happen.
pub(crate) async fn login(visit: Visit, Path(id): Path<Uuid>) -> Result<Response, Instead> {
    let scene = Scene::at(visit, id, Step::Login).await?;
    page(&scene, None).await
}

/// Goes to the org's login page. From there the browser comes back to the setup, whatever happened.
pub(crate) async fn go(headers: HeaderMap, Path(id): Path<Uuid>, sent: Sent<Nothing>) -> Result<Response, Instead> {
    let scene = Scene::at(sent.visit, id, Step::Login).await?;
    let wanted = Wanted {
        integration: Some(id),
        name: None,
        environment: None,
        domain: None,
        return_to: Some(format!("/connections/{id}/setup")),
    };
    match begin(&scene.visit.service, &scene.visit.caller, &headers, &wanted).await {
        Ok((login, cookie)) => {
            let leaving = Leaving { url: login.url, place: "the org's login page".to_owned() };
            let mut response = Html(leaving.render()?).into_response();
            response.headers_mut().append(header::SET_COOKIE, cookie);
            Ok(response)
        }
        Err(problem) => page(&scene, Some(problem)).await,
    }
}
