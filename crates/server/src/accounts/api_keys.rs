//! API keys: how programs act for a business.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tieline_store::{ApiKey, Digest, NewApiKey, Role, Uuid};
use utoipa::ToSchema;

use crate::accounts::{RoleName, checked_name};
use crate::caller::{Caller, KEY_PREFIX};
use crate::extract::{Body, Path};
use crate::problem::Problem;
use crate::secrets;
use crate::service::Service;

/// Characters of a key that lists show.
const SHOWN: usize = KEY_PREFIX.len() + 6;

/// What a new key is to be.
#[derive(Deserialize, ToSchema)]
pub(crate) struct NewKey {
    /// What people call it.
    #[schema(min_length = 1, max_length = 100)]
    pub(crate) name: String,
    /// What it may do; no more than whoever makes it.
    pub(crate) role: RoleName,
    /// When it ends; never, if this is left out.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub(crate) expires_at: Option<Timestamp>,
}

/// A key, without the key.
#[derive(Serialize, ToSchema)]
pub(crate) struct KeyView {
    /// UUID.
    pub(crate) id: Uuid,
    /// What people call it.
    pub(crate) name: String,
    /// How it begins.
    pub(crate) prefix: String,
    /// What it may do.
    pub(crate) role: RoleName,
    /// Who made it.
    pub(crate) created_by: Option<Uuid>,
    /// When it was made.
    #[schema(value_type = String, format = DateTime)]
    pub(crate) created_at: Timestamp,
    /// Its last use, to a minute.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub(crate) last_used_at: Option<Timestamp>,
    /// When it ends.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub(crate) expires_at: Option<Timestamp>,
    /// The key itself. It is shown this once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) key: Option<String>,
}

impl KeyView {
    fn new(key: ApiKey, secret: Option<String>) -> Self {
        Self {
            id: key.id,
            name: key.name,
            prefix: key.prefix,
            role: key.role.into(),
            created_by: key.created_by,
            created_at: key.created_at,
            last_used_at: key.last_used_at,
            expires_at: key.expires_at,
            key: secret,
        }
    }
}

/// The keys that work.
#[derive(Serialize, ToSchema)]
pub(crate) struct Keys {
    /// Oldest first.
    pub(crate) keys: Vec<KeyView>,
}

/// Make an API key
#[utoipa::path(post, path = "/api/keys", tag = "keys", request_body = NewKey, responses(
    (status = 201, description = "The key: it is shown this once", body = KeyView),
    (status = "4XX", description = "It was not made", body = Problem, content_type = "application/problem+json"),
    (status = "5XX", description = "The service failed", body = Problem, content_type = "application/problem+json"),
))]
pub(crate) async fn create_key(
    State(service): State<Service>,
    caller: Caller,
    Body(new): Body<NewKey>,
) -> Result<(StatusCode, Json<KeyView>), Problem> {
    let role = Role::from(new.role);
    caller.at_least(Role::Admin.max(role))?;
    let name = checked_name("name", &new.name)?;
    if new.expires_at.is_some_and(|end| end <= service.now()) {
        return Err(Problem::invalid("expires_at is past", "give a time to come, or leave it out"));
    }
    let secret = secrets::random(KEY_PREFIX)?;
    let new = NewApiKey {
        name: &name,
        prefix: &secret.expose()[..SHOWN],
        digest: Digest::of(secret.expose()),
        role,
        expires_at: new.expires_at,
    };
    let made = caller.tenant.create_api_key(&new, service.now()).await?;
    service.wrong_keys().note(new.digest, &caller.address, true);
    Ok((StatusCode::CREATED, Json(KeyView::new(made, Some(secret.expose().to_owned())))))
}

/// The API keys that work
#[utoipa::path(get, path = "/api/keys", tag = "keys", responses(
    (status = 200, description = "All", body = Keys),
    (status = "4XX", description = "Not for this caller", body = Problem, content_type = "application/problem+json"),
    (status = "5XX", description = "The service failed", body = Problem, content_type = "application/problem+json"),
))]
pub(crate) async fn keys(State(service): State<Service>, caller: Caller) -> Result<Json<Keys>, Problem> {
    caller.at_least(Role::Admin)?;
    let keys = caller.tenant.api_keys(service.now()).await?;
    Ok(Json(Keys { keys: keys.into_iter().map(|key| KeyView::new(key, None)).collect() }))
}

/// End an API key
#[utoipa::path(delete, path = "/api/keys/{id}", tag = "keys", params(("id" = Uuid, Path, description = "The key")), responses(
    (status = 204, description = "It works no more"),
    (status = "4XX", description = "There is none", body = Problem, content_type = "application/problem+json"),
    (status = "5XX", description = "The service failed", body = Problem, content_type = "application/problem+json"),
))]
pub(crate) async fn revoke_key(
    State(service): State<Service>,
    caller: Caller,
    Path(id): Path<Uuid>,
) -> Result<StatusCode, Problem> {
    caller.at_least(Role::Admin)?;
    if !caller.tenant.revoke_api_key(id, service.now()).await? {
        return Err(Problem::not_found("API key"));
    }
    Ok(StatusCode::NO_CONTENT)
}
