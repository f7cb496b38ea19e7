//! One alert in one group: what it is now, and what the receiver was told of it.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Audience, Handling, Policy, Refusal, SetBack};
use crate::engine::{
    alert::{Alert, AlertState},
    limits,
    rule::Severity,
    time::{EventTime, WallTime},
};

/// One alert in one group.
#[derive(Clone, Debug)]
pub(in crate::engine) struct GroupedAlert {
    /// The newest snapshot.
    pub(in crate::engine) latest: Arc<Alert>,
    /// Number of its episode in this group, from 0 or behind what is owed. Late events may begin an
    /// episode before the one that came before it, or at the same time, so times do not tell which of
    /// two is the newer one.
    pub(in crate::engine) episode: u64,
    /// Earlier episodes of which the receiver was not told that they ended, or not at all.
    pub(in crate::engine) carried: Option<Carried>,
    /// What the receiver was told last.
    pub(in crate::engine) told: Option<Told>,
    /// When it was first told that state of that episode.
    pub(in crate::engine) since: WallTime,
    /// When it was told last.
    pub(in crate::engine) told_at: WallTime,
    /// The receiver refused it since.
    pub(in crate::engine) refused: Option<Refusal>,
    /// Something hides it (a silence, another alert), or did when it ended: nobody is told that it fires.
    pub(in crate::engine) is_held: bool,
    /// A notification that it fires was handed out, and nobody knows what came of that: something hid it then, or
    /// another notification took its place.
    pub(in crate::engine) may_be_believed: bool,
    /// Somebody takes care of it: it is not repeated as long as it is no graver than this.
    pub(in crate::engine) acknowledged: Option<Severity>,
    /// What people did about it.
    pub(in crate::engine) handling: Handling,
}

/// Episodes of which something was not told, in one alert.
#[derive(Clone, Debug)]
pub(in crate::engine) struct Carried {
    pub(in crate::engine) alert: Arc<Alert>,
    /// Number of the newest of them.
    pub(in crate::engine) newest: u64,
}

/// What a receiver was told of an alert.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::engine) struct Told {
    pub(in crate::engine) state: AlertState,
    pub(in crate::engine) episode: u64,
    pub(in crate::engine) starts_at: EventTime,
    pub(in crate::engine) revision: u64,
    pub(in crate::engine) severity: Severity,
    /// Digest of what people did about it, for receivers whose messages can be edited; otherwise 0. Stored
    /// beside it, as earlier versions do not know of it.
    #[serde(skip)]
    pub(in crate::engine) handling: u64,
}

/// What is to be said of an alert.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::engine) enum News {
    /// The receiver does not know of this episode.
    New,
    /// It ended.
    Resolved,
    /// It is graver than the receiver was told, or less.
    Severity,
    /// There is more to it. People are told if it stands for others: it may be about somebody else by now.
    Revised,
}

impl GroupedAlert {
    pub(in crate::engine) fn new(alert: &Arc<Alert>) -> GroupedAlert {
        GroupedAlert {
            latest: Arc::clone(alert),
            episode: 0,
            carried: None,
            told: None,
            since: WallTime::MIN,
            told_at: WallTime::MIN,
            refused: None,
            is_held: false,
            may_be_believed: false,
            acknowledged: None,
            handling: Handling::default(),
        }
    }

    /// The same, for a receiver that was told nothing of it.
    pub(in crate::engine) fn unheard(&self) -> GroupedAlert {
        let carried = self.carried.clone();
        GroupedAlert { episode: self.episode, carried, ..GroupedAlert::new(&self.latest) }
    }

    /// Lets the numbers of its episodes begin with this one.
    pub(in crate::engine) fn number_from(&mut self, first: u64) {
        self.episode += first;
        if let Some(carried) = &mut self.carried {
            carried.newest += first;
        }
        if let Some(told) = &mut self.told {
            told.episode += first;
        }
    }

    /// Takes a newer snapshot; whether it is one.
    pub(in crate::engine) fn update(&mut self, alert: &Arc<Alert>) -> bool {
        let (old, new) = (&self.latest, alert);
        let begins_again = old.state == AlertState::Resolved && new.state == AlertState::Firing;
        let same_episode = old.starts_at == new.starts_at && !begins_again;
        if same_episode && new.revision <= old.revision && new.state == old.state {
            return false;
        }
        // Of an episode that was hidden to its end nobody hears.
        let is_unheard = self.is_held && !self.is_believed_firing();
        if !same_episode && !self.is_end_known() && !is_unheard {
            let alert = match &self.carried {
                Some(carried) => Arc::new(merged(&carried.alert, old)),
                None => Arc::clone(old),
            };
            self.carried = Some(Carried { alert, newest: self.episode });
        }
        self.episode += u64::from(!same_episode);
        self.latest = Arc::clone(alert);
        true
    }

    /// Whether all was said of the episode.
    fn is_end_known(&self) -> bool {
        self.is_episode_known() && self.told.is_some_and(|told| told.state == AlertState::Resolved)
    }

    fn is_episode_known(&self) -> bool {
        self.told.is_some_and(|told| told.episode == self.episode)
    }

    /// Whether the receiver takes it to fire, or may, in this episode or an earlier one.
    pub(in crate::engine) fn is_believed_firing(&self) -> bool {
        self.may_be_believed || self.told.is_some_and(|told| told.state == AlertState::Firing)
    }

    /// Whether nothing is said again of it: something hides it, or somebody takes care of it. Receivers that
    /// forget what is not repeated hear of the latter again all the same.
    pub(in crate::engine) fn is_not_repeated(&self, policy: &Policy) -> bool {
        let is_quieted = policy.audience != Audience::Resend
            && self.acknowledged.is_some_and(|severity| severity >= self.latest.severity);
        let is_unheard = self.told.is_none_or(|told| told.state != AlertState::Resolved);
        is_quieted || (self.is_held && (self.is_firing() || is_unheard))
    }

    /// It is not told before, since the receiver refused it.
    pub(in crate::engine) fn held_until(&self) -> WallTime {
        self.refused.map_or(WallTime::MIN, |refused| refused.until)
    }

    pub(in crate::engine) fn is_firing(&self) -> bool {
        self.latest.state == AlertState::Firing
    }

    /// Whether the receiver does not know of it, or knows that it had ended.
    pub(in crate::engine) fn is_new(&self) -> bool {
        let known = self.told.filter(|_| self.is_episode_known());
        !self.is_held
            && known.is_none_or(|told| told.state == AlertState::Resolved && self.is_firing())
    }

    /// What is to be said of it, if anything.
    pub(in crate::engine) fn news(&self, policy: &Policy) -> Option<News> {
        if self.is_held {
            // Whoever was told that it fires hears of the end, and nobody else of anything.
            let is_over = !self.is_firing() && self.is_believed_firing();
            return (is_over && policy.send_resolved).then_some(News::Resolved);
        }
        let Some(told) = self.told.filter(|_| self.is_episode_known()) else {
            return Some(News::New);
        };
        match (self.latest.state, told.state) {
            (AlertState::Firing, AlertState::Resolved) => Some(News::New),
            (AlertState::Resolved, AlertState::Firing) => {
                policy.send_resolved.then_some(News::Resolved)
            }
            (AlertState::Resolved, AlertState::Resolved) => None,
            (AlertState::Firing, AlertState::Firing) => {
                if told.severity != self.latest.severity {
                    Some(News::Severity)
                } else if told.revision != self.latest.revision
                    && (policy.audience != Audience::People || self.latest.is_overflow())
                {
                    Some(News::Revised)
                } else {
                    None
                }
            }
        }
    }

    /// What people did about it since its message said so, which can be edited. A message that was refused is
    /// left alone.
    pub(in crate::engine) fn is_handled_anew(&self, policy: &Policy) -> bool {
        let shown = self.told.filter(|told| told.state == AlertState::Firing);
        let is_known = shown.filter(|_| self.is_episode_known() && self.refused.is_none());
        policy.audience == Audience::Editable
            && self.is_firing()
            && is_known.is_some_and(|told| told.handling != self.handling.digest())
    }

    /// When it leaves its group if nothing more happens: once everything was said, or when it is
    /// given up. Alerts that fire stay.
    pub(in crate::engine) fn leaves_at(&self, policy: &Policy) -> WallTime {
        if self.is_firing() {
            WallTime::MAX
        } else if self.news(policy).is_some() {
            self.latest.changed_at.plus(limits::UNDELIVERED_AGE_MAX)
        } else if policy.audience == Audience::Resend && policy.send_resolved {
            self.since.plus(limits::RESOLVED_RETENTION)
        } else {
            WallTime::MIN
        }
    }

    /// Whether the receiver has to be told that it fires before it can be told that it ended.
    fn is_shown_firing(&self, policy: &Policy) -> bool {
        let firing_first = matches!(policy.audience, Audience::Machine | Audience::Resend);
        self.is_firing()
            || (self.news(policy) == Some(News::New) && (firing_first || !policy.send_resolved))
    }

    /// What a notification that is made now says of it.
    pub(in crate::engine) fn told_by_now(&self, policy: &Policy) -> Told {
        let Alert { starts_at, revision, severity, .. } = *self.latest;
        let is_firing = self.is_shown_firing(policy);
        let state = if is_firing { AlertState::Firing } else { AlertState::Resolved };
        let handling = self.shown_handling(policy);
        Told { state, episode: self.episode, starts_at, revision, severity, handling }
    }

    fn shown_handling(&self, policy: &Policy) -> u64 {
        if policy.audience == Audience::Editable { self.handling.digest() } else { 0 }
    }

    /// What the receiver knows once its message shows what people did, and is otherwise as it was told.
    pub(in crate::engine) fn told_by_edit(&self, policy: &Policy) -> Option<Told> {
        let told = self.told.filter(|told| told.state == AlertState::Firing)?;
        let is_there = self.is_episode_known() && self.refused.is_none();
        is_there.then(|| Told { handling: self.shown_handling(policy), ..told })
    }

    /// How a notification that is made now shows it.
    pub(in crate::engine) fn view(&self, policy: &Policy) -> Alert {
        let mut alert = match &self.carried {
            Some(carried) => merged(&carried.alert, &self.latest),
            None => Alert::clone(&self.latest),
        };
        if self.is_shown_firing(policy) {
            alert.state = AlertState::Firing;
            alert.ends_at = None;
        }
        for (name, value) in self.handling.annotations() {
            alert.annotations.insert(name.to_owned(), value.to_owned());
        }
        alert
    }

    /// Notes that the receiver was told; whether that is more than the time of a repetition.
    pub(in crate::engine) fn note(&mut self, now: WallTime, told: Told) -> bool {
        let known = |before: Told| (before.state, before.episode) == (told.state, told.episode);
        if !self.told.is_some_and(known) {
            self.since = now;
        }
        self.told_at = now;
        let had_carried = self.carried.is_some();
        let is_told = |carried: &mut Carried| {
            let is_end = told.state == AlertState::Resolved && carried.newest == told.episode;
            is_end || carried.newest < told.episode
        };
        self.carried.take_if(is_told);
        let was_refused = self.refused.take().is_some();
        let was_uncertain = std::mem::take(&mut self.may_be_believed);
        let changed = self.told != Some(told)
            || had_carried != self.carried.is_some()
            || was_refused
            || was_uncertain;
        self.told = Some(told);
        changed
    }

    /// Notes what its message shows of what people did; whether that is more than it showed.
    pub(in crate::engine) fn note_edit(&mut self, edited: Told) -> bool {
        match &mut self.told {
            Some(told) if told.episode == edited.episode && told.handling != edited.handling => {
                told.handling = edited.handling;
                true
            }
            _ => false,
        }
    }

    /// Under the labels that the receiver knows it by, if it has others now: resolved.
    pub(in crate::engine) fn relabelled(&self, now: WallTime) -> Option<Alert> {
        let told = self.told.filter(|told| told.state == AlertState::Firing)?;
        if told.severity == self.latest.severity {
            return None;
        }
        let mut old = Alert::clone(&self.latest);
        old.labels.insert("severity".to_owned(), told.severity.as_str().to_owned());
        old.severity = told.severity;
        old.state = AlertState::Resolved;
        old.ends_at = Some(old.ends_at.unwrap_or(now.as_event()));
        old.changed_at = now;
        Some(old)
    }

    /// Goes on with a clock that was set back.
    pub(in crate::engine) fn rebase(&mut self, set_back: SetBack, policy: &Policy) {
        self.since = set_back.of(self.since);
        self.told_at = set_back.of(self.told_at);
        if let Some(refused) = &mut self.refused {
            refused.rebase(set_back, policy);
        }
    }
}

/// Two episodes of one alert in one: the later one's state, the whole time and all counts.
fn merged(earlier: &Alert, later: &Alert) -> Alert {
    let mut both = later.clone();
    both.starts_at = earlier.starts_at.min(later.starts_at);
    both.first_seen = earlier.first_seen.min(later.first_seen);
    both.last_seen = earlier.last_seen.max(later.last_seen);
    both.value = earlier.value.max(later.value);
    both.severity = earlier.severity.max(later.severity);
    both.finding_count = earlier.finding_count.saturating_add(later.finding_count);
    both.suppressed_count = earlier.suppressed_count.saturating_add(later.suppressed_count);
    both.evidence.clone_from(&earlier.evidence);
    let room = limits::EVIDENCE_MAX.saturating_sub(both.evidence.len()).max(1);
    both.evidence.truncate(limits::EVIDENCE_MAX - 1);
    both.evidence.extend(later.evidence.iter().take(room).cloned());
    both
}
