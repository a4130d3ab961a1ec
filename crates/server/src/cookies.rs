//! The cookies: the session; the login at an org or at a provider that waits for its browser; and what the browser's reader
//! has chosen, their business and whether pages are light or dark.

use axum::http::{HeaderMap, HeaderValue, header};
use tieline_auth::Secret;
use tieline_store::Uuid;

/// How cookies are named and marked: over HTTPS with the prefix that binds them to this host and to HTTPS; on loopback
/// over HTTP, where a browser would refuse that, under a plain name.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cookies {
    is_https: bool,
}

const SESSION: &str = "tieline_session";
const LOGIN: &str = "tieline_login";
const SIGN_IN: &str = "tieline_sign_in";
const BUSINESS: &str = "tieline_business";
const THEME: &str = "tieline_theme";

/// How long a choice is kept, in seconds: a year.
const CHOSEN_FOR: i64 = 365 * 24 * 60 * 60;

/// Whether pages are light or dark.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Theme {
    /// As the system has it.
    #[default]
    System,
    Light,
    Dark,
}

impl Theme {
    /// As the page's root has it; none for the system's.
    pub(crate) fn name(self) -> Option<&'static str> {
        match self {
            Theme::System => None,
            Theme::Light => Some("light"),
            Theme::Dark => Some("dark"),
        }
    }

    pub(crate) fn from_name(name: &str) -> Self {
        [Theme::Light, Theme::Dark].into_iter().find(|theme| theme.name() == Some(name)).unwrap_or_default()
    }

    /// What the button chooses.
    pub(crate) fn other(self) -> &'static str {
        match self {
            Theme::System => "light",
            Theme::Light => "dark",
            Theme::Dark => "system",
        }
    }

    /// What stands on it.
    pub(crate) fn offer(self) -> &'static str {
        match self {
            Theme::System => "Colours: as the system",
            Theme::Light => "Colours: light",
            Theme::Dark => "Colours: dark",
        }
    }
}

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

    /// The business that its reader has chosen, by id.
    pub(crate) fn business(self, headers: &HeaderMap) -> Option<Uuid> {
        Uuid::parse_str(&self.read(headers, BUSINESS)?).ok()
    }

    /// Keeps that.
    pub(crate) fn set_business(self, business: Uuid) -> HeaderValue {
        self.write(BUSINESS, &business.to_string(), CHOSEN_FOR)
    }

    /// Whether its reader wants pages light or dark.
    pub(crate) fn theme(self, headers: &HeaderMap) -> Theme {
        self.read(headers, THEME).map(|name| Theme::from_name(&name)).unwrap_or_default()
    }

    /// Keeps that.
    pub(crate) fn set_theme(self, theme: Theme) -> HeaderValue {
        self.write(THEME, theme.name().unwrap_or_default(), if theme == Theme::System { 0 } else { CHOSEN_FOR })
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
