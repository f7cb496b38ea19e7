//! The end of the demo: which stories were played, which rule noticed them and how soon.

use std::{fmt::Write as _, time::Duration};

use crate::{
    engine::time::{EventTime, WallTime},
    generate::{STORIES, StoryScore, score},
};

/// An alert that began, as the pipeline told us.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    /// Name of its rule.
    pub(super) rule: String,
    /// Event time at which it began: that of the event that completed it.
    pub(super) starts_at: EventTime,
    /// When the checkpoint that holds it was durable.
    pub(super) told_at: WallTime,
    /// Its labels, for people.
    pub(super) labels: String,
}

/// What the demo came to.
#[derive(Clone, Debug, Default)]
pub(super) struct Report {
    /// Stories that began, and when.
    pub(super) begun: Vec<(usize, EventTime)>,
    /// Stories that began less than their length before the end; nobody could have noticed them.
    pub(super) cut_after: Option<EventTime>,
    /// Alerts that began.
    pub(super) alerts: Vec<Seen>,
    /// Whether the time in events was that of the operator's clock, so that delays mean something.
    pub(super) is_live: bool,
    /// Events handed to Kafka.
    pub(super) events_sent: u64,
    /// Events that came out of the decoder.
    pub(super) events_seen: u64,
    /// How long it took.
    pub(super) took: Duration,
}

impl Report {
    /// The table for people, and whether every story was noticed.
    pub(super) fn render(&self, colours: bool) -> (String, bool) {
        let paint = |code: &str, text: &str| {
            if colours { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
        };
        let named: Vec<(&str, EventTime)> =
            self.alerts.iter().map(|seen| (seen.rule.as_str(), seen.starts_at)).collect();
        let score = score(&self.begun, &named);
        // A story that was cut short cannot be missed.
        let is_cut = |story: &StoryScore| {
            !story.missing.is_empty() && self.cut_after.is_some_and(|end| story.begun > end)
        };
        let (cut, played): (Vec<&StoryScore>, Vec<&StoryScore>) =
            score.stories.iter().partition(|story| is_cut(story));
        let mut text = String::from("\n");
        let mut missed = 0;
        for story in &played {
            let Some(told) = STORIES.get(story.story) else { continue };
            missed += usize::from(!story.missing.is_empty());
            let word = if story.missing.is_empty() {
                paint("32", "caught")
            } else {
                paint("1;31", "MISSED")
            };
            let _ = writeln!(text, "  {word}  {}", told.title);
            for (rule, index) in &story.caught {
                let delay = self.alerts.get(*index).map_or(Duration::ZERO, delay_of);
                let after = if self.is_live {
                    format!("  {:.2} s after the event", delay.as_secs_f64())
                } else {
                    String::new()
                };
                let _ = writeln!(text, "          by {rule}{after}");
            }
            for rule in &story.missing {
                let _ = writeln!(text, "          not by {rule}, which should have");
            }
        }
        if !cut.is_empty() {
            let _ = writeln!(text, "  {} more had only begun", cut.len());
        }
        for index in &score.false_positives {
            if let Some(seen) = self.alerts.get(*index) {
                let word = paint("33", "false alarm");
                let _ =
                    writeln!(text, "  {word}  {} {} at {}", seen.rule, seen.labels, seen.starts_at);
            }
        }
        let _ =
            writeln!(text, "\n{}", self.totals(played.len(), missed, score.false_positives.len()));
        (text, missed == 0)
    }

    fn totals(&self, played: usize, missed: usize, false_positives: usize) -> String {
        #[expect(clippy::cast_precision_loss, reason = "for people")]
        let rate = self.events_seen as f64 / self.took.as_secs_f64().max(0.001);
        let lost = self.events_sent.saturating_sub(self.events_seen);
        let lost = if lost == 0 { String::new() } else { format!(", {lost} never came out") };
        format!(
            "{} of {played} stories caught, {} alerts, {false_positives} false alarms; {} events in \
             {:.1} s ({rate:.0}/s){lost}",
            played - missed,
            self.alerts.len(),
            self.events_seen,
            self.took.as_secs_f64(),
        )
    }
}

fn delay_of(seen: &Seen) -> Duration {
    seen.told_at.as_event().since(seen.starts_at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generate::Story;

    fn at(second: i64) -> EventTime {
        EventTime::from_millis(second * 1_000)
    }

    fn seen(rule: &str, second: i64) -> Seen {
        Seen {
            rule: rule.to_owned(),
            starts_at: at(second),
            told_at: WallTime::from_millis(second * 1_000 + 250),
            labels: "{actor_id=eve}".to_owned(),
        }
    }

    #[test]
    fn what_was_caught_missed_and_wrong_is_told_apart() {
        let index = |id| Story::find(id).unwrap();
        let report = Report {
            begun: vec![
                (index("events-deleted"), at(10)),
                (index("webhook"), at(20)),
                (index("night-exec"), at(58)),
            ],
            cut_after: Some(at(50)),
            alerts: vec![seen("mass_deletion", 5), seen("kubernetes_events_deleted", 11)],
            is_live: true,
            events_sent: 3_000,
            events_seen: 3_000,
            took: Duration::from_secs(60),
        };
        let (text, all_caught) = report.render(false);
        assert!(!all_caught);
        let expected = "
  caught  Somebody wipes their tracks
          by kubernetes_events_deleted  0.25 s after the event
  MISSED  Every new pod is sent to a stranger first
          not by admission_webhook_changed, which should have
  1 more had only begun
  false alarm  mass_deletion {actor_id=eve} at 1970-01-01T00:00:05.000000Z

1 of 2 stories caught, 2 alerts, 1 false alarms; 3000 events in 60.0 s (50/s)
";
        assert_eq!(text, expected);
    }
}
