//! The one thread that owns shard, dispatcher and store.
//!
//! It takes batches in the order of their sources, tells the engine, writes the checkpoints that the
//! engine asks for, and carries out the effects that they have covered. While the store fails,
//! nothing is sent and nothing further is taken in, so sources pause and no state is lost.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        mpsc::{Receiver, RecvTimeoutError},
    },
    time::{Duration, Instant},
};

use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::{
    counted,
    delivery::Delivery,
    feed::{CurrentRules, InFlight, qualified_topic},
    pipeline::{PipelineEnd, PipelineSettings, now, positions_of},
    self_alert,
};
use crate::{
    engine::{
        alert::{Alert, AlertState},
        detector::{DeadLetter, DetectionBatch},
        dispatch::{Notification, Outcome},
        member::{Effect, Member},
        record::{PartitionName, Position},
        rule::RuleSet,
        time::WallTime,
    },
    server::Health,
    source::{SourceError, SourceEvent},
    store::{Loaded, dead_letter::DeadLetterSink},
};

/// What the coordinator is told.
pub(super) enum Input {
    /// Detections of one batch.
    Batch { source_index: usize, bytes: usize, detections: DetectionBatch },
    /// An attempt came back.
    Outcome { notification: Arc<Notification>, outcome: Outcome },
    /// Another rule set, and whom to tell that it is in force.
    Rules(Arc<RuleSet>, oneshot::Sender<()>),
    /// An alert about Tripline itself.
    Tell(Box<Alert>),
    /// A source reports.
    Source { source_index: usize, event: SourceEvent },
    /// A source's thread returned.
    SourceEnded { source_index: usize, result: Result<(), SourceError> },
    /// A thread panicked.
    Broken { thread: String },
    /// Stop.
    Stop,
}

/// Inputs taken between two looks at timers and the checkpoint: 256.
const INPUTS_PER_TURN_MAX: usize = 256;

/// How long the coordinator sleeps at most when nothing is due.
const NAP: Duration = Duration::from_millis(250);

/// A turn that takes longer than this is a pause: 5 seconds, many times [`NAP`].
const PAUSE: Duration = Duration::from_secs(5);

/// What the coordinator keeps of a source.
pub(super) struct Feed {
    /// Name that the operator gave it.
    pub(super) name: Option<String>,
    /// Its name in `/readyz`.
    pub(super) component: String,
    /// Where positions go that a checkpoint covers.
    pub(super) committed: tokio::sync::watch::Sender<Vec<Position>>,
}

/// Batches of one source that arrived before their turn.
#[derive(Default)]
struct Reorder {
    next_sequence: u64,
    early: BTreeMap<u64, (usize, DetectionBatch)>,
}

pub(super) struct Coordinator {
    settings: PipelineSettings,
    member: Member,
    delivery: Delivery,
    feeds: Vec<Feed>,
    in_flight: Arc<InFlight>,
    rules: Arc<CurrentRules>,
    stop: CancellationToken,
    reorder: BTreeMap<usize, Reorder>,
    /// Since the last checkpoint; bounded by what may be in flight.
    dead_letters: Vec<DeadLetter>,
    attempts_under_way: usize,
    checkpoint_at: Instant,
    sources_running: usize,
    /// Sources that can be read now, with their partitions.
    sources_ready: BTreeMap<usize, Vec<Arc<PartitionName>>>,
    /// When event time was last looked at, by both clocks.
    looked_at: (Instant, WallTime),
    stopping_since: Option<Instant>,
    failure: Option<SourceError>,
    /// Nothing is finished any more: another process owns the stream, and what is not yet durable is
    /// its to find; or a thread is missing.
    ends_at_once: bool,
}

impl Coordinator {
    pub(super) fn new(
        settings: PipelineSettings,
        loaded: Loaded,
        delivery: Delivery,
        feeds: Vec<Feed>,
        in_flight: Arc<InFlight>,
        rules: Arc<CurrentRules>,
        stop: CancellationToken,
    ) -> Coordinator {
        let mut member =
            Member::new(Arc::clone(&settings.rules), settings.engine.clone(), &settings.plan);
        let (report, groups_unusable) = member.restore(loaded.positions, loaded.entries);
        // What is restored is as old as the checkpoint; its time goes on when a source can be read.
        member.handle_unavailable();
        // The rules that this process began with were accepted, whatever an earlier one was told.
        let accepted = self_alert::reload_failed(now(), AlertState::Resolved, "");
        if member.dispatcher().is_told(accepted.fingerprint) {
            member.handle_alert(now(), accepted);
        }
        tracing::info!(?report, groups_unusable, "checkpoint restored");
        settings.metrics.alerts_restored(member.shard().alerts_firing());
        for alert in member.shard().alerts_firing() {
            settings.status.alert_changed(alert);
        }
        settings.metrics.rules_loaded(&settings.rules);
        settings.status.rules_loaded(Arc::clone(&settings.rules));
        settings.status.set_component("store", Health::Ok, "checkpoint restored");
        let sources_running = feeds.len();
        Coordinator {
            settings,
            member,
            delivery,
            feeds,
            in_flight,
            rules,
            stop,
            reorder: BTreeMap::new(),
            dead_letters: Vec::new(),
            attempts_under_way: 0,
            checkpoint_at: Instant::now(),
            sources_running,
            sources_ready: BTreeMap::new(),
            looked_at: (Instant::now(), now()),
            stopping_since: None,
            failure: None,
            ends_at_once: false,
        }
    }

    /// Runs until the pipeline ends.
    pub(super) fn run(mut self, inputs: &Receiver<Input>) -> PipelineEnd {
        loop {
            let received = inputs.recv_timeout(self.nap());
            self.notice_a_pause();
            match received {
                Ok(input) => {
                    self.handle(input);
                    for input in inputs.try_iter().take(INPUTS_PER_TURN_MAX - 1) {
                        self.handle(input);
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            if self.ends_at_once {
                break;
            }
            self.member.handle_timeout(now());
            let due = self.checkpoint_at.elapsed() >= self.settings.checkpoint_interval;
            if (self.member.has_waiting_effects() || due) && !self.checkpoint() {
                break;
            }
            self.carry_out();
            if self.is_done() {
                break;
            }
        }
        // The checkpoint may have been given up because of what waits here.
        for input in inputs.try_iter() {
            if matches!(input, Input::SourceEnded { .. } | Input::Broken { .. } | Input::Stop) {
                self.handle(input);
            }
        }
        self.end()
    }

    /// While this process did not look (it was suspended, the disk was stuck, or the clock was set
    /// forward), partitions were not silent: their silence begins anew.
    fn notice_a_pause(&mut self) {
        let (instant, wall) = std::mem::replace(&mut self.looked_at, (Instant::now(), now()));
        let (looked_at, wall_now) = self.looked_at;
        let pause = looked_at.duration_since(instant).max(wall_now.since(wall));
        if pause < PAUSE {
            return;
        }
        tracing::warn!(seconds = pause.as_secs(), "nothing was looked at for a while; going on");
        for partitions in self.sources_ready.values() {
            self.member.handle_ready(wall_now, partitions);
        }
    }

    /// How long to wait for input: until the next timer, at most [`NAP`].
    fn nap(&self) -> Duration {
        let now = now();
        let until_timer = self.member.poll_timeout().map_or(NAP, |due| due.since(now));
        let until_checkpoint = if self.member.has_changes() {
            self.settings.checkpoint_interval.saturating_sub(self.checkpoint_at.elapsed())
        } else {
            NAP
        };
        until_timer.min(until_checkpoint).min(NAP)
    }

    fn handle(&mut self, input: Input) {
        match input {
            Input::Batch { source_index, bytes, detections } => {
                let reorder = self.reorder.entry(source_index).or_default();
                reorder.early.insert(detections.sequence, (bytes, detections));
                while let Some((bytes, batch)) = self.next_in_order(source_index) {
                    self.handle_batch(&batch);
                    self.in_flight.remove(bytes);
                }
            }
            Input::Outcome { notification, outcome } => {
                self.attempts_under_way = self.attempts_under_way.saturating_sub(1);
                self.settings.metrics.delivery(&notification, &outcome);
                log_outcome(&notification, &outcome);
                self.member.handle_outcome(now(), &notification, outcome);
            }
            Input::Rules(rules, done) => {
                let epoch = self.rules.get().0 + 1;
                let report = self.member.replace_rules(now(), Arc::clone(&rules), epoch);
                tracing::info!(?report, version = rules.version, "rules replaced");
                self.settings.metrics.rules_loaded(&rules);
                self.settings.status.rules_loaded(Arc::clone(&rules));
                self.settings.rules = Arc::clone(&rules);
                self.rules.replace(epoch, rules);
                // Nobody waits for it if the files were only looked at.
                let _ = done.send(());
            }
            Input::Tell(alert) => self.member.handle_alert(now(), *alert),
            Input::Source { source_index, event } => self.handle_source(source_index, event),
            Input::SourceEnded { source_index, result } => {
                self.sources_running = self.sources_running.saturating_sub(1);
                if let Err(error) = result {
                    self.set_source(source_index, Health::Failed, &error.to_string());
                    self.ends_at_once |= matches!(error, SourceError::Fenced { .. });
                    self.failure.get_or_insert(error);
                    self.begin_stop();
                }
            }
            Input::Broken { thread } => {
                let what = format!("thread {thread} broke down; its panic is in the log");
                tracing::error!("{what}");
                self.failure.get_or_insert(SourceError::Fatal(what));
                self.ends_at_once = true;
                self.begin_stop();
            }
            Input::Stop => self.begin_stop(),
        }
    }

    fn begin_stop(&mut self) {
        self.stop.cancel();
        self.stopping_since.get_or_insert_with(Instant::now);
    }

    fn next_in_order(&mut self, source_index: usize) -> Option<(usize, DetectionBatch)> {
        let reorder = self.reorder.get_mut(&source_index)?;
        let next = reorder.early.remove(&reorder.next_sequence)?;
        reorder.next_sequence += 1;
        Some(next)
    }

    fn handle_batch(&mut self, batch: &DetectionBatch) {
        let now = now();
        self.settings.metrics.record_batch(&batch.counts, &batch.dead_letters);
        self.dead_letters.extend(batch.dead_letters.iter().cloned());
        self.member.handle_batch(now, batch);
    }

    fn set_source(&self, source_index: usize, health: Health, detail: &str) {
        self.settings.metrics.source_up(source_index, health == Health::Ok);
        if let Some(feed) = self.feeds.get(source_index) {
            self.settings.status.set_component(&feed.component, health, detail);
        }
    }

    /// Partitions of a source under the names that they have in the checkpoint.
    fn qualified(
        &self,
        source_index: usize,
        partitions: &[Arc<PartitionName>],
    ) -> Vec<Arc<PartitionName>> {
        let name = self.feeds.get(source_index).and_then(|feed| feed.name.as_deref());
        let qualify = |partition: &Arc<PartitionName>| match name {
            None => Arc::clone(partition),
            Some(name) => {
                let topic = qualified_topic(name, &partition.topic);
                Arc::new(PartitionName { topic, partition: partition.partition })
            }
        };
        partitions.iter().map(qualify).collect()
    }

    fn handle_source(&mut self, source_index: usize, event: SourceEvent) {
        match event {
            SourceEvent::Ready { partitions } => {
                let detail = format!("reads {}", counted(partitions.len(), "partition"));
                self.set_source(source_index, Health::Ok, &detail);
                let partitions = self.qualified(source_index, &partitions);
                self.member.handle_ready(now(), &partitions);
                self.sources_ready.insert(source_index, partitions);
            }
            SourceEvent::Unavailable { detail } => {
                self.set_source(source_index, Health::Down, &detail);
                self.sources_ready.remove(&source_index);
                if self.sources_ready.is_empty() {
                    self.member.handle_unavailable();
                }
            }
            SourceEvent::Lag { partitions } => {
                self.settings.metrics.set_lag(&partitions);
                for (partition, lag) in &partitions {
                    self.settings.status.set_lag(partition, *lag);
                }
            }
            SourceEvent::Gap { partition, records } => {
                tracing::error!(%partition, records, "records were deleted before they were read");
                self.settings.metrics.records_lost(&partition, records);
            }
            SourceEvent::Rewound { partition, from, to } => {
                tracing::error!(%partition, from, to, "the partition was made anew; reading it again");
                self.settings.metrics.source_rewound(&partition);
            }
            SourceEvent::Paused(paused) => {
                self.settings.metrics.source_paused(source_index, paused);
            }
        }
    }

    /// Makes durable what was decided; tries again until it works. False if told to stop meanwhile.
    fn checkpoint(&mut self) -> bool {
        self.publish_counts();
        self.checkpoint_at = Instant::now();
        let mut wait = Duration::from_millis(100);
        let mut failed = false;
        loop {
            let Some(checkpoint) = self.member.checkpoint() else {
                self.settings.metrics.checkpoint_not_needed();
                return true;
            };
            let begun = Instant::now();
            // Dead letters first: their records are passed over by the positions.
            let result = keep_dead_letters(&mut *self.settings.dead_letters, &self.dead_letters)
                .and_then(|()| {
                    // Kept once, however often the rest has to be tried.
                    self.dead_letters.clear();
                    self.settings.store.commit(checkpoint).map_err(|error| error.to_string())
                });
            let Err(detail) = result else {
                self.settings.metrics.checkpoint_done(begun.elapsed());
                break;
            };
            self.settings.metrics.checkpoint_failed();
            self.settings.status.set_component("store", Health::Down, &detail);
            failed = true;
            if self.stop.is_cancelled() {
                return false;
            }
            std::thread::sleep(wait);
            wait = (wait * 2).min(Duration::from_secs(5));
        }
        if failed {
            self.settings.status.set_component("store", Health::Ok, "checkpoints work again");
        }
        let durable = self.member.checkpoint_durable().unwrap_or_default();
        if !durable.positions.is_empty() {
            self.settings.status.set_positions(&durable.positions);
            for feed in &self.feeds {
                let own = positions_of(&durable.positions, feed.name.as_deref());
                feed.committed.send_replace(own);
            }
        }
        self.checkpoint_at = Instant::now();
        true
    }

    fn publish_counts(&self) {
        let (metrics, shard) = (&self.settings.metrics, self.member.shard());
        metrics.set_engine(&shard.counts());
        metrics.set_correlation_keys(shard.correlation_keys());
        metrics.set_watermark(shard.watermark(), now());
        if let Some(watermark) = shard.watermark() {
            self.settings.status.set_watermark(watermark);
        }
        let dispatcher = self.member.dispatcher();
        metrics.set_dispatch(dispatcher.counts(), dispatcher.pending_count());
        metrics.set_dead_letters_lost(self.settings.dead_letters.dropped());
        metrics.set_batches_in_flight(self.in_flight.batches());
    }

    /// Carries out what the checkpoint has covered.
    fn carry_out(&mut self) {
        while let Some(effect) = self.member.poll_effect() {
            match effect {
                Effect::Attempt(notification) => {
                    self.attempts_under_way += 1;
                    self.delivery.start(notification);
                }
                Effect::AlertChanged(alert) => {
                    self.settings.metrics.alert_changed(&alert);
                    self.settings.status.alert_changed(&alert);
                    log_alert(&alert);
                    (self.settings.on_alert)(&alert);
                }
            }
        }
    }

    /// Whether everything is finished that a stop waits for, or the end of all sources. Windows and
    /// alerts that are open then stay in the checkpoint, for the next run over what comes after.
    fn is_done(&self) -> bool {
        let idle = self.sources_running == 0 && self.in_flight.batches() == 0;
        let pending = self.member.dispatcher().pending_count();
        let drained = pending == 0 && self.attempts_under_way == 0;
        match self.stopping_since {
            None => idle && drained,
            Some(since) => (idle && drained) || since.elapsed() >= self.settings.drain,
        }
    }

    fn end(mut self) -> PipelineEnd {
        let pending_count = self.member.dispatcher().pending_count();
        if !matches!(self.failure, Some(SourceError::Fenced { .. })) {
            self.checkpoint();
        }
        match self.failure.take() {
            Some(error) => PipelineEnd::Failed(error),
            None if self.stopping_since.is_some() => PipelineEnd::Stopped { pending_count },
            None => PipelineEnd::Finished,
        }
    }
}

fn keep_dead_letters(sink: &mut dyn DeadLetterSink, letters: &[DeadLetter]) -> Result<(), String> {
    if letters.is_empty() {
        return Ok(());
    }
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

fn log_outcome(notification: &Notification, outcome: &Outcome) {
    let (id, receiver) = (notification.id, &notification.receiver);
    match outcome {
        Outcome::Delivered { .. } => {
            tracing::debug!(%id, receiver, alerts = notification.alerts.len(), "delivered");
        }
        Outcome::Retry { reason, detail, .. } => {
            tracing::warn!(%id, receiver, reason = reason.as_str(), detail, "delivery will be retried");
        }
        Outcome::Rejected { reason, detail } => {
            tracing::error!(%id, receiver, reason = reason.as_str(), detail, "delivery rejected");
        }
    }
}
