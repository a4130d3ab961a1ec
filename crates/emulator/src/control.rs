//! The control API: what only the owner of a local org may do. Documented in docs/emulator.md.

mod access;
mod records;
mod schema;
mod stand_ins;
mod transactions;
mod upheaval;

use std::sync::atomic::Ordering;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Json, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post, put};
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::Shared;
use crate::api_error::ApiError;
use crate::data::people::first_scope;
use crate::faults::Fault;
use crate::hosts::Maintenance;
use crate::oauth::app::{Change, null_counts};
use crate::oauth::grants::SESSION_TIMEOUT;
use crate::org::{Keeping, Ledger, Org, Usage};

/// Where the control API lives. Never a path of Salesforce's.
pub(crate) const PATH: &str = "/-/emulator";

pub(crate) fn router() -> Router<Shared> {
    Router::new()
        .route("/ledger", get(ledger))
        .route("/clock", put(clock).get(read_clock))
        .route("/commit-delay", put(commit_delay))
        .route("/limits", put(limits))
        .route("/faults", post(add_faults).delete(clear_faults))
        .route("/connections", delete(forget_connections))
        .route("/reset", post(reset))
        .route("/tokens/revoke", post(revoke))
        .route("/refresh-tokens", post(new_refresh_token))
        .route("/app", put(app))
        .route("/setup", put(setup))
        .route("/apps", get(apps))
        .route("/users/freeze", post(freeze))
        .route("/records/undelete", post(undelete))
        .route("/query-locators/expire", post(expire_locators))
        .merge(access::router())
        .merge(records::router())
        .merge(schema::router())
        .merge(transactions::router())
        .merge(upheaval::router())
        // A test may write all its records at once.
        .layer(DefaultBodyLimit::disable())
        .merge(stand_ins::router())
}

async fn ledger(State(shared): State<Shared>) -> Response {
    let (ledger, (alive, revoked), sessions, has_datacloud) = shared
        .with_org(|org| {
            let sessions = org.grants.live_sessions(org.now());
            (org.ledger.clone(), org.grants.families(), sessions, org.datacloud.is_some())
        })
        .await;
    let Ledger {
        token_requests,
        logins,
        spent_refresh_tokens_replayed,
        api_calls,
        records_written,
        deploys,
        faults_injected,
        resources,
        emails,
        datacloud,
    } = ledger;
    let mut body = json!({
        "token_requests": token_requests, "logins": logins,
        "spent_refresh_tokens_replayed": spent_refresh_tokens_replayed,
        "refresh_families": {"alive": alive, "revoked": revoked}, "sessions": sessions,
        "api_calls": api_calls, "records_written": records_written, "deploys": deploys, "faults_injected": faults_injected,
        "resources": resources, "emails": emails,
    });
    if has_datacloud {
        body["datacloud"] = json!({"calls": datacloud.calls, "refused": datacloud.refused});
    }
    axum::Json(body).into_response()
}

async fn forget_connections(State(shared): State<Shared>) -> StatusCode {
    shared.forgotten.fetch_add(1, Ordering::Relaxed);
    StatusCode::NO_CONTENT
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ClockChange {
    now: Option<Timestamp>,
    frozen: Option<bool>,
    advance_seconds: Option<i64>,
}

async fn read_clock(State(shared): State<Shared>) -> Response {
    let now = shared.with_org(|org| org.now()).await;
    axum::Json(json!({"now": now.to_string()})).into_response()
}

async fn clock(State(shared): State<Shared>, Json(change): Json<ClockChange>) -> Response {
    let now = shared
        .with_org(move |org| {
            if change.now.is_some() || change.frozen.is_some() {
                let at = change.now.unwrap_or_else(|| org.now());
                org.clock.set(at, change.frozen.unwrap_or(false));
            }
            if let Some(seconds) = change.advance_seconds {
                org.clock.advance(SignedDuration::from_secs(seconds));
            }
            org.now()
        })
        .await;
    axum::Json(json!({"now": now.to_string()})).into_response()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CommitDelay {
    seconds: i64,
}

async fn commit_delay(State(shared): State<Shared>, Json(delay): Json<CommitDelay>) -> StatusCode {
    shared.with_org(move |org| org.commit_delay = SignedDuration::from_secs(delay.seconds.max(0))).await;
    StatusCode::NO_CONTENT
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Limits {
    daily_api_requests: Option<u64>,
    /// As if so many calls had been made in this hour, and none before.
    api_requests_used: Option<u64>,
    replication_ids: Option<usize>,
    #[serde(default, deserialize_with = "null_counts")]
    query_timeout_rows: Option<Option<u64>>,
    #[serde(default, deserialize_with = "null_counts")]
    query_page_rows: Option<Option<usize>>,
    #[serde(default, deserialize_with = "null_counts")]
    recycle_bin_days: Option<Option<i64>>,
    #[serde(default, deserialize_with = "null_counts")]
    archive_after_days: Option<Option<i64>>,
    session_timeout_seconds: Option<i64>,
    /// An absolute end of access tokens; null for none.
    #[serde(default, deserialize_with = "null_counts")]
    token_life_seconds: Option<Option<i64>>,
    datacloud_token_life_seconds: Option<i64>,
    datacloud_page_rows: Option<u64>,
}

async fn limits(State(shared): State<Shared>, Json(body): Json<Map<String, Value>>) -> StatusCode {
    // Each of the two knows its own keys and refuses others.
    let (bulk, own): (Map<_, _>, Map<_, _>) = body.into_iter().partition(|(key, _)| key.starts_with("bulk_"));
    let bulk = serde_json::from_value::<crate::bulk::Change>(Value::Object(bulk));
    let (Ok(bulk), Ok(limits)) = (bulk, serde_json::from_value::<Limits>(Value::Object(own))) else {
        return StatusCode::UNPROCESSABLE_ENTITY;
    };
    shared
        .with_org(move |org| {
            org.bulk.change(bulk);
            org.daily_limit = limits.daily_api_requests.unwrap_or(org.daily_limit);
            if let Some(calls) = limits.api_requests_used {
                org.usage.set(org.now(), calls);
            }
            org.keeping.change(
                limits.replication_ids,
                limits.query_timeout_rows,
                limits.recycle_bin_days,
                limits.archive_after_days,
            );
            if let Some(rows) = limits.query_page_rows {
                org.keeping.page_rows = rows;
            }
            if let Some(seconds) = limits.session_timeout_seconds {
                org.grants.session_timeout = SignedDuration::from_secs(seconds);
            }
            if let Some(seconds) = limits.token_life_seconds {
                org.grants.token_life = seconds.map(SignedDuration::from_secs);
            }
            if let Some(datacloud) = &mut org.datacloud {
                if let Some(seconds) = limits.datacloud_token_life_seconds {
                    datacloud.token_life = SignedDuration::from_secs(seconds);
                }
                datacloud.page_rows = limits.datacloud_page_rows.unwrap_or(datacloud.page_rows).max(1);
            }
        })
        .await;
    StatusCode::NO_CONTENT
}

async fn add_faults(State(shared): State<Shared>, Json(fault): Json<Fault>) -> StatusCode {
    if fault.status.is_some_and(|status| !(200..600).contains(&status)) {
        return StatusCode::UNPROCESSABLE_ENTITY;
    }
    shared.faults.add(fault);
    StatusCode::NO_CONTENT
}

async fn clear_faults(State(shared): State<Shared>) -> StatusCode {
    shared.faults.clear();
    StatusCode::NO_CONTENT
}

/// Clock, faults, delays, limits, the app's policy and the ledger as at the start. Records and tokens stay.
async fn reset(State(shared): State<Shared>) -> StatusCode {
    shared.faults.clear();
    shared.hosts.maintain(Maintenance::off());
    shared
        .with_org(|org| {
            org.clock = crate::clock::Clock::default();
            org.commit_delay = SignedDuration::ZERO;
            org.ledger = Ledger::default();
            org.usage = Usage::default();
            org.keeping = Keeping::default();
            org.delete_log.clear();
            org.page_tricks.clear();
            if let Err(error) = org.open_eyes() {
                tracing::error!(?error, "permissions and sharing could not be reset");
            }
            org.daily_limit = crate::org::DAILY_LIMIT;
            org.grants.session_timeout = SESSION_TIMEOUT;
            org.grants.token_life = None;
            org.bulk.reset();
            org.stand_ins = crate::stand_ins::StandIns::default();
            org.reset_setup();
            if let Some(datacloud) = &mut org.datacloud {
                datacloud.reset_limits();
            }
            for app in &mut org.apps {
                app.policy = app.initial.clone();
            }
        })
        .await;
    StatusCode::NO_CONTENT
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Revocation {
    access_token: Option<String>,
    refresh_token: Option<String>,
    /// Every access token of the org.
    #[serde(default)]
    all: bool,
    /// Every refresh token with its sessions, as an administrator ends an app's use.
    #[serde(default)]
    grants: bool,
    /// Every Data Cloud token of the org.
    #[serde(default)]
    datacloud: bool,
}

async fn revoke(State(shared): State<Shared>, Json(revocation): Json<Revocation>) -> Response {
    let ended = shared
        .with_org(move |org| {
            let count = |org: &Org| org.grants.live_sessions(org.now()) + org.grants.families().0;
            let before = count(org);
            if revocation.all {
                org.grants.end_all_sessions();
            }
            if revocation.grants {
                org.grants.end_all();
            }
            for token in [&revocation.access_token, &revocation.refresh_token].into_iter().flatten() {
                // An unknown token counts as zero, which the answer shows.
                org.grants.revoke(token);
            }
            let ended = before - count(org);
            let now = org.now();
            let datacloud = org.datacloud.as_mut().filter(|_| revocation.datacloud);
            ended + datacloud.map_or(0, |datacloud| datacloud.revoke_all(now))
        })
        .await;
    axum::Json(json!({"ended": ended})).into_response()
}

/// Changes the app's policy.
async fn app(State(shared): State<Shared>, Json(change): Json<Change>) -> StatusCode {
    shared
        .with_org(move |org| {
            if let Some(app) = org.apps.first_mut() {
                change.apply(&mut app.policy);
            }
        })
        .await;
    StatusCode::NO_CONTENT
}

/// How the org behaves while it is set up.
async fn setup(State(shared): State<Shared>, Json(change): Json<crate::metadata::Change>) -> StatusCode {
    shared.with_org(move |org| org.change_setup(change)).await;
    StatusCode::NO_CONTENT
}

/// Every app with its consumer key, the newest version of each.
async fn apps(State(shared): State<Shared>) -> Response {
    let apps = shared
        .with_org(|org| {
            let mut apps = serde_json::Map::new();
            for app in &org.apps {
                let told = json!({
                    "client_id": app.client_id, "client_secret": app.client_secret, "scopes": app.policy.scopes,
                    "admin_approved": app.policy.admin_approved, "active_from": app.active_from.to_string(),
                    "pkce_required": app.policy.pkce_required, "rotation": app.policy.rotation,
                    "callback_urls": app.policy.callback_urls,
                });
                apps.insert(app.name.clone(), told);
            }
            serde_json::Value::from(apps)
        })
        .await;
    axum::Json(apps).into_response()
}

/// A refresh token as after another approval by the admin.
async fn new_refresh_token(State(shared): State<Shared>) -> Response {
    let token = shared
        .with_org(|org| {
            let client_id = org.apps.first().map_or_else(String::new, |app| app.client_id.clone());
            let (admin, now, scope) = (org.admin_id.clone(), org.now(), first_scope(org));
            org.grants.open_family(&admin, &client_id, &scope, now).1
        })
        .await;
    axum::Json(json!({"refresh_token": token})).into_response()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Freeze {
    username: String,
    active: bool,
}

async fn freeze(State(shared): State<Shared>, Json(freeze): Json<Freeze>) -> Response {
    shared
        .with_org(move |org| {
            let user = org.user(&freeze.username)?.ok_or_else(ApiError::not_found)?;
            org.set_active(&user.id, freeze.active)
        })
        .await
        .map_or_else(IntoResponse::into_response, |()| StatusCode::NO_CONTENT.into_response())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Undelete {
    id: String,
}

async fn undelete(State(shared): State<Shared>, Json(undelete): Json<Undelete>) -> Response {
    shared
        .with_org(move |org| {
            let id = crate::id::normalise(&undelete.id).ok_or_else(ApiError::not_found)?;
            let admin = org.admin_id.clone();
            org.as_system(|org| {
                let object = org.schema.by_prefix(&id).ok_or_else(ApiError::not_found)?.name.clone();
                org.set_deleted(&object, &id, false, &admin)
            })
        })
        .await
        .map_or_else(IntoResponse::into_response, |()| StatusCode::NO_CONTENT.into_response())
}

/// Every locator that is open, as if two days had passed.
async fn expire_locators(State(shared): State<Shared>) -> Response {
    let expired = shared.with_org(|org| org.cursors.expire()).await;
    axum::Json(json!({"expired": expired})).into_response()
}
