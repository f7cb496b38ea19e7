//! Whom a group tells, so that what one address was told never counts as told to another.

use std::collections::BTreeMap;

use super::{Address, Slot};

/// Whom a group tells: a notifier, or one of its recipients.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(in crate::engine) struct Whom {
    /// Its [`Slot::identity`].
    pub(in crate::engine) identity: String,
    /// Where it is; `None` if nobody knows: earlier versions did not store it.
    pub(in crate::engine) address: Option<Address>,
}

impl Slot {
    /// Whom it tells.
    pub(in crate::engine) fn whom(&self) -> Whom {
        let address = self.address.map(|address| address.to(self.recipient.as_ref()));
        Whom { identity: self.identity.clone(), address }
    }

    /// Whether it has the identity of one who was told before, and is not known to send elsewhere.
    fn is_still(&self, before: &Whom) -> bool {
        let now = self.whom();
        let is_elsewhere =
            now.address.zip(before.address).is_some_and(|(now, before)| now != before);
        now.identity == before.identity && !is_elsewhere
    }

    /// Whether it is a notifier of the same receiver and kind that sends where that one did, whatever its number.
    fn is_where(&self, before: &Whom) -> bool {
        let name = format!("{}/{}", self.receiver, self.kind);
        let further = before.identity.strip_prefix(&name);
        let is_of_kind =
            further.is_some_and(|rest| rest.is_empty() || rest.starts_with(['#', '/']));
        is_of_kind && before.address.is_some() && self.whom().address == before.address
    }
}

/// Who of a plan goes on as each of those who were told before, if anybody does: the one that sends where that one did.
/// Nobody goes on as two.
pub(in crate::engine) fn successors<'a>(
    slots: &[Slot],
    before: impl Iterator<Item = &'a Whom> + Clone,
) -> BTreeMap<Whom, usize> {
    let mut successors: BTreeMap<Whom, usize> = BTreeMap::new();
    let mut is_taken = vec![false; slots.len()];
    for is_same in [Slot::is_still, Slot::is_where] {
        for whom in before.clone() {
            if successors.contains_key(whom) {
                continue;
            }
            let free = slots.iter().zip(&mut is_taken).enumerate();
            let found =
                free.filter(|(_, (_, taken))| !**taken).find(|(_, (slot, _))| is_same(slot, whom));
            if let Some((index, (_, taken))) = found {
                *taken = true;
                successors.insert(whom.clone(), index);
            }
        }
    }
    successors
}
