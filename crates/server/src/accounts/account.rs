//! The end of an account.

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use jiff::SignedDuration;
use serde::Deserialize;
use tieline_store::AccountDeletion;
use utoipa::ToSchema;

use crate::accounts::SecretText;
use crate::caller::{Address, SignedIn};
use crate::extract::Body;
use crate::passwords;
use crate::problem::Problem;
use crate::service::Service;

/// Whoever signs in elsewhere has no password to show: a sign-in as fresh as this stands for it.
const FRESH: SignedDuration = SignedDuration::from_mins(10);

/// Proof that it is the person themselves.
#[derive(Deserialize, ToSchema)]
pub(crate) struct Proof {
    /// The password. Whoever has none signs in anew, ten minutes before at most.
    #[schema(value_type = Option<String>, format = Password, max_length = 256)]
    pub(crate) password: Option<SecretText>,
}

/// Delete the account
///
/// Address, name and password go, all sessions end, and no business has the person as a member any more. The only owner of
/// a business first makes somebody else one, or deletes the business.
#[utoipa::path(delete, path = "/api/account", tag = "accounts", security(("session" = [], "csrf" = [])), request_body = Proof, responses(
    (status = 204, description = "It is gone"),
    (status = "4XX", description = "It is not", body = Problem, content_type = "application/problem+json"),
    (status = "5XX", description = "The service failed", body = Problem, content_type = "application/problem+json"),
))]
pub(crate) async fn delete_account(
    State(service): State<Service>,
    signed_in: SignedIn,
    Address(address): Address,
    Body(proof): Body<Proof>,
) -> Result<Response, Problem> {
    let account = service.store().account_of(signed_in.user.id).await?.ok_or_else(Problem::unauthenticated)?;
    let now = service.now();
    let proven = match (account.password_hash, proof.password) {
        (Some(hash), Some(password)) => passwords::verify(password.0, Some(hash)).await?,
        (Some(_), None) => false,
        (None, _) => now.duration_since(signed_in.session.created_at) <= FRESH,
    };
    if !proven {
        return Err(Problem::forbidden(
            "wrong_credentials",
            "the password is wrong or missing",
            "send it; whoever has none signs in anew first",
        ));
    }
    match service.store().delete_account(signed_in.user.id, Some(&address), now).await? {
        AccountDeletion::Done => {
            let cookie = service.cookies().end_session();
            Ok((StatusCode::NO_CONTENT, [(header::SET_COOKIE, cookie)]).into_response())
        }
        AccountDeletion::SoleOwner(names) => Err(Problem::conflict(
            "last_owner",
            format!("this is the only owner of: {}", names.join(", ")),
            "make somebody else an owner there first, or delete the business",
        )),
        AccountDeletion::NotFound => Err(Problem::unauthenticated()),
    }
}
