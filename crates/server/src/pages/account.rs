//! How somebody signs in: the identities that are linked to their account.

use askama::Template;
use axum::Form;
use axum::extract::{FromRequestParts, State};
use axum::http::request::Parts;
use axum::response::{Html, IntoResponse, Redirect, Response};
use serde::Deserialize;
use tieline_store::Uuid;

use crate::accounts::oidc::identities;
use crate::caller::{Address, FormUser, SignedIn};
use crate::extract::Path;
use crate::pages::words::moment;
use crate::pages::{Failed, check_csrf};
use crate::problem::Problem;
use crate::service::Service;

#[derive(Template)]
#[template(path = "account.html")]
struct Page {
    email: String,
    csrf: String,
    /// What the provider is called, if there is one.
    provider: Option<String>,
    has_password: bool,
    in_no_business: bool,
    identities: Vec<IdentityRow>,
    problem: Option<Problem>,
}

struct IdentityRow {
    id: String,
    issuer: String,
    email: String,
    used: String,
}

/// Whoever is signed in, in a business or in none.
pub(crate) struct Owner(SignedIn);

impl FromRequestParts<Service> for Owner {
    type Rejection = Redirect;

    async fn from_request_parts(parts: &mut Parts, service: &Service) -> Result<Self, Redirect> {
        let Ok(FormUser(signed_in)) = FormUser::from_request_parts(parts, service).await;
        signed_in.map(Self).map_err(|_| Redirect::to("/sign-in?return_to=/account"))
    }
}

async fn shown(service: &Service, signed_in: &SignedIn, problem: Option<Problem>) -> Result<Response, Failed> {
    let identities = service.store().identities_of(signed_in.user.id).await?;
    let account = service.store().account_of(signed_in.user.id).await?;
    let in_no_business = service.store().memberships(signed_in.user.id).await?.is_empty();
    let status = problem.as_ref().map_or(axum::http::StatusCode::OK, Problem::status);
    let row = |identity: tieline_store::Identity| IdentityRow {
        id: identity.id.to_string(),
        used: identity.last_used_at.map_or_else(|| "not yet".to_owned(), moment),
        email: identity.email.unwrap_or_default(),
        issuer: identity.issuer,
    };
    let page = Page {
        in_no_business,
        email: signed_in.user.email.clone(),
        csrf: signed_in.csrf_token.clone(),
        provider: service.settings().open_id.as_ref().map(|told| told.name.clone()),
        has_password: account.is_some_and(|account| account.password_hash.is_some()),
        identities: identities.into_iter().map(row).collect(),
        problem,
    };
    Ok((status, Html(page.render()?)).into_response())
}

/// The page.
pub(crate) async fn account(
    owner: Result<Owner, Redirect>,
    State(service): State<Service>,
) -> Result<Response, Failed> {
    match owner {
        Ok(Owner(signed_in)) => shown(&service, &signed_in, None).await,
        Err(redirect) => Ok(redirect.into_response()),
    }
}

/// Which identity is to be taken off.
#[derive(Deserialize)]
pub(crate) struct Chosen {
    #[serde(default)]
    csrf: String,
    id: Uuid,
}

/// Takes an identity off.
pub(crate) async fn unlink(
    owner: Result<Owner, Redirect>,
    State(service): State<Service>,
    address: Address,
    Form(chosen): Form<Chosen>,
) -> Result<Response, Failed> {
    let signed_in = match owner {
        Ok(Owner(signed_in)) => signed_in,
        Err(redirect) => return Ok(redirect.into_response()),
    };
    let ended = match check_csrf(&signed_in, &chosen.csrf) {
        Ok(()) => {
            identities::unlink_identity(State(service.clone()), signed_in.clone(), address, Path(chosen.id)).await
        }
        Err(problem) => Err(problem),
    };
    match ended {
        Ok(_) => Ok(Redirect::to("/account").into_response()),
        Err(problem) => shown(&service, &signed_in, Some(problem)).await,
    }
}
