//! Which refusals become entries of the ledger: so many within a minute of each caller who is known, and as many of all
//! others together. Further ones are counted, so that nobody can hide what others tried behind tries of their own.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

/// Refusals of a caller that become entries within a minute: 60.
pub(super) const REFUSALS_MAX: u32 = 60;

/// The minute of [`REFUSALS_MAX`].
const SPAN: Duration = Duration::from_secs(60);

/// Callers who are counted by themselves: 256. Further ones share what is there for those who are not known.
const CALLERS_MAX: usize = 256;

/// What was refused within a minute, by caller; the empty name is of all who are not known.
#[derive(Debug, Default)]
pub(super) struct Refusals {
    callers: BTreeMap<String, Span>,
}

#[derive(Debug)]
struct Span {
    began: Instant,
    count: u32,
    left_out: u64,
}

impl Refusals {
    /// Counts one: whether it becomes an entry. `caller` is empty for who is not known.
    pub(super) fn admit(&mut self, caller: &str, now: Instant) -> bool {
        let has_room = self.callers.len() < CALLERS_MAX || self.callers.contains_key(caller);
        let caller = if has_room { caller } else { "" };
        let span = self.callers.entry(caller.to_owned()).or_insert(Span {
            began: now,
            count: 0,
            left_out: 0,
        });
        if now.duration_since(span.began) >= SPAN {
            (span.began, span.count) = (now, 0);
        }
        span.count += 1;
        let admitted = span.count <= REFUSALS_MAX;
        span.left_out += u64::from(!admitted);
        admitted
    }

    /// How many were left out, by caller, of those whose minute is over, or of all. What is over is forgotten.
    pub(super) fn take_left_out(&mut self, now: Instant, all: bool) -> Vec<(String, u64)> {
        let mut left_out = Vec::new();
        self.callers.retain(|caller, span| {
            let is_over = all || now.duration_since(span.began) >= SPAN;
            if is_over && span.left_out > 0 {
                left_out.push((caller.clone(), span.left_out));
            }
            !is_over
        });
        left_out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_known_caller_has_a_bound_and_what_is_left_out_is_told_once() {
        let (mut refusals, start) = (Refusals::default(), Instant::now());
        let admitted = |refusals: &mut Refusals, caller: &str, times: usize, now| {
            (0..times).filter(|_| refusals.admit(caller, now)).count()
        };
        assert_eq!(admitted(&mut refusals, "", 200, start), 60);
        assert_eq!(admitted(&mut refusals, "eve", 61, start), 60);
        assert_eq!(admitted(&mut refusals, "bob", 1, start), 1);
        assert_eq!(refusals.take_left_out(start, false), []);
        let later = start + SPAN;
        let left_out = [(String::new(), 140), ("eve".to_owned(), 1)];
        assert_eq!(refusals.take_left_out(later, false), left_out);
        assert_eq!(refusals.take_left_out(later, true), []);
        assert_eq!(admitted(&mut refusals, "eve", 61, later), 60);
        assert_eq!(refusals.take_left_out(later, true), [("eve".to_owned(), 1)]);
    }

    #[test]
    fn callers_without_number_are_bounded() {
        let (mut refusals, now) = (Refusals::default(), Instant::now());
        let admitted = (0..2_000).filter(|n| refusals.admit(&n.to_string(), now)).count();
        assert_eq!((admitted, refusals.callers.len()), (256 + 60, CALLERS_MAX + 1));
    }
}
