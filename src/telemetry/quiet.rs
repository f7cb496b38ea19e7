//! Says once what goes wrong again and again, reminds of it with a count, and knows when it is over.
//!
//! What repeats is known by a key: who is in trouble, and with what. The first time is said at once, a
//! reminder comes after a minute, then after two, at last every ten. If it is over and comes again, it is
//! said again, but not within ten seconds: what comes and goes fills no log either.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// Until the first reminder: 1 min. It doubles each time.
const REMINDER: Duration = Duration::from_secs(60);

/// Between two reminders at most: 10 min.
const REMINDER_MAX: Duration = Duration::from_secs(600);

/// Until something that was over is said again: 10 s.
const AGAIN: Duration = Duration::from_secs(10);

/// Keys that are known at once: 4,096. Beyond, those that are over are forgotten, and then all.
const KEYS_MAX: usize = 4_096;

/// What was said of each key.
#[derive(Debug, Default)]
pub struct Quiet {
    known: Mutex<BTreeMap<String, Said>>,
}

#[derive(Debug)]
struct Said {
    /// Not before.
    next: Instant,
    /// Between the last line and the one after the next.
    interval: Duration,
    last: Instant,
    /// Times that were not said.
    unsaid: u64,
    /// It was said, and its end was not.
    is_open: bool,
}

impl Quiet {
    /// Nothing was said yet.
    pub const fn new() -> Quiet {
        Quiet { known: Mutex::new(BTreeMap::new()) }
    }

    /// It happened. If it is to be said now: how often it happened since it was said last.
    pub fn happened(&self, key: &str, now: Instant) -> Option<u64> {
        let mut known = self.known();
        if known.len() >= KEYS_MAX && !known.contains_key(key) {
            known.retain(|_, said| said.is_open);
            if known.len() >= KEYS_MAX {
                known.clear();
            }
        }
        let said = known.entry(key.to_owned()).or_insert(Said {
            next: now,
            interval: REMINDER,
            last: now,
            unsaid: 0,
            is_open: false,
        });
        said.unsaid += 1;
        if now < said.next {
            return None;
        }
        if !said.is_open {
            said.interval = REMINDER;
        }
        said.next = now + said.interval;
        said.last = now;
        said.interval = (said.interval * 2).min(REMINDER_MAX);
        said.is_open = true;
        Some(std::mem::take(&mut said.unsaid))
    }

    /// It is over: all whose keys begin so. Whether that is to be said, since it was said that it happened.
    pub fn over(&self, prefix: &str) -> bool {
        let mut is_said = false;
        let mut known = self.known();
        let keys =
            known.range_mut(prefix.to_owned()..).take_while(|(key, _)| key.starts_with(prefix));
        for (_, said) in keys.filter(|(_, said)| said.is_open) {
            said.is_open = false;
            said.next = said.last + AGAIN;
            is_said = true;
        }
        is_said
    }

    /// A map stays usable when a thread that held it panicked.
    fn known(&self) -> MutexGuard<'_, BTreeMap<String, Said>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_repeats_is_said_once_and_then_seldom_with_a_count() {
        let (quiet, begin) = (Quiet::new(), Instant::now());
        let mut said = Vec::new();
        for second in 0..3_600 {
            if let Some(times) = quiet.happened("a", begin + Duration::from_secs(second)) {
                said.push((second, times));
            }
        }
        assert_eq!(said[..4], [(0, 1), (60, 60), (180, 120), (420, 240)]);
        assert_eq!(said.len(), 9, "every ten minutes at last: {said:?}");
        assert_eq!(quiet.happened("b", begin), Some(1), "another thing is news");
    }

    #[test]
    fn an_end_is_said_once_and_a_relapse_not_at_once() {
        let (quiet, begin) = (Quiet::new(), Instant::now());
        let at = |second| begin + Duration::from_secs(second);
        assert!(!quiet.over("r"), "nothing began");
        assert_eq!(quiet.happened("r timeout", at(0)), Some(1));
        assert_eq!(quiet.happened("r refused", at(1)), Some(1));
        assert!(quiet.over("r "));
        assert!(!quiet.over("r "), "it is over already");
        assert_eq!(quiet.happened("r timeout", at(2)), None);
        assert!(!quiet.over("r "), "the relapse was not said, so neither is its end");
        assert_eq!(quiet.happened("r timeout", at(10)), Some(2));
        assert_eq!(quiet.happened("r timeout", at(69)), None);
        assert_eq!(quiet.happened("r timeout", at(70)), Some(2));
    }

    #[test]
    fn keys_are_bounded() {
        let (quiet, now) = (Quiet::new(), Instant::now());
        for number in 0..3 * KEYS_MAX {
            assert!(quiet.happened(&number.to_string(), now).is_some());
        }
        assert!(quiet.known().len() <= KEYS_MAX);
    }
}
