//! The test of addresses.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::engine::value::Value;

/// The value is an address inside a network. An IPv4 address written as IPv6 (`::ffff:…`) is the
/// IPv4 address.
pub(super) fn inside(network: &IpNet, value: &Value<'_>) -> bool {
    let Value::Str(text) = value else { return false };
    text.parse::<IpAddr>()
        .is_ok_and(|ip| network.contains(&ip) || network.contains(&ip.to_canonical()))
}
