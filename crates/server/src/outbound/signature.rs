//! Signatures of webhooks after the Standard Webhooks specification 1.0.0
//! (<https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md>): HMAC-SHA256 over
//! `id.timestamp.body`, scheme `v1`. The asymmetric scheme `v1a` is not offered.

use std::time::Duration;

use aws_lc_rs::{hmac, rand};
use axum::http::HeaderMap;
use base64::Engine as _;
use base64::alphabet::STANDARD as ALPHABET;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD};
use jiff::Timestamp;
use subtle::{Choice, ConstantTimeEq};
use tieline_auth::Secret;
use zeroize::Zeroizing;

/// The header with the message's id, which stays the same over all attempts.
pub const ID: &str = "webhook-id";
/// The header with the time of the attempt, in seconds since 1970.
pub const TIMESTAMP: &str = "webhook-timestamp";
/// The header with the signatures, separated by spaces.
pub const SIGNATURE: &str = "webhook-signature";
/// How far a receiver lets the time of an attempt lie from its own, as the reference libraries do.
pub const TOLERANCE: Duration = Duration::from_secs(5 * 60);

const PREFIX: &str = "whsec_";
/// In bytes: 192 to 512 bits, says the specification.
const LENGTHS: std::ops::RangeInclusive<usize> = 24..=64;
/// Of a new secret, in bytes: the length of what SHA-256 yields.
const NEW_LENGTH: usize = 32;
/// A receiver tries so many signatures of a header; a sender writes one or two.
const MOST_SIGNATURES: usize = 16;

/// Secrets are typed in by people, who lose the `=` at the end.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &ALPHABET,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// What a webhook is signed with. It cannot be printed or read out again.
///
/// ```
/// use tieline_server::outbound::signature::SigningSecret;
/// let (secret, text) = SigningSecret::generate().unwrap();
/// assert_eq!(format!("{secret:?} {text:?}"), "[secret] [secret]");
/// assert!(text.expose().starts_with("whsec_") && SigningSecret::parse(&text).is_ok());
/// ```
#[derive(Clone)]
pub struct SigningSecret(hmac::Key);

impl std::fmt::Debug for SigningSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("[secret]")
    }
}

/// A text that is no signing secret. It does not quote the text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cannot read the signing secret: {0}; hint: `whsec_` and the base64 of 24 to 64 random bytes")]
pub struct BadSecret(String);

impl SigningSecret {
    /// Reads `whsec_` and base64.
    ///
    /// # Errors
    /// [`BadSecret`] says what is wrong with it.
    pub fn parse(text: &Secret) -> Result<Self, BadSecret> {
        let bad = |reason: &str| BadSecret(reason.to_owned());
        let encoded =
            text.expose().trim().strip_prefix(PREFIX).ok_or_else(|| bad("it does not begin with `whsec_`"))?;
        let key = LENIENT.decode(encoded).map(Zeroizing::new).map_err(|_| bad("it is not base64"))?;
        if !LENGTHS.contains(&key.len()) {
            return Err(BadSecret(format!("it has {} bytes", key.len())));
        }
        Ok(Self(hmac::Key::new(hmac::HMAC_SHA256, &key)))
    }

    /// A new secret and its text. This is the only time that the text is to be had: it is shown to whoever receives the
    /// webhooks, and sealed for the next start.
    ///
    /// # Errors
    /// [`BadSecret`] when the machine gives no random bytes.
    pub fn generate() -> Result<(Self, Secret), BadSecret> {
        let mut key = Zeroizing::new([0; NEW_LENGTH]);
        rand::fill(&mut *key).map_err(|_| BadSecret("this machine gives no random bytes".to_owned()))?;
        let encoded = Zeroizing::new(STANDARD.encode(*key));
        let text = Secret::new(format!("{PREFIX}{}", &*encoded));
        Ok((Self(hmac::Key::new(hmac::HMAC_SHA256, &*key)), text))
    }

    fn tag(&self, id: &str, timestamp: i64, body: &[u8]) -> hmac::Tag {
        let mut context = hmac::Context::with_key(&self.0);
        context.update(format!("{id}.{timestamp}.").as_bytes());
        context.update(body);
        context.sign()
    }
}

/// The value of the signature header: one signature for each secret, the newest first.
pub fn sign(id: &str, timestamp: i64, body: &[u8], secrets: &[SigningSecret]) -> String {
    let one = |secret: &SigningSecret| format!("v1,{}", STANDARD.encode(secret.tag(id, timestamp, body)));
    secrets.iter().map(one).collect::<Vec<_>>().join(" ")
}

/// An id that can be signed and sent: without a dot, which would let one message be taken for another (specification,
/// "Signature scheme"), and fit for a header.
pub(super) fn is_id(id: &str) -> bool {
    (1..=255).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
}

/// A request that is not what it claims to be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotVerified {
    /// A header is missing, there twice, or not readable.
    #[error("cannot verify the webhook: its header `{0}` is missing, there twice or not readable")]
    Header(&'static str),
    /// It was sent too long ago, or in the future: it may be one that somebody has kept.
    #[error("cannot verify the webhook: it is {seconds} seconds away from now; hint: is this machine's clock right?")]
    Time {
        /// How far.
        seconds: u64,
    },
    /// No signature fits any of the secrets.
    #[error("cannot verify the webhook: none of its signatures fits; hint: the body must be as it came, byte for byte")]
    Signature,
}

/// Checks a request that was received, against every secret that is still good. It returns the id, by which a message
/// that comes twice is told.
///
/// # Errors
/// [`NotVerified`] says what is wrong.
pub fn verify<'h>(
    headers: &'h HeaderMap,
    body: &[u8],
    secrets: &[SigningSecret],
    now: Timestamp,
    tolerance: Duration,
) -> Result<&'h str, NotVerified> {
    let header = |name: &'static str| {
        let mut values = headers.get_all(name).iter();
        let only = values.next().filter(|_| values.next().is_none());
        only.and_then(|value| value.to_str().ok()).ok_or(NotVerified::Header(name))
    };
    let (id, written, signatures) = (header(ID)?, header(TIMESTAMP)?, header(SIGNATURE)?);
    if !is_id(id) {
        return Err(NotVerified::Header(ID));
    }
    let digits = !written.is_empty() && written.bytes().all(|byte| byte.is_ascii_digit());
    let timestamp: i64 = written.parse().ok().filter(|_| digits).ok_or(NotVerified::Header(TIMESTAMP))?;
    let seconds = timestamp.abs_diff(now.as_second());
    if seconds > tolerance.as_secs() {
        return Err(NotVerified::Time { seconds });
    }
    let given: Vec<Vec<u8>> = signatures
        .split(' ')
        .filter_map(|signature| STANDARD.decode(signature.strip_prefix("v1,")?).ok())
        .take(MOST_SIGNATURES)
        .collect();
    // Every pair is compared, so that time tells nothing of which one fits.
    let mut fits = Choice::from(0);
    for secret in secrets {
        let expected = secret.tag(id, timestamp, body);
        for signature in &given {
            fits |= expected.as_ref().ct_eq(signature);
        }
    }
    if bool::from(fits) { Ok(id) } else { Err(NotVerified::Signature) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The vector of the specification's reference libraries (`libraries/go/webhook_test.go` and others).
    const VECTOR: [&str; 5] = [
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "1614265330",
        r#"{"test": 2432232314}"#,
        "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    ];

    fn secret(text: &str) -> SigningSecret {
        SigningSecret::parse(&Secret::new(text)).unwrap()
    }

    fn headers(id: &str, timestamp: &str, signature: &str) -> HeaderMap {
        let pairs = [(ID, id), (TIMESTAMP, timestamp), (SIGNATURE, signature)];
        pairs.into_iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    #[test]
    fn the_vector_of_the_reference_libraries() {
        let [key, id, timestamp, body, signature] = VECTOR;
        let secrets = [secret(key)];
        assert_eq!(sign(id, timestamp.parse().unwrap(), body.as_bytes(), &secrets), signature);
        let sent = headers(id, timestamp, signature);
        assert_eq!(verify(&sent, body.as_bytes(), &secrets, at(1_614_265_330), TOLERANCE), Ok(id));
    }

    #[test]
    fn anything_changed_does_not_verify() {
        let [key, id, timestamp, body, signature] = VECTOR;
        let (secrets, now) = ([secret(key)], at(1_614_265_330));
        let check =
            |sent: &HeaderMap, body: &str| verify(sent, body.as_bytes(), &secrets, now, TOLERANCE).map(str::to_owned);
        let right = headers(id, timestamp, signature);
        assert_eq!(check(&right, r#"{"test":2432232314}"#), Err(NotVerified::Signature));
        assert_eq!(check(&headers("msg_q", timestamp, signature), body), Err(NotVerified::Signature));
        assert_eq!(check(&headers(id, "1614265331", signature), body), Err(NotVerified::Signature));
        for wrong in [
            "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OA=",
            "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1A==",
            "v1a,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
            "g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
            "v1,",
            "",
        ] {
            assert_eq!(check(&headers(id, timestamp, wrong), body), Err(NotVerified::Signature), "{wrong}");
        }
        assert_eq!(verify(&right, body.as_bytes(), &[], now, TOLERANCE), Err(NotVerified::Signature));
        for wrong in ["", "+1614265330", "-1", "1614265330.0", " 1", "99999999999999999999"] {
            assert_eq!(check(&headers(id, wrong, signature), body), Err(NotVerified::Header(TIMESTAMP)), "{wrong}");
        }
        assert_eq!(check(&headers("a.1614265330", timestamp, signature), body), Err(NotVerified::Header(ID)));
        let mut twice = right.clone();
        twice.append(ID, "msg_other".parse().unwrap());
        assert_eq!(check(&twice, body), Err(NotVerified::Header(ID)));
        let mut without = right;
        without.remove(SIGNATURE);
        assert_eq!(check(&without, body), Err(NotVerified::Header(SIGNATURE)));
    }

    #[test]
    fn old_and_future_ones_do_not_verify() {
        let [key, id, timestamp, body, signature] = VECTOR;
        let (secrets, sent) = ([secret(key)], headers(id, timestamp, signature));
        for (now, good) in [(-301, false), (-300, true), (300, true), (301, false)] {
            let verified = verify(&sent, body.as_bytes(), &secrets, at(1_614_265_330 + now), TOLERANCE);
            assert_eq!(verified.is_ok(), good, "{now}: {verified:?}");
        }
    }

    #[test]
    fn while_secrets_are_exchanged_either_verifies() {
        let (old, _) = SigningSecret::generate().unwrap();
        let (new, text) = SigningSecret::generate().unwrap();
        let (other, _) = SigningSecret::generate().unwrap();
        let signature = sign("m", 5, b"{}", &[new, old.clone()]);
        assert_eq!(signature.split(' ').count(), 2);
        let sent = headers("m", "5", &format!("v1a,AAAA v2,x {signature}"));
        for known in [secret(text.expose()), old] {
            assert_eq!(verify(&sent, b"{}", &[other.clone(), known], at(5), TOLERANCE), Ok("m"));
        }
        assert_eq!(verify(&sent, b"{}", &[other], at(5), TOLERANCE), Err(NotVerified::Signature));
    }

    #[test]
    fn secrets_of_a_wrong_kind_are_told_and_not_quoted() {
        let of = |length: usize| format!("whsec_{}", STANDARD.encode(vec![7; length]));
        for good in [of(24), of(32), of(64), of(25).trim_end_matches('=').to_owned(), format!(" {}\n", of(24))] {
            secret(&good);
        }
        for (text, reason) in [
            (of(23), "23 bytes"),
            (of(65), "65 bytes"),
            ("whsec_".to_owned(), "0 bytes"),
            ("whsec_plantedhunter2!!".to_owned(), "not base64"),
            ("whsk_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".to_owned(), "whsec_"),
            (String::new(), "whsec_"),
        ] {
            let error = SigningSecret::parse(&Secret::new(text)).unwrap_err().to_string();
            assert!(error.contains(reason) && error.contains("hint") && !error.contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn two_new_secrets_differ() {
        let (one, two) = (SigningSecret::generate().unwrap(), SigningSecret::generate().unwrap());
        assert_ne!(sign("m", 5, b"", &[one.0]), sign("m", 5, b"", &[two.0]));
        assert_eq!(one.1.expose().len(), "whsec_".len() + 44);
    }
}
