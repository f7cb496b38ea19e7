//! Decides what one process does when: in which order batches count, when a checkpoint is written and
//! what may leave after it, what a pause means, and how it all ends.
//!
//! How to drive it: [`Coordinator::handle`] for each input, then [`Coordinator::handle_timeout`], then
//! carry out [`Coordinator::poll_effect`] until it gives nothing more; the same again with the next input,
//! or when [`Coordinator::poll_timeout`] is due. Spurious calls do no harm. Whoever drives it moves bytes and
//! decides nothing, so that the simulator, which drives it too, proves what runs.
//!
//! While something cannot be made durable, no batch counts, so that whatever hands them over holds on to
//! them and sources pause; nothing new leaves either. It is tried again until it works, or until the
//! process ends.

mod source_state;

use std::{collections::VecDeque, sync::Arc, time::Duration};

use source_state::{Begin, SourceState};

use super::{
    act::{Act, ActNews, Answer},
    alert::Alert,
    dead_letter::DeadLetter,
    detector::DetectionBatch,
    dispatch::{Addresses, DispatchPlan, Notification, Outcome},
    ledger::{Chain, Entry, Row},
    member::{self, Checkpoint, LedgerInput, Member},
    record::{PartitionName, Position},
    recorder::Sign,
    rule::RuleSet,
    settings::EngineSettings,
    shard::{ReplaceReport, RestoreReport},
    state::StateEntry,
    time::WallTime,
};

/// How long it goes at most without looking at the time while a source can be read: 1 second.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// Whoever did not look for so long was away: 5 seconds, several times [`LOOK_INTERVAL`].
const PAUSE_MIN: Duration = Duration::from_secs(5);

/// First pause after something could not be made durable: 100 ms. It doubles with each further one.
const RETRY_MIN: Duration = Duration::from_millis(100);

/// Longest pause after something could not be made durable: 5 seconds.
const RETRY_MAX: Duration = Duration::from_secs(5);

/// How a process goes about it.
#[derive(Clone, Debug)]
pub struct CoordinatorSettings {
    /// How many sources there are; they are numbered from 0.
    pub sources: usize,
    /// How often progress is made durable while nothing fires.
    pub checkpoint_interval: Duration,
    /// How long a stop waits for notifications that are owed.
    pub drain: Duration,
}

/// What happened.
#[expect(clippy::large_enum_variant, reason = "a batch is the largest, and most of what comes")]
#[derive(Clone, Debug)]
pub enum Input {
    /// A source can be read (again), with these partitions.
    Ready {
        /// Number of the source.
        source: usize,
        /// Those that it reads now.
        partitions: Vec<Arc<PartitionName>>,
    },
    /// A source cannot be read at the moment.
    Unavailable {
        /// Number of the source.
        source: usize,
    },
    /// A source cannot read some of its partitions at the moment.
    Away {
        /// Number of the source.
        source: usize,
        /// All of them; none if that is over.
        partitions: Vec<Arc<PartitionName>>,
    },
    /// A source goes on at these positions.
    Begin {
        /// Number of the source.
        source: usize,
        /// With its batch of this number; those before it are counted first.
        sequence: u64,
        /// Where, in all of its partitions or some.
        positions: Vec<Position>,
        /// Its batches from this one on are records that an earlier process has counted, whose state was
        /// lost: they rebuild windows, and what rules find in them is not told again.
        is_rebuilding: bool,
    },
    /// Detections of one batch. Those of one source may come in any order.
    Batch {
        /// Number of the source.
        source: usize,
        /// Its sequence counts up by one from 0.
        detections: DetectionBatch,
    },
    /// A source will hand over nothing more.
    Ended {
        /// Number of the source.
        source: usize,
        /// How many batches it has handed over in all; some may still be on their way.
        batches: u64,
        /// Why.
        end: SourceEnd,
    },
    /// What an attempt came to.
    Outcome {
        /// What was tried.
        notification: Arc<Notification>,
        /// What it came to.
        outcome: Outcome,
    },
    /// Another rule set.
    Rules(Arc<RuleSet>),
    /// An alert that no rule made: about Tripline itself.
    Alert(Box<Alert>),
    /// Somebody may have fixed receivers, which send to these addresses now: what they did not take is tried.
    RetryNow(Addresses),
    /// Somebody does something: silences, acknowledges, judges …
    Act {
        /// Comes back with the answer, [`Effect::Acted`].
        ticket: u64,
        /// What.
        act: Box<Act>,
    },
    /// Something that Tripline did or was told, for the ledger.
    Entry(Box<Entry>),
    /// The same, once there is nothing more to read and all that was read is done.
    AtEnd(Box<Entry>),
    /// More that the ledger is to tell.
    Ledger(LedgerInput),
    /// The archive has all rows of the ledger up to this one.
    Archived {
        /// Its id.
        through: u64,
    },
    /// What was handed out last to be made durable is so.
    Durable,
    /// It is not, or nobody knows.
    NotDurable,
    /// The process is to stop.
    Stop,
    /// A thread panicked. A part of the process is missing, so it ends, and starts again from its
    /// checkpoint.
    Broken {
        /// Its name.
        thread: String,
    },
}

/// Why a source hands over nothing more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SourceEnd {
    /// It was read to its end, or told to stop.
    Finished,
    /// It broke for good.
    Failed,
    /// Another process has taken over its stream.
    Fenced,
}

/// What is to be done, in this order.
#[derive(Clone, Debug)]
pub enum Effect {
    /// Make these dead letters durable, and answer with [`Input::Durable`] or [`Input::NotDurable`].
    KeepDeadLetters(Arc<[DeadLetter]>),
    /// Make this durable, all of it or nothing, and answer likewise.
    Commit(Arc<Checkpoint>),
    /// It was time for a checkpoint, but all is durable as it is.
    NothingToCommit,
    /// These rows of the ledger are durable: the archive may have them. They follow those that it was given
    /// before.
    Archive(Vec<Arc<Row>>),
    /// These positions are durable: whoever keeps offsets may be told.
    Publish(Vec<Position>),
    /// A batch was counted, whose records had so many bytes: another one may come.
    Counted {
        /// Bytes of its records.
        bytes: u64,
    },
    /// Detectors are to use this rule set from the next batch on, with this epoch.
    UseRules {
        /// Goes into the batches that are made with it.
        epoch: u64,
        /// The set.
        rules: Arc<RuleSet>,
        /// What became of the state of the one before.
        report: ReplaceReport,
    },
    /// Try to deliver this, and answer with [`Input::Outcome`].
    Attempt(Arc<Notification>),
    /// An alert changed: for metrics, logs and the console.
    AlertChanged(Box<Alert>),
    /// What came of an act. What it says is durable.
    Acted {
        /// As it came with the act.
        ticket: u64,
        /// What came of it.
        answer: Box<Answer>,
    },
    /// Silences, and what people did about alerts, are otherwise than before: for the API and pages.
    ActsChanged(Vec<ActNews>),
    /// The process was away for so long: for the log.
    WasAway(Duration),
    /// Tell all sources to stop.
    StopSources,
    /// It is over; nothing comes after this.
    End(End),
}

/// How it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// It was told to stop.
    Stopped {
        /// Notifications that no receiver has taken yet. They are in the checkpoint.
        pending_count: usize,
    },
    /// All sources came to their end, and everybody was told.
    Finished,
    /// A source broke.
    SourceFailed {
        /// Number of the source.
        source: usize,
    },
    /// Another process has taken over. What is not durable is its to find.
    Fenced {
        /// Number of the source.
        source: usize,
    },
    /// A thread panicked.
    Broken {
        /// Its name.
        thread: String,
    },
}

/// The coordinator of one process.
pub struct Coordinator {
    settings: CoordinatorSettings,
    member: Member,
    rules_epoch: u64,
    sources: Vec<SourceState>,
    /// Of batches that counted since the last checkpoint; bounded by what may be in flight.
    dead_letters: Vec<DeadLetter>,
    writing: Option<Writing>,
    effects: VecDeque<Effect>,
    phase: Phase,
    /// Until when a stop waits.
    stop_at: Option<WallTime>,
    /// Why it ends, if not because it is told to or has nothing more to read.
    failure: Option<End>,
    /// The last entry of the ledger, if it ends by itself.
    at_end: Option<Box<Entry>>,
    now: WallTime,
    /// When event time was last looked at.
    looked_at: WallTime,
    checkpoint_at: WallTime,
}

/// A checkpoint on its way to the store.
struct Writing {
    checkpoint: Arc<Checkpoint>,
    /// To be kept before it, since its positions pass over their records; kept once, however often the
    /// rest has to be tried.
    dead_letters: Arc<[DeadLetter]>,
    /// When it is tried again; `None` while an answer is awaited.
    retry_at: Option<WallTime>,
    /// The pause after the next failure.
    pause: Duration,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Running,
    /// Only the last checkpoint is still written.
    Ending,
    Ended,
}

impl Coordinator {
    /// Of a process that begins, with sources of which none can be read yet.
    pub fn new(
        now: WallTime,
        rules: Arc<RuleSet>,
        engine: EngineSettings,
        plan: &DispatchPlan,
        settings: CoordinatorSettings,
    ) -> Coordinator {
        let mut member = Member::new(rules, engine, plan);
        member.handle_unavailable();
        Coordinator {
            sources: (0..settings.sources).map(|_| SourceState::default()).collect(),
            settings,
            member,
            rules_epoch: 0,
            dead_letters: Vec::new(),
            writing: None,
            effects: VecDeque::new(),
            phase: Phase::Running,
            stop_at: None,
            failure: None,
            at_end: None,
            now,
            looked_at: now,
            checkpoint_at: now,
        }
    }

    /// Takes over what an earlier process made durable, before anything else. See [`Member::restore`].
    pub fn restore(
        &mut self,
        positions: Vec<Position>,
        entries: Vec<StateEntry>,
        sources: &[Arc<str>],
    ) -> (RestoreReport, usize) {
        // One of several sources that cannot be read from the start is waited for, too. They have names
        // then, in their order.
        for (state, name) in self.sources.iter_mut().zip(sources) {
            let own = positions.iter().map(|position| {
                Arc::new((*position.partition).clone().resolved(std::slice::from_ref(name)))
            });
            state.restored = own.filter(|own| own.source.as_ref() == Some(name)).collect();
        }
        let report = self.member.restore(positions, entries, sources);
        if self.sources.len() > 1 {
            for state in &self.sources {
                self.member.handle_away(self.now, &state.restored);
            }
        }
        report
    }

    /// Takes over the ledger: rows that the archive does not have yet, and where it has come to. See
    /// [`Member::restore_ledger`].
    pub fn restore_ledger(&mut self, rows: Vec<Arc<Row>>, archive: Chain) {
        let left = self.member.restore_ledger(self.now, rows, archive);
        if !left.is_empty() {
            self.effects.push_back(Effect::Archive(left));
        }
    }

    /// Seals of the ledger are signed from now on.
    pub fn sign_with(&mut self, signer: Arc<dyn Sign>) {
        self.member.sign_with(signer);
    }

    /// Takes what happened.
    pub fn handle(&mut self, now: WallTime, input: Input) {
        self.set_now(now);
        if self.phase == Phase::Ended {
            return;
        }
        match input {
            Input::Ready { source, partitions } => {
                self.look();
                let state = self.source(source);
                state.ready = Some(partitions);
                let mut heard = state.heard();
                // Those that are no longer there are waited for no more.
                heard.append(&mut state.restored);
                self.member.handle_ready(now, &heard);
            }
            Input::Away { source, partitions } => {
                let state = self.source(source);
                let before = std::mem::replace(&mut state.away, partitions);
                let is_back = |partition: &Arc<PartitionName>| !state.away.contains(partition);
                let back: Vec<_> = before.into_iter().filter(is_back).collect();
                let away = state.away.clone();
                let is_ready = state.ready.is_some();
                self.member.handle_away(now, &away);
                if is_ready && !back.is_empty() {
                    self.member.handle_ready(now, &back);
                }
            }
            Input::Unavailable { source } => {
                let was_ready = self.source(source).ready.take();
                self.member.handle_away(now, &was_ready.unwrap_or_default());
                if self.sources.iter().all(|source| source.ready.is_none()) {
                    self.member.handle_unavailable();
                }
            }
            Input::Begin { source, sequence, positions, is_rebuilding } => {
                let begin = Begin { sequence, positions, is_rebuilding };
                self.source(source).begins.push_back(begin);
                self.count_batches();
            }
            Input::Batch { source, detections } => {
                self.source(source).early.insert(detections.sequence, detections);
                self.count_batches();
            }
            Input::Ended { source, batches, end } => {
                self.source(source).batches = Some(batches);
                match end {
                    SourceEnd::Finished => {}
                    SourceEnd::Failed => self.fail(End::SourceFailed { source }),
                    SourceEnd::Fenced => self.fenced(source),
                }
            }
            Input::Outcome { notification, outcome } => {
                self.member.handle_outcome(now, &notification, outcome);
            }
            Input::Rules(rules) => {
                self.look();
                self.rules_epoch += 1;
                let epoch = self.rules_epoch;
                let report = self.member.replace_rules(now, Arc::clone(&rules), epoch);
                self.effects.push_back(Effect::UseRules { epoch, rules, report });
            }
            Input::Alert(alert) => self.member.handle_alert(now, *alert),
            Input::RetryNow(addresses) => self.member.retry_now(now, &addresses),
            Input::Act { ticket, act } => self.member.act(now, ticket, *act),
            Input::Entry(entry) => self.member.handle_entry(now, *entry),
            Input::AtEnd(entry) => self.at_end = Some(entry),
            Input::Ledger(input) => self.member.handle_ledger(now, input),
            Input::Archived { through } => self.member.handle_archived(through),
            Input::Durable => self.durable(),
            Input::NotDurable => self.not_durable(),
            Input::Stop => self.stop(),
            Input::Broken { thread } => {
                self.fail(End::Broken { thread });
                self.phase = Phase::Ending;
            }
        }
    }

    /// Decides what is due. Safe to call early or twice.
    pub fn handle_timeout(&mut self, now: WallTime) {
        self.set_now(now);
        if self.phase == Phase::Ended {
            return;
        }
        if let Some(writing) = &self.writing {
            if writing.retry_at.is_some_and(|at| at <= now) {
                self.hand_out();
            }
            return;
        }
        self.look();
        self.member.handle_timeout(now);
        if self.is_done() {
            if self.stop_at.is_none() {
                self.member.finish(now, self.at_end.take());
            }
            self.phase = Phase::Ending;
        }
        if self.is_rebuilding() {
            // Half of it would be taken for all of it: whoever comes after this process begins anew.
            if self.phase == Phase::Ending {
                self.end();
            }
            return;
        }
        let is_due = now >= self.checkpoint_at.plus(self.settings.checkpoint_interval);
        if is_due || self.member.has_waiting_effects() || self.phase == Phase::Ending {
            self.begin_checkpoint();
        }
    }

    /// The next thing to be done.
    pub fn poll_effect(&mut self, now: WallTime) -> Option<Effect> {
        if let Some(effect) = self.effects.pop_front() {
            return Some(effect);
        }
        if self.phase != Phase::Running {
            return None;
        }
        self.member.poll_effect(now).map(|effect| match effect {
            member::Effect::Attempt(notification) => Effect::Attempt(notification),
            member::Effect::AlertChanged(alert) => Effect::AlertChanged(alert),
            member::Effect::Acted { ticket, answer } => Effect::Acted { ticket, answer },
            member::Effect::ActsChanged(news) => Effect::ActsChanged(news),
        })
    }

    /// When [`Coordinator::handle_timeout`] is due next; in the past means now. `None`: not before another
    /// input. May change after any other call.
    pub fn poll_timeout(&self) -> Option<WallTime> {
        if self.phase == Phase::Ended {
            return None;
        }
        if let Some(writing) = &self.writing {
            return writing.retry_at;
        }
        if self.phase == Phase::Ending || self.is_done() {
            return Some(self.now);
        }
        if self.is_rebuilding() {
            return self.stop_at.into_iter().chain([self.looked_at.plus(LOOK_INTERVAL)]).min();
        }
        if self.member.has_waiting_effects() {
            return Some(self.now);
        }
        let checkpoint = self.checkpoint_at.plus(self.settings.checkpoint_interval);
        let is_ready = self.sources.iter().any(|source| source.ready.is_some());
        let look = is_ready.then(|| self.looked_at.plus(LOOK_INTERVAL));
        let others = [self.member.poll_timeout(), look, self.stop_at];
        others.into_iter().flatten().chain([checkpoint]).min()
    }

    /// Shard and dispatcher, for their counters and gauges.
    pub const fn member(&self) -> &Member {
        &self.member
    }

    /// Whether something is on its way to the store; no batch counts meanwhile.
    pub const fn is_writing(&self) -> bool {
        self.writing.is_some()
    }

    /// A clock that was set back must not make anything wait for it to catch up.
    fn set_now(&mut self, now: WallTime) {
        if now < self.now {
            self.looked_at = self.looked_at.min(now);
            self.checkpoint_at = self.checkpoint_at.min(now);
            self.stop_at = self.stop_at.map(|at| at.min(now.plus(self.settings.drain)));
            if let Some(writing) = &mut self.writing {
                writing.retry_at = writing.retry_at.map(|at| at.min(now.plus(RETRY_MAX)));
            }
        }
        self.now = now;
    }

    fn source(&mut self, source: usize) -> &mut SourceState {
        self.sources.get_mut(source).expect("sources are numbered from 0")
    }

    /// While this process did not look (it was suspended, the disk was stuck, or the clock was set
    /// forward), partitions were not silent: their silence begins anew.
    fn look(&mut self) {
        let away = self.now.since(std::mem::replace(&mut self.looked_at, self.now));
        if away < PAUSE_MIN {
            return;
        }
        let ready: Vec<_> = self.sources.iter().filter(|source| source.ready.is_some()).collect();
        if ready.is_empty() {
            return;
        }
        for source in ready {
            self.member.handle_ready(self.now, &source.heard());
        }
        self.member.handle_pause(self.now);
        self.effects.push_back(Effect::WasAway(away));
    }

    /// Lets the batches count whose turn it is, unless something is being written.
    fn count_batches(&mut self) {
        if self.writing.is_some() || self.phase != Phase::Running {
            return;
        }
        for index in 0..self.sources.len() {
            loop {
                self.begin(index);
                let Some(batch) = self.source(index).next_batch() else { break };
                self.look();
                let is_rebuilding = self.source(index).is_rebuilding;
                self.member.set_quiet(is_rebuilding);
                self.member.handle_batch(self.now, &batch);
                self.set_quiet();
                if !is_rebuilding {
                    self.dead_letters.extend(batch.dead_letters);
                }
                self.effects.push_back(Effect::Counted { bytes: batch.counts.bytes });
            }
        }
    }

    /// Lets a source go on elsewhere, once the batches before that were counted.
    fn begin(&mut self, index: usize) {
        while let Some(begin) = self.source(index).next_begin() {
            self.member.handle_begin(&begin.positions);
            let was_rebuilding = self.is_rebuilding();
            self.source(index).is_rebuilding = begin.is_rebuilding;
            self.set_quiet();
            if was_rebuilding && !self.is_rebuilding() {
                self.member.show_rebuilt(self.now);
            }
        }
    }

    /// While any source rebuilds windows, what time alone brings is not told.
    fn set_quiet(&mut self) {
        let is_quiet = self.is_rebuilding();
        self.member.set_quiet(is_quiet);
    }

    fn is_rebuilding(&self) -> bool {
        self.sources.iter().any(|source| source.is_rebuilding)
    }

    // ---- checkpoints ----

    fn begin_checkpoint(&mut self) {
        self.checkpoint_at = self.now;
        if let Some(checkpoint) = self.member.checkpoint() {
            let dead_letters = std::mem::take(&mut self.dead_letters).into();
            let pause = RETRY_MIN;
            self.writing = Some(Writing { checkpoint, dead_letters, retry_at: None, pause });
            self.hand_out();
        } else if self.phase == Phase::Ending {
            self.end();
        } else {
            self.effects.push_back(Effect::NothingToCommit);
        }
    }

    /// Hands out what is to be made durable next.
    fn hand_out(&mut self) {
        let Some(writing) = &mut self.writing else { return };
        writing.retry_at = None;
        self.effects.push_back(if writing.dead_letters.is_empty() {
            Effect::Commit(Arc::clone(&writing.checkpoint))
        } else {
            Effect::KeepDeadLetters(Arc::clone(&writing.dead_letters))
        });
    }

    fn durable(&mut self) {
        let Some(writing) = &mut self.writing else { return };
        if !writing.dead_letters.is_empty() {
            writing.dead_letters = Arc::default();
            self.hand_out();
            return;
        }
        self.writing = None;
        self.checkpoint_at = self.now;
        if let Some(checkpoint) = self.member.checkpoint_durable() {
            if !checkpoint.rows.is_empty() {
                self.effects.push_back(Effect::Archive(checkpoint.rows.clone()));
            }
            if !checkpoint.positions.is_empty() {
                self.effects.push_back(Effect::Publish(checkpoint.positions.clone()));
            }
        }
        if self.phase == Phase::Ending {
            self.end();
        }
        self.count_batches();
    }

    fn not_durable(&mut self) {
        let Some(writing) = &mut self.writing else { return };
        if self.stop_at.is_some() {
            // What was durable before is enough to go on from.
            self.end();
            return;
        }
        writing.retry_at = Some(self.now.plus(writing.pause));
        writing.pause = writing.pause.saturating_mul(2).min(RETRY_MAX);
    }

    // ---- the end ----

    fn stop(&mut self) {
        if self.stop_at.is_some() {
            return;
        }
        self.stop_at = Some(self.now.plus(self.settings.drain));
        self.effects.push_back(Effect::StopSources);
        if let Some(writing) = &mut self.writing {
            // Once more, and not later.
            writing.retry_at = writing.retry_at.map(|at| at.min(self.now));
        }
    }

    fn fail(&mut self, failure: End) {
        self.failure.get_or_insert(failure);
        self.stop();
    }

    /// Nothing is finished any more: the stream, and what is not durable of it, are another process's.
    fn fenced(&mut self, source: usize) {
        self.failure = Some(End::Fenced { source });
        self.effects.clear();
        self.effects.push_back(Effect::StopSources);
        self.end();
    }

    /// Whether everything is finished that a stop waits for, or the end of all sources. Windows and alerts
    /// that are open then stay in the checkpoint, for the next run over what comes after.
    fn is_done(&self) -> bool {
        let has_ended = |source: &SourceState| source.batches == Some(source.next_sequence);
        self.stop_at.is_some_and(|stop_at| stop_at <= self.now)
            || (self.sources.iter().all(has_ended) && self.member.is_drained())
    }

    fn end(&mut self) {
        self.phase = Phase::Ended;
        let pending_count = self.member.dispatcher().pending_count();
        let told = self.stop_at.map(|_| End::Stopped { pending_count });
        let end = self.failure.take().or(told).unwrap_or(End::Finished);
        self.effects.push_back(Effect::End(end));
    }
}
