//! `POST /services/oauth2/token`.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::{OAuthError, jwt};
use crate::org::{App, Org};

/// The request's form fields, with the client's credentials from the Basic header mixed in.
pub(crate) type Form = BTreeMap<String, String>;

/// Adds `client_id` and `client_secret` from an `Authorization: Basic` header.
pub(crate) fn add_basic(form: &mut Form, authorization: Option<&str>) {
    let credentials = authorization
        .and_then(|h| h.strip_prefix("Basic "))
        .and_then(|b| STANDARD.decode(b).ok())
        .and_then(|b| String::from_utf8(b).ok());
    if let Some((id, secret)) = credentials.as_deref().and_then(|c| c.split_once(':')) {
        form.insert("client_id".to_owned(), id.to_owned());
        form.insert("client_secret".to_owned(), secret.to_owned());
    }
}

pub(crate) fn exchange(org: &mut Org, form: &Form) -> Result<Value, OAuthError> {
    let field = |name: &str| form.get(name).map_or("", String::as_str);
    let grant = field("grant_type").to_owned();
    *org.ledger.token_requests.entry(grant.clone()).or_default() += 1;
    let (user_id, client_id) = match grant.as_str() {
        "urn:ietf:params:oauth:grant-type:jwt-bearer" => jwt::check(org, field("assertion"))?,
        "refresh_token" => refresh(org, form)?,
        _ => return Err(OAuthError("unsupported_grant_type", "grant type not supported")),
    };
    if !org.count_login(&user_id) {
        return Err(OAuthError("invalid_grant", "login rate exceeded"));
    }
    let scope = if grant == "refresh_token" { "refresh_token web api" } else { "web api" };
    let secret = org.apps.iter().find(|a| a.client_id == client_id).map(|a| a.client_secret.clone());
    Ok(answer(org, &user_id, secret.as_deref().unwrap_or(""), scope))
}

fn refresh(org: &Org, form: &Form) -> Result<(String, String), OAuthError> {
    let app = client(org, form)?;
    let given = form.get("client_secret");
    let secret_fits = match given {
        Some(secret) => *secret == app.client_secret,
        None => !app.secret_required_for_refresh,
    };
    if !secret_fits {
        return Err(OAuthError("invalid_client", "invalid client credentials"));
    }
    let grant = form.get("refresh_token").and_then(|t| org.refresh_tokens.get(t));
    let grant = grant.filter(|g| g.client_id == app.client_id);
    let grant = grant.ok_or(OAuthError("invalid_grant", "expired access/refresh token"))?;
    Ok((grant.user_id.clone(), grant.client_id.clone()))
}

fn client<'a>(org: &'a Org, form: &Form) -> Result<&'a App, OAuthError> {
    let id = form.get("client_id").map_or("", String::as_str);
    org.apps.iter().find(|a| a.client_id == id).ok_or(OAuthError("invalid_client_id", "client identifier invalid"))
}

/// A token response. There is no `expires_in`: clients learn of the end of a session by a 401.
fn answer(org: &mut Org, user_id: &str, client_secret: &str, scope: &str) -> Value {
    let token = org.open_session(user_id);
    let id = format!("{}/id/{}/{user_id}", org.base_url, org.id);
    let issued_at = org.now().as_millisecond().to_string();
    json!({
        "access_token": token,
        "signature": signature(client_secret, &id, &issued_at),
        "scope": scope,
        "instance_url": org.base_url,
        "id": id,
        "token_type": "Bearer",
        "issued_at": issued_at,
    })
}

/// base64(HMAC-SHA256(client secret, id ‖ issued_at)).
fn signature(secret: &str, id: &str, issued_at: &str) -> String {
    let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, secret.as_bytes());
    STANDARD.encode(aws_lc_rs::hmac::sign(&key, format!("{id}{issued_at}").as_bytes()))
}
