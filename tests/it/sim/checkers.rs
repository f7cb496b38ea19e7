//! What must hold after every step.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use tripline::engine::{
    alert::{Alert, AlertState, Fingerprint},
    dispatch::{Notification, NotificationId, NotifyReason},
    limits::{ALERTS_IN_GROUPS_MAX, ATTEMPTS_IN_FLIGHT_MAX},
    rule::Severity,
    time::{EventTime, WallTime},
};

use super::{broker::Broker, disk::Disk, life::Life, narrate, receivers::Notifier};

/// Something that must hold does not.
#[derive(Clone, Debug)]
pub(super) struct Failure {
    /// What should hold; the same for every seed that finds the same.
    pub(super) check: String,
    pub(super) detail: String,
}

/// Nothing, or what does not hold.
pub(super) type Checked = Result<(), Failure>;

/// Complains unless it holds.
pub(super) fn ensure(check: &str, holds: bool, detail: impl FnOnce() -> String) -> Checked {
    if holds { Ok(()) } else { Err(Failure { check: check.to_owned(), detail: detail() }) }
}

/// Receiver, index and recipient of a notifier.
type Who = (&'static str, usize, Option<&'static str>);

/// What a receiver can tell apart in an alert.
#[derive(Clone, Copy, PartialEq)]
struct View {
    starts_at: EventTime,
    last_seen: EventTime,
    state: AlertState,
    revision: u64,
    severity: Severity,
    value: f64,
    /// Episodes may begin at the same time, and are told together.
    finding_count: u64,
}

fn seen_of(alert: &Alert) -> View {
    let Alert { starts_at, last_seen, state, revision, severity, value, finding_count, .. } =
        *alert;
    View { starts_at, last_seen, state, revision, severity, value, finding_count }
}

/// Alerts, a line each.
pub(super) fn brief<'a>(alerts: impl IntoIterator<Item = &'a Alert>) -> String {
    let line = |alert: &Alert| {
        let key: Vec<&str> = alert.key.iter().map(|(_, value)| value.as_str()).collect();
        format!(
            "\n  {} {} {:?} {}, revision {}, value {}, {} findings, starts {}, seen {} to {}, \
             changed {}",
            alert.rule_id,
            key.join(" "),
            alert.state,
            alert.severity.as_str(),
            alert.revision,
            alert.value,
            alert.finding_count,
            alert.starts_at,
            alert.first_seen,
            alert.last_seen,
            alert.changed_at
        )
    };
    alerts.into_iter().map(line).collect()
}

/// A notification, its alerts a line each.
fn brief_of(notification: &Notification) -> String {
    let Notification {
        id, receiver, notifier_index, recipient, reason, attempts, created_at, ..
    } = notification;
    format!(
        "{id} to {receiver} {notifier_index} {recipient:?}, {}, made {created_at}, {attempts} attempts \
         before:{}",
        reason.as_str(),
        brief(&notification.alerts)
    )
}

/// What the checks remember.
#[derive(Default)]
pub(super) struct Checkers {
    /// Every notification that ever left, by id.
    known: BTreeMap<NotificationId, Arc<Notification>>,
    /// Those that their receiver refused.
    pub(super) refused: BTreeSet<NotificationId>,
    /// What each notifier was told last of each alert, and when that had come about.
    told: BTreeMap<(Who, Fingerprint), (View, WallTime)>,
    /// Changes of alerts that the driver was told of.
    pub(super) changed: Vec<Alert>,
    /// Some record waited so long that it may be late.
    pub(super) may_be_late: bool,
    /// Not all records met the same rules.
    pub(super) rules_changed: bool,
    /// The wall clock was set, or the process was stopped for a while: what takes long may seem to
    /// have failed, and pauses may seem to be over.
    pub(super) clock_is_odd: bool,
    /// The wall clock was set back: the same time comes twice.
    clock_went_back: bool,
}

impl Checkers {
    /// The wall clock was set, by so many microseconds.
    pub(super) fn clock_was_set(&mut self, by: i64) {
        self.clock_is_odd |= by.abs() > 1_000_000;
        self.clock_went_back |= by < 0;
    }

    pub(super) fn after_step(broker: &Broker, disk: &Disk, life: Option<&mut Life>) -> Checked {
        for (partition, durable) in broker.partitions.iter().zip(&disk.positions) {
            ensure("offsets follow the checkpoint", partition.committed <= *durable, || {
                format!("{}: {} committed, {durable} durable", partition.name, partition.committed)
            })?;
        }
        let Some(life) = life else { return Ok(()) };
        let member = life.coordinator.member();
        let (shard, dispatcher) = (member.shard(), member.dispatcher());
        let watermark = shard.watermark();
        ensure("the watermark does not go back", watermark >= life.watermark, || {
            format!("{watermark:?} after {:?}", life.watermark)
        })?;
        life.watermark = watermark;
        if life.counted == std::mem::replace(&mut life.bounds_seen, life.counted) {
            return Ok(());
        }
        let bytes: usize = shard.correlation_bytes().map(|(_, bytes)| bytes).sum();
        let alerts = dispatcher.alert_count();
        let fits = bytes as u64 <= shard.memory_budget() && alerts <= ALERTS_IN_GROUPS_MAX;
        ensure("tables are bounded", fits, || format!("{bytes} bytes, {alerts} alerts"))
    }

    /// An attempt leaves the process.
    pub(super) fn attempt(
        &mut self,
        now: WallTime,
        notification: &Arc<Notification>,
        life: &Life,
        disk: &Disk,
    ) -> Checked {
        let id = notification.id;
        narrate(|| format!("  {now} attempt: {}", brief_of(notification)));
        ensure("nothing leaves early", disk.has_held(id), || brief_of(notification))?;
        let same = |known: &Notification| {
            known.receiver == notification.receiver
                && known.address == notification.address
                && known.recipient == notification.recipient
                && known.group_key == notification.group_key
                && known.created_at == notification.created_at
                && known.reason == notification.reason
                && known.alerts == notification.alerts
        };
        let known = self.known.entry(id).or_insert_with(|| Arc::clone(notification));
        ensure("an id means one content", same(known), || {
            format!("{} and {}", brief_of(known), brief_of(notification))
        })?;
        // What was refused is tried again as another one, perhaps in the same moment: whoever knows it by
        // its id would refuse it again.
        let other = self
            .known
            .values()
            .find(|known| known.id != id && !self.refused.contains(&known.id) && same(known));
        // With a clock that was set back two may be made at the same time, one after the other.
        let is_one = other.is_none() || self.clock_went_back;
        ensure("one content has one id", is_one, || {
            format!("{} and {id}", other.map_or_else(String::new, |other| brief_of(other)))
        })?;
        if self.clock_is_odd {
            return Ok(());
        }
        let at_once = |flight: &&super::life::Flight| {
            flight.notification.receiver == notification.receiver
                && flight.notification.address == notification.address
                && flight.notification.recipient == notification.recipient
        };
        let flights: Vec<_> = life.flights.iter().filter(at_once).collect();
        ensure("few attempts at once", flights.len() < ATTEMPTS_IN_FLIGHT_MAX, || {
            format!("{} to {}", flights.len(), notification.receiver)
        })?;
        let twin = flights.iter().find(|f| f.notification.group_key == notification.group_key);
        ensure("a group sends one at a time", twin.is_none(), || brief_of(notification))?;
        let asked = life.not_before.iter().filter(|(refused, _)| refused.id == id);
        let until = asked.map(|(_, until)| *until).max().unwrap_or(i64::MIN);
        ensure("Retry-After is kept", now.micros() >= until, || {
            format!("{id} at {now}, not before {}", WallTime::from_micros(until))
        })
    }

    /// A receiver takes a notification.
    pub(super) fn taken(&mut self, notifier: &Notifier, notification: &Notification) -> Checked {
        narrate(|| format!("  taken: {}", brief_of(notification)));
        let again = notifier.taken.iter().any(|taken| taken.id == notification.id);
        let mut is_news = again || notification.reason == NotifyReason::RepeatDue;
        for alert in &notification.alerts {
            let who = (notifier.receiver, notifier.index, notifier.recipient);
            let key = (who, alert.fingerprint);
            let seen = seen_of(alert);
            let before = self.told.insert(key, (seen, alert.changed_at));
            // What comes when copies of it are not known any more happens a second time.
            let is_another = |(view, changed_at)| {
                view != seen || self.may_be_late && changed_at != alert.changed_at
            };
            is_news |= before.is_none_or(is_another);
        }
        ensure("nothing is told twice under two ids", is_news, || brief_of(notification))
    }
}
