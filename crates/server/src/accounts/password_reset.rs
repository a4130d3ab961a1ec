//! Passwords that are set anew, by a link of the operator's.

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use tieline_auth::Secret;
use tieline_store::{Digest, Store, Uuid};
use url::Url;
use utoipa::ToSchema;

use crate::accounts::SecretText;
use crate::accounts::session::{Method, begin, end_before};
use crate::caller::{Address, same_origin};
use crate::extract::Body;
use crate::passwords;
use crate::problem::Problem;
use crate::secrets;
use crate::service::Service;

/// How long a link can be used.
const LIFE: SignedDuration = SignedDuration::from_mins(30);

/// Longest token that is looked at; ours have 43 characters.
const LONGEST_TOKEN: usize = 200;

/// A link that the operator hands to somebody who has lost the password. Only whoever has the database makes one: an owner
/// of one business could else take over an account that is in others too.
#[derive(Debug)]
pub struct ResetLink {
    /// What proves it: the database has its digest.
    pub token: Secret,
    /// When it ends.
    pub expires_at: Timestamp,
}

impl ResetLink {
    /// Makes one; an earlier one of the user's ends.
    ///
    /// # Errors
    /// When the database or the system's randomness fails.
    pub async fn make(store: &Store, user: Uuid, now: Timestamp) -> Result<Self, Problem> {
        let (token, expires_at) = (secrets::random("")?, now + LIFE);
        store.begin_password_reset(user, Digest::of(token.expose()), now, expires_at).await?;
        Ok(Self { token, expires_at })
    }

    /// As a link of the service that is reached there. The token is in its fragment: no server's log has it.
    #[must_use]
    pub fn at(&self, public_url: &Url) -> Option<String> {
        let mut link = public_url.join("/reset").ok()?;
        link.set_fragment(Some(self.token.expose()));
        Some(link.into())
    }
}

/// A password in place of one that is lost.
#[derive(Deserialize, ToSchema)]
pub(crate) struct PasswordReset {
    /// The end of the link.
    #[schema(value_type = String, max_length = 200)]
    pub(crate) token: SecretText,
    /// The password from now on: twelve characters at least.
    #[schema(value_type = String, format = Password, min_length = 12, max_length = 256)]
    pub(crate) password: SecretText,
}

/// Set a password anew
///
/// With the token of a link that the operator has made (`tieline users reset-password`). It works once, and all sessions
/// of the user end. Where people sign in with a provider only, it signs in: the way in while the provider is away.
#[utoipa::path(post, path = "/api/password-reset", tag = "accounts", security(()), request_body = PasswordReset, responses(
    (status = 204, description = "It is set"),
    (status = "4XX", description = "It is not", body = Problem, content_type = "application/problem+json"),
    (status = "5XX", description = "The service failed", body = Problem, content_type = "application/problem+json"),
))]
pub(crate) async fn reset_password(
    State(service): State<Service>,
    Address(address): Address,
    headers: HeaderMap,
    Body(given): Body<PasswordReset>,
) -> Result<Response, Problem> {
    same_origin(&headers, &service)?;
    let gone = || {
        Problem::new(
            StatusCode::GONE,
            "reset_ended",
            "there is no such link: it was used, replaced, or has ended",
            "ask the operator of this service for a new one",
        )
    };
    if given.token.0.expose().chars().count() > LONGEST_TOKEN {
        return Err(Problem::invalid("token is longer than such a thing is", "send the end of the link, after #"));
    }
    passwords::check(&given.password.0, "")?;
    let token = Digest::of(given.token.0.expose());
    let user = service.store().password_reset(token, service.now()).await?.ok_or_else(gone)?;
    passwords::check(&given.password.0, &user.email)?;
    let hash = passwords::hash(given.password.0).await?;
    let reset = service.store().reset_password(token, &hash, Some(&address), service.now()).await?;
    let user = reset.ok_or_else(gone)?;
    if service.takes_passwords() {
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    end_before(&service, &headers, &address).await?;
    let (_, cookie) = begin(&service, user, &headers, &address, Method::ResetLink).await?;
    Ok((StatusCode::NO_CONTENT, [(header::SET_COOKIE, cookie)]).into_response())
}
