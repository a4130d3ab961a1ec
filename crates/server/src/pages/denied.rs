//! What somebody sees of a page that their role does not open: what it is for, and who may.

use askama::Template;
use axum::http::StatusCode;
use axum::response::{Html, IntoResponse, Response};
use tieline_store::{Member, Role};

use super::Failed;
use super::frame::{Frame, Place};
use super::visit::Visit;

#[derive(Template)]
#[template(path = "denied.html")]
struct Page {
    frame: Frame,
    /// What the page is for.
    about: &'static str,
    needed: Role,
    /// Those who may.
    who: Vec<Member>,
}

/// The page in its frame, with words in the place of what the role does not open.
pub(super) async fn denied(
    visit: &Visit,
    place: Place,
    title: &'static str,
    needed: Role,
    about: &'static str,
) -> Result<Response, Failed> {
    let mut who = visit.caller.tenant.members().await?;
    who.retain(|member| member.role >= needed);
    let page = Page { frame: visit.frame(place, title).await?, about, needed, who };
    Ok((StatusCode::FORBIDDEN, Html(page.render()?)).into_response())
}
