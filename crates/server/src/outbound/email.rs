//! Alerts as mail, over SMTP (RFC 5321) through a relay that the operator names.
//!
//! The relay is the operator's, so the guard of [`super::address`] does not apply to it; recipients are a tenant's, and
//! have to be plain addresses.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use lettre::message::Mailbox;
use lettre::message::header::{ContentType, Header, HeaderName, HeaderValue};
use lettre::transport::smtp::AsyncSmtpTransportBuilder;
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Tls, TlsParameters};
use lettre::transport::smtp::extension::ClientId;
use lettre::{Address, AsyncSmtpTransport, AsyncTransport, Message, Tokio1Executor};
use tieline_auth::{Clock, Secret};
use url::{Host, Url};

use super::address::Policy;
use super::{Outcome, quoted};

/// Until a connection has come about.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// One mail from the first byte to the last. RFC 5321 (4.5.3.2) lets a relay take minutes for each command, and a relay
/// that is used so long for a short mail is not going to take it.
const WHOLE_TIMEOUT: Duration = Duration::from_secs(60);
/// Of a subject, in characters; longer ones are cut.
const SUBJECT: usize = 200;
/// Of an address, in bytes (RFC 5321, 4.5.3.1: a path of 256 with its brackets, a local part of 64).
const LONGEST_ADDRESS: (usize, usize) = (254, 64);

/// What cannot be mailed with, or to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cannot use {what}: {reason}; hint: {hint}")]
pub struct BadMail {
    what: String,
    reason: String,
    hint: &'static str,
}

impl BadMail {
    fn new(what: impl Into<String>, reason: impl Into<String>, hint: &'static str) -> Self {
        Self { what: what.into(), reason: reason.into(), hint }
    }
}

const RELAY_HINT: &str = "`smtps://user:password@host:465` or `smtp://user:password@host:587?tls=required`";
const RECIPIENT_HINT: &str = "a plain address: `name@example.com`";

/// One mail.
#[derive(Debug, Clone, Copy)]
pub struct Mail<'a> {
    /// Names the mail, the same over all attempts, so that one that came twice is seen once: letters, digits, `-`, `_`.
    pub id: &'a str,
    /// One recipient.
    pub to: &'a str,
    /// A line.
    pub subject: &'a str,
    /// Plain text.
    pub text: &'a str,
}

/// Sends mail. It has a connection for each: alerts are rare.
pub struct Mailer {
    relay: AsyncSmtpTransportBuilder,
    host: String,
    login: Option<(String, Secret)>,
    from: Mailbox,
    clock: Arc<dyn Clock>,
    whole: Duration,
}

impl std::fmt::Debug for Mailer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Mailer").field("host", &self.host).field("from", &self.from.to_string()).finish_non_exhaustive()
    }
}

impl Mailer {
    /// A mailer through the relay of this URL, from this address (`Name <name@example.com>` or the address alone).
    ///
    /// `smtps://` is TLS from the first byte (port 465 where none is given), `smtp://` is STARTTLS (587), without which
    /// nothing is sent. Plain SMTP is for loopback, and with `?tls=none` for a host that the policy allows. User name and
    /// password are percent-encoded. The URL's path is the name that the relay is greeted with (`smtp://host/my.name`).
    ///
    /// # Errors
    /// [`BadMail`] says what is wrong; it never quotes the password.
    pub fn from_url(url: &Secret, from: &str, policy: &Policy, clock: Arc<dyn Clock>) -> Result<Self, BadMail> {
        let bad = |reason: String| BadMail::new("the mail relay's URL", reason, RELAY_HINT);
        let url = Url::parse(url.expose()).map_err(|error| bad(format!("it cannot be read: {error}")))?;
        let host = url.host_str().filter(|host| !host.is_empty()).ok_or_else(|| bad("it has no host".to_owned()))?;
        let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
        let port = |usual| url.port().unwrap_or(usual);
        let relay = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(bare).timeout(Some(CONNECT_TIMEOUT));
        let parameters =
            || TlsParameters::new(bare.to_owned()).map_err(|error| bad(format!("{host} has no use for TLS: {error}")));
        let mut relay = match (url.scheme(), tls(&url).map_err(bad)?.as_deref()) {
            ("smtps", None | Some("required")) => relay.port(port(465)).tls(Tls::Wrapper(parameters()?)),
            ("smtp", Some("required")) => relay.port(port(587)).tls(Tls::Required(parameters()?)),
            ("smtp", None | Some("none")) if is_loopback(bare) => relay.port(port(25)),
            ("smtp", None) => relay.port(port(587)).tls(Tls::Required(parameters()?)),
            ("smtp", Some("none")) if policy.allows_host(bare) => relay.port(port(25)),
            ("smtp", Some("none")) => {
                return Err(bad(format!("plain SMTP to {host}, which is not loopback and not allowed")));
            }
            ("smtp" | "smtps", Some(other)) => {
                return Err(bad(format!("`tls={}` is not known; it is `required` or `none`", quoted(other))));
            }
            (scheme, _) => return Err(bad(format!("`{}` is no scheme of mail", quoted(scheme)))),
        };
        if let Some(name) = url.path().strip_prefix('/').filter(|name| !name.is_empty()) {
            let plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.'));
            if !plain {
                return Err(bad(format!("`{}` is no name to greet with", quoted(name))));
            }
            relay = relay.hello_name(ClientId::Domain(name.to_owned()));
        }
        let login = match (url.username(), url.password()) {
            ("", None) => None,
            (user, Some(password)) if !user.is_empty() => Some((decoded(user), Secret::new(decoded(password)))),
            _ => return Err(bad("it has a user name without a password, or the reverse".to_owned())),
        };
        Ok(Self { relay, host: host.to_owned(), login, from: sender(from)?, clock, whole: WHOLE_TIMEOUT })
    }

    /// The same with another time for each mail.
    #[must_use]
    pub fn within(self, whole: Duration) -> Self {
        Self { whole, ..self }
    }

    /// One attempt at one mail. A reply of 4yz and a connection that fails may do better later; a reply of 5yz and an
    /// address that is none do not.
    pub async fn send(&self, mail: &Mail<'_>) -> Outcome {
        let message = match self.message(mail) {
            Ok(message) => message,
            Err(error) => return Outcome::Failed { reason: error.to_string() },
        };
        let mut relay = self.relay.clone();
        if let Some((user, password)) = &self.login {
            relay = relay.credentials(Credentials::new(user.clone(), password.expose().to_owned()));
        }
        let relay = relay.build::<Tokio1Executor>();
        let sent = tokio::time::timeout(self.whole, relay.send(message)).await;
        let said =
            |error: &lettre::transport::smtp::Error| format!("{} said: {}", self.host, quoted(&error.to_string()));
        match sent {
            Ok(Ok(reply)) => Outcome::Delivered { status: reply.code().into() },
            // "Client" is what this side cannot do with what the relay offers: no STARTTLS, no way to log in.
            Ok(Err(error)) if error.is_permanent() || error.is_client() => Outcome::Failed { reason: said(&error) },
            Ok(Err(error)) if error.is_transient() => Outcome::Retry { after: None, reason: said(&error) },
            Ok(Err(error)) => Outcome::Retry {
                after: None,
                reason: format!("no mail to {}: {}", self.host, quoted(&error.to_string())),
            },
            Err(_) => {
                let reason = format!("no mail to {}: it took longer than {} s", self.host, self.whole.as_secs());
                Outcome::Retry { after: None, reason }
            }
        }
    }

    fn message(&self, mail: &Mail<'_>) -> Result<Message, BadMail> {
        if !super::signature::is_id(mail.id) {
            return Err(BadMail::new("the mail's id", "it is not made of letters, digits, `-` and `_`", "a UUID"));
        }
        let to = recipient(mail.to)?;
        let message = Message::builder()
            .from(self.from.clone())
            .to(Mailbox::new(None, to))
            .subject(subject(mail.subject))
            .message_id(Some(format!("<{}@{}>", mail.id, self.from.email.domain())))
            .date(self.clock.now().into())
            .header(AutoSubmitted)
            .header(ContentType::TEXT_PLAIN)
            .body(mail.text.to_owned());
        message.map_err(|error| BadMail::new("the mail", error.to_string(), "a subject and a text"))
    }
}

/// The value of `tls=`. Another parameter is one that is misspelt, and would be missed.
fn tls(url: &Url) -> Result<Option<String>, String> {
    let mut tls = None;
    for (name, value) in url.query_pairs() {
        if name != "tls" || tls.is_some() {
            return Err(format!("its parameter `{}` is not known or there twice", quoted(&name)));
        }
        tls = Some(value.into_owned());
    }
    Ok(tls)
}

/// Of a URL of a scheme that the parser does not know, it leaves addresses as they are written.
fn is_loopback(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost") || host.parse().is_ok_and(|ip: IpAddr| ip.is_loopback())
}

/// Without its percent-encoding.
fn decoded(text: &str) -> String {
    // A form reads `+` as a space, and a URL does not.
    let form = format!("x={}", text.replace('+', "%2B").replace('&', "%26"));
    url::form_urlencoded::parse(form.as_bytes()).next().map(|(_, value)| value.into_owned()).unwrap_or_default()
}

/// A line: what is a line break, or another control character, is a space.
fn subject(text: &str) -> String {
    let line: String =
        text.chars().map(|c| if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}') { ' ' } else { c }).collect();
    let words = line.split_whitespace().collect::<Vec<_>>().join(" ");
    match words.char_indices().nth(SUBJECT) {
        Some((end, _)) => format!("{}…", &words[..end]),
        None => words,
    }
}

/// The operator's own address; it may have a name before it, and the domain `localhost`.
fn sender(text: &str) -> Result<Mailbox, BadMail> {
    let bad = |reason: &str| BadMail::new(format!("`{}` as sender", quoted(text)), reason, "`Name <name@example.com>`");
    if text.chars().any(char::is_control) {
        return Err(bad("it has control characters in it"));
    }
    text.parse().map_err(|_| bad("it is no address"))
}

/// A plain address, its domain in ASCII.
///
/// # Errors
/// [`BadMail`] for anything else: several addresses, a name before it, quotes, routes (`a%b@c`, `a!b@c`), an IP address
/// or a name without a dot as domain.
pub fn recipient(text: &str) -> Result<Address, BadMail> {
    let bad = |reason: &str| BadMail::new(format!("`{}` as recipient", quoted(text)), reason, RECIPIENT_HINT);
    let text = text.trim_matches([' ', '\t', '\r', '\n']);
    let (user, domain) = text.rsplit_once('@').ok_or_else(|| bad("it has no @"))?;
    // "atext" of RFC 5322 without what relays of old take for a route.
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"#$&'*+-/=?^_`{|}~.".contains(&byte);
    if user.is_empty() || !user.bytes().all(plain) || user.starts_with('-') {
        return Err(bad("what stands before the @ is not plain"));
    }
    let domain = match Host::parse(domain) {
        Ok(Host::Domain(domain)) if domain.contains('.') && !domain.ends_with('.') => domain,
        _ => return Err(bad("what stands behind the @ is no domain")),
    };
    if user.len() > LONGEST_ADDRESS.1 || user.len() + 1 + domain.len() > LONGEST_ADDRESS.0 {
        return Err(bad("it is too long"));
    }
    Address::new(user, domain).map_err(|_| bad("it is no address"))
}

/// Keeps out-of-office replies and mailing lists from answering (RFC 3834, 5).
#[derive(Debug, Clone)]
struct AutoSubmitted;

impl Header for AutoSubmitted {
    fn name() -> HeaderName {
        HeaderName::new_from_ascii_str("Auto-Submitted")
    }

    fn parse(_: &str) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        Ok(Self)
    }

    fn display(&self) -> HeaderValue {
        HeaderValue::new(Self::name(), "auto-generated".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tieline_auth::ManualClock;

    fn mailer(url: &str, allow: &[&str]) -> Result<Mailer, BadMail> {
        let policy = Policy { allow: allow.iter().map(|text| text.parse().unwrap()).collect() };
        let clock = Arc::new(ManualClock::at("2026-06-01T12:00:00Z".parse().unwrap()));
        Mailer::from_url(&Secret::new(url), "Tieline <alerts@example.com>", &policy, clock)
    }

    #[test]
    fn relays_are_read_and_plain_ones_only_where_allowed() {
        for url in [
            "smtps://user:pass@mail.example.com:465",
            "smtps://mail.example.com",
            "smtp://mail.example.com:587?tls=required",
            "smtp://mail.example.com",
            "smtp://127.0.0.1:2525",
            "smtp://[::1]:2525?tls=none",
            "smtp://localhost",
            "smtp://10.1.2.3?tls=none",
            "smtp://relay.inner/alerts.example.com?tls=none",
        ] {
            mailer(url, &["10.1.0.0/16", "relay.inner"]).unwrap();
        }
        for (url, reason) in [
            ("smtp://user:planted@mail.example.com?tls=none", "plain SMTP to mail.example.com"),
            ("smtp://10.2.0.1?tls=none", "plain SMTP to 10.2.0.1"),
            ("smtp://127.0.0.1.example.com?tls=none", "plain SMTP"),
            ("smtp://mail.example.com?tls=opportunistic", "not known"),
            ("smtps://mail.example.com?tls=none", "not known"),
            ("smtp://mail.example.com?TLS=required", "parameter `TLS`"),
            ("smtp://mail.example.com?tls=required&tls=none", "twice"),
            ("https://user:planted@mail.example.com", "no scheme of mail"),
            ("smtp://user@mail.example.com", "without a password"),
            ("smtp://:planted@mail.example.com", "without a password"),
            ("smtp://mail.example.com/a%0d%0ab", "greet"),
            ("smtp://", "no host"),
            ("mail.example.com", "cannot be read"),
        ] {
            let error = mailer(url, &["10.1.0.0/16"]).unwrap_err().to_string();
            assert!(error.contains(reason) && error.contains("hint") && !error.contains("planted"), "{url}: {error}");
        }
    }

    #[test]
    fn the_login_is_decoded_and_never_printed() {
        let mailer = mailer("smtps://us%40er:pl+anted%2F%26&%25@mail.example.com", &[]).unwrap();
        let (user, password) = mailer.login.as_ref().unwrap();
        assert_eq!((user.as_str(), password.expose()), ("us@er", "pl+anted/&&%"));
        assert!(!format!("{mailer:?} {:?}", mailer.login).contains("anted"));
    }

    #[test]
    fn recipients_are_plain_addresses() {
        for (text, address) in [
            ("ops@example.com", "ops@example.com"),
            (" ops+sf.1@Sub.Example.com\r\n", "ops+sf.1@sub.example.com"),
            ("o'neil_x-y@example.com", "o'neil_x-y@example.com"),
            ("ops@bücher.example", "ops@xn--bcher-kva.example"),
        ] {
            assert_eq!(recipient(text).unwrap().to_string(), address);
        }
        let long = format!("{}@example.com", "x".repeat(65));
        let longer = format!("ops@{}example.com", "x.".repeat(125));
        for text in [
            "",
            "ops",
            "@example.com",
            "ops@",
            "ops@localhost",
            "ops@127.0.0.1",
            "ops@[127.0.0.1]",
            "ops@[IPv6:::1]",
            "ops@0x7f.1",
            "ops@example.com.",
            "ops@example..com",
            "Ops <ops@example.com>",
            "ops@example.com, two@example.com",
            "ops@example.com;two@example.com",
            "ops@example.com\r\nBcc: two@example.com",
            "ops@example.com>\r\nRCPT TO:<two@example.com",
            "ops\n@example.com",
            "ops@example.com\0",
            "\"a b\"@example.com",
            "(c)ops@example.com",
            "ops%evil.example@example.com",
            "evil.example!ops@example.com",
            "a@b@example.com",
            "-oQ/tmp@example.com",
            ".ops@example.com",
            "o..ps@example.com",
            "öps@example.com",
            &long,
            &longer,
        ] {
            let error = recipient(text).unwrap_err().to_string();
            assert!(error.contains("as recipient") && !error.contains(['\r', '\n']), "{error}");
        }
    }

    #[test]
    fn a_subject_is_one_line_whatever_it_holds() {
        let mailer = mailer("smtps://mail.example.com", &[]).unwrap();
        let evil = "Sync failed\r\nBcc: two@example.com\r\n\r\n<script>\u{2028}\0\tend";
        let mail = Mail { id: "01-a_B", to: "ops@example.com", subject: evil, text: "line\r\n.\r\nBcc: x\r\n" };
        let written = String::from_utf8(mailer.message(&mail).unwrap().formatted()).unwrap();
        let (head, _) = written.split_once("\r\n\r\n").unwrap();
        assert!(!head.lines().any(|line| line.to_ascii_lowercase().starts_with("bcc")), "{head}");
        for line in [
            "From: Tieline <alerts@example.com>",
            "To: ops@example.com",
            "Subject: Sync failed Bcc: two@example.com <script> end",
            "Message-ID: <01-a_B@example.com>",
            "Date: Mon, 01 Jun 2026 12:00:00 +0000",
            "Auto-Submitted: auto-generated",
        ] {
            assert!(head.lines().any(|written| written == line), "{line}: {head}");
        }
        assert_eq!(subject(evil), "Sync failed Bcc: two@example.com <script> end");
        assert_eq!(subject(&"ü".repeat(300)).chars().count(), SUBJECT + 1);
        let mail = Mail { id: "a>\r\nBcc: x", ..mail };
        assert!(mailer.message(&mail).is_err());
    }
}
