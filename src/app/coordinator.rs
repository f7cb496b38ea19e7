//! The one thread that owns the engine's coordinator and the store: it carries out what is decided there.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{
        Arc,
        mpsc::{Receiver, RecvTimeoutError},
    },
    time::Instant,
};

use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::{
    archiver::ArchiverHandle,
    clock::now,
    delivery::Delivery,
    endings::{Endings, LOOK_EVERY},
    feed::{CurrentRules, InFlight},
    input::Input,
    self_alert::ShedAccesses,
    source_health::SourceHealth,
    take_over,
    troubles::{
        CLOSED_WITHOUT, GROUP_SHARED, PARTITIONS_UNREAD, RECORDS_LOST, STATE_LOST, TOPIC_MADE_ANEW,
        Troubles,
    },
};
use crate::{
    engine::{
        act::Answer,
        alert::{Alert, OwnAlert},
        coordinator::{self, Coordinator, Effect, End, SourceEnd},
        detector::DeadLetter,
        dispatch::{Notification, Outcome},
        dispatcher::ANSWER,
        ledger::{Entry, EntryKind},
        member::LedgerInput,
        record::{PartitionName, Position},
    },
    server::{ActRequest, Health, NotDone, Status},
    source::{Claim, SourceError, SourceEvent},
    store::{Store, StoreError, dead_letter::DeadLetterSink},
    telemetry::{Metrics, Quiet},
};

/// Inputs taken between two looks at timers and the checkpoint: 256.
const INPUTS_PER_TURN_MAX: usize = 256;

/// What the thread knows of a source.
pub(super) struct Feed {
    /// Name that the operator gave it.
    pub(super) name: Option<Arc<str>>,
    /// Its name in `/readyz`.
    pub(super) component: String,
    /// Where positions go that a checkpoint covers.
    pub(super) committed: tokio::sync::watch::Sender<Vec<Position>>,
    /// Whether its stream is still this process's.
    pub(super) claim: Arc<Claim>,
}

impl Feed {
    /// Its name, or its kind if it has none: the label `source` of metrics.
    pub(super) fn label(&self) -> &str {
        self.component.strip_prefix("source ").unwrap_or(&self.component)
    }
}

/// How a pipeline ended.
#[derive(Debug)]
pub enum PipelineEnd {
    /// It was told to stop, and finished what it held. So many notifications are still owed; they are
    /// in the checkpoint.
    Stopped {
        /// Notifications that no receiver has taken yet.
        pending_count: usize,
    },
    /// All sources came to their end.
    Finished,
    /// A source failed for good.
    Failed(SourceError),
    /// A thread panicked; its panic is in the log.
    Broken {
        /// Its name.
        thread: String,
    },
}

/// Everything that the engine's coordinator moves.
pub(super) struct CoordinatorThread {
    pub(super) coordinator: Coordinator,
    pub(super) store: Box<dyn Store>,
    pub(super) dead_letters: Box<dyn DeadLetterSink>,
    pub(super) delivery: Delivery,
    /// Where rows of the ledger go; without one nobody keeps them.
    pub(super) archiver: Option<ArchiverHandle>,
    pub(super) feeds: Vec<Feed>,
    pub(super) in_flight: Arc<InFlight>,
    pub(super) rules: Arc<CurrentRules>,
    pub(super) stop: CancellationToken,
    pub(super) metrics: Arc<Metrics>,
    pub(super) status: Arc<Status>,
    /// SHA-256 of the configuration.
    pub(super) configuration: String,
    pub(super) on_alert: Box<dyn FnMut(&Alert) + Send>,
    pub(super) progress: Progress,
}

/// What it has begun and not finished.
#[derive(Default)]
pub(super) struct Progress {
    /// Whom to tell that their rules are in force, in order.
    reloads: VecDeque<oneshot::Sender<()>>,
    /// Whom to tell what came of their act, by its ticket.
    acts: BTreeMap<u64, oneshot::Sender<Result<Answer, NotDone>>>,
    /// The last ticket.
    ticket: u64,
    /// How many sources have ended.
    sources_ended: usize,
    /// The ledger knows that this process ends.
    is_stop_recorded: bool,
    /// Why sources failed.
    failures: BTreeMap<usize, SourceError>,
    /// When the checkpoint began that is being written.
    write_began: Option<Instant>,
    /// The last checkpoint failed.
    store_is_down: bool,
    /// The files of the checkpoint were deleted.
    state_is_gone: bool,
    /// How each source is.
    sources: BTreeMap<usize, SourceHealth>,
    /// Troubles of our own that people are told of.
    pub(super) troubles: Troubles,
    /// What was logged of receivers that do not take what they are given, and of troubles of sources.
    said: Quiet,
    /// When it was looked which exceptions end.
    endings: Endings,
    /// Accesses that were shed, and whether people know.
    shed: ShedAccesses,
    /// What an earlier version kept cannot be read; the next start tries again.
    cannot_take_over: bool,
}

impl CoordinatorThread {
    /// Runs until the pipeline ends.
    pub(super) fn run(mut self, inputs: &Receiver<Input>) -> PipelineEnd {
        self.status.set_component("store", Health::Ok, "checkpoint restored");
        for feed in &self.feeds {
            self.metrics.source_up(feed.label(), false);
            self.metrics.source_paused(feed.label(), false);
        }
        loop {
            match self.wait_for(inputs) {
                Ok(input) => {
                    self.handle(input);
                    for input in inputs.try_iter().take(INPUTS_PER_TURN_MAX - 1) {
                        self.handle(input);
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => self.tell(coordinator::Input::Stop),
            }
            self.end_troubles();
            self.tell_of_endings();
            self.take_over();
            self.coordinator.handle_timeout(now());
            while let Some(effect) = self.coordinator.poll_effect(now()) {
                if let Effect::End(end) = effect {
                    self.stop.cancel();
                    return self.ended(end);
                }
                self.carry_out(effect);
            }
        }
    }

    /// Tells of troubles of our own that are over by now.
    fn end_troubles(&mut self) {
        for alert in self.progress.troubles.take_over(now()) {
            self.tell(coordinator::Input::Alert(Box::new(alert)));
        }
    }

    /// Owners are told before what they answer for ends.
    fn tell_of_endings(&mut self) {
        let (_, rules) = self.rules.get();
        let Progress { endings, troubles, .. } = &mut self.progress;
        for alert in endings.look(now(), &rules, troubles) {
            self.tell(coordinator::Input::Alert(Box::new(alert)));
        }
    }

    /// Takes some more of what an earlier version kept into the ledger.
    fn take_over(&mut self) {
        if self.progress.cannot_take_over {
            return;
        }
        match take_over::next(&self.coordinator, &mut *self.store) {
            Ok(Some(input)) => self.tell(coordinator::Input::Ledger(input)),
            Ok(None) => {}
            Err(error) => {
                tracing::warn!("the ledger of an earlier version cannot be read: {error}");
                self.progress.cannot_take_over = true;
            }
        }
    }

    /// The next input, if one comes before something is due.
    fn wait_for(&self, inputs: &Receiver<Input>) -> Result<Input, RecvTimeoutError> {
        match self.coordinator.poll_timeout() {
            Some(due) => inputs.recv_timeout(due.since(now()).min(LOOK_EVERY)),
            None => inputs.recv_timeout(LOOK_EVERY),
        }
    }

    fn tell(&mut self, input: coordinator::Input) {
        self.coordinator.handle(now(), input);
    }

    fn handle(&mut self, input: Input) {
        match input {
            Input::Engine(input) => {
                if matches!(input, coordinator::Input::Stop) {
                    self.record_stop("stopped", coordinator::Input::Entry);
                }
                self.note(&input);
                self.tell(input);
            }
            Input::Rules(rules, done) => {
                self.progress.reloads.push_back(done);
                self.tell(coordinator::Input::Rules(rules));
            }
            Input::Act(request) => self.act(request),
            Input::Source { source_index, event } => self.handle_source(source_index, event),
            Input::SourceEnded { source_index, batches, result } => {
                self.progress.sources_ended += 1;
                let is_last = self.progress.sources_ended == self.feeds.len();
                let end = match &result {
                    Ok(()) => SourceEnd::Finished,
                    Err(SourceError::Fenced { .. }) => SourceEnd::Fenced,
                    Err(_) => SourceEnd::Failed,
                };
                match end {
                    SourceEnd::Finished if is_last => {
                        self.record_stop("finished", coordinator::Input::AtEnd);
                    }
                    SourceEnd::Failed => self.record_stop("failed", coordinator::Input::Entry),
                    // What is written from now on is of another process.
                    SourceEnd::Fenced | SourceEnd::Finished => {}
                }
                if let Err(error) = result {
                    self.set_source(source_index, Health::Failed, &error.to_string());
                    self.progress.failures.insert(source_index, error);
                }
                self.tell(coordinator::Input::Ended { source: source_index, batches, end });
            }
        }
    }

    /// Records that this process ends, once, and why: `stopped`, `finished` or `failed`.
    fn record_stop(&mut self, why: &str, input: fn(Box<Entry>) -> coordinator::Input) {
        if std::mem::replace(&mut self.progress.is_stop_recorded, true) {
            return;
        }
        let entry = Entry::new(EntryKind::Stop, env!("CARGO_PKG_VERSION"), why)
            .fact("rule_set", &self.rules.get().1.version)
            .fact("configuration", &self.configuration);
        self.tell(input(Box::new(entry)));
    }

    fn act(&mut self, request: ActRequest) {
        let ActRequest { act, reply } = request;
        if self.progress.store_is_down {
            // It would be done some time, and nobody knows when.
            drop(reply.send(Err(NotDone::StoreDown)));
            return;
        }
        tracing::info!(id = %act.id, by = act.by.name, what = act.what.as_str(), "somebody acts");
        self.progress.ticket += 1;
        let ticket = self.progress.ticket;
        self.progress.acts.insert(ticket, reply);
        self.tell(coordinator::Input::Act { ticket, act: Box::new(act) });
    }

    /// Logs and counts an input.
    fn note(&self, input: &coordinator::Input) {
        match input {
            coordinator::Input::Batch { detections, .. } => {
                self.metrics.record_batch(&detections.counts, &detections.dead_letters);
            }
            coordinator::Input::Outcome { notification, outcome } => {
                self.metrics.delivery(notification, outcome);
                log_outcome(&self.progress.said, notification, outcome);
            }
            coordinator::Input::Broken { thread } => {
                tracing::error!("thread {thread} broke down; its panic is in the log");
            }
            _ => {}
        }
    }

    fn set_source(&self, source_index: usize, health: Health, detail: &str) {
        if let Some(feed) = self.feeds.get(source_index) {
            self.metrics.source_up(feed.label(), health.is_ready());
            self.status.set_component(&feed.component, health, detail);
        }
    }

    /// Shows how a source is by what it has reported, and tells of what people must know.
    fn show_source(&mut self, source: usize) {
        let health = self.progress.sources.entry(source).or_default();
        let (state, detail) = health.health();
        let (is_known, unread) = (health.is_known(), health.unread());
        let is_shared = !health.strangers.is_empty();
        let unread_count = health.away.0.len();
        self.set_source(source, state, &detail);
        let Some(feed) = self.feeds.get(source) else { return };
        self.metrics.source_unread(feed.label(), unread_count);
        self.metrics.source_shared(feed.label(), is_shared);
        if is_known {
            self.tell_of(source, &PARTITIONS_UNREAD, unread.as_deref());
        }
    }

    /// Something about a source is so, or, without a `summary`, is so no longer.
    fn tell_of(&mut self, source: usize, sort: &OwnAlert, summary: Option<&str>) {
        let Some(feed) = self.feeds.get(source) else { return };
        let troubles = &mut self.progress.troubles;
        if let Some(alert) = troubles.set(now(), sort, &feed.component, summary) {
            self.tell(coordinator::Input::Alert(Box::new(alert)));
        }
    }

    /// Something about a source that has happened once.
    fn happened(&mut self, sort: &OwnAlert, about: &[(&str, &str)], summary: &str) {
        if let Some(alert) = self.progress.troubles.happened(now(), sort, about, summary) {
            self.tell(coordinator::Input::Alert(Box::new(alert)));
        }
    }

    fn handle_source(&mut self, source: usize, event: SourceEvent) {
        let health = self.progress.sources.entry(source).or_default();
        match event {
            SourceEvent::Ready { partitions } => {
                (health.read, health.unavailable) = (Some(partitions.len()), None);
                self.metrics.begin_partitions(&partitions);
                self.tell(coordinator::Input::Ready { source, partitions });
                self.show_source(source);
            }
            SourceEvent::Unavailable { detail } => {
                health.unavailable = Some(detail);
                self.forget_lag(source, None);
                self.tell(coordinator::Input::Unavailable { source });
                self.show_source(source);
            }
            SourceEvent::Away { partitions, why } => {
                let names = partitions.iter().map(ToString::to_string).collect();
                health.away = (names, why);
                self.forget_lag(source, Some(&partitions));
                self.tell(coordinator::Input::Away { source, partitions });
                self.show_source(source);
            }
            SourceEvent::Shared { with } => {
                health.strangers = with;
                let shared = (!health.strangers.is_empty()).then(|| health.shared());
                self.show_source(source);
                self.tell_of(source, &GROUP_SHARED, shared.as_deref());
            }
            SourceEvent::Begin { sequence, positions, is_rebuilding } => {
                let begin =
                    coordinator::Input::Begin { source, sequence, positions, is_rebuilding };
                self.tell(begin);
            }
            SourceEvent::Rebuilding { left } => {
                let is_first = health.rebuild_left == 0 && left > 0;
                health.rebuild_left = left;
                self.metrics.rebuild_left(left);
                self.show_source(source);
                if is_first {
                    self.state_was_lost(source, left);
                }
            }
            SourceEvent::Lag { partitions } => {
                self.metrics.set_lag(&partitions);
                for (partition, lag) in &partitions {
                    self.status.set_lag(partition, Some(*lag));
                }
            }
            SourceEvent::Behind { logs } => self.metrics.set_behind(&logs),
            SourceEvent::Gap { partition, records } => {
                tracing::error!(%partition, records, "records were deleted before they were read");
                self.metrics.records_lost(&partition, records);
                let name = partition.to_string();
                let summary =
                    format!("{records} records of {name} were gone before they were read");
                self.happened(&RECORDS_LOST, &[("partition", &name)], &summary);
                let records = records.cast_unsigned();
                self.tell(coordinator::Input::Ledger(LedgerInput::Lost { partition, records }));
            }
            SourceEvent::Rewound { partition, from, to } => {
                tracing::error!(%partition, from, to, "the partition was made anew; reading it again");
                self.metrics.source_rewound(&partition);
                let name = partition.to_string();
                let summary = format!(
                    "{name} is another log than it was (read to offset {from}); it is read from {to} on"
                );
                self.happened(&TOPIC_MADE_ANEW, &[("partition", &name)], &summary);
            }
            SourceEvent::Paused(paused) => {
                if let Some(feed) = self.feeds.get(source) {
                    self.metrics.source_paused(feed.label(), paused);
                }
            }
            SourceEvent::Degraded(Some(detail)) => {
                tracing::warn!(source, "{detail}");
                self.set_source(source, Health::Down, &detail);
            }
            SourceEvent::Degraded(None) => self.set_source(source, Health::Ok, "reads again"),
            SourceEvent::Trouble { what, count, detail } => {
                let Some(feed) = self.feeds.get(source) else { return };
                self.metrics.source_trouble(feed.label(), what, count);
                let key = format!("source\0{source}\0{what}");
                if let Some(times) = self.progress.said.happened(&key, Instant::now()) {
                    tracing::warn!(source = feed.label(), what, count, times, "{detail}");
                }
            }
        }
    }

    fn state_was_lost(&mut self, source: usize, left: i64) {
        let Some(feed) = self.feeds.get(source) else { return };
        let name = feed.component.clone();
        tracing::warn!(source = name, records = left, "the state was lost; rebuilding windows");
        let summary = "The state directory was empty although the group has our offsets: windows are \
                       rebuilt from the log, alerts that were owed are lost, and what rules remember \
                       for longer than a day begins anew";
        self.happened(&STATE_LOST, &[("source", &name)], summary);
    }

    /// How far we are behind is not known of what is not read: of these partitions, or all of a source.
    fn forget_lag(&self, source: usize, partitions: Option<&[Arc<PartitionName>]>) {
        let Some(feed) = self.feeds.get(source) else { return };
        let unread = match partitions {
            Some(partitions) => partitions.to_vec(),
            None => self.status.partitions_of(feed.name.as_ref()),
        };
        for partition in unread {
            self.metrics.forget_lag(&partition);
            self.status.set_lag(&partition, None);
        }
    }

    fn carry_out(&mut self, effect: Effect) {
        match effect {
            Effect::KeepDeadLetters(letters) => {
                self.progress.write_began.get_or_insert_with(Instant::now);
                let kept = keep_dead_letters(&mut *self.dead_letters, &letters);
                self.answer(kept);
            }
            Effect::Commit(checkpoint) => {
                self.publish_counts();
                self.watch_shed();
                let began = self.progress.write_began.take().unwrap_or_else(Instant::now);
                let committed = self.store.commit(&checkpoint);
                self.progress.state_is_gone = matches!(committed, Err(StoreError::Gone { .. }));
                let committed = committed.map_err(|error| error.to_string());
                if committed.is_ok() {
                    self.metrics.checkpoint_done(began.elapsed());
                    if std::mem::take(&mut self.progress.store_is_down) {
                        let detail = "checkpoints work again";
                        self.progress.said.over("store\0");
                        tracing::info!("{detail}");
                        self.status.set_component("store", Health::Ok, detail);
                    }
                }
                self.answer(committed);
            }
            Effect::NothingToCommit => {
                self.publish_counts();
                match self.store.check() {
                    Ok(()) => self.metrics.checkpoint_not_needed(),
                    Err(error) => {
                        self.status.set_component("store", Health::Failed, &error.to_string());
                    }
                }
            }
            Effect::Archive(rows) => {
                if let Some(archiver) = &self.archiver {
                    archiver.write(rows);
                } else {
                    let through = rows.last().map_or(0, |row| row.id);
                    self.tell(coordinator::Input::Archived { through });
                }
            }
            Effect::Publish(positions) => self.publish(&positions),
            Effect::Counted { bytes } => self.in_flight.remove(bytes),
            Effect::UseRules { epoch, rules, report } => {
                // Whoever sees that they are in force may rely on it.
                self.rules.replace(epoch, Arc::clone(&rules));
                tracing::info!(?report, version = rules.version, "rules replaced");
                let trigger = "replaced";
                self.tell(coordinator::Input::Ledger(LedgerInput::Rules { trigger }));
                self.metrics.rules_loaded(&rules);
                self.status.rules_loaded(rules);
                if let Some(done) = self.progress.reloads.pop_front() {
                    // Nobody waits for it if the files were only looked at.
                    let _ = done.send(());
                }
            }
            Effect::Attempt(notification) => self.delivery.start(notification),
            Effect::AlertChanged(alert) => {
                self.metrics.alert_changed(&alert);
                self.status.alert_changed(&alert);
                log_alert(&alert);
                (self.on_alert)(&alert);
            }
            Effect::Acted { ticket, answer } => {
                if let Some(reply) = self.progress.acts.remove(&ticket) {
                    // Whoever asked may have lost patience.
                    drop(reply.send(Ok(*answer)));
                }
            }
            Effect::ActsChanged(news) => self.status.acts_changed(news),
            Effect::WasAway(span) => {
                let seconds = span.as_secs();
                tracing::warn!(seconds, "nothing was looked at for a while; going on");
            }
            Effect::StopSources | Effect::End(_) => self.stop.cancel(),
        }
    }

    /// Says whether what was handed out is durable.
    fn answer(&mut self, result: Result<(), String>) {
        let Err(detail) = result else { return self.tell(coordinator::Input::Durable) };
        if let Some(times) =
            self.progress.said.happened(&format!("store\0{detail}"), Instant::now())
        {
            tracing::error!(times, "no checkpoint, so nothing is counted or sent: {detail}");
        }
        self.progress.write_began = None;
        self.progress.store_is_down = true;
        for reply in std::mem::take(&mut self.progress.acts).into_values() {
            drop(reply.send(Err(NotDone::StoreFailed)));
        }
        self.metrics.checkpoint_failed();
        // Only a restart mends a state that is gone, so whoever asks for our health is to make one.
        let gone = self.progress.state_is_gone;
        let health = if gone { Health::Failed } else { Health::Down };
        self.status.set_component("store", health, &detail);
        self.tell(coordinator::Input::NotDurable);
    }

    fn publish(&self, positions: &[Position]) {
        self.status.set_positions(positions);
        for feed in &self.feeds {
            let is_own = |position: &&Position| position.partition.source == feed.name;
            feed.committed.send_replace(positions.iter().filter(is_own).cloned().collect());
        }
    }

    fn publish_counts(&mut self) {
        let (metrics, member) = (&self.metrics, self.coordinator.member());
        let (shard, dispatcher) = (member.shard(), member.dispatcher());
        metrics.set_engine(&shard.counts());
        metrics.set_correlation_keys(shard.correlation_keys());
        metrics.set_correlation_bytes(shard.correlation_bytes(), shard.memory_budget());
        metrics.set_watermark(shard.watermark(), now());
        if let Some(watermark) = shard.watermark() {
            self.status.set_watermark(watermark);
        }
        metrics.set_dispatch(dispatcher.counts(), dispatcher.pending_count());
        metrics.receivers_failing(dispatcher.receivers());
        for receiver in dispatcher.receivers() {
            self.status.receiver(&receiver, now());
        }
        metrics.set_ledger(member.recorder());
        metrics.set_acts(dispatcher.acts());
        metrics.set_dead_letters_lost(self.dead_letters.dropped());
        metrics.set_batches_in_flight(self.in_flight.batches());
        self.tell_given_up();
    }

    /// Tells of partitions without which windows are closed.
    fn tell_given_up(&mut self) {
        let given_up: Vec<_> = self.coordinator.member().shard().given_up().cloned().collect();
        let mut news = Vec::new();
        for feed in &self.feeds {
            let own = given_up.iter().filter(|partition| partition.source == feed.name);
            let own: Vec<String> = own.map(ToString::to_string).collect();
            let summary = format!(
                "Windows are closed without {}, which cannot be read for longer than away_max; what \
                 piles up there comes late",
                own.iter().take(5).cloned().collect::<Vec<_>>().join(", ")
            );
            let summary = (!own.is_empty()).then_some(summary.as_str());
            let troubles = &mut self.progress.troubles;
            news.extend(troubles.set(now(), &CLOSED_WITHOUT, &feed.component, summary));
        }
        for alert in news {
            self.tell(coordinator::Input::Alert(Box::new(alert)));
        }
    }

    /// People hear of accesses that were shed.
    fn watch_shed(&mut self) {
        let shed = self.coordinator.member().recorder().counts().shed;
        if let Some(alert) = self.progress.shed.look(now(), shed) {
            self.tell(coordinator::Input::Alert(Box::new(alert)));
        }
    }

    fn ended(mut self, end: End) -> PipelineEnd {
        if let Some(archiver) = self.archiver.take() {
            archiver.finish();
        }
        let failures = &mut self.progress.failures;
        match end {
            End::Stopped { pending_count } => PipelineEnd::Stopped { pending_count },
            End::Finished => PipelineEnd::Finished,
            End::SourceFailed { source } | End::Fenced { source } => {
                PipelineEnd::Failed(failures.remove(&source).expect("it was told with the end"))
            }
            End::Broken { thread } => PipelineEnd::Broken { thread },
        }
    }
}

fn keep_dead_letters(sink: &mut dyn DeadLetterSink, letters: &[DeadLetter]) -> Result<(), String> {
    sink.append(now(), letters).and_then(|()| sink.sync()).map_err(|error| error.to_string())
}

fn log_alert(alert: &Alert) {
    tracing::info!(
        fingerprint = %alert.fingerprint,
        rule = alert.rule_id,
        state = ?alert.state,
        severity = alert.severity.as_str(),
        value = alert.value,
        "alert"
    );
}

/// Logs what came of an attempt. A receiver that takes nothing is one line for each thing that it says, and
/// now and then a reminder with the number of attempts.
fn log_outcome(quiet: &Quiet, notification: &Notification, outcome: &Outcome) {
    let Notification { id, receiver, notifier_index, .. } = notification;
    let recipient = notification.recipient.as_deref().unwrap_or_default();
    let who = format!("{receiver}\0{notifier_index}\0{recipient}\0");
    // Other words are news; another number in them (a duration, a port) is not.
    let times = |reason: &str, detail: &str| {
        let words: String = detail.chars().filter(|c| !c.is_ascii_digit()).take(80).collect();
        quiet.happened(&format!("{who}{reason}\0{words}"), Instant::now())
    };
    match outcome {
        Outcome::Delivered { receipt } => {
            if quiet.over(&who) {
                tracing::info!(receiver, recipient, "it takes notifications again");
            }
            let alerts = notification.alerts.len();
            let answer = receipt.as_ref().and_then(|receipt| receipt.values.get(ANSWER));
            // What a mail server said is all that is known there of a mail that is looked for.
            if let Some(answer) = answer {
                tracing::info!(%id, receiver, recipient, alerts, answer, "delivered");
            } else {
                tracing::debug!(%id, receiver, recipient, alerts, "delivered");
            }
        }
        Outcome::Retry { reason, detail, .. } => {
            let reason = reason.as_str();
            if let Some(times) = times(reason, detail) {
                tracing::warn!(%id, receiver, recipient, reason, detail, times, "delivery will be retried");
            }
        }
        Outcome::Rejected { reason, detail } => {
            let reason = reason.as_str();
            if let Some(times) = times(reason, detail) {
                tracing::error!(%id, receiver, recipient, reason, detail, times, "refused; it stays owed");
            }
        }
    }
}
