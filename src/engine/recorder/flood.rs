//! Who does more in an hour than anybody will read: names are left out, and at last accesses.

use std::sync::Arc;

use hashbrown::HashMap;

use crate::engine::{
    access::Access,
    limits::{FLOOD_ACTORS_MAX, FLOOD_ROWS, FLOOD_SESSIONS, ROWS_PER_HOUR_MAX},
    rule::SESSION,
    time::EventTime,
};

/// One hour, in microseconds.
pub(super) const HOUR: i64 = 3_600_000_000;

/// Hours of event time that are counted at once: 48. The first is forgotten for a further one.
const HOURS_MAX: usize = 48;

/// Whose accesses are counted: an actor of a class, or an address of one that has no name.
type Who = (Arc<str>, Arc<str>);

/// Accesses of this hour, and of those that are not over.
#[derive(Debug, Default)]
pub(super) struct Floods {
    /// By hour of event time: how many of whom.
    hours: std::collections::BTreeMap<i64, HashMap<Who, u64>>,
    /// By hour of event time: how many accesses became rows.
    rows: std::collections::BTreeMap<i64, u64>,
}

impl Floods {
    /// Whether an access is one of too many of its class and actor. Sessions are counted by themselves, whatever other
    /// classes they have: what else somebody did takes nothing from them, nor they from it.
    pub(super) fn is_flood(&mut self, access: &Access) -> bool {
        let who = access.actor.id.as_ref().or(access.source_ip.as_ref());
        let session = access.classes.iter().find(|class| &***class == SESSION);
        let (Some(class), Some(who)) = (session.or(access.classes.first()), who) else {
            return false;
        };
        let most = if session.is_some() { FLOOD_SESSIONS } else { FLOOD_ROWS };
        let hour = self.hours.entry(access.at.hour()).or_default();
        let key = (Arc::clone(class), Arc::clone(who));
        if let Some(count) = hour.get_mut(&key) {
            *count += 1;
            return *count > most;
        }
        if hour.len() >= FLOOD_ACTORS_MAX {
            // So many are a flood together.
            return true;
        }
        hour.insert(key, 1);
        false
    }

    /// Whether one more row fits into its hour; of what is only read there may be half as many.
    pub(super) fn has_room(&mut self, at: EventTime, is_read: bool) -> bool {
        let rows = self.rows.entry(at.hour()).or_default();
        let most = if is_read { ROWS_PER_HOUR_MAX / 2 } else { ROWS_PER_HOUR_MAX };
        if *rows >= most {
            return false;
        }
        *rows += 1;
        true
    }

    /// Event time has passed the hours before.
    pub(super) fn forget_before(&mut self, watermark: EventTime) {
        let current = watermark.hour();
        while let Some((hour, _)) = self.hours.first_key_value()
            && (*hour < current || self.hours.len() > HOURS_MAX)
        {
            self.hours.pop_first();
        }
        while self.rows.len() > HOURS_MAX {
            self.rows.pop_first();
        }
    }
}
