//! Where something may be sent: public hosts over HTTPS, and what the operator allows. A tenant's URL that led into the
//! network around this service would make the service ask there on the tenant's behalf (server-side request forgery).
//!
//! It is checked twice: the URL by what it says, here, and each address that its name leads to, when a connection is made
//! ([`super::sender`]). The connection goes to the addresses that were checked, so a name that answers differently the
//! second time gains nothing.

use std::net::IpAddr;
use std::str::FromStr;

use url::{Host, Url};

use super::special::{special, within};

/// Domains that never lead to a public host: RFC 6761 (`localhost`), RFC 6762 (`local`), RFC 8375 (`home.arpa`), and
/// `internal`, which ICANN set aside in 2024 and Google Cloud uses for its metadata service.
const INNER_DOMAINS: [&str; 4] = ["localhost", "local", "internal", "home.arpa"];

/// What an operator allows beyond public hosts. Nothing by default.
#[derive(Debug, Clone, Default)]
pub struct Policy {
    /// Hosts and networks that may be reached, and over plain HTTP too.
    pub allow: Vec<Allowed>,
}

/// One thing that an operator allows.
///
/// ```
/// use tieline_server::outbound::address::Allowed;
/// assert_eq!("Relay.Inner.example.".parse(), Ok(Allowed::Host("relay.inner.example".to_owned())));
/// assert!(matches!("10.1.0.0/16".parse(), Ok(Allowed::Network { prefix: 16, .. })));
/// assert!(matches!("::1".parse(), Ok(Allowed::Network { prefix: 128, .. })));
/// assert!("10.1.0.0/33".parse::<Allowed>().is_err() && "a b".parse::<Allowed>().is_err());
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Allowed {
    /// A host by its name, in lower case without a dot at its end. It may lead to loopback and to private networks, and
    /// still not to link-local addresses (metadata services) or to such that are no host's.
    Host(String),
    /// A network, or one address (the longest prefix). A name that leads there passes, and over HTTP the address alone.
    Network {
        /// An address in it.
        address: IpAddr,
        /// How many of its leading bits belong to the network: up to 32 or 128.
        prefix: u8,
    },
}

/// An allowed host or network that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cannot read `{0}` as an allowed host or network; hint: `relay.example`, `10.1.2.3` or `10.1.0.0/16`")]
pub struct NotAllowable(String);

impl FromStr for Allowed {
    type Err = NotAllowable;

    fn from_str(text: &str) -> Result<Self, NotAllowable> {
        let unreadable = || NotAllowable(text.to_owned());
        let (host, prefix) = text.split_once('/').map_or((text, None), |(host, prefix)| (host, Some(prefix)));
        let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
        if let Ok(address) = bare.parse::<IpAddr>() {
            let longest = if address.is_ipv4() { 32 } else { 128 };
            let prefix = prefix.map_or(Ok(longest), str::parse).map_err(|_| unreadable())?;
            return if prefix <= longest { Ok(Self::Network { address, prefix }) } else { Err(unreadable()) };
        }
        match Host::parse(host) {
            Ok(Host::Domain(name)) if prefix.is_none() => Ok(Self::Host(bare_name(&name).to_owned())),
            _ => Err(unreadable()),
        }
    }
}

/// A destination that nothing is sent to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cannot send to {host}: {reason}")]
pub struct Refused {
    /// The host, where one can be told; never the rest of the URL.
    pub host: String,
    /// Why.
    pub reason: String,
    hint: &'static str,
}

impl Refused {
    fn new(host: impl Into<String>, reason: impl Into<String>, hint: &'static str) -> Self {
        Self { host: host.into(), reason: reason.into(), hint }
    }

    /// What would help.
    pub fn hint(&self) -> &str {
        self.hint
    }
}

const GIVE_PUBLIC: &str = "give a public https URL, or have the operator allow this host or network";

impl Policy {
    /// Passes a URL that something may be sent to, as far as the URL itself tells; a name's addresses are checked when a
    /// connection is made.
    ///
    /// ```
    /// use tieline_server::outbound::address::Policy;
    /// let policy = Policy::default();
    /// assert!(policy.check("https://hooks.example.com/in?x=1").is_ok());
    /// let refused = policy.check("https://0x7f.1/").unwrap_err();
    /// assert_eq!(refused.to_string(), "cannot send to 127.0.0.1: it is a loopback address");
    /// ```
    ///
    /// # Errors
    /// [`Refused`] says what was refused and why.
    pub fn check(&self, url: &str) -> Result<Url, Refused> {
        // The parser drops tabs and line breaks, and what it drops was not meant well.
        if url.chars().any(|c| c.is_control() || c.is_whitespace()) {
            return Err(Refused::new("the URL", "it has spaces or control characters in it", "leave them out"));
        }
        let unreadable = |error| Refused::new("the URL", format!("it cannot be read: {error}"), GIVE_PUBLIC);
        let parsed = Url::parse(url).map_err(unreadable)?;
        let host = parsed.host_str().unwrap_or("the URL").to_owned();
        let refuse = |reason: &str, hint| Err(Refused::new(&host, reason, hint));
        if !matches!(parsed.scheme(), "https" | "http") {
            return refuse("only https is allowed", GIVE_PUBLIC);
        }
        if !parsed.username().is_empty() || parsed.password().is_some() {
            return refuse("a user name inside the URL hides the real host", "leave out what stands before the @");
        }
        if parsed.fragment().is_some_and(escapes_control) {
            return refuse("it has a control character in its fragment", "leave out what follows the #");
        }
        let allowed = match parsed.host() {
            Some(Host::Domain(name)) => self.check_name(name)?,
            Some(Host::Ipv4(ip)) => self.check_literal(ip.into())?,
            Some(Host::Ipv6(ip)) => self.check_literal(ip.into())?,
            None => return refuse("it has no host", GIVE_PUBLIC),
        };
        if parsed.scheme() != "https" && !allowed {
            return refuse("only https is allowed", GIVE_PUBLIC);
        }
        Ok(parsed)
    }

    /// Whether the operator allowed it.
    fn check_name(&self, name: &str) -> Result<bool, Refused> {
        if self.allows_name(name) {
            return Ok(true);
        }
        let bare = bare_name(name);
        let within = |domain: &str| bare == domain || bare.strip_suffix(domain).is_some_and(|rest| rest.ends_with('.'));
        if let Some(domain) = INNER_DOMAINS.into_iter().find(|domain| within(domain)) {
            return Err(Refused::new(name, format!("names in `{domain}` lead to no public host"), GIVE_PUBLIC));
        }
        // Search domains of the resolver make names of the inner network of these.
        if !bare.contains('.') {
            return Err(Refused::new(name, "a name without a dot leads to no public host", GIVE_PUBLIC));
        }
        Ok(false)
    }

    fn check_literal(&self, ip: IpAddr) -> Result<bool, Refused> {
        self.check_address(&ip.to_string(), ip)?;
        Ok(self.allows_address(ip))
    }

    /// Passes an address that this host's name leads to.
    ///
    /// # Errors
    /// [`Refused`], where it is not public and nobody allowed it.
    pub fn check_address(&self, host: &str, ip: IpAddr) -> Result<(), Refused> {
        let Some(found) = special(ip) else { return Ok(()) };
        if self.allows_address(ip) || (found.inner && self.allows_name(host)) {
            return Ok(());
        }
        let itself = host.parse() == Ok(ip);
        let reason = if itself { format!("it is {}", found.what) } else { format!("it leads to {ip}, {}", found.what) };
        Err(Refused::new(host, reason, GIVE_PUBLIC))
    }

    /// The operator named this host, or a network that holds it as an address.
    pub(super) fn allows_host(&self, host: &str) -> bool {
        let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
        self.allows_name(host) || bare.parse().is_ok_and(|ip| self.allows_address(ip))
    }

    fn allows_name(&self, name: &str) -> bool {
        let bare = bare_name(name);
        self.allow.iter().any(|allowed| matches!(allowed, Allowed::Host(host) if host.eq_ignore_ascii_case(bare)))
    }

    fn allows_address(&self, ip: IpAddr) -> bool {
        let holds = |allowed: &Allowed| matches!(allowed, Allowed::Network { address, prefix } if within(ip, *address, *prefix));
        self.allow.iter().any(holds)
    }
}

/// Without the dot at its end, which names the same host.
fn bare_name(name: &str) -> &str {
    name.strip_suffix('.').unwrap_or(name)
}

/// A control character as `%0A`: the parser has escaped or found it so.
fn escapes_control(text: &str) -> bool {
    let hex = |byte: Option<&u8>| char::from(*byte?).to_digit(16);
    let bytes = text.as_bytes();
    (0..bytes.len()).filter(|at| bytes[*at] == b'%').any(|at| {
        let code = hex(bytes.get(at + 1)).zip(hex(bytes.get(at + 2))).map(|(high, low)| high * 16 + low);
        code.is_some_and(|code| code < 0x20 || code == 0x7f)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(allow: &[&str]) -> Policy {
        Policy { allow: allow.iter().map(|text| text.parse().unwrap()).collect() }
    }

    #[test]
    fn public_hosts_pass() {
        for url in [
            "https://example.com",
            "https://hooks.slack.com/services/T0/B0/x",
            "https://EXAMPLE.com:8443/a?b=c#d",
            "https://example.com./in",
            "https://bücher.example/in",
            "https://8.8.8.8/in",
            "https://[2001:4860:4860::8888]/in",
            "https://[64:ff9b::8.8.8.8]/in",
            "https://notlocalhost.example",
            "https://localhost.example.com",
            "https://internal.example.com",
            "https://example.com/%0a?x=%0d",
        ] {
            policy(&[]).check(url).unwrap();
        }
    }

    #[test]
    fn what_is_not_public_is_refused_however_it_is_written() {
        for (url, reason) in [
            ("http://example.com", "only https"),
            ("http://8.8.8.8", "only https"),
            ("ftp://example.com", "only https"),
            ("file:///etc/passwd", "only https"),
            ("gopher://127.0.0.1:6379/_x", "only https"),
            ("data:text/plain,x", "only https"),
            ("https://", "cannot be read"),
            ("//example.com", "cannot be read"),
            ("", "cannot be read"),
            ("https://user@example.com", "user name"),
            ("https://user:pw@example.com", "user name"),
            ("https://:pw@example.com", "user name"),
            ("https://example.com:443@127.0.0.1", "user name"),
            ("https://example.com\\@127.0.0.1", ""),
            ("https://exam\nple.com", "control"),
            ("https://example.com/\r\nX-A: b", "control"),
            (" https://example.com", "spaces"),
            ("https://example.com/a b", "spaces"),
            ("https://example.com/#a\tb", "control"),
            ("https://example.com/#a%0Ab", "fragment"),
            ("https://example.com/#%00", "fragment"),
            ("https://example.com/#%7f", "fragment"),
            ("https://localhost", "localhost"),
            ("https://LOCALHOST.", "localhost"),
            ("https://a.b.localhost", "localhost"),
            ("https://printer.local", "local"),
            ("https://metadata.google.internal/computeMetadata/v1/", "internal"),
            ("https://nas.home.arpa", "home.arpa"),
            ("https://intranet", "without a dot"),
            ("https://kubernetes", "without a dot"),
            ("https://127.0.0.1", "loopback"),
            ("https://127.0.0.1.", "loopback"),
            ("https://127.1", "loopback"),
            ("https://127.0.1", "loopback"),
            ("https://2130706433", "loopback"),
            ("https://0x7f000001", "loopback"),
            ("https://0X7F.0x0.0x0.0x1", "loopback"),
            ("https://0x7f.1", "loopback"),
            ("https://017700000001", "loopback"),
            ("https://0177.0.0.01", "loopback"),
            ("https://%31%32%37.0.0.1", "loopback"),
            ("https://127。0。0。1", "loopback"),
            ("https://①②⑦.0.0.1", "loopback"),
            ("https://１２７.0.0.1", "loopback"),
            ("https:127.0.0.1", "loopback"),
            ("https:\\\\127.0.0.1", "loopback"),
            ("https:///127.0.0.1", "loopback"),
            ("https://127.8.8.8:8443", "loopback"),
            ("https://0", "unspecified"),
            ("https://0.0.0.0", "unspecified"),
            ("https://10.0.0.1", "private"),
            ("https://012.1", "private"),
            ("https://167772161", "private"),
            ("https://172.16.5.4", "private"),
            ("https://192.168.1.1", "private"),
            ("https://0xc0a80101", "private"),
            ("https://169.254.169.254/latest/meta-data/", "metadata"),
            ("https://2852039166", "metadata"),
            ("https://0xa9fea9fe", "metadata"),
            ("https://0251.0376.0251.0376", "metadata"),
            ("https://169.254.43518", "metadata"),
            ("https://169.254.1.1", "link-local"),
            ("https://168.63.129.16", "metadata"),
            ("https://100.64.0.1", "carrier"),
            ("https://192.0.2.1", "documentation"),
            ("https://198.18.0.1", "benchmarking"),
            ("https://224.0.0.251", "multicast"),
            ("https://240.0.0.1", "reserved"),
            ("https://255.255.255.255", "broadcast"),
            ("https://4294967295", "broadcast"),
            ("https://4294967296", "cannot be read"),
            ("https://256.0.0.1", "cannot be read"),
            ("https://1.2.3.4.5", "cannot be read"),
            ("https://[::1]", "loopback"),
            ("https://[0:0:0:0:0:0:0:1]", "loopback"),
            ("https://[::]", "unspecified"),
            ("https://[::ffff:127.0.0.1]", "within"),
            ("https://[::ffff:7f00:1]", "within"),
            ("https://[::ffff:8.8.8.8]", "within"),
            ("https://[::10.0.0.1]", "within"),
            ("https://[64:ff9b::7f00:1]", "loopback"),
            ("https://[64:ff9b::169.254.169.254]", "metadata"),
            ("https://[2002:7f00:1::]", "loopback"),
            ("https://[2001:0:808:808:0:ffff:5601:5601]", "metadata"),
            ("https://[fc00::1]", "private"),
            ("https://[fd12:3456::1]", "private"),
            ("https://[fd00:ec2::254]", "metadata"),
            ("https://[fe80::1]", "link-local"),
            ("https://[fe80::1%25eth0]", "cannot be read"),
            ("https://[ff02::1]", "multicast"),
            ("https://[2001:db8::1]", "documentation"),
        ] {
            match policy(&[]).check(url) {
                // Such a URL leads to the host before the backslash.
                Ok(passed) if reason.is_empty() => assert_eq!(passed.host_str(), Some("example.com"), "{url}"),
                Ok(passed) => panic!("{url} passed as {passed}"),
                Err(refused) => {
                    assert!(refused.to_string().contains(reason) && !reason.is_empty(), "{url}: {refused}");
                    assert!(refused.hint().len() > 10 && !refused.to_string().contains("meta-data"), "{refused:?}");
                }
            }
        }
    }

    #[test]
    fn what_the_operator_allows_passes_and_nothing_beside_it() {
        let policy = policy(&["127.0.0.0/8", "[::1]", "relay.inner", "10.1.0.0/16"]);
        for url in [
            "http://127.0.0.1:8080/x",
            "https://127.9.9.9",
            "http://0x7f.1",
            "http://[::1]:8080",
            "http://relay.inner/x",
            "https://RELAY.inner.",
            "http://10.1.255.255",
        ] {
            policy.check(url).unwrap();
        }
        for url in [
            "http://10.2.0.0",
            "https://10.2.0.0",
            "http://localhost",
            "http://sub.relay.inner",
            "http://xrelay.inner",
            "http://example.com",
            "https://[::ffff:127.0.0.1]",
            "https://169.254.169.254",
            "http://user@127.0.0.1",
        ] {
            policy.check(url).unwrap_err();
        }
    }

    #[test]
    fn a_name_is_only_as_good_as_its_addresses() {
        let ip = |text: &str| text.parse().unwrap();
        let none = policy(&[]);
        none.check_address("example.com", ip("8.8.8.8")).unwrap();
        let refused = none.check_address("example.com", ip("10.0.0.7")).unwrap_err();
        assert_eq!(refused.to_string(), "cannot send to example.com: it leads to 10.0.0.7, a private address");

        let named = policy(&["relay.inner"]);
        named.check_address("relay.inner.", ip("10.0.0.7")).unwrap();
        named.check_address("relay.inner", ip("::1")).unwrap();
        named.check_address("other.inner", ip("10.0.0.7")).unwrap_err();
        for metadata in ["169.254.169.254", "fd00:ec2::254", "100.100.100.200", "::ffff:10.0.0.7", "64:ff9b::10.0.0.7"]
        {
            named.check_address("relay.inner", ip(metadata)).unwrap_err();
        }
        let network = policy(&["169.254.7.0/24"]);
        network.check_address("any.example", ip("169.254.7.9")).unwrap();
        network.check_address("any.example", ip("169.254.8.9")).unwrap_err();
    }

    #[test]
    fn an_allowed_host_that_is_none_is_told() {
        for text in
            ["", "10.0.0.0/33", "::1/129", "10.0.0.0/x", "relay.inner/8", "a b", "https://relay.inner", "10.0.0.0/-1"]
        {
            let error = text.parse::<Allowed>().unwrap_err().to_string();
            assert!(error.contains(&format!("`{text}`")) && error.contains("hint"), "{error}");
        }
    }
}
