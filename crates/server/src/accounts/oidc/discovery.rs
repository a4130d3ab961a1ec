//! What a provider says of itself. Source: OpenID Connect Discovery 1.0; RFC 8414; RFC 9207, section 3.

use axum::http::HeaderMap;
use serde::Deserialize;
use url::Url;

use super::door::{Door, ProviderError};
use super::keys::Algorithm;
use super::settings::OpenIdProvider;

/// How this service proves itself to the provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ClientAuth {
    /// Id and secret in the header `Authorization`.
    Basic,
    /// Both in the form.
    Post,
    /// The id alone, with PKCE.
    None,
}

/// What a sign-in needs of it, checked.
#[derive(Debug, Clone)]
pub(super) struct Metadata {
    pub(super) authorization_endpoint: Url,
    pub(super) token_endpoint: Url,
    pub(super) userinfo_endpoint: Option<Url>,
    pub(super) jwks_uri: Url,
    pub(super) client_auth: ClientAuth,
    /// Whether each of its answers must name it (RFC 9207).
    pub(super) names_itself: bool,
}

#[derive(Deserialize)]
struct Document {
    issuer: String,
    authorization_endpoint: String,
    token_endpoint: String,
    jwks_uri: String,
    userinfo_endpoint: Option<String>,
    response_types_supported: Option<Vec<String>>,
    code_challenge_methods_supported: Option<Vec<String>>,
    token_endpoint_auth_methods_supported: Option<Vec<String>>,
    id_token_signing_alg_values_supported: Option<Vec<String>>,
    #[serde(default)]
    authorization_response_iss_parameter_supported: bool,
}

impl Metadata {
    /// Reads the provider's configuration.
    pub(super) async fn discover(door: &Door, told: &OpenIdProvider) -> Result<Self, ProviderError> {
        const WHAT: &str = "configuration";
        // Section 4.1: a slash at the issuer's end is left out before the path is added.
        let place = format!("{}/.well-known/openid-configuration", told.issuer.trim_end_matches('/'));
        let document: Document = door.get(WHAT, &door.check(WHAT, &place)?, HeaderMap::new()).await?;
        Self::read(door, told, document)
    }

    fn read(door: &Door, told: &OpenIdProvider, document: Document) -> Result<Self, ProviderError> {
        let wrong = |why: String| Err(ProviderError::Wrong(why));
        // Section 4.3: to the letter. Otherwise one provider could pass for another.
        if document.issuer != told.issuer {
            let theirs: String = document.issuer.chars().filter(|c| !c.is_control()).take(200).collect();
            return wrong(format!("the provider at {} says that its issuer is {theirs}", told.issuer));
        }
        let lacks = |list: &Option<Vec<String>>, wanted: &str| {
            list.as_ref().is_some_and(|all| !all.iter().any(|a| a == wanted))
        };
        if lacks(&document.response_types_supported, "code") {
            return wrong("the provider does not know the code flow (response type `code`)".to_owned());
        }
        // Many do PKCE and do not say so.
        if lacks(&document.code_challenge_methods_supported, "S256") {
            return wrong("the provider does not know PKCE with S256".to_owned());
        }
        if let Some(algorithms) = &document.id_token_signing_alg_values_supported
            && !algorithms.iter().any(|name| Algorithm::from_name(name).is_some())
        {
            return wrong(format!("the provider signs by none of {}", Algorithm::NAMES));
        }
        let methods = &document.token_endpoint_auth_methods_supported;
        let client_auth = match &told.client_secret {
            None => ClientAuth::None,
            // Where nothing is said it is this one (section 3).
            Some(_) if !lacks(methods, "client_secret_basic") => ClientAuth::Basic,
            Some(_) if !lacks(methods, "client_secret_post") => ClientAuth::Post,
            Some(_) => {
                return wrong("the provider takes a client secret neither by header nor in the form".to_owned());
            }
        };
        Ok(Self {
            authorization_endpoint: door.check("authorization endpoint", &document.authorization_endpoint)?,
            token_endpoint: door.check("token endpoint", &document.token_endpoint)?,
            jwks_uri: door.check("key set", &document.jwks_uri)?,
            userinfo_endpoint: match &document.userinfo_endpoint {
                Some(url) => Some(door.check("userinfo endpoint", url)?),
                None => None,
            },
            client_auth,
            names_itself: document.authorization_response_iss_parameter_supported,
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use tieline_auth::Secret;

    use super::super::settings::issuer_url;
    use super::*;

    fn read(secret: Option<&str>, change: impl FnOnce(&mut Value)) -> Result<Metadata, ProviderError> {
        let mut told = OpenIdProvider::new("https://id.example.com", "tieline").unwrap();
        told.client_secret = secret.map(Secret::new);
        let mut document = json!({
            "issuer": "https://id.example.com",
            "authorization_endpoint": "https://id.example.com/authorize?tenant=1",
            "token_endpoint": "https://tokens.example.com/token",
            "jwks_uri": "https://keys.example.com/jwks",
        });
        change(&mut document);
        let door = Door::to(&issuer_url(&told.issuer).unwrap()).unwrap();
        Metadata::read(&door, &told, serde_json::from_value(document).unwrap())
    }

    #[test]
    fn a_provider_is_taken_at_its_word_where_that_is_enough() {
        let found = read(Some("s"), |_| {}).unwrap();
        assert_eq!((found.client_auth, found.names_itself), (ClientAuth::Basic, false));
        let post = read(Some("s"), |d| d["token_endpoint_auth_methods_supported"] = json!(["client_secret_post"]));
        assert_eq!(post.unwrap().client_auth, ClientAuth::Post);
        let none = read(None, |d| d["token_endpoint_auth_methods_supported"] = json!(["client_secret_basic"]));
        assert_eq!(none.unwrap().client_auth, ClientAuth::None);
    }

    #[test]
    fn one_that_cannot_be_used_safely_is_refused() {
        for (key, value, said) in [
            ("issuer", json!("https://id.example.com/"), "says that its issuer is"),
            ("issuer", json!("https://evil.example"), "says that its issuer is"),
            ("response_types_supported", json!(["id_token"]), "code flow"),
            ("code_challenge_methods_supported", json!(["plain"]), "S256"),
            ("id_token_signing_alg_values_supported", json!(["HS256", "none"]), "signs by none of"),
            ("token_endpoint_auth_methods_supported", json!(["private_key_jwt"]), "neither"),
            ("token_endpoint", json!("http://tokens.example.com/token"), "only https"),
            ("jwks_uri", json!("https://169.254.169.254/"), "metadata service"),
            ("authorization_endpoint", json!("javascript:alert(1)"), "cannot be used"),
        ] {
            let refused = read(Some("s"), |document| document[key] = value.clone()).unwrap_err().to_string();
            assert!(refused.contains(said), "{key} {value}: {refused}");
        }
    }
}
