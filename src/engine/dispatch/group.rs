//! A group of alerts: its alerts, what it owes, and when it spoke last.

use std::{cmp::Reverse, collections::BTreeMap, fmt::Write as _, sync::Arc, time::Duration};

use super::{
    Audience, Form, GroupStateKey, Handling, Members, Notification, NotificationId, NotifyReason,
    OutcomeReason, Policy, Receipt, Refusal, SetBack,
    grouped_alert::{GroupedAlert, Told},
    plan::{GroupKey, RouteId, Slot, Target},
};
use crate::engine::{
    alert::{Alert, AlertState, Fingerprint},
    digest::{Digest, hex},
    limits,
    rule::Severity,
    text::counted,
    time::WallTime,
};

/// Alerts that one ledger entry names: 50. Further ones are counted in it.
const LEDGER_FINGERPRINTS_MAX: usize = 50;

/// The alerts that one notifier is told about together.
#[derive(Clone, Debug)]
pub(in crate::engine) struct Group {
    pub(in crate::engine) key: GroupKey,
    /// The same for all recipients of one notifier: the thread that their messages belong to.
    pub(in crate::engine) thread: GroupKey,
    /// Index of its notifier in the plan.
    pub(in crate::engine) slot: usize,
    pub(in crate::engine) route: RouteId,
    pub(in crate::engine) policy: Policy,
    pub(in crate::engine) is_overflow: bool,
    pub(in crate::engine) labels: BTreeMap<String, String>,
    pub(in crate::engine) alerts: Members,
    pub(in crate::engine) created_at: WallTime,
    pub(in crate::engine) sent_at: Option<WallTime>,
    /// When the receiver last refused something.
    pub(in crate::engine) refused_at: Option<WallTime>,
    /// Number of its next notification; part of the id, so that a repetition is another one.
    pub(in crate::engine) sequence: u64,
    pub(in crate::engine) receipt: Option<Receipt>,
    /// Alerts that were dropped at a limit and not yet mentioned.
    pub(in crate::engine) dropped_count: u64,
    pub(in crate::engine) owed: Option<Owed>,
    /// When it is looked at next; in the dispatcher's timers too.
    pub(in crate::engine) timer: Option<WallTime>,
    /// It waits for its notifier to be free.
    pub(in crate::engine) is_queued: bool,
    /// Behind all that have something to tell.
    pub(in crate::engine) is_behind: bool,
    /// As the last look said.
    pub(in crate::engine) has_news: bool,
}

/// A notification that is not delivered yet.
#[derive(Clone, Debug)]
pub(in crate::engine) struct Owed {
    pub(in crate::engine) notification: Arc<Notification>,
    /// What it says of each alert.
    pub(in crate::engine) told: Vec<(Fingerprint, Told)>,
    /// How many of the group's dropped alerts it mentions.
    pub(in crate::engine) dropped_count: u64,
    pub(in crate::engine) progress: Progress,
    /// An attempt was handed out, perhaps by an earlier process: the receiver may have it.
    pub(in crate::engine) was_handed_out: bool,
}

/// How far the delivery of an owed notification is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::engine) struct Progress {
    pub(in crate::engine) phase: Phase,
    /// Attempts in a row that failed, those of notifications that it replaced included.
    pub(in crate::engine) failures: u32,
    /// When the first of them began.
    pub(in crate::engine) failing_since: Option<WallTime>,
    /// The receiver asked to be left alone until then.
    pub(in crate::engine) asked_until: Option<WallTime>,
    /// The group has more to say by now.
    pub(in crate::engine) is_stale: bool,
}

/// Where an owed notification stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::engine) enum Phase {
    /// Not to be tried before.
    Waiting(WallTime),
    /// An attempt waits to be handed out.
    Launched,
    /// An attempt was handed out; without an outcome until then it counts as failed.
    InFlight(WallTime),
}

impl Group {
    /// Without alerts.
    pub(in crate::engine) fn new(
        (key, thread): (GroupKey, GroupKey),
        target: Target,
        policy: Policy,
        labels: BTreeMap<String, String>,
        now: WallTime,
    ) -> Group {
        Group {
            key,
            thread,
            slot: target.slot,
            route: target.route,
            policy,
            is_overflow: false,
            labels,
            alerts: Members::default(),
            created_at: now,
            sent_at: None,
            refused_at: None,
            sequence: 0,
            receipt: None,
            dropped_count: 0,
            owed: None,
            timer: None,
            is_queued: false,
            is_behind: false,
            has_news: false,
        }
    }

    /// Takes a newer snapshot of one of its alerts; whether it is one.
    pub(in crate::engine) fn update(&mut self, alert: &Arc<Alert>) -> bool {
        let policy = &self.policy;
        let updated = self.alerts.change(alert.fingerprint, policy, |grouped| {
            let changed = grouped.update(alert);
            if changed && let Some(refused) = &mut grouped.refused {
                refused.hasten(policy);
            }
            changed
        });
        let changed = updated == Some(true);
        if let Some(owed) = self.owed.as_mut().filter(|_| changed) {
            owed.progress.is_stale = true;
        }
        changed
    }

    /// Notes what keeps an alert from being told that fires: something hides it, somebody takes care of it.
    /// Whether something hid it before; `None` if it does not fire here, or nothing of it is news.
    pub(in crate::engine) fn hush(
        &mut self,
        fingerprint: Fingerprint,
        is_held: bool,
        acknowledged: Option<Severity>,
        handling: &Handling,
    ) -> Option<bool> {
        let grouped = self.alerts.get(fingerprint).filter(|grouped| grouped.is_firing())?;
        let was_held = grouped.is_held;
        let is_same = was_held == is_held && grouped.acknowledged == acknowledged;
        if is_same && grouped.handling == *handling {
            return None;
        }
        // Who cannot edit a message hears of the rest when there is something to tell.
        let is_news = !is_same || self.policy.audience == Audience::Editable;
        let is_out = is_held
            && !was_held
            && self.owed.as_ref().is_some_and(|owed| {
                let says_so = |(named, told): &(Fingerprint, Told)| {
                    *named == fingerprint && told.state == AlertState::Firing
                };
                owed.was_handed_out && owed.told.iter().any(says_so)
            });
        self.alerts.change(fingerprint, &self.policy, |grouped| {
            grouped.may_be_believed |= is_out;
            (grouped.is_held, grouped.acknowledged) = (is_held, acknowledged);
            grouped.handling.clone_from(handling);
            is_news.then_some(was_held)
        })?
    }

    /// What is owed is replaced. The receiver may have it all the same, if it was handed out, and believe that
    /// its alerts fire. Returns those of which that was not known.
    pub(in crate::engine) fn note_uncertain(&mut self) -> Vec<Fingerprint> {
        let Some(owed) = self.owed.as_ref().filter(|owed| owed.was_handed_out) else {
            return Vec::new();
        };
        let mut uncertain = Vec::new();
        for (fingerprint, told) in &owed.told {
            let is_known = |grouped: &GroupedAlert| grouped.is_believed_firing();
            if told.state == AlertState::Firing
                && !self.alerts.get(*fingerprint).is_none_or(is_known)
            {
                self.alerts.change(*fingerprint, &self.policy, |one| one.may_be_believed = true);
                uncertain.push(*fingerprint);
            }
        }
        uncertain
    }

    /// Adds an alert. It may have been one before, of which a notification is still owed: the numbers
    /// of its episodes go on from there, so that what comes of that one says nothing of later ones.
    pub(in crate::engine) fn insert(
        &mut self,
        fingerprint: Fingerprint,
        mut grouped: GroupedAlert,
    ) {
        if let Some(owed) = &mut self.owed {
            owed.progress.is_stale = true;
            if let Some((_, told)) = owed.told.iter().find(|(named, _)| *named == fingerprint) {
                grouped.number_from(told.episode + 1);
            }
        }
        self.alerts.insert(fingerprint, grouped, &self.policy);
    }

    /// Makes the notification that is due now, in place of one that is owed and not in flight.
    /// `None` if there is nothing to say; then nothing is owed any more.
    pub(in crate::engine) fn form(
        &mut self,
        now: WallTime,
        slot: &Slot,
    ) -> Option<Arc<Notification>> {
        let before = self.owed.take().map(|owed| owed.progress);
        let selection = self.select(now)?;
        let (mut alerts, mut told) = (Vec::new(), Vec::new());
        let mut news = Vec::new();
        let mut form = Form::Full;
        let is_edit = selection.reason == NotifyReason::Handled;
        for fingerprint in selection.fingerprints {
            let member = self.alerts.get(fingerprint).expect("selected among the alerts");
            form = form.max(member.refused.map_or(Form::Full, |refused| refused.form));
            if member.is_new() {
                news.push((Reverse(member.latest.severity), fingerprint, member.latest.who()));
            }
            alerts.push(member.view(&self.policy));
            let by_now = member.told_by_now(&self.policy);
            let by_edit = is_edit.then(|| member.told_by_edit(&self.policy)).flatten();
            told.push((fingerprint, by_edit.unwrap_or(by_now)));
        }
        let places = places_of(news);
        alerts.sort_by_key(|alert| {
            let place = places.get(&alert.fingerprint).copied().unwrap_or(usize::MAX);
            (alert.state == AlertState::Resolved, place, alert.fingerprint)
        });
        told.sort_by_key(|(fingerprint, _)| *fingerprint);
        let notification = Arc::new(Notification {
            id: self.notification_id(slot, &told),
            receiver: slot.receiver.clone(),
            notifier_index: slot.notifier_index,
            recipient: slot.recipient.clone(),
            address: slot.address,
            group_key: hex(&self.thread.0),
            group_labels: self.labels.clone(),
            reason: selection.reason,
            alerts,
            truncated_count: selection.left_count + self.dropped_count,
            created_at: now,
            sent_at: now,
            form,
            relabelled: Vec::new(),
            new_count: 0,
            attempts: 0,
            receipt: self.receipt.clone(),
        });
        self.sequence += 1;
        self.owed = Some(Owed {
            notification: Arc::clone(&notification),
            told,
            dropped_count: if is_edit { 0 } else { self.dropped_count },
            progress: Progress {
                phase: Phase::Waiting(now),
                failures: before.map_or(0, |before| before.failures),
                failing_since: before.and_then(|before| before.failing_since),
                asked_until: before.and_then(|before| before.asked_until),
                is_stale: false,
            },
            was_handed_out: false,
        });
        Some(notification)
    }

    /// What is owed, as an attempt that begins now carries it.
    pub(in crate::engine) fn attempt(&mut self, now: WallTime) -> Option<Arc<Notification>> {
        let relabelled: Vec<Alert> = match (&self.owed, self.policy.audience) {
            (Some(owed), Audience::Resend) => owed
                .told
                .iter()
                .filter_map(|(fingerprint, _)| self.alerts.get(*fingerprint)?.relabelled(now))
                .collect(),
            _ => Vec::new(),
        };
        let owed = self.owed.as_mut()?;
        owed.progress.phase = Phase::Launched;
        let is_new =
            |alert: &&Alert| self.alerts.get(alert.fingerprint).is_some_and(GroupedAlert::is_new);
        let new_count = owed.notification.alerts.iter().take_while(is_new).count();
        let before = &owed.notification;
        if (before.sent_at, before.new_count) != (now, new_count) || before.relabelled != relabelled
        {
            let notification = Arc::make_mut(&mut owed.notification);
            (notification.sent_at, notification.new_count) = (now, new_count);
            notification.relabelled = relabelled;
        }
        Some(Arc::clone(&owed.notification))
    }

    /// Content, where it goes, and which notification of which life of the group it is; not the attempt.
    fn notification_id(&self, slot: &Slot, told: &[(Fingerprint, Told)]) -> NotificationId {
        let group = Digest::default()
            .part(self.key.0)
            .part(self.created_at.micros().to_le_bytes())
            .part(self.sequence.to_le_bytes());
        let group = match slot.whom().address {
            Some(address) => group.part(address.to_bytes()),
            None => group,
        };
        let digest = told.iter().fold(group, |digest, (fingerprint, told)| {
            let digest = digest
                .part(fingerprint.0)
                .part(told.starts_at.micros().to_le_bytes())
                .part(told.revision.to_le_bytes())
                .part([u8::from(told.state == AlertState::Firing), told.severity as u8]);
            if told.handling == 0 { digest } else { digest.part(told.handling.to_le_bytes()) }
        });
        NotificationId(digest.first())
    }

    /// Notes that the receiver took what was owed. Returns what changed of its alerts.
    pub(in crate::engine) fn note_delivered(
        &mut self,
        now: WallTime,
        receipt: Option<Receipt>,
    ) -> Vec<GroupStateKey> {
        let Some(owed) = self.owed.take() else { return Vec::new() };
        if owed.notification.reason == NotifyReason::Handled {
            let edited = self.note_edited(owed.told, receipt).into_iter();
            return edited.map(|edited| GroupStateKey::Alert(self.key, edited)).collect();
        }
        self.sent_at = Some(now);
        self.dropped_count = self.dropped_count.saturating_sub(owed.dropped_count);
        if receipt.is_some() {
            self.receipt = receipt;
        }
        let mut changed = Vec::new();
        for (fingerprint, told) in owed.told {
            let noted =
                self.alerts.change(fingerprint, &self.policy, |grouped| grouped.note(now, told));
            let Some(is_more) = noted else { continue };
            if is_more {
                changed.push(GroupStateKey::Alert(self.key, fingerprint));
            }
            changed.push(GroupStateKey::ToldAt(self.key, fingerprint));
        }
        changed
    }

    /// Notes that a message was brought up to date, or cannot be. Nobody was told anything by that.
    fn note_edited(
        &mut self,
        told: Vec<(Fingerprint, Told)>,
        receipt: Option<Receipt>,
    ) -> Vec<Fingerprint> {
        self.receipt = receipt.or(self.receipt.take());
        let noted = told.into_iter().filter_map(|(fingerprint, told)| {
            let change = |grouped: &mut GroupedAlert| grouped.note_edit(told);
            let is_more = self.alerts.change(fingerprint, &self.policy, change)?;
            is_more.then_some(fingerprint)
        });
        noted.collect()
    }

    /// Notes that the receiver refused what was owed, which its alerts remember. Returns them. A message that it
    /// does not let be edited is left as it is until there is something to tell.
    pub(in crate::engine) fn refuse(
        &mut self,
        now: WallTime,
        reason: OutcomeReason,
    ) -> Vec<Fingerprint> {
        let Some(owed) = self.owed.take() else { return Vec::new() };
        if owed.notification.reason == NotifyReason::Handled {
            return self.note_edited(owed.told, None);
        }
        self.refused_at = Some(now);
        let since = owed.progress.failing_since.unwrap_or(owed.notification.sent_at);
        let company = owed.told.len();
        let mut refused = Vec::new();
        for (place, (fingerprint, _)) in owed.told.into_iter().enumerate() {
            let (policy, place) = (&self.policy, (place, company));
            let noted = self.alerts.change(fingerprint, policy, |grouped| {
                let after = Refusal::after(grouped.refused, now, since, reason, policy, place);
                grouped.refused = Some(after);
            });
            refused.extend(noted.map(|()| fingerprint));
        }
        refused
    }

    /// Whoever could not be told is tried again now, but for what the receiver itself asked for.
    /// Returns the alerts whose state that changed; what is owed may have changed too.
    pub(in crate::engine) fn retry_now(&mut self, now: WallTime) -> Vec<Fingerprint> {
        if let Some(owed) = &mut self.owed
            && let Phase::Waiting(until) = owed.progress.phase
        {
            let asked = owed.progress.asked_until.unwrap_or(WallTime::MIN);
            owed.progress.phase = Phase::Waiting(until.min(now.max(asked)));
        }
        let is_held_back = |(_, grouped): &(Fingerprint, &GroupedAlert)| {
            grouped.refused.is_some_and(|refused| refused.until > now)
        };
        let refused = self.alerts.iter().filter(is_held_back).map(|(fingerprint, _)| fingerprint);
        let refused: Vec<Fingerprint> = refused.collect();
        for fingerprint in &refused {
            self.alerts.change(*fingerprint, &self.policy, |grouped| {
                grouped.refused.as_mut().map(|refused| refused.until = now)
            });
        }
        if !refused.is_empty() {
            self.refused_at = None;
        }
        refused
    }

    /// Takes out the alerts of which everything was said, and those given up.
    pub(in crate::engine) fn sweep(
        &mut self,
        now: WallTime,
    ) -> (Vec<Fingerprint>, Vec<Arc<Alert>>) {
        let (mut done, mut expired) = (Vec::new(), Vec::new());
        for fingerprint in self.alerts.leaving(now) {
            let Some(grouped) = self.alerts.remove(fingerprint) else { continue };
            if grouped.news(&self.policy).is_none() {
                done.push(fingerprint);
            } else {
                expired.push(grouped.latest);
            }
        }
        (done, expired)
    }

    /// Goes on under another policy. Cost: all its alerts.
    pub(in crate::engine) fn under(mut self, policy: Policy) -> Group {
        self.policy = policy;
        self.alerts.change_all(&self.policy, |_| {});
        self
    }

    /// Goes on with a clock that was set back. Nothing waits longer than it may at all.
    pub(in crate::engine) fn rebase(&mut self, set_back: SetBack, attempt_age_max: Duration) {
        let soon = |time, most| set_back.of(time).min(set_back.now.plus(most));
        self.created_at = set_back.of(self.created_at);
        self.sent_at = self.sent_at.map(|sent_at| set_back.of(sent_at));
        self.refused_at = self.refused_at.map(|refused_at| set_back.of(refused_at));
        self.alerts.change_all(&self.policy, |grouped| grouped.rebase(set_back, &self.policy));
        if let Some(owed) = &mut self.owed {
            let progress = &mut owed.progress;
            progress.failing_since = progress.failing_since.map(|since| set_back.of(since));
            let asked = progress.asked_until;
            progress.asked_until = asked.map(|until| soon(until, limits::RETRY_AFTER_MAX));
            progress.phase = match progress.phase {
                Phase::Waiting(until) => Phase::Waiting(soon(until, limits::BACKOFF_MAX)),
                Phase::Launched => Phase::Launched,
                Phase::InFlight(until) => {
                    let notification = Arc::make_mut(&mut owed.notification);
                    notification.sent_at = set_back.of(notification.sent_at);
                    Phase::InFlight(soon(until, attempt_age_max))
                }
            };
        }
    }

    /// The last time by the operator's clock that it knows of.
    pub(in crate::engine) fn latest(&self) -> WallTime {
        let owed = self
            .owed
            .iter()
            .flat_map(|owed| [owed.notification.created_at, owed.notification.sent_at]);
        let own = self.sent_at.into_iter().chain(self.refused_at).chain(owed);
        own.fold(self.created_at, WallTime::max)
    }

    /// Whether what is owed says just what would be said now, though something happened since.
    pub(in crate::engine) fn owes_the_same(&self, now: WallTime) -> bool {
        let Some(owed) = &self.owed else { return false };
        let Some(selection) = self.select(now) else { return false };
        let is_edit = selection.reason == NotifyReason::Handled;
        if is_edit != (owed.notification.reason == NotifyReason::Handled) {
            return false;
        }
        let by_now = |grouped: &GroupedAlert| match grouped.told_by_edit(&self.policy) {
            Some(told) if is_edit => told,
            // What people did since is shown afterwards.
            _ => Told { handling: 0, ..grouped.told_by_now(&self.policy) },
        };
        let mut told: Vec<(Fingerprint, Told)> = selection
            .fingerprints
            .into_iter()
            .filter_map(|one| Some((one, by_now(self.alerts.get(one)?))))
            .collect();
        told.sort_by_key(|(fingerprint, _)| *fingerprint);
        let owed = owed.told.iter().map(|(one, told)| {
            (*one, Told { handling: if is_edit { told.handling } else { 0 }, ..*told })
        });
        owed.eq(told)
    }
}

impl Owed {
    /// Since when it is tried in vain: since the first attempt that failed, or the one that is under way.
    pub(in crate::engine) fn in_vain_since(&self) -> Option<WallTime> {
        let is_under_way = matches!(self.progress.phase, Phase::InFlight(_));
        self.progress.failing_since.or(is_under_way.then_some(self.notification.sent_at))
    }

    /// Notes an attempt that failed; the next one comes after `pause`, or when the receiver asked for
    /// if that is later. `for_all`: it asked for a pause of all notifications.
    pub(in crate::engine) fn fail(
        &mut self,
        now: WallTime,
        pause: Duration,
        asked: Option<Duration>,
        for_all: bool,
    ) {
        let progress = &mut self.progress;
        progress.failures = progress.failures.saturating_add(1);
        progress.failing_since.get_or_insert(self.notification.sent_at.min(now));
        progress.asked_until = asked.filter(|_| for_all).map(|asked| now.plus(asked));
        progress.phase = Phase::Waiting(now.plus(asked.map_or(pause, |asked| asked.max(pause))));
        Arc::make_mut(&mut self.notification).attempts += 1;
    }
}

/// Where alerts stand that are new: everybody's gravest before anybody's second.
fn places_of(
    mut news: Vec<(Reverse<Severity>, Fingerprint, String)>,
) -> BTreeMap<Fingerprint, usize> {
    news.sort_unstable();
    let mut named: BTreeMap<String, usize> = BTreeMap::new();
    let mut ranked: Vec<(usize, usize, Fingerprint)> = Vec::new();
    for (place, (_, fingerprint, who)) in news.into_iter().enumerate() {
        let rank = named.entry(who).or_default();
        ranked.push((*rank, place, fingerprint));
        *rank += 1;
    }
    ranked.sort_unstable();
    ranked.into_iter().enumerate().map(|(place, (.., fingerprint))| (fingerprint, place)).collect()
}

/// The pause after a failed attempt when `failures` failed before it: doubled each time, and spread by
/// up to a quarter either way, so that groups that failed together do not come back together.
pub(in crate::engine) fn backoff(policy: &Policy, id: NotificationId, failures: u32) -> Duration {
    let longest = match policy.audience {
        Audience::Resend => policy.grouping.repeat.clamp(limits::BACKOFF_MIN, limits::BACKOFF_MAX),
        Audience::People | Audience::Editable | Audience::Machine => limits::BACKOFF_MAX,
    };
    let pause = limits::BACKOFF_MIN.saturating_mul(1 << failures.min(16)).min(longest);
    let [spread] = Digest::default().part(id.0).part(failures.to_le_bytes()).first();
    pause.mul_f64(0.75 + f64::from(spread) / 512.0)
}

/// What the ledger says of a notification: why it was made, what the receiver said, and of which
/// alerts it tells, the first [`LEDGER_FINGERPRINTS_MAX`] by fingerprint.
pub(in crate::engine) fn ledger_detail(notification: &Notification, answer: &str) -> String {
    let mut text = notification.reason.as_str().to_owned();
    if !answer.is_empty() {
        let _ = write!(text, "; {answer}");
    }
    let count = notification.alerts.len();
    let _ = write!(text, "; {}:", counted(count, "alert"));
    for alert in notification.alerts.iter().take(LEDGER_FINGERPRINTS_MAX) {
        let _ = write!(text, " {} {},", alert.fingerprint, alert.state.as_str());
    }
    if text.ends_with(',') {
        text.pop();
    }
    if count > LEDGER_FINGERPRINTS_MAX {
        let _ = write!(text, " and {} more", count - LEDGER_FINGERPRINTS_MAX);
    }
    text
}
