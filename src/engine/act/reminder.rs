//! What the owner of a silence is told: that it ends soon, and that it hides nothing.

use super::{Episode, Silence, SilencePhase};
use crate::engine::{
    alert::{Alert, OwnAlert},
    dispatch::{Matcher, hide},
    limits,
    rule::Severity,
    time::WallTime,
};

use std::time::Duration;

/// It is told that a silence ends when a quarter of it is left, at most this long before: 1 day.
const END_TOLD_BEFORE_MAX: Duration = Duration::from_secs(86_400);

/// Of a shorter silence its end is not told: 20 minutes.
const TOLD_SPAN_MIN: Duration = Duration::from_secs(1_200);

/// A silence that has hidden nothing for so long is said to be of no use: 30 days.
const IDLE_AFTER: Duration = Duration::from_secs(30 * 86_400);

/// It ends soon.
const ENDS_SOON: OwnAlert = OwnAlert {
    name: "TriplineSilenceEnds",
    rule_id: "tripline.silence_ends",
    title: "A silence ends soon",
    severity: Severity::Medium,
};

/// It hides nothing.
const IDLE: OwnAlert = OwnAlert {
    name: "TriplineSilenceIdle",
    rule_id: "tripline.silence_idle",
    title: "A silence hides nothing",
    severity: Severity::Low,
};

impl Silence {
    /// Whether it hides an episode while it is active.
    pub(super) fn is_about(&self, episode: &Episode) -> bool {
        is_about(&self.matchers, episode)
    }
}

/// Whether a silence with these matchers hides an episode: never what silences themselves have to say.
pub(super) fn is_about(matchers: &[Matcher], episode: &Episode) -> bool {
    !is_reminder(&episode.rule_id) && hide(matchers, &episode.labels)
}

/// What an owner is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reminder {
    EndsSoon,
    Idle,
}

/// Whether an alert is one of these, by its rule's id. No silence hides them.
pub(super) fn is_reminder(rule_id: &str) -> bool {
    [ENDS_SOON, IDLE].iter().any(|own| own.rule_id == rule_id)
}

/// When a silence has to be looked at next, in whatever phase it is.
pub(super) fn look_at(silence: &Silence) -> WallTime {
    match silence.phase {
        SilencePhase::Pending => silence.starts_at,
        SilencePhase::Active => {
            let waits = |reminder: &Reminder| reminder.told_at(silence).is_none();
            let reminders = Reminder::ALL.into_iter().filter(waits);
            reminders.map(|reminder| reminder.due(silence)).fold(silence.ends_at, WallTime::min)
        }
        SilencePhase::Expired => silence.ends_at.plus(limits::EXPIRED_SILENCE_AGE_MAX),
    }
}

impl Reminder {
    pub(super) const ALL: [Reminder; 2] = [Reminder::EndsSoon, Reminder::Idle];

    /// When it is to be said if nothing changes; never, if at [`WallTime::MAX`].
    pub(super) fn due(self, silence: &Silence) -> WallTime {
        match self {
            Reminder::EndsSoon if silence.span() < TOLD_SPAN_MIN => WallTime::MAX,
            Reminder::EndsSoon => {
                silence.ends_at.minus((silence.span() / 4).min(END_TOLD_BEFORE_MAX))
            }
            Reminder::Idle if silence.hiding_count > 0 => WallTime::MAX,
            Reminder::Idle => silence.hid_at.max(silence.starts_at).plus(IDLE_AFTER),
        }
    }

    pub(super) const fn told_at(self, silence: &Silence) -> Option<WallTime> {
        match self {
            Reminder::EndsSoon => silence.end_told_at,
            Reminder::Idle => silence.idleness_told_at,
        }
    }

    pub(super) const fn set_told(self, silence: &mut Silence, at: Option<WallTime>) {
        match self {
            Reminder::EndsSoon => silence.end_told_at = at,
            Reminder::Idle => silence.idleness_told_at = at,
        }
    }

    /// The alert that says so since a time: the same each time it is made.
    pub(super) fn alert(self, since: WallTime, silence: &Silence) -> Alert {
        let (id, matchers) = (silence.id.to_string(), silence.written());
        let about = [("owner", silence.author.name.as_str()), ("silence", id.as_str())];
        let (own, summary) = match self {
            Reminder::EndsSoon => (
                &ENDS_SOON,
                format!(
                    "The silence of {} on {matchers} ends at {}; it has hidden {} alerts",
                    silence.author.name,
                    silence.ends_at.for_people(),
                    silence.hidden_count
                ),
            ),
            Reminder::Idle => (
                &IDLE,
                format!(
                    "The silence of {} on {matchers} has hidden nothing since {}; it goes on until {}",
                    silence.author.name,
                    silence.hid_at.max(silence.starts_at).for_people(),
                    silence.ends_at.for_people()
                ),
            ),
        };
        own.begin(since, &about, &summary, &silence.reason)
    }
}
