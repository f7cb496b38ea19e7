//! What keeps an alert from being told: silenced ones are told to nobody, those that somebody takes care of are not
//! repeated, and those that no route leads to a notifier any more it hears to be over, and nothing else.

use std::collections::BTreeSet;

use super::Dispatcher;
use crate::engine::{
    act::{Act, ActEntry, ActNews, Acts, Answer, EpisodeKey},
    alert::{Alert, AlertState, Fingerprint},
    dispatch::{GroupKey, GroupStateKey, LEFT, Phase},
    time::WallTime,
};

impl Dispatcher {
    /// Carries out an act, or says why not. What it ends by hand is still to be ended.
    pub fn act(&mut self, now: WallTime, act: Act) -> Answer {
        self.set_now(now);
        self.acts.handle_timeout(now);
        let answer = self.acts.perform(now, act);
        self.apply_acts(now);
        answer
    }

    /// An alert fires that receivers are not told of, so that people can do something about it all the same.
    pub fn note_alert(&mut self, now: WallTime, alert: &Alert) {
        for other in self.note(now, alert) {
            self.hush(now, other);
        }
    }

    /// Takes a change of an alert. Returns the alerts that may be hidden otherwise than before.
    pub(super) fn note(&mut self, now: WallTime, alert: &Alert) -> BTreeSet<Fingerprint> {
        // What ended before now is known before the alert changes: of one that is over nothing more is said.
        self.acts.handle_timeout(now);
        self.apply_acts(now);
        self.acts.note(now, alert);
        self.apply_acts(now);
        let labels = (alert.state == AlertState::Firing).then_some(&alert.labels);
        self.inhibitor.set(alert.fingerprint, labels)
    }

    /// An episode is over of which no end was told.
    pub fn note_over(&mut self, now: WallTime, key: EpisodeKey) {
        self.acts.end(now, key);
        self.apply_acts(now);
        for other in self.inhibitor.set(key.fingerprint, None) {
            self.hush(now, other);
        }
    }

    /// What people did.
    pub const fn acts(&self) -> &Acts {
        &self.acts
    }

    /// What was done since the last call, for the ledger, in order.
    pub fn take_act_entries(&mut self) -> Vec<ActEntry> {
        self.acts.take_entries()
    }

    /// What people see otherwise than at the last call.
    pub fn take_act_news(&mut self) -> Vec<ActNews> {
        self.acts.take_news()
    }

    /// Takes up what acts, and time, have changed of what is told.
    pub(super) fn apply_acts(&mut self, now: WallTime) {
        self.alerts.extend(self.acts.take_alerts());
        for fingerprint in self.acts.take_muted() {
            self.hush_since(now, fingerprint, true);
        }
    }

    /// Lets all groups know what keeps an alert from being told.
    pub(super) fn hush(&mut self, now: WallTime, fingerprint: Fingerprint) {
        self.hush_since(now, fingerprint, false);
    }

    /// `is_new`: somebody did something about it just now, so that what is owed may say it again for nothing.
    fn hush_since(&mut self, now: WallTime, fingerprint: Fingerprint, is_new: bool) {
        let mute = self.acts.mute(fingerprint);
        let is_hidden = mute.is_silenced || self.inhibitor.is_hidden(fingerprint);
        let of_alert = (fingerprint, 0)..=(fingerprint, usize::MAX);
        let keys: Vec<GroupKey> = self.holders.range(of_alert).map(|(_, key)| *key).collect();
        for key in keys {
            let is_held = is_hidden || self.has_left(key, fingerprint);
            let Some(group) = self.groups.get_mut(&key) else { continue };
            let was_held = group.hush(fingerprint, is_held, mute.acknowledged, &mute.handling);
            let is_changed = was_held.is_some_and(|was_held| was_held != is_held);
            if is_changed {
                self.dirty.insert(GroupStateKey::Alert(key, fingerprint));
            }
            if is_changed || (is_new && was_held.is_some()) {
                self.recall(now, key);
            }
        }
    }

    /// Whether no route leads an alert to the notifier of a group any more, which is to hear of its end alone.
    fn has_left(&self, key: GroupKey, fingerprint: Fingerprint) -> bool {
        let group = self.groups.get(&key).filter(|group| group.route == LEFT);
        group.is_some_and(|group| {
            let alert =
                group.alerts.get(fingerprint).map(|grouped| self.targets_of(&grouped.latest));
            alert.is_some_and(|targets| targets.iter().all(|target| target.slot != group.slot))
        })
    }

    /// After a restart, or with other rules of what hides what: lets all be known that fires.
    pub(super) fn hush_firing(&mut self) {
        for episode in self.acts.episodes().filter(|episode| episode.is_firing()) {
            self.inhibitor.set(episode.key.fingerprint, Some(&episode.labels));
        }
    }

    /// After that: groups do not store what is known otherwise.
    pub(super) fn hush_all(&mut self, now: WallTime) {
        let held: Vec<Fingerprint> = self.holders.keys().map(|(held, _)| *held).collect();
        for fingerprint in held {
            self.hush(now, fingerprint);
        }
    }

    /// What a group owes is not what it would say now. An attempt that was not handed out yet is taken back.
    fn recall(&mut self, now: WallTime, key: GroupKey) {
        let Some(group) = self.groups.get_mut(&key) else { return };
        let slot = group.slot;
        if let Some(owed) = &mut group.owed {
            owed.progress.is_stale = true;
            self.dirty.insert(GroupStateKey::Progress(key));
            if owed.progress.phase == Phase::Launched {
                owed.progress.phase = Phase::Waiting(now);
                self.in_flight.remove(&owed.notification.id);
                let counts = self.counts_of(slot);
                counts.attempts = counts.attempts.saturating_sub(1);
                let state = self.slot_state(slot);
                state.in_flight = state.in_flight.saturating_sub(1);
            }
        }
        self.set_timer(key, Some(now));
    }
}
