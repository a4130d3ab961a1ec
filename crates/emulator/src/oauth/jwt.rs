//! Checks a JWT bearer assertion the way the org does, in the order in which it answers.
//!
//! Lenient exactly where Salesforce is seen to be: `exp` may be a number or numeric text, in seconds or
//! milliseconds, with no upper bound; `aud` may end in a slash; `iat` and `nbf` are not looked at.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey};
use serde_json::Value;

use super::OAuthError;
use crate::org::Org;

/// How far the clocks may be apart. Salesforce does not document its allowance; three minutes is the
/// usual guess.
const SKEW_SECONDS: f64 = 180.0;

const INVALID: OAuthError = OAuthError("invalid_grant", "invalid assertion");

/// The user and the app that the assertion proves.
pub(super) fn check(org: &Org, assertion: &str) -> Result<(String, String), OAuthError> {
    let (message, signature) = assertion.rsplit_once('.').ok_or(INVALID)?;
    let (header, claims) = message.split_once('.').ok_or(INVALID)?;
    let json = |part: &str| -> Option<Value> { serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).ok()?).ok() };
    let (header, claims) = (json(header).ok_or(INVALID)?, json(claims).ok_or(INVALID)?);
    if header["alg"] != "RS256" {
        return Err(INVALID);
    }
    let text = |claim: &str| claims[claim].as_str().unwrap_or("").to_owned();
    let app = org.apps.iter().find(|a| a.client_id == text("iss"));
    let app = app.ok_or(OAuthError("invalid_client_id", "client identifier invalid"))?;
    let key = DecodingKey::from_rsa_der(&app.public_key);
    if !jsonwebtoken::crypto::verify(signature, message.as_bytes(), &key, Algorithm::RS256).unwrap_or(false) {
        return Err(INVALID);
    }
    let audience = text("aud");
    let known = [org.base_url.as_str(), "https://login.salesforce.com", "https://test.salesforce.com"];
    if !known.contains(&audience.strip_suffix('/').unwrap_or(&audience)) {
        return Err(OAuthError("invalid_grant", "audience is invalid"));
    }
    let expires = match &claims["exp"] {
        Value::Number(n) => n.as_f64(),
        Value::String(s) => s.parse().ok(),
        _ => None,
    };
    let expires = expires.map(|e| if e > 1e11 { e / 1000.0 } else { e }).ok_or(INVALID)?;
    if expires + SKEW_SECONDS < org.now().as_second() as f64 {
        // The text names a code, although there is none: that is what the org answers.
        return Err(OAuthError("invalid_grant", "expired authorization code"));
    }
    let subject = if claims["sub"].is_string() { text("sub") } else { text("prn") };
    let user = org.user(&subject).ok().flatten();
    let approved = user.as_ref().is_some_and(|u| org.approvals.contains(&(app.client_id.clone(), u.id.clone())));
    match user {
        Some(user) if !user.active => Err(OAuthError("invalid_grant", "inactive user")),
        Some(user) if approved => Ok((user.id, app.client_id.clone())),
        // An unknown user is answered like one who has not approved the app.
        _ => Err(OAuthError("invalid_grant", "user hasn't approved this consumer")),
    }
}
