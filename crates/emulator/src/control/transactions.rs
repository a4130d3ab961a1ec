//! Transactions that stay open until they are told to commit.

use axum::Router;
use axum::extract::{Json, Path, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, post};
use serde::Deserialize;
use serde_json::json;

use super::records::{Writes, author, done};
use crate::Shared;
use crate::org::Step;

pub(super) fn router() -> Router<Shared> {
    Router::new()
        .route("/transactions", post(begin).get(list))
        .route("/transactions/{id}", delete(roll_back))
        .route("/transactions/{id}/writes", post(write))
        .route("/transactions/{id}/commit", post(commit))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Begin {
    #[serde(default)]
    writes: Vec<Step>,
    #[serde(default)]
    by: Option<String>,
}

async fn begin(State(shared): State<Shared>, Json(body): Json<Begin>) -> Response {
    let begun = shared.with_org(move |org| {
        let user = author(org, body.by.as_deref())?;
        let id = org.open();
        let written = org.as_system(|org| org.write_in_open(&id, &body.writes, &user));
        match written {
            Ok(ids) => Ok(json!({"id": id, "ids": ids})),
            Err(refused) => {
                org.abandon_open(&id)?;
                Err(refused)
            }
        }
    });
    begun.await.map_or_else(IntoResponse::into_response, |told| axum::Json(told).into_response())
}

async fn list(State(shared): State<Shared>) -> Response {
    let told = shared
        .with_org(|org| {
            let open: Vec<_> =
                org.open.iter().map(|(id, open)| json!({"id": id, "began": open.began.to_string()})).collect();
            json!({"transactions": open})
        })
        .await;
    axum::Json(told).into_response()
}

async fn write(State(shared): State<Shared>, Path(id): Path<String>, Json(body): Json<Writes>) -> Response {
    let written = shared.with_org(move |org| {
        let user = author(org, body.by.as_deref())?;
        org.as_system(|org| org.write_in_open(&id, &body.writes, &user))
    });
    written.await.map_or_else(IntoResponse::into_response, |ids| axum::Json(json!({"ids": ids})).into_response())
}

async fn commit(State(shared): State<Shared>, Path(id): Path<String>) -> Response {
    let committed = shared.with_org(move |org| org.commit_open(&id)).await;
    committed.map_or_else(IntoResponse::into_response, |count| axum::Json(json!({"writes": count})).into_response())
}

async fn roll_back(State(shared): State<Shared>, Path(id): Path<String>) -> Response {
    done(shared.with_org(move |org| org.abandon_open(&id)).await)
}
