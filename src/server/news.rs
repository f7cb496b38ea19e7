//! What changed a moment ago, for pages that are open: a ring of the latest changes of alerts.
//!
//! Readers keep a place in it and nothing is kept for them, so a slow one costs nothing: whoever comes too
//! late is told to load the page again.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
};

use tokio::sync::watch;

use crate::engine::alert::{Alert, AlertState, Fingerprint};

/// Changes that are kept: 1,024. A reader that is further behind is told to reload.
const RING: usize = 1_024;

/// A change of an alert, as an open page hears of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Change {
    /// Counts up by one from 1 since the process began.
    pub(super) number: u64,
    /// `firing` for one that began, `updated`, `resolved`.
    pub(super) what: &'static str,
    pub(super) fingerprint: Fingerprint,
    pub(super) starts_at: String,
    pub(super) severity: &'static str,
    pub(super) title: String,
    /// How many fire after it.
    pub(super) firing: usize,
}

/// The latest changes.
#[derive(Debug)]
pub(super) struct News {
    ring: Mutex<VecDeque<Change>>,
    last: watch::Sender<u64>,
}

/// What there is behind a place.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Since {
    /// These, in order; maybe none.
    Changes(Vec<Change>),
    /// Some of them are gone, or the place is of another process.
    Lost,
}

impl Default for News {
    fn default() -> News {
        News { ring: Mutex::default(), last: watch::Sender::new(0) }
    }
}

impl News {
    /// Tells of a change.
    pub(super) fn push(&self, alert: &Alert, firing: usize) {
        let mut ring = self.ring();
        let number = *self.last.borrow() + 1;
        let what = match alert.state {
            AlertState::Firing if alert.revision > 1 => "updated",
            state => state.as_str(),
        };
        ring.push_back(Change {
            number,
            what,
            fingerprint: alert.fingerprint,
            starts_at: alert.starts_at.rfc3339(),
            severity: alert.severity.as_str(),
            title: alert.rule_title.clone(),
            firing,
        });
        if ring.len() > RING {
            ring.pop_front();
        }
        drop(ring);
        self.last.send_replace(number);
    }

    /// Tells when there is more.
    pub(super) fn watch(&self) -> watch::Receiver<u64> {
        self.last.subscribe()
    }

    /// The number of the latest change; 0 before the first.
    pub(super) fn last(&self) -> u64 {
        *self.last.borrow()
    }

    /// What came behind a change.
    pub(super) fn since(&self, number: u64) -> Since {
        let ring = self.ring();
        let last = self.last();
        let first = ring.front().map_or(last + 1, |change| change.number);
        if number > last || number + 1 < first {
            return Since::Lost;
        }
        // Their numbers have no gaps.
        let known = usize::try_from(number + 1 - first).unwrap_or(usize::MAX);
        Since::Changes(ring.iter().skip(known).cloned().collect())
    }

    fn ring(&self) -> MutexGuard<'_, VecDeque<Change>> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::engine::{rule::Severity, time::WallTime};

    #[test]
    fn who_is_too_late_is_told_so_and_who_is_not_hears_all() {
        let news = News::default();
        let alert =
            Alert::begun(WallTime::from_micros(0), ("r", "R"), Severity::High, BTreeMap::new());
        assert_eq!(news.since(0), Since::Changes(Vec::new()));
        assert_eq!(news.since(1), Since::Lost, "a place of another process");
        for firing in 0..RING + 2 {
            news.push(&alert, firing);
        }
        assert_eq!(news.since(1), Since::Lost);
        let Since::Changes(changes) = news.since(2) else { panic!("all are there") };
        assert_eq!((changes.len(), changes[0].number, changes[0].what), (RING, 3, "firing"));
        assert_eq!(news.since(news.last()), Since::Changes(Vec::new()));
    }
}
