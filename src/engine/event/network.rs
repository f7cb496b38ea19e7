//! Addresses as they stand in events: of a client, with a port, a zone, in brackets, IPv4 within IPv6.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The address that a text says: `203.0.113.7`, `203.0.113.7:443`, `[2001:db8::1]:443`,
/// `fe80::1%eth0`. `None` if it is no address.
pub fn parse_address(text: &str) -> Option<IpAddr> {
    // Most are plain.
    if let Ok(address) = text.parse::<IpAddr>() {
        return Some(address);
    }
    let text = text.trim();
    let (host, is_bracketed) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, port) = rest.split_once(']')?;
            if !port.is_empty() && !port.strip_prefix(':').is_some_and(is_port) {
                return None;
            }
            (host, true)
        }
        None => (text, false),
    };
    if let Some((host, zone)) = host.split_once('%') {
        let host: Ipv6Addr = host.parse().ok()?;
        let is_zone = !zone.is_empty() && !zone.contains(char::is_whitespace);
        return is_zone.then_some(IpAddr::V6(host));
    }
    if let Ok(address) = host.parse::<IpAddr>() {
        return Some(address);
    }
    // A port after IPv6 without brackets cannot be told from a part of it.
    let (host, port) = host.split_once(':').filter(|_| !is_bracketed)?;
    let address = host.parse::<Ipv4Addr>().ok().filter(|_| is_port(port))?;
    Some(IpAddr::V4(address))
}

fn is_port(text: &str) -> bool {
    text.parse::<u16>().is_ok() && !text.starts_with('+')
}

/// The network that one client is taken to have: of IPv6 the first 64 bits, which a provider gives to
/// one customer at least; of IPv4 the address.
pub fn network_of(address: IpAddr) -> String {
    match address.to_canonical() {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            format!("{}/64", Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
    }
}

/// Whether an address is reachable from anywhere. Addresses reserved for documentation count as
/// public: they stand for such addresses wherever they are seen.
pub(super) fn is_public(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(ip) => is_public_v4(ip),
        IpAddr::V6(ip) => is_public_v6(ip),
    }
}

fn is_public_v4(ip: Ipv4Addr) -> bool {
    let [a, b, c, _] = ip.octets();
    !(ip.is_private()
        || ip.is_loopback()
        || ip.is_link_local()
        || a == 0
        || a >= 224
        || a == 100 && (64..128).contains(&b)
        || a == 192 && b == 0 && c == 0
        || a == 198 && (b == 18 || b == 19))
}

fn is_public_v6(ip: Ipv6Addr) -> bool {
    let [head, ..] = ip.segments();
    !(ip.is_loopback()
        || ip.is_unspecified()
        || ip.is_multicast()
        || ip.is_unique_local()
        || ip.is_unicast_link_local()
        // Site-local addresses were withdrawn, but are still in use.
        || head & 0xFFC0 == 0xFEC0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_however_they_are_written() {
        for (text, address, network) in [
            ("203.0.113.7", "203.0.113.7", "203.0.113.7"),
            (" 203.0.113.7 ", "203.0.113.7", "203.0.113.7"),
            ("203.0.113.7:443", "203.0.113.7", "203.0.113.7"),
            ("::ffff:10.1.2.3", "10.1.2.3", "10.1.2.3"),
            ("[::ffff:10.1.2.3]:6443", "10.1.2.3", "10.1.2.3"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
            ("[2001:db8::1]", "2001:db8::1", "2001:db8::/64"),
            ("[2001:db8::1]:443", "2001:db8::1", "2001:db8::/64"),
            ("fe80::1%eth0", "fe80::1", "fe80::/64"),
            ("[fe80::1%25eth0]:443", "fe80::1", "fe80::/64"),
            ("::1", "::1", "::/64"),
        ] {
            let parsed = parse_address(text).map(|ip| ip.to_canonical());
            assert_eq!(parsed.map(|ip| ip.to_string()).as_deref(), Some(address), "{text}");
            assert_eq!(parsed.map(network_of).as_deref(), Some(network), "{text}");
        }
    }

    #[test]
    fn what_is_no_address_is_none() {
        for text in [
            "",
            "unix",
            "gce-internal-ip",
            "10.0.0",
            "10.0.0.1:",
            "10.0.0.1:99999",
            "10.0.0.1:+1",
            "[2001:db8::1]x",
            "[10.0.0.1",
            "fe80::1%",
            "10.0.0.1%eth0",
            "10.0.0.1, 10.0.0.2",
        ] {
            assert_eq!(parse_address(text), None, "{text}");
        }
    }
}
