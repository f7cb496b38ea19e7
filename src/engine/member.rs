//! Shard and dispatcher of one member, and the order in which their decisions become real.
//!
//! One promise is kept here: **nothing leaves the process before the checkpoint that holds it is
//! durable.** Whatever is decided becomes part of a [`Checkpoint`], and the effects that it covers
//! wait until the shell says that it is durable. A simulator can lose the process between any two
//! calls and restore another one from what was durable.

mod append;
mod old_news;

use std::{collections::BTreeMap, collections::VecDeque, sync::Arc};

pub use append::append_entries;
use old_news::OldNews;

use super::{
    act::{Act, ActNews, Answer, DeedKind, EpisodeKey, What},
    alert::{Alert, AlertState, Fingerprint},
    detector::DetectionBatch,
    dispatch::{Addresses, DispatchPlan, LedgerEntry, Notification, Outcome},
    dispatcher::Dispatcher,
    ledger::{Chain, Entry, Row},
    limits,
    record::{PartitionName, Position},
    recorder::{Recorder, Sign, TakenOver},
    rule::RuleSet,
    shard::{
        EngineSettings, ReplaceReport, RestoreReport, Shard, StateChange, StateEntry, StateTable,
    },
    time::{EventTime, WallTime},
};

/// What one checkpoint makes durable, all of it or nothing.
#[derive(Clone, Debug, Default)]
pub struct Checkpoint {
    /// Where to go on reading; every partition, not only those that moved.
    pub positions: Vec<Position>,
    /// Changed engine state; a later change of the same key wins.
    pub changes: Vec<StateChange>,
    /// What happened, for auditors.
    pub ledger: Vec<LedgerRow>,
    /// Rows of the ledger; they stay in the spool until the archive has them.
    pub rows: Vec<Arc<Row>>,
    /// Up to this one the archive has them.
    pub archived_through: u64,
}

impl Checkpoint {
    /// Whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.positions.is_empty()
            && self.changes.is_empty()
            && self.ledger.is_empty()
            && self.rows.is_empty()
    }
}

/// One line of the ledger: an alert's change or a delivery attempt.
#[derive(Clone, Debug, PartialEq)]
pub struct LedgerRow {
    /// When, by the operator's clock.
    pub at: WallTime,
    /// `alert` or `delivery`.
    pub kind: &'static str,
    /// Fingerprint of the alert (of one that was given up, too) or id of the notification.
    pub subject: String,
    /// Receiver, for deliveries; rule id, for alerts; for one that was ended by hand, who did it.
    pub party: String,
    /// `firing`, `updated`, `resolved`, `rebuilt` (known before, not told again), `old` (summed up), `resolved_by_hand`;
    /// `delivered`, `retry`, `rejected`, `expired`, `dropped`.
    pub what: String,
    /// For people.
    pub detail: String,
}

/// What the shell carries out, after the checkpoint that covers it.
#[derive(Clone, Debug)]
pub enum Effect {
    /// Try to deliver this; report the outcome with [`Member::handle_outcome`].
    Attempt(Arc<Notification>),
    /// An alert changed: for metrics, logs and the console.
    AlertChanged(Box<Alert>),
    /// What came of an act.
    Acted {
        /// As it came with the act.
        ticket: u64,
        /// What came of it.
        answer: Box<Answer>,
    },
    /// Silences, and what people did about alerts, are otherwise than before.
    ActsChanged(Vec<ActNews>),
}

/// What the ledger is to tell, beside entries that are made elsewhere.
#[derive(Clone, Debug)]
pub enum LedgerInput {
    /// Which rule set is in force.
    Rules {
        /// Why: `started` or `replaced`.
        trigger: &'static str,
    },
    /// Records were deleted before they were read.
    Lost {
        /// Of this partition.
        partition: Arc<PartitionName>,
        /// So many.
        records: u64,
    },
    /// What an earlier version kept.
    TakeOver {
        /// In their order.
        entries: Vec<Entry>,
        /// How far that is.
        taken: TakenOver,
    },
}

/// The stateful engine of one process.
pub struct Member {
    shard: Shard,
    dispatcher: Dispatcher,
    recorder: Recorder,
    positions: BTreeMap<Arc<PartitionName>, Position>,
    positions_changed: bool,
    /// What rules find is not told: it was by an earlier process.
    is_quiet: bool,
    old_news: OldNews,
    /// What sources keep beside their positions, as far as it changed: by stored key.
    notes: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
    /// Decided, but not yet part of a checkpoint that is being written. Attempts wait in the
    /// dispatcher, which so knows that they have not left.
    next: Checkpoint,
    waiting: VecDeque<Effect>,
    /// Handed out to be made durable.
    writing: Option<Arc<Checkpoint>>,
    covered: VecDeque<Effect>,
    /// Durable: free to leave.
    released: VecDeque<Effect>,
}

impl Member {
    /// A member that has seen nothing.
    pub fn new(rules: Arc<RuleSet>, settings: EngineSettings, plan: &DispatchPlan) -> Member {
        Member {
            old_news: OldNews::new(settings.alert_age_max),
            recorder: Recorder::new(&settings),
            shard: Shard::new(rules, 0, settings),
            dispatcher: Dispatcher::new(plan),
            positions: BTreeMap::new(),
            positions_changed: false,
            is_quiet: false,
            notes: BTreeMap::new(),
            next: Checkpoint::default(),
            waiting: VecDeque::new(),
            writing: None,
            covered: VecDeque::new(),
            released: VecDeque::new(),
        }
    }

    /// Takes over what an earlier process made durable, of sources with these names. Returns what the
    /// shard made of it, and how many groups could not be read.
    pub fn restore(
        &mut self,
        positions: Vec<Position>,
        entries: Vec<StateEntry>,
        sources: &[Arc<str>],
    ) -> (RestoreReport, usize) {
        let resolved = |position: Position| {
            let Position { partition, next_offset, log } = position;
            let partition = Arc::new(Arc::unwrap_or_clone(partition).resolved(sources));
            (Arc::clone(&partition), Position { partition, next_offset, log })
        };
        self.positions = positions.into_iter().map(resolved).collect();
        let (sound, broken): (Vec<_>, Vec<_>) = entries
            .into_iter()
            .map(|mut entry| (entry.unseal(), entry))
            .partition(|(is_sound, _)| *is_sound);
        let is_recorded = |(_, entry): &(bool, StateEntry)| entry.table == StateTable::Recorder;
        let (recorded, sound): (Vec<_>, Vec<_>) = sound.into_iter().partition(is_recorded);
        let is_group =
            |entry: &StateEntry| matches!(entry.table, StateTable::Group | StateTable::Act);
        // Notes of sources are for them alone.
        let (groups, state): (Vec<_>, Vec<_>) = sound
            .into_iter()
            .map(|(_, entry)| entry)
            .filter(|entry| entry.table != StateTable::SourceNote)
            .partition(is_group);
        let mut report = self.shard.restore(&mut state.into_iter());
        for (_, entry) in recorded {
            if self.recorder.restore(&entry).is_some() {
                report.restored += 1;
            } else {
                report.unusable += 1;
                let StateEntry { table, key, .. } = entry;
                self.next.changes.push(StateChange { table, key, value: None });
            }
        }
        self.shard.resolve_partitions(sources);
        let mut groups_unusable = self.dispatcher.restore(&mut groups.into_iter());
        self.old_news.restore(self.dispatcher.told());
        // Earlier versions kept nothing for people to act on.
        let firing: Vec<Alert> = self.shard.alerts_firing().cloned().collect();
        for alert in firing {
            self.dispatcher.note_alert(alert.changed_at, &alert);
        }
        for (_, entry) in broken {
            if is_group(&entry) {
                groups_unusable += 1;
            } else {
                report.unusable += 1;
            }
            let StateEntry { table, key, .. } = entry;
            self.next.changes.push(StateChange { table, key, value: None });
        }
        (report, groups_unusable)
    }

    /// Takes over the rows that the archive does not have yet, and where the archive has come to. Returns
    /// those that are to be written as they are.
    pub fn restore_ledger(
        &mut self,
        now: WallTime,
        rows: Vec<Arc<Row>>,
        archive: Chain,
    ) -> Vec<Arc<Row>> {
        self.recorder.resume(now, rows, archive)
    }

    /// Seals of the ledger are signed from now on.
    pub fn sign_with(&mut self, signer: Arc<dyn Sign>) {
        self.recorder.sign_with(signer);
    }

    /// The archive has all rows up to this one.
    pub fn handle_archived(&mut self, through: u64) {
        self.recorder.archived(through);
    }

    /// Something that Tripline did or was told, for the ledger.
    pub fn handle_entry(&mut self, now: WallTime, entry: Entry) {
        self.recorder.entry(now, entry);
    }

    /// More that the ledger is to tell.
    pub fn handle_ledger(&mut self, now: WallTime, input: LedgerInput) {
        match input {
            LedgerInput::Rules { trigger } => {
                self.recorder.rules_in_force(now, self.shard.rules(), trigger);
            }
            LedgerInput::Lost { partition, records } => {
                let clock = self.shard.partitions().get(&partition);
                let from = clock.map(|clock| clock.time_max).filter(|time| *time > EventTime::MIN);
                self.recorder.lost(now, &partition.to_string(), from, records);
            }
            LedgerInput::TakeOver { entries, taken } => {
                for entry in entries {
                    self.recorder.entry(now, entry);
                }
                self.recorder.take_over(taken);
            }
        }
    }

    /// Detections of one batch. Batches of one source must come in their order.
    ///
    /// Records that are already covered (read again after a restart) are not expected: the source
    /// starts at the restored positions.
    pub fn handle_batch(&mut self, now: WallTime, batch: &DetectionBatch) {
        // Before the shard, which takes partitions on to where the batch brings them.
        self.recorder.handle_batch(now, batch, self.shard.partitions());
        self.shard.handle_batch(now, batch);
        self.advance_recorder(now);
        for progress in &batch.progress {
            let partition = &progress.partition;
            let new = || Position::new(Arc::clone(partition), 0);
            self.positions.entry(Arc::clone(partition)).or_insert_with(new).next_offset =
                progress.next_offset;
            self.positions_changed = true;
        }
        for note in &batch.notes {
            self.notes.insert(note.stored_key(), note.value.clone());
        }
        self.dispatch_due(now);
    }

    /// A source goes on here, whatever was known before.
    pub fn handle_begin(&mut self, positions: &[Position]) {
        for position in positions {
            let before = self.positions.insert(Arc::clone(&position.partition), position.clone());
            self.positions_changed |= before.as_ref() != Some(position);
        }
    }

    /// Whether windows are only rebuilt from records that an earlier process has counted: what rules find
    /// in them it has told.
    pub const fn set_quiet(&mut self, is_quiet: bool) {
        self.is_quiet = is_quiet;
    }

    /// Windows were rebuilt: shows the alerts that fire, of which nobody was told again.
    pub fn show_rebuilt(&mut self, now: WallTime) {
        let alerts: Vec<Alert> = self.shard.alerts_firing().cloned().collect();
        for alert in alerts {
            self.dispatcher.note_alert(now, &alert);
            self.next.ledger.push(alert_row(now, &alert, "rebuilt"));
            self.waiting.push_back(Effect::AlertChanged(Box::new(alert)));
        }
    }

    /// A source can be read (again), with these partitions. See [`Shard::handle_ready`].
    pub fn handle_ready(&mut self, now: WallTime, partitions: &[Arc<PartitionName>]) {
        self.shard.handle_ready(now, partitions);
    }

    /// The process did not look for a while. See [`Shard::handle_pause`].
    pub fn handle_pause(&mut self, now: WallTime) {
        self.shard.handle_pause(now);
    }

    /// These partitions cannot be read from now on, while others can. See [`Shard::handle_away`].
    pub fn handle_away(&mut self, now: WallTime, partitions: &[Arc<PartitionName>]) {
        self.shard.handle_away(now, partitions);
    }

    /// No source can be read. See [`Shard::handle_unavailable`].
    pub fn handle_unavailable(&mut self) {
        self.shard.handle_unavailable();
    }

    /// What an attempt came to.
    pub fn handle_outcome(&mut self, now: WallTime, notification: &Notification, outcome: Outcome) {
        self.dispatcher.handle_outcome(now, notification.id, outcome);
        self.dispatch_due(now);
    }

    /// An alert that no rule made: about Tripline itself.
    pub fn handle_alert(&mut self, now: WallTime, alert: Alert) {
        self.tell(now, alert);
        self.dispatch_due(now);
    }

    /// Somebody does something. Once that is durable, an effect with this number says what came of it.
    pub fn act(&mut self, now: WallTime, ticket: u64, act: Act) {
        let end = match &act.what {
            What::Alerts { deed: DeedKind::Resolve, text, .. } => {
                Some((act.by.name.clone(), text.clone()))
            }
            _ => None,
        };
        let mut answer = self.dispatcher.act(now, act);
        if let (Some((by, why)), Ok(acted)) = (end, &mut answer)
            && !acted.again
        {
            let named = acted.alerts.iter().map(|on| on.episode.key.fingerprint).collect();
            let fired = self.shard.resolve(now, &named, (&by, &why));
            for on in &mut acted.alerts {
                let key = on.episode.key;
                let is_over = fired.contains(&key.fingerprint);
                if !self.note_end(now, key.fingerprint, is_over, (&by, &why)) {
                    self.dispatcher.note_over(now, key);
                }
            }
            self.dispatch_due(now);
            for on in &mut acted.alerts {
                if let Some(episode) = self.dispatcher.acts().episode(on.episode.key) {
                    on.episode = Arc::clone(episode);
                }
            }
        }
        self.dispatch_due(now);
        self.waiting.push_back(Effect::Acted { ticket, answer: Box::new(answer) });
    }

    /// Writes down that an alert was ended by hand, and ends it if it is one of our own, which no rule has ended.
    /// Whether it fired.
    fn note_end(
        &mut self,
        now: WallTime,
        fingerprint: Fingerprint,
        mut has_fired: bool,
        by_and_why: (&str, &str),
    ) -> bool {
        let own = self.dispatcher.told_of(fingerprint).cloned();
        if let Some(mut alert) = own.filter(|_| !has_fired) {
            alert.note_end(by_and_why.0, by_and_why.1);
            self.tell(now, alert.ended(now));
            has_fired = true;
        }
        if has_fired {
            self.next.ledger.push(LedgerRow {
                at: now,
                kind: "alert",
                subject: fingerprint.to_string(),
                party: by_and_why.0.to_owned(),
                what: "resolved_by_hand".to_owned(),
                detail: by_and_why.1.to_owned(),
            });
        }
        has_fired
    }

    /// Somebody may have fixed receivers, which send to these addresses now: what they did not take is tried.
    pub fn retry_now(&mut self, now: WallTime, addresses: &Addresses) {
        self.dispatcher.send_to(now, addresses);
        self.dispatcher.retry_now(now);
        self.dispatch_due(now);
    }

    /// Safe to call early or twice. Due when [`Member::poll_timeout`] says so.
    pub fn handle_timeout(&mut self, now: WallTime) {
        // Not only when it is due: a shard that was just restored was never told the time, and a clock
        // that was set back would let it wait.
        self.shard.handle_timeout(now);
        self.advance_recorder(now);
        self.dispatch_due(now);
    }

    /// Nothing more will be read: the ledger tells what waited for more like it, and a last entry.
    pub fn finish(&mut self, now: WallTime, last: Option<Box<Entry>>) {
        self.recorder.finish(now);
        if let Some(entry) = last {
            self.handle_entry(now, *entry);
        }
    }

    /// Puts another rule set in force.
    pub fn replace_rules(
        &mut self,
        now: WallTime,
        rules: Arc<RuleSet>,
        rules_epoch: u64,
    ) -> ReplaceReport {
        let report = self.shard.replace_rules(now, rules, rules_epoch);
        self.dispatch_due(now);
        report
    }

    /// When [`Member::handle_timeout`] is due next; may change after any other call.
    pub fn poll_timeout(&self) -> Option<WallTime> {
        self.shard.poll_timeout().into_iter().chain(self.dispatcher.poll_timeout()).min()
    }

    /// Whether effects wait for a checkpoint, so that it should not wait for its interval.
    pub fn has_waiting_effects(&self) -> bool {
        !self.waiting.is_empty() || self.dispatcher.has_attempts()
    }

    /// Whether no effect waits, and every receiver has been told what it is owed.
    pub fn is_drained(&self) -> bool {
        let effects = [&self.waiting, &self.covered, &self.released];
        effects.iter().all(|queue| queue.is_empty()) && self.dispatcher.pending_count() == 0
    }

    /// What must be made durable next. The same again until [`Member::checkpoint_durable`]; `None` if
    /// nothing changed.
    pub fn checkpoint(&mut self) -> Option<Arc<Checkpoint>> {
        if self.writing.is_none() {
            let sealed = self.next.changes.len();
            self.shard.take_changes(&mut self.next.changes);
            self.dispatcher.take_changes(&mut self.next.changes);
            let notes = std::mem::take(&mut self.notes).into_iter();
            let table = StateTable::SourceNote;
            self.next.changes.extend(notes.map(|(key, value)| StateChange { table, key, value }));
            self.next.archived_through =
                self.recorder.take_changes(&mut self.next.changes, &mut self.next.rows);
            self.next.changes.iter_mut().skip(sealed).for_each(StateChange::seal);
            if std::mem::take(&mut self.positions_changed) {
                self.next.positions = self.positions.values().cloned().collect();
            }
            self.covered.append(&mut self.waiting);
            if self.next.is_empty() {
                // Effects without any change of state have nothing to wait for.
                self.released.append(&mut self.covered);
                return None;
            }
            self.writing = Some(Arc::new(std::mem::take(&mut self.next)));
        }
        self.writing.clone()
    }

    /// The checkpoint that was handed out is durable: what it covers may leave. Returns it.
    pub fn checkpoint_durable(&mut self) -> Option<Arc<Checkpoint>> {
        self.released.append(&mut self.covered);
        self.writing.take()
    }

    /// The next effect that may be carried out.
    pub fn poll_effect(&mut self, now: WallTime) -> Option<Effect> {
        if let Some(effect) = self.released.pop_front() {
            return Some(effect);
        }
        if self.writing.is_some() {
            // The dispatcher would hand out what is only being written.
            return None;
        }
        self.dispatcher.poll_attempt(now).map(Effect::Attempt)
    }

    /// The shard, for its counters and gauges.
    pub const fn shard(&self) -> &Shard {
        &self.shard
    }

    /// The dispatcher, for its counters and gauges.
    pub const fn dispatcher(&self) -> &Dispatcher {
        &self.dispatcher
    }

    /// The recorder, for its counters and gauges.
    pub const fn recorder(&self) -> &Recorder {
        &self.recorder
    }

    fn advance_recorder(&mut self, now: WallTime) {
        if let Some(watermark) = self.shard.watermark() {
            self.recorder.advance(now, watermark, self.shard.slowest());
            if self.recorder.rules_are_due(now) {
                self.recorder.rules_in_force(now, self.shard.rules(), "");
            }
        }
    }

    /// Lets alerts reach the dispatcher, and the dispatcher decide what is due.
    fn dispatch_due(&mut self, now: WallTime) {
        while let Some(alert) = self.shard.poll_alert() {
            if self.is_quiet {
                continue;
            }
            // Whoever was told that it fires is told the rest.
            let is_told = self.dispatcher.told_of(alert.fingerprint).is_some();
            if !is_told && self.old_news.is_old(now, &alert) {
                self.next.ledger.push(alert_row(now, &alert, "old"));
                self.dispatcher.note_alert(now, &alert);
                self.recorder.entry(now, Entry::of_alert(&alert));
                let sum = self.old_news.add(now, &alert);
                self.waiting.push_back(Effect::AlertChanged(Box::new(alert)));
                if let Some(sum) = sum {
                    self.tell(now, sum);
                }
            } else {
                self.tell(now, alert);
            }
        }
        if let Some(end) = self.old_news.end(now, self.shard.watermark()) {
            self.tell(now, end);
        }
        loop {
            while let Some(alert) = self.dispatcher.poll_alert() {
                self.tell(now, alert);
            }
            if self.dispatcher.poll_timeout().is_none_or(|due| due > now) {
                break;
            }
            self.dispatcher.handle_timeout(now);
        }
        // Beyond the limit they stay with the dispatcher, which has the same limit and counts.
        if self.next.ledger.len() < limits::LEDGER_ENTRIES_MAX {
            let mut entries = Vec::new();
            self.dispatcher.take_ledger(&mut entries);
            for entry in &entries {
                self.recorder.entry(entry.at, Entry::of_delivery(entry));
            }
            self.next.ledger.extend(entries.into_iter().map(delivery_row));
        }
        for entry in self.dispatcher.take_act_entries() {
            self.recorder.entry(entry.at, Entry::of_act(&entry));
        }
        let news = self.dispatcher.take_act_news();
        if !news.is_empty() {
            self.waiting.push_back(Effect::ActsChanged(news));
        }
    }

    fn tell(&mut self, now: WallTime, alert: Alert) {
        let what = match alert.state {
            AlertState::Firing if alert.revision > 1 => "updated",
            state => state.as_str(),
        };
        self.next.ledger.push(alert_row(now, &alert, what));
        self.dispatcher.handle_alert(now, &alert);
        let mut entry = Entry::of_alert(&alert);
        let episode = self.dispatcher.acts().episode(EpisodeKey::of(&alert));
        let silences: Vec<String> = episode
            .into_iter()
            .flat_map(|episode| &episode.silenced_by)
            .map(ToString::to_string)
            .collect();
        if !silences.is_empty() {
            entry = entry.fact("silenced_by", &silences.join(" "));
        }
        self.recorder.entry(now, entry);
        self.waiting.push_back(Effect::AlertChanged(Box::new(alert)));
    }
}

fn alert_row(now: WallTime, alert: &Alert, what: &str) -> LedgerRow {
    let key: Vec<String> =
        alert.key.iter().map(|(name, value)| format!("{name}={value}")).collect();
    LedgerRow {
        at: now,
        kind: "alert",
        subject: alert.fingerprint.to_string(),
        party: alert.rule_id.clone(),
        what: what.to_owned(),
        detail: format!("{} {}", alert.rule_title, key.join(" ")),
    }
}

fn delivery_row(entry: LedgerEntry) -> LedgerRow {
    LedgerRow {
        at: entry.at,
        kind: "delivery",
        subject: entry.about.id,
        party: entry.receiver,
        what: entry.what.as_str().to_owned(),
        detail: format!("{}: {}", entry.notifier, entry.detail),
    }
}
