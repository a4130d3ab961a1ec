//! Rows past the API: written as the org itself does, merged, touched, archived, ended, and told as they truly are.

use axum::Router;
use axum::extract::{Json, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::json;

use crate::Shared;
use crate::api_error::ApiError;
use crate::id;
use crate::org::{LogPurge, Org, Step, TouchStep};

pub(super) fn router() -> Router<Shared> {
    Router::new()
        .route("/records/purge", post(purge))
        .route("/records/write", post(write))
        .route("/records/merge", post(merge))
        .route("/records/touch", post(touch))
        .route("/records/archive", post(archive))
        .route("/recycle-bin/empty", post(empty_bin))
        .route("/delete-log/purge", post(purge_log))
        .route("/snapshot", post(snapshot))
}

/// 204, or the refusal.
pub(super) fn done(done: Result<(), ApiError>) -> Response {
    done.map_or_else(IntoResponse::into_response, |()| StatusCode::NO_CONTENT.into_response())
}

/// The ids in their long form; one that is none is not found.
pub(super) fn normal(ids: &[String]) -> Result<Vec<String>, ApiError> {
    ids.iter().map(|id| id::normalise(id).ok_or_else(ApiError::not_found)).collect()
}

/// The user that is named, or the admin.
pub(super) fn author(org: &Org, username: Option<&str>) -> Result<String, ApiError> {
    match username {
        None => Ok(org.admin_id.clone()),
        Some(name) => Ok(org.user(name)?.ok_or_else(ApiError::not_found)?.id),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Purge {
    object: String,
    ids: Vec<String>,
}

/// All of them, or none if one is not there.
async fn purge(State(shared): State<Shared>, Json(purge): Json<Purge>) -> Response {
    let purged = shared.with_org(move |org| {
        let ids = normal(&purge.ids)?;
        org.as_system(|org| org.purge(&purge.object, &ids))
    });
    done(purged.await)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Writes {
    pub(super) writes: Vec<Step>,
    /// A user name; the admin writes if it is left out.
    #[serde(default)]
    pub(super) by: Option<String>,
}

/// All of them or none, in one transaction.
async fn write(State(shared): State<Shared>, Json(body): Json<Writes>) -> Response {
    let written = shared.with_org(move |org| {
        let user = author(org, body.by.as_deref())?;
        org.as_system(|org| org.steps(&body.writes, &user))
    });
    match written.await {
        Ok(ids) => axum::Json(json!({"ids": ids})).into_response(),
        Err(refused) => refused.into_response(),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Merge {
    object: String,
    winner: String,
    losers: Vec<String>,
    #[serde(default)]
    fields: serde_json::Map<String, serde_json::Value>,
    #[serde(default)]
    modifies_children: bool,
}

async fn merge(State(shared): State<Shared>, Json(merge): Json<Merge>) -> Response {
    let Merge { object, winner, losers, fields, modifies_children } = merge;
    let step = Step::Merge { object, winner, losers, fields, modifies_children };
    one_step(&shared, step).await
}

async fn touch(State(shared): State<Shared>, Json(touch): Json<TouchStep>) -> Response {
    one_step(&shared, Step::Touch(touch)).await
}

async fn one_step(shared: &Shared, step: Step) -> Response {
    let written = shared.with_org(move |org| {
        let admin = org.admin_id.clone();
        org.as_system(|org| org.steps(&[step], &admin)).map(|_| ())
    });
    done(written.await)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Archive {
    object: Option<String>,
    #[serde(default)]
    ids: Vec<String>,
    /// Instead of ids: all tasks and events that ended so many days ago.
    older_than_days: Option<i64>,
    #[serde(default = "yes")]
    archived: bool,
}

fn yes() -> bool {
    true
}

async fn archive(State(shared): State<Shared>, Json(archive): Json<Archive>) -> Response {
    let archived = shared.with_org(move |org| {
        org.as_system(|org| match (&archive.object, archive.older_than_days) {
            (None, Some(days)) => org.archive_older(days),
            (Some(object), None) => {
                let ids = normal(&archive.ids)?;
                org.archive(object, &ids, archive.archived).map(|()| ids.len())
            }
            _ => Err(ApiError::bad("MISSING_ARGUMENT", "an object and ids, or older_than_days")),
        })
    });
    match archived.await {
        Ok(count) => axum::Json(json!({"archived": count})).into_response(),
        Err(refused) => refused.into_response(),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EmptyBin {
    /// Only what was deleted before this.
    before: Option<Timestamp>,
}

async fn empty_bin(State(shared): State<Shared>, Json(bin): Json<EmptyBin>) -> Response {
    let emptied = shared.with_org(move |org| {
        // What was deleted in this second counts too.
        let before = bin.before.unwrap_or_else(|| org.now() + jiff::SignedDuration::from_secs(1));
        org.as_system(|org| org.empty_bin(before))
    });
    match emptied.await {
        Ok(count) => axum::Json(json!({"removed": count})).into_response(),
        Err(refused) => refused.into_response(),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PurgeLog {
    object: String,
    /// What was deleted before this is not told any more; now, if it is left out.
    before: Option<Timestamp>,
    /// Spans that begin earlier are refused.
    #[serde(default)]
    refuse: bool,
}

async fn purge_log(State(shared): State<Shared>, Json(log): Json<PurgeLog>) -> Response {
    let purged = shared.with_org(move |org| {
        let before = crate::clock::datetime(log.before.unwrap_or_else(|| org.now()));
        let object = org.as_system(|org| org.object(&log.object).map(|object| object.name.clone()))?;
        org.delete_log.insert(object, LogPurge { before, refuse: log.refuse });
        Ok(())
    });
    done(purged.await)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Snapshot {
    #[serde(default)]
    objects: Vec<String>,
    /// Also records that are gone for good.
    #[serde(default)]
    purged: bool,
}

async fn snapshot(State(shared): State<Shared>, Json(snapshot): Json<Snapshot>) -> Response {
    let lines = shared.with_org(move |org| org.snapshot(&snapshot.objects, snapshot.purged)).await;
    match lines {
        Ok(lines) => ([("content-type", "application/x-ndjson")], lines).into_response(),
        Err(refused) => refused.into_response(),
    }
}
