//! The loop that polls: batches out, pause and resume, offsets back, and a close that ends.

use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::Ordering, mpsc},
    thread,
    time::{Duration, Instant},
};

use rdkafka::{
    Offset, TopicPartitionList,
    consumer::{BaseConsumer, CommitMode, Consumer as _, ConsumerContext},
    error::KafkaError,
    types::RDKafkaErrorCode,
};

use super::{
    KafkaSettings,
    context::{Digest, NOWHERE, OwnerContext, PartitionStatistics, Tracked},
    health::ConnectionHealth,
    intake::Intake,
};
use crate::{
    engine::record::{PartitionName, Position, RecordBatch},
    source::{SINK_RETRY, SourceContext, SourceError, SourceEvent},
    telemetry::Quiet,
};

/// How long a poll waits when there is nothing: 100 ms. Stop and fencing are seen this late.
const POLL_WAIT: Duration = Duration::from_millis(100);

/// How long the first record of a batch waits for others: 20 ms.
const LINGER: Duration = Duration::from_millis(20);

/// Records between two looks at the clock while records come without waiting.
const RECORDS_PER_CLOCK: u32 = 64;

/// How long the sink may be full before partitions are paused: 1 s. Short of that the library's own
/// bounded queue holds the brokers back; pausing empties that queue, which is then read again.
const PAUSE_AFTER: Duration = Duration::from_secs(1);

/// How often a paused source polls and tries the sink.
const PAUSED_WAIT: Duration = Duration::from_millis(50);

/// How often the library is looked after: errors, statistics, commits.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);

/// How often offsets are committed at most.
const COMMIT_INTERVAL: Duration = Duration::from_secs(1);

/// How long closing may take. Then the consumer is left to the end of the process.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// How long the brokers are asked for the lag of one paused partition, and how many of them at once.
const WATERMARK_TIMEOUT: Duration = Duration::from_millis(500);
const WATERMARKS_MAX: usize = 16;

/// One run of the source.
///
/// pitfall: streams over split partition queues can lose a wake-up and stall, and a queue that is split
/// again while the old one is dropped is not read at all. This is one thread that polls one queue with
/// a timeout, always, whether the sink has room or not.
///
/// pitfall: one record a poll costs some 600 ns, mostly clocks and locks of the library. Its batch call
/// is cheaper, but swallows rebalances under this wrapper; what one thread reads is enough for a
/// stream that one process judges.
pub(super) struct Reader {
    consumer: BaseConsumer<OwnerContext>,
    /// The static member's id.
    instance: String,
    context: SourceContext,
    intake: Intake,
    health: ConnectionHealth,
    /// When the first record of the batch came.
    batch_began: Instant,
    /// A batch that the sink had no room for, and since when.
    waiting: Option<(RecordBatch, Instant)>,
    paused: bool,
    /// Whether the library's queue was empty at the last poll: what it fetched has been read.
    idle: bool,
    /// The assignment that was last reported.
    assignments: u64,
    assigned: Vec<Arc<Tracked>>,
    next_look: Instant,
    next_commit: Instant,
    /// Offsets that were committed.
    committed: BTreeMap<Arc<PartitionName>, i64>,
}

impl Reader {
    pub(super) fn new(
        consumer: BaseConsumer<OwnerContext>,
        settings: &KafkaSettings,
        instance: String,
        context: SourceContext,
    ) -> Reader {
        let now = Instant::now();
        Reader {
            consumer,
            instance,
            context,
            intake: Intake::new(settings.cluster.clone(), settings.cluster_header.clone()),
            health: ConnectionHealth::new(),
            batch_began: now,
            waiting: None,
            paused: false,
            idle: false,
            assignments: 0,
            assigned: Vec::new(),
            next_look: now,
            next_commit: now,
            committed: BTreeMap::new(),
        }
    }

    /// Reads until told to stop or fenced, then closes.
    pub(super) fn run(mut self) -> Result<(), SourceError> {
        let outcome = self.read();
        let last_offsets = if outcome.is_ok() { self.uncommitted() } else { Vec::new() };
        close(self.consumer, &last_offsets);
        outcome
    }

    fn read(&mut self) -> Result<(), SourceError> {
        while !self.context.stop.is_cancelled() {
            self.look_after()?;
            if self.waiting.is_some() {
                self.wait_for_room();
            } else {
                self.fill();
            }
        }
        Ok(())
    }

    /// Polls until the batch is full, has lingered, or nothing came; then offers it.
    fn fill(&mut self) {
        let mut wait = if self.intake.is_empty() { POLL_WAIT } else { Duration::ZERO };
        let mut records = 0_u32;
        while !self.intake.is_full() {
            match self.consumer.poll(wait) {
                Some(Ok(message)) => {
                    if self.intake.is_empty() {
                        (self.batch_began, self.idle) = (Instant::now(), false);
                    }
                    self.intake.push(self.consumer.context(), &message);
                    wait = Duration::ZERO;
                    records += 1;
                    if records.is_multiple_of(RECORDS_PER_CLOCK)
                        && self.batch_began.elapsed() >= LINGER
                    {
                        break;
                    }
                }
                // pitfall: transient errors come as items too and must not end the loop; what they
                // mean was noted by the context's `error`.
                Some(Err(_)) => {
                    self.next_look = Instant::now();
                    break;
                }
                None if self.intake.is_empty() => {
                    self.idle = true;
                    break;
                }
                None => {
                    wait = LINGER.saturating_sub(self.batch_began.elapsed());
                    if wait.is_zero() {
                        break;
                    }
                }
            }
        }
        let sink = &mut self.context.sink;
        if let Some(batch) = self.intake.take(|| sink.spare()) {
            self.offer(batch, Instant::now());
        }
    }

    fn offer(&mut self, batch: RecordBatch, since: Instant) {
        self.waiting = self.context.sink.offer(batch).err().map(|batch| (batch, since));
    }

    /// Tries the sink again; pauses if it has been full for long.
    fn wait_for_room(&mut self) {
        let Some((batch, since)) = self.waiting.take() else { return };
        self.offer(batch, since);
        if self.waiting.is_none() {
            if self.paused {
                self.set_paused(false);
            }
            return;
        }
        if !self.paused {
            if since.elapsed() < PAUSE_AFTER {
                thread::sleep(SINK_RETRY);
                return;
            }
            self.set_paused(true);
        }
        match self.consumer.poll(PAUSED_WAIT) {
            // A record that was already on its way belongs to the next batch.
            Some(Ok(message)) => self.intake.push(self.consumer.context(), &message),
            Some(Err(_)) => self.next_look = Instant::now(),
            None => {}
        }
    }

    /// Pauses or resumes all assigned partitions. The library drops what it holds of a paused
    /// partition and goes on after the last record that it gave out.
    fn set_paused(&mut self, paused: bool) {
        let list = self.consumer.assignment().and_then(|list| {
            if paused { self.consumer.pause(&list) } else { self.consumer.resume(&list) }
        });
        match list {
            Ok(()) => {
                if self.paused != paused {
                    (self.context.events)(SourceEvent::Paused(paused));
                }
                self.paused = paused;
            }
            Err(error) => tracing::warn!(%error, paused, "cannot pause or resume partitions"),
        }
    }

    /// Everything but records, every [`LOOK_INTERVAL`].
    fn look_after(&mut self) -> Result<(), SourceError> {
        let now = Instant::now();
        let assignments = self.consumer.context().assignments();
        if now < self.next_look && assignments == self.assignments {
            return Ok(());
        }
        self.next_look = now + LOOK_INTERVAL;
        self.check_fatal()?;
        if assignments != self.assignments {
            self.assignments = assignments;
            self.reassigned();
        }
        for rewind in self.intake.take_rewinds() {
            let (partition, from, to) = (rewind.partition, rewind.from, rewind.to);
            (self.context.events)(SourceEvent::Rewound { partition, from, to });
        }
        for (code, reason) in self.consumer.context().take_troubles() {
            if let Some((trouble, detail)) = self.health.judge(code, &reason)
                && self.health.fails(trouble, &detail, now)
            {
                (self.context.events)(SourceEvent::Unavailable { detail });
            }
        }
        if let Some(digest) = self.consumer.context().take_digest() {
            self.digest(&digest, now);
        }
        if now >= self.next_commit {
            self.next_commit = now + COMMIT_INTERVAL;
            self.commit();
        }
        Ok(())
    }

    /// A fatal error is looked for, not waited for: its event queues up behind fetched records, and a
    /// fenced process must deliver nothing more.
    fn check_fatal(&self) -> Result<(), SourceError> {
        match self.consumer.client().fatal_error() {
            None => Ok(()),
            Some((RDKafkaErrorCode::FencedInstanceId, _)) => {
                Err(SourceError::Fenced { instance: self.instance.clone() })
            }
            Some((code, text)) => Err(SourceError::Fatal(format!("Kafka source: {text} ({code})"))),
        }
    }

    fn reassigned(&mut self) {
        let before: Vec<Arc<PartitionName>> = self.partitions();
        self.assigned = self.consumer.context().assigned();
        if self.paused {
            // New partitions are not paused yet.
            self.set_paused(true);
        }
        let begun = self.consumer.context().take_begun();
        if !begun.is_empty() {
            let offsets: Vec<_> =
                begun.into_iter().map(|(name, offset)| (Arc::new(name), offset)).collect();
            send_offsets(&self.consumer, &offsets, CommitMode::Async);
        }
        let partitions = self.partitions();
        if !partitions.is_empty() && (self.health.works() || partitions != before) {
            let list: Vec<String> = partitions.iter().map(ToString::to_string).collect();
            tracing::info!(partitions = %list.join(" "), "Kafka partitions assigned");
            (self.context.events)(SourceEvent::Ready { partitions });
        }
    }

    fn partitions(&self) -> Vec<Arc<PartitionName>> {
        self.assigned.iter().map(|tracked| Arc::clone(&tracked.name)).collect()
    }

    fn digest(&mut self, digest: &Digest, now: Instant) {
        if digest.connected {
            if self.health.connected(!self.assigned.is_empty()) {
                (self.context.events)(SourceEvent::Ready { partitions: self.partitions() });
            }
        } else {
            let (trouble, detail) = self.health.disconnected(digest.is_silent);
            if self.health.fails(trouble, &detail, now) {
                (self.context.events)(SourceEvent::Unavailable { detail });
            }
        }
        let mut lags = Vec::with_capacity(self.assigned.len());
        for tracked in &self.assigned {
            let Some(statistics) = digest.partitions.get(&*tracked.name) else { continue };
            if let Some(records) = lost(tracked, statistics, self.idle) {
                let partition = Arc::clone(&tracked.name);
                (self.context.events)(SourceEvent::Gap { partition, records });
            }
            let next = tracked.next.load(Ordering::Relaxed);
            // Transactions end with a record that only the library sees, so when all is read, its
            // position counts.
            let position = match next {
                _ if self.idle => next.max(statistics.fetch),
                NOWHERE => statistics.low,
                _ => next,
            };
            if statistics.end >= 0 && position >= 0 {
                lags.push((Arc::clone(&tracked.name), (statistics.end - position).max(0)));
            }
        }
        if self.paused && digest.connected {
            self.ask_for_ends(&mut lags);
        }
        if !lags.is_empty() {
            (self.context.events)(SourceEvent::Lag { partitions: lags });
        }
    }

    /// Statistics know the ends of partitions from fetches, and there are none while paused.
    fn ask_for_ends(&self, lags: &mut [(Arc<PartitionName>, i64)]) {
        for (name, lag) in lags.iter_mut().take(WATERMARKS_MAX) {
            let Some(tracked) = self.assigned.iter().find(|tracked| tracked.name == *name) else {
                continue;
            };
            let next = tracked.next.load(Ordering::Relaxed);
            match self.consumer.fetch_watermarks(&name.topic, name.partition, WATERMARK_TIMEOUT) {
                Ok((_, end)) if next != NOWHERE => *lag = (end - next).max(0),
                Ok(_) => {}
                Err(_) => return,
            }
        }
    }

    /// Offsets that a checkpoint covers and that the group does not know yet.
    fn uncommitted(&mut self) -> Vec<(Arc<PartitionName>, i64)> {
        let positions = self.context.committed.borrow_and_update();
        let ours = |position: &&Position| {
            self.assigned.iter().any(|tracked| tracked.name == position.partition)
                && self.committed.get(&position.partition) != Some(&position.next_offset)
        };
        let pair = |position: &Position| (Arc::clone(&position.partition), position.next_offset);
        positions.iter().filter(ours).map(pair).collect()
    }

    fn commit(&mut self) {
        if !self.context.committed.has_changed().unwrap_or(false) {
            return;
        }
        let offsets = self.uncommitted();
        if send_offsets(&self.consumer, &offsets, CommitMode::Async) {
            self.committed.extend(offsets);
        }
    }
}

/// Records between a position and the first one that still exists. Tells each loss once.
fn lost(tracked: &Tracked, statistics: &PartitionStatistics, idle: bool) -> Option<i64> {
    let begin = tracked.hole.0.swap(NOWHERE, Ordering::Relaxed);
    let end = tracked.hole.1.swap(NOWHERE, Ordering::Relaxed);
    if begin != NOWHERE && statistics.low > begin {
        return Some(statistics.low.min(end) - begin);
    }
    // Nothing is left to be read, so no record shows the hole.
    let next = tracked.next.load(Ordering::Relaxed);
    if idle && next != NOWHERE && statistics.low > next && statistics.fetch >= statistics.low {
        tracked.next.store(statistics.low, Ordering::Relaxed);
        return Some(statistics.low - next);
    }
    None
}

fn send_offsets<C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    offsets: &[(Arc<PartitionName>, i64)],
    mode: CommitMode,
) -> bool {
    if offsets.is_empty() {
        return true;
    }
    let mut list = TopicPartitionList::with_capacity(offsets.len());
    for (name, offset) in offsets {
        let added = list.add_partition_offset(&name.topic, name.partition, Offset::Offset(*offset));
        if let Err(error) = added {
            tracing::warn!(%error, partition = %name, "cannot commit an offset");
        }
    }
    match consumer.commit(&list, mode) {
        Ok(()) => true,
        Err(error) => {
            uncommitted(&error);
            false
        }
    }
}

/// What was logged of commits that failed.
static COMMITS: Quiet = Quiet::new();

/// Offsets were not committed. They are tried again every second.
pub(super) fn uncommitted(error: &KafkaError) {
    if let Some(times) = COMMITS.happened(&error.to_string(), Instant::now()) {
        tracing::warn!(%error, times, "offsets were not committed to Kafka; the checkpoint has them");
    }
}

/// Commits and closes.
///
/// pitfall: dropping a consumer polls until the group is left, for ever if the brokers are gone. It
/// happens on a thread of its own with a deadline; the process ends soon after anyway.
pub(super) fn close<C: ConsumerContext + 'static>(
    consumer: BaseConsumer<C>,
    offsets: &[(Arc<PartitionName>, i64)],
) {
    let (done, closed) = mpsc::sync_channel(1);
    let offsets = offsets.to_vec();
    let body = move || {
        // pitfall: a list from `position()` that still lives makes this hang; none is ever taken.
        send_offsets(&consumer, &offsets, CommitMode::Sync);
        drop(consumer);
        // Nobody waits any more after the deadline.
        let _ = done.send(());
    };
    match thread::Builder::new().name("kafka-close".to_owned()).spawn(body) {
        Ok(_) if closed.recv_timeout(CLOSE_TIMEOUT).is_ok() => {}
        Ok(_) => tracing::warn!("the Kafka consumer did not close in time and is left behind"),
        Err(error) => tracing::warn!(%error, "no thread to close the Kafka consumer"),
    }
}
