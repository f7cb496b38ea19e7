//! The test of addresses.

use ipnet::IpNet;

use crate::engine::{event::network::parse_address, value::Value};

/// The value is an address inside a network, with or without port and zone. An IPv4 address written as
/// IPv6 (`::ffff:…`) is the IPv4 address.
pub(super) fn inside(network: &IpNet, value: &Value<'_>) -> bool {
    let Value::Str(text) = value else { return false };
    parse_address(text)
        .is_some_and(|ip| network.contains(&ip) || network.contains(&ip.to_canonical()))
}
