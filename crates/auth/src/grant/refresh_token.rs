//! OAuth 2.0 refresh token flow.
//!
//! The answer carries a new refresh token if, and only if, the app rotates them: then the old one is dead at once,
//! and using it again ends the whole family. `renewal` keeps the chain.

use crate::config::OrgConfig;
use crate::token_endpoint::Form;

/// A public client (PKCE) has no secret and must not send one.
pub(crate) fn form(config: &OrgConfig, refresh_token: &str) -> Form {
    Form::of_app("refresh_token", config.app()).with("refresh_token", refresh_token)
}
