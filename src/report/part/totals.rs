//! Numbers of the ledger as a whole: classes, kinds of entries, fields that were filled, levels, clocks.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use super::{ROWS_MAX, has_room, join, of_key};
use crate::{
    archive::{Cursor, Reader},
    ask::AskError,
    engine::{
        access::{Access, Outcome},
        ledger::{Entry, EntryKind, Row},
        text::span,
        time::EventTime,
    },
    report::{
        first::First,
        model::{Cell, Section, Sight, Table},
        names::Names,
        scope::{Scope, TELL_OF_ALERTS},
    },
};

/// Rows and requests of one class.
#[derive(Debug, Default)]
pub(in crate::report) struct OfClass {
    pub(in crate::report) rows: u64,
    pub(in crate::report) requests: u64,
    denied: u64,
    failed: u64,
    pub(in crate::report) actors: Names,
}

impl OfClass {
    /// Names of the columns of [`Totals::class_cells`].
    pub(in crate::report) const COLUMNS: [&'static str; 6] =
        ["class", "requests", "of these refused", "failed", "rows", "by how many"];

    /// How many ended so, if they are counted.
    const fn count_of(&mut self, outcome: Option<Outcome>) -> Option<&mut u64> {
        match outcome {
            Some(Outcome::Denied) => Some(&mut self.denied),
            Some(Outcome::Error) => Some(&mut self.failed),
            Some(Outcome::Success) | None => None,
        }
    }
}

/// The numbers.
#[derive(Debug, Default)]
pub(in crate::report) struct Totals {
    pub(in crate::report) first_id: Option<u64>,
    pub(in crate::report) last_id: u64,
    pub(in crate::report) accesses: u64,
    pub(in crate::report) classes: BTreeMap<Arc<str>, OfClass>,
    /// Requests by all classes that they are of, so that none is counted twice.
    class_sets: BTreeMap<Vec<Arc<str>>, u64>,
    pub(in crate::report) entries: BTreeMap<EntryKind, u64>,
    /// Entries that a reader of any report must see: starts, stops, gaps, rule sets, deletions.
    notable: First<Row, ROWS_MAX>,
    pub(in crate::report) rule_sets: BTreeSet<String>,
    pub(in crate::report) from_future: u64,
    pub(in crate::report) truncated: u64,
    fields: [u64; FIELDS.len()],
    levels: BTreeMap<&'static str, u64>,
    delays: [u64; DELAYS.len()],
}

/// Whether an access has a field.
type Has = fn(&Access) -> bool;

/// Fields that an auditor asks for, and whether an access has them.
const FIELDS: [(&str, Has); 7] = [
    ("who", |access| access.actor.id.is_some()),
    ("what", |access| access.verb.is_some()),
    ("when", |_| true),
    ("with which outcome", |access| access.outcome.is_some()),
    ("from where", |access| access.source_ip.is_some()),
    ("on which object", |access| access.object.is_some() || access.detail.path.is_some()),
    ("by which permission", |access| access.permission.is_some()),
];

/// How long after an event it was read.
const DELAYS: [(&str, Duration); 4] = [
    ("within a minute", Duration::from_secs(60)),
    ("within an hour", Duration::from_secs(3_600)),
    ("within a day", Duration::from_secs(86_400)),
    ("later", Duration::MAX),
];

impl Totals {
    /// A row is there, whatever it tells.
    pub(in crate::report) fn see(&mut self, row: &Row) {
        self.first_id = Some(self.first_id.map_or(row.id, |first| first.min(row.id)));
        self.last_id = self.last_id.max(row.id);
    }

    pub(in crate::report) fn add(&mut self, row: &Row, at: Cursor) {
        self.see(row);
        match (row.access(), row.entry()) {
            (Some(access), _) => self.add_access(row, access, at),
            (None, Some(entry)) => self.add_entry(row, entry, at),
            _ => {}
        }
    }

    fn add_access(&mut self, row: &Row, access: &Access, at: Cursor) {
        self.accesses += 1;
        self.from_future += u64::from(access.from_future);
        self.truncated += u64::from(access.truncated);
        if !self.rule_sets.contains(&*access.rule_set) {
            self.rule_sets.insert(access.rule_set.to_string());
        }
        let others = || vec![Arc::from("(others)")];
        *of_key(&mut self.class_sets, access.classes.clone(), others) += access.count();
        for class in &access.classes {
            let of_class = of_key(&mut self.classes, Arc::clone(class), || Arc::from("(others)"));
            of_class.rows += 1;
            of_class.requests += access.count();
            if let Some(count) = of_class.count_of(access.outcome) {
                *count += access.count();
            }
            of_class.actors.add(access.actor.id.as_ref(), at);
        }
        for ((_, has), filled) in FIELDS.iter().zip(&mut self.fields) {
            *filled += u64::from(has(access));
        }
        let level = access.level.map_or("not known", crate::engine::kubernetes::AuditLevel::as_str);
        *self.levels.entry(level).or_default() += 1;
        let delay = row.recorded.as_event().since(access.last());
        let slots = DELAYS.iter().zip(&mut self.delays);
        if let Some((_, count)) = slots.into_iter().find(|((_, most), _)| delay <= *most) {
            *count += 1;
        }
    }

    /// A request that counts with one outcome ended with another.
    pub(in crate::report) fn change_outcome(
        &mut self,
        access: &Access,
        from: Option<Outcome>,
        to: Option<Outcome>,
    ) {
        for class in &access.classes {
            let of_class = of_key(&mut self.classes, Arc::clone(class), || Arc::from("(others)"));
            if let Some(count) = of_class.count_of(from) {
                *count = count.saturating_sub(1);
            }
            if let Some(count) = of_class.count_of(to) {
                *count += 1;
            }
        }
    }

    fn add_entry(&mut self, row: &Row, entry: &Entry, at: Cursor) {
        // Texts and lists of files belong to the change that comes behind them.
        let is_change = match (entry.kind, entry.what.as_str()) {
            (EntryKind::Rules, "text" | "files") => return,
            (EntryKind::Rules, "still") => false,
            _ => true,
        };
        *self.entries.entry(entry.kind).or_default() += u64::from(is_change);
        let is_notable = matches!(
            entry.kind,
            EntryKind::Start
                | EntryKind::Stop
                | EntryKind::Gap
                | EntryKind::Rules
                | EntryKind::Retention
        );
        if entry.kind == EntryKind::Rules {
            self.rule_sets.insert(entry.subject.clone());
        }
        if is_notable && is_change {
            self.notable.add(at, || row.clone());
        }
    }

    /// Adds what others have.
    pub(in crate::report) fn join(&mut self, others: Totals) {
        self.first_id = self.first_id.into_iter().chain(others.first_id).min();
        self.last_id = self.last_id.max(others.last_id);
        self.accesses += others.accesses;
        join(&mut self.classes, others.classes, |one, other| {
            one.rows += other.rows;
            one.requests += other.requests;
            one.denied += other.denied;
            one.failed += other.failed;
            one.actors.join(other.actors);
        });
        join(&mut self.class_sets, others.class_sets, |one, other| *one += other);
        join(&mut self.entries, others.entries, |one, other| *one += other);
        self.notable.join(others.notable);
        self.rule_sets.extend(others.rule_sets);
        self.from_future += others.from_future;
        self.truncated += others.truncated;
        join(&mut self.levels, others.levels, |one, other| *one += other);
        let pairs = self.fields.iter_mut().zip(others.fields);
        pairs
            .chain(self.delays.iter_mut().zip(others.delays))
            .for_each(|(one, other)| *one += other);
    }

    /// Whether the order in which rows came does not matter.
    pub(in crate::report) fn has_room(&self) -> bool {
        has_room(&self.classes) && has_room(&self.class_sets)
    }

    /// Counts anew what tells of alerts: which of it is of a cluster is known only when all alerts were looked at.
    ///
    /// # Errors
    /// The ledger cannot be read.
    pub(in crate::report) fn recount(
        &mut self,
        reader: &Reader,
        scope: &Scope,
    ) -> Result<(), AskError> {
        self.entries.retain(|kind, _| !TELL_OF_ALERTS.contains(kind));
        scope.entries(reader, &TELL_OF_ALERTS, |row| {
            if let Some(entry) = row.entry() {
                *self.entries.entry(entry.kind).or_default() += 1;
            }
        })
    }

    /// Requests that are of some of these classes, each counted once.
    pub(in crate::report) fn requests_of(&self, classes: &[String]) -> u64 {
        let is_wanted = |of: &&Arc<str>| classes.iter().any(|class| **class == ***of);
        let sets = self.class_sets.iter().filter(|(set, _)| set.iter().any(|of| is_wanted(&of)));
        sets.map(|(_, requests)| requests).sum()
    }

    /// Accesses of a class.
    pub(in crate::report) fn class_cells(
        &self,
        class: &str,
        scope: &Scope,
        sight: Sight,
    ) -> [Cell; 6] {
        let none = OfClass::default();
        let of_class = self.classes.get(class).unwrap_or(&none);
        let of = |outcome: Outcome| {
            scope.query("timeline", &[("--class", class), ("--outcome", outcome.as_str())])
        };
        [
            Cell::text(class),
            sight.count(of_class.requests, scope.query("timeline", &[("--class", class)])),
            sight.count(of_class.denied, of(Outcome::Denied)),
            sight.count(of_class.failed, of(Outcome::Error)),
            Cell::number(of_class.rows),
            Cell::text(of_class.actors.shown()),
        ]
    }

    /// How many accesses have which field.
    pub(in crate::report) fn fields_table(&self, sight: Sight) -> Table {
        let mut table = Table::new(["field", "accesses that have it", "of", "share"], sight.zero());
        for ((name, _), filled) in FIELDS.iter().zip(self.fields) {
            let share = (filled * 1_000).checked_div(self.accesses);
            table.push(
                ROWS_MAX,
                [
                    Cell::text(*name),
                    Cell::number(filled),
                    Cell::number(self.accesses),
                    share.map_or(Cell::NotApplicable, |share| {
                        Cell::text(format!("{}.{} %", share / 10, share % 10))
                    }),
                ],
            );
        }
        table
    }

    /// At which levels accesses were logged.
    pub(in crate::report) fn levels_table(&self, sight: Sight) -> Table {
        let mut table = Table::new(["audit level", "accesses"], sight.zero());
        for (level, count) in &self.levels {
            table.push(ROWS_MAX, [Cell::text(*level), Cell::number(*count)]);
        }
        table
    }

    /// How late accesses were written down.
    pub(in crate::report) fn delay_table(&self, sight: Sight) -> Table {
        let mut table = Table::new(["written down", "accesses"], sight.zero());
        for ((name, _), count) in DELAYS.iter().zip(self.delays) {
            table.push(ROWS_MAX, [Cell::text(*name), Cell::number(count)]);
        }
        table
    }

    /// Events whose time cannot be.
    pub(in crate::report) fn clocks_table(&self, sight: Sight) -> Table {
        let mut table = Table::new(["what", "accesses"], sight.zero());
        let what = "claimed a time later than they were written, by more than the allowed skew";
        table.push(ROWS_MAX, [Cell::text(what), sight.count(self.from_future, "")]);
        table
    }

    /// Starts, stops, gaps, rule sets and deletions, in order.
    pub(in crate::report) fn notable_section(&self, scope: &Scope, sight: Sight) -> Section {
        let mut table = Table::new(["time", "what", "about", "by", "says"], sight.zero());
        table.left_out = self.notable.left_out();
        for row in self.notable.iter() {
            let Some(entry) = row.entry() else { continue };
            table.push(
                ROWS_MAX,
                [
                    Cell::text(scope.time(row.at())),
                    Cell::text(format!("{} {}", entry.kind.as_str(), entry.what)),
                    Cell::text(&entry.subject),
                    Cell::text(&entry.party),
                    Cell::text(&entry.detail),
                ],
            );
        }
        Section::new("ledger", "What Tripline did: starts, stops, gaps, rule sets, deletions")
            .table(table)
    }
}

/// How long a period is, for people.
pub(in crate::report) fn length(from: EventTime, to: EventTime) -> String {
    span(to.since(from))
}
