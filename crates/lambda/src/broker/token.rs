//! From a request to a token that will last as long as it is needed.

use std::sync::Arc;
use std::time::Duration;

use crate::digest::Digest;
use jiff::Timestamp;
use serde_json::{Value, json};
use tieline_auth::{AuthError, Clock, Credentials, Token};

use super::request::TokenRequest;
use crate::orgs::Org;

/// What is handed out.
pub(crate) struct Handed {
    token: Arc<Token>,
    api_version: String,
    /// Nobody had to be asked but this process or the token store.
    pub(crate) from_cache: bool,
}

/// A token of the org's: another one than the one that was refused, and one that lasts until `deadline` if its kind
/// can.
pub(crate) async fn fetch(
    org: &Org,
    request: &TokenRequest,
    deadline: Option<Timestamp>,
    clock: &dyn Clock,
) -> Result<Handed, AuthError> {
    let credentials = &org.credentials;
    let (mut token, mut from_cache) = lasting(credentials, request.min_ttl, deadline, clock).await?;
    if let Some(seen) = &request.seen
        && Digest::of(token.access_token().expose().as_bytes()).is(seen)
    {
        // Whoever comes late names a token that has been replaced already, and gets the new one.
        credentials.refused_elsewhere(&token);
        (token, from_cache) = lasting(credentials, request.min_ttl, deadline, clock).await?;
    }
    Ok(Handed { token, api_version: org.api_version.clone(), from_cache })
}

pub(crate) async fn lasting(
    credentials: &Credentials,
    min_ttl: Duration,
    deadline: Option<Timestamp>,
    clock: &dyn Clock,
) -> Result<(Arc<Token>, bool), AuthError> {
    let (token, from_cache) = credentials.token_and_source().await?;
    let needed = needed(&token, min_ttl, deadline, clock.now());
    match credentials.token_for(needed).await {
        Ok((longer, still)) => Ok((longer, from_cache && still)),
        // One that lasts for less time than it should is better than none.
        Err(error) => credentials.cached_token().map(|token| (token, from_cache)).ok_or(error),
    }
}

/// How much longer the token must last: what the caller asks, and the time to the end of the invocation. Never all of
/// what such a token lasts: one that cannot last so long would be fetched anew at each request.
fn needed(token: &Token, min_ttl: Duration, deadline: Option<Timestamp>, now: Timestamp) -> Duration {
    let Some(lifetime) = token.lifetime() else { return Duration::ZERO };
    let left = deadline.map(|deadline| Duration::try_from(deadline.duration_since(now)).unwrap_or_default());
    min_ttl.min(lifetime * 4 / 5).max(left.unwrap_or_default().min(lifetime / 2))
}

impl Handed {
    pub(crate) fn body(&self) -> Value {
        let token = &self.token;
        json!({
            "access_token": token.access_token().expose(),
            "instance_url": token.instance_url().as_str().trim_end_matches('/'),
            "api_version": self.api_version,
            "issued_at": token.issued_at(),
            "expires_at": token.expires_at(),
            "from_cache": self.from_cache,
        })
    }
}
