//! A stretch of Kafka topics by time, for `backtest`: read once, in the order of time, to its end.
//!
//! It joins no group, commits nothing and so disturbs no running Tripline. Partitions are merged batch
//! by batch by the timestamps of their records, because windows span partitions. These timestamps
//! are Kafka's: an audit event is usually some seconds older than the record that holds it.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::{Duration, Instant},
};

use rdkafka::{
    Message as _, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer as _, ConsumerContext},
    error::KafkaError,
    message::BorrowedMessage,
};

use super::{
    KafkaSettings,
    intake::{Clusters, written_at},
    reader::close,
    refused,
    settings::is_pattern,
};
use crate::{
    engine::{
        limits::RECORD_BYTES_MAX,
        record::{PartitionName, RecordBatch},
        time::WallTime,
    },
    kafka::{Callbacks, OpenConnection},
    source::{BATCH_BYTES_MAX, Progress, RecordReader, SourceError},
};

/// How long the brokers may take to answer a question about topics and offsets: 15 s.
const ASK_TIMEOUT: Duration = Duration::from_secs(15);

/// How long nothing may come before reading is given up: 60 s.
const SILENCE_MAX: Duration = Duration::from_secs(60);

/// How long one poll waits.
const POLL_WAIT: Duration = Duration::from_millis(50);

/// Records of one batch: 512.
const BATCH_RECORDS: usize = 512;

/// Time that one batch spans, in milliseconds: 5 s. Partitions are merged in steps of this size; it
/// must stay far below `grace` and `idle_after`, or events of a slow partition would come late.
const BATCH_SPAN_MS: i64 = 5_000;

/// Bytes held of all partitions while they wait for each other: 256 MiB. Partitions that are ahead
/// are paused; each may hold at least 2 MiB.
const HELD_BYTES_MAX: usize = 256 << 20;

/// What is not for users to change.
const FIXED: [(&str, &str); 4] = [
    ("enable.auto.commit", "false"),
    ("enable.auto.offset.store", "false"),
    ("auto.offset.reset", "earliest"),
    // A partition may end with records that only the library sees (markers of transactions).
    ("enable.partition.eof", "true"),
];

impl ConsumerContext for Callbacks {}

type Reader = BaseConsumer<Callbacks>;

/// One topic; end-of-partition events name no topic, so each has a consumer of its own.
struct Topic {
    /// `None` once it is closed.
    consumer: Option<Reader>,
    partitions: Vec<Partition>,
}

struct Partition {
    name: Arc<PartitionName>,
    next: i64,
    end: i64,
    finished: bool,
    paused: bool,
    /// The batch that is being filled, and the time of its first record.
    open: RecordBatch,
    open_time: i64,
    /// Batches that wait for other partitions.
    ready: VecDeque<(i64, RecordBatch)>,
    held_bytes: usize,
}

/// A stretch of topics.
pub struct KafkaRange {
    topics: Vec<Topic>,
    cluster: Option<Arc<str>>,
    clusters: Clusters,
    held_bytes_max: usize,
    sequence: u64,
    done: u64,
    total: u64,
}

impl std::fmt::Debug for KafkaRange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KafkaRange").field("total", &self.total).finish_non_exhaustive()
    }
}

impl KafkaRange {
    /// Finds the topics and the offsets at which the stretch begins and ends: from the first record
    /// at `from` or later, up to the last before `until`, or before now. Blocks the thread.
    ///
    /// # Errors
    /// If the brokers do not answer, or no topic is there.
    pub fn open(
        settings: &KafkaSettings,
        connection: &OpenConnection,
        from: Option<WallTime>,
        until: Option<WallTime>,
    ) -> Result<KafkaRange, SourceError> {
        // Assigning needs the name of a group, which is never joined.
        let group = format!("{}-backtest", settings.group);
        let mut fixed = FIXED.to_vec();
        fixed.push(("group.id", &group));
        let connect = || {
            let (config, callbacks) = connection.clone().into_client(&super::DEFAULTS, &fixed);
            config.create_with_context::<Callbacks, Reader>(callbacks).map_err(refused)
        };
        let mut topics = Vec::new();
        for (name, partition_count) in find_topics(&connect()?, settings)? {
            topics.push(Topic::open(connect()?, &name, partition_count, from, until)?);
        }
        let partitions = || topics.iter().flat_map(|topic| &topic.partitions);
        let count = partitions().count().max(1);
        let total = partitions().map(|partition| length(partition.next, partition.end)).sum();
        Ok(KafkaRange {
            cluster: settings.cluster.clone(),
            clusters: Clusters::new(settings.cluster_header.clone()),
            held_bytes_max: (HELD_BYTES_MAX / count).max(2 * BATCH_BYTES_MAX),
            sequence: 0,
            done: 0,
            total,
            topics,
        })
    }

    /// Reads until every partition has a batch ready or is at its end.
    fn fill(&mut self) -> Result<(), SourceError> {
        let mut progress_at = Instant::now();
        while let Some(topic) =
            self.topics.iter_mut().find(|topic| topic.partitions.iter().any(Partition::is_wanted))
        {
            topic.pause_and_resume(self.held_bytes_max);
            let Some(consumer) = &topic.consumer else { break };
            match consumer.poll(POLL_WAIT) {
                Some(Ok(message)) => {
                    progress_at = Instant::now();
                    let cluster = self.clusters.of(&message);
                    let cluster = cluster.as_ref().or(self.cluster.as_ref());
                    let number = message.partition();
                    if let Some(partition) = find(&mut topic.partitions, number) {
                        partition.push(&message, cluster);
                    }
                }
                Some(Err(KafkaError::PartitionEOF(number))) => {
                    progress_at = Instant::now();
                    if let Some(partition) = find(&mut topic.partitions, number) {
                        partition.finish();
                    }
                }
                // Transient; the library tries again and the silence below is bounded.
                Some(Err(error)) => tracing::debug!(%error, "while reading a stretch of Kafka"),
                None if progress_at.elapsed() > SILENCE_MAX => {
                    let seconds = SILENCE_MAX.as_secs();
                    let detail = format!("Kafka: nothing came for {seconds} s");
                    return Err(SourceError::Fatal(detail));
                }
                None => {}
            }
        }
        Ok(())
    }
}

impl RecordReader for KafkaRange {
    fn next_batch(&mut self) -> Result<Option<RecordBatch>, SourceError> {
        self.fill()?;
        let waiting = self.topics.iter_mut().flat_map(|topic| &mut topic.partitions);
        let earliest = waiting
            .filter(|partition| !partition.ready.is_empty())
            .min_by_key(|partition| partition.ready.front().map(|(time, _)| *time));
        let Some(partition) = earliest else { return Ok(None) };
        let Some((_, mut batch)) = partition.ready.pop_front() else { return Ok(None) };
        partition.held_bytes -= batch.payload.len();
        batch.sequence = self.sequence;
        self.sequence += 1;
        self.done += batch.records.len() as u64;
        Ok(Some(batch))
    }

    fn progress(&self) -> Progress {
        Progress { done: self.done, total: Some(self.total) }
    }
}

impl Drop for KafkaRange {
    fn drop(&mut self) {
        for consumer in self.topics.iter_mut().filter_map(|topic| topic.consumer.take()) {
            close(consumer, |_| ());
        }
    }
}

impl Topic {
    fn open(
        consumer: Reader,
        name: &str,
        partition_count: i32,
        from: Option<WallTime>,
        until: Option<WallTime>,
    ) -> Result<Topic, SourceError> {
        let from = offsets_at(&consumer, name, partition_count, from)?;
        let until = offsets_at(&consumer, name, partition_count, until)?;
        let mut partitions = Vec::new();
        let mut list = TopicPartitionList::new();
        for number in 0..partition_count {
            let ends = consumer.fetch_watermarks(name, number, ASK_TIMEOUT);
            let (low, high) = ends.map_err(|error| unanswered(name, &error))?;
            let next = from.get(&number).map_or(low, |offset| (*offset).clamp(low, high));
            let end = until.get(&number).map_or(high, |offset| (*offset).min(high));
            partitions.push(Partition::new(name, number, next, end));
            if next < end {
                let added = list.add_partition_offset(name, number, Offset::Offset(next));
                added.map_err(|error| unanswered(name, &error))?;
            }
        }
        consumer.assign(&list).map_err(|error| unanswered(name, &error))?;
        Ok(Topic { consumer: Some(consumer), partitions })
    }

    /// Holds back partitions that are ahead, and those that are done.
    fn pause_and_resume(&mut self, held_bytes_max: usize) {
        let Some(consumer) = &self.consumer else { return };
        for partition in &mut self.partitions {
            let too_much = partition.held_bytes > held_bytes_max;
            let little = partition.held_bytes <= held_bytes_max / 4 && !partition.finished;
            let paused = if partition.paused { !little } else { too_much || partition.finished };
            if paused == partition.paused {
                continue;
            }
            partition.paused = paused;
            let mut list = TopicPartitionList::new();
            list.add_partition(&partition.name.topic, partition.name.partition);
            let done = if paused { consumer.pause(&list) } else { consumer.resume(&list) };
            if let Err(error) = done {
                tracing::debug!(%error, partition = %partition.name, "cannot pause or resume");
            }
        }
    }
}

impl Partition {
    fn new(topic: &str, number: i32, next: i64, end: i64) -> Partition {
        let name = PartitionName::new(topic, number);
        Partition {
            name: Arc::new(name),
            next,
            end,
            finished: next >= end,
            paused: false,
            open: RecordBatch::default(),
            open_time: 0,
            ready: VecDeque::new(),
            held_bytes: 0,
        }
    }

    /// Whether the merge cannot go on without more of it.
    fn is_wanted(&self) -> bool {
        self.ready.is_empty() && !self.finished
    }

    fn push(&mut self, message: &BorrowedMessage<'_>, cluster: Option<&Arc<str>>) {
        let offset = message.offset();
        if self.finished || offset < self.next {
            return;
        }
        if offset >= self.end {
            self.finish();
            return;
        }
        self.next = offset + 1;
        let time = message.timestamp().to_millis().unwrap_or(i64::MIN);
        if time.saturating_sub(self.open_time) >= BATCH_SPAN_MS {
            self.close_batch();
        }
        if self.open.records.is_empty() {
            self.open_time = time;
        }
        let payload =
            message.payload().map(|bytes| bytes.get(..=RECORD_BYTES_MAX).unwrap_or(bytes));
        self.held_bytes += payload.map_or(0, <[u8]>::len);
        self.open.push_at(&self.name, offset, cluster, written_at(message), payload);
        if self.next >= self.end {
            self.finish();
        } else if self.open.records.len() >= BATCH_RECORDS
            || self.open.payload.len() >= BATCH_BYTES_MAX
        {
            self.close_batch();
        }
    }

    fn finish(&mut self) {
        self.finished = true;
        self.close_batch();
    }

    fn close_batch(&mut self) {
        let batch = std::mem::take(&mut self.open);
        if !batch.records.is_empty() {
            self.ready.push_back((self.open_time, batch));
        }
    }
}

fn find(partitions: &mut [Partition], number: i32) -> Option<&mut Partition> {
    partitions.iter_mut().find(|partition| partition.name.partition == number)
}

fn length(from: i64, to: i64) -> u64 {
    u64::try_from(to - from).unwrap_or(0)
}

fn unanswered(topic: &str, error: &KafkaError) -> SourceError {
    SourceError::Fatal(format!("Kafka topic {topic}: {error}"))
}

/// Names and numbers of partitions of the topics that the settings mean.
fn find_topics(
    consumer: &Reader,
    settings: &KafkaSettings,
) -> Result<Vec<(String, i32)>, SourceError> {
    let metadata = consumer
        .fetch_metadata(None, ASK_TIMEOUT)
        .map_err(|error| SourceError::Fatal(format!("Kafka: {error}")))?;
    let (wanted, patterns) = (&settings.topics, settings.patterns());
    let is_wanted = |name: &str| settings.names(name) || settings.is_matched(&patterns, name);
    let mut found: Vec<(String, i32)> = metadata
        .topics()
        .iter()
        .filter(|topic| is_wanted(topic.name()))
        .map(|topic| {
            (topic.name().to_owned(), i32::try_from(topic.partitions().len()).unwrap_or(i32::MAX))
        })
        .collect();
    found.sort();
    let missing = wanted
        .iter()
        .find(|topic| !is_pattern(topic) && found.iter().all(|(name, _)| name != *topic));
    match missing {
        Some(topic) => Err(SourceError::Fatal(format!("there is no Kafka topic {topic}"))),
        None if found.is_empty() => {
            Err(SourceError::Fatal(format!("no Kafka topic matches {}", wanted.join(", "))))
        }
        None => Ok(found),
    }
}

/// The offset of the first record at a time or later, by partition; the end if there is none. Empty
/// without a time.
fn offsets_at(
    consumer: &Reader,
    topic: &str,
    partition_count: i32,
    time: Option<WallTime>,
) -> Result<BTreeMap<i32, i64>, SourceError> {
    let Some(time) = time else { return Ok(BTreeMap::new()) };
    let mut list = TopicPartitionList::new();
    for number in 0..partition_count {
        let added = list.add_partition_offset(topic, number, Offset::Offset(time.micros() / 1_000));
        added.map_err(|error| unanswered(topic, &error))?;
    }
    let answered = consumer.offsets_for_times(list, ASK_TIMEOUT);
    let answered = answered.map_err(|error| unanswered(topic, &error))?;
    let offset = |offset| if let Offset::Offset(offset) = offset { offset } else { i64::MAX };
    let elements = answered.elements();
    Ok(elements.iter().map(|element| (element.partition(), offset(element.offset()))).collect())
}
