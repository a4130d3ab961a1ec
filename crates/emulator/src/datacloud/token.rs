//! `POST /services/a360/token` on the core host: a core session becomes a Data Cloud token.

use std::collections::HashMap;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Query, State};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::post;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::SCOPES;
use crate::Shared;
use crate::api_error::ApiError;
use crate::oauth::app::has_scope;
use crate::oauth::token::{Form, field};
use crate::oauth::{OAuthError, id_token};
use crate::oauth_routes::form;
use crate::org::Org;
use crate::rest::json_response;

/// The grant of this endpoint, under which its requests are counted.
const GRANT: &str = "urn:salesforce:grant-type:external:cdp";

pub(crate) fn router() -> Router<Shared> {
    Router::new().route("/services/a360/token", post(exchange))
}

enum Refused {
    /// The org has no Data Cloud. What a real one without it answers is not documented.
    NoDataCloud,
    OAuth(OAuthError),
    /// Not JSON: how a second exchange of a password flow's token ends (help article 005104785).
    Page,
}

impl From<OAuthError> for Refused {
    fn from(error: OAuthError) -> Self {
        Refused::OAuth(error)
    }
}

/// The fields come in a form (Salesforce's JDBC driver) or in the query string of a request without a body (its Python
/// connector).
async fn exchange(State(shared): State<Shared>, Query(query): Query<HashMap<String, String>>, body: Bytes) -> Response {
    let form = form(query, &body);
    let (answer, now) = shared.with_org(move |org| (issue(org, &form), org.now())).await;
    let mut response = match answer {
        Ok(answer) => json_response(200, answer.to_string().into_bytes()),
        Err(Refused::OAuth(error)) => json_response(400, error.body().to_string().into_bytes()),
        Err(Refused::NoDataCloud) => ApiError::not_found().into_response(),
        // The status is not documented.
        Err(Refused::Page) => {
            const PAGE: &str =
                "<html><head><title>Error</title></head><body>An unexpected error occurred.</body></html>";
            (axum::http::StatusCode::BAD_REQUEST, Html(PAGE)).into_response()
        }
    };
    let own = response.headers_mut();
    own.insert("cache-control", axum::http::HeaderValue::from_static("no-cache, no-store"));
    // By the org's clock, which a test may have moved.
    if let Ok(date) = crate::clock::http_date(now).parse() {
        own.insert("date", date);
    }
    response
}

/// Codes are those of RFC 6749; by which words a real org refuses is not documented.
fn issue(org: &mut Org, form: &Form) -> Result<Value, Refused> {
    if org.datacloud.is_none() {
        return Err(Refused::NoDataCloud);
    }
    let grant = field(form, "grant_type");
    *org.ledger.token_requests.entry(grant.to_owned()).or_default() += 1;
    if grant != GRANT {
        return Err(OAuthError("unsupported_grant_type", "grant type not supported").into());
    }
    if field(form, "subject_token_type") != "urn:ietf:params:oauth:token-type:access_token" {
        return Err(OAuthError("invalid_request", "subject token type not supported").into());
    }
    let subject = field(form, "subject_token");
    let session = org.session(subject).ok_or(OAuthError("invalid_grant", "invalid subject token"))?.clone();
    let scopes = SCOPES.into_iter().filter(|scope| has_scope(&session.scope, scope)).collect::<Vec<_>>().join(" ");
    if scopes.is_empty() {
        return Err(OAuthError("invalid_scope", "the subject token has no scope for data cloud").into());
    }
    let now = org.now();
    let base = org.base_url.clone();
    let subject_id = format!("{base}/id/{}/{}", org.id, session.user_id);
    let Some(datacloud) = &mut org.datacloud else { return Err(Refused::NoDataCloud) };
    if session.by_password && !datacloud.spent.insert(subject.to_owned()) {
        return Err(Refused::Page);
    }
    let life = datacloud.token_life;
    let id = format!("{:032x}", fastrand::u128(..));
    let mut claims = json!({
        "iss": base, "sub": subject_id, "aud": datacloud.url, "iat": now.as_second(),
        "exp": now.as_second() + life.as_secs(), "jti": id, "audienceTenantId": datacloud.tenant, "scope": scopes,
    });
    if let Some(dataspace) = form.get("dataspace") {
        claims["dataspace"] = json!(dataspace);
    }
    datacloud.issued.retain(|_, end| *end > now);
    datacloud.issued.insert(id, now.checked_add(life).unwrap_or(Timestamp::MAX));
    let host = datacloud.host.clone();
    let token = id_token::signed(org, &claims)?;
    Ok(json!({
        "access_token": token, "instance_url": host, "token_type": "Bearer",
        "issued_token_type": "urn:ietf:params:oauth:token-type:jwt", "expires_in": life.as_secs(),
    }))
}
