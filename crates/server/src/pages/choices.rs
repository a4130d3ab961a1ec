//! What a reader chooses for their browser alone: light or dark, and which of their businesses.

use axum::http::header;
use axum::response::{IntoResponse, Redirect, Response};
use serde::Deserialize;
use tieline_store::Uuid;

use super::Failed;
use super::visit::Sent;
use crate::connect::return_to;
use crate::cookies::Theme;
use crate::problem::Problem;
use crate::service::Service;

/// Light, dark, or as the system has it.
#[derive(Deserialize)]
pub(crate) struct Colours {
    theme: String,
    #[serde(default)]
    back: String,
}

/// Keeps it, and goes back to where the reader was.
pub(crate) async fn theme(sent: Sent<Colours>) -> Result<Response, Failed> {
    let Sent { visit, form } = sent;
    let back = return_to::checked(&form.back, &visit.service.settings().public_url);
    let mut answer = Redirect::to(&back).into_response();
    let cookie = visit.service.cookies().set_theme(Theme::from_name(&form.theme));
    answer.headers_mut().append(header::SET_COOKIE, cookie);
    Ok(answer)
}

/// One of their businesses.
#[derive(Deserialize)]
pub(crate) struct Chosen {
    id: Uuid,
}

/// Shows that one from now on.
pub(crate) async fn business(sent: Sent<Chosen>) -> Result<Response, Failed> {
    let Sent { visit, form } = sent;
    let signed_in = visit.caller.signed_in()?;
    let member = visit.service.store().membership(signed_in.user.id, form.id).await?;
    let member = member.ok_or_else(|| Problem::not_found("business"))?;
    Ok(shown_from_now_on(&visit.service, member.business()))
}

/// On to that business, of which the reader is a member.
pub(crate) fn shown_from_now_on(service: &Service, business: Uuid) -> Response {
    let mut answer = Redirect::to("/").into_response();
    answer.headers_mut().append(header::SET_COOKIE, service.cookies().set_business(business));
    answer
}
