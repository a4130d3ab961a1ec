//! The first step: what the connection is called, and where people of the org log in.

use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{Html, IntoResponse, Redirect, Response};
use serde::Deserialize;
use serde_json::json;
use tieline_store::Uuid;

use super::{Instead, Scene, Step, StepLine, first_steps, may_set_up};
use crate::connect::authorize::{Environment, checked_login_url};
use crate::extract::{Body, Path};
use crate::integrations::{self, IntegrationChange, NewIntegration};
use crate::pages::frame::{Frame, Place};
use crate::pages::visit::{Sent, Visit};
use crate::problem::Problem;

/// What the form sends.
#[derive(Default, Deserialize)]
pub(crate) struct Form {
    #[serde(default)]
    name: String,
    #[serde(default)]
    environment: String,
    #[serde(default)]
    domain: String,
    /// `check`: say what is wrong, and do nothing.
    #[serde(default)]
    go: String,
}

/// What is wrong with it, beside the field that it is about.
#[derive(Default)]
struct Flaws {
    name: String,
    domain: String,
}

#[derive(Template)]
#[template(path = "setup_org.html")]
struct Page {
    frame: Frame,
    steps: Vec<StepLine>,
    action: String,
    form: Form,
    flaws: Flaws,
}

impl Form {
    fn environment(&self) -> Environment {
        match self.environment.as_str() {
            "sandbox" => Environment::Sandbox,
            "custom" => Environment::Custom,
            _ => Environment::Production,
        }
    }

    /// Of a connection that is there.
    fn of(scene: &Scene) -> Self {
        let url = scene.integration.config["login_url"].as_str().unwrap_or_default();
        let (environment, domain) = match url {
            "" | "https://login.salesforce.com" => ("production", ""),
            "https://test.salesforce.com" => ("sandbox", ""),
            other => ("custom", other.strip_prefix("https://").unwrap_or(other)),
        };
        let (environment, domain) = (environment.to_owned(), domain.to_owned());
        Self { name: scene.integration.name.clone(), environment, domain, go: String::new() }
    }

    /// The name and the login URL; or what is wrong. While somebody is still typing, nothing is said of what is empty.
    async fn read(&self, visit: &Visit, own: Option<Uuid>) -> Result<(String, String), Flaws> {
        let is_check = self.go == "check";
        let told = |problem: Problem| match problem.hint() {
            "" => problem.detail().to_owned(),
            hint => format!("{}: {hint}", problem.detail()),
        };
        let mut flaws = Flaws::default();
        let name = integrations::checked_name(&self.name);
        match &name {
            Err(_) if is_check && self.name.trim().is_empty() => {}
            Err(_) => "A name has from 1 to 100 characters, without line breaks.".clone_into(&mut flaws.name),
            Ok(name) => {
                let there = visit.caller.tenant.integration_named(name).await.ok().flatten();
                if there.is_some_and(|there| Some(there.id) != own) {
                    flaws.name = format!("There is a connection named “{name}” already. Choose another name.");
                }
            }
        }
        let environment = self.environment();
        let domain = Some(self.domain.trim()).filter(|domain| !domain.is_empty());
        let url = match (environment, domain) {
            (Environment::Custom, None) => {
                if !is_check {
                    "Type the org's My Domain, such as acme.my.salesforce.com.".clone_into(&mut flaws.domain);
                }
                None
            }
            _ => match checked_login_url(&visit.service, environment, domain) {
                Ok(url) => Some(url),
                Err(problem) => {
                    flaws.domain = told(problem);
                    None
                }
            },
        };
        match (name, url) {
            (Ok(name), Some(url)) if flaws.name.is_empty() && flaws.domain.is_empty() => Ok((name, url)),
            _ => Err(flaws),
        }
    }
}

/// An answer that nothing is done for: 200 while somebody types, 400 for what they have sent.
fn refused(form: &Form) -> StatusCode {
    if form.go == "check" { StatusCode::OK } else { StatusCode::BAD_REQUEST }
}

async fn first_page(visit: &Visit, form: Form, flaws: Flaws) -> Result<Html<String>, Instead> {
    let frame = visit.frame(Place::Connections, "Connect Salesforce").await?;
    let page = Page { frame, steps: first_steps(), action: "/connections/new".to_owned(), form, flaws };
    Ok(Html(page.render()?))
}

/// Where it begins.
pub(crate) async fn new(visit: Visit) -> Result<Response, Instead> {
    may_set_up(&visit).await?;
    let all = visit.caller.tenant.integrations().await?;
    let name = (1..)
        .map(|n| if n == 1 { "Salesforce".to_owned() } else { format!("Salesforce {n}") })
        .find(|name| all.iter().all(|integration| integration.name != *name));
    let form = Form { name: name.unwrap_or_default(), environment: "production".to_owned(), ..Form::default() };
    Ok(first_page(&visit, form, Flaws::default()).await?.into_response())
}

/// Makes the connection, which waits for its login.
pub(crate) async fn create(sent: Sent<Form>) -> Result<Response, Instead> {
    let Sent { visit, form } = sent;
    may_set_up(&visit).await?;
    let (name, login_url) = match form.read(&visit, None).await {
        Ok(read) if form.go != "check" => read,
        read => {
            let (status, flaws) = (refused(&form), read.err().unwrap_or_default());
            return Ok((status, first_page(&visit, form, flaws).await?).into_response());
        }
    };
    let new = NewIntegration::at(name, login_url);
    let made = integrations::create_integration(State(visit.service.clone()), visit.caller.clone(), Body(new)).await;
    match made {
        Ok((_, axum::Json(made))) => Ok(Redirect::to(&Step::App.path(made.id())).into_response()),
        // Somebody was faster.
        Err(problem) => {
            let (status, flaws) = (problem.status(), Flaws { name: problem.detail().to_owned(), ..Flaws::default() });
            Ok((status, first_page(&visit, form, flaws).await?).into_response())
        }
    }
}

async fn page(scene: &Scene, form: Form, flaws: Flaws) -> Result<Html<String>, Instead> {
    let action = Step::Org.path(scene.id());
    let page = Page { frame: scene.frame().await?, steps: scene.steps(Step::Org), action, form, flaws };
    Ok(Html(page.render()?))
}

/// The same of a connection that is there, and has no login yet.
pub(crate) async fn org(visit: Visit, Path(id): Path<Uuid>) -> Result<Response, Instead> {
    let scene = Scene::at(visit, id, Step::Org).await?;
    let form = Form::of(&scene);
    Ok(page(&scene, form, Flaws::default()).await?.into_response())
}

/// Changes it.
pub(crate) async fn change(Path(id): Path<Uuid>, sent: Sent<Form>) -> Result<Response, Instead> {
    let Sent { visit, form } = sent;
    let scene = Scene::at(visit, id, Step::Org).await?;
    let (name, login_url) = match form.read(&scene.visit, Some(id)).await {
        Ok(read) if form.go != "check" => read,
        read => {
            let (status, flaws) = (refused(&form), read.err().unwrap_or_default());
            return Ok((status, page(&scene, form, flaws).await?).into_response());
        }
    };
    if name != scene.integration.name {
        let (service, caller) = (State(scene.visit.service.clone()), scene.visit.caller.clone());
        let change = IntegrationChange::name(name);
        drop(integrations::change_integration(service, caller, Path(id), Body(change)).await?);
    }
    scene.change(&json!({"login_url": login_url})).await?;
    Ok(Redirect::to(&Step::App.path(id)).into_response())
}
