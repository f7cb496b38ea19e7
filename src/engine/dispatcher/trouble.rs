//! Watches for receivers that take nothing of what they are owed, and tells the others.

use std::{collections::BTreeMap, sync::Arc};

use super::{Dispatcher, Timer};
use crate::engine::{
    alert::Alert,
    dispatch::{Group, GroupKey, GroupStateKey, Phase, ReceiverState, Whom, about, in_trouble},
    time::WallTime,
};

impl Dispatcher {
    /// The next alert about a receiver that takes nothing, or takes again what it is given. It is to be
    /// treated as any other, and comes back by [`Dispatcher::handle_alert`].
    pub fn poll_alert(&mut self) -> Option<Alert> {
        self.alerts.pop_front()
    }

    /// How each notifier and recipient does, in the order of the configuration. As of the last
    /// [`Dispatcher::handle_timeout`].
    pub fn receivers(&self) -> impl Iterator<Item = ReceiverState<'_>> {
        self.plan.slots.iter().zip(&self.slots).map(|(slot, state)| ReceiverState {
            name: &slot.identity,
            receiver: &slot.receiver,
            kind: &slot.kind,
            recipient: slot.recipient.as_deref(),
            failing_since: state.failing.first(),
            is_in_trouble: state.trouble.is_some(),
            words: &state.words,
        })
    }

    /// Alerts about receivers that take nothing now.
    pub fn troubles(&self) -> impl Iterator<Item = &Alert> {
        self.slots.iter().filter_map(|state| state.trouble.as_deref())
    }

    /// Somebody may have fixed receivers (a new password, a reload): what they did not take is tried
    /// now, but for pauses that they themselves asked for.
    pub fn retry_now(&mut self, now: WallTime) {
        self.set_now(now);
        let keys: Vec<GroupKey> = self.groups.keys().copied().collect();
        for key in keys {
            let Some(group) = self.groups.get_mut(&key) else { continue };
            let is_waiting = group
                .owed
                .as_ref()
                .is_some_and(|owed| matches!(owed.progress.phase, Phase::Waiting(_)));
            let retried = group.retry_now(now);
            if is_waiting {
                self.dirty.insert(GroupStateKey::Progress(key));
            }
            if !retried.is_empty() {
                self.dirty.insert(GroupStateKey::Group(key));
            }
            self.dirty.extend(retried.into_iter().map(|alert| GroupStateKey::Alert(key, alert)));
            self.set_timer(key, Some(now));
        }
    }

    /// Notes since when a notifier does not take something of a group.
    pub(super) fn note_failing(
        &mut self,
        now: WallTime,
        slot: usize,
        key: GroupKey,
        since: Option<WallTime>,
    ) {
        if self.slot_state(slot).failing.set(key, since) {
            self.judge(now, slot);
        }
    }

    /// The same, of a group whose attempt begins or ends: one that does not end is not taken either.
    pub(super) fn look_for_failing(&mut self, now: WallTime, key: GroupKey) {
        let Some(group) = self.groups.get(&key) else { return };
        let (slot, since) = (group.slot, group.verdict().failing_since);
        self.note_failing(now, slot, key, since);
    }

    /// The next process must know that an attempt has not ended of which others are told.
    fn keep_failing(&mut self, key: GroupKey) {
        let owed = self.groups.get_mut(&key).and_then(|group| group.owed.as_mut());
        if let Some(owed) = owed
            && matches!(owed.progress.phase, Phase::InFlight(_))
            && owed.progress.failing_since.is_none()
        {
            owed.progress.failing_since = Some(owed.notification.sent_at);
            self.dirty.insert(GroupStateKey::Progress(key));
        }
    }

    /// Tells of a notifier that it is in trouble, or no longer, or looks again when it will be.
    pub(super) fn judge(&mut self, now: WallTime, slot: usize) {
        let failing_after = self.plan.slot(slot).failing_after;
        let state = self.slot_state(slot);
        let since = state.failing.first();
        let (trouble, words) = (state.trouble.clone(), state.words.clone());
        let due = since.map(|since| since.plus(failing_after));
        let told = match (since, trouble) {
            (Some(since), None) if due <= Some(now) => {
                Some(in_trouble(self.plan.slot(slot), now, since, &words))
            }
            (None, Some(trouble)) => Some(trouble.ended(now)),
            _ => None,
        };
        if let Some(alert) = told {
            if let Some(key) = self.slot_state(slot).failing.first_group() {
                self.keep_failing(key);
            }
            self.slot_state(slot).trouble = since.map(|_| Arc::new(alert.clone()));
            self.alerts.push_back(alert);
        }
        let state = self.slot_state(slot);
        let look_at = due.filter(|_| state.trouble.is_none());
        if let Some(old) = std::mem::replace(&mut state.trouble_at, look_at) {
            self.timers.remove(&(old, Timer::Trouble(slot)));
        }
        if let Some(at) = look_at {
            self.timers.insert((at, Timer::Trouble(slot)));
        }
    }

    /// The alerts that say of notifiers that they are in trouble, by identity: those of this process,
    /// and those that others were told by an earlier one.
    pub(super) fn take_troubles(
        &mut self,
        groups: &[(Whom, Group)],
    ) -> BTreeMap<String, Arc<Alert>> {
        let mut troubles = BTreeMap::new();
        let alerts = groups.iter().flat_map(|(_, group)| group.alerts.iter());
        let own = self.slots.iter_mut().filter_map(|state| state.trouble.take());
        let told = alerts.filter(|(_, alert)| alert.is_firing());
        for alert in own.chain(told.map(|(_, alert)| Arc::clone(&alert.latest))) {
            if let Some(identity) = about(&alert).map(str::to_owned) {
                troubles.insert(identity, alert);
            }
        }
        troubles
    }

    /// Puts them back; those about notifiers that are gone are over.
    pub(super) fn put_troubles(&mut self, now: WallTime, troubles: BTreeMap<String, Arc<Alert>>) {
        for (identity, alert) in troubles {
            match self.plan.slots.iter().position(|slot| slot.identity == identity) {
                Some(slot) => self.slot_state(slot).trouble = Some(alert),
                None => self.alerts.push_back(alert.ended(now)),
            }
        }
        // Whether it is still so must not depend on whose turn comes first: alerts may come before it.
        for (key, group) in &self.groups {
            if let (Some(since), Some(state)) =
                (group.verdict().failing_since, self.slots.get_mut(group.slot))
            {
                state.failing.set(*key, Some(since));
            }
        }
        for (slot, state) in self.slots.iter_mut().enumerate() {
            if state.trouble.is_some() || state.failing.first().is_some() {
                state.trouble_at = Some(now);
                self.timers.insert((now, Timer::Trouble(slot)));
            }
        }
    }
}
