//! Where notifiers send.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::engine::digest::Digest;

/// Where a notifier sends, as 128 bits of BLAKE3: an address may hold a secret, and is stored nowhere.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct Address([u8; 16]);

/// Where the notifiers of each receiver send, by its name, in the order of the configuration. Of those that are
/// missing nobody knows.
pub type Addresses = BTreeMap<String, Vec<Address>>;

impl Address {
    /// Of all that decides where it goes (a URL, brokers and topic), without credentials that are kept apart from it.
    pub fn of<P: AsRef<[u8]>>(parts: impl IntoIterator<Item = P>) -> Address {
        Address(Digest::of(parts).first())
    }

    pub(in crate::engine) const fn to_bytes(self) -> [u8; 16] {
        self.0
    }

    /// The address of one of its recipients; without any its own.
    pub(in crate::engine) fn to(self, recipient: Option<&String>) -> Address {
        recipient.map_or(self, |recipient| Address::of([&self.0, recipient.as_bytes()]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::digest::hex;

    /// Whoever made another digest of the same address would tell everybody everything anew.
    #[test]
    fn stored_addresses_are_known_again() {
        let address = Address::of(["https://example.org/hook"]);
        assert_eq!(hex(&address.to_bytes()), "10d61b49b7fbdb484aa12e7bd5ec2f49");
        assert_eq!(
            hex(&address.to(Some(&"ann".to_owned())).to_bytes()),
            "463c9945b718eb6b699979a247a863c6"
        );
        assert_eq!(address.to(None), address);
    }
}
