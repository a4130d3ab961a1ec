//! The way to the provider.

use axum::http::{HeaderMap, HeaderValue};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::SignedDuration;
use tieline_auth::Secret;
use tieline_store::{Digest, NewSignIn, Uuid};

use super::refusal::Refusal;
use super::settings::OpenIdProvider;
use crate::caller::same_origin;
use crate::problem::Problem;
use crate::secrets;
use crate::service::Service;

/// How long a sign-in may take.
const LIFE: SignedDuration = SignedDuration::from_mins(10);

/// What somebody goes to the provider for.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Purpose {
    /// To be signed in.
    SignIn,
    /// To be able to sign in from then on as this user, who is signed in.
    Link(Uuid),
    /// To take up the invitation with this token.
    Join(Digest),
}

/// What follows from the secret of the browser's cookie and the `state`, both of 256 random bits: the browser brings them
/// back, and nothing of it is kept meanwhile.
pub(super) struct Derived {
    /// PKCE's (RFC 7636, section 4.1: 43 characters).
    pub(super) verifier: Secret,
    /// What the ID token must repeat.
    pub(super) nonce: Secret,
}

impl Derived {
    pub(super) fn from(browser: &Secret, state: &Secret) -> Self {
        let derive = |what: &str| secrets::derived(browser, &format!("tieline sign-in {what}\0{}", state.expose()));
        Self { verifier: derive("verifier"), nonce: derive("nonce") }
    }

    fn challenge(&self) -> String {
        URL_SAFE_NO_PAD.encode(Digest::of(self.verifier.expose()).as_bytes())
    }
}

/// Writes the sign-in down. Answers the provider's page, and the cookie without which nobody can finish it.
pub(crate) async fn begin(
    service: &Service,
    headers: &HeaderMap,
    purpose: Purpose,
    return_to: &str,
) -> Result<(String, HeaderValue), Refusal> {
    // A page of another site must not begin a sign-in for its visitors.
    same_origin(headers, service)?;
    let provider = service.provider()?;
    let now = service.now();
    let metadata = provider.metadata(now).await?;
    let browser = match service.cookies().sign_in(headers) {
        // Two tabs of one browser can both sign in.
        Some(value) if value.len() == 43 => Secret::new(value),
        _ => secrets::random("")?,
    };
    let state = secrets::random("")?;
    let derived = Derived::from(&browser, &state);
    let (user, invitation) = match purpose {
        Purpose::SignIn => (None, None),
        Purpose::Link(user) => (Some(user), None),
        Purpose::Join(token) => (None, Some(token)),
    };
    let new = NewSignIn {
        state: Digest::of(state.expose()),
        browser: Digest::of(browser.expose()),
        issuer: &provider.settings().issuer,
        user,
        invitation,
        return_to,
        expires_at: now + LIFE,
    };
    service.store().begin_sign_in(&new, now).await.map_err(Problem::from)?;
    let mut url = metadata.authorization_endpoint.clone();
    url.query_pairs_mut()
        .append_pair("response_type", "code")
        .append_pair("client_id", &provider.settings().client_id)
        .append_pair("redirect_uri", &OpenIdProvider::redirect_uri(&service.settings().public_url))
        .append_pair("scope", "openid email profile")
        .append_pair("state", state.expose())
        .append_pair("nonce", derived.nonce.expose())
        .append_pair("code_challenge", &derived.challenge())
        .append_pair("code_challenge_method", "S256");
    Ok((url.into(), service.cookies().set_sign_in(&browser, LIFE.as_secs())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verifier_and_nonce_follow_from_both_secrets_and_differ() {
        let of = |browser: &str, state: &str| {
            let derived = Derived::from(&Secret::new(browser), &Secret::new(state));
            [derived.verifier.expose().to_owned(), derived.nonce.expose().to_owned()]
        };
        let [verifier, nonce] = of("b", "s");
        assert_eq!((verifier.len(), of("b", "s")), (43, [verifier.clone(), nonce.clone()]));
        assert_ne!(verifier, nonce);
        for other in [of("b", "t"), of("c", "s")] {
            assert!(other[0] != verifier && other[1] != nonce);
        }
    }
}
