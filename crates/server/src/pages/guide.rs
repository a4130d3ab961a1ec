//! The guide for a Salesforce admin: what is clicked in an org so that it can be connected.

use askama::Template;
use axum::response::{Html, IntoResponse, Response};

use super::Failed;
use super::frame::{Frame, Place};
use super::visit::Visit;
use crate::connect::authorize::Asked;

#[derive(Template)]
#[template(path = "guide.html")]
struct Page {
    frame: Frame,
    asked: Asked,
}

/// The page, for everybody who is signed in: often it is somebody else who makes the app.
pub(crate) async fn guide(visit: Visit) -> Result<Response, Failed> {
    let asked = Asked::of(&visit.service)?;
    let page = Page { frame: visit.frame(Place::Elsewhere, "Salesforce guide").await?, asked };
    Ok(Html(page.render()?).into_response())
}
