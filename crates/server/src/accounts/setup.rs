//! The first user.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use tieline_store::NewUser;
use utoipa::ToSchema;

use crate::accounts::session::{Method, begin, told};
use crate::accounts::{SecretText, checked_email, checked_name};
use crate::caller::{Address, same_origin};
use crate::extract::Body;
use crate::passwords;
use crate::problem::Problem;
use crate::secrets;
use crate::service::Service;

/// Whether the service still waits for its first user.
#[derive(Serialize, ToSchema)]
pub(crate) struct SetupState {
    /// Nobody has an account yet.
    needed: bool,
}

/// The first user, who becomes owner of the first business.
#[derive(Deserialize, ToSchema)]
pub(crate) struct FirstUser {
    /// What stands in the log of the service.
    #[schema(value_type = String, max_length = 200)]
    token: SecretText,
    /// Address.
    #[schema(format = Email, max_length = 254)]
    pub(crate) email: String,
    /// What to call them.
    #[schema(min_length = 1, max_length = 100)]
    name: String,
    /// Twelve characters at least.
    #[schema(value_type = String, format = Password, min_length = 12, max_length = 256)]
    password: SecretText,
    /// Name of the business.
    #[schema(min_length = 1, max_length = 100)]
    business: String,
}

/// Whether the service still waits for its first user
#[utoipa::path(get, path = "/api/setup", tag = "accounts", security(()), responses(
    (status = 200, description = "Whether it does", body = SetupState),
    (status = "5XX", description = "The service failed", body = Problem, content_type = "application/problem+json"),
))]
pub(crate) async fn setup_state(State(service): State<Service>) -> Result<Json<SetupState>, Problem> {
    let needed = service.settings().sign_in && !service.store().has_users().await?;
    Ok(Json(SetupState { needed }))
}

/// Make the first user
///
/// It works once, for whoever can read the service's log: the token stands there.
#[utoipa::path(post, path = "/api/setup", tag = "accounts", security(()), request_body = FirstUser, responses(
    (status = 201, description = "Signed in", body = crate::accounts::session::SessionView),
    (status = "4XX", description = "Nothing was made", body = Problem, content_type = "application/problem+json"),
    (status = "5XX", description = "The service failed", body = Problem, content_type = "application/problem+json"),
))]
pub(crate) async fn setup(
    State(service): State<Service>,
    Address(address): Address,
    headers: HeaderMap,
    Body(first): Body<FirstUser>,
) -> Result<Response, Problem> {
    same_origin(&headers, &service)?;
    let token = service.setup_token(None)?;
    if !secrets::are_equal(first.token.0.expose(), token.expose()) {
        return Err(Problem::forbidden(
            "setup_token",
            "the setup token is not the one in the service's log",
            "look for `setup token` in the log of the process that answers here, or set TIELINE_SETUP_TOKEN",
        ));
    }
    let (email, name) = (checked_email(&first.email)?, checked_name("name", &first.name)?);
    let business = checked_name("business", &first.business)?;
    passwords::check(&first.password.0, &email)?;
    let hash = passwords::hash(first.password.0).await?;
    let new = NewUser { email: &email, name: &name, password_hash: Some(&hash) };
    let made = service.store().set_up(&new, &business, &address, service.now()).await?;
    let user = made.ok_or_else(|| {
        Problem::conflict(
            "already_set_up",
            "the service has its first user already",
            "sign in, or ask for an invitation",
        )
    })?;
    let (signed_in, cookie) = begin(&service, user, &headers, &address, Method::Password).await?;
    let body = told(&service, &signed_in).await?;
    Ok((StatusCode::CREATED, [(header::SET_COOKIE, cookie)], Json(body)).into_response())
}
