//! Who may ask. Decided before anything of the request is used.
//!
//! Everything on this machine can reach loopback, a web page in a browser included: by a form or a script of its own,
//! or under a name that has been made to point at loopback. None of them knows the secret; the other checks keep them
//! from ever trying one. They are those of AWS's own agent for secrets, and some more.

use crate::digest::Digest;
use hyper::header::{FORWARDED, HOST, HeaderMap, ORIGIN, REFERER};
use hyper::{Method, Uri};
use tieline_auth::host::is_loopback;
use url::Url;

use super::refusal::Refusal;

/// The header that carries the secret, and the one that clients of AWS's extension send.
pub(crate) const SECRET_HEADERS: [&str; 2] = ["x-tieline-token", "x-aws-parameters-secrets-token"];

/// What the guard lets through.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Passed {
    /// Anybody may ask whether somebody is there.
    Ping,
    /// It knows the secret.
    Trusted,
}

/// The secret that callers must send, as its digest: the text itself is not needed to compare.
#[derive(Clone)]
pub(crate) struct Guard(Digest);

impl Guard {
    pub(crate) fn new(secret: &str) -> Self {
        Self(Digest::of(secret.as_bytes()))
    }

    pub(crate) fn check(&self, method: &Method, uri: &Uri, headers: &HeaderMap) -> Result<Passed, Refusal> {
        let hosts: Vec<_> = headers.get_all(HOST).iter().collect();
        let [host] = hosts.as_slice() else {
            return Err(Refusal::foreign_host("it must name one host"));
        };
        // A request line may name a host too, and that one would win.
        let in_line = uri.authority().is_none_or(|authority| is_local(authority.as_str()));
        if !in_line || !host.to_str().is_ok_and(is_local) {
            return Err(Refusal::foreign_host("it names another host"));
        }
        if headers.contains_key("x-forwarded-for") || headers.contains_key(FORWARDED) {
            return Err(Refusal::forwarded());
        }
        if headers.contains_key(ORIGIN) || headers.contains_key(REFERER) {
            return Err(Refusal::from_a_browser());
        }
        if method != Method::GET {
            return Err(Refusal::method());
        }
        if uri.path() == "/ping" {
            return Ok(Passed::Ping);
        }
        let secrets: Vec<_> = SECRET_HEADERS.into_iter().flat_map(|name| headers.get_all(name)).collect();
        match secrets.as_slice() {
            [given] if Digest::of(given.as_bytes()).is(&self.0) => Ok(Passed::Trusted),
            _ => Err(Refusal::forbidden()),
        }
    }
}

fn is_local(host: &str) -> bool {
    // A user name or a path would make a host of something that is none.
    !host.contains(['@', '/', '\\', '?', '#'])
        && Url::parse(&format!("http://{host}")).is_ok_and(|url| is_loopback(&url))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "0123456789abcdef";

    fn asked(method: Method, uri: &str, pairs: &[(&'static str, &str)]) -> Result<Passed, &'static str> {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, value.parse().unwrap());
        }
        Guard::new(SECRET).check(&method, &uri.parse().unwrap(), &headers).map_err(|refusal| refusal.code)
    }

    #[test]
    fn only_who_knows_the_secret_and_comes_straight_from_here_passes() {
        let here = ("host", "localhost:2774");
        let secret = ("x-tieline-token", SECRET);
        let get = |pairs: &[(&'static str, &str)]| asked(Method::GET, "/v1/token", pairs);
        assert_eq!(get(&[here, secret]), Ok(Passed::Trusted));
        assert_eq!(get(&[("host", "[::1]:2774"), secret]), Ok(Passed::Trusted));
        assert_eq!(get(&[("host", "127.0.0.1"), ("x-aws-parameters-secrets-token", SECRET)]), Ok(Passed::Trusted));
        for (pairs, code) in [
            (&[secret][..], "foreign_host"),
            (&[here, here, secret], "foreign_host"),
            (&[("host", "evil.example"), secret], "foreign_host"),
            (&[("host", "localhost.evil.example"), secret], "foreign_host"),
            (&[("host", "evil.example@localhost"), secret], "foreign_host"),
            (&[("host", "192.0.2.1:2774"), secret], "foreign_host"),
            (&[("host", "0.0.0.0:2774"), secret], "foreign_host"),
            (&[("host", ""), secret], "foreign_host"),
            (&[here, secret, ("x-forwarded-for", "192.0.2.1")], "forwarded"),
            (&[here, secret, ("forwarded", "for=192.0.2.1")], "forwarded"),
            (&[here, secret, ("origin", "http://localhost:2774")], "from_a_browser"),
            (&[here, secret, ("referer", "http://localhost:2774/")], "from_a_browser"),
            (&[here], "forbidden"),
            (&[here, ("x-tieline-token", "")], "forbidden"),
            (&[here, ("x-tieline-token", "0123456789abcdeX")], "forbidden"),
            (&[here, ("x-tieline-token", "0123456789abcde")], "forbidden"),
            (&[here, secret, secret], "forbidden"),
            (&[here, secret, ("x-aws-parameters-secrets-token", SECRET)], "forbidden"),
        ] {
            assert_eq!(get(pairs), Err(code), "{pairs:?}");
        }
        assert_eq!(asked(Method::GET, "http://evil.example/v1/token", &[here, secret]), Err("foreign_host"));
        for method in [Method::POST, Method::PUT, Method::HEAD, Method::OPTIONS, Method::DELETE] {
            assert_eq!(asked(method, "/v1/token", &[here, secret]), Err("method_not_allowed"));
        }
        assert_eq!(asked(Method::GET, "/ping", &[here]), Ok(Passed::Ping));
        // A page must not even learn that somebody is there.
        assert_eq!(asked(Method::GET, "/ping", &[("host", "evil.example")]), Err("foreign_host"));
        assert_eq!(asked(Method::GET, "/ping", &[here, ("origin", "https://evil.example")]), Err("from_a_browser"));
    }
}
