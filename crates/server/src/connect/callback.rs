//! `GET /api/integrations/salesforce/callback`

use axum::extract::{OriginalUri, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::json;
use tieline_auth::grant::authorization_code::{Kept, Pending};
use tieline_auth::grant::begun_login::BegunLogin;
use tieline_auth::{Grant, Secret};
use tieline_store::audit::Actor;
use tieline_store::integration_logs::{Event, Level};
use tieline_store::{Connected, Digest, Integration, NewAccess, Role, TakenLogin, Tenant};
use url::Url;
use utoipa::IntoParams;

use crate::caller::{Address, SignedIn};
use crate::connect::authorize::salesforce_app;
use crate::connect::credentials;
use crate::connect::refusal::{self, Refusal};
use crate::extract::Query;
use crate::problem::Problem;
use crate::service::Service;
use crate::telemetry::measures;

/// What the org sends along.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Answer {
    /// Which login it answers.
    #[param(max_length = 500)]
    state: Option<String>,
    /// What is exchanged for tokens, once.
    #[allow(dead_code)]
    #[param(max_length = 2000)]
    code: Option<String>,
    /// Why there is no code.
    #[allow(dead_code)]
    #[param(max_length = 200)]
    error: Option<String>,
    /// The org's words for that.
    #[allow(dead_code)]
    #[param(max_length = 1000)]
    error_description: Option<String>,
}

/// Finish connecting an org
///
/// The org sends the browser here. Which login it is, and that the same user finishes it in the same browser, is known
/// by `state`, session and cookie; each login can be finished once.
#[utoipa::path(
    get,
    path = "/api/integrations/salesforce/callback",
    tag = "connect",
    security(("session" = [])),
    params(Answer),
    responses(
        (status = 302, description = "Connected: back to where the browser was, with `connected=<integration>`"),
        (status = "4XX", description = "Not connected", body = Problem, content_type = "application/problem+json"),
        (status = "5XX", description = "Not connected", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn callback(
    State(service): State<Service>,
    signed_in: Result<SignedIn, Problem>,
    Address(address): Address,
    headers: HeaderMap,
    OriginalUri(uri): OriginalUri,
    Query(answer): Query<Answer>,
) -> Response {
    let state = answer.state.as_deref().unwrap_or_default();
    let begun = match take(&service, signed_in, &headers, &address, state).await {
        Ok(begun) => begun,
        Err(refusal) => {
            measures::login_refused(refusal.code());
            return refusal.answer(&headers, "/");
        }
    };
    let (return_to, tenant, id) = (begun.return_to.clone(), begun.tenant.clone(), begun.integration);
    // To its end, also when the browser has left: what the org grants is kept or ended, and never forgotten.
    let (node, query) = (service.clone(), uri.query().unwrap_or_default().to_owned());
    let finishing = tokio::spawn(async move { finish(&node, begun, &query).await });
    let finished = match finishing.await {
        Ok(finished) => finished,
        Err(panicked) => Err(Problem::internal("a login was not finished", &panicked).into()),
    };
    match finished {
        Ok(integration) => {
            measures::login_finished();
            back(&service, &return_to, &integration)
        }
        Err(refusal) => {
            measures::login_refused(refusal.code());
            let event = if refusal.code() == "other_org" { Event::OrgChanged } else { Event::AuthFailure };
            let detail = json!({"code": refusal.code()});
            service.log(&tenant, Some(id), event, Level::Error, refusal.detail(), detail).await;
            tracing::warn!(code = refusal.code(), detail = refusal.detail(), "an org was not connected");
            refusal.answer(&headers, &return_to)
        }
    }
}

/// The login that this answer belongs to. It is used up from here on.
async fn take(
    service: &Service,
    signed_in: Result<SignedIn, Problem>,
    headers: &HeaderMap,
    address: &str,
    state: &str,
) -> Result<TakenLogin, Refusal> {
    let user = signed_in?.user.id;
    let browser = service.cookies().login(headers).unwrap_or_default();
    let taken = service.store().take_login(Digest::of(state), Digest::of(browser), user, service.now()).await;
    let mut taken = taken.map_err(Problem::from)??;
    taken.tenant = taken.tenant.by(Actor::User(user), Some(address));
    let membership = service.store().membership(user, taken.tenant.business()).await.map_err(Problem::from)?;
    if membership.is_none_or(|membership| membership.role() < Role::Admin) {
        let hint = "ask an owner or admin of the business";
        return Err(
            Problem::forbidden("role_required", "you may not connect orgs for this business any more", hint).into()
        );
    }
    Ok(taken)
}

async fn finish(service: &Service, begun: TakenLogin, query: &str) -> Result<Integration, Refusal> {
    let tenant = begun.tenant.clone();
    let mut settings = credentials::open_to_replace(&tenant, begun.integration).await.map_err(Problem::from)?;
    let internal = |what: &'static str| Problem::internal(what, &"what was kept of a login cannot be read");
    let app = settings.app(service.settings().app.as_ref());
    let app = app.map_err(|e| Problem::conflict("app_missing", e.to_string(), e.hint()))?;
    let client_id = app.client_id.clone();
    let mut pending_app = salesforce_app(&begun.login_url, app.client_id)?;
    pending_app.client_secret = app.client_secret;
    pending_app.hosts.loopback = service.settings().allow_loopback;

    let mut callback: Url = begun.redirect_uri.parse().map_err(|_| internal("a login cannot be finished"))?;
    let redirect_uri = callback.clone();
    callback.set_query(Some(query));
    let state = callback.query_pairs().find(|(key, _)| key == "state").map(|(_, value)| value.into_owned());
    let secrets: serde_json::Value =
        serde_json::from_slice(&begun.secrets).map_err(|_| internal("a login cannot be finished"))?;
    let kept = Kept {
        // Its digest is the one that was kept: otherwise no login had been found by it.
        state: Secret::new(state.unwrap_or_default()),
        verifier: Secret::new(secrets["verifier"].as_str().unwrap_or_default()),
        nonce: None,
        begun: begun.begun_at,
    };
    let pending = Pending::resume(pending_app, redirect_uri, kept);
    let login = pending.finish(&callback, service.http(), service.clock()).await.map_err(|e| Refusal::from(&e))?;

    let Some(organization) = login.organization_id().map(str::to_owned) else {
        discard(service, login).await;
        return Err(refusal::no_org());
    };
    let Grant::RefreshToken { refresh_token } = &login.config().grant else {
        discard(service, login).await;
        return Err(refusal::no_refresh_token());
    };
    settings.set("SF_GRANT", None);
    settings.set("SF_REFRESH_TOKEN", Some(refresh_token.expose()));
    settings.set("SF_LOGIN_URL", Some(begun.login_url.trim_end_matches('/')));
    let config = json!({
        "instance_url": login.instance_url().as_str().trim_end_matches('/'),
        "organization_id": organization,
        "login_url": begun.login_url.trim_end_matches('/'),
        "environment": environment(&begun.login_url),
        "client_id": client_id,
        "scope": login.scope(),
        "own_app": settings.get("SF_CLIENT_ID").is_some(),
    });
    let access = NewAccess {
        credentials: &settings.to_credentials(),
        organization_id: &organization,
        config: &config,
        begun_at: begun.begun_at,
    };
    let kept = tenant.keep_access(begun.integration, begun.generation, &access, service.now()).await;
    let integration = match kept.map_err(Problem::from) {
        Ok(Connected::Done(integration) | Connected::Known(integration)) => integration,
        Ok(Connected::OtherOrg { expected }) => {
            discard(service, login).await;
            return Err(refusal::other_org(&expected, &organization));
        }
        Ok(Connected::Revoked) => {
            discard(service, login).await;
            return Err(refusal::revoked());
        }
        Err(problem) => {
            // What nobody keeps must not live on.
            discard(service, login).await;
            return Err(problem.into());
        }
    };
    let detail = json!({"organization_id": organization});
    service.log(&tenant, Some(integration.id), Event::AuthSuccess, Level::Info, "connected", detail).await;
    keep_token(service, &integration, &tenant, login).await;
    Ok(integration)
}

/// The access token at hand is kept with the others; without it, the refresh token is good for the next one.
async fn keep_token(service: &Service, integration: &Integration, tenant: &Tenant, mut login: BegunLogin) {
    integration.name.clone_into(&mut login.config_mut().alias);
    let mut tokens = service.settings().tokens.clone();
    if tokens.store.is_none() {
        match tenant.token_store(integration).await {
            Ok(store) => tokens.store = Some(store),
            Err(error) => {
                tracing::warn!(%error, "a first access token was not kept");
                return;
            }
        }
    }
    if let Err(error) = login.into_credentials(tokens).await {
        tracing::warn!(%error, "a first access token was not kept");
    }
}

/// Ends what was granted and is not kept.
async fn discard(service: &Service, login: BegunLogin) {
    if let Err(error) = login.discard(service.http()).await {
        tracing::warn!(%error, "a grant that is not kept could not be ended at the org");
    }
}

fn environment(login_url: &str) -> &'static str {
    match login_url.trim_end_matches('/') {
        "https://login.salesforce.com" => "production",
        "https://test.salesforce.com" => "sandbox",
        _ => "custom",
    }
}

/// Back to where the browser was.
fn back(service: &Service, return_to: &str, integration: &Integration) -> Response {
    let place = service.settings().public_url.join(return_to).map(|mut url| {
        url.query_pairs_mut().append_pair("connected", &integration.id.to_string());
        url[url::Position::BeforePath..].to_owned()
    });
    let place = place.unwrap_or_else(|_| "/".to_owned());
    (StatusCode::FOUND, [(header::LOCATION, place), (header::CACHE_CONTROL, "no-store".to_owned())]).into_response()
}
