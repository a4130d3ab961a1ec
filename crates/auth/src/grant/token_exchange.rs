//! OAuth 2.0 token exchange (RFC 8693): a token of another identity provider becomes a Salesforce token.
//!
//! The org decides by an Apex class (`Auth.Oauth2TokenExchangeHandler`) that the app is told to use.

use crate::config::OrgConfig;
use crate::secret::Secret;
use crate::token_endpoint::Form;

const GRANT_TYPE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";

/// The other provider's token.
#[derive(Debug, Clone)]
pub struct Subject {
    /// The token, at most 10,000 characters.
    pub token: Secret,
    /// What it is.
    pub kind: SubjectKind,
    /// API name of the handler, where the app has more than one.
    pub handler: Option<String>,
}

/// Kinds of subject tokens that Salesforce takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SubjectKind {
    /// An access token.
    AccessToken,
    /// A refresh token.
    RefreshToken,
    /// An OpenID Connect ID token.
    IdToken,
    /// A SAML 2.0 assertion.
    Saml2,
    /// Any JWT.
    Jwt,
}

impl SubjectKind {
    /// Its short name: `access_token`, `refresh_token`, `id_token`, `saml2` or `jwt`.
    pub fn name(self) -> &'static str {
        match self {
            SubjectKind::AccessToken => "access_token",
            SubjectKind::RefreshToken => "refresh_token",
            SubjectKind::IdToken => "id_token",
            SubjectKind::Saml2 => "saml2",
            SubjectKind::Jwt => "jwt",
        }
    }
}

pub(crate) fn form(config: &OrgConfig, subject: &Subject) -> Form {
    let kind = format!("urn:ietf:params:oauth:token-type:{}", subject.kind.name());
    let form = Form::of_app(GRANT_TYPE, config.app())
        .with("subject_token", subject.token.expose())
        .with("subject_token_type", kind);
    match &subject.handler {
        Some(handler) => form.with("token_handler", handler),
        None => form,
    }
}
