//! Which alerts belong to which story, which story was missed, and which alerts nobody asked for.

use std::time::Duration;

use super::STORIES;
use crate::engine::time::EventTime;

/// How much older than its beginning the first event of a story may be: 100 ms. API servers do not write
/// quite in the order of their clocks.
const EARLY: Duration = Duration::from_millis(100);

/// What a run came to.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Score {
    /// The stories that were played, in order.
    pub stories: Vec<StoryScore>,
    /// Indexes of alerts that belong to no story.
    pub false_positives: Vec<usize>,
}

impl Score {
    /// Stories that no expected rule, or not every one, has noticed.
    pub fn missed(&self) -> usize {
        self.stories.iter().filter(|story| !story.missing.is_empty()).count()
    }
}

/// What came of one story.
#[derive(Clone, Debug, PartialEq)]
pub struct StoryScore {
    /// Index into [`STORIES`].
    pub story: usize,
    /// Event time of its beginning.
    pub begun: EventTime,
    /// The expected rules that fired, each with the index of its first alert.
    pub caught: Vec<(&'static str, usize)>,
    /// The expected rules that did not.
    pub missing: Vec<&'static str>,
    /// Indexes of further alerts that belong to it.
    pub further: Vec<usize>,
}

/// Judges alerts, each given by the name of its rule and the event time at which it began. An alert
/// belongs to the latest story that it falls into and that expects its rule, else to one that has to do
/// with it.
pub fn score(begun: &[(usize, EventTime)], alerts: &[(&str, EventTime)]) -> Score {
    let mut stories: Vec<StoryScore> = begun
        .iter()
        .map(|(story, begun)| StoryScore {
            story: *story,
            begun: *begun,
            caught: Vec::new(),
            missing: STORIES.get(*story).map_or(&[][..], |story| story.expected_rules).to_vec(),
            further: Vec::new(),
        })
        .collect();
    let mut false_positives = Vec::new();
    for (index, (rule, starts_at)) in alerts.iter().enumerate() {
        let during = |story: &StoryScore| {
            let lasts = STORIES.get(story.story).map_or(Duration::ZERO, |story| story.lasts);
            story.begun.minus(EARLY) <= *starts_at && *starts_at <= story.begun.plus(lasts)
        };
        let names = |story: &StoryScore, related: bool| {
            STORIES.get(story.story).is_some_and(|story| {
                let rules = if related { story.related_rules } else { story.expected_rules };
                rules.contains(rule)
            })
        };
        // The latest that expects it, else the latest that has to do with it.
        let expecting = stories.iter_mut().rev().find(|story| during(story) && names(story, false));
        if let Some(story) = expecting {
            match story.missing.iter().position(|missing| missing == rule) {
                Some(position) => story.caught.push((story.missing.remove(position), index)),
                None => story.further.push(index),
            }
            continue;
        }
        match stories.iter_mut().rev().find(|story| during(story) && names(story, true)) {
            Some(story) => story.further.push(index),
            None => false_positives.push(index),
        }
    }
    Score { stories, false_positives }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generate::Story;

    #[test]
    fn alerts_find_their_story() {
        let at = |second: i64| EventTime::from_millis(second * 1_000);
        let escape = Story::find("container-escape").unwrap();
        let burst = Story::find("secret-burst").unwrap();
        let alerts = [
            ("secret_read_burst", at(1)),
            ("privileged_pod", at(11)),
            ("host_namespaces", at(11)),
            ("mass_deletion", at(12)),
            ("secret_read_burst", at(25)),
            ("host_path_mount", at(10).minus(Duration::from_millis(45))),
        ];
        let score = score(&[(escape, at(10)), (burst, at(20))], &alerts);
        assert_eq!(score.false_positives, [0, 3]);
        assert_eq!(score.stories[0].caught, [("privileged_pod", 1), ("host_path_mount", 5)]);
        assert_eq!(score.stories[0].further, [2]);
        assert_eq!(score.stories[0].missing, ["exec_into_privileged_pod"]);
        assert_eq!(score.stories[1].caught, [("secret_read_burst", 4)]);
        assert_eq!(score.missed(), 1);
    }
}
