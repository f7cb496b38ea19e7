//! Which requests a rule has counted already.
//!
//! Webhooks retry whole batches and shippers resend, and a long-running request comes in two stages.
//! All copies of a request have one identity; each rule counts it once. An identity is remembered by
//! event time: for as long as any window could still hold it, and a day for requests whose second
//! stage may come hours later.

use std::{collections::BTreeSet, time::Duration};

use hashbrown::HashMap;

use crate::engine::{
    detect::Detection, event::Stage, limits::IDENTITIES_PER_RULE_MAX, time::EventTime,
};

/// How long the identity of a request is remembered whose end may come much later: one day.
const LONG_RUNNING: Duration = Duration::from_secs(86_400);

/// What identifies a detection of one rule: the request, and the stage if the rule sees all stages.
pub(crate) type IdentityKey = [u8; 17];

/// The identities of one rule.
#[derive(Debug, Default)]
pub(crate) struct Identities {
    until: HashMap<IdentityKey, EventTime>,
    by_time: BTreeSet<(EventTime, IdentityKey)>,
}

/// What looking at an identity came to.
pub(crate) enum Seen {
    /// It is new and remembered until this time; an older one may have been forgotten for it.
    New { until: EventTime, forgotten: Option<IdentityKey> },
    /// It was counted before.
    Before,
}

/// The key of a detection.
pub(crate) fn key_of(detection: &Detection) -> IdentityKey {
    let mut key = [0; 17];
    for (to, from) in key.iter_mut().zip(detection.identity.0) {
        *to = from;
    }
    if detection.every_stage {
        key[16] = 1 + match detection.stage {
            Stage::RequestReceived => 0,
            Stage::ResponseStarted => 1,
            Stage::ResponseComplete => 2,
            Stage::Panic => 3,
        };
    }
    key
}

impl Identities {
    /// Remembers a detection, for `keep` after its event time.
    pub(crate) fn see(&mut self, detection: &Detection, keep: Duration) -> Seen {
        let key = key_of(detection);
        if self.until.contains_key(&key) {
            return Seen::Before;
        }
        let long = detection.stage == Stage::ResponseStarted && !detection.every_stage;
        let until = detection.time.plus(if long { keep.max(LONG_RUNNING) } else { keep });
        let forgotten = (self.until.len() >= IDENTITIES_PER_RULE_MAX)
            .then(|| self.by_time.pop_first())
            .flatten()
            .map(|(_, key)| key);
        if let Some(key) = &forgotten {
            self.until.remove(key);
        }
        self.restore(key, until);
        Seen::New { until, forgotten }
    }

    /// Puts a stored identity back.
    pub(crate) fn restore(&mut self, key: IdentityKey, until: EventTime) {
        if self.until.insert(key, until).is_none() {
            self.by_time.insert((until, key));
        }
    }

    /// Forgets what ended before the watermark; each forgotten one is handed out.
    pub(crate) fn expire(&mut self, watermark: EventTime, mut forgotten: impl FnMut(IdentityKey)) {
        while let Some((until, key)) = self.by_time.first().copied()
            && until <= watermark
        {
            self.by_time.pop_first();
            self.until.remove(&key);
            forgotten(key);
        }
    }
}
