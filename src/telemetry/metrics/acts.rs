//! Metrics of what people do.

use prometheus::{IntCounter, IntCounterVec, IntGauge};

use super::{Metrics, advance};
use crate::{engine::act::Acts, telemetry::registry::Builder};

pub(super) struct ActMetrics {
    done: IntCounterVec,
    refused: IntCounterVec,
    again: IntCounter,
    silences: IntGauge,
    silenced: IntGauge,
    forgotten: IntCounter,
    unanswered: IntCounter,
}

impl ActMetrics {
    #[rustfmt::skip]
    pub(super) fn new(b: &mut Builder) -> ActMetrics {
        ActMetrics {
            done: b.counters("tripline_acts_total", &["act"], "What people did: acknowledge, assign, verdict, comment, resolve, silence, end_silence."),
            refused: b.counters("tripline_acts_refused_total", &["reason"], "What people wanted to do and could not."),
            again: b.counter("tripline_acts_repeated_total", "Acts that were sent again after they were done."),
            silences: b.gauge("tripline_silences_active", "Silences that hide what matches."),
            silenced: b.gauge("tripline_alerts_silenced", "Alerts that fire and are hidden by a silence."),
            forgotten: b.counter("tripline_act_episodes_dropped_total", "Ended alerts that were forgotten early, so that nothing can be done with them any more."),
            unanswered: b.counter("tripline_acts_unanswered_total", "Clicks in Slack whose answer Slack did not take: who clicked was told nothing."),
        }
    }
}

impl Metrics {
    /// Slack did not take what it was asked to tell whoever clicked.
    pub fn act_unanswered(&self) {
        self.acts.unanswered.inc();
    }

    /// What people did so far. Cost: the alerts that fire.
    pub fn set_acts(&self, acts: &Acts) {
        let counts = acts.counts();
        for (act, total) in &counts.done {
            advance(&self.acts.done.with_label_values(&[act]), *total);
        }
        for (reason, total) in &counts.refused {
            advance(&self.acts.refused.with_label_values(&[reason]), *total);
        }
        advance(&self.acts.again, counts.again);
        advance(&self.acts.forgotten, counts.episodes_dropped);
        let number = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        self.acts.silences.set(number(acts.active_count()));
        self.acts.silenced.set(number(acts.silenced_count()));
    }
}
