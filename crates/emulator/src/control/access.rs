//! Permissions and sharing: what the users of the API see.

use axum::Router;
use axum::extract::{Json, State};
use axum::response::Response;
use axum::routing::put;
use serde::Deserialize;

use super::records::{done, normal};
use crate::Shared;

pub(super) fn router() -> Router<Shared> {
    Router::new().route("/permissions", put(permit).delete(all_seen)).route("/sharing", put(share).delete(all_seen))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Permission {
    object: String,
    /// None: the object as a whole.
    #[serde(default)]
    fields: Vec<String>,
    visible: bool,
}

async fn permit(State(shared): State<Shared>, Json(body): Json<Permission>) -> Response {
    done(shared.with_org(move |org| org.permit(&body.object, &body.fields, body.visible)).await)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Sharing {
    object: String,
    ids: Vec<String>,
    visible: bool,
}

async fn share(State(shared): State<Shared>, Json(body): Json<Sharing>) -> Response {
    done(shared.with_org(move |org| org.share(&body.object, &normal(&body.ids)?, body.visible)).await)
}

/// As at the start: everything is seen.
async fn all_seen(State(shared): State<Shared>) -> Response {
    done(shared.with_org(|org| org.open_eyes()).await)
}
