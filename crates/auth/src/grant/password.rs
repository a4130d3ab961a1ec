//! OAuth 2.0 username-password flow: legacy, for orgs that still allow it.
//!
//! Blocked by default in orgs made since Summer '23, and not there at all for external client apps. The password
//! travels, and a changed one breaks the integration: prefer JWT bearer or client credentials.

use crate::config::OrgConfig;
use crate::secret::Secret;
use crate::token_endpoint::Form;

pub(crate) fn form(config: &OrgConfig, username: &str, password: &Secret) -> Form {
    Form::of_app("password", config.app()).with("username", username).with("password", password.expose())
}
