//! An ID token in its compact form (RFC 7515, section 7.1).

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde_json::Value;
use tieline_auth::Secret;

use super::claims::Claims;
use super::keys::{Algorithm, Key};

#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    typ: Option<String>,
    crit: Option<Value>,
}

/// A token that nothing is believed of yet.
pub(super) struct Unverified {
    token: Secret,
    pub(super) algorithm: Algorithm,
    pub(super) kid: Option<String>,
}

impl Unverified {
    /// Reads the header. How it says that it is signed must be a signature: a token cannot choose to go without one.
    pub(super) fn read(token: Secret) -> Result<Self, &'static str> {
        let parts = token.expose().split('.').count();
        let header = token.expose().split('.').next().unwrap_or_default();
        let header: Header = decoded(header).filter(|_| parts == 3).ok_or("it is no signed token")?;
        let algorithm = Algorithm::from_name(&header.alg).ok_or("it is not signed by RS256, ES256 or EdDSA")?;
        if header.crit.is_some() {
            return Err("it needs an extension that is not known here");
        }
        // RFC 8725, section 3.11: an access token or a logout token is none.
        if header.typ.is_some_and(|typ| !typ.eq_ignore_ascii_case("JWT")) {
            return Err("it is a token of another kind");
        }
        Ok(Self { token, algorithm, kid: header.kid })
    }

    /// What it says, if the key has signed it.
    pub(super) fn verified(&self, key: &Key) -> Result<Claims, &'static str> {
        let (message, signature) = self.token.expose().rsplit_once('.').unwrap_or_default();
        let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| "its signature cannot be read")?;
        if !key.verifies(self.algorithm, message.as_bytes(), &signature) {
            return Err("its signature is not the provider's");
        }
        let claims = message.split('.').nth(1).unwrap_or_default();
        decoded(claims).ok_or("it does not say what an ID token must say")
    }
}

fn decoded<T: serde::de::DeserializeOwned>(part: &str) -> Option<T> {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(header: &str, rest: &str) -> Result<Unverified, &'static str> {
        Unverified::read(Secret::new(format!("{}{rest}", URL_SAFE_NO_PAD.encode(header))))
    }

    #[test]
    fn a_header_cannot_choose_to_go_without_a_signature() {
        let kept = read(r#"{"alg":"ES256","kid":"a","typ":"JWT"}"#, ".e30.x").unwrap();
        assert_eq!((kept.algorithm, kept.kid.as_deref()), (Algorithm::Es256, Some("a")));
        for (header, rest) in [
            (r#"{"alg":"none"}"#, ".e30."),
            (r#"{"alg":"HS256"}"#, ".e30.x"),
            (r#"{"alg":["ES256"]}"#, ".e30.x"),
            (r#"{"alg":"none","alg":"ES256"}"#, ".e30.x"),
            (r#"{"alg":"ES256","crit":["exp"]}"#, ".e30.x"),
            (r#"{"alg":"ES256","typ":"at+jwt"}"#, ".e30.x"),
            (r#"{"typ":"JWT"}"#, ".e30.x"),
            (r#"{"alg":"ES256"}"#, ".e30"),
            (r#"{"alg":"RS256"}"#, ".a.b.c.d"),
            ("", ""),
        ] {
            assert!(read(header, rest).is_err(), "{header}{rest}");
        }
    }
}
