//! The token endpoint: what every grant answers and how it refuses.

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use tieline_auth::{Grant, Secret};
use tieline_client::Method;

use super::{documented, logins_jwt, recorded, reported};
use crate::answer::has_keys;
use crate::case::{Auth, Case};
use crate::expectation::{Area, Check, Expectation, Need, Unmet, not_applicable, same, that};

fn on(name: &'static str, source: super::Source, check: Check) -> Expectation {
    Expectation::new(Area::Logins, name, source, check)
}

/// A login as the configuration has it, without our client: the answer as it came.
pub(super) async fn login(case: &Case<'_>) -> Result<Value, Unmet> {
    let config = &case.org.config;
    let mut form = match &config.grant {
        Grant::JwtBearer { username, .. } => {
            let claims = logins_jwt::claims(case, username);
            let assertion = logins_jwt::signed(case, &claims).await?;
            vec![("grant_type", logins_jwt::GRANT_TYPE.to_owned()), ("assertion", assertion)]
        }
        Grant::RefreshToken { refresh_token } => {
            // Shown again it would end its family, if it was replaced.
            if case.org.rotates {
                return not_applicable("the app rotates refresh tokens");
            }
            vec![("grant_type", "refresh_token".to_owned()), ("refresh_token", refresh_token.expose().to_owned())]
        }
        Grant::ClientCredentials => vec![("grant_type", "client_credentials".to_owned())],
        Grant::Password { username, password } => vec![
            ("grant_type", "password".to_owned()),
            ("username", username.clone()),
            ("password", password.expose().to_owned()),
        ],
        _ => return not_applicable("this grant cannot be repeated without a person"),
    };
    if !matches!(config.grant, Grant::JwtBearer { .. }) {
        form.push(("client_id", config.client_id.clone()));
        if let Some(secret) = &config.client_secret {
            form.push(("client_secret", secret.expose().to_owned()));
        }
    }
    let form: Vec<(&str, &str)> = form.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let answer = case.form("token", &form).await?;
    // What it shows on failure holds no token: there is none.
    answer.is(200)?.json()
}

fn text<'a>(answer: &'a Value, key: &str) -> &'a str {
    answer[key].as_str().unwrap_or_default()
}

fn secret<'a>(case: &'a Case<'_>) -> &'a str {
    case.org.config.client_secret.as_ref().map(Secret::expose).unwrap_or_default()
}

pub(super) fn all() -> Vec<Expectation> {
    vec![
        on("a login answers a token, the org's URL, an identity and Bearer", recorded("1.4"), |case| {
            Box::pin(async move {
                let answer = login(case).await?;
                has_keys(&answer, &["access_token", "instance_url", "id", "token_type", "scope"])?;
                same("token_type", text(&answer, "token_type"), "Bearer")?;
                Ok("Bearer".to_owned())
            })
        })
        .needs(Need::Login),
        on("issued_at is milliseconds as text", documented("1.4"), |case| {
            Box::pin(async move {
                let answer = login(case).await?;
                let issued = text(&answer, "issued_at").parse::<i64>().unwrap_or_default();
                let away = (issued - case.now().as_millisecond()).abs();
                that(away < 600_000, "a text with the milliseconds of now", &answer["issued_at"])?;
                Ok("a text".to_owned())
            })
        })
        .needs(Need::Login),
        on("a login tells no lifetime", documented("1.4"), |case| {
            Box::pin(async move {
                let answer = login(case).await?;
                that(answer.get("expires_in").is_none(), "no expires_in", &answer["expires_in"])?;
                Ok("no expires_in".to_owned())
            })
        })
        .needs(Need::Login),
        on("the identity URL ends with org and user, 18 characters each", recorded("1.4"), |case| {
            Box::pin(async move {
                let answer = login(case).await?;
                let parts: Vec<&str> = text(&answer, "id").rsplit('/').take(3).collect();
                let good = matches!(parts[..], [user, org, "id"] if user.len() == 18 && user.starts_with("005")
                    && org.len() == 18 && org.starts_with("00D"));
                that(good, "…/id/00D…/005…", text(&answer, "id"))?;
                Ok("…/id/00D…/005…".to_owned())
            })
        })
        .needs(Need::Login),
        on("an access token begins with 15 characters of the org's id and a !", recorded("1.4"), |case| {
            Box::pin(async move {
                let token = case.token().await?;
                if token.expose().matches('.').count() == 2 && token.expose().starts_with("ey") {
                    return not_applicable("this app issues JWTs as access tokens");
                }
                let begin: String = token.expose().chars().take(16).collect();
                let org = case.org.connection.credentials().cached_token();
                let org = org.and_then(|token| token.organization_id().map(str::to_owned)).unwrap_or_default();
                let good = begin.ends_with('!') && (org.is_empty() || org.starts_with(begin.trim_end_matches('!')));
                that(good, "the org's id and a !", "something else")?;
                Ok("00D…!".to_owned())
            })
        }),
        on(
            "the signature is an HMAC-SHA256 of id and issued_at under the consumer secret",
            documented("1.4"),
            |case| {
                Box::pin(async move {
                    let answer = login(case).await?;
                    let key = hmac::Key::new(hmac::HMAC_SHA256, secret(case).as_bytes());
                    let message = format!("{}{}", text(&answer, "id"), text(&answer, "issued_at"));
                    let signature = STANDARD.decode(text(&answer, "signature")).unwrap_or_default();
                    let good = hmac::verify(&key, message.as_bytes(), &signature).is_ok();
                    that(good, "a signature that can be verified", "another")?;
                    Ok("verified".to_owned())
                })
            },
        )
        .needs(Need::Login)
        .needs(Need::Secret),
        on("a refresh brings no new refresh token where the app does not rotate", documented("1.4"), |case| {
            Box::pin(async move {
                let answer = login(case).await?;
                that(answer.get("refresh_token").is_none(), "no refresh_token", "one")?;
                Ok("none".to_owned())
            })
        })
        .needs(Need::RefreshToken),
        on("a refresh token that the org does not know is invalid_grant", reported("1.7"), |case| {
            Box::pin(async move {
                let (id, secret) = (&case.org.config.client_id, secret(case));
                let mut form = vec![
                    ("grant_type", "refresh_token"),
                    ("client_id", id.as_str()),
                    ("refresh_token", "5Aep861unknown"),
                ];
                if !secret.is_empty() {
                    form.push(("client_secret", secret));
                }
                let answer = case.form("token", &form).await?.refused_login(&["invalid_grant"])?;
                answer.says("expired access/refresh token").done()
            })
        })
        .needs(Need::App),
        on("an unknown grant is unsupported_grant_type", reported("1.7"), |case| {
            Box::pin(async move {
                let form = [("grant_type", "tieline_contract"), ("client_id", case.org.config.client_id.as_str())];
                let answer = case.form("token", &form).await?.refused_login(&["unsupported_grant_type"])?;
                answer.says("grant type not supported").done()
            })
        })
        .needs(Need::App),
        on("an unknown app is invalid_client_id", reported("1.7"), |case| {
            Box::pin(async move {
                let form = [
                    ("grant_type", "refresh_token"),
                    ("client_id", "3MVG9tielinecontract"),
                    ("client_secret", "0"),
                    ("refresh_token", "5Aep861unknown"),
                ];
                let answer = case.form("token", &form).await?.refused_login(&["invalid_client_id"])?;
                answer.says("client identifier invalid").done()
            })
        }),
        on("a wrong consumer secret is invalid_client, with 400 and not 401", reported("1.2"), |case| {
            Box::pin(async move {
                let form = [
                    ("grant_type", "client_credentials"),
                    ("client_id", case.org.config.client_id.as_str()),
                    ("client_secret", "tieline-contract"),
                ];
                let answer = case.form("token", &form).await?.refused_login(&["invalid_client"])?;
                answer.says("invalid client credentials").done()
            })
        })
        .needs(Need::ClientCredentials),
        on("client credentials are taken from a Basic header too", documented("1.2"), |case| {
            Box::pin(async move {
                let basic = STANDARD.encode(format!("{}:{}", case.org.config.client_id, secret(case)));
                let body = Some(("application/x-www-form-urlencoded", "grant_type=client_credentials".to_owned()));
                let host = case.org.config.login_url.clone();
                let auth = Auth::Header(format!("Basic {basic}"));
                let answer = case.raw_at(host, Method::POST, "/services/oauth2/token", &auth, body).await?.is(200)?;
                let refreshes = answer.json()?.get("refresh_token").is_some();
                that(!refreshes, "no refresh token", "one")?;
                Ok("200".to_owned())
            })
        })
        .needs(Need::ClientCredentials),
        on("a code that the org does not know is invalid_grant", reported("1.7"), |case| {
            Box::pin(async move {
                let mut form = vec![
                    ("grant_type", "authorization_code"),
                    ("client_id", case.org.config.client_id.as_str()),
                    ("code", "aPrxtielinecontract"),
                    ("redirect_uri", "http://localhost:1717/OauthRedirect"),
                ];
                if !secret(case).is_empty() {
                    form.push(("client_secret", secret(case)));
                }
                let answer = case.form("token", &form).await?;
                answer.refused_login(&["invalid_grant"])?.says("invalid authorization code").done()
            })
        })
        .needs(Need::App)
        .needs(Need::Secret),
        on("a refusal is JSON of error and error_description, and nothing else", recorded("1.2"), |case| {
            Box::pin(async move {
                let answer = case.form("token", &[("grant_type", "tieline_contract")]).await?;
                let body = answer.json()?;
                let mut keys: Vec<&str> = body.as_object().into_iter().flatten().map(|(key, _)| key.as_str()).collect();
                keys.sort_unstable();
                same("the keys", keys, vec!["error", "error_description"])?;
                answer
                    .is(400)?
                    .with_header("content-type", "application/json", |v| v.starts_with("application/json"))?;
                Ok("400".to_owned())
            })
        }),
        on("a wrong password over SOAP is a fault with status 500 and INVALID_LOGIN", recorded("6"), |case| {
            Box::pin(async move {
                let envelope = "<se:Envelope xmlns:se=\"http://schemas.xmlsoap.org/soap/envelope/\"><se:Header/><se:Body>\
                    <login xmlns=\"urn:partner.soap.sforce.com\"><username>nobody@tieline-contract.invalid</username>\
                    <password>0</password></login></se:Body></se:Envelope>";
                let host = case.org.config.login_url.clone();
                let body = Some(("text/xml; charset=UTF-8", envelope.to_owned()));
                let answer = case.raw_at(host, Method::POST, "/services/Soap/u/64.0", &Auth::Nobody, body).await?;
                let (status, body) = (answer.status, answer.text());
                if body.contains("API_DISABLED") || body.contains("INVALID_OPERATION") {
                    return not_applicable("the org does not allow logins over SOAP");
                }
                let good = status == 500
                    && body.contains("<faultcode>sf:INVALID_LOGIN</faultcode>")
                    && body.contains("<sf:exceptionCode>INVALID_LOGIN</sf:exceptionCode>");
                that(good, "a fault INVALID_LOGIN with status 500", answer.shown())?;
                Ok("500 INVALID_LOGIN".to_owned())
            })
        }),
        on("the server's own description names its endpoints", recorded("1.11"), |case| {
            Box::pin(async move {
                let host = case.org.config.login_url.clone();
                let path = "/.well-known/openid-configuration";
                let found = case.raw_at(host, Method::GET, path, &Auth::Nobody, None).await?.is(200)?.json()?;
                for (key, end) in [
                    ("authorization_endpoint", "/services/oauth2/authorize"),
                    ("token_endpoint", "/services/oauth2/token"),
                    ("revocation_endpoint", "/services/oauth2/revoke"),
                    ("introspection_endpoint", "/services/oauth2/introspect"),
                    ("userinfo_endpoint", "/services/oauth2/userinfo"),
                    ("jwks_uri", "/id/keys"),
                ] {
                    that(text(&found, key).ends_with(end), format_args!("{key} …{end}"), &found[key])?;
                }
                Ok("six endpoints".to_owned())
            })
        }),
        on("an unknown app at authorize is 400 with a form as its body", reported("1.1"), |case| {
            Box::pin(async move {
                let host = case.org.config.login_url.clone();
                let path = "/services/oauth2/authorize?response_type=code&client_id=3MVG9tielinecontract\
                            &redirect_uri=http%3A%2F%2Flocalhost%3A1717%2FOauthRedirect";
                let answer = case.raw_at(host, Method::GET, path, &Auth::Nobody, None).await?.is(400)?;
                let good = answer.text().contains("error=invalid_client_id");
                that(good, "error=invalid_client_id", answer.shown())?;
                answer.says("error=invalid_client_id&error_description=client%20identifier%20invalid").done()
            })
        }),
        on("a callback that the app does not have is redirect_uri_mismatch", reported("1.1"), |case| {
            Box::pin(async move {
                let host = case.org.config.login_url.clone();
                let id = crate::case::encoded(&case.org.config.client_id);
                let path = format!(
                    "/services/oauth2/authorize?response_type=code&client_id={id}\
                     &redirect_uri=https%3A%2F%2Ftieline-contract.invalid%2F"
                );
                let answer = case.raw_at(host, Method::GET, &path, &Auth::Nobody, None).await?.is(400)?;
                let good = answer.text().contains("error=redirect_uri_mismatch");
                that(good, "error=redirect_uri_mismatch", answer.shown())?;
                Ok("400 redirect_uri_mismatch".to_owned())
            })
        })
        .needs(Need::App),
    ]
}
