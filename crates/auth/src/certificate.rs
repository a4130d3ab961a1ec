//! The certificate that an app has been given: whose key it holds, and how long it is good for.
//!
//! Salesforce takes an assertion by the key alone; whether it still does so when the certificate has run out, its sources
//! disagree. So a certificate that is about to end is worth a warning in any case.

use jiff::{SignedDuration, Timestamp};
use x509_parser::prelude::{FromDer, X509Certificate};
use x509_parser::public_key::PublicKey;

use crate::error::ConfigError;
use crate::grant::jwt_bearer::PrivateKey;

/// First and second warning before the end, in days.
pub const WARN_DAYS: (i64, i64) = (30, 7);

/// An X.509 certificate over an RSA key, as far as an app's login depends on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// When it begins to be good.
    pub not_before: Timestamp,
    /// When it ends.
    pub not_after: Timestamp,
    /// Bits of its key.
    pub bits: usize,
    /// SHA-256 of the certificate, in hexadecimal with colons, as Setup shows it.
    pub fingerprint: String,
    public_key: Vec<u8>,
}

/// How near a certificate's end is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expiry {
    /// More than 30 days.
    Far {
        /// Whole days left.
        days: i64,
    },
    /// 30 days or less.
    Soon {
        /// Whole days left.
        days: i64,
    },
    /// Seven days or less.
    Now {
        /// Whole days left.
        days: i64,
    },
    /// It is over.
    Expired {
        /// Whole days since.
        days: i64,
    },
}

impl Certificate {
    /// Reads a PEM file that begins with the certificate.
    ///
    /// # Errors
    /// [`ConfigError`] says what it is instead.
    pub fn from_pem(pem: &str) -> Result<Self, ConfigError> {
        let bad = |reason: &str| {
            ConfigError::new(
                format!("the certificate cannot be used: {reason}"),
                "give the X.509 certificate that the app has, in PEM (it begins with `-----BEGIN CERTIFICATE-----`)",
            )
        };
        if pem.contains("PRIVATE KEY") && !pem.contains("BEGIN CERTIFICATE") {
            return Err(bad("this is the private key"));
        }
        let der = x509_parser::pem::parse_x509_pem(pem.as_bytes()).map_err(|_| bad("it is not PEM"))?.1;
        let (_, certificate) = X509Certificate::from_der(&der.contents).map_err(|_| bad("it is not X.509"))?;
        let key = certificate.public_key();
        let bits = match key.parsed() {
            Ok(PublicKey::RSA(rsa)) => rsa.key_size(),
            _ => return Err(bad("its key is not RSA, and Salesforce takes RSA only")),
        };
        let at = |seconds: i64| Timestamp::from_second(seconds).map_err(|_| bad("its dates cannot be read"));
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &der.contents);
        Ok(Self {
            not_before: at(certificate.validity().not_before.timestamp())?,
            not_after: at(certificate.validity().not_after.timestamp())?,
            bits,
            fingerprint: digest.as_ref().iter().map(|b| format!("{b:02X}")).collect::<Vec<_>>().join(":"),
            public_key: key.subject_public_key.data.to_vec(),
        })
    }

    /// True if it was made for this key. A key whose public half is not known belongs to none.
    pub fn belongs_to(&self, key: &PrivateKey) -> bool {
        key.public_key().is_some_and(|public| public == self.public_key)
    }

    /// How near the end is at this moment. What a service warns by.
    ///
    /// ```
    /// use tieline_auth::certificate::{Certificate, Expiry};
    /// # fn example(certificate: Certificate, now: jiff::Timestamp) {
    /// if let Expiry::Soon { days } | Expiry::Now { days } = certificate.expiry(now) {
    ///     println!("the certificate ends in {days} days: tieline setup rotate-certificate");
    /// }
    /// # }
    /// ```
    pub fn expiry(&self, now: Timestamp) -> Expiry {
        let left = self.not_after.duration_since(now);
        let days = left.abs().as_hours() / 24;
        match left {
            left if left <= SignedDuration::ZERO => Expiry::Expired { days },
            _ if days < WARN_DAYS.1 || left == SignedDuration::from_hours(24 * WARN_DAYS.1) => Expiry::Now { days },
            _ if days < WARN_DAYS.0 || left == SignedDuration::from_hours(24 * WARN_DAYS.0) => Expiry::Soon { days },
            _ => Expiry::Far { days },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warnings_come_thirty_and_seven_days_ahead() {
        let end: Timestamp = "2027-06-30T12:00:00Z".parse().unwrap();
        let certificate = Certificate {
            not_before: end,
            not_after: end,
            bits: 2_048,
            fingerprint: String::new(),
            public_key: vec![],
        };
        let before = |hours: i64| certificate.expiry(end - SignedDuration::from_hours(hours));
        for (hours, expected) in [
            (31 * 24, Expiry::Far { days: 31 }),
            (30 * 24 + 1, Expiry::Far { days: 30 }),
            (30 * 24, Expiry::Soon { days: 30 }),
            (7 * 24 + 1, Expiry::Soon { days: 7 }),
            (7 * 24, Expiry::Now { days: 7 }),
            (1, Expiry::Now { days: 0 }),
            (0, Expiry::Expired { days: 0 }),
            (-49, Expiry::Expired { days: 2 }),
        ] {
            assert_eq!(before(hours), expected, "{hours} hours before the end");
        }
    }

    #[test]
    fn what_is_no_certificate_is_named() {
        for (pem, said) in [
            ("hello", "not PEM"),
            ("-----BEGIN PRIVATE KEY-----\nAA==\n-----END PRIVATE KEY-----", "this is the private key"),
            ("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----", "not X.509"),
        ] {
            let error = Certificate::from_pem(pem).unwrap_err();
            assert!(error.to_string().contains(said) && error.hint().contains("X.509"), "{pem}: {error}");
        }
    }
}
