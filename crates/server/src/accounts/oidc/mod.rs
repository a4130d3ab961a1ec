//! Signing in with an OpenID provider: OpenID Connect Core 1.0, the code flow with PKCE (RFC 7636).
//!
//! 1. `begin` writes the sign-in down (digests of its `state` and of a cookie of this browser) and sends the browser to the
//!    provider. PKCE's verifier and the nonce follow from cookie and `state`, so that nobody who reads the database has
//!    them.
//! 2. The provider sends the browser to `callback`. The sign-in is taken up, once, in the same browser; `exchange` trades
//!    the code for an ID token, which `id_token` checks with the provider's `keys`.
//! 3. Issuer and subject name an identity. It signs in whoever it was linked to (`arrival`); an e-mail alone signs in
//!    nobody, unless the operator trusts the provider's.
//!
//! `settings` is what the operator says, `discovery` what the provider says of itself, `door` the one place that connects
//! to it, `provider` what is kept of it in this process. `identities` is the API, `refusal` what a person is told.

mod arrival;
pub(crate) mod begin;
pub(crate) mod callback;
mod claims;
mod discovery;
mod door;
mod exchange;
mod id_token;
pub(crate) mod identities;
mod keys;
pub(crate) mod provider;
pub(crate) mod refusal;
mod settings;

pub use settings::OpenIdProvider;

/// Where the provider sends browsers back to, below the service's own URL.
pub(crate) const CALLBACK: &str = "/sign-in/callback";
