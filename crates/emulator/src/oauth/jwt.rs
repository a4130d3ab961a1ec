//! Checks a JWT the way the org does, in the order in which it answers: the assertion of the JWT bearer flow,
//! and the one by which a client proves itself.
//!
//! Lenient exactly where Salesforce is seen to be: `exp` may be a number or numeric text, in seconds or
//! milliseconds, with no upper bound unless the app's policy sets one; `aud` may end in a slash; `iat` and
//! `nbf` are not looked at.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey};
use serde_json::Value;

use super::app::App;
use super::{OAuthError, access, client};
use crate::org::Org;

/// How far the clocks may be apart. Salesforce does not document its allowance; three minutes is the
/// usual guess.
const SKEW_SECONDS: f64 = 180.0;

const INVALID: OAuthError = OAuthError("invalid_grant", "invalid assertion");

/// The user and the app that the assertion proves.
pub(super) fn check(org: &Org, assertion: &str) -> Result<(String, App), OAuthError> {
    let (app, claims) = verified(org, assertion, "")?;
    let subject = text(&claims, if claims["sub"].is_string() { "sub" } else { "prn" });
    let user = org.user(subject).ok().flatten();
    let approved = user.as_ref().is_some_and(|u| access::is_approved(org, &app, &u.id));
    match user {
        Some(user) if !user.active => Err(OAuthError("invalid_grant", "inactive user")),
        // Whether an admin has approved the user is told apart from that, and later.
        Some(user) if approved || app.policy.admin_approved => Ok((user.id, app)),
        // An unknown user is answered like one who has not approved the app.
        _ => Err(OAuthError("invalid_grant", "user hasn't approved this consumer")),
    }
}

/// The client that an assertion proves: it speaks for itself, to the token endpoint.
pub(super) fn client(org: &Org, assertion: &str) -> Result<App, OAuthError> {
    let (app, claims) = verified(org, assertion, "/services/oauth2/token")?;
    if text(&claims, "sub") == app.client_id { Ok(app) } else { Err(INVALID) }
}

/// Checks signature, audience (one of the hosts, with or without `path`) and end.
fn verified(org: &Org, assertion: &str, path: &str) -> Result<(App, Value), OAuthError> {
    let (message, signature) = assertion.rsplit_once('.').ok_or(INVALID)?;
    let (header, claims) = message.split_once('.').ok_or(INVALID)?;
    let json = |part: &str| -> Option<Value> { serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).ok()?).ok() };
    let (header, claims) = (json(header).ok_or(INVALID)?, json(claims).ok_or(INVALID)?);
    if header["alg"] != "RS256" {
        return Err(INVALID);
    }
    let app = client::app(org, text(&claims, "iss"))?;
    let key = DecodingKey::from_rsa_der(app.public_key.as_deref().ok_or(INVALID)?);
    if !jsonwebtoken::crypto::verify(signature, message.as_bytes(), &key, Algorithm::RS256).unwrap_or(false) {
        return Err(INVALID);
    }
    let audience = text(&claims, "aud");
    let host = audience.strip_suffix(path).unwrap_or(audience);
    let known =
        [org.base_url.as_str(), org.first_url.as_str(), "https://login.salesforce.com", "https://test.salesforce.com"];
    let host = host.strip_suffix('/').unwrap_or(host);
    let own = &app.policy.audiences;
    if !own.iter().any(|audience| audience == host) && (!own.is_empty() || !known.contains(&host)) {
        return Err(OAuthError("invalid_grant", "audience is invalid"));
    }
    let expires = match &claims["exp"] {
        Value::Number(n) => n.as_f64(),
        Value::String(s) => s.parse().ok(),
        _ => None,
    };
    let expires = expires.map(|e| if e > 1e11 { e / 1000.0 } else { e }).ok_or(INVALID)?;
    let ahead = expires - org.now().as_second() as f64;
    if ahead < -SKEW_SECONDS || app.policy.jwt_max_seconds_ahead.is_some_and(|most| ahead > most as f64) {
        // The text names a code, although there is none: that is what the org answers.
        return Err(OAuthError("invalid_grant", "expired authorization code"));
    }
    Ok((app.clone(), claims))
}

fn text<'a>(claims: &'a Value, claim: &str) -> &'a str {
    claims[claim].as_str().unwrap_or("")
}
