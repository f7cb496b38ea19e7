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
};

use super::{
    KafkaSettings,
    assignment::{Assignment, Consumer},
    context::{Digest, NOWHERE, PartitionStatistics, Tracked, uncommitted},
    fence::Fence,
    health::{ConnectionHealth, Trouble},
    intake::Intake,
    neighbours::Neighbours,
};
use crate::{
    engine::record::{PartitionName, Position, RecordBatch},
    kafka::OpenConnection,
    source::{SINK_RETRY, SURE_FOR, SourceContext, SourceError, SourceEvent},
};

/// How long a poll waits when there is nothing: 100 ms. Stop and fencing are seen this late.
const POLL_WAIT: Duration = Duration::from_millis(100);

/// How long the first record of a batch waits for others: 5 ms. An alert waits as long; each batch costs some steps.
const LINGER: Duration = Duration::from_millis(5);

/// Records between two looks at the clock while records come without waiting.
const RECORDS_PER_CLOCK: u32 = 64;

/// How long the sink may be full before partitions are paused: 1 s. Short of that the library's own
/// bounded queue holds the brokers back; pausing empties that queue, which is then read again.
const PAUSE_AFTER: Duration = Duration::from_secs(1);

/// How often a paused source polls and tries the sink.
const PAUSED_WAIT: Duration = Duration::from_millis(50);

/// How often the library is looked after: errors, statistics, commits.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);

/// How often it is looked which partitions there are: every 10 s, and at once while none is read.
const SURVEY_INTERVAL: Duration = Duration::from_secs(10);
const SURVEY_INTERVAL_MIN: Duration = Duration::from_secs(1);

/// How often it is looked whether there are other credentials than those that fail: every second, and for so
/// long after one broker of many has refused them.
const RENEWAL_INTERVAL: Duration = Duration::from_secs(1);
const RENEWAL_WAIT: Duration = Duration::from_secs(60);

/// How soon another consumer takes the place of one that never reads some partitions again: after 1 min.
const SUCCESSOR_INTERVAL: Duration = Duration::from_secs(60);

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
    settings: KafkaSettings,
    connection: OpenConnection,
    consumer: Arc<Consumer>,
    fence: Fence,
    assignment: Assignment,
    neighbours: Neighbours,
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
    /// The same at the last digest, and nothing was read or begun since.
    is_at_rest: bool,
    /// Whether any broker was connected when that was last known.
    is_connected: bool,
    assigned: Vec<Arc<Tracked>>,
    /// Who else was in the group when it was looked at last.
    strangers: Option<String>,
    looked_at: Instant,
    next_look: Instant,
    next_survey: Instant,
    next_commit: Instant,
    next_renewal: Instant,
    /// Until when other credentials are looked for, since a broker has refused these.
    renewal_until: Instant,
    /// Not before that another consumer takes the place of one that never reads some partitions again.
    next_successor: Instant,
    /// Offsets that were committed.
    committed: BTreeMap<Arc<PartitionName>, i64>,
}

impl Reader {
    pub(super) fn new(
        consumer: Consumer,
        fence: Fence,
        settings: KafkaSettings,
        connection: OpenConnection,
        context: SourceContext,
    ) -> Reader {
        let now = Instant::now();
        let consumer = Arc::new(consumer);
        Reader {
            assignment: Assignment::new(&settings, &context.positions, context.rebuild),
            neighbours: Neighbours::watch(&consumer, &settings),
            consumer,
            connection,
            fence,
            context,
            intake: Intake::new(settings.cluster.clone(), settings.cluster_header.clone()),
            settings,
            health: ConnectionHealth::new(),
            batch_began: now,
            waiting: None,
            paused: false,
            idle: false,
            is_at_rest: false,
            is_connected: true,
            assigned: Vec::new(),
            strangers: None,
            looked_at: now,
            next_look: now,
            next_survey: now,
            next_commit: now,
            next_renewal: now,
            renewal_until: now,
            next_successor: now,
            committed: BTreeMap::new(),
        }
    }

    /// Reads until told to stop or fenced, then closes.
    pub(super) fn run(mut self) -> Result<(), SourceError> {
        let outcome = self.read();
        if outcome.is_ok() {
            self.context.claim.give_up();
            let offsets = self.uncommitted();
            close((self.consumer, self.fence), move |(consumer, _)| {
                send_offsets(consumer, &offsets, CommitMode::Sync);
            });
        } else {
            close((self.consumer, self.fence), |_| ());
        }
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
                        self.batch_began = Instant::now();
                        (self.idle, self.is_at_rest) = (false, false);
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
            self.waiting = Some((batch, Instant::now()));
            self.wait_for_room();
        }
    }

    fn offer(&mut self, batch: RecordBatch, since: Instant) {
        self.waiting = self.context.sink.offer(batch).err().map(|batch| (batch, since));
    }

    /// Tries the sink again; pauses if it has been full for long.
    fn wait_for_room(&mut self) {
        if self.was_away() {
            self.listen();
            return;
        }
        let Some((batch, since)) = self.waiting.take() else { return };
        self.offer(batch, since);
        if self.waiting.is_none() {
            if self.paused {
                self.set_paused(false);
            }
        } else if !self.paused && since.elapsed() < PAUSE_AFTER {
            thread::sleep(SINK_RETRY);
        } else {
            self.listen();
        }
    }

    /// Hears what the library has to say while nothing is read.
    fn listen(&mut self) {
        if !self.paused {
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
        if now < self.next_look {
            return Ok(());
        }
        self.next_look = now + LOOK_INTERVAL;
        self.fence.poll()?;
        self.hear_of_troubles(now);
        let digest = self.consumer.context().take_digest();
        if let Some(digest) = &digest {
            self.hear_of_connection(digest, now);
        }
        if now >= self.next_renewal
            && (now < self.renewal_until || self.health.may_need_credentials())
        {
            self.next_renewal = now + RENEWAL_INTERVAL;
            self.renew()?;
        }
        // Brokers that do not answer are not asked, or nothing else would be done but wait for them.
        if self.was_away() && !(self.is_connected && self.is_still_ours()?) {
            return Ok(());
        }
        // A renewal has looked later.
        self.looked_at = self.looked_at.max(now);
        if self.fence.is_owner() {
            self.context.claim.is_sure();
        }
        // What was read before is counted before, so that the batch with which a partition begins is known.
        if self.fence.is_owner() && self.waiting.is_none() && self.intake.is_empty() {
            self.assign(now);
        }
        for rewind in self.intake.take_rewinds() {
            let (partition, from, to) = (rewind.partition, rewind.from, rewind.to);
            (self.context.events)(SourceEvent::Rewound { partition, from, to });
        }
        if let Some(members) = self.neighbours.latest()
            && self.strangers.as_ref() != Some(&members.strangers)
        {
            self.strangers = Some(members.strangers.clone());
            (self.context.events)(SourceEvent::Shared { with: members.strangers });
        }
        if let Some(digest) = digest {
            self.digest(&digest);
            self.assignment.strand(digest.stranded);
            if digest.connected && now >= self.next_successor {
                self.leave_stranded(now)?;
            }
        }
        if now >= self.next_commit {
            self.next_commit = now + COMMIT_INTERVAL;
            self.commit();
            if self.is_connected && !self.fence.is_known() {
                // Once credentials are refused, nobody can be asked any more.
                self.is_still_ours()?;
            }
        }
        Ok(())
    }

    /// What the library said since the last look.
    fn hear_of_troubles(&mut self, now: Instant) {
        for (code, reason) in self.consumer.context().take_troubles() {
            if let Some((trouble, detail)) = self.health.judge(code, &reason) {
                self.may_renew(trouble, now);
                self.fails(trouble, detail, now);
                // Whether it is over shows when topics are looked at.
                self.next_survey = self.next_survey.min(now + SURVEY_INTERVAL_MIN);
            }
        }
        for (code, reason) in self.fence.take_troubles() {
            let reason = format!("group {}: {reason}", self.fence.group());
            if let Some((trouble, detail)) = self.health.judge(code, &reason) {
                self.may_renew(trouble, now);
                if !self.fence.is_owner() {
                    self.fails(trouble, detail, now);
                }
            }
        }
    }

    /// That no broker answers is told before anything is asked of them.
    fn hear_of_connection(&mut self, digest: &Digest, now: Instant) {
        self.is_connected = digest.connected;
        if !digest.connected {
            let (trouble, detail) = self.health.disconnected(digest.is_silent);
            self.fails(trouble, detail, now);
        }
    }

    /// Other credentials are looked for from now on, if these were refused.
    fn may_renew(&mut self, trouble: Trouble, now: Instant) {
        if trouble == Trouble::Credentials {
            self.renewal_until = now + RENEWAL_WAIT;
        }
    }

    /// Connects anew if files hold other secrets or certificates than those that fail, and goes on where
    /// reading was. As long as the brokers do not take them either, all stays as it is.
    ///
    /// # Errors
    /// If the stream is another process's by now: to join again would take it back.
    fn renew(&mut self) -> Result<(), SourceError> {
        let Some(connection) = self.connection.renewed() else { return Ok(()) };
        let context = |callbacks| self.consumer.context().succeeded(callbacks);
        let consumer = super::open(&self.settings, connection.clone(), context)?;
        match self.fence.is_left_to_us(&consumer) {
            Ok(left) => left?,
            Err(error) => {
                tracing::debug!(%error, "the brokers do not take the changed credentials either");
                return Ok(());
            }
        }
        tracing::info!("secrets or certificates of the Kafka source changed; using them");
        let fence = Fence::join_own(&self.settings, connection.clone())?;
        let fence = std::mem::replace(&mut self.fence, fence);
        self.read_through(consumer, fence);
        self.connection = connection;
        self.renewal_until = Instant::now();
        // Closing took its time, and whose the stream is was just asked.
        self.looked_at = Instant::now();
        Ok(())
    }

    /// Reads partitions through another consumer that this one never reads again. The other one has heard of no leader
    /// yet, so it believes the brokers.
    fn leave_stranded(&mut self, now: Instant) -> Result<(), SourceError> {
        let stranded = self.assignment.stranded();
        if stranded.is_empty() {
            return Ok(());
        }
        let partitions = stranded.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
        tracing::warn!(
            %partitions,
            "the leaders that the brokers name are older than those before, as after a restore from a backup; reading \
             these through a new consumer"
        );
        self.next_successor = now + SUCCESSOR_INTERVAL;
        let context = |callbacks| self.consumer.context().succeeded(callbacks);
        let consumer = super::open(&self.settings, self.connection.clone(), context)?;
        self.read_through(consumer, ());
        self.next_survey = now;
        Ok(())
    }

    /// Goes on through another consumer where reading was, and closes the one before, and what goes with it.
    fn read_through<T: Send + 'static>(&mut self, consumer: Consumer, closed_with: T) {
        let before = std::mem::replace(&mut self.consumer, Arc::new(consumer));
        close((before, closed_with), |_| ());
        self.neighbours = Neighbours::watch(&self.consumer, &self.settings);
        if self.paused {
            // The new consumer is not; whoever waits for room pauses it again.
            self.paused = false;
            (self.context.events)(SourceEvent::Paused(false));
        }
        self.assignment.tell_again();
    }

    /// Whether this process was suspended, or the machine stood still, and the stream may have been lost
    /// meanwhile. Kafka is asked before anything more is handed over; else this process would count what another
    /// one has.
    fn was_away(&self) -> bool {
        self.looked_at.elapsed() > SURE_FOR
    }

    /// Asks Kafka whether the stream is still ours, if it ever was.
    fn is_still_ours(&mut self) -> Result<bool, SourceError> {
        match self.assigned.first() {
            Some(tracked) => self.fence.confirm(&tracked.name.topic),
            None => Ok(true),
        }
    }

    fn fails(&mut self, trouble: Trouble, detail: String, now: Instant) {
        if self.health.fails(trouble, &detail, now) {
            (self.context.events)(SourceEvent::Unavailable { detail });
        }
    }

    /// Looks which partitions there are, and reads those.
    fn assign(&mut self, now: Instant) {
        let ids = self.consumer.context().take_ids();
        self.assignment.learn(&self.consumer, ids);
        let mut is_sound = false;
        if now >= self.next_survey && self.is_connected {
            match self.assignment.survey(&self.consumer) {
                Ok(None) => is_sound = true,
                Ok(Some((code, reason))) => {
                    if let Some((trouble, detail)) = self.health.judge(code, &reason) {
                        self.fails(trouble, detail, now);
                    }
                }
                // Statistics tell whether that means anything.
                Err(error) => tracing::debug!(%error, "the brokers do not say what there is"),
            }
            let works = is_sound && !self.assignment.read().is_empty();
            let interval = if works { SURVEY_INTERVAL } else { SURVEY_INTERVAL_MIN };
            self.next_survey = Instant::now() + interval;
        }
        for event in self.assignment.settle(&self.consumer, self.intake.sequence()) {
            self.is_at_rest &= !matches!(event, SourceEvent::Begin { .. });
            (self.context.events)(event);
        }
        // The group is to know, so that a new state directory begins where this one did.
        let fresh = self.assignment.take_fresh();
        self.send_offsets(&fresh);
        self.reassigned(is_sound);
    }

    /// Tells if other partitions are read than before, or some are read again after a trouble.
    fn reassigned(&mut self, is_sound: bool) {
        let before: Vec<Arc<PartitionName>> = self.partitions();
        self.assigned = self.assignment.read();
        let partitions = self.partitions();
        if partitions != before {
            if self.paused {
                // New partitions are not paused yet.
                self.set_paused(true);
            }
            let list: Vec<String> = partitions.iter().map(ToString::to_string).collect();
            tracing::info!(partitions = %list.join(" "), "reading Kafka partitions");
        }
        let has_changed = partitions != before || is_sound;
        if !partitions.is_empty() && has_changed && (self.health.works() || partitions != before) {
            (self.context.events)(SourceEvent::Ready { partitions });
        }
    }

    fn partitions(&self) -> Vec<Arc<PartitionName>> {
        self.assigned.iter().map(|tracked| Arc::clone(&tracked.name)).collect()
    }

    fn digest(&mut self, digest: &Digest) {
        if digest.connected && self.health.connected(!self.assigned.is_empty()) {
            (self.context.events)(SourceEvent::Ready { partitions: self.partitions() });
        }
        // pitfall: statistics overtake the records that they count as fetched. What is not there at the next
        // ones either is none that we are given.
        let was_at_rest = std::mem::replace(&mut self.is_at_rest, self.idle);
        let fetched = |name: &PartitionName| {
            let statistics = digest.partitions.get(name).filter(|_| self.idle && was_at_rest)?;
            Some(statistics.fetch)
        };
        self.assignment.look_at_rebuild(fetched);
        let mut lags = Vec::with_capacity(self.assigned.len());
        for tracked in &self.assigned {
            let Some(statistics) = digest.partitions.get(&*tracked.name) else { continue };
            if let Some(records) = lost(tracked, statistics, self.idle) {
                let partition = Arc::clone(&tracked.name);
                (self.context.events)(SourceEvent::Gap { partition, records });
            }
            if statistics.end >= 0 {
                tracked.end.store(statistics.end, Ordering::Relaxed);
            }
            let next = tracked.next.load(Ordering::Relaxed);
            // Transactions end with a record that only the library sees, so when all is read, its
            // position counts.
            let position = match next {
                _ if self.idle => next.max(statistics.fetch),
                NOWHERE => statistics.low,
                _ => next,
            };
            let is_held = (0..=position).contains(&statistics.stable)
                && statistics.stable < statistics.end
                && self.idle;
            self.assignment.hold(&tracked.name, is_held, Instant::now());
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
    fn uncommitted(&mut self) -> Vec<MarkedOffset> {
        let positions = self.context.committed.borrow_and_update();
        let ours = |position: &&Position| {
            self.assigned.iter().any(|tracked| tracked.name == position.partition)
                && self.committed.get(&position.partition) != Some(&position.next_offset)
        };
        let marked = |position: &Position| {
            let mark = self.assignment.mark(&position.partition.topic);
            (Arc::clone(&position.partition), position.next_offset, mark)
        };
        positions.iter().filter(ours).map(marked).collect()
    }

    fn commit(&mut self) {
        if !self.context.committed.has_changed().unwrap_or(false) {
            return;
        }
        let offsets: Vec<(Arc<PartitionName>, i64)> =
            self.uncommitted().into_iter().map(|(name, offset, _)| (name, offset)).collect();
        if self.send_offsets(&offsets) {
            self.committed.extend(offsets);
        }
    }

    fn send_offsets(&self, offsets: &[(Arc<PartitionName>, i64)]) -> bool {
        let marked: Vec<MarkedOffset> = offsets
            .iter()
            .map(|(name, offset)| (Arc::clone(name), *offset, self.assignment.mark(&name.topic)))
            .collect();
        send_offsets(&self.consumer, &marked, CommitMode::Async)
    }
}

/// A partition, its offset, and what is committed beside it.
type MarkedOffset = (Arc<PartitionName>, i64, String);

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
    offsets: &[MarkedOffset],
    mode: CommitMode,
) -> bool {
    if offsets.is_empty() {
        return true;
    }
    let mut list = TopicPartitionList::with_capacity(offsets.len());
    for (name, offset, mark) in offsets {
        let added = list.add_partition_offset(&name.topic, name.partition, Offset::Offset(*offset));
        if let Err(error) = added {
            tracing::warn!(%error, partition = %name, "cannot commit an offset");
        } else if let Some(mut element) = list.find_partition(&name.topic, name.partition) {
            element.set_metadata(mark);
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

/// Does what is left to be done with consumers, and closes them.
///
/// pitfall: dropping a consumer polls until the group is left, for ever if the brokers are gone. It
/// happens on a thread of its own with a deadline; the process ends soon after anyway.
pub(super) fn close<C: Send + 'static>(consumers: C, last: impl FnOnce(&C) + Send + 'static) {
    let (done, closed) = mpsc::sync_channel(1);
    let body = move || {
        // pitfall: a list from `position()` that still lives makes this hang; none is ever taken.
        last(&consumers);
        drop(consumers);
        // Nobody waits any more after the deadline.
        let _ = done.send(());
    };
    match thread::Builder::new().name("kafka-close".to_owned()).spawn(body) {
        Ok(_) if closed.recv_timeout(CLOSE_TIMEOUT).is_ok() => {}
        Ok(_) => tracing::warn!("the Kafka consumer did not close in time and is left behind"),
        Err(error) => tracing::warn!(%error, "no thread to close the Kafka consumer"),
    }
}
