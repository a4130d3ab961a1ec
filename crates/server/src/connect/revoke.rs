//! Taking access away: one integration, or all of a business.

use axum::Json;
use axum::extract::State;
use futures_util::{StreamExt, stream};
use serde::Serialize;
use serde_json::json;
use tieline_store::integration_logs::{Event, Level};
use tieline_store::{Integration, Role, Status, Tenant, Uuid};
use utoipa::ToSchema;

use crate::caller::Caller;
use crate::connect::credentials;
use crate::extract::Path;
use crate::problem::Problem;
use crate::service::Service;

/// Orgs that are told at once.
const AT_ONCE: usize = 8;

/// What became of one integration's access.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Shut {
    /// The integration.
    integration: Uuid,
    /// Its name.
    name: String,
    /// Nothing uses it here any more, on any node.
    shut: bool,
    /// The org has ended its tokens.
    ended_at_org: bool,
    /// Why the org has not: then end them there, under Connected Apps OAuth Usage, or ask for it here again.
    error: Option<String>,
}

/// What became of all.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Report {
    /// One entry for each.
    integrations: Vec<Shut>,
    /// All are shut here, and ended at their orgs.
    complete: bool,
}

impl Report {
    /// Whether all are shut here, and ended at their orgs.
    pub(crate) fn complete(&self) -> bool {
        self.complete
    }

    /// The names of those that are not.
    pub(crate) fn failed(&self) -> Vec<&str> {
        let failed = self.integrations.iter().filter(|one| !one.shut || !one.ended_at_org);
        failed.map(|one| one.name.as_str()).collect()
    }
}

/// Disconnect an integration
///
/// Its tokens are ended at the org and gone here. The app's key and secret stay, and so does all that was synced and
/// imported. Asked again, it tells the org again what could not be told before.
#[utoipa::path(
    post,
    path = "/api/integrations/{id}/disconnect",
    tag = "connect",
    params(("id" = Uuid, Path, description = "The integration")),
    responses(
        (status = 200, description = "It is shut", body = Shut),
        (status = "4XX", description = "It is not", body = Problem, content_type = "application/problem+json"),
        (status = "5XX", description = "The service failed", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn disconnect(
    State(service): State<Service>,
    caller: Caller,
    Path(id): Path<Uuid>,
) -> Result<Json<Shut>, Problem> {
    caller.at_least(Role::Admin)?;
    let integration = caller.tenant.integration(id).await?.ok_or_else(|| Problem::not_found("integration"))?;
    let shut = shut(&service, &caller.tenant, integration).await?;
    Ok(Json(shut))
}

/// Disconnect all integrations of the business
///
/// All are shut here first, so that nothing is kept after this has begun; then each org is told.
#[utoipa::path(
    post,
    path = "/api/integrations/salesforce/revoke-all",
    tag = "connect",
    responses(
        (status = 200, description = "What became of each", body = Report),
        (status = "4XX", description = "Nothing was done", body = Problem, content_type = "application/problem+json"),
        (status = "5XX", description = "The service failed", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn revoke_all(State(service): State<Service>, caller: Caller) -> Result<Json<Report>, Problem> {
    caller.at_least(Role::Admin)?;
    Ok(Json(revoke_every(&service, &caller.tenant).await?))
}

pub(crate) async fn revoke_every(service: &Service, tenant: &Tenant) -> Result<Report, Problem> {
    tenant.end_all_access(service.now()).await?;
    let integrations = tenant.integrations().await?;
    let ends = stream::iter(integrations.into_iter().filter(|i| i.status != Status::Pending || i.has_credentials));
    let mut shut: Vec<Shut> = ends
        .map(|integration| async move {
            let (id, name) = (integration.id, integration.name.clone());
            // What is wrong with one is no reason to say nothing of the others.
            shut(service, tenant, integration).await.unwrap_or_else(|problem| Shut {
                integration: id,
                name,
                shut: false,
                ended_at_org: false,
                error: Some(problem.detail().to_owned()),
            })
        })
        .buffer_unordered(AT_ONCE)
        .collect()
        .await;
    shut.sort_by(|a, b| a.name.cmp(&b.name));
    let complete = shut.iter().all(|one| one.shut && one.ended_at_org);
    Ok(Report { integrations: shut, complete })
}

/// First the tombstone, which no process of the fleet can write past; then the org is told; then the rest is taken away.
/// Once begun it is done to the end, also when whoever asked has left.
pub(crate) async fn shut(service: &Service, tenant: &Tenant, integration: Integration) -> Result<Shut, Problem> {
    let (service, tenant) = (service.clone(), tenant.clone());
    let shutting = tokio::spawn(async move { shut_to_the_end(&service, &tenant, integration).await });
    shutting.await.unwrap_or_else(|failed| Err(Problem::internal("an integration was not shut", &failed)))
}

async fn shut_to_the_end(service: &Service, tenant: &Tenant, integration: Integration) -> Result<Shut, Problem> {
    // Credentials that cannot be opened (the key service is away, a key is lost) are no reason to leave it open.
    let opened = credentials::open(tenant, integration.id).await;
    let ended = match &opened {
        Ok(_) => end_at_org(service, tenant, &integration).await,
        Err(error) => Err(error.to_string()),
    };
    let reason = match &ended {
        Ok(()) => "disconnected",
        Err(_) => "disconnected here; the org could not be told",
    };
    // A refresh token that lives on at the org is kept, sealed and unused, for the next attempt to end it.
    let left = match opened {
        Ok(mut settings) if ended.is_ok() && settings.get("SF_REFRESH_TOKEN").is_some() => {
            settings.set("SF_REFRESH_TOKEN", None);
            Some(settings.to_credentials())
        }
        _ => None,
    };
    let now = service.now();
    let shut = tenant.shut_integration(&integration, left.as_ref(), ended.is_ok(), reason, now).await?;
    service.forget(&integration);
    service.log(tenant, Some(integration.id), Event::Disconnected, Level::Info, reason, json!({})).await;
    Ok(Shut {
        integration: integration.id,
        name: integration.name,
        shut: shut.is_some(),
        ended_at_org: ended.is_ok(),
        error: ended.err(),
    })
}

async fn end_at_org(service: &Service, tenant: &Tenant, integration: &Integration) -> Result<(), String> {
    if !integration.has_credentials {
        return Ok(());
    }
    let connection = service.open_to_end(tenant, integration).await.map_err(|e| e.to_string())?;
    let Some(connection) = connection else { return Ok(()) };
    let report = connection.credentials().revoke().await.map_err(|e| e.to_string())?;
    let outcomes = [report.refresh_token, report.access_token];
    match outcomes.into_iter().flatten().find_map(Result::err) {
        Some(error) => Err(error.to_string()),
        None => Ok(()),
    }
}
