//! `GET /sign-in/callback`: back from the provider.

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use tieline_auth::Secret;
use tieline_store::{Digest, TakenSignIn};

use super::arrival::{Arrived, arrive, noted};
use super::begin::Derived;
use super::exchange::Person;
use super::refusal::Refusal;
use super::settings::OpenIdProvider;
use crate::accounts::SecretText;
use crate::accounts::session::{self, Method};
use crate::caller::{Address, SignedIn};
use crate::extract::Query;
use crate::problem::Problem;
use crate::service::Service;

/// What the provider sends along. A parameter that stands twice is refused.
#[derive(Deserialize)]
pub(crate) struct Answer {
    state: Option<SecretText>,
    code: Option<SecretText>,
    error: Option<String>,
    /// RFC 9207.
    iss: Option<String>,
}

/// Finishes a sign-in.
pub(crate) async fn callback(
    State(service): State<Service>,
    signed_in: Result<SignedIn, Problem>,
    Address(address): Address,
    headers: HeaderMap,
    answer: Result<Query<Answer>, Problem>,
) -> Response {
    let answer = match answer {
        Ok(Query(answer)) => answer,
        Err(problem) => return Refusal::from(problem).answer(&headers),
    };
    match finish(&service, signed_in, &address, &headers, answer).await {
        Ok(response) => response,
        Err(refusal) => {
            tracing::warn!(code = refusal.code(), detail = refusal.detail(), "somebody was not signed in");
            noted(&service, &refusal, &address).await;
            refusal.answer(&headers)
        }
    }
}

async fn finish(
    service: &Service,
    signed_in: Result<SignedIn, Problem>,
    address: &str,
    headers: &HeaderMap,
    answer: Answer,
) -> Result<Response, Refusal> {
    let provider = service.provider()?;
    let state = answer.state.as_ref().map_or_else(|| Secret::new(""), |state| state.0.clone());
    let browser = Secret::new(service.cookies().sign_in(headers).unwrap_or_default());
    let (state_hash, browser_hash) = (Digest::of(state.expose()), Digest::of(browser.expose()));
    // From here on it is used up, whatever comes of it.
    let taken = service.store().take_sign_in(state_hash, browser_hash, service.now()).await??;
    let person = prove(service, &taken, answer, &Derived::from(&browser, &state)).await?;
    let user = match arrive(service, provider.settings(), &taken, &person, signed_in, address).await? {
        Arrived::Linked => return Ok(away(&taken.return_to)),
        Arrived::As(user) => user,
    };
    session::end_before(service, headers, address).await?;
    let (_, cookie) = session::begin(service, user, headers, address, Method::OpenId).await?;
    let mut response = away(&taken.return_to);
    response.headers_mut().append(header::SET_COOKIE, cookie);
    Ok(response)
}

/// Who the provider says that it is.
async fn prove(service: &Service, taken: &TakenSignIn, answer: Answer, derived: &Derived) -> Result<Person, Refusal> {
    let (provider, now) = (service.provider()?, service.now());
    let issuer = &provider.settings().issuer;
    let metadata = provider.metadata(now).await?;
    // Also when the operator has changed the provider meanwhile.
    let is_its = taken.issuer == *issuer && answer.iss.as_ref().is_none_or(|named| named == issuer);
    if !is_its || (metadata.names_itself && answer.iss.is_none()) {
        return Err(Refusal::other_issuer());
    }
    if let Some(error) = &answer.error {
        return Err(Refusal::denied(error));
    }
    let code = answer.code.ok_or_else(Refusal::no_code)?.0;
    let redirect_uri = OpenIdProvider::redirect_uri(&service.settings().public_url);
    provider.person(&metadata, &code, derived, &redirect_uri, now).await
}

/// To where the browser was: checked when it was kept.
fn away(return_to: &str) -> Response {
    (StatusCode::SEE_OTHER, [(header::LOCATION, return_to), (header::CACHE_CONTROL, "no-store")]).into_response()
}
