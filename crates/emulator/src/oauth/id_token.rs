//! ID tokens and other JWTs of the org, signed with a key of its own, which `/id/keys` shows.

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{KeyPair, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256, RsaKeyPair, UnparsedPublicKey};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::OAuthError;
use crate::org::Org;

const FAILED: OAuthError = OAuthError("server_error", "the signing key could not be used");

/// An ID token lives two minutes, the default of an app.
const LIFE_SECONDS: i64 = 120;

pub(crate) struct SigningKey {
    pair: RsaKeyPair,
    id: String,
}

impl SigningKey {
    fn generate() -> Result<Self, OAuthError> {
        let pair = RsaKeyPair::generate(aws_lc_rs::rsa::KeySize::Rsa2048).map_err(|_| FAILED)?;
        let id = digest(&SHA256, pair.public_key().as_ref()).as_ref()[..8].iter().map(|b| format!("{b:02x}")).collect();
        Ok(SigningKey { pair, id })
    }

    fn sign(&self, claims: &Value) -> Result<String, OAuthError> {
        let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let header = json!({"typ": "JWT", "alg": "RS256", "kid": self.id});
        let message = format!("{}.{}", encode(&header), encode(claims));
        let mut signature = vec![0; self.pair.public_modulus_len()];
        self.pair
            .sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message.as_bytes(), &mut signature)
            .map_err(|_| FAILED)?;
        Ok(format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }

    fn is_own(&self, message: &str, signature: &[u8]) -> bool {
        let key = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, self.pair.public_key().as_ref());
        key.verify(message.as_bytes(), signature).is_ok()
    }
}

fn key(org: &mut Org) -> Result<&SigningKey, OAuthError> {
    if org.signing_key.is_none() {
        org.signing_key = Some(SigningKey::generate()?);
    }
    org.signing_key.as_ref().ok_or(FAILED)
}

pub(super) fn id_token(
    org: &mut Org,
    subject: &str,
    client_id: &str,
    access_token: &str,
    nonce: Option<&str>,
) -> Result<String, OAuthError> {
    let now = org.now().as_second();
    let mut claims = json!({
        "iss": org.base_url, "sub": subject, "aud": client_id, "iat": now, "exp": now + LIFE_SECONDS,
        // OpenID Connect Core 3.1.3.6: the left half of the hash.
        "at_hash": URL_SAFE_NO_PAD.encode(&digest(&SHA256, access_token.as_bytes()).as_ref()[..16]),
    });
    if let Some(nonce) = nonce {
        claims["nonce"] = json!(nonce);
    }
    signed(org, &claims)
}

/// A JWT of the org's with these claims.
pub(crate) fn signed(org: &mut Org, claims: &Value) -> Result<String, OAuthError> {
    key(org)?.sign(claims)
}

/// The claims of a JWT that this org has signed, whatever they say.
pub(crate) fn verified(org: &Org, token: &str) -> Option<Value> {
    let (message, signature) = token.rsplit_once('.')?;
    let claims = URL_SAFE_NO_PAD.decode(message.split_once('.')?.1).ok()?;
    let own = org.signing_key.as_ref()?.is_own(message, &URL_SAFE_NO_PAD.decode(signature).ok()?);
    own.then(|| serde_json::from_slice(&claims).ok()).flatten()
}

/// `/id/keys`.
pub(crate) fn keys(org: &mut Org) -> Result<Value, OAuthError> {
    let key = key(org)?;
    // PKCS#1 RSAPublicKey of 2048 bits: 9 bytes of head (two tags, two lengths, the sign byte), the modulus,
    // then the tag and length of the exponent.
    let der = key.pair.public_key().as_ref();
    let (modulus, exponent) = der.get(9..265).zip(der.get(267..)).ok_or(FAILED)?;
    let encode = |part: &[u8]| URL_SAFE_NO_PAD.encode(part);
    Ok(json!({"keys": [{
        "kty": "RSA", "use": "sig", "alg": "RS256", "kid": key.id, "n": encode(modulus), "e": encode(exponent),
    }]}))
}
