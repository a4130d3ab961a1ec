//! The three cookies: the session, and the login at an org or at a provider that waits for its browser.

use axum::http::{HeaderMap, HeaderValue, header};
use tieline_auth::Secret;

/// How cookies are named and marked: over HTTPS with the prefix that binds them to this host and to HTTPS; on loopback
/// over HTTP, where a browser would refuse that, under a plain name.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cookies {
    is_https: bool,
}

const SESSION: &str = "tieline_session";
const LOGIN: &str = "tieline_login";
const SIGN_IN: &str = "tieline_sign_in";

impl Cookies {
    pub(crate) fn new(is_https: bool) -> Self {
        Self { is_https }
    }

    fn name(self, plain: &str) -> String {
        if self.is_https { format!("__Host-{plain}") } else { plain.to_owned() }
    }

    fn read(self, headers: &HeaderMap, plain: &str) -> Option<String> {
        let name = self.name(plain);
        let all = headers.get_all(header::COOKIE).into_iter().filter_map(|value| value.to_str().ok());
        all.flat_map(|value| value.split(';'))
            .filter_map(|pair| pair.trim().split_once('='))
            .find(|(key, _)| *key == name)
            .map(|(_, value)| value.to_owned())
    }

    fn write(self, plain: &str, value: &str, seconds: i64) -> HeaderValue {
        let secure = if self.is_https { "; Secure" } else { "" };
        let text = format!("{}={value}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Lax{secure}", self.name(plain));
        // What is written is base64 and digits.
        let mut header = HeaderValue::from_str(&text).unwrap_or_else(|_| HeaderValue::from_static(""));
        header.set_sensitive(true);
        header
    }

    /// The session's token that a browser sends.
    pub(crate) fn session(self, headers: &HeaderMap) -> Option<String> {
        self.read(headers, SESSION)
    }

    /// Gives a browser its session.
    pub(crate) fn set_session(self, token: &Secret, seconds: i64) -> HeaderValue {
        self.write(SESSION, token.expose(), seconds)
    }

    /// Takes it away.
    pub(crate) fn end_session(self) -> HeaderValue {
        self.write(SESSION, "", 0)
    }

    /// What binds a login to its browser.
    pub(crate) fn login(self, headers: &HeaderMap) -> Option<String> {
        self.read(headers, LOGIN)
    }

    /// Gives a browser that.
    pub(crate) fn set_login(self, token: &Secret, seconds: i64) -> HeaderValue {
        self.write(LOGIN, token.expose(), seconds)
    }

    /// What binds a sign-in at a provider to its browser.
    pub(crate) fn sign_in(self, headers: &HeaderMap) -> Option<String> {
        self.read(headers, SIGN_IN)
    }

    /// Gives a browser that.
    pub(crate) fn set_sign_in(self, token: &Secret, seconds: i64) -> HeaderValue {
        self.write(SIGN_IN, token.expose(), seconds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn over_https_cookies_are_bound_to_the_host() {
        let (https, http) = (Cookies::new(true), Cookies::new(false));
        let set = https.set_session(&Secret::new("t"), 60);
        assert_eq!(set, "__Host-tieline_session=t; Path=/; Max-Age=60; HttpOnly; SameSite=Lax; Secure");
        assert!(set.is_sensitive());
        assert_eq!(http.end_session(), "tieline_session=; Path=/; Max-Age=0; HttpOnly; SameSite=Lax");
        let mut headers = HeaderMap::new();
        headers.append(header::COOKIE, HeaderValue::from_static("a=b; tieline_session=plain"));
        headers.append(header::COOKIE, HeaderValue::from_static("__Host-tieline_session=bound; c=d"));
        assert_eq!(https.session(&headers).as_deref(), Some("bound"));
        assert_eq!(http.session(&headers).as_deref(), Some("plain"));
        assert_eq!(http.login(&headers), None);
    }
}
