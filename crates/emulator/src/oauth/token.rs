//! `POST /services/oauth2/token`.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::app::{App, has_scope};
use super::client::{Client, WRONG};
use super::grants::Session;
use super::{OAuthError, access, code, device, id_token, jwt};
use crate::org::Org;

/// The request's form fields, with the client's credentials from the Basic header mixed in.
pub(crate) type Form = BTreeMap<String, String>;

const EXPIRED: OAuthError = OAuthError("invalid_grant", "expired access/refresh token");

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

pub(crate) fn field<'a>(form: &'a Form, name: &str) -> &'a str {
    form.get(name).map_or("", String::as_str)
}

/// Who may have a token, and for what.
pub(super) struct Granted {
    pub(super) user_id: String,
    pub(super) app: App,
    pub(super) scope: String,
    pub(super) nonce: Option<String>,
    /// A person has approved this: it may leave a refresh token.
    pub(super) opens_family: bool,
}

pub(crate) fn exchange(org: &mut Org, form: &Form) -> Result<Value, OAuthError> {
    if field(form, "response_type") == "device_code" {
        return device::start(org, form);
    }
    let grant = field(form, "grant_type").to_owned();
    *org.ledger.token_requests.entry(grant.clone()).or_default() += 1;
    let granted = match grant.as_str() {
        "refresh_token" => return refresh(org, form),
        "urn:ietf:params:oauth:grant-type:jwt-bearer" => {
            let (user_id, app) = jwt::check(org, field(form, "assertion"))?;
            let scope = app.policy.scope_without_refresh();
            Granted { user_id, app, scope, nonce: None, opens_family: false }
        }
        "authorization_code" => code::exchange(org, form)?,
        "client_credentials" => client_credentials(org, form)?,
        "password" => password(org, form)?,
        "device" => device::poll(org, form)?,
        "urn:ietf:params:oauth:grant-type:token-exchange" => token_exchange(org, form)?,
        _ => return Err(OAuthError("unsupported_grant_type", "grant type not supported")),
    };
    must_be_active(org, &granted.user_id)?;
    access::check(org, &granted.app, &granted.user_id)?;
    count_login(org, &granted.user_id, &granted.app)?;
    let family = (granted.opens_family && has_scope(&granted.scope, "refresh_token")).then(|| {
        let now = org.now();
        org.grants.open_family(&granted.user_id, &granted.app.client_id, &granted.scope, now)
    });
    let body = answer(org, &granted, family)?;
    if grant == "password" {
        org.grants.came_by_password(body["access_token"].as_str().unwrap_or(""));
    }
    Ok(body)
}

fn count_login(org: &mut Org, user_id: &str, app: &App) -> Result<(), OAuthError> {
    if org.count_login(user_id, &app.name) { Ok(()) } else { Err(OAuthError("invalid_grant", "login rate exceeded")) }
}

fn must_be_active(org: &Org, user_id: &str) -> Result<(), OAuthError> {
    match org.user_by_id(user_id).ok().flatten() {
        Some(user) if user.active => Ok(()),
        _ => Err(OAuthError("invalid_grant", "inactive user")),
    }
}

fn refresh(org: &mut Org, form: &Form) -> Result<Value, OAuthError> {
    let client = Client::identify(org, form)?;
    if !client.proven && client.app.policy.secret_required_for_refresh {
        return Err(WRONG);
    }
    let token = field(form, "refresh_token");
    // Whoever shows a spent token may have stolen it: the whole family ends.
    if let Some((id, _)) = org.grants.family_that_spent(token) {
        org.ledger.spent_refresh_tokens_replayed += 1;
        org.grants.revoke_family(id);
        return Err(EXPIRED);
    }
    let (id, family) = org.grants.family(token).filter(|(_, f)| f.client_id == client.app.client_id).ok_or(EXPIRED)?;
    let (user_id, scope) = (family.user_id.clone(), family.scope.clone());
    must_be_active(org, &user_id)?;
    access::check(org, &client.app, &user_id)?;
    count_login(org, &user_id, &client.app)?;
    let rotation = client.app.policy.rotation;
    let granted = Granted { user_id, app: client.app, scope, nonce: None, opens_family: false };
    let next = rotation.then(|| org.grants.rotate(id));
    let mut body = answer_of(org, &granted, Some(id))?;
    if let Some(next) = next {
        body["refresh_token"] = json!(next);
    }
    Ok(body)
}

fn client_credentials(org: &Org, form: &Form) -> Result<Granted, OAuthError> {
    let app = Client::must_be_proven(org, form)?;
    let user = app.policy.client_credentials_user.as_deref();
    let user = user.ok_or(OAuthError("invalid_grant", "no client credentials user enabled"))?;
    let user = org.user(user).ok().flatten();
    let user_id = user.ok_or(OAuthError("invalid_grant", "no client credentials user enabled"))?.id;
    let scope = app.policy.scope_without_refresh();
    Ok(Granted { user_id, app, scope, nonce: None, opens_family: false })
}

fn password(org: &Org, form: &Form) -> Result<Granted, OAuthError> {
    const FAILED: OAuthError = OAuthError("invalid_grant", "authentication failure");
    let app = Client::must_be_proven(org, form)?;
    if !app.policy.password_flow {
        return Err(OAuthError("oauth_flow_disabled", "username-password flow disabled"));
    }
    let user = org.user(field(form, "username")).ok().flatten().ok_or(FAILED)?;
    if org.passwords.get(&user.id).is_none_or(|password| password != field(form, "password")) {
        return Err(FAILED);
    }
    let scope = app.policy.scope_without_refresh();
    Ok(Granted { user_id: user.id, app, scope, nonce: None, opens_family: false })
}

fn token_exchange(org: &Org, form: &Form) -> Result<Granted, OAuthError> {
    const KINDS: [&str; 5] = ["access_token", "refresh_token", "id_token", "saml2", "jwt"];
    const FAILED: OAuthError = OAuthError("invalid_grant", "token exchange failed");
    let client = Client::identify(org, form)?;
    let kind = field(form, "subject_token_type").strip_prefix("urn:ietf:params:oauth:token-type:");
    if !kind.is_some_and(|kind| KINDS.contains(&kind)) {
        return Err(OAuthError("invalid_request", "subject token type not supported"));
    }
    let username = client.app.policy.exchange_subjects.get(field(form, "subject_token")).ok_or(FAILED)?;
    let user = org.user(username).ok().flatten().ok_or(FAILED)?;
    let scope = client.app.policy.grant(field(form, "scope"))?;
    let scope = if has_scope(&scope, "refresh_token") { client.app.policy.scope_without_refresh() } else { scope };
    Ok(Granted { user_id: user.id, app: client.app, scope, nonce: None, opens_family: false })
}

/// The answer to an approval by a person in the implicit flow.
pub(super) fn implicit(org: &mut Org, user_id: &str, app: App, scope: String) -> Result<Value, OAuthError> {
    let granted = Granted { user_id: user_id.to_owned(), app, scope, nonce: None, opens_family: true };
    let family = has_scope(&granted.scope, "refresh_token").then(|| {
        let now = org.now();
        org.grants.open_family(user_id, &granted.app.client_id, &granted.scope, now)
    });
    answer(org, &granted, family)
}

fn answer(org: &mut Org, granted: &Granted, family: Option<(usize, String)>) -> Result<Value, OAuthError> {
    let (id, token) = family.unzip();
    let mut body = answer_of(org, granted, id)?;
    if let Some(token) = token {
        body["refresh_token"] = json!(token);
    }
    Ok(body)
}

/// A token response. There is no `expires_in`: clients learn of the end of a session by a 401.
fn answer_of(org: &mut Org, granted: &Granted, family: Option<usize>) -> Result<Value, OAuthError> {
    let Granted { user_id, app, scope, nonce, .. } = granted;
    let now = org.now();
    let token = org.open_session(Session {
        user_id: user_id.clone(),
        client_id: app.client_id.clone(),
        scope: scope.clone(),
        family,
        by_password: false,
        opened: now,
        last_used: now,
    });
    let id = format!("{}/id/{}/{user_id}", org.base_url, org.id);
    let issued_at = now.as_millisecond().to_string();
    let id_token = match has_scope(scope, "openid") {
        true => Some(id_token::id_token(org, &id, &app.client_id, &token, nonce.as_deref())?),
        false => None,
    };
    let mut body = json!({
        "access_token": token,
        "signature": signature(&app.client_secret, &id, &issued_at),
        "scope": scope,
        "instance_url": org.base_url,
        "id": id,
        "token_type": "Bearer",
        "issued_at": issued_at,
    });
    if let Some(id_token) = id_token {
        body["id_token"] = json!(id_token);
    }
    Ok(body)
}

/// base64(HMAC-SHA256(client secret, id ‖ issued_at)).
fn signature(secret: &str, id: &str, issued_at: &str) -> String {
    let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, secret.as_bytes());
    STANDARD.encode(aws_lc_rs::hmac::sign(&key, format!("{id}{issued_at}").as_bytes()))
}
