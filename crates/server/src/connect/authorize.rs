//! `GET /api/integrations/salesforce/authorize`

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use jiff::SignedDuration;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tieline_auth::App;
use tieline_auth::grant::authorization_code::Authorize;
use tieline_store::{Digest, Integration, NewLogin, Role, Uuid};
use url::Url;
use utoipa::{IntoParams, ToSchema};

use crate::caller::{Caller, same_origin};
use crate::connect::{CALLBACK, credentials, return_to};
use crate::extract::Query;
use crate::problem::Problem;
use crate::secrets;
use crate::service::Service;
use crate::telemetry::measures;

/// How long a login may take. The org's code lives 15 minutes.
pub(super) const LIFE: SignedDuration = SignedDuration::from_mins(10);

const PRODUCTION: &str = "https://login.salesforce.com";
const SANDBOX: &str = "https://test.salesforce.com";

/// What to connect, and how.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Wanted {
    /// Connect this integration again. Without it, the one that is pending or shut is taken; else a new one is made.
    pub(crate) integration: Option<Uuid>,
    /// Name of a new integration.
    #[param(max_length = 100)]
    pub(crate) name: Option<String>,
    /// `production` (login.salesforce.com), `sandbox` (test.salesforce.com) or `custom` (then `domain` is needed).
    #[param(inline)]
    pub(crate) environment: Option<Environment>,
    /// A My Domain: `acme.my.salesforce.com`.
    #[param(max_length = 300)]
    pub(crate) domain: Option<String>,
    /// The page to come back to: a path of this service.
    #[param(max_length = 2000)]
    pub(crate) return_to: Option<String>,
}

/// Where people of an org log in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Environment {
    /// login.salesforce.com
    Production,
    /// test.salesforce.com
    Sandbox,
    /// The org's own domain.
    Custom,
}

/// Where to send the browser.
#[derive(Serialize, ToSchema)]
pub(crate) struct LoginPage {
    /// The org's login page. It holds the login's `state`: for this browser alone.
    #[schema(format = "uri")]
    pub(crate) url: String,
    /// What is being connected.
    integration: Uuid,
}

/// Begin to connect an org
///
/// A browser is redirected to the org's login page; a program (`Accept: application/json`) gets its URL. Either way the
/// browser gets a cookie without which nobody can finish the login. It must be finished within ten minutes.
#[utoipa::path(
    get,
    path = "/api/integrations/salesforce/authorize",
    tag = "connect",
    security(("session" = [])),
    params(Wanted),
    responses(
        (status = 200, description = "The login page", body = LoginPage),
        (status = 302, description = "To the login page"),
        (status = "4XX", description = "It cannot be begun", body = Problem, content_type = "application/problem+json"),
        (status = "5XX", description = "The service failed", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn authorize(
    State(service): State<Service>,
    caller: Caller,
    headers: HeaderMap,
    Query(wanted): Query<Wanted>,
) -> Result<Response, Problem> {
    let (page, cookie) = begin(&service, &caller, &headers, &wanted).await?;
    let mut response = if wants_page(&headers) {
        (StatusCode::FOUND, [(header::LOCATION, page.url)]).into_response()
    } else {
        Json(page).into_response()
    };
    response.headers_mut().append(header::SET_COOKIE, cookie);
    Ok(response)
}

/// Writes the login down. Answers the login page, and the cookie without which nobody can finish it.
pub(crate) async fn begin(
    service: &Service,
    caller: &Caller,
    headers: &HeaderMap,
    wanted: &Wanted,
) -> Result<(LoginPage, HeaderValue), Problem> {
    caller.at_least(Role::Admin)?;
    caller.signed_in()?;
    // A page of another site must not send its visitors to connect an org of its own choice.
    same_origin(headers, service)?;
    let longest = |text: &Option<String>, most: usize| text.as_ref().is_none_or(|text| text.chars().count() <= most);
    if !longest(&wanted.return_to, 2000) || !longest(&wanted.domain, 300) {
        return Err(Problem::invalid(
            "return_to or domain is longer than such a thing is",
            "send a path, and a host name",
        ));
    }
    let integration = integration(service, caller, wanted).await?;
    let settings = credentials::open_to_replace(&caller.tenant, integration.id).await?;
    let app = settings.app(service.settings().app.as_ref()).map_err(not_configured)?;
    let login_url = login_url(wanted, &integration)?;
    let mut app = App { client_secret: app.client_secret, ..salesforce_app(&login_url, app.client_id)? };
    app.hosts.loopback = service.settings().allow_loopback;

    let redirect_uri = redirect_uri(service)?;
    let now = service.now();
    let pending = Authorize::new(redirect_uri.clone()).begin(&app, now).map_err(invalid)?;
    let kept = pending.kept();
    let browser = match service.cookies().login(headers) {
        // Two tabs of one browser can both log in.
        Some(value) if value.len() == 43 => tieline_auth::Secret::new(value),
        _ => secrets::random("")?,
    };
    let secret = json!({"verifier": kept.verifier.expose()}).to_string();
    let login = NewLogin {
        integration: &integration,
        state: Digest::of(kept.state.expose()),
        browser: Digest::of(browser.expose()),
        secrets: secret.as_bytes(),
        login_url: app.login_url.as_str(),
        redirect_uri: redirect_uri.as_str(),
        return_to: &return_to::checked(wanted.return_to.as_deref().unwrap_or("/"), &service.settings().public_url),
        expires_at: now + LIFE,
    };
    caller.tenant.begin_login(&login, now).await?;
    measures::login_begun();
    let url = pending.url().to_string();
    let cookie = service.cookies().set_login(&browser, LIFE.as_secs());
    Ok((LoginPage { url, integration: integration.id }, cookie))
}

/// The one to connect: the one that is named; else one that waits for it; else a new one.
async fn integration(service: &Service, caller: &Caller, wanted: &Wanted) -> Result<Integration, Problem> {
    use tieline_store::Status::{Inactive, Pending};
    if let Some(id) = wanted.integration {
        return caller.tenant.integration(id).await?.ok_or_else(|| Problem::not_found("integration"));
    }
    let all = caller.tenant.integrations().await?;
    if let Some(name) = &wanted.name {
        if let Some(known) = all.into_iter().find(|i| i.name == *name) {
            return Ok(known);
        }
        let name = crate::integrations::checked_name(name)?;
        return Ok(caller.tenant.create_integration(&name, None, &json!({}), service.now()).await?);
    }
    if let Some(waiting) = all.iter().find(|i| i.status == Pending).or(all.iter().find(|i| i.status == Inactive)) {
        return Ok(waiting.clone());
    }
    let taken = |name: &str| all.iter().any(|i| i.name == name);
    let name = (1..)
        .map(|n| if n == 1 { "Salesforce".to_owned() } else { format!("Salesforce {n}") })
        .find(|name| !taken(name))
        .unwrap_or_default();
    Ok(caller.tenant.create_integration(&name, None, &json!({}), service.now()).await?)
}

fn login_url(wanted: &Wanted, integration: &Integration) -> Result<String, Problem> {
    let before = integration.config["login_url"].as_str();
    match (wanted.environment, wanted.domain.as_deref(), before) {
        (Some(Environment::Production), _, _) => Ok(PRODUCTION.to_owned()),
        (Some(Environment::Sandbox), _, _) => Ok(SANDBOX.to_owned()),
        (Some(Environment::Custom) | None, Some(domain), _) => Ok(domain.to_owned()),
        (Some(Environment::Custom), None, _) => Err(no_domain()),
        (None, None, before) => Ok(before.unwrap_or(PRODUCTION).to_owned()),
    }
}

/// The login URL of an environment or a domain, as one that a login may begin at.
pub(crate) fn checked_login_url(
    service: &Service,
    environment: Environment,
    domain: Option<&str>,
) -> Result<String, Problem> {
    let url = match (environment, domain) {
        (Environment::Production, _) => PRODUCTION,
        (Environment::Sandbox, _) => SANDBOX,
        (Environment::Custom, domain) => domain.ok_or_else(no_domain)?,
    };
    let mut app = salesforce_app(url, String::new())?;
    app.hosts.loopback = service.settings().allow_loopback;
    let hint = "write it like acme.my.salesforce.com";
    if let Err(refused) = app.hosts.check(&app.login_url) {
        return Err(Problem::invalid(format!("the login URL `{url}` cannot be used: {refused}"), hint));
    }
    if app.login_url.host_str().is_some_and(|host| host.contains(".lightning.")) {
        let detail = format!("`{url}` is where the org's pages are, and people log in at its My Domain");
        return Err(Problem::invalid(detail, hint));
    }
    Ok(app.login_url.origin().ascii_serialization())
}

/// What an app must have so that a login through it succeeds.
pub(crate) struct Asked {
    /// Among its callback URLs.
    pub(crate) callback: String,
    /// Among its scopes.
    pub(crate) scopes: Vec<String>,
}

impl Asked {
    pub(crate) fn of(service: &Service) -> Result<Self, Problem> {
        let Authorize { redirect_uri, scopes, .. } = Authorize::new(redirect_uri(service)?);
        Ok(Self { callback: redirect_uri.to_string(), scopes })
    }
}

fn no_domain() -> Problem {
    Problem::invalid("environment is `custom`, and no domain is given", "add domain=acme.my.salesforce.com")
}

pub(super) fn salesforce_app(login_url: &str, client_id: String) -> Result<App, Problem> {
    App::new(login_url, client_id).map_err(invalid)
}

/// Where the org sends the browser back to. It must be among the app's callback URLs, to the letter.
fn redirect_uri(service: &Service) -> Result<Url, Problem> {
    if let Some(told) = &service.settings().redirect_uri {
        return Ok(told.clone());
    }
    let url = service.settings().public_url.join(CALLBACK);
    url.map_err(|e| Problem::internal("the public URL cannot carry a callback", &e))
}

fn invalid(error: tieline_auth::ConfigError) -> Problem {
    Problem::invalid(error.to_string(), error.hint())
}

fn not_configured(error: tieline_auth::ConfigError) -> Problem {
    Problem::conflict("app_missing", error.to_string(), error.hint())
}

/// Browsers ask for pages by name; programs do not.
pub(crate) fn wants_page(headers: &HeaderMap) -> bool {
    headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).is_some_and(|value| value.contains("text/html"))
}
