//! A Data Cloud token (JWT), and the tenant that it is for.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use tieline_auth::{Secret, Token};
use url::Url;

/// A token of the second stage. Printing it shows everything but the token.
#[derive(Debug, Clone)]
pub struct DataCloudToken(Arc<Token>);

impl DataCloudToken {
    pub(crate) fn new(token: Arc<Token>) -> Self {
        Self(token)
    }

    pub(crate) fn inner(&self) -> &Token {
        &self.0
    }

    /// The JWT.
    pub fn access_token(&self) -> &Secret {
        self.0.access_token()
    }

    /// Value of the `Authorization` header, in the clear: `Bearer eyJ…`.
    pub fn bearer_token(&self) -> String {
        format!("Bearer {}", self.access_token().expose())
    }

    /// Host of the tenant's APIs, such as `https://mjrw….c360a.salesforce.com`.
    pub fn tenant_url(&self) -> &Url {
        self.0.instance_url()
    }

    /// The same as text.
    pub fn tenant_url_str(&self) -> &str {
        self.tenant_url().as_str()
    }

    /// When this process, or the one that it came from, got it.
    pub fn created_at(&self) -> Timestamp {
        self.0.issued_at()
    }

    /// When Data Cloud stops to take it. It is replaced before.
    pub fn expires_at(&self) -> Option<Timestamp> {
        self.0.ends_at()
    }

    /// When it is replaced by another one.
    pub fn renewed_at(&self) -> Option<Timestamp> {
        self.0.expires_at()
    }

    /// The tenant's id (`a360/prod/…`), from the token's claim `audienceTenantId`; `None` where it has none.
    pub fn tenant_id(&self) -> Option<String> {
        #[derive(serde::Deserialize)]
        struct Claims {
            #[serde(rename = "audienceTenantId")]
            tenant: Option<String>,
        }
        let claims = self.access_token().expose().split('.').nth(1)?;
        let claims = URL_SAFE_NO_PAD.decode(claims.trim_end_matches('=')).ok()?;
        serde_json::from_slice::<Claims>(&claims).ok()?.tenant
    }

    /// Name of the tenant's database in Hyper, for clients that attach it: `lakehouse:TENANT;DATASPACE`.
    pub fn lakehouse_name(&self, dataspace: Option<&str>) -> Option<String> {
        Some(format!("lakehouse:{};{}", self.tenant_id()?, dataspace.unwrap_or("")))
    }
}
