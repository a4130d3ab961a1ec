//! What is asked: `GET /v1/token?connection=NAME&min_ttl=SECONDS&seen=DIGEST`.

use std::time::Duration;

use crate::digest::Digest;

use super::refusal::Refusal;

/// The connection that is meant where none is named.
pub const DEFAULT_CONNECTION: &str = "default";
/// No session of Salesforce's lasts longer than a day.
const LONGEST: u64 = 24 * 60 * 60;

/// A request for a token, read.
#[derive(Debug)]
pub(crate) struct TokenRequest {
    pub(crate) connection: String,
    /// How much longer it will be used.
    pub(crate) min_ttl: Duration,
    /// Of the token that the org has refused to the caller.
    pub(crate) seen: Option<Digest>,
}

impl TokenRequest {
    /// For any token of the connection.
    pub(crate) fn plain(connection: &str) -> Self {
        Self { connection: connection.to_owned(), min_ttl: Duration::ZERO, seen: None }
    }

    /// Reads a query string. What is not understood is refused: a `min_ttl` with a typing error that is passed over
    /// would be noticed in production only.
    pub(crate) fn read(query: &str) -> Result<Self, Refusal> {
        let (mut connection, mut min_ttl, mut seen, mut refresh) = (None, None, None, None);
        for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
            let slot = match &*name {
                "connection" => &mut connection,
                "min_ttl" => &mut min_ttl,
                "seen" => &mut seen,
                "refresh" => &mut refresh,
                _ => {
                    return Err(Refusal::parameter(format!("`{name}` is no parameter"))
                        .hint("the parameters are connection, min_ttl, seen and refresh"));
                }
            };
            if slot.replace(value.into_owned()).is_some() {
                return Err(Refusal::parameter(format!("`{name}` is given twice")).hint("give it once"));
            }
        }
        let min_ttl = match min_ttl {
            None => Duration::ZERO,
            Some(text) => {
                text.parse().ok().filter(|seconds| *seconds <= LONGEST).map(Duration::from_secs).ok_or_else(|| {
                    Refusal::parameter(format!("min_ttl is `{text}`"))
                        .hint(format!("give a whole number of seconds from 0 to {LONGEST}"))
                })?
            }
        };
        let seen = seen
            .map(|text| {
                Digest::from_hex(&text).ok_or_else(|| {
                    Refusal::parameter("seen is no digest".to_owned())
                        .hint("give the SHA-256 of the token that was refused, as 64 hexadecimal digits")
                })
            })
            .transpose()?;
        match refresh.as_deref() {
            None | Some("0") => {}
            Some("1") if seen.is_some() => {}
            Some("1") => {
                return Err(Refusal::parameter("refresh=1 does not say which token was refused".to_owned())
                    .hint("add seen=SHA-256 of that token: however many callers say so, one new token is fetched"));
            }
            Some(other) => {
                return Err(Refusal::parameter(format!("refresh is `{other}`")).hint("give 1, or leave it out"));
            }
        }
        let connection = connection.unwrap_or_else(|| DEFAULT_CONNECTION.to_owned());
        Ok(Self { connection, min_ttl, seen })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_read_as_a_whole_or_refused() {
        let digest = "0a".repeat(32);
        let read = TokenRequest::read(&format!("refresh=1&connection=a%20b&min_ttl=60&seen={digest}")).unwrap();
        assert_eq!((&*read.connection, read.min_ttl.as_secs()), ("a b", 60));
        assert!(read.seen.is_some());
        let read = TokenRequest::read("").unwrap();
        assert_eq!((&*read.connection, read.min_ttl.as_secs()), ("default", 0));
        for query in [
            "min_tll=60",
            "min_ttl=-1",
            "min_ttl=86401",
            "min_ttl=1e3",
            "min_ttl=",
            "min_ttl=1&min_ttl=2",
            "connection=a&connection=a",
            "seen=abc",
            &format!("seen={}", "zz".repeat(32)),
            "refresh=1",
            "refresh=yes",
        ] {
            let refusal = TokenRequest::read(query).expect_err(query);
            assert_eq!((refusal.status, refusal.code), (400, "bad_parameter"), "{query}");
            assert!(!refusal.hint.is_empty());
        }
    }
}
