//! Whether a group has something to say, why, when, and about which of its alerts.
//!
//! Everything here is a pure function of a group and the time.

use std::cmp::Reverse;

use hashbrown::HashMap;

use super::{
    Audience, Group, GroupedAlert, NotifyReason, Owed,
    due::{Pace, not_before, repeat_of},
    grouped_alert::News,
};
use crate::engine::{alert::Fingerprint, limits::ALERTS_PER_NOTIFICATION_MAX, time::WallTime};

/// What a group has to say, in numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// The group has said something before.
    pub has_spoken: bool,
    /// Alerts that the receiver does not know of.
    pub new_count: u64,
    /// Alerts that ended since it was told.
    pub resolved_count: u64,
    /// Alerts that changed otherwise.
    pub updated_count: u64,
    /// Alerts that fire, told or not.
    pub firing_count: u64,
    /// It is time to say it again.
    pub is_repeat_due: bool,
}

/// Why a group is sent now, or that it is not. What is most important to know wins.
pub fn notify_reason(tally: &Tally) -> NotifyReason {
    match tally {
        Tally { new_count: 1.., has_spoken: false, .. } => NotifyReason::First,
        Tally { new_count: 1.., .. } => NotifyReason::NewAlerts,
        Tally { resolved_count: 1.., firing_count: 0, .. } => NotifyReason::AllResolved,
        Tally { resolved_count: 1.., .. } => NotifyReason::NewResolved,
        Tally { updated_count: 1.., .. } => NotifyReason::Updated,
        Tally { is_repeat_due: true, .. } => NotifyReason::RepeatDue,
        _ => NotifyReason::Nothing,
    }
}

/// What a group would say if it were asked now.
pub(in crate::engine) struct Selection {
    pub(in crate::engine) reason: NotifyReason,
    /// The alerts that it would name, at most [`ALERTS_PER_NOTIFICATION_MAX`]; what is most important to know
    /// first.
    pub(in crate::engine) fingerprints: Vec<Fingerprint>,
    /// The alerts that did not fit.
    pub(in crate::engine) left_count: u64,
}

/// When a group has to be looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::engine) struct Verdict {
    /// When it has something to say.
    pub(in crate::engine) due: Option<WallTime>,
    /// Its message does not show what people did.
    pub(in crate::engine) is_to_be_edited: bool,
    /// Whether what it has to say is more than a repetition.
    pub(in crate::engine) has_news: bool,
    /// When an alert may have to leave it.
    pub(in crate::engine) sweep: Option<WallTime>,
    /// Since when the receiver takes nothing of something that it is owed.
    pub(in crate::engine) failing_since: Option<WallTime>,
}

impl Group {
    /// When it says something of this pace that is not to be said before some time.
    fn due_at(&self, (pace, not_before): (Pace, WallTime)) -> WallTime {
        let grouping = &self.policy.grouping;
        match pace {
            Pace::Own => not_before,
            Pace::Repeat => {
                self.sent_at.unwrap_or(self.created_at).plus(grouping.repeat).max(not_before)
            }
            Pace::News { is_grave, is_urgent } => match self.sent_at.max(self.refused_at) {
                None if is_grave => self.created_at,
                None => self.created_at.plus(grouping.wait),
                Some(spoke_at) if is_urgent => {
                    spoke_at.plus(grouping.wait.min(grouping.interval)).max(not_before)
                }
                Some(spoke_at) => spoke_at.plus(grouping.interval).max(not_before),
            },
        }
    }

    /// When it has to be looked at. Cost: the same, however many alerts it has.
    pub(in crate::engine) fn verdict(&self) -> Verdict {
        let owed_in_vain = self.owed.as_ref().and_then(Owed::in_vain_since);
        Verdict {
            due: self.due(),
            is_to_be_edited: self.is_to_be_edited(),
            has_news: self.alerts.has_news(),
            sweep: self.alerts.leaves_first(),
            failing_since: owed_in_vain.into_iter().chain(self.alerts.refused_since()).min(),
        }
    }

    fn due(&self) -> Option<WallTime> {
        self.alerts.dues().map(|first| self.due_at(first)).min()
    }

    /// Whether people did something that its message does not show, which is there.
    fn is_to_be_edited(&self) -> bool {
        self.receipt.is_some() && self.alerts.are_handled_anew()
    }

    /// Whether there is nothing to tell now, but something to show in a message that is there.
    pub(in crate::engine) fn is_only_edited(&self, now: WallTime) -> bool {
        let is_telling = |owed: &Owed| owed.notification.reason != NotifyReason::Handled;
        let is_due =
            self.owed.as_ref().is_some_and(is_telling) || self.due().is_some_and(|due| due <= now);
        !is_due && (self.owed.is_some() || self.is_to_be_edited())
    }

    /// The alerts that its message shows, as they are now. Nothing of it is told by that but what people did.
    fn edited(&self) -> Option<Selection> {
        if !self.is_to_be_edited() {
            return None;
        }
        let shown = self.alerts.iter().filter_map(|(fingerprint, grouped)| {
            grouped.told_by_edit(&self.policy)?;
            let is_news = grouped.is_handled_anew(&self.policy);
            Some((!is_news, Reverse(grouped.latest.severity), fingerprint))
        });
        let mut shown: Vec<_> = shown.collect();
        shown.sort_unstable();
        let left_count = shown.len().saturating_sub(ALERTS_PER_NOTIFICATION_MAX) as u64;
        shown.truncate(ALERTS_PER_NOTIFICATION_MAX);
        let fingerprints = shown.into_iter().map(|(.., fingerprint)| fingerprint).collect();
        Some(Selection { reason: NotifyReason::Handled, fingerprints, left_count })
    }

    /// What it has to say now. Cost: one step for each alert, and a sort of those chosen.
    pub(in crate::engine) fn select(&self, now: WallTime) -> Option<Selection> {
        if self.is_only_edited(now) {
            return self.edited();
        }
        let mut tally = Tally { has_spoken: self.sent_at.is_some(), ..Tally::default() };
        let mut chosen: Vec<(Fingerprint, &GroupedAlert, bool)> = Vec::new();
        let mut held_count = 0;
        for (fingerprint, grouped) in self.alerts.iter() {
            let is_shown_firing = grouped.is_firing() && !grouped.is_held;
            tally.firing_count += u64::from(is_shown_firing);
            let news = grouped
                .news(&self.policy)
                .filter(|news| now >= not_before(grouped, *news, &self.policy));
            if grouped.held_until() > now {
                held_count += u64::from(news.is_some());
                continue;
            }
            match news {
                Some(News::New) => tally.new_count += 1,
                Some(News::Resolved) => tally.resolved_count += 1,
                Some(News::Severity | News::Revised) => tally.updated_count += 1,
                None => {}
            }
            let repeat = repeat_of(grouped, &self.policy);
            let is_due = repeat.is_some_and(|repeat| self.due_at(repeat) <= now);
            tally.is_repeat_due |= is_due;
            let is_shown = match self.policy.audience {
                Audience::People | Audience::Editable => is_shown_firing,
                Audience::Machine | Audience::Resend => is_due,
            };
            if news.is_some() || is_shown {
                chosen.push((fingerprint, grouped, news.is_some()));
            }
        }
        let reason = notify_reason(&tally);
        if reason == NotifyReason::Nothing {
            return None;
        }
        let order = |(fingerprint, member, has_news): &(Fingerprint, &GroupedAlert, bool)| {
            let severity = Reverse(member.latest.severity);
            ((!has_news, !member.is_firing()), (severity, member.told_at, *fingerprint))
        };
        chosen.sort_by_key(order);
        // Everybody once before anybody twice: who makes much noise pushes nobody else out of a message.
        let mut named: HashMap<String, usize> = HashMap::new();
        let mut ranked: Vec<(usize, (Fingerprint, &GroupedAlert, bool))> = Vec::new();
        for one in chosen {
            let before = named.entry(one.1.latest.who()).or_default();
            ranked.push((*before, one));
            *before += 1;
        }
        ranked.sort_by_key(|(rank, one)| {
            let ((has_no_news, has_ended), last) = order(one);
            (has_no_news, *rank, has_ended, last)
        });
        let mut chosen: Vec<Fingerprint> =
            ranked.into_iter().map(|(_, (fingerprint, ..))| fingerprint).collect();
        let left_count =
            held_count + chosen.len().saturating_sub(ALERTS_PER_NOTIFICATION_MAX) as u64;
        chosen.truncate(ALERTS_PER_NOTIFICATION_MAX);
        Some(Selection { reason, fingerprints: chosen, left_count })
    }
}
