//! Somebody's account: how they sign in, where they are signed in, and its end. It is theirs in whatever business, or in none.

use askama::Template;
use axum::extract::{FromRequestParts, State};
use axum::http::request::Parts;
use axum::response::{Html, IntoResponse, Redirect, Response};
use axum::{Form, Json};
use serde::Deserialize;
use tieline_store::Uuid;

use crate::accounts::SecretText;
use crate::accounts::account::{Proof, delete_account};
use crate::accounts::businesses::{self, NewBusiness};
use crate::accounts::oidc::identities;
use crate::accounts::session::{self, NewPassword, SessionRow};
use crate::caller::{Address, FormUser, SignedIn};
use crate::extract::{Body, Path, Query};
use crate::pages::sign_in::with_session;
use crate::pages::visit::{done, said};
use crate::pages::words::{Ago, ago, moment};
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
    sessions: Vec<Place>,
    /// What was done on the way here.
    said: Option<&'static str>,
    problem: Option<Problem>,
}

/// A browser that is signed in.
struct Place {
    id: Uuid,
    current: bool,
    agent: String,
    address: String,
    begun: Ago,
    used: Ago,
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

async fn shown(
    service: &Service,
    signed_in: &SignedIn,
    said: Option<&'static str>,
    problem: Option<Problem>,
) -> Result<Response, Failed> {
    let now = service.now();
    let Json(sessions) = session::sessions(State(service.clone()), signed_in.clone()).await?;
    let place = |row: SessionRow| Place {
        id: row.id,
        current: row.current,
        agent: if row.user_agent.is_empty() {
            "a browser that says nothing of itself".to_owned()
        } else {
            row.user_agent
        },
        address: row.address,
        begun: ago(row.created_at, now),
        used: ago(row.last_seen_at, now),
    };
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
        sessions: sessions.sessions.into_iter().map(place).collect(),
        said,
        problem,
    };
    Ok((status, Html(page.render()?)).into_response())
}

/// What was done, as a word of ours.
#[derive(Deserialize)]
pub(crate) struct Done {
    #[serde(default)]
    said: String,
}

/// The page.
pub(crate) async fn account(
    Owner(signed_in): Owner,
    State(service): State<Service>,
    Query(was): Query<Done>,
) -> Result<Response, Failed> {
    shown(&service, &signed_in, said(&was.said), None).await
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
    Owner(signed_in): Owner,
    State(service): State<Service>,
    address: Address,
    Form(chosen): Form<Chosen>,
) -> Result<Response, Failed> {
    let ended = match check_csrf(&signed_in, &chosen.csrf) {
        Ok(()) => {
            identities::unlink_identity(State(service.clone()), signed_in.clone(), address, Path(chosen.id)).await
        }
        Err(problem) => Err(problem),
    };
    match ended {
        Ok(_) => Ok(Redirect::to("/account").into_response()),
        Err(problem) => shown(&service, &signed_in, None, Some(problem)).await,
    }
}

/// Signs one of their other browsers out.
pub(crate) async fn end_session(
    Owner(signed_in): Owner,
    State(service): State<Service>,
    address: Address,
    Form(chosen): Form<Chosen>,
) -> Result<Response, Failed> {
    let ended = match check_csrf(&signed_in, &chosen.csrf) {
        Ok(()) => session::end_session(State(service.clone()), signed_in.clone(), address, Path(chosen.id)).await,
        Err(problem) => Err(problem),
    };
    match ended {
        Ok(_) => Ok(done("/account", "session_ended")),
        Err(problem) => shown(&service, &signed_in, None, Some(problem)).await,
    }
}

/// A form that says nothing beyond what its button does.
#[derive(Deserialize)]
pub(crate) struct Button {
    #[serde(default)]
    csrf: String,
}

/// Signs all their other browsers out.
pub(crate) async fn end_others(
    Owner(signed_in): Owner,
    State(service): State<Service>,
    Address(address): Address,
    Form(button): Form<Button>,
) -> Result<Response, Failed> {
    let ended = async {
        check_csrf(&signed_in, &button.csrf)?;
        let Json(all) = session::sessions(State(service.clone()), signed_in.clone()).await?;
        for row in all.sessions.into_iter().filter(|row| !row.current) {
            let (address, id) = (Address(address.clone()), Path(row.id));
            match session::end_session(State(service.clone()), signed_in.clone(), address, id).await {
                // It has ended by itself meanwhile.
                Err(problem) if problem.code() == "not_found" => {}
                ended => drop(ended?),
            }
        }
        Ok(())
    };
    match ended.await {
        Ok(()) => Ok(done("/account", "others_ended")),
        Err(problem) => shown(&service, &signed_in, None, Some(problem)).await,
    }
}

/// Another password, typed twice, and the one until now.
#[derive(Deserialize)]
pub(crate) struct ChangedPassword {
    #[serde(default)]
    csrf: String,
    current: SecretText,
    new: SecretText,
    again: SecretText,
}

/// Changes the password.
pub(crate) async fn change_password(
    Owner(signed_in): Owner,
    State(service): State<Service>,
    address: Address,
    Form(given): Form<ChangedPassword>,
) -> Result<Response, Failed> {
    let changed = async {
        check_csrf(&signed_in, &given.csrf)?;
        if given.new.0.expose() != given.again.0.expose() {
            return Err(Problem::invalid("the new password is not the same both times", "type it once more"));
        }
        let new = NewPassword { current: given.current, new: given.new };
        session::change_password(State(service.clone()), signed_in.clone(), address, Body(new)).await
    };
    match changed.await {
        Ok(_) => Ok(done("/account", "password_changed")),
        Err(problem) => shown(&service, &signed_in, None, Some(problem)).await,
    }
}

/// A business to be made.
#[derive(Deserialize)]
pub(crate) struct Made {
    #[serde(default)]
    csrf: String,
    #[serde(default)]
    name: String,
}

/// Makes a business and shows it from now on.
pub(crate) async fn make_business(
    Owner(signed_in): Owner,
    State(service): State<Service>,
    address: Address,
    Form(given): Form<Made>,
) -> Result<Response, Failed> {
    let made = match check_csrf(&signed_in, &given.csrf) {
        Ok(()) => {
            let new = Body(NewBusiness { name: given.name });
            businesses::create_business(State(service.clone()), signed_in.clone(), address, new).await
        }
        Err(problem) => Err(problem),
    };
    match made {
        Ok((_, Json(business))) => Ok(super::choices::shown_from_now_on(&service, business.id)),
        Err(problem) => shown(&service, &signed_in, None, Some(problem)).await,
    }
}

/// That it is the person themselves who ends the account.
#[derive(Deserialize)]
pub(crate) struct Proven {
    #[serde(default)]
    csrf: String,
    password: Option<SecretText>,
}

/// Deletes the account.
pub(crate) async fn delete(
    Owner(signed_in): Owner,
    State(service): State<Service>,
    address: Address,
    Form(given): Form<Proven>,
) -> Result<Response, Failed> {
    let deleted = match check_csrf(&signed_in, &given.csrf) {
        Ok(()) => {
            let proof = Proof { password: given.password };
            delete_account(State(service.clone()), signed_in.clone(), address, Body(proof)).await
        }
        Err(problem) => Err(problem),
    };
    match deleted {
        Ok(answer) => Ok(with_session(&answer, "/sign-in")),
        Err(problem) => shown(&service, &signed_in, None, Some(problem)).await,
    }
}
