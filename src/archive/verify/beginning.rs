//! Whether a chain begins where it should: with the first row of all, or behind what entries say was deleted.
//!
//! A month says itself which hash stands before its first row. Nobody can put other rows behind that hash without a seal
//! telling; but whoever takes whole months away leaves a chain that holds.

use super::{Asked, Follower};
use crate::{
    archive::month::Month,
    engine::ledger::{Chain, hex_of},
};

impl Follower<'_> {
    /// Looks at where the first month that was checked begins. Of one month, or those of a time, others may come before.
    pub(super) fn check_beginning(
        &mut self,
        first: Option<&Month>,
        begins: Option<Chain>,
        asked: &Asked<'_>,
    ) {
        let (Some(first), Some(begins)) = (first, begins) else { return };
        if asked.seal == Some(begins.head) {
            self.found.has_seal = Some(true);
        }
        let head = hex_of(&begins.head);
        let is_of_all = asked.month.is_none() && asked.period.is_none();
        let is_known = asked.seal.or(asked.previous) == Some(begins.head);
        let wrong = match asked.previous {
            Some(previous) if previous != begins.head => {
                Some(format!("the hash before the first row that is here is {head}, not the one that was given"))
            }
            _ if !is_of_all || is_known => None,
            _ => self.deletions.missing(&first.name, begins).map(|what| {
                format!("{what}: put back what was there, or say by --previous {head} that this is a part")
            }),
        };
        if let Some(what) = wrong {
            self.fault_of((1, begins.id.max(1)), what);
        }
    }
}
