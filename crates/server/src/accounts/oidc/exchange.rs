//! From the code that a browser brings to who the person is.

use axum::http::{HeaderMap, HeaderValue, header};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde::Deserialize;
use tieline_auth::Secret;
use url::form_urlencoded::byte_serialize;

use super::begin::Derived;
use super::claims::About;
use super::discovery::{ClientAuth, Metadata};
use super::door::json;
use super::provider::Provider;
use super::refusal::Refusal;
use super::settings::OpenIdProvider;
use crate::accounts::SecretText;

/// Who somebody is, as far as the provider says.
#[derive(Debug)]
pub(super) struct Person {
    pub(super) subject: String,
    /// In lower case.
    pub(super) email: Option<String>,
    pub(super) is_email_verified: bool,
    pub(super) name: Option<String>,
}

#[derive(Deserialize)]
struct Tokens {
    id_token: SecretText,
    access_token: Option<SecretText>,
}

/// RFC 6749, section 5.2.
#[derive(Deserialize)]
struct Denied {
    error: String,
}

#[derive(Deserialize)]
struct UserInfo {
    sub: String,
    #[serde(flatten)]
    about: About,
}

impl Provider {
    /// Trades the code for an ID token, and checks it.
    pub(super) async fn person(
        &self,
        metadata: &Metadata,
        code: &Secret,
        derived: &Derived,
        redirect_uri: &str,
        now: Timestamp,
    ) -> Result<Person, Refusal> {
        let tokens = self.exchange(metadata, code, derived, redirect_uri).await?;
        let claims = self.verify(metadata, tokens.id_token.0, derived.nonce.expose(), now).await?;
        let mut about = claims.about;
        // Some put into the token what identifies, and the rest behind this endpoint.
        if !about.says_email()
            && let (Some(_), Some(token)) = (&metadata.userinfo_endpoint, &tokens.access_token)
        {
            about = self.userinfo(metadata, &token.0, &claims.sub).await?.unwrap_or(about);
        }
        Ok(Person {
            email: about.email(),
            is_email_verified: about.is_email_verified(&self.settings().issuer),
            name: about.name().map(str::to_owned),
            subject: claims.sub,
        })
    }

    async fn exchange(
        &self,
        metadata: &Metadata,
        code: &Secret,
        derived: &Derived,
        redirect_uri: &str,
    ) -> Result<Tokens, Refusal> {
        const WHAT: &str = "token endpoint";
        let told = self.settings();
        let mut headers = HeaderMap::new();
        let mut form = vec![
            ("grant_type", "authorization_code"),
            ("code", code.expose()),
            ("redirect_uri", redirect_uri),
            ("code_verifier", derived.verifier.expose()),
        ];
        match (metadata.client_auth, &told.client_secret) {
            (ClientAuth::Basic, Some(secret)) => {
                headers.insert(header::AUTHORIZATION, basic(told, secret));
            }
            (ClientAuth::Post, Some(secret)) => {
                form.extend([("client_id", told.client_id.as_str()), ("client_secret", secret.expose())]);
            }
            _ => form.push(("client_id", &told.client_id)),
        }
        let (status, body) = self.door.post(WHAT, &metadata.token_endpoint, headers, &form).await?;
        if status.is_success() {
            return Ok(json(WHAT, &body)?);
        }
        let denied = serde_json::from_slice::<Denied>(&body).map(|denied| denied.error);
        Err(Refusal::code_refused(&denied.unwrap_or_else(|_| status.to_string())))
    }

    /// What the endpoint says of the person. Without it they have no address, and may be known all the same.
    async fn userinfo(&self, metadata: &Metadata, token: &Secret, subject: &str) -> Result<Option<About>, Refusal> {
        let Some(endpoint) = &metadata.userinfo_endpoint else { return Ok(None) };
        let Ok(mut value) = HeaderValue::from_str(&format!("Bearer {}", token.expose())) else { return Ok(None) };
        value.set_sensitive(true);
        let headers = HeaderMap::from_iter([(header::AUTHORIZATION, value)]);
        match self.door.get::<UserInfo>("userinfo endpoint", endpoint, headers).await {
            // OpenID Connect Core, section 5.3.2: else a token of somebody else's was swapped in.
            Ok(told) if told.sub != subject => Err(Refusal::id_token("the userinfo endpoint speaks of somebody else")),
            Ok(told) => Ok(Some(told.about)),
            Err(error) => {
                tracing::warn!(%error, "nothing more is known of who signs in");
                Ok(None)
            }
        }
    }
}

/// Both are encoded as form values first: RFC 6749, section 2.3.1.
fn basic(told: &OpenIdProvider, secret: &Secret) -> HeaderValue {
    let encoded = |text: &str| byte_serialize(text.as_bytes()).collect::<String>();
    let pair = format!("{}:{}", encoded(&told.client_id), encoded(secret.expose()));
    let text = format!("Basic {}", STANDARD.encode(pair));
    let mut value = HeaderValue::from_str(&text).unwrap_or_else(|_| HeaderValue::from_static(""));
    value.set_sensitive(true);
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn id_and_secret_are_encoded_before_they_are_joined() {
        let told = OpenIdProvider::new("https://id.example.com", "a:b c").unwrap();
        let value = basic(&told, &Secret::new("s%/+ü"));
        assert!(value.is_sensitive());
        let sent = value.to_str().unwrap().strip_prefix("Basic ").unwrap();
        assert_eq!(STANDARD.decode(sent).unwrap(), b"a%3Ab+c:s%25%2F%2B%C3%BC");
    }
}
