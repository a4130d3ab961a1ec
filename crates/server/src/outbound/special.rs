//! Addresses that are not public hosts. Sources: the IANA registries of special-purpose IPv4 and IPv6 addresses
//! (RFC 6890 and what followed) and the metadata services of the clouds.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Why an address is no public host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Special {
    /// What it is, for people.
    pub(super) what: &'static str,
    /// An address of an inner network: a name that the operator allows may lead there. Nothing but an allowed network
    /// leads to the others.
    pub(super) inner: bool,
}

const fn inner(what: &'static str) -> Special {
    Special { what, inner: true }
}

const fn never(what: &'static str) -> Special {
    Special { what, inner: false }
}

/// The first line that fits counts.
const V4: [([u8; 4], u8, Special); 20] = [
    // AWS, Google Cloud, Azure, DigitalOcean and others; it is within the link-local network.
    ([169, 254, 169, 254], 32, never("a cloud's metadata service")),
    // Azure's host agent has a public address, which leads to it from every virtual machine.
    ([168, 63, 129, 16], 32, never("a cloud's metadata service")),
    // Alibaba Cloud, within the network of RFC 6598.
    ([100, 100, 100, 200], 32, never("a cloud's metadata service")),
    // Oracle Cloud, within the network of RFC 6890.
    ([192, 0, 0, 192], 32, never("a cloud's metadata service")),
    ([0, 0, 0, 0], 8, never("an unspecified address")),
    ([127, 0, 0, 0], 8, inner("a loopback address")),
    ([10, 0, 0, 0], 8, inner("a private address")),
    ([172, 16, 0, 0], 12, inner("a private address")),
    ([192, 168, 0, 0], 16, inner("a private address")),
    ([100, 64, 0, 0], 10, inner("a carrier-grade NAT address")),
    ([169, 254, 0, 0], 16, never("a link-local address")),
    ([192, 0, 0, 0], 24, never("an address for protocols")),
    ([192, 0, 2, 0], 24, never("a documentation address")),
    ([198, 51, 100, 0], 24, never("a documentation address")),
    ([203, 0, 113, 0], 24, never("a documentation address")),
    ([192, 88, 99, 0], 24, never("a 6to4 relay address")),
    ([198, 18, 0, 0], 15, never("a benchmarking address")),
    ([224, 0, 0, 0], 4, never("a multicast address")),
    ([255, 255, 255, 255], 32, never("a broadcast address")),
    ([240, 0, 0, 0], 4, never("a reserved address")),
];

/// The first line that fits counts. What is neither here nor within 2000::/3 is not given out to hosts at all.
const V6: [([u16; 8], u8, Special); 15] = [
    ([0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254], 128, never("a cloud's metadata service")),
    ([0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254], 128, never("a cloud's metadata service")),
    ([0, 0, 0, 0, 0, 0, 0, 1], 128, inner("a loopback address")),
    ([0; 8], 128, never("an unspecified address")),
    ([0; 8], 96, never("an IPv4 address within an IPv6 one")),
    ([0, 0, 0, 0, 0, 0xffff, 0, 0], 96, never("an IPv4 address within an IPv6 one")),
    // Where the IPv4 address stands in it is each network's own choice (RFC 8215).
    ([0x64, 0xff9b, 1, 0, 0, 0, 0, 0], 48, never("a local NAT64 address")),
    ([0xfc00, 0, 0, 0, 0, 0, 0, 0], 7, inner("a private address")),
    ([0xfe80, 0, 0, 0, 0, 0, 0, 0], 10, never("a link-local address")),
    // Deprecated by RFC 3879, and still private where somebody uses it.
    ([0xfec0, 0, 0, 0, 0, 0, 0, 0], 10, never("a site-local address")),
    ([0xff00, 0, 0, 0, 0, 0, 0, 0], 8, never("a multicast address")),
    ([0x2001, 2, 0, 0, 0, 0, 0, 0], 48, never("a benchmarking address")),
    ([0x2001, 0, 0, 0, 0, 0, 0, 0], 23, never("an address for protocols")),
    ([0x2001, 0xdb8, 0, 0, 0, 0, 0, 0], 32, never("a documentation address")),
    ([0x3fff, 0, 0, 0, 0, 0, 0, 0], 20, never("a documentation address")),
];

/// Global unicast, the only addresses that are given out to hosts (RFC 4291).
const GLOBAL: (Ipv6Addr, u8) = (Ipv6Addr::new(0x2000, 0, 0, 0, 0, 0, 0, 0), 3);
/// The well-known prefix of NAT64 (RFC 6052): how a host without IPv4 reaches the public IPv4 internet.
const NAT64: (Ipv6Addr, u8) = (Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, 0, 0), 96);
/// RFC 3056.
const SIX_TO_FOUR: (Ipv6Addr, u8) = (Ipv6Addr::new(0x2002, 0, 0, 0, 0, 0, 0, 0), 16);
/// RFC 4380.
const TEREDO: (Ipv6Addr, u8) = (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 32);

/// Whether the address is no public host, and why.
pub(super) fn special(ip: IpAddr) -> Option<Special> {
    match ip {
        IpAddr::V4(ip) => special_v4(ip),
        IpAddr::V6(ip) => special_v6(ip),
    }
}

fn special_v4(ip: Ipv4Addr) -> Option<Special> {
    let fits =
        |(network, prefix, _): &&([u8; 4], u8, Special)| within(ip.into(), Ipv4Addr::from(*network).into(), *prefix);
    V4.iter().find(fits).map(|(_, _, special)| *special)
}

fn special_v6(ip: Ipv6Addr) -> Option<Special> {
    let is = |(network, prefix): (Ipv6Addr, u8)| within(ip.into(), network.into(), prefix);
    let [_, a, b, c, .., y, z] = ip.segments();
    if is(NAT64) {
        return special_v4(v4(y, z)).map(|found| never(found.what));
    }
    if is(SIX_TO_FOUR) {
        return special_v4(v4(a, b)).map(|found| never(found.what));
    }
    if is(TEREDO) {
        // The server's address, and the client's with its bits inverted.
        return special_v4(v4(b, c)).or_else(|| special_v4(v4(!y, !z))).map(|found| never(found.what));
    }
    let fits = |(network, prefix, _): &&([u16; 8], u8, Special)| is((Ipv6Addr::from(*network), *prefix));
    let found = V6.iter().find(fits).map(|(_, _, special)| *special);
    found.or_else(|| (!is(GLOBAL)).then_some(never("an address that no host has")))
}

fn v4(high: u16, low: u16) -> Ipv4Addr {
    Ipv4Addr::from(u32::from(high) << 16 | u32::from(low))
}

/// The address lies within the network. The two families never meet.
pub(super) fn within(ip: IpAddr, network: IpAddr, prefix: u8) -> bool {
    let (different, width) = match (ip, network) {
        (IpAddr::V4(ip), IpAddr::V4(network)) => (u128::from(u32::from(ip) ^ u32::from(network)), 32),
        (IpAddr::V6(ip), IpAddr::V6(network)) => (u128::from(ip) ^ u128::from(network), 128),
        _ => return false,
    };
    // A shift by the whole width is none that `>>` knows.
    different.checked_shr(u32::saturating_sub(width, prefix.into())).is_none_or(|rest| rest == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_edges_of_each_network() {
        for (address, expected) in [
            ("0.0.0.0", "unspecified"),
            ("0.255.255.255", "unspecified"),
            ("1.0.0.0", ""),
            ("9.255.255.255", ""),
            ("10.0.0.0", "private"),
            ("10.255.255.255", "private"),
            ("11.0.0.0", ""),
            ("100.63.255.255", ""),
            ("100.64.0.0", "carrier"),
            ("100.100.100.200", "metadata"),
            ("100.127.255.255", "carrier"),
            ("100.128.0.0", ""),
            ("126.255.255.255", ""),
            ("127.0.0.1", "loopback"),
            ("127.255.255.255", "loopback"),
            ("128.0.0.0", ""),
            ("168.63.129.16", "metadata"),
            ("169.253.255.255", ""),
            ("169.254.0.0", "link-local"),
            ("169.254.169.254", "metadata"),
            ("169.255.0.0", ""),
            ("172.15.255.255", ""),
            ("172.16.0.0", "private"),
            ("172.31.255.255", "private"),
            ("172.32.0.0", ""),
            ("192.0.0.8", "protocols"),
            ("192.0.0.192", "metadata"),
            ("192.0.2.1", "documentation"),
            ("192.88.99.1", "6to4"),
            ("192.168.255.255", "private"),
            ("192.169.0.0", ""),
            ("198.17.255.255", ""),
            ("198.18.0.0", "benchmarking"),
            ("198.19.255.255", "benchmarking"),
            ("198.20.0.0", ""),
            ("198.51.100.7", "documentation"),
            ("203.0.113.7", "documentation"),
            ("223.255.255.255", ""),
            ("224.0.0.1", "multicast"),
            ("239.255.255.255", "multicast"),
            ("240.0.0.0", "reserved"),
            ("255.255.255.254", "reserved"),
            ("255.255.255.255", "broadcast"),
            ("8.8.8.8", ""),
            ("::", "unspecified"),
            ("::1", "loopback"),
            ("::2", "within"),
            ("::127.0.0.1", "within"),
            ("::ffff:8.8.8.8", "within"),
            ("::ffff:10.0.0.1", "within"),
            ("64:ff9b::8.8.8.8", ""),
            ("64:ff9b::169.254.169.254", "metadata"),
            ("64:ff9b::10.1.2.3", "private"),
            ("64:ff9b:1::8.8.8.8", "NAT64"),
            ("100::1", "no host"),
            ("1fff:ffff::", "no host"),
            ("2000::1", ""),
            ("2001:0:808:808:0:ffff:f7f7:f7f7", ""),
            ("2001:0:808:808:0:ffff:80ff:fffe", "loopback"),
            ("2001:0:a00:1:0:ffff:f7f7:f7f7", "private"),
            ("2001:2::1", "benchmarking"),
            ("2001:10::1", "protocols"),
            ("2001:1ff:ffff::1", "protocols"),
            ("2001:200::1", ""),
            ("2001:db8::1", "documentation"),
            ("2001:4860:4860::8888", ""),
            ("2002:7f00:1::", "loopback"),
            ("2002:a9fe:a9fe::1", "metadata"),
            ("2002:808:808::1", ""),
            ("3fff:fff::1", "documentation"),
            ("3fff:1000::1", ""),
            ("4000::1", "no host"),
            ("5f00::1", "no host"),
            ("fbff::1", "no host"),
            ("fc00::1", "private"),
            ("fd00:ec2::254", "metadata"),
            ("fd20:ce::254", "metadata"),
            ("fdff::1", "private"),
            ("fe80::1", "link-local"),
            ("febf::1", "link-local"),
            ("fec0::1", "site-local"),
            ("ff02::1", "multicast"),
        ] {
            let found = special(address.parse().unwrap());
            match found {
                None => assert_eq!(expected, "", "{address} passed"),
                Some(found) => assert!(!expected.is_empty() && found.what.contains(expected), "{address}: {found:?}"),
            }
        }
    }

    #[test]
    fn what_is_translated_never_counts_as_inner() {
        for address in ["64:ff9b::10.0.0.1", "2002:7f00:1::", "::ffff:127.0.0.1", "fe80::1", "169.254.0.1"] {
            assert!(!special(address.parse().unwrap()).unwrap().inner, "{address}");
        }
        assert!(special("127.0.0.1".parse().unwrap()).unwrap().inner);
    }

    #[test]
    fn a_prefix_of_nothing_holds_its_family() {
        let within = |ip: &str, network: &str, prefix| within(ip.parse().unwrap(), network.parse().unwrap(), prefix);
        assert!(within("8.8.8.8", "0.0.0.0", 0) && within("ffff::", "::", 0));
        assert!(!within("8.8.8.8", "::", 0) && !within("::", "0.0.0.0", 0));
        assert!(within("8.8.8.8", "8.8.8.8", 32) && !within("8.8.8.9", "8.8.8.8", 32));
    }
}
