//! The end of the demo: which stories were played, which rule noticed them and how soon.

use std::{fmt::Write as _, time::Duration};

use super::time_of_day;
use crate::{
    engine::{
        text::{
            counted,
            paint::{BAD, DOUBTFUL, GOOD, paint},
        },
        time::{EventTime, WallTime},
    },
    generate::{STORIES, StoryScore, score},
};

/// Columns in front of what is said about a story.
const INDENT: &str = "            ";

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
    /// The story of the demo for people, and whether every attack was noticed.
    pub(super) fn render(&self, colours: bool) -> (String, bool) {
        let named: Vec<(&str, EventTime)> =
            self.alerts.iter().map(|seen| (seen.rule.as_str(), seen.starts_at)).collect();
        let score = score(&self.begun, &named);
        // A story that was cut short cannot be missed.
        let is_cut = |story: &StoryScore| {
            !story.missing.is_empty() && self.cut_after.is_some_and(|end| story.begun > end)
        };
        let (cut, played): (Vec<&StoryScore>, Vec<&StoryScore>) =
            score.stories.iter().partition(|story| is_cut(story));
        let missed = played.iter().filter(|story| !story.missing.is_empty()).count();
        let mut text = String::from("\nWhat happened, and what noticed it:\n\n");
        for story in &played {
            self.tell(&mut text, story, colours);
        }
        if !cut.is_empty() {
            let _ = writeln!(text, "  {} more had only begun.", cut.len());
        }
        for index in &score.false_positives {
            if let Some(seen) = self.alerts.get(*index) {
                let word = paint("FALSE ALARM", DOUBTFUL, colours);
                let time = time_of_day(seen.starts_at);
                let _ = writeln!(text, "  {time}  {word}  {} {}", seen.rule, seen.labels);
            }
        }
        text.push('\n');
        text += &self.totals(played.len(), missed, score.false_positives.len());
        (text, missed == 0)
    }

    /// One attack, and what came of it.
    fn tell(&self, text: &mut String, story: &StoryScore, colours: bool) {
        let Some(told) = STORIES.get(story.story) else { return };
        let _ = writeln!(text, "  {}  {}", time_of_day(story.begun), told.title);
        let caught = paint("caught", GOOD, colours);
        for (rule, index) in &story.caught {
            let after = self.alerts.get(*index).map_or(Duration::ZERO, |seen| {
                let told = if self.is_live { seen.told_at.as_event() } else { seen.starts_at };
                told.since(story.begun)
            });
            let _ = writeln!(text, "{INDENT}{caught} after {:.1} s by {rule}", after.as_secs_f64());
        }
        for rule in &story.missing {
            let word = paint("MISSED", BAD, colours);
            let _ = writeln!(text, "{INDENT}{word} by {rule}, which should have seen it");
        }
        let mut further: Vec<&str> = Vec::new();
        for seen in story.further.iter().filter_map(|index| self.alerts.get(*index)) {
            if !further.contains(&seen.rule.as_str()) {
                further.push(&seen.rule);
            }
        }
        if !further.is_empty() {
            let _ = writeln!(text, "{INDENT}also seen by {}", further.join(", "));
        }
    }

    fn totals(&self, played: usize, missed: usize, false_positives: usize) -> String {
        let false_alarms = match false_positives {
            0 => "no false alarms".to_owned(),
            count => counted(count, "false alarm"),
        };
        #[expect(clippy::cast_precision_loss, reason = "for people")]
        let rate = self.events_seen as f64 / self.took.as_secs_f64().max(0.001);
        let lost = self.events_sent.saturating_sub(self.events_seen);
        let lost = if lost == 0 { String::new() } else { format!(", {lost} never came out") };
        let mut text = format!(
            "{} of {played} attacks caught, {}, {false_alarms}.\n{} events in {:.1} s \
             ({rate:.0}/s){lost}.\n",
            played - missed,
            counted(self.alerts.len(), "alert"),
            self.events_seen,
            self.took.as_secs_f64(),
        );
        let mut delays: Vec<Duration> = self.alerts.iter().map(delay_of).collect();
        delays.sort_unstable();
        if self.is_live
            && let (Some(median), Some(longest)) = (delays.get(delays.len() / 2), delays.last())
        {
            let (median, longest) = (median.as_secs_f64(), longest.as_secs_f64());
            let _ = writeln!(
                text,
                "From the event that decided to the alert: {median:.2} s (median), {longest:.2} s at most."
            );
        }
        text
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
                (index("reverse-shell"), at(20)),
                (index("night-exec"), at(58)),
            ],
            cut_after: Some(at(50)),
            alerts: vec![
                seen("mass_deletion", 5),
                seen("kubernetes_events_deleted", 11),
                seen("admission_webhook_changed", 21),
                seen("exec_outside_business_hours", 22),
            ],
            is_live: true,
            events_sent: 3_000,
            events_seen: 2_999,
            took: Duration::from_secs(60),
        };
        let (text, all_caught) = report.render(false);
        assert!(!all_caught);
        let expected = "
What happened, and what noticed it:

  00:00:10  Somebody wipes their tracks
            caught after 1.2 s by kubernetes_events_deleted
  00:00:20  A container is told to call home
            MISSED by exec_reverse_shell, which should have seen it
            MISSED by exec_reads_credentials, which should have seen it
            also seen by exec_outside_business_hours
  1 more had only begun.
  00:00:05  FALSE ALARM  mass_deletion {actor_id=eve}
  00:00:21  FALSE ALARM  admission_webhook_changed {actor_id=eve}

1 of 2 attacks caught, 4 alerts, 2 false alarms.
2999 events in 60.0 s (50/s), 1 never came out.
From the event that decided to the alert: 0.25 s (median), 0.25 s at most.
";
        assert_eq!(text, expected);
    }
}
