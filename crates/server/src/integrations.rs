//! The integrations of a business.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tieline_auth::Secret;
use tieline_auth::certificate::Certificate;
use tieline_store::{Integration, Role, Status, Uuid};
use utoipa::ToSchema;

use crate::accounts::{self, SecretText};
use crate::caller::Caller;
use crate::connect::credentials;
use crate::extract::{Body, Path};
use crate::problem::Problem;
use crate::proxy::{ProxyMode, checked_reserve};
use crate::service::Service;

/// An integration, without its secrets.
#[derive(Serialize, ToSchema)]
pub(crate) struct IntegrationView {
    /// UUID.
    id: Uuid,
    /// What people call it.
    name: String,
    /// What it connects to.
    #[serde(rename = "type")]
    #[schema(example = "salesforce")]
    kind: String,
    /// How it stands.
    status: StatusName,
    /// Why it is `error` or `inactive`.
    status_reason: Option<String>,
    /// What it is known of the org: instance URL, environment, scopes. Nothing secret.
    #[schema(value_type = Object)]
    config: Value,
    /// The org: 18 characters.
    organization_id: Option<String>,
    /// Whether it has an app of its own (consumer key and secret); else the service's is used.
    own_app: bool,
    /// End of the last successful sync run.
    #[schema(value_type = Option<String>, format = DateTime)]
    last_sync_at: Option<Timestamp>,
    /// When it was made.
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    /// Its last change.
    #[schema(value_type = String, format = DateTime)]
    updated_at: Timestamp,
}

/// How an integration stands.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum StatusName {
    /// It works.
    Active,
    /// Somebody has disconnected it.
    Inactive,
    /// It does not work; the reason says what to do.
    Error,
    /// Nobody has logged in yet.
    Pending,
}

impl From<Status> for StatusName {
    fn from(status: Status) -> Self {
        match status {
            Status::Active => Self::Active,
            Status::Inactive => Self::Inactive,
            Status::Error => Self::Error,
            Status::Pending => Self::Pending,
        }
    }
}

impl From<Integration> for IntegrationView {
    fn from(integration: Integration) -> Self {
        Self {
            own_app: integration.config["own_app"].as_bool().unwrap_or(false),
            id: integration.id,
            name: integration.name,
            kind: integration.kind,
            status: integration.status.into(),
            status_reason: integration.status_reason,
            config: integration.config,
            organization_id: integration.organization_id,
            last_sync_at: integration.last_sync_at,
            created_at: integration.created_at,
            updated_at: integration.updated_at,
        }
    }
}

/// All integrations.
#[derive(Serialize, ToSchema)]
pub(crate) struct Integrations {
    /// Oldest first.
    integrations: Vec<IntegrationView>,
}

/// The app of an integration's own: its consumer key and secret go together.
#[derive(Deserialize, ToSchema)]
pub(crate) struct OwnApp {
    /// Consumer key.
    #[schema(min_length = 1, max_length = 512)]
    client_id: String,
    /// Consumer secret; none for an app that has none.
    #[schema(value_type = Option<String>, max_length = 512)]
    client_secret: Option<SecretText>,
}

/// A new integration.
#[derive(Deserialize, ToSchema)]
pub(crate) struct NewIntegration {
    /// What people call it.
    #[schema(min_length = 1, max_length = 100)]
    name: String,
    /// An app of its own; without one the service's is used.
    app: Option<OwnApp>,
    /// Where people of the org log in: `https://login.salesforce.com`, `https://test.salesforce.com`, or a My Domain.
    #[schema(max_length = 300)]
    login_url: Option<String>,
}

impl NewIntegration {
    /// One without an app of its own.
    pub(crate) fn at(name: String, login_url: String) -> Self {
        Self { name, app: None, login_url: Some(login_url) }
    }
}

impl OwnApp {
    pub(crate) fn new(client_id: String, secret: Secret) -> Self {
        Self { client_id, client_secret: Some(SecretText(secret)) }
    }
}

impl IntegrationView {
    pub(crate) fn id(&self) -> Uuid {
        self.id
    }
}

/// Changes; what is left out stays.
#[derive(Deserialize, ToSchema)]
pub(crate) struct IntegrationChange {
    /// Another name.
    #[schema(min_length = 1, max_length = 100)]
    name: Option<String>,
    /// An app of its own. Tokens that another app was granted end: the org must be connected again.
    app: Option<OwnApp>,
    /// What may be called through its proxy: `write` (everything) unless told otherwise.
    proxy: Option<ProxyMode>,
    /// API calls of the org's 24 hours that are left to others: a number, or per cent such as `20%`; empty for none.
    #[schema(max_length = 20)]
    api_reserve: Option<String>,
    /// The app's certificate in PEM, so that somebody is told before it ends: when it does and its fingerprint are kept.
    /// Empty takes it out.
    #[schema(max_length = 20000)]
    certificate: Option<String>,
}

impl IntegrationChange {
    /// Another name alone.
    pub(crate) fn name(name: String) -> Self {
        Self { name: Some(name), app: None, proxy: None, api_reserve: None, certificate: None }
    }
}

impl IntegrationChange {
    /// Another app alone.
    pub(crate) fn app(app: OwnApp) -> Self {
        Self { name: None, app: Some(app), proxy: None, api_reserve: None, certificate: None }
    }
}

/// Longest certificate, in characters.
const LONGEST_CERTIFICATE: usize = 20_000;

/// What is kept of a certificate: when it ends, and which one it is. None: of an empty text.
fn checked_certificate(pem: &str) -> Result<Option<Certificate>, Problem> {
    if pem.trim().is_empty() {
        return Ok(None);
    }
    if pem.chars().count() > LONGEST_CERTIFICATE {
        return Err(Problem::invalid(format!("the certificate is longer than {LONGEST_CERTIFICATE} characters"), ""));
    }
    Certificate::from_pem(pem).map(Some).map_err(|e| Problem::invalid(e.to_string(), e.hint()))
}

pub(crate) fn checked_name(name: &str) -> Result<String, Problem> {
    accounts::checked_name("name", name)
}

/// The integrations of the business
#[utoipa::path(get, path = "/api/integrations", tag = "integrations", responses(
    (status = 200, description = "All", body = Integrations),
    (status = "4XX", description = "Not for this caller", body = Problem, content_type = "application/problem+json"),
    (status = "5XX", description = "The service failed", body = Problem, content_type = "application/problem+json"),
))]
pub(crate) async fn integrations(caller: Caller) -> Result<Json<Integrations>, Problem> {
    let all = caller.tenant.integrations().await?;
    Ok(Json(Integrations { integrations: all.into_iter().map(IntegrationView::from).collect() }))
}

/// One integration
#[utoipa::path(get, path = "/api/integrations/{id}", tag = "integrations", params(("id" = Uuid, Path, description = "The integration")), responses(
    (status = 200, description = "It", body = IntegrationView),
    (status = "4XX", description = "There is none", body = Problem, content_type = "application/problem+json"),
    (status = "5XX", description = "The service failed", body = Problem, content_type = "application/problem+json"),
))]
pub(crate) async fn integration(caller: Caller, Path(id): Path<Uuid>) -> Result<Json<IntegrationView>, Problem> {
    let found = caller.tenant.integration(id).await?.ok_or_else(|| Problem::not_found("integration"))?;
    Ok(Json(found.into()))
}

/// Make an integration
///
/// It is `pending` until somebody has logged in: see `authorize`.
#[utoipa::path(post, path = "/api/integrations", tag = "integrations", request_body = NewIntegration, responses(
    (status = 201, description = "It is there", body = IntegrationView),
    (status = "4XX", description = "It is not", body = Problem, content_type = "application/problem+json"),
    (status = "5XX", description = "The service failed", body = Problem, content_type = "application/problem+json"),
))]
pub(crate) async fn create_integration(
    State(service): State<Service>,
    caller: Caller,
    Body(new): Body<NewIntegration>,
) -> Result<(StatusCode, Json<IntegrationView>), Problem> {
    caller.at_least(Role::Admin)?;
    let name = checked_name(&new.name)?;
    let mut config = json!({});
    if let Some(login_url) = &new.login_url {
        let app = tieline_auth::App::new(login_url, "").map_err(|e| Problem::invalid(e.to_string(), e.hint()))?;
        config["login_url"] = app.login_url.as_str().trim_end_matches('/').into();
    }
    let mut settings = credentials::LoginSettings::default();
    let own = new.app.is_some();
    if let Some(app) = new.app {
        config["own_app"] = true.into();
        take_app(&mut settings, app)?;
    }
    let sealed = own.then(|| settings.to_credentials());
    let made = caller.tenant.create_integration(&name, sealed.as_ref(), &config, service.now()).await?;
    Ok((StatusCode::CREATED, Json(made.into())))
}

fn take_app(settings: &mut credentials::LoginSettings, app: OwnApp) -> Result<(), Problem> {
    let fits = |text: &str| !text.is_empty() && text.len() <= 512 && text.bytes().all(|b| b.is_ascii_graphic());
    let secret = app.client_secret.map(|secret| secret.0);
    if !fits(&app.client_id) || secret.as_ref().is_some_and(|secret| !fits(secret.expose())) {
        let hint = "copy consumer key and secret from the app's page, without spaces";
        return Err(Problem::invalid("client_id or client_secret is empty, or holds what no key holds", hint));
    }
    settings.set("SF_CLIENT_ID", Some(&app.client_id));
    settings.set("SF_CLIENT_SECRET", secret.as_ref().map(|secret| secret.expose()));
    Ok(())
}

/// Change an integration
#[utoipa::path(patch, path = "/api/integrations/{id}", tag = "integrations", request_body = IntegrationChange, params(("id" = Uuid, Path, description = "The integration")), responses(
    (status = 200, description = "It, changed", body = IntegrationView),
    (status = "4XX", description = "Nothing was changed", body = Problem, content_type = "application/problem+json"),
    (status = "5XX", description = "The service failed", body = Problem, content_type = "application/problem+json"),
))]
pub(crate) async fn change_integration(
    State(service): State<Service>,
    caller: Caller,
    Path(id): Path<Uuid>,
    Body(change): Body<IntegrationChange>,
) -> Result<Json<IntegrationView>, Problem> {
    caller.at_least(Role::Admin)?;
    let gone = || Problem::not_found("integration");
    let before = caller.tenant.integration(id).await?.ok_or_else(gone)?;
    let name = change.name.as_deref().map(checked_name).transpose()?;
    let (mut config, mut credentials) = (serde_json::Map::new(), None);
    if let Some(app) = change.app {
        let mut settings = credentials::open_to_replace(&caller.tenant, id).await?;
        take_app(&mut settings, app)?;
        credentials = Some(settings.to_credentials());
        config.insert("own_app".to_owned(), true.into());
    }
    if let Some(mode) = change.proxy {
        config.insert("proxy".to_owned(), mode.name().into());
    }
    if let Some(reserve) = &change.api_reserve {
        let reserve = checked_reserve(reserve)?;
        config.insert("api_reserve".to_owned(), reserve.into());
    }
    let certificate = change.certificate.as_deref().map(checked_certificate).transpose()?;
    if let Some(known) = &certificate {
        // Null takes it out.
        let kept =
            known.as_ref().map_or(Value::Null, |k| json!({"not_after": k.not_after, "fingerprint": k.fingerprint}));
        config.insert("certificate".to_owned(), kept);
    }
    let config = Some(Value::Object(config)).filter(|config| config.as_object().is_some_and(|c| !c.is_empty()));
    let changed = caller
        .tenant
        .update_integration(id, name.as_deref(), config.as_ref(), credentials.as_ref(), service.now())
        .await?
        .ok_or_else(gone)?;
    if credentials.is_some() {
        service.forget(&before);
    }
    match certificate {
        None => {}
        Some(Some(known)) => caller.tenant.note_certificate(id, known.not_after, service.now()).await?,
        Some(None) => caller.tenant.forget_certificate(id, service.now()).await?,
    }
    Ok(Json(changed.into()))
}

/// Takes the app of its own out: the service's is used from then on. Tokens that it was granted end, as with another one.
pub(crate) async fn take_out_app(service: &Service, caller: &Caller, id: Uuid) -> Result<(), Problem> {
    caller.at_least(Role::Admin)?;
    let gone = || Problem::not_found("integration");
    let before = caller.tenant.integration(id).await?.ok_or_else(gone)?;
    let mut settings = credentials::open_to_replace(&caller.tenant, id).await?;
    settings.set("SF_CLIENT_ID", None);
    settings.set("SF_CLIENT_SECRET", None);
    let (config, settings) = (json!({"own_app": false}), settings.to_credentials());
    let changed = caller.tenant.update_integration(id, None, Some(&config), Some(&settings), service.now()).await?;
    changed.ok_or_else(gone)?;
    service.forget(&before);
    Ok(())
}

/// Delete an integration
///
/// Its tokens are ended at the org first, as far as the org can be told. What was synced and imported stays.
#[utoipa::path(delete, path = "/api/integrations/{id}", tag = "integrations", params(("id" = Uuid, Path, description = "The integration")), responses(
    (status = 204, description = "It is gone"),
    (status = "4XX", description = "There is none", body = Problem, content_type = "application/problem+json"),
    (status = "5XX", description = "The service failed", body = Problem, content_type = "application/problem+json"),
))]
pub(crate) async fn delete_integration(
    State(service): State<Service>,
    caller: Caller,
    Path(id): Path<Uuid>,
) -> Result<StatusCode, Problem> {
    caller.at_least(Role::Admin)?;
    let integration = caller.tenant.integration(id).await?.ok_or_else(|| Problem::not_found("integration"))?;
    if integration.status != Status::Pending {
        crate::connect::shut(&service, &caller.tenant, integration).await?;
    }
    caller.tenant.delete_integration(id, service.now()).await?;
    Ok(StatusCode::NO_CONTENT)
}
