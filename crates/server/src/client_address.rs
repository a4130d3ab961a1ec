//! Who a request comes from, when proxies stand in between.
//!
//! Whoever asks can write any header. Only the part of it counts that a proxy of ours has added, and those add at the
//! right: from there on leftwards, the first address that is no proxy of ours is the client's.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use axum::extract::ConnectInfo;
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};

/// Hops that are looked at. Longer ways than this are not honest.
const HOPS: usize = 32;

/// Bits of an IPv6 address that name a network: a household or a host gets a /64 at least (RFC 6177), and with it
/// 18 quintillion addresses to choose from.
const NETWORK_BITS: u32 = 64;

/// A network, or one address.
///
/// ```
/// use tieline_server::client_address::Network;
/// let network: Network = "10.0.0.0/8".parse().unwrap();
/// assert!(network.contains("10.1.2.3".parse().unwrap()) && !network.contains("11.0.0.1".parse().unwrap()));
/// assert!("10.0.0.0/33".parse::<Network>().is_err() && "proxy.example".parse::<Network>().is_err());
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    prefix: u8,
}

/// A network that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cannot read `{0}` as the network of a trusted proxy; hint: `10.0.0.0/8`, `192.0.2.7` or `fd00::/8`")]
pub struct NoNetwork(String);

impl FromStr for Network {
    type Err = NoNetwork;

    fn from_str(text: &str) -> Result<Self, NoNetwork> {
        let unreadable = || NoNetwork(text.to_owned());
        let (address, prefix) = text.trim().split_once('/').map_or((text.trim(), None), |(a, p)| (a, Some(p)));
        let address: IpAddr = address.parse().map_err(|_| unreadable())?;
        let longest = if address.is_ipv4() { 32 } else { 128 };
        let prefix = prefix.map_or(Ok(longest), str::parse).map_err(|_| unreadable())?;
        if prefix > longest {
            return Err(unreadable());
        }
        Ok(Self { address, prefix })
    }
}

impl Network {
    /// Whether the address lies in it. The two families never meet, but an IPv4 address written as IPv6 is one.
    pub fn contains(&self, address: IpAddr) -> bool {
        let (different, width) = match (self.address, address.to_canonical()) {
            (IpAddr::V4(ours), IpAddr::V4(theirs)) => (u128::from(ours.to_bits() ^ theirs.to_bits()), 32),
            (IpAddr::V6(ours), IpAddr::V6(theirs)) => (ours.to_bits() ^ theirs.to_bits(), 128),
            _ => return false,
        };
        // A shift by the whole width is none that `>>` knows.
        different.checked_shr(width - u32::from(self.prefix)).is_none_or(|rest| rest == 0)
    }
}

/// The header in which proxies say whom they speak for. The other one is never read: a proxy that knows one of them
/// hands the other on as the client wrote it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ForwardedBy {
    /// `X-Forwarded-For`.
    #[default]
    XForwardedFor,
    /// `Forwarded` (RFC 7239).
    Forwarded,
}

/// The proxies that are believed. None by default: then the socket's address is the client's.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Trusted {
    /// Where they are.
    pub networks: Vec<Network>,
    /// What they write.
    pub header: ForwardedBy,
}

/// The client's address, as the layers here find it; none where a request came from no socket (in tests).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClientAddress(pub Option<IpAddr>);

impl ClientAddress {
    /// What limits are counted by: the address, and of IPv6 its network (/64).
    pub fn network(&self) -> String {
        match self.0.map(|address| address.to_canonical()) {
            Some(IpAddr::V6(address)) => {
                format!("{}/{NETWORK_BITS}", Ipv6Addr::from_bits(address.to_bits() >> NETWORK_BITS << NETWORK_BITS))
            }
            Some(address) => address.to_string(),
            None => "unknown".to_owned(),
        }
    }
}

impl Trusted {
    /// The client of a request whose socket leads to `peer`.
    ///
    /// What cannot be read ends the way: the proxy that handed it on is then as far as we know.
    pub fn client(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let mut client = peer.to_canonical();
        let hops: Vec<&str> = match self.header {
            _ if !self.trusts(client) => return client,
            ForwardedBy::XForwardedFor => values(headers, "x-forwarded-for").flat_map(|line| line.split(',')).collect(),
            ForwardedBy::Forwarded => {
                values(headers, header::FORWARDED.as_str()).flat_map(|line| unquoted_split(line, ',')).collect()
            }
        };
        for hop in hops.iter().rev().take(HOPS) {
            let address = match self.header {
                ForwardedBy::XForwardedFor => node(hop.trim()),
                ForwardedBy::Forwarded => forwarded_for(hop),
            };
            let Some(address) = address else { break };
            client = address;
            if !self.trusts(client) {
                break;
            }
        }
        client
    }

    /// The same of a request's head, whose socket axum has noted (`into_make_service_with_connect_info`).
    pub fn client_of(&self, parts: &Parts) -> ClientAddress {
        let peer = parts.extensions.get::<ConnectInfo<SocketAddr>>().map(|ConnectInfo(peer)| peer.ip());
        ClientAddress(peer.map(|peer| self.client(peer, &parts.headers)))
    }

    fn trusts(&self, address: IpAddr) -> bool {
        self.networks.iter().any(|network| network.contains(address))
    }
}

/// The lines of a header in their order. One that is no text counts as an unreadable hop, and not as none.
fn values<'h>(headers: &'h HeaderMap, name: &str) -> impl Iterator<Item = &'h str> {
    headers.get_all(name).iter().map(|value| value.to_str().unwrap_or("?"))
}

/// An address, perhaps with a port: `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1`, `[2001:db8::1]:80`.
fn node(text: &str) -> Option<IpAddr> {
    let bracketed = || text.strip_prefix('[')?.strip_suffix(']')?.parse().ok();
    let address: IpAddr = text
        .parse()
        .ok()
        .or_else(|| text.parse::<SocketAddr>().ok().map(|socket| socket.ip()))
        .or_else(|| bracketed().map(IpAddr::V6))?;
    Some(address.to_canonical())
}

/// The one `for` of an element of `Forwarded`: `for="[2001:db8::1]:80";proto=https`. Two of them are none.
fn forwarded_for(element: &str) -> Option<IpAddr> {
    let mut found = unquoted_split(element, ';').filter_map(|pair| {
        let (name, value) = pair.split_once('=')?;
        name.trim().eq_ignore_ascii_case("for").then(|| value.trim())
    });
    let (value, None) = (found.next()?, found.next()) else { return None };
    node(match value.strip_prefix('"') {
        Some(rest) => rest.strip_suffix('"')?,
        None => value,
    })
}

/// Splits where no quotes are open. A backslash within quotes takes the next character along.
fn unquoted_split(text: &str, separator: char) -> impl Iterator<Item = &str> {
    let (mut quoted, mut escaped) = (false, false);
    text.split(move |c| {
        let is_separator = !quoted && c == separator;
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            _ => {}
        }
        is_separator
    })
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderName, HeaderValue};

    use super::*;

    const XFF: &str = "x-forwarded-for";

    fn trusted(header: ForwardedBy) -> Trusted {
        let networks = ["10.0.0.0/8", "192.0.2.10", "fd00::/8"].iter().map(|text| text.parse().unwrap()).collect();
        Trusted { networks, header }
    }

    fn found(trusted: &Trusted, peer: &str, lines: &[(&str, &str)]) -> String {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            let value = HeaderValue::from_bytes(value.as_bytes()).unwrap();
            headers.append(name.parse::<HeaderName>().unwrap(), value);
        }
        trusted.client(peer.parse().unwrap(), &headers).to_string()
    }

    #[test]
    fn x_forwarded_for() {
        let trusted = trusted(ForwardedBy::XForwardedFor);
        for (peer, lines, client) in [
            // Nobody in between.
            ("203.0.113.9", [].as_slice(), "203.0.113.9"),
            // Not a proxy of ours: whatever it says, it is the client.
            ("203.0.113.9", &[(XFF, "198.51.100.1")], "203.0.113.9"),
            ("11.0.0.1", &[(XFF, "198.51.100.1, 10.0.0.2")], "11.0.0.1"),
            // One proxy, several, and several lines.
            ("10.0.0.1", &[(XFF, "198.51.100.1")], "198.51.100.1"),
            ("10.0.0.1", &[(XFF, "198.51.100.1, 10.0.0.2 ,10.0.0.3")], "198.51.100.1"),
            ("10.0.0.1", &[(XFF, "203.0.113.9"), (XFF, "198.51.100.1"), (XFF, "10.0.0.3")], "198.51.100.1"),
            ("::ffff:10.0.0.1", &[(XFF, "::ffff:198.51.100.1")], "198.51.100.1"),
            ("fd00::1", &[(XFF, "2001:db8::7, fd00::2")], "2001:db8::7"),
            ("192.0.2.10", &[(XFF, "192.0.2.11")], "192.0.2.11"),
            // What the client wrote stands further left.
            ("10.0.0.1", &[(XFF, "127.0.0.1, 10.9.9.9, 198.51.100.1")], "198.51.100.1"),
            ("10.0.0.1", &[(XFF, "evil, \" , ,, 198.51.100.1")], "198.51.100.1"),
            // Ports, as some proxies write them.
            ("10.0.0.1", &[(XFF, "198.51.100.1:4711")], "198.51.100.1"),
            ("10.0.0.1", &[(XFF, "[2001:db8::7]:4711")], "2001:db8::7"),
            ("10.0.0.1", &[(XFF, "[2001:db8::7]")], "2001:db8::7"),
            // What cannot be read ends the way at the last that is known.
            ("10.0.0.1", &[(XFF, "198.51.100.1, unknown, 10.0.0.2")], "10.0.0.2"),
            ("10.0.0.1", &[(XFF, "198.51.100.1,")], "10.0.0.1"),
            ("10.0.0.1", &[(XFF, "")], "10.0.0.1"),
            ("10.0.0.1", &[(XFF, "198.51.100.1"), (XFF, "\u{e9}")], "10.0.0.1"),
            ("10.0.0.1", &[(XFF, "198.51.100.1.")], "10.0.0.1"),
            ("10.0.0.1", &[(XFF, "010.0.0.1")], "10.0.0.1"),
            // All of them ours: the request began there.
            ("10.0.0.1", &[(XFF, "10.0.0.3, 10.0.0.2")], "10.0.0.3"),
            // The header that our proxies do not write is the client's own.
            ("10.0.0.1", &[("forwarded", "for=198.51.100.1"), ("x-real-ip", "198.51.100.2")], "10.0.0.1"),
        ] {
            assert_eq!(found(&trusted, peer, lines), client, "{peer} {lines:?}");
        }
        let nobody = Trusted::default();
        assert_eq!(found(&nobody, "127.0.0.1", &[(XFF, "198.51.100.1")]), "127.0.0.1");
        let endless = ["10.0.0.2"; 10_000].join(",");
        assert_eq!(found(&trusted, "10.0.0.1", &[(XFF, &format!("198.51.100.1,{endless}"))]), "10.0.0.2");
    }

    #[test]
    fn forwarded() {
        let trusted = trusted(ForwardedBy::Forwarded);
        let name = "forwarded";
        for (value, client) in [
            ("for=198.51.100.1", "198.51.100.1"),
            ("For=\"198.51.100.1:80\";proto=https;by=10.0.0.1", "198.51.100.1"),
            ("for=203.0.113.9, for=198.51.100.1, for=10.0.0.2", "198.51.100.1"),
            ("proto=https; for=\"[2001:db8::7]:80\"", "2001:db8::7"),
            // A comma and a for within quotes belong to the client's own words.
            ("for=198.51.100.1;host=\"a, for=203.0.113.9\"", "198.51.100.1"),
            ("for=198.51.100.1;host=\"a\\\", for=203.0.113.9\"", "198.51.100.1"),
            // Hidden names, names that are none, and a quote that the client left open.
            ("for=_hidden", "10.0.0.1"),
            ("for=unknown, for=10.0.0.2", "10.0.0.2"),
            ("proto=https", "10.0.0.1"),
            ("for=198.51.100.1;for=203.0.113.9", "10.0.0.1"),
            ("for=\"203.0.113.9, for=198.51.100.1", "10.0.0.1"),
            ("", "10.0.0.1"),
        ] {
            assert_eq!(found(&trusted, "10.0.0.1", &[(name, value)]), client, "{value}");
        }
        assert_eq!(found(&trusted, "10.0.0.1", &[(XFF, "198.51.100.1")]), "10.0.0.1");
        assert_eq!(found(&trusted, "203.0.113.9", &[(name, "for=198.51.100.1")]), "203.0.113.9");
    }

    #[test]
    fn limits_are_counted_by_address_and_by_network_of_ipv6() {
        let network = |text: &str| ClientAddress(Some(text.parse().unwrap())).network();
        assert_eq!(network("192.0.2.7"), "192.0.2.7");
        assert_eq!(network("::ffff:192.0.2.7"), "192.0.2.7");
        assert_eq!(network("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::/64");
        assert_eq!(network("2001:db8:1:2::1"), network("2001:db8:1:2:ffff::"));
        assert_ne!(network("2001:db8:1:3::1"), network("2001:db8:1:2::1"));
        assert_eq!(ClientAddress(None).network(), "unknown");
    }

    #[test]
    fn networks_hold_what_they_say() {
        let holds =
            |network: &str, address: &str| network.parse::<Network>().unwrap().contains(address.parse().unwrap());
        assert!(holds("0.0.0.0/0", "203.0.113.9") && !holds("0.0.0.0/0", "2001:db8::1"));
        assert!(holds("::/0", "2001:db8::1") && !holds("::/0", "203.0.113.9"));
        assert!(holds("192.0.2.0/31", "192.0.2.1") && !holds("192.0.2.0/31", "192.0.2.2"));
        assert!(holds("10.1.2.3/8", "10.9.9.9") && holds("10.0.0.0/8", "::ffff:10.1.1.1"));
        for unreadable in ["", "/8", "10.0.0.0/", "10.0.0.0/-1", "10.0.0/8", "::/129", "localhost"] {
            assert!(unreadable.parse::<Network>().is_err(), "{unreadable}");
        }
    }
}
