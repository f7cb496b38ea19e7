//! Groups as state entries: what is stored of them, and how it is read back.
//!
//! Five kinds of entries in one table, told apart by the first byte of the key, so that a change of
//! one alert does not write its whole group again, and a repetition does not write its alerts again:
//! - `g` + group: [`GroupRecord`];
//! - `m` + group + fingerprint: [`GroupedAlertRecord`];
//! - `o` + group: [`OwedRecord`];
//! - `p` + group: [`ProgressRecord`], of what is owed;
//! - `t` + group + fingerprint: when the receiver was last told of an alert. It goes before the time in its
//!   [`GroupedAlertRecord`].
//!
//! Each value begins with its version. Records of version 1 lack what later ones have behind them; they
//! are read with nothing there. An entry that cannot be read is left out and counted.

use std::{collections::BTreeMap, sync::Arc};

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::{
    Address, Audience, Form, Group, GroupBy, GroupKey, GroupStateKey, GroupedAlert, Grouping,
    Handling, Members, Notification, Owed, Phase, Policy, Progress, Receipt, Refusal, RouteTimes,
    Whom,
    grouped_alert::{Carried, Told},
    plan::RouteId,
};
use crate::engine::{
    alert::{Alert, Fingerprint},
    encode::encode_into,
    state::{StateEntry, StateTable},
    time::WallTime,
};

/// First byte of values that are still as they were at first.
const VERSION_1: u8 = 1;

/// First byte of values with more behind that.
const VERSION_2: u8 = 2;

/// First byte of an alert that something hides; otherwise as [`VERSION_2`].
const HELD: u8 = 3;

/// The same, if its receiver may have been told that it fires.
const HELD_UNCERTAIN: u8 = 4;

/// The same, if nothing hides it any more.
const UNCERTAIN: u8 = 5;

/// First byte of an alert, or of what is owed, that has what people did behind it.
const HANDLED: u8 = 6;

/// First byte of a group of which is known where its notifier sends, with that behind what [`VERSION_2`] has.
const ADDRESSED: u8 = 7;

/// `A` is an [`Alert`] that is owned when it is read and borrowed when it is written.
#[derive(Serialize, Deserialize)]
struct GroupedAlertRecord<A> {
    latest: A,
    episode: u64,
    carried: Option<(A, u64)>,
    told: Option<Told>,
    since: WallTime,
    told_at: WallTime,
}

/// What version 2 has behind a [`GroupedAlertRecord`].
#[derive(Default, Serialize, Deserialize)]
struct GroupedAlertMore {
    refused: Option<Refusal>,
}

/// What [`HANDLED`] has behind a [`GroupedAlertRecord`], in place of [`GroupedAlertMore`].
#[derive(Serialize, Deserialize)]
struct HandledAlertMore {
    refused: Option<Refusal>,
    is_held: bool,
    may_be_believed: bool,
    /// What the receiver was told last of what people did.
    handling: u64,
}

#[derive(Serialize, Deserialize)]
struct GroupRecord {
    identity: String,
    route: RouteId,
    by: GroupBy,
    is_overflow: bool,
    labels: BTreeMap<String, String>,
    created_at: WallTime,
    sent_at: Option<WallTime>,
    sequence: u64,
    receipt: Option<Receipt>,
    dropped_count: u64,
}

/// What version 2 has behind a [`GroupRecord`].
#[derive(Default, Serialize, Deserialize)]
struct GroupMore {
    /// If it is not the group's own key.
    thread: Option<GroupKey>,
    refused_at: Option<WallTime>,
}

/// `N` is a [`Notification`], as in [`GroupedAlertRecord`].
#[derive(Serialize, Deserialize)]
struct OwedRecord<N> {
    notification: N,
    told: Vec<(Fingerprint, Told)>,
    dropped_count: u64,
}

#[derive(Default, Serialize, Deserialize)]
struct ProgressRecord {
    /// `None`: an attempt is under way.
    waiting_until: Option<WallTime>,
    failures: u32,
    failing_since: Option<WallTime>,
    asked_until: Option<WallTime>,
    form: Form,
    is_stale: bool,
}

/// The value of an entry; `None` if there is no such thing any more.
pub(in crate::engine) fn value_of(
    key: GroupStateKey,
    group: Option<&Group>,
    whom: impl Fn(&Group) -> Whom,
) -> Option<Vec<u8>> {
    let group = group?;
    match key {
        GroupStateKey::Group(_) => {
            let Whom { identity, address } = whom(group);
            let record = GroupRecord {
                identity,
                route: group.route,
                by: group.policy.grouping.by.clone(),
                is_overflow: group.is_overflow,
                labels: group.labels.clone(),
                created_at: group.created_at,
                sent_at: group.sent_at,
                sequence: group.sequence,
                receipt: group.receipt.clone(),
                dropped_count: group.dropped_count,
            };
            let thread = Some(group.thread).filter(|thread| *thread != group.key);
            let more = GroupMore { thread, refused_at: group.refused_at };
            Some(match address {
                Some(address) => encode(ADDRESSED, &(record, more, address)),
                None => encode(VERSION_2, &(record, more)),
            })
        }
        GroupStateKey::Alert(_, fingerprint) => group.alerts.get(fingerprint).map(|grouped| {
            let record = GroupedAlertRecord::<&Alert> {
                latest: &grouped.latest,
                episode: grouped.episode,
                carried: grouped.carried.as_ref().map(|carried| (&*carried.alert, carried.newest)),
                told: grouped.told,
                since: grouped.since,
                told_at: grouped.told_at,
            };
            let (is_held, may_be_believed) = (grouped.is_held, grouped.may_be_believed);
            if let Some(handling) = grouped.told.map(|told| told.handling).filter(|one| *one != 0) {
                let refused = grouped.refused;
                let more = HandledAlertMore { refused, is_held, may_be_believed, handling };
                return encode(HANDLED, &(record, more));
            }
            let version = match (is_held, may_be_believed) {
                (false, false) => VERSION_2,
                (true, false) => HELD,
                (true, true) => HELD_UNCERTAIN,
                (false, true) => UNCERTAIN,
            };
            encode(version, &(record, GroupedAlertMore { refused: grouped.refused }))
        }),
        GroupStateKey::Owed(_) => group.owed.as_ref().map(|owed| {
            let record = OwedRecord::<&Notification> {
                notification: &owed.notification,
                told: owed.told.clone(),
                dropped_count: owed.dropped_count,
            };
            let handlings: Vec<u64> = owed.told.iter().map(|(_, told)| told.handling).collect();
            if handlings.iter().any(|handling| *handling != 0) {
                return encode(HANDLED, &(record, handlings));
            }
            encode(VERSION_1, &record)
        }),
        GroupStateKey::Progress(_) => group.owed.as_ref().map(|owed| {
            let Progress { phase, failures, failing_since, asked_until, is_stale } = owed.progress;
            let waiting_until = match phase {
                Phase::Waiting(until) => Some(until),
                Phase::Launched | Phase::InFlight(_) => None,
            };
            let form = owed.notification.form;
            let record = ProgressRecord {
                waiting_until,
                failures,
                failing_since,
                asked_until,
                form,
                is_stale,
            };
            encode(VERSION_1, &record)
        }),
        GroupStateKey::ToldAt(_, fingerprint) => {
            let grouped = group.alerts.get(fingerprint).filter(|grouped| grouped.told.is_some())?;
            Some(encode(VERSION_1, &grouped.told_at))
        }
    }
}

fn encode<T: Serialize>(version: u8, record: &T) -> Vec<u8> {
    encode_into(vec![version], record)
}

fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Option<T> {
    match bytes.split_first() {
        Some((&VERSION_1, rest)) => postcard::from_bytes(rest).ok(),
        _ => None,
    }
}

/// A record that has more behind it since version 2.
fn decode_with<T: DeserializeOwned, M: DeserializeOwned + Default>(bytes: &[u8]) -> Option<(T, M)> {
    match bytes.split_first() {
        Some((&VERSION_1, rest)) => Some((postcard::from_bytes(rest).ok()?, M::default())),
        Some((&(VERSION_2 | HELD | HELD_UNCERTAIN | UNCERTAIN), rest)) => {
            postcard::from_bytes(rest).ok()
        }
        _ => None,
    }
}

/// A group, and where its notifier sends, if that was known.
fn decode_group(bytes: &[u8]) -> Option<(GroupRecord, GroupMore, Option<Address>)> {
    if let Some((&ADDRESSED, rest)) = bytes.split_first() {
        let (record, more, address) = postcard::from_bytes(rest).ok()?;
        return Some((record, more, Some(address)));
    }
    let (record, more) = decode_with(bytes)?;
    Some((record, more, None))
}

/// An alert of a group, with what its version has behind it.
fn decode_alert(bytes: &[u8]) -> Option<(GroupedAlertRecord<Alert>, HandledAlertMore)> {
    if let Some((&HANDLED, rest)) = bytes.split_first() {
        return postcard::from_bytes(rest).ok();
    }
    let (record, GroupedAlertMore { refused }) = decode_with(bytes)?;
    let version = bytes.first();
    let is_held = matches!(version, Some(&(HELD | HELD_UNCERTAIN)));
    let may_be_believed = matches!(version, Some(&(HELD_UNCERTAIN | UNCERTAIN)));
    Some((record, HandledAlertMore { refused, is_held, may_be_believed, handling: 0 }))
}

/// What is owed, and what it says of what people did with each of its alerts, if it says anything.
fn decode_owed(bytes: &[u8]) -> Option<(OwedRecord<Notification>, Vec<u64>)> {
    match bytes.split_first() {
        Some((&HANDLED, rest)) => postcard::from_bytes(rest).ok(),
        _ => Some((decode(bytes)?, Vec::new())),
    }
}

/// A group as it was stored, before the plan says whether it still has a place.
pub(in crate::engine) struct Restored {
    /// Whom it tells.
    pub(in crate::engine) whom: Whom,
    /// Its `slot` means nothing yet, and of its `policy` only `grouping.by` does.
    pub(in crate::engine) group: Group,
}

/// Reads entries in any order. Returns the groups, and how many entries could not be used.
pub(in crate::engine) fn read_entries(
    entries: &mut dyn Iterator<Item = StateEntry>,
) -> (Vec<Restored>, usize) {
    let mut groups: BTreeMap<GroupKey, Restored> = BTreeMap::new();
    let (mut parts, mut unusable) = (Vec::new(), 0);
    for entry in entries.filter(|entry| entry.table == StateTable::Group) {
        match GroupStateKey::from_bytes(&entry.key) {
            Some(GroupStateKey::Group(key)) => match decode_group(&entry.value) {
                Some(group) => {
                    groups.insert(key, restored(key, group));
                }
                None => unusable += 1,
            },
            Some(key) => parts.push((key, entry.value)),
            None => unusable += 1,
        }
    }
    // What is owed comes before how far it is.
    parts.sort_by_key(|(key, _)| *key);
    for (key, value) in parts {
        let restored = groups.get_mut(&key.group());
        if restored.and_then(|restored| add_part(&mut restored.group, key, &value)).is_none() {
            unusable += 1;
        }
    }
    (groups.into_values().collect(), unusable)
}

fn restored(
    key: GroupKey,
    (record, more, address): (GroupRecord, GroupMore, Option<Address>),
) -> Restored {
    let zero = std::time::Duration::ZERO;
    let grouping = Grouping { by: record.by, wait: zero, interval: zero, repeat: zero };
    Restored {
        whom: Whom { identity: record.identity, address },
        group: Group {
            key,
            thread: more.thread.unwrap_or(key),
            slot: usize::MAX,
            route: record.route,
            policy: Policy {
                grouping,
                audience: Audience::People,
                send_resolved: true,
                times: RouteTimes::default(),
            },
            is_overflow: record.is_overflow,
            labels: record.labels,
            alerts: Members::default(),
            created_at: record.created_at,
            sent_at: record.sent_at,
            refused_at: more.refused_at,
            sequence: record.sequence,
            receipt: record.receipt,
            dropped_count: record.dropped_count,
            owed: None,
            timer: None,
            is_queued: false,
            is_behind: false,
            has_news: false,
        },
    }
}

fn add_part(group: &mut Group, key: GroupStateKey, value: &[u8]) -> Option<()> {
    match key {
        GroupStateKey::Alert(_, fingerprint) => {
            let (record, more) = decode_alert(value)?;
            let carried =
                record.carried.map(|(alert, newest)| Carried { alert: Arc::new(alert), newest });
            let grouped = GroupedAlert {
                latest: Arc::new(record.latest),
                episode: record.episode,
                carried,
                told: record.told.map(|told| Told { handling: more.handling, ..told }),
                since: record.since,
                told_at: record.told_at,
                refused: more.refused,
                is_held: more.is_held,
                may_be_believed: more.may_be_believed,
                acknowledged: None,
                handling: Handling::default(),
            };
            group.alerts.insert(fingerprint, grouped, &group.policy);
        }
        GroupStateKey::Owed(_) => {
            let (record, handlings) = decode_owed(value)?;
            let handlings = handlings.into_iter().chain(std::iter::repeat(0));
            let told = record.told.into_iter().zip(handlings);
            group.owed = Some(Owed {
                notification: Arc::new(record.notification),
                told: told.map(|((id, told), handling)| (id, Told { handling, ..told })).collect(),
                dropped_count: record.dropped_count,
                progress: Progress {
                    phase: Phase::Waiting(WallTime::MIN),
                    failures: 0,
                    failing_since: None,
                    asked_until: None,
                    is_stale: false,
                },
                was_handed_out: true,
            });
        }
        GroupStateKey::Progress(_) => {
            let record: ProgressRecord = decode(value)?;
            let owed = group.owed.as_mut()?;
            Arc::make_mut(&mut owed.notification).form = record.form;
            owed.progress = Progress {
                phase: Phase::Waiting(record.waiting_until.unwrap_or(WallTime::MIN)),
                failures: record.failures,
                failing_since: record.failing_since,
                asked_until: record.asked_until,
                is_stale: record.is_stale,
            };
        }
        GroupStateKey::ToldAt(_, fingerprint) => {
            let told_at = decode(value)?;
            group.alerts.change(fingerprint, &group.policy, |grouped| grouped.told_at = told_at)?;
        }
        GroupStateKey::Group(_) => return None,
    }
    Some(())
}
