//! Setting up, signing in, joining: plain forms, for which no script is needed.

use askama::Template;
use axum::Form;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, header};
use axum::response::{Html, IntoResponse, Redirect, Response};
use serde::Deserialize;
use tieline_auth::Secret;

use crate::accounts::SecretText;
use crate::accounts::invitations::{self, Acceptance};
use crate::accounts::session::{self, Credentials};
use crate::accounts::setup::{self, FirstUser};
use crate::caller::{Address, FormUser};
use crate::connect::return_to;
use crate::extract::Body;
use crate::pages::{Failed, PageCaller, Sent, check_csrf};
use crate::problem::Problem;
use crate::service::Service;

/// Which form is shown.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    SetUp,
    SignIn,
    Join,
}

#[derive(Template)]
#[template(path = "sign_in.html")]
struct Page {
    kind: Kind,
    /// Why the last attempt failed.
    problem: Option<Problem>,
    email: String,
    return_to: String,
}

impl Page {
    fn of(kind: Kind) -> Self {
        Self { kind, problem: None, email: String::new(), return_to: "/".to_owned() }
    }

    fn answer(self) -> Result<Response, Failed> {
        let status = self.problem.as_ref().map_or(axum::http::StatusCode::OK, Problem::status);
        Ok((status, Html(self.render()?)).into_response())
    }
}

/// Where to go afterwards.
#[derive(Deserialize)]
pub(crate) struct Back {
    #[serde(default)]
    return_to: String,
}

/// The form of the first user.
pub(crate) async fn setup_page(State(service): State<Service>) -> Result<Response, Failed> {
    if service.store().has_users().await? {
        return Ok(Redirect::to("/sign-in").into_response());
    }
    Page::of(Kind::SetUp).answer()
}

/// Makes the first user.
pub(crate) async fn set_up(
    State(service): State<Service>,
    address: Address,
    headers: HeaderMap,
    Form(first): Form<FirstUser>,
) -> Result<Response, Failed> {
    let email = first.email.clone();
    match setup::setup(State(service), address, headers, Body(first)).await {
        Ok(answer) => Ok(with_session(&answer, "/")),
        Err(problem) => Page { problem: Some(problem), email, ..Page::of(Kind::SetUp) }.answer(),
    }
}

/// The form to sign in with.
pub(crate) async fn sign_in_page(State(service): State<Service>, Query(back): Query<Back>) -> Result<Response, Failed> {
    let return_to = return_to::checked(&back.return_to, &service.settings().public_url);
    Page { return_to, ..Page::of(Kind::SignIn) }.answer()
}

/// What the form to sign in with sends.
#[derive(Deserialize)]
pub(crate) struct SignInForm {
    #[serde(default)]
    return_to: String,
    email: String,
    password: SecretText,
}

/// Signs in, and goes back to where somebody wanted to go.
pub(crate) async fn sign_in(
    State(service): State<Service>,
    address: Address,
    headers: HeaderMap,
    Form(form): Form<SignInForm>,
) -> Result<Response, Failed> {
    let return_to = return_to::checked(&form.return_to, &service.settings().public_url);
    let email = form.email.clone();
    let given = Credentials { email: form.email, password: form.password };
    match session::sign_in(State(service), address, headers, Body(given)).await {
        Ok(answer) => Ok(with_session(&answer, &return_to)),
        Err(problem) => Page { problem: Some(problem), email, return_to, ..Page::of(Kind::SignIn) }.answer(),
    }
}

/// Signs out.
pub(crate) async fn sign_out(
    page: Result<PageCaller, Redirect>,
    State(service): State<Service>,
    address: Address,
    Form(sent): Form<Sent>,
) -> Result<Response, Problem> {
    let Ok(PageCaller(caller)) = page else { return Ok(Redirect::to("/sign-in").into_response()) };
    let signed_in = caller.signed_in()?.clone();
    check_csrf(&signed_in, &sent.csrf)?;
    let answer = session::sign_out(State(service), signed_in, address).await?;
    Ok(with_session(&answer, "/sign-in"))
}

/// The form of whoever was invited. The token is in the link's fragment, which a little script puts into the form; without
/// script it is copied.
pub(crate) async fn join_page() -> Result<Response, Failed> {
    Page::of(Kind::Join).answer()
}

/// What the form of whoever was invited sends.
#[derive(Deserialize)]
pub(crate) struct JoinForm {
    token: SecretText,
    #[serde(default)]
    name: String,
    #[serde(default)]
    password: String,
}

/// Takes an invitation up.
pub(crate) async fn join(
    State(service): State<Service>,
    FormUser(signed_in): FormUser,
    address: Address,
    headers: HeaderMap,
    Form(form): Form<JoinForm>,
) -> Result<Response, Failed> {
    let some = |text: String| Some(text).filter(|text| !text.is_empty());
    let given = Acceptance {
        token: form.token,
        name: some(form.name),
        password: some(form.password).map(|password| SecretText(Secret::new(password))),
    };
    match invitations::accept(State(service), signed_in, address, headers, Body(given)).await {
        Ok(answer) => Ok(with_session(&answer, "/")),
        Err(problem) => Page { problem: Some(problem), ..Page::of(Kind::Join) }.answer(),
    }
}

/// A redirect that carries the session which an answer of the API has set.
fn with_session(answer: &Response, to: &str) -> Response {
    let mut redirect = Redirect::to(to).into_response();
    for cookie in answer.headers().get_all(header::SET_COOKIE) {
        redirect.headers_mut().append(header::SET_COOKIE, cookie.clone());
    }
    redirect
}
