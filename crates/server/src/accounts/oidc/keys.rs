//! The provider's keys (RFC 7517), and signatures by them (RFC 7518, RFC 8037).

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents, UnparsedPublicKey,
};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde_json::Value;

/// How a token may be signed. All are signatures by a key of which we hold the public half: `none` and the MACs (`HS256`),
/// which take the client secret or a public key for a shared one, are no part of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Algorithm {
    Rs256,
    Es256,
    EdDsa,
}

impl Algorithm {
    pub(super) const NAMES: &str = "RS256, ES256 and EdDSA";

    pub(super) fn from_name(name: &str) -> Option<Self> {
        match name {
            "RS256" => Some(Self::Rs256),
            "ES256" => Some(Self::Es256),
            // RFC 9864 names the curve.
            "EdDSA" | "Ed25519" => Some(Self::EdDsa),
            _ => None,
        }
    }
}

/// A public key. Members are of one kind of key or of another.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Key {
    kty: String,
    kid: Option<String>,
    #[serde(rename = "use")]
    usage: Option<String>,
    alg: Option<String>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

impl Key {
    fn fits(&self, algorithm: Algorithm) -> bool {
        let kind = match algorithm {
            Algorithm::Rs256 => self.kty == "RSA",
            Algorithm::Es256 => self.kty == "EC" && self.crv.as_deref() == Some("P-256"),
            Algorithm::EdDsa => self.kty == "OKP" && self.crv.as_deref() == Some("Ed25519"),
        };
        let for_it = self.alg.as_deref().is_none_or(|name| Algorithm::from_name(name) == Some(algorithm));
        kind && for_it && self.usage.as_deref().is_none_or(|usage| usage == "sig")
    }

    /// Whether the signature is this key's over the message.
    pub(super) fn verifies(&self, algorithm: Algorithm, message: &[u8], signature: &[u8]) -> bool {
        self.fits(algorithm) && self.verify(algorithm, message, signature).is_some()
    }

    fn verify(&self, algorithm: Algorithm, message: &[u8], signature: &[u8]) -> Option<()> {
        let part = |text: &Option<String>| URL_SAFE_NO_PAD.decode(text.as_deref()?).ok();
        match algorithm {
            Algorithm::Rs256 => {
                let (n, e) = (part(&self.n)?, part(&self.e)?);
                // Some write the zero that keeps the number positive.
                let n = n[n.iter().take_while(|byte| **byte == 0).count()..].to_vec();
                let key = RsaPublicKeyComponents { n, e };
                key.verify(&RSA_PKCS1_2048_8192_SHA256, message, signature).ok()
            }
            Algorithm::Es256 => {
                let (x, y) = (part(&self.x)?, part(&self.y)?);
                if x.len() != 32 || y.len() != 32 {
                    return None;
                }
                // An uncompressed point: SEC 1, section 2.3.3.
                let point = [&[4], x.as_slice(), y.as_slice()].concat();
                UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).verify(message, signature).ok()
            }
            Algorithm::EdDsa => UnparsedPublicKey::new(&ED25519, part(&self.x)?).verify(message, signature).ok(),
        }
    }
}

/// The keys of a provider.
#[derive(Debug, Clone, Default)]
pub(super) struct KeySet(Vec<Key>);

impl<'de> Deserialize<'de> for KeySet {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Set {
            keys: Vec<Value>,
        }
        let set = Set::deserialize(from)?;
        // RFC 7517, section 5: keys of an unknown form are to be passed over.
        Ok(Self(set.keys.into_iter().filter_map(|key| serde_json::from_value(key).ok()).collect()))
    }
}

impl KeySet {
    /// The key that a token names; without a name, the one that there is.
    pub(super) fn find(&self, kid: Option<&str>, algorithm: Algorithm) -> Option<&Key> {
        let mut fitting = self.0.iter().filter(|key| key.fits(algorithm));
        match kid {
            Some(kid) => fitting.find(|key| key.kid.as_deref() == Some(kid)),
            // OpenID Connect Core, section 10.1: with several keys a token must name its own.
            None => fitting.next().filter(|_| fitting.next().is_none()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 7515, appendix A.3: a key and what it signed.
    const ES256: (&str, &str, &str) = (
        r#"{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}"#,
        "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ",
        "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q",
    );
    /// RFC 7515, appendix A.2.
    const RS256: (&str, &str, &str) = (
        r#"{"kty":"RSA","n":"ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ","e":"AQAB"}"#,
        "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ",
        "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw",
    );
    /// RFC 8037, appendix A.4.
    const EDDSA: (&str, &str, &str) = (
        r#"{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#,
        "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc",
        "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg",
    );

    #[test]
    fn signatures_of_the_standards_verify_and_no_others() {
        let cases = [(Algorithm::Es256, ES256), (Algorithm::Rs256, RS256), (Algorithm::EdDsa, EDDSA)];
        for (algorithm, (key, message, signature)) in cases {
            let key: Key = serde_json::from_str(key).unwrap();
            let mut signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
            assert!(key.verifies(algorithm, message.as_bytes(), &signature), "{algorithm:?}");
            assert!(!key.verifies(algorithm, format!("{message}x").as_bytes(), &signature), "{algorithm:?}");
            for (other, _) in cases.iter().filter(|(other, _)| *other != algorithm) {
                assert!(!key.verifies(*other, message.as_bytes(), &signature), "{algorithm:?} by {other:?}");
            }
            signature[5] ^= 1;
            assert!(!key.verifies(algorithm, message.as_bytes(), &signature), "{algorithm:?}");
        }
    }

    #[test]
    fn a_key_is_found_by_its_name_and_use() {
        let set = |keys: &str| serde_json::from_str::<KeySet>(&format!("{{\"keys\":[{keys}]}}")).unwrap();
        let key = |more: &str| format!("{}{more}}}", ES256.0.trim_end_matches('}'));
        let (a, b) = (key(r#","kid":"a""#), key(r#","kid":"b""#));
        let two = set(&format!("{a},{b},{{\"kty\":\"new\"}},7"));
        assert!(two.find(Some("b"), Algorithm::Es256).is_some());
        assert!(two.find(Some("c"), Algorithm::Es256).is_none());
        assert!(two.find(Some("a"), Algorithm::Rs256).is_none(), "a key of another kind");
        assert!(two.find(None, Algorithm::Es256).is_none(), "of two, none is meant");
        assert!(set(&a).find(None, Algorithm::Es256).is_some());
        for unfit in [r#","use":"enc""#, r#","alg":"ES384""#, r#","alg":"HS256""#] {
            assert!(set(&key(unfit)).find(None, Algorithm::Es256).is_none(), "{unfit}");
        }
    }

    #[test]
    fn names_of_algorithms_that_are_no_signatures_are_unknown() {
        for name in ["none", "None", "HS256", "HS512", "PS256", "ES384", "", "rs256"] {
            assert!(Algorithm::from_name(name).is_none(), "{name}");
        }
    }
}
