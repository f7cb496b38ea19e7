//! Which permissions were used on which day: each is told once, however many workers and restarts there are.
//!
//! A day is known until a day after its end; what comes later than that is counted only, as nobody knows any
//! more whether it was told. So are requests of somebody who makes too many different ones: a row says so, and
//! nobody takes the day for complete.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use serde::{Deserialize, Serialize};

use crate::engine::{
    access::{
        Permission, Usage, UsageMode,
        usage::{day_of, start_of},
    },
    digest::Digest,
    ledger::{Entry, EntryKind},
    limits::{USAGE_KNOWN_MAX, USAGE_NAMES_MAX, USAGE_PER_ACTOR_MAX},
    time::EventTime,
};

/// Days beyond its own for which a request is known: 1.
const DAYS_KNOWN: i64 = 1;

/// Requests that are forgotten at once: 5,000, so that no checkpoint has a day to delete.
const FORGOTTEN_AT_ONCE: usize = 5_000;

/// Days and clusters of which it is remembered that something came too late: 1,000.
const SAID_LATE_MAX: usize = 1_000;

/// A day, and a digest of what requests that are alike have in common.
pub(super) type UsageKey = (i64, [u8; 16]);

/// What was told of requests that are alike.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Told {
    /// Digest of the actor.
    actor: u64,
    /// Digests of the names.
    names: Vec<u64>,
    has_more_names: bool,
}

/// Whose usage was recorded before, and until when.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Since {
    /// By the configuration.
    mode: UsageMode,
    /// Hours before this one are told with the mode of then.
    hour: i64,
    before: UsageMode,
    /// Days before this one are closed.
    closed: i64,
}

/// What is to be done about a request.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It becomes a row.
    New,
    /// It was told.
    Known,
    /// It comes too late; the first time for its day with a row that says so.
    Late(Option<Box<Entry>>),
    /// There are too many of its actor, or in all; the first time with a row that says so.
    TooMany(Option<Box<Entry>>),
}

/// The requests of the days that are known.
#[derive(Debug)]
pub(super) struct UsageDays {
    known: BTreeMap<UsageKey, Told>,
    /// By day and actor: how many, of those in `known`.
    actors: BTreeMap<(i64, u64), u32>,
    /// Of whom it was said that there are too many.
    said: BTreeSet<(i64, u64)>,
    /// Of which days, by cluster, it was said that something came too late.
    said_late: BTreeSet<(i64, u64)>,
    changed: BTreeSet<UsageKey>,
    since: Since,
    since_changed: bool,
    is_restored: bool,
    /// What the configuration says now. If another one was stored, it counts from where event time has come to.
    mode: UsageMode,
}

impl UsageDays {
    pub(super) fn new(mode: UsageMode) -> UsageDays {
        let since = Since { mode, hour: i64::MIN, before: mode, closed: i64::MIN };
        UsageDays {
            known: BTreeMap::new(),
            actors: BTreeMap::new(),
            said: BTreeSet::new(),
            said_late: BTreeSet::new(),
            changed: BTreeSet::new(),
            since,
            since_changed: true,
            is_restored: false,
            mode,
        }
    }

    /// Looks at a request, which counts from now on. What is told of it is made up here: its name is left out
    /// if there were too many.
    pub(super) fn see(&mut self, usage: &mut Usage) -> Verdict {
        let day = day_of(usage.at);
        if day < self.since.closed {
            let cluster = Digest::of([usage.cluster.as_deref().unwrap_or("")]).number();
            let is_first = self.said_late.insert((day, cluster));
            if self.said_late.len() > SAID_LATE_MAX {
                self.said_late.pop_first();
            }
            let detail = "permissions were used on a day that had been over for more than a day";
            return Verdict::Late(is_first.then(|| Box::new(gap(usage, "late", detail))));
        }
        let key = (day, digest_of(usage));
        let name = usage.name().map(|name| Digest::of([&**name]).number());
        if let Some(told) = self.known.get_mut(&key) {
            let Some(name) = name else { return Verdict::Known };
            if told.has_more_names || told.names.contains(&name) {
                return Verdict::Known;
            }
            if told.names.len() < USAGE_NAMES_MAX {
                told.names.push(name);
            } else {
                told.has_more_names = true;
                leave_out_name(usage);
            }
            self.changed.insert(key);
            return Verdict::New;
        }
        let actor = Digest::of([usage.actor.id.as_deref().unwrap_or("")]).number();
        let count = self.actors.entry((day, actor)).or_default();
        if *count >= USAGE_PER_ACTOR_MAX || self.known.len() >= USAGE_KNOWN_MAX {
            let is_first = self.said.insert((day, actor));
            let detail = "more permissions were used on this day than are told";
            return Verdict::TooMany(is_first.then(|| Box::new(gap(usage, "left_out", detail))));
        }
        *count += 1;
        let names = name.into_iter().collect();
        self.known.insert(key, Told { actor, names, has_more_names: false });
        self.changed.insert(key);
        Verdict::New
    }

    /// It could not be recorded: the next one like it is new again.
    pub(super) fn forget(&mut self, usage: &Usage) {
        let key = (day_of(usage.at), digest_of(usage));
        self.remove(key);
    }

    /// Event time has come so far.
    pub(super) fn advance(&mut self, watermark: EventTime) {
        if self.mode != self.since.mode {
            // The hour that runs and the next one have events of both.
            let hour = watermark.hour().saturating_add(2);
            let before = self.since.mode;
            self.since = Since { mode: self.mode, hour, before, ..self.since };
            self.since_changed = true;
        }
        let closed = day_of(watermark).saturating_sub(DAYS_KNOWN);
        if closed > self.since.closed {
            self.since.closed = closed;
            self.since_changed = true;
            self.said.retain(|(day, _)| *day >= closed);
        }
        for _ in 0..FORGOTTEN_AT_ONCE {
            match self.known.first_key_value() {
                Some((key, _)) if key.0 < self.since.closed => self.remove(*key),
                _ => break,
            }
        }
    }

    /// Whose usage is recorded in an hour, as far as its events are told in time.
    pub(super) fn mode_of(&self, hour: i64) -> UsageMode {
        if hour < self.since.hour { self.mode.weaker(self.since.before) } else { self.mode }
    }

    fn remove(&mut self, key: UsageKey) {
        let Some(told) = self.known.remove(&key) else { return };
        self.changed.insert(key);
        let of = (key.0, told.actor);
        if let Some(count) = self.actors.get_mut(&of) {
            *count -= 1;
            if *count == 0 {
                self.actors.remove(&of);
            }
        }
    }

    /// What changed since the last call.
    pub(super) fn take_changed(&mut self) -> Vec<(UsageKey, Option<Told>)> {
        let changed = std::mem::take(&mut self.changed).into_iter();
        changed.map(|key| (key, self.known.get(&key).cloned())).collect()
    }

    /// Since when whose usage is recorded, if that changed since the last call.
    pub(super) fn take_since(&mut self) -> Option<Since> {
        std::mem::take(&mut self.since_changed).then_some(self.since)
    }

    pub(super) fn restore(&mut self, key: UsageKey, told: Told) {
        *self.actors.entry((key.0, told.actor)).or_default() += 1;
        self.known.insert(key, told);
    }

    pub(super) fn restore_since(&mut self, since: Since) {
        (self.since, self.since_changed, self.is_restored) = (since, false, true);
    }

    /// It goes on behind rows of an earlier process. If that kept nothing here, it recorded nobody's usage.
    pub(super) fn resume(&mut self) {
        if !self.is_restored {
            self.since.mode = UsageMode::Off;
        }
    }
}

fn leave_out_name(usage: &mut Usage) {
    usage.has_more_names = true;
    if let Some(object) = &mut usage.object {
        object.name = None;
    }
}

/// Some uses of a day are not told.
fn gap(usage: &Usage, what: &str, detail: &str) -> Entry {
    let day = start_of(day_of(usage.at)).rfc3339();
    Entry::new(EntryKind::Gap, "usage", what)
        .by(usage.actor.id.as_deref().unwrap_or(""))
        .at(usage.at)
        .detail(&format!("{detail}; which ones is not known"))
        .fact("cluster", usage.cluster.as_deref().unwrap_or(""))
        .fact("day", day.get(..10).unwrap_or(&day))
}

/// Of all but name and time.
fn digest_of(usage: &Usage) -> [u8; 16] {
    let object = usage.object.as_ref();
    let permission = usage.permission.as_ref();
    let text = |text: Option<&Arc<str>>| text.map(ToString::to_string);
    let parts = [
        text(usage.cluster.as_ref()),
        text(usage.actor.id.as_ref()),
        Some(usage.verb.to_string()),
        text(object.and_then(|object| object.group.as_ref())),
        text(object.map(|object| &object.resource)),
        text(object.and_then(|object| object.subresource.as_ref())),
        text(object.and_then(|object| object.namespace.as_ref())),
        text(usage.path.as_ref()),
        permission.map(Permission::name),
        permission.map(ToString::to_string),
        permission.and_then(|permission| permission.subject().map(ToString::to_string)),
    ];
    parts
        .iter()
        .fold(Digest::default(), |digest, part| digest.optional_part(part.as_deref()))
        .first()
}
