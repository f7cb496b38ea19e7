//! What may be said of silence while our own clock is wrong.
//!
//! An event that claims to be of later than it can be is taken as of the time at which it is read. Then two
//! clocks say how long ago that was: as events claim, and as time has truly passed since. Whoever is told to be
//! silent has been silent by one of them.

use std::{collections::BTreeSet, time::Duration};

use tripline::engine::{
    alert::{Alert, AlertState},
    time::{EventTime, WallTime},
};

use super::{
    broker::{Broker, USERS},
    checkers::brief,
    life::Spans,
    model::Input,
    rules::{is_silence, settings},
    world::SECOND,
};

/// The least that rules take for silence, in seconds.
fn timespan(rule_id: &str) -> i64 {
    if rule_id == "silent_ann" { 300 } else { 600 }
}

/// What an event is taken as that is held against a time.
pub(super) fn taken_as(claimed: EventTime, detected_at: WallTime) -> EventTime {
    let latest = detected_at.as_event();
    if claimed > latest.plus(settings().skew_max) { latest } else { claimed }
}

/// An event that was taken as of another time than it claims.
struct Doubt {
    user: &'static str,
    claimed: EventTime,
    taken_as: EventTime,
    read_at: i64,
}

/// Events that were taken as of another time than they claim.
#[derive(Default)]
pub(super) struct Doubtful {
    /// True time in microseconds.
    pub(super) now: i64,
    doubts: Vec<Doubt>,
    /// When users claim to have spoken.
    claims: BTreeSet<(&'static str, EventTime)>,
}

impl Doubtful {
    /// Some records are read.
    pub(super) fn read(&mut self, read_at: i64, at: WallTime, broker: &Broker, spans: &Spans) {
        self.now = self.now.max(read_at);
        for user in USERS {
            let times = broker.times_of(user, spans).into_iter();
            let doubts = times.map(|claimed| Doubt {
                user,
                claimed,
                taken_as: taken_as(claimed, at),
                read_at,
            });
            for doubt in doubts {
                self.claims.insert((user, doubt.claimed));
                if doubt.claimed != doubt.taken_as {
                    self.doubts.push(doubt);
                }
            }
        }
    }

    /// Why the silence that an alert tells is none.
    pub(super) fn says_otherwise(
        &self,
        alert: &Alert,
        watermark: Option<EventTime>,
    ) -> Option<String> {
        if !is_silence(&alert.rule_id) || alert.state != AlertState::Firing {
            return None;
        }
        let user = alert.labels.get("user").map(String::as_str);
        let seconds = timespan(&alert.rule_id);
        let silence = Duration::from_secs(seconds.unsigned_abs());
        let is_claim = user.is_some_and(|user| {
            self.claims.iter().any(|(name, time)| *name == user && *time == alert.last_seen)
        });
        let is_contrary = |doubt: &&Doubt| {
            // Clocks run a little wrong, and are set a little.
            let has_passed = self.now - doubt.read_at >= (seconds - seconds / 10) * SECOND;
            // Whoever claims to have spoken then, and the next time later than that, was silent.
            let was_silent = is_claim && doubt.claimed > alert.last_seen.plus(silence);
            Some(doubt.user) == user
                && doubt.taken_as <= alert.last_seen
                && alert.last_seen < doubt.claimed
                && watermark < Some(doubt.claimed.plus(silence))
                && !has_passed
                && !was_silent
        };
        let Doubt { claimed, .. } = self.doubts.iter().find(is_contrary)?;
        Some(format!("heard at {claimed}, watermark {watermark:?}, but{}\n", brief([alert])))
    }
}

/// When a user was last heard of, by what the engine could know when it read of it.
pub(super) fn last_heard(user: &str, history: &[Input], broker: &Broker) -> Option<EventTime> {
    let batches = history.iter().filter_map(|input| match input {
        Input::Batch { detected_at, spans, .. } => Some((*detected_at, spans)),
        _ => None,
    });
    let times = batches.flat_map(|(detected_at, spans)| {
        let times = broker.times_of(user, spans).into_iter();
        times.map(move |claimed| taken_as(claimed, detected_at))
    });
    times.max()
}
