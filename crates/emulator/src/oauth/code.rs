//! Authorization codes: single use, fifteen minutes.

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::{SignedDuration, Timestamp};

use super::OAuthError;
use super::client::{Client, WRONG};
use super::token::{Form, Granted, field};
use crate::org::Org;

const LIFE: SignedDuration = SignedDuration::from_mins(15);

#[derive(Debug)]
pub(crate) struct Code {
    pub(crate) client_id: String,
    pub(crate) user_id: String,
    pub(crate) redirect_uri: String,
    pub(crate) scope: String,
    pub(crate) challenge: Option<String>,
    pub(crate) nonce: Option<String>,
    pub(crate) issued: Timestamp,
}

/// The `authorization_code` grant. The code is used up by the attempt, whatever comes of it.
pub(super) fn exchange(org: &mut Org, form: &Form) -> Result<Granted, OAuthError> {
    let client = Client::identify(org, form)?;
    let code = org.codes.remove(field(form, "code"));
    let code = code.filter(|code| code.client_id == client.app.client_id);
    let code = code.ok_or(OAuthError("invalid_grant", "invalid authorization code"))?;
    if org.now().duration_since(code.issued) > LIFE {
        return Err(OAuthError("invalid_grant", "expired authorization code"));
    }
    if field(form, "redirect_uri") != code.redirect_uri {
        return Err(OAuthError("redirect_uri_mismatch", "redirect_uri must match configuration"));
    }
    match &code.challenge {
        Some(challenge) => {
            let verifier = field(form, "code_verifier");
            let own = URL_SAFE_NO_PAD.encode(digest(&SHA256, verifier.as_bytes()));
            if !(43..=128).contains(&verifier.len()) || own != *challenge {
                // Salesforce's pages say invalid_grant in one place and invalid_request in another.
                return Err(OAuthError("invalid_grant", "invalid code verifier"));
            }
        }
        // Without PKCE, only the secret tells that the code is in the right hands.
        None if !client.proven => return Err(WRONG),
        None => {}
    }
    Ok(Granted { user_id: code.user_id, app: client.app, scope: code.scope, nonce: code.nonce, opens_family: true })
}
