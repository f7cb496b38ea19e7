//! Groups as state entries: what is stored of them, and how it is read back.
//!
//! Three kinds of entries in one table, told apart by the first byte of the key, so that a change of
//! one alert does not write its whole group again:
//! - `g` + group: [`GroupRecord`];
//! - `m` + group + fingerprint: [`MemberRecord`];
//! - `o` + group: [`OwedRecord`].
//!
//! Each value begins with [`VERSION`]. An entry that cannot be read is left out and counted.

use std::{collections::BTreeMap, sync::Arc};

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::{
    Audience, Group, GroupBy, GroupKey, Grouping, Member, Notification, Owed, Phase, Policy,
    Receipt,
    member::{Carried, Told},
    plan::RouteId,
};
use crate::engine::{
    alert::{Alert, Fingerprint},
    state::{StateEntry, StateTable},
    time::WallTime,
};

/// First byte of every value.
const VERSION: u8 = 1;

/// Names one state entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::engine) enum StateKey {
    /// The group itself.
    Group(GroupKey),
    /// One of its alerts.
    Member(GroupKey, Fingerprint),
    /// What it owes.
    Owed(GroupKey),
}

impl StateKey {
    pub(in crate::engine) fn group(&self) -> GroupKey {
        match self {
            StateKey::Group(group) | StateKey::Member(group, _) | StateKey::Owed(group) => *group,
        }
    }

    pub(in crate::engine) fn to_bytes(self) -> Vec<u8> {
        let (kind, rest): (u8, &[u8]) = match &self {
            StateKey::Group(_) => (b'g', &[]),
            StateKey::Member(_, fingerprint) => (b'm', &fingerprint.0),
            StateKey::Owed(_) => (b'o', &[]),
        };
        [&[kind], self.group().0.as_slice(), rest].concat()
    }

    fn from_bytes(bytes: &[u8]) -> Option<StateKey> {
        let (kind, rest) = bytes.split_first()?;
        let (group, rest) = rest.split_first_chunk()?;
        let group = GroupKey(*group);
        match (kind, rest.len()) {
            (b'g', 0) => Some(StateKey::Group(group)),
            (b'm', 16) => Some(StateKey::Member(group, Fingerprint(rest.try_into().ok()?))),
            (b'o', 0) => Some(StateKey::Owed(group)),
            _ => None,
        }
    }
}

/// `A` is an [`Alert`] that is owned when it is read and borrowed when it is written.
#[derive(Serialize, Deserialize)]
struct MemberRecord<A> {
    latest: A,
    episode: u64,
    carried: Option<(A, u64)>,
    told: Option<Told>,
    since: WallTime,
    told_at: WallTime,
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

/// `N` is a [`Notification`], as in [`MemberRecord`].
#[derive(Serialize, Deserialize)]
struct OwedRecord<N> {
    notification: N,
    told: Vec<(Fingerprint, Told)>,
    dropped_count: u64,
}

/// The value of an entry; `None` if there is no such thing any more.
pub(in crate::engine) fn value_of(
    key: StateKey,
    group: Option<&Group>,
    identity: impl Fn(&Group) -> String,
) -> Option<Vec<u8>> {
    let group = group?;
    match key {
        StateKey::Group(_) => Some(encode(&GroupRecord {
            identity: identity(group),
            route: group.route,
            by: group.policy.grouping.by.clone(),
            is_overflow: group.is_overflow,
            labels: group.labels.clone(),
            created_at: group.created_at,
            sent_at: group.sent_at,
            sequence: group.sequence,
            receipt: group.receipt.clone(),
            dropped_count: group.dropped_count,
        })),
        StateKey::Member(_, fingerprint) => group.members.get(&fingerprint).map(|member| {
            encode(&MemberRecord::<&Alert> {
                latest: &member.latest,
                episode: member.episode,
                carried: member.carried.as_ref().map(|carried| (&*carried.alert, carried.newest)),
                told: member.told,
                since: member.since,
                told_at: member.told_at,
            })
        }),
        StateKey::Owed(_) => group.owed.as_ref().map(|owed| {
            encode(&OwedRecord::<&Notification> {
                notification: &owed.notification,
                told: owed.told.clone(),
                dropped_count: owed.dropped_count,
            })
        }),
    }
}

fn encode<T: Serialize>(record: &T) -> Vec<u8> {
    let bytes = postcard::to_extend(record, vec![VERSION]);
    bytes.expect("writing plain data to memory cannot fail")
}

fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Option<T> {
    match bytes.split_first() {
        Some((&VERSION, rest)) => postcard::from_bytes(rest).ok(),
        _ => None,
    }
}

/// A group as it was stored, before the plan says whether it still has a place.
pub(in crate::engine) struct Restored {
    /// `receiver/kind` of its notifier.
    pub(in crate::engine) identity: String,
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
        match StateKey::from_bytes(&entry.key) {
            Some(StateKey::Group(key)) => match decode(&entry.value) {
                Some(record) => {
                    groups.insert(key, restored(key, record));
                }
                None => unusable += 1,
            },
            Some(key) => parts.push((key, entry.value)),
            None => unusable += 1,
        }
    }
    for (key, value) in parts {
        let restored = groups.get_mut(&key.group());
        if restored.and_then(|restored| add_part(&mut restored.group, key, &value)).is_none() {
            unusable += 1;
        }
    }
    (groups.into_values().collect(), unusable)
}

fn restored(key: GroupKey, record: GroupRecord) -> Restored {
    let zero = std::time::Duration::ZERO;
    let grouping = Grouping { by: record.by, wait: zero, interval: zero, repeat: zero };
    Restored {
        identity: record.identity,
        group: Group {
            key,
            slot: usize::MAX,
            route: record.route,
            policy: Policy { grouping, audience: Audience::People, send_resolved: true },
            is_overflow: record.is_overflow,
            labels: record.labels,
            members: BTreeMap::new(),
            created_at: record.created_at,
            sent_at: record.sent_at,
            sequence: record.sequence,
            receipt: record.receipt,
            dropped_count: record.dropped_count,
            owed: None,
            timer: None,
            is_queued: false,
            has_news: false,
        },
    }
}

fn add_part(group: &mut Group, key: StateKey, value: &[u8]) -> Option<()> {
    match key {
        StateKey::Member(_, fingerprint) => {
            let record: MemberRecord<Alert> = decode(value)?;
            let carried =
                record.carried.map(|(alert, newest)| Carried { alert: Arc::new(alert), newest });
            let member = Member {
                latest: Arc::new(record.latest),
                episode: record.episode,
                carried,
                told: record.told,
                since: record.since,
                told_at: record.told_at,
            };
            group.members.insert(fingerprint, member);
        }
        StateKey::Owed(_) => {
            let record: OwedRecord<Notification> = decode(value)?;
            group.owed = Some(Owed {
                notification: Arc::new(record.notification),
                told: record.told,
                dropped_count: record.dropped_count,
                phase: Phase::Waiting(WallTime::MIN),
                failures: 0,
                is_stale: false,
            });
        }
        StateKey::Group(_) => return None,
    }
    Some(())
}
