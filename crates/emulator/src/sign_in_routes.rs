//! The pages that people see: sign-in, consent, and the code of a device. No script, one form each.

use std::collections::HashMap;

use askama::Template;
use axum::Router;
use axum::extract::{Form, Query, RawQuery, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{AppendHeaders, Html, IntoResponse, Response};
use axum::routing::{get, post};

use crate::Shared;
use crate::oauth::authorize::{Refused, Request};
use crate::oauth::browser::{COOKIE, Purpose};
use crate::oauth::{OAuthError, device};
use crate::org::Org;

/// Whose username the browser was asked to remember.
const REMEMBERED: &str = "login";
const A_MONTH: u32 = 30 * 24 * 3_600;

pub(crate) fn router() -> Router<Shared> {
    Router::new()
        .route("/services/oauth2/authorize", get(authorize))
        .route("/services/oauth2/consent", post(consent))
        .route("/login", post(sign_in))
        .route("/setup/connect", get(connect).post(enter_code))
}

#[derive(Template)]
#[template(path = "sign_in.html")]
struct SignIn {
    form: String,
    username: String,
    failed: bool,
    /// The browser was asked to remember it.
    remembered: bool,
}

#[derive(Template)]
#[template(path = "consent.html")]
struct Consent {
    form: String,
    app: String,
    username: String,
    scopes: Vec<String>,
}

#[derive(Template)]
#[template(path = "device.html")]
struct EnterCode {
    failed: bool,
}

#[derive(Template)]
#[template(path = "done.html")]
struct Done {
    heading: &'static str,
    text: &'static str,
}

const FORGED: Done =
    Done { heading: "This form was used already", text: "Go back to where you began, and begin again." };

fn page(status: StatusCode, template: &impl Template) -> Response {
    match template.render() {
        Ok(html) => (status, [(header::CACHE_CONTROL, "no-store")], Html(html)).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

fn go(to: &str) -> Response {
    (StatusCode::FOUND, [(header::LOCATION, to), (header::CACHE_CONTROL, "no-store")]).into_response()
}

fn refused(refused: Refused) -> Response {
    match refused {
        Refused::There(url) => go(&url),
        // Content-Type is empty, as a real org sends it; browsers then offer a download.
        Refused::Here(error) => (StatusCode::BAD_REQUEST, [(header::CONTENT_TYPE, "")], error.form()).into_response(),
    }
}

fn cookie(headers: &HeaderMap, name: &str) -> Option<String> {
    let all = headers.get(header::COOKIE)?.to_str().ok()?;
    all.split(';').find_map(|pair| Some(pair.trim().strip_prefix(name)?.strip_prefix('=')?.to_owned()))
}

/// What the browser sends of us.
#[derive(Debug, Clone, Default)]
struct Browser {
    /// Of whom who has signed in.
    session: Option<String>,
    /// The username that it was asked to remember.
    remembered: Option<String>,
}

impl Browser {
    fn of(headers: &HeaderMap) -> Self {
        let remembered = cookie(headers, REMEMBERED);
        let remembered = remembered
            .and_then(|name| url::form_urlencoded::parse(name.as_bytes()).next().map(|(name, _)| name.into_owned()));
        Self { session: cookie(headers, COOKIE), remembered }
    }
}

fn sign_in_page(org: &mut Org, next: String, username: &str, browser: &Browser) -> Response {
    let form = org.browsers.form(Purpose::SignIn { next });
    let remembered = browser.remembered.as_deref().filter(|_| username.is_empty());
    let username = remembered.unwrap_or(username).to_owned();
    page(StatusCode::OK, &SignIn { form, username, failed: false, remembered: browser.remembered.is_some() })
}

fn consent_page(org: &mut Org, purpose: Purpose, app: &str, user_id: &str, scope: &str) -> Response {
    let username = org.user_by_id(user_id).ok().flatten().map_or_else(String::new, |user| user.username);
    let scopes = scope.split(' ').map(in_words).collect();
    let form = org.browsers.form(purpose);
    page(StatusCode::OK, &Consent { form, app: app.to_owned(), username, scopes })
}

fn in_words(scope: &str) -> String {
    let words = match scope {
        "api" => "read and change the data that you can see",
        "web" => "open pages of the org in a browser",
        "refresh_token" | "offline_access" => "do so at any time, until you revoke it",
        "full" => "do everything that you can do",
        "id" | "profile" | "email" | "openid" => "know who you are",
        other => return other.to_owned(),
    };
    format!("{words} ({scope})")
}

async fn authorize(State(shared): State<Shared>, RawQuery(query): RawQuery, headers: HeaderMap) -> Response {
    let query = query.unwrap_or_default();
    let browser = Browser::of(&headers);
    shared.with_org(move |org| answer(org, query, &browser)).await
}

fn answer(org: &mut Org, query: String, browser: &Browser) -> Response {
    let form = url::form_urlencoded::parse(query.as_bytes()).into_owned().collect();
    let request = match Request::read(org, &form) {
        Ok(request) => request,
        Err(error) => return refused(error),
    };
    let wants = |what: &str| request.prompt.iter().any(|prompt| prompt == what);
    let user = org.browsers.user(browser.session.as_deref()).filter(|_| !wants("login"));
    let undecided = |user: &str| wants("consent") || !request.is_approved(org, user);
    if request.immediate && user.as_deref().is_none_or(undecided) {
        return refused(request.refuse(&OAuthError("immediate_unsuccessful", "interaction is needed")));
    }
    let Some(user) = user else {
        return sign_in_page(org, after_sign_in(&query), &request.login_hint, browser);
    };
    if let Some(error) = request.shut_out(org, &user) {
        return refused(error);
    }
    if undecided(&user) {
        let purpose = Purpose::Authorize { query, user_id: user.clone() };
        return consent_page(org, purpose, &request.app.name, &user, &request.scope);
    }
    allow(org, request, &user)
}

/// Where signing in leads to. To sign in once is what `prompt=login` asked for.
fn after_sign_in(query: &str) -> String {
    let pairs = url::form_urlencoded::parse(query.as_bytes());
    let pairs = pairs.map(|(k, v)| if k == "prompt" { (k, v.replace("login", "").into()) } else { (k, v) });
    let rest = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish();
    format!("/services/oauth2/authorize?{rest}")
}

fn allow(org: &mut Org, request: Request, user: &str) -> Response {
    match request.allow(org, user) {
        Ok(url) => go(&url),
        Err(error) => refused(Refused::Here(error)),
    }
}

async fn sign_in(State(shared): State<Shared>, Form(fields): Form<HashMap<String, String>>) -> Response {
    shared
        .with_org(move |org| {
            let field = |name: &str| fields.get(name).map_or("", String::as_str);
            let Some(Purpose::SignIn { next }) = org.browsers.used(field("form")) else {
                return page(StatusCode::FORBIDDEN, &FORGED);
            };
            let user = org.user(field("username")).ok().flatten().filter(|user| user.active);
            let known = user.filter(|user| org.passwords.get(&user.id).is_some_and(|p| p == field("password")));
            let remember = field("remember") == "yes";
            let Some(user) = known else {
                let form = org.browsers.form(Purpose::SignIn { next });
                let username = field("username").to_owned();
                return page(StatusCode::OK, &SignIn { form, username, failed: true, remembered: remember });
            };
            let cookie = org.browsers.sign_in(&user.id);
            let set = format!("{COOKIE}={cookie}; Path=/; HttpOnly; SameSite=Lax");
            let name: String = url::form_urlencoded::byte_serialize(user.username.as_bytes()).collect();
            let seconds = if remember { A_MONTH } else { 0 };
            let kept = format!("{REMEMBERED}={name}; Path=/; HttpOnly; SameSite=Lax; Max-Age={seconds}");
            let cookies = AppendHeaders([(header::SET_COOKIE, set), (header::SET_COOKIE, kept)]);
            (StatusCode::FOUND, [(header::LOCATION, next)], cookies).into_response()
        })
        .await
}

async fn consent(State(shared): State<Shared>, Form(fields): Form<HashMap<String, String>>) -> Response {
    shared
        .with_org(move |org| {
            let field = |name: &str| fields.get(name).map_or("", String::as_str);
            let (allowed, is_other) = (field("decision") == "allow", field("decision") == "other");
            match org.browsers.used(field("form")) {
                Some(Purpose::Authorize { query, .. }) if is_other => {
                    sign_in_page(org, after_sign_in(&query), "", &Browser::default())
                }
                Some(Purpose::Device { user_code, .. }) if is_other => {
                    sign_in_page(org, to_device(&user_code), "", &Browser::default())
                }
                Some(Purpose::Authorize { query, user_id }) => {
                    let form = url::form_urlencoded::parse(query.as_bytes()).into_owned().collect();
                    match Request::read(org, &form) {
                        Ok(request) if allowed => allow(org, request, &user_id),
                        Ok(request) => {
                            refused(request.refuse(&OAuthError("access_denied", "end-user denied authorization")))
                        }
                        Err(error) => refused(error),
                    }
                }
                Some(Purpose::Device { user_code, user_id }) => decide(org, &user_code, allowed.then_some(user_id)),
                _ => page(StatusCode::FORBIDDEN, &FORGED),
            }
        })
        .await
}

fn decide(org: &mut Org, user_code: &str, user: Option<String>) -> Response {
    let Some(waiting) = device::waiting(org, user_code) else {
        return page(StatusCode::OK, &EnterCode { failed: true });
    };
    let client_id = waiting.client_id.clone();
    waiting.decision = Some(user.clone());
    let (heading, text) = match user {
        Some(user) => {
            let approval = (client_id, user);
            if !org.approvals.contains(&approval) {
                org.approvals.push(approval);
            }
            ("The device is connected", "You can close this page and go on there.")
        }
        None => ("The device was not connected", "You can close this page."),
    };
    page(StatusCode::OK, &Done { heading, text })
}

async fn connect(
    State(shared): State<Shared>,
    Query(query): Query<HashMap<String, String>>,
    headers: HeaderMap,
) -> Response {
    let Some(user_code) = query.get("user_code").cloned() else {
        return page(StatusCode::OK, &EnterCode { failed: false });
    };
    shared
        .with_org(move |org| {
            let Some((client_id, scope)) =
                device::waiting(org, &user_code).map(|device| (device.client_id.clone(), device.scope.clone()))
            else {
                return page(StatusCode::OK, &EnterCode { failed: true });
            };
            let browser = Browser::of(&headers);
            let Some(user_id) = org.browsers.user(browser.session.as_deref()) else {
                return sign_in_page(org, to_device(&user_code), "", &browser);
            };
            let app = org.apps.iter().find(|app| app.client_id == client_id).map_or("", |app| &app.name).to_owned();
            let purpose = Purpose::Device { user_code, user_id: user_id.clone() };
            consent_page(org, purpose, &app, &user_id, &scope)
        })
        .await
}

async fn enter_code(Form(fields): Form<HashMap<String, String>>) -> Response {
    let code = fields.get("user_code").map_or("", String::as_str).trim();
    go(&to_device(code))
}

fn to_device(user_code: &str) -> String {
    let code: String = url::form_urlencoded::byte_serialize(user_code.as_bytes()).collect();
    format!("/setup/connect?user_code={code}")
}
