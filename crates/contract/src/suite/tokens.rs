//! What a token opens, what is said of it, and how it ends.

use std::time::Duration;

use serde_json::json;
use tieline_auth::{Credentials, Secret};
use tieline_client::{Connection, Method, Options, Request};

use super::{documented, logins, observed, recorded, reported};
use crate::answer::{Answer, has_keys};
use crate::case::{Auth, Case, unanswered};
use crate::expectation::{Area, Check, Expectation, Need, Unmet, not_applicable, same, that};

fn on(name: &'static str, source: super::Source, check: Check) -> Expectation {
    Expectation::new(Area::Tokens, name, source, check)
}

const USERINFO: &str = "/services/oauth2/userinfo";

/// A token that no other check uses.
async fn another_token(case: &Case<'_>) -> Result<String, Unmet> {
    let token = logins::login(case).await?["access_token"].as_str().unwrap_or_default().to_owned();
    // Logins of one user and app may share a session.
    if token == case.token().await?.expose() {
        return not_applicable("the org answers a second login with the same token");
    }
    Ok(token)
}

/// Asks with a token that was revoked until the org refuses it: its nodes hear of it one after the other.
async fn until_refused(case: &Case<'_>, token: &str) -> Result<Answer, Unmet> {
    let auth = Auth::Header(format!("Bearer {token}"));
    let path = case.path("limits");
    let look = async || {
        let answer = case.raw(Method::GET, &path, &auth, None).await?;
        Ok((answer.status != 200).then_some(answer))
    };
    case.wait_for("the end of the session", Duration::from_secs(60), look).await
}

/// One refresh with a refresh token of the emulator's.
async fn refresh(case: &Case<'_>, token: &str) -> Result<Answer, Unmet> {
    let form = proof(case, &[("grant_type", "refresh_token"), ("refresh_token", token)]);
    case.form("token", &form).await
}

/// The form of a client that proves itself.
fn proof<'a>(case: &'a Case<'_>, fields: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let secret = case.org.config.client_secret.as_ref().map(Secret::expose).unwrap_or_default();
    let mut form = fields.to_vec();
    form.extend([("client_id", case.org.config.client_id.as_str()), ("client_secret", secret)]);
    form
}

pub(super) fn all() -> Vec<Expectation> {
    vec![
        on("userinfo tells user and org by their ids of 18 characters", observed("1.10"), |case| {
            Box::pin(async move {
                let found = case.raw(Method::GET, USERINFO, &case.bearer().await?, None).await?.is(200)?.json()?;
                for (key, prefix) in [("user_id", "005"), ("organization_id", "00D")] {
                    let id = found[key].as_str().unwrap_or_default();
                    that(id.len() == 18 && id.starts_with(prefix), format_args!("{key} {prefix}…"), &found[key])?;
                }
                Ok("both".to_owned())
            })
        }),
        on("userinfo has the claims of OpenID Connect, and links", documented("1.10"), |case| {
            Box::pin(async move {
                let found = case.raw(Method::GET, USERINFO, &case.bearer().await?, None).await?.is(200)?.json()?;
                let keys = ["sub", "preferred_username", "name", "email", "zoneinfo", "urls", "active", "user_type"];
                has_keys(&found, &keys)?;
                let rest = found["urls"]["rest"].as_str().unwrap_or_default();
                that(rest.contains("{version}"), "urls with {version}", rest)?;
                Ok("with {version}".to_owned())
            })
        }),
        on("userinfo answers an invalid token with 403 Bad_OAuth_Token as text", documented("1.10"), |case| {
            Box::pin(async move {
                let auth = Auth::Header("Bearer 00D000000000000!invalid".to_owned());
                let answer = case.raw(Method::GET, USERINFO, &auth, None).await?.is(403)?;
                same("the body", answer.text().trim(), "Bad_OAuth_Token")?;
                Ok("403 Bad_OAuth_Token".to_owned())
            })
        }),
        on("userinfo without a token is 403 Missing_OAuth_Token as text", documented("1.10"), |case| {
            Box::pin(async move {
                let answer = case.raw(Method::GET, USERINFO, &Auth::Nobody, None).await?.is(403)?;
                same("the body", answer.text().trim(), "Missing_OAuth_Token")?;
                Ok("403 Missing_OAuth_Token".to_owned())
            })
        }),
        on("the identity URL tells who it is", documented("1.10"), |case| {
            Box::pin(async move {
                let token = case.connection().credentials().cached_token();
                let Some(url) = token.and_then(|token| token.identity_url().map(str::to_owned)) else {
                    return not_applicable("a given access token comes without an identity URL");
                };
                // Asked at the org itself: the login host answers with a redirect to it.
                let path = url.splitn(4, '/').nth(3).map(|path| format!("/{path}")).unwrap_or_default();
                let found = case.raw(Method::GET, &path, &case.bearer().await?, None).await?.is(200)?.json()?;
                has_keys(&found, &["id", "user_id", "organization_id", "username", "display_name", "urls", "active"])?;
                Ok("200".to_owned())
            })
        }),
        on("a token that the org does not know is 401 INVALID_SESSION_ID", recorded("3.1"), |case| {
            Box::pin(async move {
                let auth = Auth::Header("Bearer 00D000000000000!invalid".to_owned());
                let answer = case.raw(Method::GET, &case.path("limits"), &auth, None).await?;
                answer.refused(401, "INVALID_SESSION_ID")?.says("Session expired or invalid").done()
            })
        }),
        on("a scheme other than Bearer and OAuth is 401 INVALID_AUTH_HEADER", reported("3.1"), |case| {
            Box::pin(async move {
                let auth = Auth::Header("Token 00D000000000000!invalid".to_owned());
                let answer = case.raw(Method::GET, &case.path("limits"), &auth, None).await?;
                answer.refused(401, "INVALID_AUTH_HEADER")?.says("INVALID_HEADER_TYPE").done()
            })
        }),
        on("the scheme OAuth serves like Bearer", documented("0"), |case| {
            Box::pin(async move {
                let auth = Auth::Header(format!("OAuth {}", case.token().await?.expose()));
                case.raw(Method::GET, &case.path("limits"), &auth, None).await?.is(200)?;
                Ok("200".to_owned())
            })
        }),
        on("introspection tells of a token that lives", documented("1.9"), |case| {
            Box::pin(async move {
                let token = case.token().await?;
                let form = proof(case, &[("token", token.expose()), ("token_type_hint", "access_token")]);
                let found = case.form("introspect", &form).await?.is(200)?.json()?;
                if found["active"] == json!(false) {
                    return not_applicable("the app may not introspect this token");
                }
                has_keys(&found, &["active", "scope", "client_id", "username", "sub", "token_type", "exp", "iat"])?;
                Ok("active".to_owned())
            })
        })
        .needs(Need::Secret),
        on("introspection of an unknown token is just active: false", documented("1.9"), |case| {
            Box::pin(async move {
                let form = proof(case, &[("token", "00D000000000000!invalid")]);
                let found = case.form("introspect", &form).await?.is(200)?.json()?;
                same("the answer", found, json!({"active": false}))?;
                Ok("active: false".to_owned())
            })
        })
        .needs(Need::Secret),
        on("revoking an unknown token is 400, and its body is a form", documented("1.8"), |case| {
            Box::pin(async move {
                let answer = case.form("revoke", &[("token", "00D000000000000!invalid")]).await?.is(400)?;
                that(answer.text().contains("error=invalid_token"), "error=invalid_token", answer.shown())?;
                answer.says("error=invalid_token&error_description=invalid%20token").done()
            })
        }),
        on("a token that was revoked is refused from then on", documented("1.8"), |case| {
            Box::pin(async move {
                let token = another_token(case).await?;
                let auth = Auth::Header(format!("Bearer {token}"));
                case.raw(Method::GET, &case.path("limits"), &auth, None).await?.is(200)?;
                case.form("revoke", &[("token", &token)]).await?.is(200)?.without_body()?;
                let answer = until_refused(case, &token).await?;
                answer.refused(401, "INVALID_SESSION_ID")?.done()
            })
        })
        .needs(Need::Login),
        on("after a revocation the client logs in again and the call succeeds", documented("1.8"), |case| {
            Box::pin(async move {
                if case.org.rotates {
                    return not_applicable(Need::RefreshToken.unmet());
                }
                let credentials = Credentials::new(case.org.config.clone());
                let credentials = credentials.or_else(|error| not_applicable(error.to_string()))?;
                let version = case.connection().api_version().into();
                let options = Options { api_version: version, ..Options::default() };
                let connection = Connection::with(credentials, options).map_err(|error| unanswered(&error))?;
                let request = Request::get(case.path("limits"));
                connection.send(&request).await.map_err(|error| unanswered(&error))?;
                let token = connection.credentials().cached_token();
                let token = token.map(|token| token.access_token().expose().to_owned()).unwrap_or_default();
                if token == case.token().await?.expose() {
                    return not_applicable("the org answers a second login with the same token");
                }
                case.form("revoke", &[("token", &token)]).await?.is(200)?;
                until_refused(case, &token).await?;
                let before = connection.credentials().stats().token_requests;
                connection.send(&request).await.map_err(|error| unanswered(&error))?;
                let logins = connection.credentials().stats().token_requests - before;
                // These were made by another connection than the one that is counted.
                let calls = connection.api_calls() + before + logins;
                case.org.raw_calls.fetch_add(calls, std::sync::atomic::Ordering::Relaxed);
                same("logins", logins, 1)?;
                Ok("one login".to_owned())
            })
        })
        .needs(Need::Login),
        on("revoking an access token leaves the refresh token alone", documented("1.8"), |case| {
            Box::pin(async move {
                let token = another_token(case).await?;
                case.form("revoke", &[("token", &token)]).await?.is(200)?;
                logins::login(case).await?;
                Ok("refreshed again".to_owned())
            })
        })
        .needs(Need::RefreshToken),
        on("a session that nobody has used for longer than the org's timeout has ended", documented("1.4"), |case| {
            Box::pin(async move {
                let token = logins::login(case).await?["access_token"].as_str().unwrap_or_default().to_owned();
                let auth = Auth::Header(format!("Bearer {token}"));
                case.raw(Method::GET, &case.path("limits"), &auth, None).await?.is(200)?;
                case.control(Method::PUT, "clock", &json!({"advance_seconds": 7_260})).await?;
                let answer = case.raw(Method::GET, &case.path("limits"), &auth, None).await;
                case.control(Method::PUT, "clock", &json!({"advance_seconds": -7_260})).await?;
                answer?.refused(401, "INVALID_SESSION_ID")?.done()
            })
        })
        .needs(Need::Login)
        .needs(Need::Control),
        on("a refresh token that was replaced is invalid_grant, and ends its successor", documented("1.4"), |case| {
            Box::pin(async move {
                case.control(Method::PUT, "app", &json!({"rotation": true})).await?;
                let tried = async {
                    let made = case.control(Method::POST, "refresh-tokens", &json!({})).await?;
                    let old = made["refresh_token"].as_str().unwrap_or_default().to_owned();
                    let next =
                        refresh(case, &old).await?.json()?["refresh_token"].as_str().unwrap_or_default().to_owned();
                    that(!next.is_empty() && next != old, "another refresh token", "none")?;
                    refresh(case, &old).await?.refused_login(&["invalid_grant"])?;
                    refresh(case, &next).await?.refused_login(&["invalid_grant"])
                };
                let tried = tried.await;
                case.control(Method::PUT, "app", &json!({"rotation": false})).await?;
                tried?.says("expired access/refresh token").done()
            })
        })
        .needs(Need::Secret)
        .needs(Need::Control),
    ]
}
