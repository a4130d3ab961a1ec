//! Secrets that we make and somebody else keeps: sessions, API keys, invitations.

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::hmac::{self, HMAC_SHA256};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use subtle::ConstantTimeEq;
use tieline_auth::Secret;

use crate::problem::Problem;

/// A prefix that secret scanners can know, and 256 random bits.
pub(crate) fn random(prefix: &str) -> Result<Secret, Problem> {
    let mut bytes = [0u8; 32];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| Problem::internal("the system gives no randomness", &""))?;
    Ok(Secret::new(format!("{prefix}{}", URL_SAFE_NO_PAD.encode(bytes))))
}

/// What a page of this session sends along with a change: whoever cannot read our pages cannot know it.
pub(crate) fn csrf_token(session: &str) -> String {
    URL_SAFE_NO_PAD.encode(digest(&SHA256, format!("tieline csrf\0{session}").as_bytes()))
}

/// A secret that follows from another and a text, and tells nothing of the other (HMAC-SHA256): 43 characters.
pub(crate) fn derived(from: &Secret, text: &str) -> Secret {
    let key = hmac::Key::new(HMAC_SHA256, from.expose().as_bytes());
    Secret::new(URL_SAFE_NO_PAD.encode(hmac::sign(&key, text.as_bytes())))
}

/// Whether two secrets are equal, in a time that tells nothing of them.
pub(crate) fn are_equal(a: &str, b: &str) -> bool {
    a.as_bytes().ct_eq(b.as_bytes()).into()
}
