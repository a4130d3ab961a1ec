//! What an ID token says, and whether it says it to us, now, about this sign-in. Source: OpenID Connect Core 1.0, section
//! 3.1.3.7; section 5.1 for names and addresses.

use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use serde_json::Value;

use crate::accounts::checked_email;
use crate::secrets;

/// How far the provider's clock may be off.
const SKEW: SignedDuration = SignedDuration::from_secs(120);
/// Oldest token that is taken: the code that it comes for was asked for within so long.
const OLDEST: SignedDuration = SignedDuration::from_mins(10);
/// Longest subject. Source: section 2 (255 ASCII characters).
const LONGEST_SUBJECT: usize = 255;

/// The claims that matter here.
#[derive(Debug, Deserialize)]
pub(super) struct Claims {
    iss: String,
    pub(super) sub: String,
    aud: Audience,
    azp: Option<String>,
    exp: f64,
    iat: f64,
    nbf: Option<f64>,
    nonce: Option<String>,
    #[serde(flatten)]
    pub(super) about: About,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Many(Vec<String>),
}

/// What is said of the person, in a token or by the userinfo endpoint. Of whatever type: nobody is refused for a name that
/// is a number.
#[derive(Debug, Default, Clone, Deserialize)]
pub(super) struct About {
    email: Option<Value>,
    email_verified: Option<Value>,
    /// Microsoft Entra: whether the address's domain is the tenant's own. Entra has no `email_verified`.
    xms_edov: Option<Value>,
    name: Option<Value>,
}

/// What a token must say.
#[derive(Debug, Clone, Copy)]
pub(super) struct Expected<'a> {
    pub(super) issuer: &'a str,
    pub(super) client_id: &'a str,
    pub(super) nonce: &'a str,
    pub(super) now: Timestamp,
}

impl Claims {
    /// Why the token is not for this sign-in, if it is not.
    pub(super) fn check(&self, expected: &Expected<'_>) -> Result<(), &'static str> {
        if self.iss != expected.issuer {
            return Err("its issuer is another one");
        }
        let (listed, others) = match &self.aud {
            Audience::One(one) => (one == expected.client_id, false),
            Audience::Many(many) => (many.iter().any(|aud| aud == expected.client_id), many.len() > 1),
        };
        if !listed {
            return Err("it is for another application");
        }
        match &self.azp {
            Some(azp) if azp != expected.client_id => return Err("it was given to another application"),
            None if others => return Err("it is for several applications, and does not say to which it was given"),
            _ => {}
        }
        let now = expected.now.as_second() as f64;
        let (skew, oldest) = (SKEW.as_secs() as f64, OLDEST.as_secs() as f64);
        if self.exp <= now - skew {
            return Err("it has expired");
        }
        if self.iat >= now + skew || self.nbf.is_some_and(|nbf| nbf >= now + skew) {
            return Err("it was made in the future: compare the clocks");
        }
        if self.iat <= now - oldest - skew {
            return Err("it was made long ago: compare the clocks");
        }
        if !self.nonce.as_deref().is_some_and(|nonce| secrets::are_equal(nonce, expected.nonce)) {
            return Err("it was made for another sign-in (nonce)");
        }
        let plain = |text: &str| text.chars().all(|c| c.is_ascii() && !c.is_ascii_control());
        if self.sub.is_empty() || self.sub.len() > LONGEST_SUBJECT || !plain(&self.sub) {
            return Err("its subject is empty, too long, or not plain text");
        }
        Ok(())
    }
}

impl About {
    pub(super) fn says_email(&self) -> bool {
        self.email().is_some()
    }

    /// The address in lower case, if it has the form of one.
    pub(super) fn email(&self) -> Option<String> {
        checked_email(self.email.as_ref()?.as_str()?).ok()
    }

    /// Whether the provider says that the address was verified. Some write it as text.
    pub(super) fn is_email_verified(&self, issuer: &str) -> bool {
        let is = |value: &Option<Value>| {
            value.as_ref().is_some_and(|value| *value == Value::Bool(true) || value.as_str() == Some("true"))
        };
        // The claim is Microsoft's own: at others it may be anybody's.
        let is_entra = ["https://login.microsoftonline.com/", "https://login.microsoftonline.us/"]
            .iter()
            .any(|host| issuer.starts_with(host));
        let by_entra = is(&self.xms_edov) || self.xms_edov.as_ref().is_some_and(|value| *value == 1 || *value == "1");
        is(&self.email_verified) || (is_entra && self.email_verified.is_none() && by_entra)
    }

    /// What to call the person.
    pub(super) fn name(&self) -> Option<&str> {
        self.name.as_ref()?.as_str()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const NOW: i64 = 1_780_000_000;

    fn claims(change: impl FnOnce(&mut Value)) -> Result<(), &'static str> {
        let mut claims = json!({
            "iss": "https://id.example.com", "sub": "s1", "aud": "tieline", "exp": NOW + 300, "iat": NOW, "nonce": "n",
        });
        change(&mut claims);
        let claims: Claims = serde_json::from_value(claims).map_err(|_| "unreadable")?;
        let now = Timestamp::from_second(NOW).unwrap();
        claims.check(&Expected { issuer: "https://id.example.com", client_id: "tieline", nonce: "n", now })
    }

    #[test]
    fn a_token_for_this_sign_in_is_taken() {
        claims(|_| {}).unwrap();
        claims(|c| c["aud"] = json!(["tieline"])).unwrap();
        claims(|c| (c["aud"], c["azp"]) = (json!(["tieline", "api"]), json!("tieline"))).unwrap();
        claims(|c| c["exp"] = json!(NOW - 119)).unwrap();
        claims(|c| c["iat"] = json!(NOW as f64 + 119.5)).unwrap();
        claims(|c| (c["name"], c["email"]) = (json!(7), json!(["x"]))).unwrap();
    }

    #[test]
    fn any_other_is_refused() {
        for (key, value, said) in [
            ("iss", json!("https://id.example.com/"), "issuer"),
            ("aud", json!("another"), "another application"),
            ("aud", json!([]), "another application"),
            ("aud", json!(["tieline", "api"]), "several"),
            ("azp", json!("another"), "given to another"),
            ("exp", json!(NOW - 120), "expired"),
            ("iat", json!(NOW + 120), "future"),
            ("nbf", json!(NOW + 120), "future"),
            ("iat", json!(NOW - 720), "long ago"),
            ("nonce", json!("other"), "nonce"),
            ("nonce", Value::Null, "nonce"),
            ("sub", json!(""), "subject"),
            ("sub", json!("a\nb"), "subject"),
            ("sub", json!("x".repeat(256)), "subject"),
            ("exp", json!("never"), "unreadable"),
            ("exp", Value::Null, "unreadable"),
        ] {
            let refused = claims(|claims| claims[key] = value.clone()).expect_err(&format!("{key} {value}"));
            assert!(refused.contains(said), "{key} {value}: {refused}");
        }
    }

    #[test]
    fn an_address_is_verified_by_the_providers_word_alone() {
        let verified =
            |about: Value, issuer: &str| serde_json::from_value::<About>(about).unwrap().is_email_verified(issuer);
        let (plain, entra) = ("https://id.example.com", "https://login.microsoftonline.com/t/v2.0");
        for yes in [json!(true), json!("true")] {
            assert!(verified(json!({"email_verified": yes}), plain));
        }
        for no in [json!(false), json!("false"), json!(1), json!("yes"), Value::Null] {
            assert!(!verified(json!({"email_verified": no}), plain), "{no}");
        }
        assert!(verified(json!({"xms_edov": 1}), entra) && verified(json!({"xms_edov": true}), entra));
        assert!(!verified(json!({"xms_edov": true}), plain), "another provider's claim of that name");
        assert!(!verified(json!({"xms_edov": true, "email_verified": false}), entra));
        assert!(!verified(json!({"xms_edov": 0}), entra) && !verified(json!({}), entra));
    }
}
