//! Bodies of requests that are coming: so many at once, and whose gives way at the limit.

use std::{
    cmp::Reverse,
    collections::BTreeMap,
    net::IpAddr,
    sync::{Mutex, MutexGuard, PoisonError},
};

use tokio_util::sync::CancellationToken;

use crate::web::network_of;

/// Bodies that come at once, or are there and wait for their turn: 128. At the limit one gives way to a newcomer.
const BODIES_MAX: usize = 128;

/// All bodies that are coming.
#[derive(Default)]
pub(super) struct Bodies(Mutex<Table>);

#[derive(Default)]
struct Table {
    next_id: u64,
    /// By number, so in the order in which they began.
    coming: BTreeMap<u64, Coming>,
}

struct Coming {
    network: IpAddr,
    is_known: bool,
    gives_way: CancellationToken,
}

/// A body's place among the others; given back when it is dropped.
pub(super) struct Place<'b> {
    bodies: &'b Bodies,
    id: u64,
    gives_way: CancellationToken,
}

impl Bodies {
    /// A body begins to come, of somebody who is known or not. If there is no room, another one gives way: of the
    /// networks of which most come, that of somebody who is not known, if there is one, and the first of these.
    pub(super) fn begin(&self, address: IpAddr, is_known: bool) -> Place<'_> {
        let network = network_of(address);
        let mut table = self.table();
        if table.coming.len() >= BODIES_MAX {
            table.give_way(network);
        }
        let (id, gives_way) = (table.next_id, CancellationToken::new());
        table.next_id += 1;
        table.coming.insert(id, Coming { network, is_known, gives_way: gives_way.clone() });
        Place { bodies: self, id, gives_way }
    }

    /// A table stays usable when a thread that held it panicked.
    fn table(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    fn give_way(&mut self, newcomer: IpAddr) {
        let mut held = BTreeMap::from([(newcomer, 1)]);
        for one in self.coming.values() {
            *held.entry(one.network).or_default() += 1;
        }
        let rank = |(id, one): &(&u64, &Coming)| {
            (Reverse(held.get(&one.network).copied()), one.is_known, **id)
        };
        let first = self.coming.iter().min_by_key(rank).map(|(id, _)| *id);
        if let Some(gone) = first.and_then(|id| self.coming.remove(&id)) {
            gone.gives_way.cancel();
        }
    }
}

impl Place<'_> {
    /// Comes about when this body gives way.
    pub(super) async fn gives_way(&self) {
        self.gives_way.cancelled().await;
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.bodies.table().coming.remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ATTACKER: [u8; 4] = [192, 0, 2, 66];

    fn gone(places: &[Place<'_>]) -> Vec<usize> {
        let gone = places.iter().enumerate().filter(|(_, place)| place.gives_way.is_cancelled());
        gone.map(|(number, _)| number).collect()
    }

    #[test]
    fn of_whom_most_come_gives_way_and_nobody_else() {
        let bodies = Bodies::default();
        let others = [1, 2].map(|last| bodies.begin([192, 0, 2, last].into(), false));
        let many: Vec<Place<'_>> =
            (0..BODIES_MAX + 10).map(|_| bodies.begin(ATTACKER.into(), false)).collect();
        assert_eq!(gone(&others), [] as [usize; 0]);
        assert_eq!(gone(&many), (0..12).collect::<Vec<_>>(), "the first of them");
        assert_eq!(bodies.table().coming.len(), BODIES_MAX);
        drop(others);
        assert_eq!(bodies.table().coming.len(), BODIES_MAX - 2);
        let _two = [3, 4].map(|last| bodies.begin([192, 0, 2, last].into(), false));
        assert_eq!(gone(&many).len(), 12, "there is room again");
        drop(many);
        assert_eq!(bodies.table().coming.len(), 2);
    }

    #[test]
    fn behind_one_proxy_those_who_are_known_give_way_last() {
        let bodies = Bodies::default();
        let known: Vec<Place<'_>> = (0..5).map(|_| bodies.begin(ATTACKER.into(), true)).collect();
        let many: Vec<Place<'_>> =
            (0..BODIES_MAX).map(|_| bodies.begin(ATTACKER.into(), false)).collect();
        assert_eq!((gone(&known).len(), gone(&many)), (0, vec![0, 1, 2, 3, 4]));
    }

    #[test]
    fn a_network_of_ipv6_is_one() {
        let bodies = Bodies::default();
        let quiet = [bodies.begin([192, 0, 2, 1].into(), false)];
        let address = |last: u16| [0x2001, 0xdb8, 0, 0, 0, 0, 0, last].into();
        let many: Vec<Place<'_>> =
            (0..200).map(|last| bodies.begin(address(last), false)).collect();
        assert_eq!((gone(&quiet).len(), gone(&many).len()), (0, 201 - BODIES_MAX));
    }
}
