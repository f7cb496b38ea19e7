//! How many events of which cluster and hour a batch has, for coverage.

use std::{collections::BTreeMap, sync::Arc};

use super::{
    event::{Event, well_known},
    limits::COVERAGE_HOURS_MAX,
};

/// Events of one cluster in one hour of event time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SeenHour {
    /// The cluster; empty if nobody names it.
    pub cluster: Arc<str>,
    /// Hours since 1970.
    pub hour: i64,
    /// All stages.
    pub events: u64,
    /// Those of which a part is missing.
    pub cut: u64,
    /// Those to which some rule is blind, since they were logged at too low a level.
    pub below: u64,
    /// What the last of these were: `create pods at Metadata: privileged_pod needs Request`.
    pub below_what: Option<Arc<str>>,
}

/// Events of hours that are not counted, since there were too many different ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Uncounted {
    /// The earliest of the hours, since 1970.
    pub first: i64,
    /// The latest.
    pub last: i64,
    /// All stages.
    pub events: u64,
}

/// The hours of clusters that a batch has events of: [`COVERAGE_HOURS_MAX`]. Events of further ones are [`Uncounted`].
#[derive(Clone, Debug, Default)]
pub struct SeenHours {
    seen: Vec<SeenHour>,
    /// Where each of them is.
    places: BTreeMap<i64, BTreeMap<Arc<str>, usize>>,
    /// Where the last event was counted.
    last: usize,
    uncounted: Option<Uncounted>,
}

impl SeenHours {
    /// In the order in which they came.
    pub fn iter(&self) -> impl Iterator<Item = &SeenHour> {
        self.seen.iter()
    }

    /// What there was no room for.
    pub const fn uncounted(&self) -> Option<Uncounted> {
        self.uncounted
    }

    /// Counts an event; `below` is what rules are blind to in it. Cost: a comparison if it is of the cluster and hour of the one
    /// before it, and else a look into a map.
    #[inline]
    pub(super) fn see(&mut self, event: &Event<'_>, below: Option<Arc<str>>) {
        let cluster = event.first_str(well_known::CLUSTER).unwrap_or("");
        let hour = event.time.hour();
        // Those of one cluster and hour come together, nearly always.
        let is_last = |seen: &SeenHour| seen.hour == hour && *seen.cluster == *cluster;
        if !self.seen.get(self.last).is_some_and(is_last) && !self.turn_to(hour, cluster) {
            return;
        }
        let Some(seen) = self.seen.get_mut(self.last) else { return };
        seen.events += 1;
        seen.cut += u64::from(event.is_cut);
        if below.is_some() {
            seen.below += 1;
            seen.below_what = below;
        }
    }

    /// Whether there is room for an event of this hour; it is counted next.
    fn turn_to(&mut self, hour: i64, cluster: &str) -> bool {
        if let Some(place) = self.places.get(&hour).and_then(|clusters| clusters.get(cluster)) {
            self.last = *place;
            return true;
        }
        if self.seen.len() >= COVERAGE_HOURS_MAX {
            let none = Uncounted { first: hour, last: hour, events: 0 };
            let uncounted = self.uncounted.get_or_insert(none);
            uncounted.first = uncounted.first.min(hour);
            uncounted.last = uncounted.last.max(hour);
            uncounted.events += 1;
            return false;
        }
        self.last = self.seen.len();
        let cluster: Arc<str> = cluster.into();
        self.places.entry(hour).or_default().insert(Arc::clone(&cluster), self.last);
        self.seen.push(SeenHour { cluster, hour, ..SeenHour::default() });
        true
    }
}

#[cfg(test)]
impl FromIterator<SeenHour> for SeenHours {
    fn from_iter<I: IntoIterator<Item = SeenHour>>(hours: I) -> SeenHours {
        SeenHours { seen: hours.into_iter().collect(), ..SeenHours::default() }
    }
}
