//! What becomes a row of the ledger: copies dropped, like accesses rolled up, hours covered, all of it
//! numbered and chained.
//!
//! Rows go out with the checkpoint that holds the positions behind them, and stay in its spool until the
//! archive has them. So each is there once, whatever is lost when. What cannot be kept, because the archive
//! stands still, is shed: counted, and told by a row of its own. Entries have room to the last.

mod coverage;
mod exceptions;
mod flood;
mod missing;
mod resume;
mod roll_up;
mod rule_sets;
mod usage;

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use serde::{Deserialize, Serialize};

use self::{
    coverage::{Coverage, CoverageKey, Hour},
    exceptions::{ExceptionHours, Uses, UsesKey},
    flood::Floods,
    roll_up::{RollUpKey, RollUps},
    rule_sets::{RuleSets, Told},
    usage::{UsageDays, UsageKey, Verdict},
};
use super::{
    access::{Access, Alike, Observed, SessionStep, Usage},
    detector::DetectionBatch,
    encode::encode,
    kubernetes::runs_long,
    ledger::{Chain, Content, Entry, EntryKind, Hash, Row, hex_of},
    limits::{
        IDENTITIES_PER_RULE_MAX, SEAL_INTERVAL, SEAL_ROWS, SPOOL_BYTES_MAX, SPOOL_ENTRY_ROWS,
        SPOOL_ROWS_MAX,
    },
    rule::{KeyPart, RuleSet},
    settings::EngineSettings,
    shard::{Identities, Run, Seen, watermark::Clocks},
    state::{StateChange, StateEntry, StateTable},
    time::{EventTime, WallTime},
};

/// How long copies of a request are known beyond `grace`: 15 minutes. A later one is recorded again, under
/// the same `request`.
const IDENTITY_SPAN: Duration = Duration::from_secs(900);

/// Names of classes that are counted: 100. Rows of further ones are not.
const NAMES_COUNTED_MAX: usize = 100;

/// What was counted since the process started.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecorderCounts {
    /// Rows by class, and by kind of entry.
    pub rows: BTreeMap<String, u64>,
    /// Accesses that were not recorded, since there was no room for them.
    pub shed: u64,
    /// Entries that were not, likewise.
    pub entries_lost: u64,
    /// Copies of what was recorded already, and ends of sessions that are rolled up.
    pub duplicates: u64,
    /// Accesses whose names were left out, since there were too many of one actor.
    pub names_left_out: u64,
    /// Roll-ups that ended early, since there were too many.
    pub roll_ups_cut: u64,
    /// Uses of permissions that were not told, since there were too many different ones.
    pub usage_left_out: u64,
    /// Uses of permissions that came more than a day after their own was over.
    pub usage_late: u64,
    /// Uses of exceptions that were not told, since there were too many different ones.
    pub exceptions_left_out: u64,
}

/// Signs the head of the chain. The same bytes give the same signature.
pub trait Sign: Send + Sync {
    /// The signature.
    fn sign(&self, head: &Hash) -> Vec<u8>;

    /// Which key it is, for people.
    fn key_id(&self) -> &str;
}

/// Numbers and chains what is recorded.
pub struct Recorder {
    chain: Chain,
    /// The last row that the archive has.
    archived: u64,
    sealed: Sealed,
    signer: Option<Arc<dyn Sign>>,
    identities: Identities,
    roll_ups: RollUps,
    coverage: Coverage,
    exceptions: ExceptionHours,
    floods: Floods,
    rule_sets: RuleSets,
    /// Up to which row of the list that earlier versions kept all are taken over.
    taken_over: Option<TakenOver>,
    taken_over_changed: bool,
    usage: UsageDays,
    /// For the next checkpoint.
    fresh: Vec<Arc<Row>>,
    spool: VecDeque<(u64, usize)>,
    spool_bytes: usize,
    shed_since: Option<Shed>,
    changed: bool,
    counts: RecorderCounts,
}

/// Up to where the chain is sealed.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
struct Sealed {
    id: u64,
    at: Option<WallTime>,
}

/// What was shed and not told yet.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Shed {
    first: EventTime,
    last: EventTime,
    accesses: u64,
    entries: u64,
}

/// Under which names the recorder's state is stored.
#[derive(Serialize, Deserialize)]
enum Key {
    /// [`Head`].
    Head,
    /// Requests that were recorded.
    Identities(Run),
    /// The first access of a roll-up.
    RollUp(RollUpKey),
    /// How many it has.
    Count(RollUpKey),
    /// What was seen of an hour.
    Hour(CoverageKey),
    /// Which clusters there are.
    Clusters,
    /// A permission that was used on a day.
    Usage(UsageKey),
    /// Since when whose usage is recorded.
    UsageSince,
    /// [`Told`], the rule set in force.
    Rules,
    /// When the text with a hash was written last.
    Text(Hash),
    /// [`TakenOver`].
    TakenOver,
    /// Losses of which the end is not known.
    Lost,
    /// How often an exception was used in an hour.
    Exception(UsesKey),
    /// What could not be read of which the end is not known.
    Unread,
}

/// What was taken over of the list of alerts and deliveries that earlier versions kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TakenOver {
    /// The last row that was.
    pub through: i64,
    /// The last one that is to be.
    pub until: i64,
}

impl TakenOver {
    /// Whether there are no more.
    pub const fn is_done(self) -> bool {
        self.through >= self.until
    }
}

/// Where the ledger has come to.
#[derive(Serialize, Deserialize)]
struct Head {
    id: u64,
    hash: Hash,
    archived: u64,
    sealed: Sealed,
    shed: Option<Shed>,
}

impl Recorder {
    /// Of a ledger without rows.
    pub fn new(settings: &EngineSettings) -> Recorder {
        let keep = settings.grace.saturating_add(IDENTITY_SPAN);
        Recorder {
            chain: Chain::default(),
            archived: 0,
            sealed: Sealed::default(),
            signer: None,
            identities: Identities::new(keep, IDENTITIES_PER_RULE_MAX),
            roll_ups: RollUps::default(),
            coverage: Coverage::default(),
            exceptions: ExceptionHours::default(),
            floods: Floods::default(),
            rule_sets: RuleSets::default(),
            taken_over: None,
            taken_over_changed: false,
            usage: UsageDays::new(settings.usage),
            fresh: Vec::new(),
            spool: VecDeque::new(),
            spool_bytes: 0,
            shed_since: None,
            changed: false,
            counts: RecorderCounts::default(),
        }
    }

    /// Seals are signed from now on.
    pub fn sign_with(&mut self, signer: Arc<dyn Sign>) {
        self.signer = Some(signer);
    }

    /// What one batch has to record, and what it shows of which hours. `clocks`: how far partitions had come before it.
    pub fn handle_batch(&mut self, now: WallTime, batch: &DetectionBatch, clocks: &Clocks) {
        for observed in &batch.accesses {
            self.observed(now, observed);
        }
        for usage in &batch.usage {
            self.used(now, usage.clone());
        }
        self.coverage.add(batch, clocks);
        self.counts.exceptions_left_out += self.exceptions.add(batch);
    }

    /// Event time has come so far: what ends before it is told.
    pub fn advance(&mut self, now: WallTime, watermark: EventTime, slowest: EventTime) {
        while let Some(access) = self.roll_ups.ended(watermark) {
            self.access(now, access);
        }
        self.usage.advance(watermark);
        let hours = self.coverage.ended(watermark);
        self.tell_hours(now, hours);
        for entry in self.exceptions.ended(watermark) {
            self.entry(now, entry);
        }
        self.identities.expire(watermark, slowest);
        self.floods.forget_before(watermark);
        self.tell_shed(now);
        if self.chain.id > self.sealed.id
            && self.spool.len() < SPOOL_ROWS_MAX
            && self.sealed.at.is_none_or(|at| now.since(at) >= SEAL_INTERVAL || now < at)
        {
            self.seal(now);
        }
    }

    /// All input has ended: what is rolled up is told as far as it came, and what was seen of hours that event time has
    /// not passed. If more like it comes after all, to a later run, that is another row; hours add up. What there is no
    /// room for stays for that run.
    pub fn finish(&mut self, now: WallTime) {
        while self.spool.len() < SPOOL_ROWS_MAX - SPOOL_ENTRY_ROWS
            && self.spool_bytes < SPOOL_BYTES_MAX
            && let Some(access) = self.roll_ups.ended(EventTime::MAX)
        {
            self.access(now, access);
        }
        let hours = self.coverage.finish();
        self.tell_hours(now, hours);
        for entry in self.exceptions.ended(EventTime::MAX) {
            self.entry(now, entry);
        }
    }

    fn tell_hours(&mut self, now: WallTime, hours: Vec<(i64, Entry)>) {
        for (hour, entry) in hours {
            self.entry(now, entry.fact("usage", self.usage.mode_of(hour).as_str()));
        }
    }

    /// What Tripline did or was told.
    pub fn entry(&mut self, now: WallTime, entry: Entry) {
        if self.spool.len() >= SPOOL_ROWS_MAX {
            self.counts.entries_lost += 1;
            let at = entry.at.unwrap_or_else(|| now.as_event());
            self.shed(at).entries += 1;
            return;
        }
        let mut entry = entry;
        if self.spool_bytes >= SPOOL_BYTES_MAX && entry.body.take().is_some() {
            entry = entry.fact("left_out", "there was no room to tell it in full");
        }
        count(&mut self.counts.rows, entry.kind.as_str());
        let is_end = entry.kind == EntryKind::Stop;
        self.push(now, Content::Entry(Box::new(entry)));
        if is_end {
            // Nothing may come behind it for long.
            self.seal(now);
        }
    }

    /// The archive has all rows up to this one.
    pub fn archived(&mut self, through: u64) {
        if through <= self.archived {
            return;
        }
        self.archived = through.min(self.chain.id);
        self.changed = true;
        while let Some((id, bytes)) = self.spool.front().copied()
            && id <= self.archived
        {
            self.spool.pop_front();
            self.spool_bytes -= bytes;
        }
    }

    /// Records of a partition were deleted before they were read; event time had come so far there.
    pub fn lost(&mut self, now: WallTime, partition: &str, from: Option<EventTime>, records: u64) {
        let entry = Entry::new(EntryKind::Gap, partition, "lost")
            .detail("records were deleted before they were read")
            .fact("from", &from.map(EventTime::rfc3339).unwrap_or_default())
            .count("records", records);
        self.entry(now, entry);
        self.coverage.open.lose(partition, from, records);
    }

    /// A rule set is in force: who was added, removed and changed, and what its files say, if the ledger does
    /// not have it. `trigger`: `started` or `replaced`.
    pub fn rules_in_force(&mut self, now: WallTime, rules: &RuleSet, trigger: &str) {
        for entry in self.rule_sets.in_force(now, rules, trigger) {
            self.entry(now, entry);
        }
    }

    /// Whether the rule set in force has to be told again, since what was told may be deleted before it is
    /// out of force.
    pub fn rules_are_due(&self, now: WallTime) -> bool {
        self.rule_sets.are_due(now)
    }

    /// What was taken over from an earlier version; `None` if nobody has looked.
    pub const fn taken_over(&self) -> Option<TakenOver> {
        self.taken_over
    }

    /// So much of what an earlier version kept is in the ledger.
    pub fn take_over(&mut self, taken: TakenOver) {
        self.taken_over = Some(taken);
        self.taken_over_changed = true;
    }

    /// Where the chain has come to.
    pub const fn chain(&self) -> Chain {
        self.chain
    }

    /// Rows that the archive does not have yet.
    pub fn spool_rows(&self) -> usize {
        self.spool.len()
    }

    /// Counters since the process started.
    pub const fn counts(&self) -> &RecorderCounts {
        &self.counts
    }

    /// State that changed and rows that were made since the last call, for the next checkpoint. Returns up
    /// to which row the spool may be emptied.
    pub fn take_changes(
        &mut self,
        changes: &mut Vec<StateChange>,
        rows: &mut Vec<Arc<Row>>,
    ) -> u64 {
        let mut change = |key: &Key, value: Option<Vec<u8>>| {
            let key = encode(key);
            changes.push(StateChange { table: StateTable::Recorder, key, value });
        };
        self.identities.take_changed(|run, keys| change(&Key::Identities(run), keys));
        for changed in self.roll_ups.take_changed() {
            match changed {
                roll_up::Changed::First(key, access) => {
                    change(&Key::RollUp(key), access.map(|access| encode(&access)));
                }
                roll_up::Changed::Count(key, count) => {
                    change(&Key::Count(key), count.map(|count| encode(&count)));
                }
            }
        }
        for (key, hour) in self.coverage.take_changed() {
            change(&Key::Hour(key), hour.map(|hour| encode(&hour)));
        }
        if let Some(clusters) = self.coverage.take_clusters() {
            change(&Key::Clusters, Some(encode(clusters)));
        }
        for (key, told) in self.usage.take_changed() {
            change(&Key::Usage(key), told.map(|told| encode(&told)));
        }
        for (key, uses) in self.exceptions.take_changed() {
            change(&Key::Exception(key), uses.map(|uses| encode(&uses)));
        }
        if let Some(lost) = self.coverage.open.take_lost() {
            change(&Key::Lost, Some(encode(lost)));
        }
        if let Some(unread) = self.coverage.open.take_unread() {
            change(&Key::Unread, Some(encode(unread)));
        }
        if let Some(told) = self.rule_sets.take_told() {
            change(&Key::Rules, Some(encode(told)));
        }
        for (hash, at) in self.rule_sets.take_texts() {
            change(&Key::Text(hash), at.map(|at| encode(&at)));
        }
        if std::mem::take(&mut self.taken_over_changed) {
            change(&Key::TakenOver, self.taken_over.map(|taken| encode(&taken)));
        }
        if std::mem::take(&mut self.changed) || !self.fresh.is_empty() {
            // Not by itself: nothing would ever be at rest.
            if let Some(since) = self.usage.take_since() {
                change(&Key::UsageSince, Some(encode(&since)));
            }
            let head = Head {
                id: self.chain.id,
                hash: self.chain.head,
                archived: self.archived,
                sealed: self.sealed,
                shed: self.shed_since,
            };
            change(&Key::Head, Some(encode(&head)));
        }
        rows.append(&mut self.fresh);
        self.archived
    }

    /// Puts a stored piece of state back; in any order. `None` if it cannot be read.
    pub fn restore(&mut self, entry: &StateEntry) -> Option<()> {
        match postcard::from_bytes(&entry.key).ok()? {
            Key::Head => {
                let head: Head = postcard::from_bytes(&entry.value).ok()?;
                self.chain = Chain { id: head.id, head: head.hash };
                self.archived = head.archived;
                self.sealed = head.sealed;
                self.shed_since = head.shed;
            }
            Key::Identities(run) => self.identities.restore(run, &entry.value)?,
            Key::RollUp(key) => {
                self.roll_ups.restore_first(key, postcard::from_bytes(&entry.value).ok()?);
            }
            Key::Count(key) => {
                self.roll_ups.restore_count(key, postcard::from_bytes(&entry.value).ok()?);
            }
            Key::Hour(key) => {
                self.coverage.restore_hour(key, Hour::from_bytes(&entry.value)?);
            }
            Key::Clusters => {
                self.coverage.restore_clusters(postcard::from_bytes(&entry.value).ok()?);
            }
            Key::Rules => {
                self.rule_sets.restore_told(postcard::from_bytes::<Told>(&entry.value).ok()?);
            }
            Key::Text(hash) => {
                self.rule_sets.restore_text(hash, postcard::from_bytes(&entry.value).ok()?);
            }
            Key::Exception(key) => {
                self.exceptions.restore(key, Uses::from_bytes(&entry.value)?);
            }
            Key::Lost => self.coverage.open.restore_lost(postcard::from_bytes(&entry.value).ok()?),
            Key::Unread => {
                self.coverage.open.restore_unread(postcard::from_bytes(&entry.value).ok()?);
            }
            Key::TakenOver => {
                self.taken_over = Some(postcard::from_bytes(&entry.value).ok()?);
            }
            Key::Usage(key) => self.usage.restore(key, postcard::from_bytes(&entry.value).ok()?),
            Key::UsageSince => self.usage.restore_since(postcard::from_bytes(&entry.value).ok()?),
        }
        Some(())
    }

    fn observed(&mut self, now: WallTime, observed: &Observed) {
        let (access, at, request) = match observed {
            Observed::Whole(access, _) => (&**access, access.at, access.request),
            Observed::Alike { alike, at, request, .. } => (alike.access(), *at, *request),
        };
        let is_start = access.session == Some(SessionStep::Start);
        let is_end = access.session == Some(SessionStep::End);
        let is_long = is_start || ends_later(access);
        if self.identities.see_key(key_of(request, is_end), at, is_long) == Seen::Before {
            self.counts.duplicates += 1;
            return;
        }
        // What is heard first of a session decides whether both its steps are rows, or one row with others.
        let other = (is_start || is_end).then(|| key_of(request, !is_end));
        let has_row = other.is_some_and(|other| self.identities.knows_key(&other));
        let cut = match observed {
            Observed::Whole(access, manner) => {
                let (mut every, mut parts) = (manner.every, manner.key);
                if every.is_none() && !has_row && self.floods.is_flood(access) {
                    self.counts.names_left_out += 1;
                    every = Some(Duration::from_secs(3_600));
                    parts = parts.without(KeyPart::Name);
                }
                let Some(every) = every.filter(|_| !has_row) else {
                    self.access(now, access.as_ref().clone());
                    return;
                };
                if let Some(other) = other {
                    // The row stands for all of it.
                    self.identities.see_key(other, at, true);
                }
                let alike = Alike::new(access.as_ref().clone(), every, parts);
                self.roll_ups.add(&alike, at, &access.position, || alike.access().clone())
            }
            Observed::Alike { alike, at, request, event } => {
                self.roll_ups.add(alike, *at, &event.position, || alike.of(*at, *request, event))
            }
        };
        if let Some(cut) = cut {
            self.counts.roll_ups_cut += 1;
            self.access(now, cut);
        }
    }

    /// An access becomes a row, if there is room.
    fn access(&mut self, now: WallTime, access: Access) {
        let room = SPOOL_ROWS_MAX - SPOOL_ENTRY_ROWS;
        let is_read = access.classes.iter().all(|class| &**class == "read");
        // What people only read goes first.
        let room = if is_read { room / 2 } else { room };
        let is_full = self.spool.len() >= room || self.spool_bytes >= SPOOL_BYTES_MAX;
        if is_full || !self.floods.has_room(access.at, is_read) {
            self.counts.shed += access.count();
            self.coverage.shed(access.cluster.as_ref(), access.at, access.count());
            let (first, last) = (access.at, access.last());
            let shed = self.shed(first);
            shed.accesses += access.count();
            shed.last = shed.last.max(last);
            return;
        }
        for class in &access.classes {
            count(&mut self.counts.rows, class);
        }
        self.push(now, Content::Access(Box::new(access)));
    }

    /// A use of a permission becomes a row, if it is the first on its day and there is room.
    fn used(&mut self, now: WallTime, mut usage: Usage) {
        let is_full = self.spool.len() >= SPOOL_ROWS_MAX - SPOOL_ENTRY_ROWS
            || self.spool_bytes >= SPOOL_BYTES_MAX;
        // What a worker tells again after a restart is no loss, so it is asked first whether it is new.
        match self.usage.see(&mut usage) {
            Verdict::Known => {}
            Verdict::Late(entry) => {
                self.counts.usage_late += 1;
                if let Some(entry) = entry {
                    self.entry(now, *entry);
                }
            }
            Verdict::TooMany(entry) => {
                self.counts.usage_left_out += 1;
                if let Some(entry) = entry {
                    self.entry(now, *entry);
                }
            }
            Verdict::New if is_full || !self.floods.has_room(usage.at, false) => {
                self.usage.forget(&usage);
                self.counts.shed += 1;
                self.coverage.shed(usage.cluster.as_ref(), usage.at, 1);
                self.shed(usage.at).accesses += 1;
            }
            Verdict::New => {
                count(&mut self.counts.rows, "usage");
                self.push(now, Content::Usage(Box::new(usage)));
            }
        }
    }

    fn shed(&mut self, at: EventTime) -> &mut Shed {
        self.changed = true;
        let fresh = Shed { first: at, last: at, accesses: 0, entries: 0 };
        let shed = self.shed_since.get_or_insert(fresh);
        shed.first = shed.first.min(at);
        shed.last = shed.last.max(at);
        shed
    }

    /// Tells what was shed as soon as there is room again.
    fn tell_shed(&mut self, now: WallTime) {
        if self.spool.len() >= SPOOL_ROWS_MAX / 4 || self.spool_bytes >= SPOOL_BYTES_MAX / 4 {
            return;
        }
        let Some(shed) = self.shed_since.take() else { return };
        self.changed = true;
        let entry = Entry::new(EntryKind::Gap, "ledger", "shed")
            .at(shed.first)
            .detail("there was no room for these; what they were is not known")
            .fact("last", &shed.last.rfc3339())
            .count("accesses", shed.accesses)
            .count("entries", shed.entries);
        self.entry(now, entry);
    }

    fn push(&mut self, now: WallTime, content: Content) {
        let row = Row { id: self.chain.id + 1, recorded: now, content };
        let line = row.line();
        self.chain.push(&line);
        self.hold(row.id, line.len());
        self.fresh.push(Arc::new(row));
        if self.chain.id.saturating_sub(self.sealed.id) >= SEAL_ROWS {
            self.seal(now);
        }
    }

    fn hold(&mut self, id: u64, bytes: usize) {
        self.spool.push_back((id, bytes));
        self.spool_bytes += bytes;
    }

    /// Adds a row that has the head of the chain.
    fn seal(&mut self, now: WallTime) {
        let head = self.chain.head;
        let mut entry = Entry::new(EntryKind::Seal, &hex_of(&head), "sealed")
            .count("from", self.sealed.id + 1)
            .count("to", self.chain.id);
        if let Some(signer) = &self.signer {
            entry =
                entry.fact("key", signer.key_id()).fact("signature", &hex_of(&signer.sign(&head)));
        }
        // Before the row: it is not sealed by itself.
        self.sealed = Sealed { id: self.chain.id + 1, at: Some(now) };
        count(&mut self.counts.rows, EntryKind::Seal.as_str());
        self.push(now, Content::Entry(Box::new(entry)));
    }
}

/// Whether the end of a request that is no session may come hours after its beginning: of a watch, or of a log that is
/// followed. Those of machines are many, and seldom last for so long as copies are known.
fn ends_later(access: &Access) -> bool {
    let verb = access.verb.as_deref().unwrap_or("");
    let below = access.object.as_ref().and_then(|object| object.subresource.as_deref());
    access.session.is_none() && !access.actor.is_machine() && runs_long(verb, below.unwrap_or(""))
}

/// Under which key a request is known; the end of a session has one of its own.
fn key_of(request: [u8; 16], is_end: bool) -> [u8; 17] {
    let mut key = [0; 17];
    key[..16].copy_from_slice(&request);
    key[16] = u8::from(is_end);
    key
}

/// Under which key of its table a store keeps where the chain has come to.
pub fn head_key() -> Vec<u8> {
    encode(&Key::Head)
}

/// Where the chain had come to, as a store kept it; `None` if it is damaged.
pub fn stored_chain(value: Vec<u8>) -> Option<Chain> {
    let mut entry = StateEntry { table: StateTable::Recorder, key: head_key(), value };
    let head: Head = entry.unseal().then(|| postcard::from_bytes(&entry.value).ok())??;
    Some(Chain { id: head.id, head: head.hash })
}

impl std::fmt::Debug for Recorder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Recorder").field("chain", &self.chain).finish_non_exhaustive()
    }
}

fn count(counts: &mut BTreeMap<String, u64>, name: &str) {
    if let Some(number) = counts.get_mut(name) {
        *number += 1;
    } else if counts.len() < NAMES_COUNTED_MAX {
        counts.insert(name.to_owned(), 1);
    }
}

#[cfg(test)]
mod tests;
