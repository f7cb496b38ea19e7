//! How often somebody said a wrong password, by address: so often, and they must wait.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    time::{Duration, Instant},
};

use crate::web::network_of;

/// Wrong passwords of one address within [`SPAN`]: 10. Further ones are not looked at.
const TRIES_MAX: u32 = 10;

/// For how long they count: 1 min from the first.
const SPAN: Duration = Duration::from_secs(60);

/// Addresses that are remembered: 4,096. At the limit the oldest makes room.
const ADDRESSES_MAX: usize = 4_096;

/// Wrong passwords, by network.
#[derive(Debug, Default)]
pub(super) struct Tries(BTreeMap<IpAddr, (u32, Instant)>);

impl Tries {
    /// Whether a password from there is looked at.
    pub(super) fn may(&self, address: IpAddr, now: Instant) -> bool {
        let known = self.0.get(&network_of(address));
        known.is_none_or(|(count, first)| {
            *count < TRIES_MAX || now.saturating_duration_since(*first) >= SPAN
        })
    }

    /// One was wrong.
    pub(super) fn failed(&mut self, address: IpAddr, now: Instant) {
        let address = network_of(address);
        if self.0.len() >= ADDRESSES_MAX && !self.0.contains_key(&address) {
            self.0.retain(|_, (_, first)| now.saturating_duration_since(*first) < SPAN);
            let oldest = self.0.iter().min_by_key(|(_, (_, first))| *first);
            if let Some(oldest) = oldest.map(|(address, _)| *address)
                && self.0.len() >= ADDRESSES_MAX
            {
                self.0.remove(&oldest);
            }
        }
        let (count, first) = self.0.entry(address).or_insert((0, now));
        if now.saturating_duration_since(*first) >= SPAN {
            (*count, *first) = (0, now);
        }
        *count += 1;
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv6Addr;

    use super::*;

    #[test]
    fn ten_wrong_ones_in_a_minute_and_then_a_pause() {
        let (mut tries, start) = (Tries::default(), Instant::now());
        let (here, there): (IpAddr, IpAddr) = ([10, 0, 0, 1].into(), [10, 0, 0, 2].into());
        for second in 0..10 {
            let now = start + Duration::from_secs(second);
            assert!(tries.may(here, now));
            tries.failed(here, now);
        }
        assert!(!tries.may(here, start + Duration::from_secs(59)));
        assert!(tries.may(there, start), "others are not concerned");
        let later = start + SPAN;
        assert!(tries.may(here, later));
        tries.failed(here, later);
        assert!(tries.may(here, later), "it counts from one again");
    }

    #[test]
    fn a_network_of_ipv6_is_one_and_the_table_is_bounded() {
        let (mut tries, start) = (Tries::default(), Instant::now());
        for number in 0..10_u128 {
            tries.failed(IpAddr::V6(Ipv6Addr::from(0x2001_0db8 << 96 | number)), start);
        }
        let other = IpAddr::V6(Ipv6Addr::from(0x2001_0db8_u128 << 96 | 0x63));
        assert!(!tries.may(other, start));
        for number in 0..2 * ADDRESSES_MAX {
            let address = std::net::Ipv4Addr::from(u32::try_from(number).unwrap());
            tries.failed(address.into(), start + Duration::from_micros(number as u64));
        }
        assert_eq!(tries.0.len(), ADDRESSES_MAX);
    }
}
