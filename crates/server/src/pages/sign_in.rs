//! Setting up, signing in, joining: plain forms, for which no script is needed.

use askama::Template;
use axum::Form;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, header};
use axum::response::{Html, IntoResponse, Redirect, Response};
use serde::Deserialize;
use tieline_auth::Secret;
use tieline_store::Digest;

use crate::accounts::SecretText;
use crate::accounts::invitations::{self, Acceptance};
use crate::accounts::oidc::begin::{Purpose, begin};
use crate::accounts::oidc::refusal::Refusal;
use crate::accounts::password_reset::{self, PasswordReset};
use crate::accounts::session::{self, Credentials};
use crate::accounts::setup::{self, FirstUser};
use crate::caller::{Address, FormUser};
use crate::connect::return_to;
use crate::extract::Body;
use crate::pages::connect::Leaving;
use crate::pages::{Failed, check_csrf};
use crate::problem::Problem;
use crate::service::Service;

/// Which form is shown.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    SetUp,
    SignIn,
    Join,
    Reset,
}

#[derive(Template)]
#[template(path = "sign_in.html")]
struct Page {
    kind: Kind,
    /// Why the last attempt failed.
    problem: Option<Problem>,
    /// What was done before.
    note: &'static str,
    email: String,
    return_to: String,
    /// What the provider is called, if there is one.
    provider: Option<String>,
    takes_passwords: bool,
}

impl Page {
    fn of(kind: Kind, service: &Service) -> Self {
        let provider = service.settings().open_id.as_ref().map(|told| told.name.clone());
        Self {
            kind,
            problem: None,
            note: "",
            email: String::new(),
            return_to: "/".to_owned(),
            provider,
            takes_passwords: service.takes_passwords(),
        }
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
    Page::of(Kind::SetUp, &service).answer()
}

/// Makes the first user.
pub(crate) async fn set_up(
    State(service): State<Service>,
    address: Address,
    headers: HeaderMap,
    Form(first): Form<FirstUser>,
) -> Result<Response, Failed> {
    let email = first.email.clone();
    match setup::setup(State(service.clone()), address, headers, Body(first)).await {
        Ok(answer) => Ok(with_session(&answer, "/")),
        Err(problem) => Page { problem: Some(problem), email, ..Page::of(Kind::SetUp, &service) }.answer(),
    }
}

/// The form to sign in with.
pub(crate) async fn sign_in_page(State(service): State<Service>, Query(back): Query<Back>) -> Result<Response, Failed> {
    let return_to = return_to::checked(&back.return_to, &service.settings().public_url);
    Page { return_to, ..Page::of(Kind::SignIn, &service) }.answer()
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
    match session::sign_in(State(service.clone()), address, headers, Body(given)).await {
        Ok(answer) => Ok(with_session(&answer, &return_to)),
        Err(problem) => Page { problem: Some(problem), email, return_to, ..Page::of(Kind::SignIn, &service) }.answer(),
    }
}

/// What the button to sign out sends.
#[derive(Deserialize)]
pub(crate) struct SignOut {
    #[serde(default)]
    csrf: String,
}

/// Signs out.
pub(crate) async fn sign_out(
    FormUser(signed_in): FormUser,
    State(service): State<Service>,
    address: Address,
    Form(sent): Form<SignOut>,
) -> Result<Response, Failed> {
    let Ok(signed_in) = signed_in else { return Ok(Redirect::to("/sign-in").into_response()) };
    check_csrf(&signed_in, &sent.csrf)?;
    let answer = session::sign_out(State(service), signed_in, address).await?;
    Ok(with_session(&answer, "/sign-in"))
}

/// The form of whoever was invited. The token is in the link's fragment, which a little script puts into the form; without
/// script it is copied.
pub(crate) async fn join_page(State(service): State<Service>) -> Result<Response, Failed> {
    Page::of(Kind::Join, &service).answer()
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
    match invitations::accept(State(service.clone()), signed_in, address, headers, Body(given)).await {
        Ok(answer) => Ok(with_session(&answer, "/")),
        Err(problem) => Page { problem: Some(problem), ..Page::of(Kind::Join, &service) }.answer(),
    }
}

/// The form of whoever has a reset link. Its token comes as that of an invitation.
pub(crate) async fn reset_page(State(service): State<Service>) -> Result<Response, Failed> {
    Page::of(Kind::Reset, &service).answer()
}

/// Sets a password anew; then one signs in with it, or is signed in where no password is taken otherwise.
pub(crate) async fn reset(
    State(service): State<Service>,
    address: Address,
    headers: HeaderMap,
    Form(given): Form<PasswordReset>,
) -> Result<Response, Failed> {
    match password_reset::reset_password(State(service.clone()), address, headers, Body(given)).await {
        Ok(answer) if answer.headers().contains_key(header::SET_COOKIE) => Ok(with_session(&answer, "/")),
        Ok(_) => {
            let note = "Your password is set, and all your sessions have ended. Sign in with it.";
            Page { note, ..Page::of(Kind::SignIn, &service) }.answer()
        }
        Err(problem) => Page { problem: Some(problem), ..Page::of(Kind::Reset, &service) }.answer(),
    }
}

/// What the buttons with the provider's name send.
#[derive(Deserialize)]
pub(crate) struct ProviderForm {
    /// `join` and `link`; else it is to sign in.
    #[serde(default)]
    purpose: String,
    #[serde(default)]
    return_to: String,
    #[serde(default)]
    csrf: String,
    token: Option<SecretText>,
}

/// Sends the browser to the provider, by a page of ours.
pub(crate) async fn to_provider(
    State(service): State<Service>,
    FormUser(signed_in): FormUser,
    headers: HeaderMap,
    Form(form): Form<ProviderForm>,
) -> Result<Response, Failed> {
    let begun = async {
        let (purpose, return_to) = match (form.purpose.as_str(), &form.token) {
            ("join", Some(token)) => (Purpose::Join(Digest::of(token.0.expose().trim())), "/".to_owned()),
            ("link", _) => {
                let signed_in = signed_in?;
                check_csrf(&signed_in, &form.csrf)?;
                (Purpose::Link(signed_in.user.id), "/account".to_owned())
            }
            _ => (Purpose::SignIn, return_to::checked(&form.return_to, &service.settings().public_url)),
        };
        begin(&service, &headers, purpose, &return_to).await
    };
    match begun.await {
        Ok((url, cookie)) => {
            let place = service.settings().open_id.as_ref().map(|told| told.name.clone()).unwrap_or_default();
            let mut response = Html(Leaving { url, place }.render()?).into_response();
            response.headers_mut().append(header::SET_COOKIE, cookie);
            Ok(response)
        }
        Err(refusal) => {
            let refusal: Refusal = refusal;
            tracing::warn!(code = refusal.code(), detail = refusal.detail(), "a sign-in could not be begun");
            Ok(refusal.answer(&headers))
        }
    }
}

/// A redirect that carries the session which an answer of the API has set.
pub(super) fn with_session(answer: &Response, to: &str) -> Response {
    let mut redirect = Redirect::to(to).into_response();
    for cookie in answer.headers().get_all(header::SET_COOKIE) {
        redirect.headers_mut().append(header::SET_COOKIE, cookie.clone());
    }
    redirect
}
