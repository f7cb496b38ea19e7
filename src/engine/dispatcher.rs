//! Decides what is sent, to whom, when, and when again.
//!
//! How to drive it, once for each batch of alerts and whenever [`Dispatcher::poll_timeout`] is due:
//! `handle_alert` for each alert, `handle_outcome` for each attempt that came back, then
//! `handle_timeout(now)`, which does the deciding; `take_changes`, make them durable, and only then
//! `poll_attempt` until it gives nothing more. A new notification is handed out only after the
//! `take_changes` that holds it, so it cannot leave before its checkpoint by mistake; one that an
//! attempt already failed for is durable and comes at once.
//!
//! Every attempt that is handed out is answered by one outcome. One that is not answered in time after that
//! counts as failed ([`NotifierPlan::attempt_max`](super::dispatch::NotifierPlan::attempt_max)).
//!
//! What it has to say itself comes from [`Dispatcher::poll_alert`], and goes back in by `handle_alert`.

mod adopt;
mod failing;
mod hush;
mod orders;
mod trouble;
mod turns;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use failing::Failing;

use super::{
    act::Acts,
    alert::{Alert, AlertState, Fingerprint},
    dispatch::{
        Addresses, Audience, CompiledPlan, DispatchCounts, DispatchPlan, Group, GroupKey,
        GroupStateKey, GroupedAlert, Inhibitor, LedgerEntry, LedgerKind, LedgerSubject,
        Notification, NotificationId, NotifierCounts, NotifyReason, Outcome, OutcomeReason, Phase,
        Receipt, SetBack, Target, about, backoff, ledger_detail, read_entries, value_of,
    },
    limits,
    shard::{StateChange, StateEntry, StateTable},
    time::WallTime,
};

/// Routes alerts into groups, and says which notification is to be tried when.
pub struct Dispatcher {
    plan: CompiledPlan,
    /// What each notifier of the plan is doing, by slot.
    slots: Vec<SlotState>,
    groups: BTreeMap<GroupKey, Group>,
    /// Which group of which notifier holds an alert.
    holders: BTreeMap<(Fingerprint, usize), GroupKey>,
    /// Groups of each notifier and route.
    group_counts: BTreeMap<(usize, [u8; 16]), usize>,
    /// Groups by how many alerts they hold.
    sizes: BTreeSet<(usize, GroupKey)>,
    /// Those that have something to tell, or wait for an answer, of each notifier and route: they have the same times.
    pending: BTreeMap<(usize, [u8; 16]), BTreeSet<GroupKey>>,
    timers: BTreeSet<(WallTime, Timer)>,
    in_flight: BTreeMap<NotificationId, GroupKey>,
    /// Made, but not yet in the hands of the store.
    formed: Vec<Arc<Notification>>,
    /// To be tried now.
    ready: VecDeque<Arc<Notification>>,
    dirty: BTreeSet<GroupStateKey>,
    ledger: Vec<LedgerEntry>,
    /// What people did.
    acts: Acts,
    inhibitor: Inhibitor,
    /// About receivers that take nothing and silences that end, for whoever tells alerts.
    alerts: VecDeque<Alert>,
    counts: DispatchCounts,
    /// The latest time it was told.
    now: WallTime,
}

/// The value of a receipt that is what the receiver said.
pub const ANSWER: &str = "answer";

/// What has to be looked at when its time has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    Group(GroupKey),
    Slot(usize),
    Trouble(usize),
}

/// What a notifier is doing.
#[derive(Clone, Debug, Default)]
struct SlotState {
    /// Groups that want to send, in the order in which they asked.
    queue: VecDeque<GroupKey>,
    /// Groups whose message is only to be brought up to date: when nobody has anything to tell.
    behind: VecDeque<GroupKey>,
    in_flight: usize,
    /// The last attempt failed.
    is_failing: bool,
    /// The next attempt may not start before.
    next_at: Option<WallTime>,
    /// Groups with something that it does not take, and since when.
    failing: Failing,
    /// When it will have been so for too long.
    trouble_at: Option<WallTime>,
    /// The alert that says so.
    trouble: Option<Arc<Alert>>,
    /// What its last failure was, for people.
    words: String,
}

impl Dispatcher {
    /// Without any groups.
    pub fn new(plan: &DispatchPlan) -> Dispatcher {
        let inhibitor = Inhibitor::new(&plan.inhibit);
        let plan = CompiledPlan::new(plan);
        Dispatcher {
            inhibitor,
            slots: vec![SlotState::default(); plan.slots.len()],
            counts: initial_counts(&plan),
            plan,
            groups: BTreeMap::new(),
            holders: BTreeMap::new(),
            group_counts: BTreeMap::new(),
            sizes: BTreeSet::new(),
            pending: BTreeMap::new(),
            timers: BTreeSet::new(),
            in_flight: BTreeMap::new(),
            formed: Vec::new(),
            ready: VecDeque::new(),
            dirty: BTreeSet::new(),
            ledger: Vec::new(),
            acts: Acts::default(),
            alerts: VecDeque::new(),
            now: WallTime::MIN,
        }
    }

    /// Goes on with another configuration. Groups whose notifier, route and grouping are still there
    /// stay as they are, with what they owe; alerts of other groups find new ones. Receivers that are
    /// new are told of everything that fires.
    pub fn replace_plan(&mut self, now: WallTime, plan: &DispatchPlan) {
        self.set_now(now);
        self.inhibitor = Inhibitor::new(&plan.inhibit);
        self.go_on_with(now, CompiledPlan::new(plan));
    }

    /// Notifiers send to these addresses now. Who is at another one than before is told of everything that fires.
    pub fn send_to(&mut self, now: WallTime, addresses: &Addresses) {
        let mut plan = self.plan.clone();
        if plan.send_to(addresses) {
            self.set_now(now);
            self.go_on_with(now, plan);
        }
    }

    fn go_on_with(&mut self, now: WallTime, plan: CompiledPlan) {
        let old_plan = std::mem::replace(&mut self.plan, plan);
        let groups = std::mem::take(&mut self.groups)
            .into_values()
            .map(|group| (old_plan.slot(group.slot).whom(), group))
            .collect();
        for (key, counts) in initial_counts(&self.plan).notifiers {
            self.counts.notifiers.entry(key).or_insert(counts);
        }
        self.hush_firing();
        self.adopt(groups);
        self.hush_all(now);
    }

    /// Takes up the state that a store held. Only right after [`Dispatcher::new`]. Returns how many
    /// entries could not be used; other tables' entries are passed over.
    pub fn restore(&mut self, entries: &mut dyn Iterator<Item = StateEntry>) -> usize {
        let (acts, groups): (Vec<_>, Vec<_>) =
            entries.partition(|entry| entry.table == StateTable::Act);
        let acts_unusable = self.acts.restore(&mut acts.into_iter());
        self.hush_firing();
        let (restored, unusable) = read_entries(&mut groups.into_iter());
        if let Some(now) = restored.iter().map(|restored| restored.group.latest()).max() {
            self.set_now(now);
        }
        self.adopt(restored.into_iter().map(|restored| (restored.whom, restored.group)).collect());
        self.hush_all(self.now);
        acts_unusable + unusable
    }

    /// Takes a change of an alert. Cost: the route tree, one map operation for each notifier, and the
    /// silences if it begins.
    pub fn handle_alert(&mut self, now: WallTime, alert: &Alert) {
        self.set_now(now);
        let touched = self.note(now, alert);
        let alert = Arc::new(alert.clone());
        let of_alert = (alert.fingerprint, 0)..=(alert.fingerprint, usize::MAX);
        let held: Vec<(usize, GroupKey)> =
            self.holders.range(of_alert).map(|((_, slot), key)| (*slot, *key)).collect();
        for (_, key) in &held {
            let Some(group) = self.groups.get_mut(key) else { continue };
            if group.update(&alert) {
                self.dirty.insert(GroupStateKey::Alert(*key, alert.fingerprint));
                self.dirty.insert(GroupStateKey::Progress(*key));
                self.set_timer(*key, Some(now));
            }
        }
        for other in touched {
            self.hush(now, other);
        }
        if alert.state == AlertState::Resolved {
            // Whoever does not hold it was told already, or never has to be. Whatever hid it then hides it
            // for ever.
            return;
        }
        for target in self.targets_of(&alert) {
            if !held.iter().any(|(slot, _)| *slot == target.slot) {
                self.add_alert(now, target, &alert, GroupedAlert::new(&alert));
            }
        }
        self.hush(now, alert.fingerprint);
    }

    /// Takes what an attempt came to.
    pub fn handle_outcome(&mut self, now: WallTime, id: NotificationId, outcome: Outcome) {
        self.set_now(now);
        let Some(key) = self.in_flight.remove(&id) else {
            self.counts.outcomes_unknown += 1;
            return;
        };
        self.apply_outcome(now, key, outcome);
    }

    /// Decides what is due. Safe to call early or twice.
    pub fn handle_timeout(&mut self, now: WallTime) {
        self.set_now(now);
        self.acts.handle_timeout(now);
        self.apply_acts(now);
        while let Some((at, timer)) = self.timers.first().copied().filter(|(at, _)| *at <= now) {
            self.timers.remove(&(at, timer));
            match timer {
                Timer::Slot(slot) => self.drive(now, slot),
                Timer::Trouble(slot) => {
                    self.slot_state(slot).trouble_at = None;
                    self.judge(now, slot);
                }
                Timer::Group(key) => {
                    if let Some(group) = self.groups.get_mut(&key) {
                        group.timer = None;
                        self.examine(now, key);
                    }
                }
            }
        }
    }

    /// The next notification to try now; its outcome goes to [`Dispatcher::handle_outcome`].
    pub fn poll_attempt(&mut self, now: WallTime) -> Option<Arc<Notification>> {
        self.set_now(now);
        loop {
            let notification = self.ready.pop_front()?;
            // The outcome of an attempt before, thought lost, may have come meanwhile.
            let Some(key) = self.in_flight.get(&notification.id).copied() else { continue };
            let slot = self.groups.get(&key).map_or(usize::MAX, |group| group.slot);
            let until = now.plus(attempt_age_max(&self.plan, slot));
            let Some(owed) = self.groups.get_mut(&key).and_then(|group| group.owed.as_mut()) else {
                continue;
            };
            owed.progress.phase = Phase::InFlight(until);
            owed.was_handed_out = true;
            if owed.notification.sent_at != now {
                Arc::make_mut(&mut owed.notification).sent_at = now;
            }
            let notification = Arc::clone(&owed.notification);
            self.set_timer(key, Some(until));
            self.look_for_failing(now, key);
            return Some(notification);
        }
    }

    /// Whether attempts wait for [`Dispatcher::take_changes`], so that a checkpoint should not wait.
    pub fn has_attempts(&self) -> bool {
        !self.formed.is_empty()
    }

    /// When [`Dispatcher::handle_timeout`] is due; in the past means now. May change after any
    /// `handle_*` call.
    pub fn poll_timeout(&self) -> Option<WallTime> {
        let own = self.timers.first().map(|(at, _)| *at);
        own.into_iter().chain(self.acts.poll_timeout()).min()
    }

    /// Adds what changed since the last call, for the next checkpoint, and lets
    /// [`Dispatcher::poll_attempt`] hand out what these changes hold.
    pub fn take_changes(&mut self, out: &mut Vec<StateChange>) {
        for key in std::mem::take(&mut self.dirty) {
            let whom = |group: &Group| self.plan.slot(group.slot).whom();
            let value = value_of(key, self.groups.get(&key.group()), whom);
            out.push(StateChange { table: StateTable::Group, key: key.to_bytes(), value });
        }
        self.acts.take_changes(out);
        self.ready.extend(self.formed.drain(..));
    }

    /// Adds what happened since the last call, in order.
    pub fn take_ledger(&mut self, out: &mut Vec<LedgerEntry>) {
        out.append(&mut self.ledger);
    }

    /// Alerts held in all groups; one that two receivers are told of counts twice.
    pub fn alert_count(&self) -> usize {
        self.holders.len()
    }

    /// Groups of all receivers.
    pub fn group_count(&self) -> usize {
        self.groups.len()
    }

    /// Everything counted since start.
    pub fn counts(&self) -> &DispatchCounts {
        &self.counts
    }

    /// A clock that was set back must not make groups wait for it to catch up.
    fn set_now(&mut self, now: WallTime) {
        if let Some(set_back) = SetBack::new(self.now, now) {
            let keys: Vec<GroupKey> = self.groups.keys().copied().collect();
            for key in keys {
                if let Some(group) = self.groups.get_mut(&key) {
                    group.rebase(set_back, attempt_age_max(&self.plan, group.slot));
                }
                self.set_timer(key, Some(now));
            }
            for slot in 0..self.slots.len() {
                let next_at = self.slot_state(slot).next_at;
                if let Some(next_at) = next_at {
                    let longest = now.plus(limits::RETRY_AFTER_MAX);
                    self.set_slot_timer(slot, set_back.of(next_at).min(longest));
                }
                self.slot_state(slot).failing.rebase(set_back);
                self.judge(now, slot);
            }
        }
        self.now = now;
    }

    fn slot_state(&mut self, slot: usize) -> &mut SlotState {
        self.slots.get_mut(slot).expect("slots are made with the plan")
    }

    fn counts_of(&mut self, slot: usize) -> &mut NotifierCounts {
        let slot = self.plan.slot(slot);
        self.counts.notifiers.entry((slot.receiver.clone(), slot.kind.clone())).or_default()
    }

    fn set_timer(&mut self, key: GroupKey, at: Option<WallTime>) {
        let Some(group) = self.groups.get_mut(&key) else { return };
        if let Some(old) = std::mem::replace(&mut group.timer, at) {
            self.timers.remove(&(old, Timer::Group(key)));
        }
        if let Some(at) = at {
            self.timers.insert((at, Timer::Group(key)));
        }
    }

    fn set_slot_timer(&mut self, slot: usize, at: WallTime) {
        if let Some(old) = self.slot_state(slot).next_at.replace(at) {
            self.timers.remove(&(old, Timer::Slot(slot)));
        }
        self.timers.insert((at, Timer::Slot(slot)));
    }

    fn write_down(&mut self, slot: usize, about: LedgerSubject, what: LedgerKind, detail: String) {
        let slot = self.plan.slot(slot);
        let receiver = slot.receiver.clone();
        let notifier = match &slot.recipient {
            Some(recipient) => format!("{}/{recipient}", slot.kind),
            None => slot.kind.clone(),
        };
        self.note_down((receiver, notifier), about, what, detail);
    }

    fn note_down(
        &mut self,
        (receiver, notifier): (String, String),
        about: LedgerSubject,
        what: LedgerKind,
        detail: String,
    ) {
        if self.ledger.len() >= limits::LEDGER_ENTRIES_MAX {
            self.counts.ledger_dropped += 1;
            return;
        }
        let at = self.now;
        self.ledger.push(LedgerEntry { at, about, receiver, notifier, what, detail });
    }

    // ---- alerts into groups ----

    /// Who is to be told of an alert.
    fn targets_of(&self, alert: &Alert) -> Vec<Target> {
        match about(alert) {
            Some(identity) => self.plan.targets_beside(&alert.labels, identity),
            None => self.plan.targets(&alert.labels),
        }
    }

    /// Puts an alert into the group of a target that it falls into.
    fn add_alert(&mut self, now: WallTime, target: Target, alert: &Alert, grouped: GroupedAlert) {
        let Some(key) = self.group_for(now, target, alert) else { return };
        let group_is_full = self
            .groups
            .get(&key)
            .is_some_and(|group| group.alerts.len() >= limits::ALERTS_PER_GROUP_MAX);
        if group_is_full || self.holders.len() >= limits::ALERTS_IN_GROUPS_MAX {
            let mut victim = self.victim(key, alert);
            if victim.is_none() && !group_is_full {
                // All groups together are full, and it is not this one's fault.
                let largest = self.sizes.last().map(|(_, key)| *key);
                victim = largest.and_then(|key| self.victim(key, alert));
            }
            let is_taken = victim.is_some();
            let (of, slot, dropped) = victim.unwrap_or((key, target.slot, alert.fingerprint));
            self.drop_alert(of, slot, dropped);
            self.set_timer(of, Some(now));
            if !is_taken {
                return;
            }
        }
        let Some(group) = self.groups.get_mut(&key) else { return };
        let before = group.alerts.len();
        group.insert(alert.fingerprint, grouped);
        self.note_size(key, before);
        self.holders.insert((alert.fingerprint, target.slot), key);
        self.dirty.insert(GroupStateKey::Alert(key, alert.fingerprint));
        self.dirty.insert(GroupStateKey::Progress(key));
        self.set_timer(key, Some(now));
    }

    /// An alert of a group that makes room for another: its group, notifier and name.
    fn victim(
        &mut self,
        key: GroupKey,
        newcomer: &Alert,
    ) -> Option<(GroupKey, usize, Fingerprint)> {
        let group = self.groups.get_mut(&key)?;
        Some((key, group.slot, group.alerts.victim(newcomer)?))
    }

    fn drop_alert(&mut self, key: GroupKey, slot: usize, fingerprint: Fingerprint) {
        if let Some(group) = self.groups.get_mut(&key) {
            group.dropped_count += 1;
            self.dirty.insert(GroupStateKey::Group(key));
            let before = group.alerts.len();
            if group.alerts.remove(fingerprint).is_some() {
                self.note_size(key, before);
                self.mark_gone(key, fingerprint);
                self.holders.remove(&(fingerprint, slot));
            }
        }
        self.counts_of(slot).alerts_dropped += 1;
        let detail = "too much is owed".to_owned();
        self.write_down(slot, LedgerSubject::of_alert(fingerprint), LedgerKind::Dropped, detail);
    }

    /// The group of a target that an alert falls into, made if need be.
    fn group_for(&mut self, now: WallTime, target: Target, alert: &Alert) -> Option<GroupKey> {
        let policy = self.plan.policy(target.slot, target.route)?;
        let (mut key, mut thread, mut labels) =
            self.plan.group_key(target, &policy.grouping.by, alert);
        if self.groups.contains_key(&key) {
            return Some(key);
        }
        let count = self.group_counts.entry((target.slot, target.route)).or_default();
        let is_overflow = *count >= limits::GROUPS_PER_ROUTE_MAX;
        if is_overflow {
            self.counts.groups_overflowed += 1;
            (key, thread) = self.plan.overflow_key(target);
            labels = BTreeMap::new();
            if self.groups.contains_key(&key) {
                return Some(key);
            }
        }
        *count += 1;
        let group = Group::new((key, thread), target, policy, labels, now);
        self.groups.insert(key, Group { is_overflow, ..group });
        self.sizes.insert((0, key));
        self.dirty.insert(GroupStateKey::Group(key));
        Some(key)
    }

    /// Forgets a group that has nothing left to say.
    fn remove_group(&mut self, key: GroupKey) {
        self.set_timer(key, None);
        let Some(group) = self.groups.remove(&key) else { return };
        self.sizes.remove(&(group.alerts.len(), key));
        self.forget_pending((group.slot, group.route), key);
        if let Some(count) = self.group_counts.get_mut(&(group.slot, group.route)) {
            *count = count.saturating_sub(1);
        }
        self.note_failing(self.now, group.slot, key, None);
        self.dirty.insert(GroupStateKey::Group(key));
    }

    // ---- groups into attempts ----

    /// Looks at a group: lets alerts go, and asks for its turn if it has something to say.
    fn examine(&mut self, now: WallTime, key: GroupKey) {
        let Some(group) = self.groups.get_mut(&key) else { return };
        let (slot, before) = (group.slot, group.alerts.len());
        let (done, expired) = group.sweep(now);
        if !(done.is_empty() && expired.is_empty()) {
            self.note_size(key, before);
        }
        for alert in &expired {
            self.counts_of(slot).alerts_expired += 1;
            let detail = format!("{} ended at {}", alert.rule_title, alert.changed_at);
            let about = LedgerSubject::of_alert(alert.fingerprint);
            self.write_down(slot, about, LedgerKind::Expired, detail);
        }
        for fingerprint in done.into_iter().chain(expired.iter().map(|alert| alert.fingerprint)) {
            self.holders.remove(&(fingerprint, slot));
            self.mark_gone(key, fingerprint);
        }
        let Some(group) = self.groups.get_mut(&key) else { return };
        let verdict = group.verdict();
        group.has_news = verdict.has_news || verdict.is_to_be_edited;
        self.note_pending(key);
        self.note_failing(now, slot, key, verdict.failing_since);
        let Some(group) = self.groups.get_mut(&key) else { return };
        if group.is_queued {
            if group.is_behind && verdict.due.is_some_and(|due| due <= now) {
                self.step_forward(now, key);
            } else if group.is_behind {
                self.set_timer(key, verdict.due);
            }
            return;
        }
        let due = match group.owed.as_ref().map(|owed| owed.progress.phase) {
            Some(Phase::InFlight(until)) if until <= now => {
                self.attempt_lost(now, key);
                return;
            }
            Some(Phase::InFlight(until)) => {
                self.set_timer(key, Some(until));
                return;
            }
            Some(Phase::Launched) => return,
            Some(Phase::Waiting(until)) => Some(until),
            None if group.alerts.is_empty() => {
                self.remove_group(key);
                return;
            }
            None if verdict.is_to_be_edited => Some(now),
            None => verdict.due,
        };
        if due.is_some_and(|due| due <= now) {
            if let Some(until) = group.policy.times.quiet_until(now) {
                self.set_timer(key, Some(until));
                return;
            }
            self.queue(now, key, verdict.due);
        } else {
            self.set_timer(key, due.into_iter().chain(verdict.sweep).min());
        }
    }

    fn apply_outcome(&mut self, now: WallTime, key: GroupKey, outcome: Outcome) {
        let Some(group) = self.groups.get_mut(&key) else { return };
        let slot = group.slot;
        let Some(owed) = group.owed.as_mut() else { return };
        let notification = Arc::clone(&owed.notification);
        let words = match &outcome {
            Outcome::Delivered { .. } => String::new(),
            Outcome::Retry { reason, detail, .. } | Outcome::Rejected { reason, detail } => {
                format!("{}: {detail}", reason.as_str())
            }
        };
        let is_failing = matches!(outcome, Outcome::Retry { .. });
        let is_routine = group.policy.audience == Audience::Resend
            && notification.reason == NotifyReason::RepeatDue;
        let (what, detail) = match outcome {
            Outcome::Delivered { receipt } => {
                let said = receipt.as_ref().and_then(|receipt| receipt.values.get(ANSWER));
                let detail = ledger_detail(&notification, said.map_or("", String::as_str));
                self.note_delivered(now, key, receipt);
                self.counts_of(slot).delivered += 1;
                (LedgerKind::Delivered, detail)
            }
            Outcome::Rejected { reason, .. } => {
                for fingerprint in group.refuse(now, reason) {
                    self.dirty.insert(GroupStateKey::Alert(key, fingerprint));
                }
                self.mark_owed(key);
                self.note_pending(key);
                *self.counts_of(slot).rejected.entry(reason).or_default() += 1;
                (LedgerKind::Rejected, ledger_detail(&notification, &words))
            }
            Outcome::Retry { reason, after, .. } => {
                let asked = after.map(|after| after.min(limits::RETRY_AFTER_MAX));
                let for_all = reason == OutcomeReason::RateLimited;
                let pause = backoff(&group.policy, notification.id, owed.progress.failures);
                owed.fail(now, pause, asked, for_all);
                self.dirty.insert(GroupStateKey::Progress(key));
                *self.counts_of(slot).retried.entry(reason).or_default() += 1;
                if let Some(pause) = asked.filter(|_| for_all) {
                    self.set_slot_timer(slot, now.plus(pause));
                }
                (LedgerKind::Retry, ledger_detail(&notification, &words))
            }
        };
        // Alertmanager is told the same once a minute; an auditor need not be.
        if !(what == LedgerKind::Delivered && is_routine) {
            self.write_down(slot, LedgerSubject::of(&notification), what, detail);
        }
        let state = self.slot_state(slot);
        state.in_flight = state.in_flight.saturating_sub(1);
        state.is_failing = is_failing;
        state.words = words;
        let next_at = state.next_at.unwrap_or(now).max(now);
        self.set_slot_timer(slot, next_at);
        self.set_timer(key, Some(now));
        self.look_for_failing(now, key);
    }

    fn note_delivered(&mut self, now: WallTime, key: GroupKey, receipt: Option<Receipt>) {
        let Some(group) = self.groups.get_mut(&key) else { return };
        let changed = group.note_delivered(now, receipt);
        self.dirty.extend(changed);
        self.mark_owed(key);
        self.note_pending(key);
    }

    /// An alert has left a group, or come with it.
    fn mark_gone(&mut self, key: GroupKey, fingerprint: Fingerprint) {
        self.dirty.insert(GroupStateKey::Alert(key, fingerprint));
        self.dirty.insert(GroupStateKey::ToldAt(key, fingerprint));
    }

    /// The group changed with what it owes.
    fn mark_owed(&mut self, key: GroupKey) {
        self.dirty.extend([
            GroupStateKey::Group(key),
            GroupStateKey::Owed(key),
            GroupStateKey::Progress(key),
        ]);
    }
}

/// How long an attempt may go without an outcome.
fn attempt_age_max(plan: &CompiledPlan, slot: usize) -> Duration {
    let longest = plan.slots.get(slot).map_or(Duration::ZERO, |slot| slot.attempt_max);
    longest.saturating_add(limits::ATTEMPT_SLACK)
}

/// Zeros for every notifier of a plan, so that metrics exist before anything happens.
fn initial_counts(plan: &CompiledPlan) -> DispatchCounts {
    let notifiers = plan
        .slots
        .iter()
        .map(|slot| ((slot.receiver.clone(), slot.kind.clone()), NotifierCounts::default()));
    DispatchCounts { notifiers: notifiers.collect(), ..DispatchCounts::default() }
}
