//! Connecting an org, and taking the connection away again.
//!
//! 1. `authorize` writes the login down (its `state` as a digest, its PKCE verifier sealed), binds it to the browser by a
//!    cookie, and sends the browser to the org's login page.
//! 2. The org sends the browser to `callback`. The login is taken up, once, by the same user in the same browser; the
//!    code is exchanged; what comes is kept in the integration's row, which is `active` from then on; and the browser
//!    goes back to where it was.
//! 3. `disconnect` and `revoke-all` end the tokens at the org and shut the integration.

pub(crate) mod authorize;
mod callback;
pub(crate) mod credentials;
mod refusal;
pub(crate) mod return_to;
mod revoke;

pub(crate) use authorize::{__path_authorize, authorize};
pub(crate) use callback::{__path_callback, callback};
pub(crate) use revoke::{__path_disconnect, __path_revoke_all, Report, disconnect, revoke_all, revoke_every, shut};

/// Where orgs send browsers back to, below the service's own URL.
pub(crate) const CALLBACK: &str = "/api/integrations/salesforce/callback";
