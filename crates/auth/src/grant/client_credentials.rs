//! OAuth 2.0 client credentials flow: the app logs in as the user that its policies name.
//!
//! Works on the org's My Domain only (`login` and `test` answer "request not supported on this domain"), and there
//! is never a refresh token.

use crate::config::OrgConfig;
use crate::token_endpoint::Form;

pub(crate) fn form(config: &OrgConfig) -> Form {
    Form::of_app("client_credentials", config.app())
}
