//! Alerts that are too old to be told one by one: after an outage of a day nobody is to be woken a
//! hundred times for what was yesterday. They are recorded like all others, and summed up in one alert.

use std::{collections::BTreeMap, time::Duration};

use crate::engine::{
    alert::{Alert, AlertState, OwnAlert},
    rule::Severity,
    time::{EventTime, WallTime},
};

/// Rules that the sum names: 20. Alerts of others are in its count.
const RULES_NAMED_MAX: usize = 20;

/// The sum.
const OLD_ALERTS: OwnAlert = OwnAlert {
    name: "TriplineOldAlerts",
    rule_id: "tripline.old_alerts",
    title: "Alerts were too old to be told one by one",
    severity: Severity::High,
};

/// What was not told, and the alert that says so.
#[derive(Debug, Default)]
pub(super) struct OldNews {
    age_max: Option<Duration>,
    count: u64,
    told_count: u64,
    by_rule: BTreeMap<String, u64>,
    span: Option<(EventTime, EventTime)>,
    alert: Option<Alert>,
}

impl OldNews {
    pub(super) fn new(age_max: Option<Duration>) -> OldNews {
        OldNews { age_max, ..OldNews::default() }
    }

    /// Takes over what an earlier process has told.
    pub(super) fn restore<'a>(&mut self, mut told: impl Iterator<Item = &'a Alert>) {
        self.alert = told.find(|alert| alert.rule_id == OLD_ALERTS.rule_id).cloned();
    }

    /// Whether an alert is too old to be told by itself.
    pub(super) fn is_old(&self, now: WallTime, alert: &Alert) -> bool {
        let is_older = |max| now.since(alert.last_seen.as_wall()) > max;
        alert.state == AlertState::Firing && self.age_max.is_some_and(is_older)
    }

    /// Counts such an alert. The sum, if it is to be told: at the first, and whenever it has doubled.
    pub(super) fn add(&mut self, now: WallTime, alert: &Alert) -> Option<Alert> {
        if alert.revision > 1 {
            return None;
        }
        self.count += 1;
        if self.by_rule.len() < RULES_NAMED_MAX || self.by_rule.contains_key(&alert.rule_title) {
            *self.by_rule.entry(alert.rule_title.clone()).or_default() += 1;
        }
        let (first, last) = (alert.starts_at, alert.last_seen);
        self.span =
            Some(self.span.map_or((first, last), |(from, to)| (from.min(first), to.max(last))));
        (self.count >= self.told_count * 2).then(|| self.sum(now))
    }

    /// The end of the sum, once event time is as near to now as alerts are told again.
    pub(super) fn end(&mut self, now: WallTime, watermark: Option<EventTime>) -> Option<Alert> {
        let is_near = |max| watermark.is_some_and(|time| now.since(time.as_wall()) <= max);
        if self.alert.is_none() || !self.age_max.is_none_or(is_near) {
            return None;
        }
        let alert = if self.count > 0 { self.sum(now) } else { self.alert.clone()? };
        *self = OldNews::new(self.age_max);
        Some(alert.ended(now))
    }

    fn sum(&mut self, now: WallTime) -> Alert {
        self.told_count = self.count;
        let (from, to) = self.span.unwrap_or((EventTime::epoch(), EventTime::epoch()));
        let summary = format!(
            "{} alerts of {} to {} are recorded and not told one by one: they were older than \
             max_alert_age when they were found",
            self.count,
            from.for_people(),
            to.for_people()
        );
        let rules: Vec<String> =
            self.by_rule.iter().map(|(rule, count)| format!("{rule}: {count}")).collect();
        let description = rules.join("\n");
        let mut alert = match &self.alert {
            None => OLD_ALERTS.begin(now, &[], &summary, &description),
            Some(alert) => alert.told_again(now, &summary, &description),
        };
        #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^53")]
        let value = self.count as f64;
        alert.value = value;
        self.alert = Some(alert.clone());
        alert
    }
}
