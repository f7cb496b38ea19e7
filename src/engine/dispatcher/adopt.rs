//! Finds places for groups that were made under another plan, or by another process.

use std::{collections::BTreeMap, sync::Arc};

use super::{Dispatcher, SlotState};
use crate::engine::{
    alert::{Alert, Fingerprint},
    dispatch::{Group, Notification, Phase, about},
    time::WallTime,
};

impl Dispatcher {
    /// Finds places for groups, each with the identity of its notifier.
    pub(super) fn adopt(&mut self, groups: Vec<(String, Group)>) {
        let now = self.now;
        let troubles = self.take_troubles(&groups);
        self.slots = vec![SlotState::default(); self.plan.slots.len()];
        self.groups.clear();
        self.holders.clear();
        self.group_counts.clear();
        self.sizes.clear();
        self.pending.clear();
        self.timers.clear();
        self.in_flight.clear();
        let mut firing: BTreeMap<Fingerprint, Arc<Alert>> = BTreeMap::new();
        let mut known: BTreeMap<Fingerprint, Arc<Alert>> = BTreeMap::new();
        let mut orphaned = Vec::new();
        for (identity, mut group) in groups {
            group.alerts.change_all(&group.policy, |one| share(&mut known, &mut one.latest));
            for (fingerprint, grouped) in group.alerts.iter().filter(|(_, m)| m.is_firing()) {
                firing.insert(fingerprint, Arc::clone(&grouped.latest));
            }
            let slot = self.plan.slots.iter().position(|slot| slot.identity == identity);
            let policy = slot.and_then(|slot| self.plan.policy(slot, group.route));
            let same_grouping =
                policy.filter(|policy| policy.grouping.by == group.policy.grouping.by);
            match (slot, same_grouping) {
                (Some(slot), Some(policy)) => self.keep_group(now, slot, group.under(policy)),
                (Some(_), None) => orphaned.push((slot, group)),
                (None, _) => {
                    // What the notifier was told as a whole each of its recipients was told.
                    let slots = self.plan.slots.iter().enumerate();
                    let recipients = slots.filter(|(_, slot)| slot.notifier == identity);
                    let successors: Vec<_> = recipients.map(|(index, _)| Some(index)).collect();
                    let successors = if successors.is_empty() { vec![None] } else { successors };
                    orphaned.extend(successors.into_iter().map(|slot| (slot, group.clone())));
                }
            }
        }
        for (slot, group) in orphaned {
            self.move_alerts(now, slot, group);
        }
        for alert in firing.into_values() {
            let is_gone = |identity| self.plan.slots.iter().all(|slot| slot.identity != identity);
            if !about(&alert).is_some_and(is_gone) {
                self.handle_alert(now, &alert);
            }
        }
        self.put_troubles(now, troubles);
        // What waits to be handed out goes on only if its group is still there, and to the notifier's
        // new place in its receiver.
        let (in_flight, groups) = (&self.in_flight, &self.groups);
        let current = |waiting: Arc<Notification>| {
            let group = groups.get(in_flight.get(&waiting.id)?)?;
            group.owed.as_ref().map(|owed| Arc::clone(&owed.notification))
        };
        self.formed = std::mem::take(&mut self.formed).into_iter().filter_map(current).collect();
        self.ready = std::mem::take(&mut self.ready).into_iter().filter_map(current).collect();
    }

    fn keep_group(&mut self, now: WallTime, slot: usize, mut group: Group) {
        let key = group.key;
        (group.slot, group.timer) = (slot, None);
        (group.is_queued, group.is_behind) = (false, false);
        if let Some(owed) = &mut group.owed {
            let notification = Arc::make_mut(&mut owed.notification);
            notification.notifier_index = self.plan.slot(slot).notifier_index;
            notification.recipient.clone_from(&self.plan.slot(slot).recipient);
            if let Phase::Launched | Phase::InFlight(_) = owed.progress.phase {
                self.in_flight.insert(notification.id, key);
                self.slot_state(slot).in_flight += 1;
            }
            if let Some(until) = owed.progress.asked_until {
                let until = self.slot_state(slot).next_at.max(Some(until)).unwrap_or(until);
                self.set_slot_timer(slot, until);
            }
        }
        for (fingerprint, _) in group.alerts.iter() {
            self.holders.insert((fingerprint, slot), key);
        }
        *self.group_counts.entry((slot, group.route)).or_default() += 1;
        self.sizes.insert((group.alerts.len(), key));
        self.groups.insert(key, group);
        self.note_pending(key);
        self.set_timer(key, Some(now));
    }

    /// Gives the alerts of a group that has no place any more to the groups that they fall into now.
    /// What their notifier was told of them goes with them.
    fn move_alerts(&mut self, now: WallTime, slot: Option<usize>, group: Group) {
        let (key, sent_at, receipt) = (group.key, group.sent_at, group.receipt);
        self.mark_owed(key);
        for (fingerprint, grouped) in group.alerts.into_all() {
            self.mark_gone(key, fingerprint);
            let alert = Arc::clone(&grouped.latest);
            let targets = self.plan.targets(&alert.labels);
            let Some(target) = targets.into_iter().find(|target| Some(target.slot) == slot) else {
                continue;
            };
            self.add_alert(now, target, &alert, grouped);
            let moved = self.holders.get(&(fingerprint, target.slot)).copied();
            if let Some(to) = moved.and_then(|key| self.groups.get_mut(&key)) {
                to.sent_at = to.sent_at.max(sent_at);
                to.receipt = to.receipt.take().or_else(|| receipt.clone());
            }
        }
    }
}

/// Alerts that several groups hold are stored with each of them, and held once.
fn share(known: &mut BTreeMap<Fingerprint, Arc<Alert>>, alert: &mut Arc<Alert>) {
    match known.get(&alert.fingerprint) {
        Some(same) if same == alert => *alert = Arc::clone(same),
        Some(_) => {}
        None => drop(known.insert(alert.fingerprint, Arc::clone(alert))),
    }
}
