//! Where a person chooses which kind of org to connect.

use askama::Template;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, header};
use axum::response::{Html, IntoResponse, Redirect, Response};
use serde::Deserialize;
use tieline_store::Uuid;

use crate::connect::authorize::{Environment, Wanted, begin};
use crate::pages::{Failed, PageCaller};
use crate::problem::Problem;
use crate::service::Service;

#[derive(Template)]
#[template(path = "connect.html")]
struct Page {
    problem: Option<Problem>,
    domain: String,
    integration: String,
    return_to: String,
}

/// The way there: a page of ours that goes on by itself. A redirect would be refused by browsers, because forms of our
/// pages lead to our pages alone (`form-action 'self'`), and where it leads to is a page that an org or a provider names.
#[derive(Template)]
#[template(path = "leaving.html")]
pub(crate) struct Leaving {
    pub(crate) url: String,
    /// What the page there is called.
    pub(crate) place: String,
}

/// What the form sends.
#[derive(Deserialize)]
pub(crate) struct Chosen {
    environment: Option<String>,
    #[serde(default)]
    domain: String,
    #[serde(default)]
    integration: String,
    #[serde(default)]
    return_to: String,
}

/// The form; and, once something was chosen, the way to the org's login page.
pub(crate) async fn connect(
    page: Result<PageCaller, Redirect>,
    State(service): State<Service>,
    headers: HeaderMap,
    Query(chosen): Query<Chosen>,
) -> Result<Response, Failed> {
    let caller = match page {
        Ok(PageCaller(caller)) => caller,
        Err(redirect) => return Ok(redirect.into_response()),
    };
    let mut form = Page {
        problem: None,
        domain: chosen.domain.clone(),
        integration: chosen.integration.clone(),
        return_to: chosen.return_to.clone(),
    };
    let environment = match chosen.environment.as_deref() {
        None => return Ok(Html(form.render()?).into_response()),
        Some("sandbox") => Environment::Sandbox,
        Some("custom") => Environment::Custom,
        Some(_) => Environment::Production,
    };
    let some = |text: String| Some(text.trim().to_owned()).filter(|text| !text.is_empty());
    let wanted = Wanted {
        integration: Uuid::parse_str(&chosen.integration).ok(),
        name: None,
        environment: Some(environment),
        domain: some(chosen.domain),
        return_to: some(chosen.return_to),
    };
    match begin(&service, &caller, &headers, &wanted).await {
        Ok((login, cookie)) => {
            let mut response =
                Html(Leaving { url: login.url, place: "the org's login page".to_owned() }.render()?).into_response();
            response.headers_mut().append(header::SET_COOKIE, cookie);
            Ok(response)
        }
        Err(problem) => {
            let status = problem.status();
            form.problem = Some(problem);
            Ok((status, Html(form.render()?)).into_response())
        }
    }
}
