//! Logins by JWT bearer: what an assertion may be, and how it is refused.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use tieline_auth::Grant;

use super::{documented, observed, reported};
use crate::answer::Answer;
use crate::case::Case;
use crate::expectation::{Area, Check, Expectation, Need, Unmet, not_applicable, that};

/// The grant's name.
pub(super) const GRANT_TYPE: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";

fn on(name: &'static str, source: super::Source, check: Check) -> Expectation {
    Expectation::new(Area::Logins, name, source, check).needs(Need::Jwt)
}

/// The claims of a good assertion.
pub(super) fn claims(case: &Case<'_>, username: &str) -> Value {
    json!({
        "iss": case.org.config.client_id,
        "sub": username,
        "aud": case.org.config.audience(),
        "exp": case.now().as_second() + 160,
    })
}

/// An assertion under the app's key.
pub(super) async fn signed(case: &Case<'_>, claims: &Value) -> Result<String, Unmet> {
    let Grant::JwtBearer { key, .. } = &case.org.config.grant else {
        return not_applicable(Need::Jwt.unmet());
    };
    let mut message = URL_SAFE_NO_PAD.encode(br#"{"alg":"RS256"}"#);
    message.push('.');
    URL_SAFE_NO_PAD.encode_string(claims.to_string(), &mut message);
    let signature = key.sign(message.as_bytes()).await;
    let signature = signature.or_else(|error| not_applicable(format!("the key does not sign: {error}")))?;
    message.push('.');
    URL_SAFE_NO_PAD.encode_string(signature, &mut message);
    Ok(message)
}

fn username<'a>(case: &'a Case<'_>) -> &'a str {
    match &case.org.config.grant {
        Grant::JwtBearer { username, .. } => username,
        _ => "",
    }
}

/// A login with claims that differ in one.
async fn with(case: &Case<'_>, name: &str, value: Value) -> Result<Answer, Unmet> {
    let mut claims = claims(case, username(case));
    claims[name] = value;
    let assertion = signed(case, &claims).await?;
    case.form("token", &[("grant_type", GRANT_TYPE), ("assertion", &assertion)]).await
}

/// It was taken. The body is not shown: it holds a token.
fn taken(answer: &Answer) -> Result<String, Unmet> {
    that(answer.status == 200, "status 200", if answer.status == 200 { String::new() } else { answer.shown() })?;
    Ok("200".to_owned())
}

pub(super) fn all() -> Vec<Expectation> {
    vec![
        on("a JWT login brings no refresh token", documented("1.3"), |case| {
            Box::pin(async move {
                let answer = super::logins::login(case).await?;
                that(answer.get("refresh_token").is_none(), "no refresh_token", "one")?;
                Ok("none".to_owned())
            })
        }),
        on("an assertion for another audience is invalid_grant", reported("1.6"), |case| {
            Box::pin(async move {
                let answer = with(case, "aud", json!("https://tieline-contract.invalid")).await?;
                answer.refused_login(&["invalid_grant"])?.says("audience is invalid").done()
            })
        }),
        on("an assertion that has ended is invalid_grant, and called an authorization code", reported("1.6"), |case| {
            Box::pin(async move {
                let answer = with(case, "exp", json!(case.now().as_second() - 3_600)).await?;
                answer.refused_login(&["invalid_grant"])?.says("expired authorization code").done()
            })
        }),
        on("an assertion with a spoilt signature is invalid_grant", reported("1.6"), |case| {
            Box::pin(async move {
                let mut assertion = signed(case, &claims(case, username(case))).await?;
                let end = assertion.rfind('.').unwrap_or_default() + 1;
                let other = if assertion[end..].starts_with('A') { "B" } else { "A" };
                assertion.replace_range(end..=end, other);
                let answer = case.form("token", &[("grant_type", GRANT_TYPE), ("assertion", &assertion)]).await?;
                answer.refused_login(&["invalid_grant"])?.says("invalid assertion").done()
            })
        }),
        on("text that is no assertion is invalid_grant", reported("1.6"), |case| {
            Box::pin(async move {
                let answer = case.form("token", &[("grant_type", GRANT_TYPE), ("assertion", "hello")]).await?;
                answer.refused_login(&["invalid_grant"])?.says("invalid assertion").done()
            })
        }),
        on("an assertion of an unknown app is invalid_client_id", reported("1.6"), |case| {
            Box::pin(async move {
                let answer = with(case, "iss", json!("3MVG9tielinecontract")).await?;
                answer.refused_login(&["invalid_client_id"])?.says("client identifier invalid").done()
            })
        }),
        on("an assertion for a user whom nobody knows is invalid_grant", reported("1.6"), |case| {
            Box::pin(async move {
                let answer = with(case, "sub", json!("nobody@tieline-contract.invalid")).await?;
                answer.refused_login(&["invalid_grant"])?.says("user hasn't approved this consumer").done()
            })
        }),
        on("a slash at the end of the audience does no harm", observed("1.6"), |case| {
            Box::pin(async move {
                let audience = format!("{}/", case.org.config.audience());
                taken(&with(case, "aud", json!(audience)).await?)
            })
        }),
        on("the end of an assertion may be in milliseconds", observed("1.6"), |case| {
            Box::pin(async move { taken(&with(case, "exp", json!(case.now().as_millisecond() + 300)).await?) })
        }),
        on("the end of an assertion may be a text", observed("1.6"), |case| {
            Box::pin(async move { taken(&with(case, "exp", json!((case.now().as_second() + 160).to_string())).await?) })
        }),
        on("an assertion may end an hour from now", observed("1.6"), |case| {
            Box::pin(async move { taken(&with(case, "exp", json!(case.now().as_second() + 3_600)).await?) })
        }),
    ]
}
