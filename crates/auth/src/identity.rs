//! `GET /services/oauth2/userinfo`: who a token speaks for.

use serde::{Deserialize, Serialize};

use crate::credentials::Credentials;
use crate::error::{AuthError, AuthErrorKind};
use crate::grant::begun_login::BegunLogin;
use crate::http::{innermost, without_url};

/// The user behind a token, as OpenID Connect's userinfo tells it. Salesforce sends more; this is what programs use.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct UserInfo {
    /// The user's id (18 characters, `005…`).
    pub user_id: String,
    /// The org's id (18 characters, `00D…`).
    pub organization_id: String,
    /// The user's login name.
    pub preferred_username: Option<String>,
    /// The user's full name.
    pub name: Option<String>,
    /// The user's e-mail address.
    pub email: Option<String>,
    /// IANA name of the user's time zone.
    pub zoneinfo: Option<String>,
    /// The user's locale, such as `en_US`.
    pub locale: Option<String>,
    /// False for a user who was frozen since.
    pub active: Option<bool>,
}

impl BegunLogin {
    /// The name of the user who has just logged in; `None` if the org does not say.
    pub async fn username(&self, http: &reqwest::Client) -> Option<String> {
        let (token, instance_url) = self.access();
        let mut url = instance_url.clone();
        url.set_path("/services/oauth2/userinfo");
        self.config().hosts.check(&url).ok()?;
        let body = http.get(url).bearer_auth(token.expose()).send().await.ok()?.bytes().await.ok()?;
        serde_json::from_slice::<UserInfo>(&body).ok()?.preferred_username
    }
}

impl Credentials {
    /// Asks the org who these credentials log in. An expired session (403 `Bad_OAuth_Token` here) is renewed once.
    ///
    /// # Errors
    /// As [`Credentials::token`]; and when the org does not answer the question.
    pub async fn userinfo(&self) -> Result<UserInfo, AuthError> {
        let renewal = self.renewal();
        let failed = |kind| renewal.error(kind);
        let mut replayed = false;
        loop {
            let token = self.token().await?;
            // At the instance URL, not the login host: it is the org that knows the session.
            let mut url = token.instance_url().clone();
            url.set_path("/services/oauth2/userinfo");
            renewal.config.hosts.check(&url).map_err(|e| failed(AuthErrorKind::Host(e)))?;
            let unreachable = |error: reqwest::Error| {
                failed(AuthErrorKind::Unreachable { url: url.to_string(), reason: innermost(&without_url(error)) })
            };
            let request = renewal.http.get(url.clone()).bearer_auth(token.access_token().expose());
            let response = request.send().await.map_err(unreachable)?;
            let status = response.status().as_u16();
            let body = response.bytes().await.map_err(unreachable)?;
            if status == 403 && body.trim_ascii() == b"Bad_OAuth_Token" && !replayed {
                self.refused(&token);
                replayed = true;
                continue;
            }
            return serde_json::from_slice(&body)
                .ok()
                .filter(|_| status == 200)
                .ok_or_else(|| failed(AuthErrorKind::Unintelligible { url: url.to_string(), status }));
        }
    }
}
