//! Whose request it is when proxies stand in between: only what a trusted proxy wrote into `X-Forwarded-For` is believed.
//!
//! `core::net` holds addresses as plain values; nothing here opens a connection.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::{fmt, str::FromStr};

/// A range of addresses, such as `10.0.0.0/8` or `2001:db8::/32`; a bare address is a range of one.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Cidr {
    network: IpAddr,
    prefix: u8,
}

/// Why a text is not a range of addresses.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidCidr {
    /// No address before the slash.
    #[error("`{0}` is not a range of addresses: write it like `10.0.0.0/8` or `2001:db8::/32`")]
    Address(String),
    /// No usable number behind it.
    #[error("`{text}` has no usable prefix length: it is a number from 0 to {most}")]
    Prefix {
        /// The text.
        text: String,
        /// Bits of such an address.
        most: u8,
    },
    /// Bits behind the prefix.
    #[error("`{text}` has bits set behind its prefix: did you mean `{meant}`?")]
    HostBits {
        /// The text.
        text: String,
        /// The same with those bits cleared.
        meant: Cidr,
    },
}

/// The address of the client: `peer`, or what a trusted `peer` says in the values of `X-Forwarded-For`, in order. Walks from
/// the right, where the nearest proxy writes, over trusted addresses to the first that is not; stops before what is no address.
pub fn client_address<'a>(peer: IpAddr, forwarded_for: impl Iterator<Item = &'a str>, trusted: &[Cidr]) -> IpAddr {
    let is_proxy = |address: IpAddr| trusted.iter().any(|range| range.contains(address));
    let mut client = peer.to_canonical();
    if !is_proxy(client) {
        return client;
    }
    let values: Vec<&str> = forwarded_for.collect();
    for entry in values.iter().rev().flat_map(|value| value.rsplit(',')) {
        let Some(address) = address(entry.trim_matches([' ', '\t'])) else { return client };
        client = address;
        if !is_proxy(client) {
            return client;
        }
    }
    client
}

/// An address as proxies write it: bare, in brackets, or with a port.
fn address(text: &str) -> Option<IpAddr> {
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
    let address = match bare {
        Some(bare) => bare.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
        None => text.parse().ok().or_else(|| text.parse::<SocketAddr>().ok().map(|socket| socket.ip())),
    };
    address.map(|address| address.to_canonical())
}

impl Cidr {
    /// Whether `address` lies in the range. An IPv4 address written as IPv6 (`::ffff:10.0.0.1`) is the IPv4 address.
    pub fn contains(self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        address.is_ipv4() == self.network.is_ipv4() && masked(address, self.prefix) == self.network
    }
}

impl FromStr for Cidr {
    type Err = InvalidCidr;

    fn from_str(text: &str) -> Result<Self, InvalidCidr> {
        let shown = || text.chars().take(80).collect::<String>();
        let (network, prefix) = text.split_once('/').map_or((text, None), |(network, prefix)| (network, Some(prefix)));
        let network: IpAddr = network.parse().map_err(|_| InvalidCidr::Address(shown()))?;
        let most = if network.is_ipv4() { 32 } else { 128 };
        let digits = |prefix: &str| prefix.bytes().all(|b| b.is_ascii_digit()).then(|| prefix.parse().ok()).flatten();
        let prefix = match prefix {
            None => most,
            Some(prefix) => digits(prefix).filter(|prefix| *prefix <= most).ok_or_else(|| InvalidCidr::Prefix { text: shown(), most })?,
        };
        let cidr = Self { network: masked(network, prefix), prefix };
        if cidr.network == network { Ok(cidr.canonical()) } else { Err(InvalidCidr::HostBits { text: shown(), meant: cidr }) }
    }
}

impl Cidr {
    /// The IPv4 range, if it was written as IPv6.
    fn canonical(self) -> Self {
        match self.network.to_canonical() {
            network if network == self.network => self,
            network => Self { network, prefix: self.prefix.saturating_sub(96) },
        }
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.network, self.prefix)
    }
}

/// `address` with the bits behind `prefix` cleared.
fn masked(address: IpAddr, prefix: u8) -> IpAddr {
    match address {
        IpAddr::V4(v4) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0);
            IpAddr::V4(Ipv4Addr::from_bits(v4.to_bits() & mask))
        }
        IpAddr::V6(v6) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or(0);
            IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & mask))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(peer: &str, forwarded_for: &[&str], trusted: &[&str]) -> String {
        let trusted: Vec<Cidr> = trusted.iter().map(|range| range.parse().unwrap()).collect();
        client_address(peer.parse().unwrap(), forwarded_for.iter().copied(), &trusted).to_string()
    }

    #[test]
    fn nobody_is_believed_unless_trusted() {
        assert_eq!(client("203.0.113.9", &["198.51.100.1"], &[]), "203.0.113.9");
        assert_eq!(client("203.0.113.9", &["10.0.0.1, 127.0.0.1"], &["10.0.0.0/8"]), "203.0.113.9");
    }

    #[test]
    fn a_trusted_proxy_tells_who_spoke_to_it() {
        assert_eq!(client("10.0.0.1", &["198.51.100.1"], &["10.0.0.0/8"]), "198.51.100.1");
        assert_eq!(client("::ffff:10.0.0.1", &["198.51.100.1"], &["10.0.0.0/8"]), "198.51.100.1");
        assert_eq!(client("10.0.0.1", &[], &["10.0.0.0/8"]), "10.0.0.1");
        assert_eq!(client("fd00::1", &["2001:db8::5"], &["fd00::/8"]), "2001:db8::5");
    }

    #[test]
    fn what_the_client_itself_wrote_is_never_reached() {
        let trusted = ["10.0.0.0/8"];
        for spoofed in ["1.1.1.1, 198.51.100.1", "10.9.9.9, 198.51.100.1", "garbage, 198.51.100.1", ",,, 198.51.100.1,10.2.3.4"] {
            assert_eq!(client("10.0.0.1", &[spoofed], &trusted), "198.51.100.1", "{spoofed}");
        }
        assert_eq!(client("10.0.0.1", &["1.1.1.1", "198.51.100.1, 10.0.0.2", "10.0.0.3"], &trusted), "198.51.100.1");
    }

    #[test]
    fn behind_proxies_alone_the_farthest_is_the_client() {
        assert_eq!(client("10.0.0.1", &["10.0.0.9, 10.0.0.2"], &["10.0.0.0/8"]), "10.0.0.9");
    }

    #[test]
    fn garbage_ends_the_walk_at_the_last_good_address() {
        let trusted = ["10.0.0.0/8"];
        for garbage in
            ["", "unknown", "_hidden", "198.51.100.1:", "198.51.100", "1.2.3.4.5", "[::1", "198.51.100.1 x", "for=1.1.1.1", "0x7f.1"]
        {
            assert_eq!(client("10.0.0.1", &[garbage], &trusted), "10.0.0.1", "{garbage}");
            assert_eq!(client("10.0.0.1", &[&format!("1.1.1.1, {garbage}, 10.0.0.2")], &trusted), "10.0.0.2", "{garbage}");
        }
    }

    #[test]
    fn addresses_come_with_ports_and_brackets() {
        for (written, read) in [
            ("198.51.100.1:4711", "198.51.100.1"),
            ("[2001:db8::1]:443", "2001:db8::1"),
            ("[2001:db8::1]", "2001:db8::1"),
            ("\t 198.51.100.1 ", "198.51.100.1"),
            ("::ffff:198.51.100.1", "198.51.100.1"),
        ] {
            assert_eq!(client("10.0.0.1", &[written], &["10.0.0.1"]), read);
        }
    }

    #[test]
    fn ranges_hold_exactly_their_addresses() {
        for (range, inside, outside) in [
            ("10.0.0.0/8", "10.255.255.255", "11.0.0.0"),
            ("192.0.2.128/25", "192.0.2.128", "192.0.2.127"),
            ("192.0.2.1", "192.0.2.1", "192.0.2.2"),
            ("0.0.0.0/0", "255.255.255.255", "::1"),
            ("2001:db8::/32", "2001:db8:ffff::1", "2001:db9::"),
            ("::/0", "ffff::", "1.2.3.4"),
            ("::ffff:10.0.0.0/104", "10.1.2.3", "11.0.0.1"),
            ("10.0.0.0/8", "::ffff:10.0.0.1", "::10.0.0.1"),
        ] {
            let cidr: Cidr = range.parse().unwrap();
            assert!(cidr.contains(inside.parse().unwrap()) && !cidr.contains(outside.parse().unwrap()), "{range}");
        }
    }

    #[test]
    fn what_is_no_range_is_refused_with_what_to_write() {
        let error = |text: &str| text.parse::<Cidr>().unwrap_err().to_string();
        assert_eq!(error("10.0.0.1/8"), "`10.0.0.1/8` has bits set behind its prefix: did you mean `10.0.0.0/8`?");
        assert!(error("2001:db8::1/32").contains("`2001:db8::/32`"));
        for bad in ["10.0.0.0/33", "10.0.0.0/", "10.0.0.0/+8", "10.0.0.0/-1", "10.0.0.0/8/8", "10.0.0.0/255.0.0.0", "10.0.0.0/999"] {
            assert!(error(bad).contains("from 0 to 32"), "{bad}");
        }
        assert!(error("::/129").contains("from 0 to 128"));
        for bad in ["", "/8", "10.0.0/8", "proxy.example/8", "10.0.0.0 /8", "010.0.0.0/8"] {
            assert!(error(bad).contains("write it like"), "{bad}");
        }
    }
}
