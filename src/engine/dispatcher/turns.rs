//! Whose turn it is: groups that ask for one, and the attempts that they get. Whoever has something to tell comes before
//! all whose messages are only to be brought up to date, so that no act of people keeps an alert waiting.

use std::sync::Arc;

use super::Dispatcher;
use crate::engine::{
    dispatch::{GroupKey, GroupStateKey, Outcome, OutcomeReason},
    limits,
    time::WallTime,
};

impl Dispatcher {
    /// A group asks for its turn. It has something to tell from `tells_at` on.
    pub(super) fn queue(&mut self, now: WallTime, key: GroupKey, tells_at: Option<WallTime>) {
        let Some(group) = self.groups.get_mut(&key) else { return };
        let slot = group.slot;
        (group.is_queued, group.is_behind) = (true, group.is_only_edited(now));
        if group.is_behind {
            self.slot_state(slot).behind.push_back(key);
            self.set_timer(key, tells_at);
        } else {
            self.slot_state(slot).queue.push_back(key);
        }
        self.drive(now, slot);
    }

    /// A group that waits behind others has something to tell by now.
    pub(super) fn step_forward(&mut self, now: WallTime, key: GroupKey) {
        let Some(group) = self.groups.get_mut(&key) else { return };
        let slot = group.slot;
        group.is_behind = false;
        let state = self.slot_state(slot);
        state.behind.retain(|behind| *behind != key);
        state.queue.push_back(key);
        self.drive(now, slot);
    }

    /// Starts as many attempts of a notifier as it may make now.
    pub(super) fn drive(&mut self, now: WallTime, slot: usize) {
        loop {
            let state = self.slot_state(slot);
            let in_flight_max = if state.is_failing { 1 } else { limits::ATTEMPTS_IN_FLIGHT_MAX };
            let is_idle = state.queue.is_empty() && state.behind.is_empty();
            if is_idle || state.in_flight >= in_flight_max {
                return;
            }
            if let Some(next_at) = state.next_at.filter(|next_at| *next_at > now) {
                self.set_slot_timer(slot, next_at);
                return;
            }
            let first = state.queue.pop_front().or_else(|| state.behind.pop_front());
            let Some(key) = first else { return };
            let Some(group) = self.groups.get_mut(&key) else { continue };
            (group.is_queued, group.is_behind) = (false, false);
            if self.launch(now, key) {
                let spacing = self.plan.slot(slot).spacing;
                let state = self.slot_state(slot);
                state.in_flight += 1;
                state.next_at = (!spacing.is_zero()).then(|| now.plus(spacing));
                self.set_timer(key, None);
            } else {
                self.set_timer(key, Some(now));
            }
        }
    }

    /// Starts an attempt for a group, if there is still something to say.
    fn launch(&mut self, now: WallTime, key: GroupKey) -> bool {
        let Some(group) = self.groups.get_mut(&key) else { return false };
        let slot = group.slot;
        if group.policy.times.quiet_until(now).is_some() {
            return false;
        }
        let is_stale = group.owed.as_ref().is_none_or(|owed| owed.progress.is_stale);
        // Under another id the same would be told twice.
        let is_as_it_was = !is_stale || group.owes_the_same(now);
        let notification = if is_as_it_was {
            let Some(notification) = group.attempt(now) else { return false };
            self.ready.push_back(Arc::clone(&notification));
            notification
        } else {
            let was_owed = group.owed.is_some();
            for fingerprint in group.note_uncertain() {
                self.dirty.insert(GroupStateKey::Alert(key, fingerprint));
            }
            group.form(now, self.plan.slot(slot));
            let formed = group.attempt(now);
            self.mark_owed(key);
            self.note_pending(key);
            let Some(notification) = formed else { return false };
            self.counts_of(slot).superseded += u64::from(was_owed);
            *self.counts_of(slot).notifications.entry(notification.reason).or_default() += 1;
            self.formed.push(Arc::clone(&notification));
            notification
        };
        self.counts_of(slot).attempts += 1;
        self.in_flight.insert(notification.id, key);
        true
    }

    /// An attempt was not answered in time.
    pub(super) fn attempt_lost(&mut self, now: WallTime, key: GroupKey) {
        let owed = self.groups.get(&key).and_then(|group| group.owed.as_ref());
        let Some(id) = owed.map(|owed| owed.notification.id) else { return };
        self.in_flight.remove(&id);
        let detail = "the attempt never came back".to_owned();
        let outcome = Outcome::Retry { reason: OutcomeReason::Timeout, detail, after: None };
        self.apply_outcome(now, key, outcome);
    }
}
