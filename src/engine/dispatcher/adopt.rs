//! Finds places for groups that were made under another plan, or by another process.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{Dispatcher, SlotState};
use crate::engine::{
    alert::{Alert, Fingerprint},
    dispatch::{
        Group, GroupStateKey, GroupedAlert, LEFT, LedgerKind, LedgerSubject, News, Notification,
        Phase, Policy, RouteId, Slot, Target, Whom, about, successors,
    },
    time::WallTime,
};

/// An alert of a group whose notifier, or whose route to it, is gone.
struct Left {
    /// The notifier.
    identity: String,
    route: RouteId,
    policy: Policy,
    grouped: GroupedAlert,
}

impl Dispatcher {
    /// Finds places for groups, each with whom it tells.
    pub(super) fn adopt(&mut self, groups: Vec<(Whom, Group)>) {
        let now = self.now;
        let troubles = self.take_troubles(&groups);
        let before: BTreeSet<Whom> = groups.iter().map(|(whom, _)| whom.clone()).collect();
        let successors = successors(&self.plan.slots, before.iter());
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
        for (whom, mut group) in groups {
            group.alerts.change_all(&group.policy, |one| share(&mut known, &mut one.latest));
            for (fingerprint, grouped) in group.alerts.iter().filter(|(_, m)| m.is_firing()) {
                firing.insert(fingerprint, Arc::clone(&grouped.latest));
            }
            let slot = successors.get(&whom).copied();
            let policy = slot.and_then(|slot| self.plan.policy(slot, group.route));
            let same_grouping =
                policy.filter(|policy| policy.grouping.by == group.policy.grouping.by);
            match (slot, same_grouping) {
                (Some(slot), Some(policy)) => {
                    self.keep_group(now, slot, &whom, group.under(policy));
                }
                (Some(_), None) => orphaned.push((slot, whom.identity, group)),
                (None, _) => {
                    // What the notifier was told as a whole each of its recipients was told.
                    let slots = self.plan.slots.iter().enumerate();
                    let recipients = slots.filter(|(_, slot)| {
                        slot.recipient.is_some() && slot.notifier == whom.identity
                    });
                    let successors: Vec<_> = recipients.map(|(index, _)| Some(index)).collect();
                    let successors = if successors.is_empty() { vec![None] } else { successors };
                    let of = |slot| (slot, whom.identity.clone(), group.clone());
                    orphaned.extend(successors.into_iter().map(of));
                }
            }
        }
        let mut left = Vec::new();
        for (slot, identity, group) in orphaned {
            self.move_alerts(now, slot, identity, group, &mut left);
        }
        let goes_on: BTreeSet<usize> = successors.into_values().collect();
        for left in left {
            self.hand_on(now, left, &goes_on);
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

    fn keep_group(&mut self, now: WallTime, slot: usize, before: &Whom, mut group: Group) {
        let whom = self.plan.slot(slot).whom();
        if whom.identity != before.identity {
            self.mark_all(&group);
            let target = Target { slot, route: group.route };
            group.key = match &group.policy.grouping.by {
                _ if group.is_overflow => self.plan.overflow_key(target).0,
                by => self.plan.key_of(target, by, &group.labels),
            };
            self.mark_all(&group);
        } else if whom != *before {
            self.dirty.insert(GroupStateKey::Group(group.key));
        }
        let key = group.key;
        (group.slot, group.timer) = (slot, None);
        (group.is_queued, group.is_behind) = (false, false);
        if let Some(owed) = &mut group.owed {
            let notification = Arc::make_mut(&mut owed.notification);
            notification.notifier_index = self.plan.slot(slot).notifier_index;
            notification.recipient.clone_from(&self.plan.slot(slot).recipient);
            notification.address = self.plan.slot(slot).address;
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
    /// What their notifier was told of them goes with them. Those that it is told of no more are `left`, unless it
    /// knows of them and is yet to hear of their end.
    fn move_alerts(
        &mut self,
        now: WallTime,
        slot: Option<usize>,
        identity: String,
        mut group: Group,
        left: &mut Vec<Left>,
    ) {
        group.note_uncertain();
        let Group { key, thread, route, policy, sent_at, receipt, .. } = group;
        self.mark_owed(key);
        for (fingerprint, mut grouped) in group.alerts.into_all() {
            self.mark_gone(key, fingerprint);
            let alert = Arc::clone(&grouped.latest);
            let mut targets = self.targets_of(&alert).into_iter();
            let target = targets.find(|target| Some(target.slot) == slot);
            let is_led_elsewhere = target.is_none();
            let target = target.or_else(|| self.without_route(slot?, &grouped));
            let is_unheard = target.is_none() || grouped.news(&policy) == Some(News::New);
            if is_led_elsewhere && is_unheard {
                let (identity, policy, grouped) =
                    (identity.clone(), policy.clone(), grouped.clone());
                left.push(Left { identity, route, policy, grouped });
            }
            let Some(target) = target else { continue };
            grouped.is_held |= is_led_elsewhere;
            self.add_alert(now, target, &alert, grouped);
            let moved = self.holders.get(&(fingerprint, target.slot)).copied();
            if let Some(to) = moved.and_then(|key| self.groups.get_mut(&key)) {
                if is_led_elsewhere && to.sent_at.is_none() {
                    to.thread = thread;
                }
                to.sent_at = to.sent_at.max(sent_at);
                to.receipt = to.receipt.take().or_else(|| receipt.clone());
            }
        }
    }

    /// Where a notifier hears of the end of what it takes to fire, if no route leads it there any more.
    fn without_route(&self, slot: usize, grouped: &GroupedAlert) -> Option<Target> {
        let hears = self.plan.policy(slot, LEFT)?.send_resolved && grouped.is_believed_firing();
        hears.then_some(Target { slot, route: LEFT })
    }

    /// The group gets another key, or has got it: all that is stored of it.
    fn mark_all(&mut self, group: &Group) {
        self.mark_owed(group.key);
        for (fingerprint, _) in group.alerts.iter() {
            self.mark_gone(group.key, fingerprint);
        }
    }

    /// Gives what a notifier that is gone was owed of an alert that is over to whoever its route leads to now, or
    /// its labels if the route is gone too: rather to those that do not go on as somebody who was there before, as
    /// far as that is known. What fires everybody is told of anyway.
    fn hand_on(&mut self, now: WallTime, left: Left, goes_on: &BTreeSet<usize>) {
        let Left { identity, route, policy, grouped } = left;
        let alert = &grouped.latest;
        let Some(news) = grouped.news(&policy).filter(|_| !grouped.is_firing()) else { return };
        let mut targets = self.targets_of(alert);
        prefer(&mut targets, |target| target.route == route);
        prefer(&mut targets, |target| is_renamed(self.plan.slot(target.slot), &identity));
        prefer(&mut targets, |target| !goes_on.contains(&target.slot));
        // Of what was hidden to its end nobody hears who does not believe that it fires.
        if targets.is_empty() || grouped.is_held {
            self.lose(&identity, alert.fingerprint);
            return;
        }
        for target in targets {
            let policy = self.plan.policy(target.slot, target.route);
            let hears = news == News::New || policy.is_some_and(|policy| policy.send_resolved);
            if hears && !self.holders.contains_key(&(alert.fingerprint, target.slot)) {
                self.add_alert(now, target, alert, grouped.unheard());
            }
        }
    }

    /// What a notifier that is gone was owed of an alert nobody is told.
    fn lose(&mut self, identity: &str, fingerprint: Fingerprint) {
        let (receiver, notifier) = identity.split_once('/').unwrap_or((identity, ""));
        let kind = notifier.split(['/', '#']).next().unwrap_or_default();
        let of = (receiver.to_owned(), kind.to_owned());
        self.counts.notifiers.entry(of).or_default().alerts_dropped += 1;
        let who = (receiver.to_owned(), notifier.to_owned());
        let detail = "its receiver, or its route, is gone".to_owned();
        self.note_down(who, LedgerSubject::of_alert(fingerprint), LedgerKind::Dropped, detail);
    }
}

/// Keeps those of which something holds, if there are any.
fn prefer(targets: &mut Vec<Target>, is_likely: impl Fn(&Target) -> bool) {
    if targets.iter().any(&is_likely) {
        targets.retain(is_likely);
    }
}

/// Whether it is a notifier of that identity but for the name of its receiver.
fn is_renamed(slot: &Slot, identity: &str) -> bool {
    slot.identity.strip_prefix(&slot.receiver).is_some_and(|rest| identity.ends_with(rest))
}

/// Alerts that several groups hold are stored with each of them, and held once.
fn share(known: &mut BTreeMap<Fingerprint, Arc<Alert>>, alert: &mut Arc<Alert>) {
    match known.get(&alert.fingerprint) {
        Some(same) if same == alert => *alert = Arc::clone(same),
        Some(_) => {}
        None => drop(known.insert(alert.fingerprint, Arc::clone(alert))),
    }
}
