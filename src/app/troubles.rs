//! Troubles of Tripline itself while they last, as alerts.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use crate::engine::{
    alert::{Alert, OwnAlert},
    dispatcher::Dispatcher,
    rule::Severity,
    time::WallTime,
};

/// How long an alert lasts about something that happened once: 1 hour.
const EVENT_LASTS: Duration = Duration::from_secs(3_600);

/// Alerts at once: 1,000. Beyond it further ones are in metrics and logs only.
const TROUBLES_MAX: usize = 1_000;

/// Other programs are members of our group.
pub(super) const GROUP_SHARED: OwnAlert = OwnAlert {
    name: "TriplineGroupShared",
    rule_id: "tripline.group_shared",
    title: "Other programs are members of Tripline's consumer group",
    severity: Severity::Medium,
};

/// Partitions are there that are not read.
pub(super) const PARTITIONS_UNREAD: OwnAlert = OwnAlert {
    name: "TriplinePartitionsUnread",
    rule_id: "tripline.partitions_unread",
    title: "Partitions are not read",
    severity: Severity::High,
};

/// Windows are closed although some partitions cannot be read.
pub(super) const CLOSED_WITHOUT: OwnAlert = OwnAlert {
    name: "TriplineWindowsClosedWithout",
    rule_id: "tripline.closed_without",
    title: "Windows are closed without partitions that cannot be read",
    severity: Severity::High,
};

/// Records were gone before they were read.
pub(super) const RECORDS_LOST: OwnAlert = OwnAlert {
    name: "TriplineRecordsLost",
    rule_id: "tripline.records_lost",
    title: "Records were gone before they were read",
    severity: Severity::High,
};

/// A partition is another one than it was.
pub(super) const TOPIC_MADE_ANEW: OwnAlert = OwnAlert {
    name: "TriplineTopicMadeAnew",
    rule_id: "tripline.topic_made_anew",
    title: "A topic was made anew",
    severity: Severity::Medium,
};

/// The checkpoint was gone.
pub(super) const STATE_LOST: OwnAlert = OwnAlert {
    name: "TriplineStateLost",
    rule_id: "tripline.state_lost",
    title: "Tripline's state was lost",
    severity: Severity::High,
};

/// A filter or an entry of a list does not count for much longer.
pub(super) const EXCEPTION_ENDS: OwnAlert = OwnAlert {
    name: "TriplineExceptionEnds",
    rule_id: "tripline.exception_ends",
    title: "An exception ends soon",
    severity: Severity::Medium,
};

/// All sorts, with whether one lasts for a time and not as long as something is so.
const SORTS: [(&OwnAlert, bool); 7] = [
    (&CLOSED_WITHOUT, false),
    (&EXCEPTION_ENDS, false),
    (&GROUP_SHARED, false),
    (&PARTITIONS_UNREAD, false),
    (&RECORDS_LOST, true),
    (&TOPIC_MADE_ANEW, true),
    (&STATE_LOST, true),
];

/// Those that last.
#[derive(Default)]
pub(super) struct Troubles {
    alerts: BTreeMap<(&'static str, String), Trouble>,
}

struct Trouble {
    alert: Alert,
    /// When it is over by itself.
    ends_at: Option<WallTime>,
}

impl Troubles {
    /// Takes over what an earlier process has told; whether it is still so will show.
    pub(super) fn restore(&mut self, now: WallTime, dispatcher: &Dispatcher) {
        for alert in dispatcher.told() {
            let sort = SORTS.iter().find(|(sort, _)| sort.rule_id == alert.rule_id);
            if let Some((sort, has_happened)) = sort {
                let about: Vec<&str> = alert.key.iter().map(|(_, value)| value.as_str()).collect();
                let ends_at = has_happened.then(|| now.plus(EVENT_LASTS));
                let trouble = Trouble { alert: alert.clone(), ends_at };
                self.alerts.insert((sort.rule_id, about.join(" ")), trouble);
            }
        }
    }

    /// Something is so, or, without a `summary`, is so no longer. The alert to tell, if that is news.
    pub(super) fn set(
        &mut self,
        now: WallTime,
        sort: &OwnAlert,
        source: &str,
        summary: Option<&str>,
    ) -> Option<Alert> {
        let key = (sort.rule_id, source.to_owned());
        let Some(summary) = summary else {
            return self.alerts.remove(&key).map(|trouble| trouble.alert.ended(now));
        };
        self.tell(now, sort, key, &[("source", source)], summary, None)
    }

    /// Something is so, of which these labels are said. The alert to tell, if that is news.
    pub(super) fn set_about(
        &mut self,
        now: WallTime,
        sort: &OwnAlert,
        about: &[(&str, &str)],
        summary: &str,
    ) -> Option<Alert> {
        self.tell(now, sort, (sort.rule_id, Troubles::key_of(about)), about, summary, None)
    }

    /// All of a sort but these are so no longer. The alerts to tell.
    pub(super) fn end_all_but(
        &mut self,
        now: WallTime,
        sort: &OwnAlert,
        still: &BTreeSet<String>,
    ) -> Vec<Alert> {
        let is_over = |(of, key): &(&str, String)| *of == sort.rule_id && !still.contains(key);
        let over: Vec<_> = self.alerts.extract_if(.., |key, _| is_over(key)).collect();
        over.into_iter().map(|(_, trouble)| trouble.alert.ended(now)).collect()
    }

    /// What tells alerts of one sort apart.
    pub(super) fn key_of(about: &[(&str, &str)]) -> String {
        let values: Vec<&str> = about.iter().map(|(_, value)| *value).collect();
        values.join(" ")
    }

    /// Something has happened. The alert to tell, if there is room.
    pub(super) fn happened(
        &mut self,
        now: WallTime,
        sort: &OwnAlert,
        about: &[(&str, &str)],
        summary: &str,
    ) -> Option<Alert> {
        let key = (sort.rule_id, Troubles::key_of(about));
        self.tell(now, sort, key, about, summary, Some(now.plus(EVENT_LASTS)))
    }

    fn tell(
        &mut self,
        now: WallTime,
        sort: &OwnAlert,
        key: (&'static str, String),
        about: &[(&str, &str)],
        summary: &str,
        ends_at: Option<WallTime>,
    ) -> Option<Alert> {
        let alert = match self.alerts.get(&key) {
            Some(known) if known.alert.annotations.get("summary").is_some_and(|s| s == summary) => {
                return None;
            }
            Some(known) => known.alert.told_again(now, summary, sort.title),
            None if self.alerts.len() >= TROUBLES_MAX => return None,
            None => sort.begin(now, about, summary, ""),
        };
        self.alerts.insert(key, Trouble { alert: alert.clone(), ends_at });
        Some(alert)
    }

    /// Those that are over by themselves. A clock that was set back makes none last longer.
    pub(super) fn take_over(&mut self, now: WallTime) -> Vec<Alert> {
        for trouble in self.alerts.values_mut() {
            trouble.ends_at = trouble.ends_at.map(|at| at.min(now.plus(EVENT_LASTS)));
        }
        let is_over = |trouble: &Trouble| trouble.ends_at.is_some_and(|at| at <= now);
        let over: Vec<_> = self.alerts.extract_if(.., |_, trouble| is_over(trouble)).collect();
        over.into_iter().map(|(_, trouble)| trouble.alert.ended(now)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::alert::AlertState;

    fn at(seconds: i64) -> WallTime {
        WallTime::from_micros(seconds * 1_000_000)
    }

    #[test]
    fn what_lasts_is_told_once_again_when_it_changes_and_when_it_is_over() {
        let mut troubles = Troubles::default();
        let mut set = |now, summary| troubles.set(at(now), &GROUP_SHARED, "kafka", summary);
        let first = set(1, Some("a")).expect("news");
        assert_eq!(set(2, Some("a")), None);
        assert_eq!(set(3, Some("b")).map(|alert| alert.revision), Some(2));
        let over = set(4, None).expect("news");
        assert_eq!((over.state, over.fingerprint), (AlertState::Resolved, first.fingerprint));
        assert_eq!(set(5, None), None);
    }

    #[test]
    fn what_happened_is_over_after_an_hour_even_if_the_clock_is_set_back() {
        let mut troubles = Troubles::default();
        let about = [("partition", "audit/0")];
        assert!(troubles.happened(at(100_000), &RECORDS_LOST, &about, "9 records").is_some());
        assert_eq!(troubles.take_over(at(50_000)), []);
        assert_eq!(troubles.take_over(at(53_600)).len(), 1);
        assert_eq!(troubles.take_over(at(200_000)), []);
    }
}
