//! What a rule has seen, of all its keys: the part that is the same for every kind.
//!
//! A kind says what it keeps of each key (its tables) and what a sample does to them ([`Decide`]). How that
//! is counted, stored, put back, and handed over when rules are edited is written here, once.

use std::{any::Any, fmt::Debug};

use serde::{Deserialize, Serialize};

use super::{CorrelationKey, Hit, Sample};
use crate::engine::time::EventTime;

/// What a rule has seen, of all its keys.
pub trait RuleState: Debug + Send {
    /// Takes a sample of a key; what is found is appended to `out`.
    fn handle(
        &mut self,
        key: CorrelationKey,
        sample: Sample<'_>,
        watermark: Option<EventTime>,
        out: &mut Vec<Hit>,
    ) -> Taken;

    /// Event time is here as the rule begins to look; once, before anything else. What was put back is there
    /// by then.
    fn begin(&mut self, time: EventTime);

    /// From now on claims of up to this time are believed: our own clock has come so far.
    fn believe(&mut self, horizon: EventTime);

    /// Decides what the watermark has passed, and forgets what can no longer matter.
    /// [`EventTime::MAX`] is the end of a finite stream.
    fn advance(&mut self, watermark: EventTime, out: &mut Vec<Hit>);

    /// The watermark at which the passing of time alone may bring a hit; `None` if none can. May be too
    /// early.
    fn next_deadline(&self) -> Option<EventTime>;

    /// Keys held.
    fn key_count(&self) -> usize;

    /// What all that is held takes in memory, by a formula: what was told once is so again after a restart.
    fn bytes(&self) -> usize;

    /// What it may take at most while the next samples are counted. With more it makes room for each.
    fn allow(&mut self, bytes: usize);

    /// Drops some keys, by event time of now; what that brings is appended to `out`. Those that have come least far
    /// go first.
    fn make_room(&mut self, time: EventTime, out: &mut Vec<Hit>);

    /// What was lost since the last call.
    fn take_losses(&mut self) -> Losses;

    /// What changed since the last call, with its stored form; `None` if it is gone.
    fn take_changed(&mut self, out: &mut Vec<(StateKey, Option<Vec<u8>>)>);

    /// Names of all that is held.
    fn keys(&self, out: &mut Vec<StateKey>);

    /// Puts one stored piece back. `None` if it cannot be read.
    fn restore(&mut self, key: StateKey, bytes: &[u8], captures: Captures) -> Option<()>;

    /// What is known of one key, if anything is, is known of another from now on, of which nothing is known
    /// yet: it was stored when clusters were not apart. Of counted fields there are so many `values`.
    fn inherit(&mut self, from: &CorrelationKey, to: &CorrelationKey, values: usize);

    /// Takes over all that a rule of the same meaning has seen. Nothing is copied; if its captures are
    /// outdated, each key is looked at.
    ///
    /// # Panics
    /// If the other one is of another kind.
    fn take_over(&mut self, other: Box<dyn RuleState>, captures: Captures);

    /// For [`RuleState::take_over`].
    fn into_any(self: Box<Self>) -> Box<dyn Any>;
}

/// What became of a sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// It counts.
    Counted,
    /// A part of the key, or a value, is absent.
    Absent,
    /// A value is no number where one is needed.
    NoNumber,
    /// Nobody is interested in its key.
    NotExpected,
    /// It came after its window had been decided.
    TooLate,
}

/// What bounds cost a rule.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Losses {
    /// Keys dropped to make room.
    pub keys_evicted: u64,
    /// Events dropped from windows that were full.
    pub window_events_dropped: u64,
}

/// What a piece of stored state captured, if it captured anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Captures {
    /// The fields that the rule captures now.
    Same,
    /// Those of an earlier text of the rule: only the key is still known.
    Outdated,
}

/// The stable name of a piece of a rule's state.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct StateKey {
    /// Which of the kind's tables.
    pub table: u8,
    /// The key in it.
    pub key: CorrelationKey,
}

/// One rule's parameters, and what they make of samples.
pub(super) trait Decide: Debug + Send + 'static {
    /// Whether it is a memory of what was usual: that is then good for several keys.
    const IS_MEMORY: bool = false;

    /// What is kept.
    type Tables: Tables;

    /// Takes a sample of a key; see [`RuleState::handle`].
    fn handle(
        &mut self,
        tables: &mut Self::Tables,
        key: CorrelationKey,
        sample: Sample<'_>,
        watermark: Option<EventTime>,
        out: &mut Vec<Hit>,
    ) -> Taken;

    /// See [`RuleState::begin`].
    fn begin(&mut self, _: &mut Self::Tables, _: EventTime) {}

    /// See [`RuleState::believe`].
    fn believe(&mut self, _: EventTime) {}

    /// Drops some keys of the table that takes most; see [`RuleState::make_room`].
    fn make_room(&mut self, tables: &mut Self::Tables, time: EventTime, out: &mut Vec<Hit>);

    /// Decides and forgets; see [`RuleState::advance`].
    fn advance(&mut self, tables: &mut Self::Tables, watermark: EventTime, out: &mut Vec<Hit>);

    /// See [`RuleState::next_deadline`].
    fn next_deadline(&self, _: &Self::Tables) -> Option<EventTime> {
        None
    }
}

/// The tables of a kind, in the order in which stored keys number them.
pub(super) trait Tables: Debug + Default + Send + 'static {
    /// Each of them.
    fn each(&self) -> impl Iterator<Item = &dyn Table>;

    /// Each of them, to be changed.
    fn each_mut(&mut self) -> impl Iterator<Item = &mut dyn Table>;
}

/// One table, whatever it keeps of a key.
pub(super) trait Table {
    /// Keys held.
    fn len(&self) -> usize;

    /// What they take; see [`RuleState::bytes`].
    fn bytes(&self) -> usize;

    /// What was lost since the last call.
    fn take_losses(&mut self) -> Losses;

    /// Keys that changed since the last call, with their state as stored; `None` if it is gone.
    fn take_changed(&mut self, table: u8, out: &mut Vec<(StateKey, Option<Vec<u8>>)>);

    /// Every key.
    fn keys(&self, table: u8, out: &mut Vec<StateKey>);

    /// Whether something is known of a key.
    fn has(&self, key: &CorrelationKey) -> bool;

    /// Lets another key begin with what is known of one, and of keys that have so many values behind it. If
    /// `is_memory`, the first one keeps it.
    fn inherit(
        &mut self,
        from: &CorrelationKey,
        to: &CorrelationKey,
        values: usize,
        is_memory: bool,
    );

    /// Puts a stored key back. `None` if its state cannot be read.
    fn restore(&mut self, key: CorrelationKey, bytes: &[u8], captures: Captures) -> Option<()>;

    /// What was captured is outdated.
    fn outdate(&mut self);
}

/// The state of any kind.
#[derive(Debug)]
struct State<D: Decide> {
    decide: D,
    tables: D::Tables,
    /// See [`RuleState::allow`].
    allowed: usize,
}

/// State of a rule that has seen nothing.
pub(super) fn fresh<D: Decide>(decide: D) -> Box<dyn RuleState> {
    Box::new(State { decide, tables: D::Tables::default(), allowed: usize::MAX })
}

impl<D: Decide> RuleState for State<D> {
    fn handle(
        &mut self,
        key: CorrelationKey,
        sample: Sample<'_>,
        watermark: Option<EventTime>,
        out: &mut Vec<Hit>,
    ) -> Taken {
        if self.bytes() > self.allowed {
            self.make_room(sample.time, out);
        }
        self.decide.handle(&mut self.tables, key, sample, watermark, out)
    }

    fn begin(&mut self, time: EventTime) {
        self.decide.begin(&mut self.tables, time);
    }

    fn believe(&mut self, horizon: EventTime) {
        self.decide.believe(horizon);
    }

    fn advance(&mut self, watermark: EventTime, out: &mut Vec<Hit>) {
        self.decide.advance(&mut self.tables, watermark, out);
    }

    fn next_deadline(&self) -> Option<EventTime> {
        self.decide.next_deadline(&self.tables)
    }

    fn key_count(&self) -> usize {
        // One table may have more parts in its keys than the other.
        self.tables.each().map(Table::len).max().unwrap_or(0)
    }

    fn bytes(&self) -> usize {
        self.tables.each().map(Table::bytes).sum()
    }

    fn allow(&mut self, bytes: usize) {
        self.allowed = bytes;
    }

    fn make_room(&mut self, time: EventTime, out: &mut Vec<Hit>) {
        self.decide.make_room(&mut self.tables, time, out);
    }

    fn take_losses(&mut self) -> Losses {
        let mut sum = Losses::default();
        for table in self.tables.each_mut() {
            let losses = table.take_losses();
            sum.keys_evicted += losses.keys_evicted;
            sum.window_events_dropped += losses.window_events_dropped;
        }
        sum
    }

    fn take_changed(&mut self, out: &mut Vec<(StateKey, Option<Vec<u8>>)>) {
        for (number, table) in (0..).zip(self.tables.each_mut()) {
            table.take_changed(number, out);
        }
    }

    fn keys(&self, out: &mut Vec<StateKey>) {
        for (number, table) in (0..).zip(self.tables.each()) {
            table.keys(number, out);
        }
    }

    fn restore(&mut self, key: StateKey, bytes: &[u8], captures: Captures) -> Option<()> {
        let table = self.tables.each_mut().nth(usize::from(key.table))?;
        table.restore(key.key, bytes, captures)
    }

    fn inherit(&mut self, from: &CorrelationKey, to: &CorrelationKey, values: usize) {
        let of_keys = self.tables.each().next();
        if of_keys.is_some_and(|table| table.has(from) && !table.has(to)) {
            // What is told apart by values, too, stands in the tables behind the first.
            for (table, values) in self.tables.each_mut().zip([0, values]) {
                table.inherit(from, to, values, D::IS_MEMORY);
            }
        }
    }

    fn take_over(&mut self, other: Box<dyn RuleState>, captures: Captures) {
        let other = other.into_any().downcast::<State<D>>();
        self.tables = other.expect("state of one meaning is of one kind").tables;
        if captures == Captures::Outdated {
            self.tables.each_mut().for_each(Table::outdate);
        }
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }
}
