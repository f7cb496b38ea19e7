//! The consumer's callbacks: which partitions it has and where each begins, statistics, errors.
//!
//! pitfall: all callbacks run inside `poll`, on the polling thread; what they do not finish there is
//! too late. They share partitions with the reader through atomics, so that the reader takes no lock
//! for a record.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
    time::Duration,
};

use rdkafka::{
    ClientContext, Offset, Statistics, TopicPartitionList,
    client::OAuthToken,
    config::RDKafkaLogLevel,
    consumer::{BaseConsumer, Consumer as _, ConsumerContext, RebalanceProtocol},
    error::{KafkaError, KafkaResult, RDKafkaErrorCode},
    statistics::Broker,
    topic_partition_list::TopicPartitionListElem,
    types::RDKafkaRespErr,
};

use super::settings::Start;
use crate::{
    engine::record::{PartitionName, Position},
    kafka::Callbacks,
};

/// How long the group's coordinator may take to say what it remembers: 10 s. It is asked only when
/// `start: latest` needs to know whether a partition is new.
const COMMITTED_TIMEOUT: Duration = Duration::from_secs(10);

/// Errors kept until the reader looks at them: 32. Further ones are in the log only.
const TROUBLES_MAX: usize = 32;

/// For how long a broker may owe an answer and send nothing until it counts as away: 8 s. A fetch is
/// answered within half a second if there is nothing to be had.
const SILENCE_MICROS: i64 = 8_000_000;

/// No record of the partition was read yet and no position is known.
pub(super) const NOWHERE: i64 = -1;

/// One partition that was assigned at some time of this run.
#[derive(Debug)]
pub(super) struct Tracked {
    pub(super) name: Arc<PartitionName>,
    /// Where reading goes on, or [`NOWHERE`]. Written by the reader for every record.
    pub(super) next: AtomicI64,
    /// The widest hole in the offsets since the last statistics: where it begins and ends, or
    /// [`NOWHERE`]. Compaction and transactions leave holes too; statistics tell them from a loss.
    pub(super) hole: (AtomicI64, AtomicI64),
}

impl Tracked {
    fn new(name: Arc<PartitionName>, next: i64) -> Arc<Tracked> {
        let hole = (AtomicI64::new(NOWHERE), AtomicI64::new(NOWHERE));
        Arc::new(Tracked { name, next: AtomicI64::new(next), hole })
    }
}

/// What statistics say about one partition.
#[derive(Clone, Copy, Debug)]
pub(super) struct PartitionStatistics {
    /// First offset that exists, or negative.
    pub(super) low: i64,
    /// Offset after the last record that can be read, or negative.
    pub(super) end: i64,
    /// Where the library fetches next, which may be far ahead of what it gave out, or negative.
    pub(super) fetch: i64,
}

/// What the reader takes from one round of statistics.
#[derive(Debug, Default)]
pub(super) struct Digest {
    /// Whether any broker is connected, and answers.
    pub(super) connected: bool,
    /// Whether one is connected, and none answers.
    pub(super) is_silent: bool,
    pub(super) partitions: BTreeMap<PartitionName, PartitionStatistics>,
}

#[derive(Debug, Default)]
struct Shared {
    tracked: BTreeMap<PartitionName, Arc<Tracked>>,
    assigned: BTreeSet<PartitionName>,
    troubles: VecDeque<(RDKafkaErrorCode, String)>,
    digest: Option<Digest>,
    /// Where partitions begin that were set to their end; told to the group at once, so that a
    /// restart before the first checkpoint does not skip again.
    begun: Vec<(PartitionName, i64)>,
}

/// The context of the one consumer.
#[derive(Debug)]
pub(super) struct OwnerContext {
    callbacks: Callbacks,
    /// Name of the source.
    source: Option<Arc<str>>,
    start: Start,
    /// Counts up whenever the assignment changes.
    assignments: AtomicU64,
    shared: Mutex<Shared>,
}

impl OwnerContext {
    pub(super) fn new(
        callbacks: Callbacks,
        source: Option<Arc<str>>,
        start: Start,
        positions: &[Position],
    ) -> OwnerContext {
        let tracked = |position: &Position| {
            let name = Arc::clone(&position.partition);
            ((*name).clone(), Tracked::new(name, position.next_offset))
        };
        let shared =
            Shared { tracked: positions.iter().map(tracked).collect(), ..Shared::default() };
        OwnerContext {
            callbacks,
            source,
            start,
            assignments: AtomicU64::new(0),
            shared: Mutex::new(shared),
        }
    }

    fn shared(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes with the assignment; cheap enough for every record.
    pub(super) fn assignments(&self) -> u64 {
        self.assignments.load(Ordering::Relaxed)
    }

    /// The assigned partitions, by name.
    pub(super) fn assigned(&self) -> Vec<Arc<Tracked>> {
        let shared = self.shared();
        shared.assigned.iter().filter_map(|name| shared.tracked.get(name).cloned()).collect()
    }

    /// The partition of a record; makes it known if it is not.
    pub(super) fn track(&self, topic: &str, partition: i32) -> Arc<Tracked> {
        let name = self.name_of(topic, partition);
        Arc::clone(track(&mut self.shared(), name))
    }

    fn name_of(&self, topic: &str, partition: i32) -> PartitionName {
        PartitionName { source: self.source.clone(), ..PartitionName::new(topic, partition) }
    }

    fn name_in(&self, element: &TopicPartitionListElem<'_>) -> PartitionName {
        self.name_of(element.topic(), element.partition())
    }

    /// Errors since the last call, oldest first.
    pub(super) fn take_troubles(&self) -> VecDeque<(RDKafkaErrorCode, String)> {
        std::mem::take(&mut self.shared().troubles)
    }

    /// Where partitions were set to begin since the last call, for the group to remember.
    pub(super) fn take_begun(&self) -> Vec<(PartitionName, i64)> {
        std::mem::take(&mut self.shared().begun)
    }

    /// The newest statistics, once.
    pub(super) fn take_digest(&self) -> Option<Digest> {
        self.shared().digest.take()
    }

    /// Sets where each newly assigned partition begins: where this run stands, else the checkpoint,
    /// else what the group remembers, else `start`.
    fn set_starts(&self, consumer: &BaseConsumer<Self>, list: &mut TopicPartitionList) {
        let names: Vec<PartitionName> = list.elements().iter().map(|e| self.name_in(e)).collect();
        let mut unknown = TopicPartitionList::new();
        let mut known_topics = BTreeSet::new();
        {
            let mut shared = self.shared();
            let with_position =
                |tracked: &&Arc<Tracked>| tracked.next.load(Ordering::Relaxed) != NOWHERE;
            for tracked in shared.tracked.values().filter(with_position) {
                known_topics.insert(tracked.name.topic.clone());
            }
            for name in &names {
                let next = track(&mut shared, name.clone()).next.load(Ordering::Relaxed);
                let offset = if next == NOWHERE {
                    unknown.add_partition(&name.topic, name.partition);
                    Offset::Stored
                } else {
                    Offset::Offset(next)
                };
                set_offset(list, name, offset);
                shared.assigned.insert(name.clone());
            }
        }
        // With `earliest` the library does the rest: stored offset, else the first record.
        if self.start == Start::Latest && unknown.count() > 0 {
            self.skip_to_end(consumer, unknown, &known_topics, list);
        }
    }

    /// Lets partitions that nobody knows begin at their end. Those of a topic that is known were
    /// added to it since, so all of their records are new.
    fn skip_to_end(
        &self,
        consumer: &BaseConsumer<Self>,
        unknown: TopicPartitionList,
        known_topics: &BTreeSet<String>,
        list: &mut TopicPartitionList,
    ) {
        let stored = match consumer.committed_offsets(unknown, COMMITTED_TIMEOUT) {
            Ok(stored) => stored,
            Err(error) => {
                tracing::warn!(%error, "cannot ask for the group's offsets; reading from the first record");
                return;
            }
        };
        let elements = stored.elements();
        let has_offset = |offset: Offset| matches!(offset, Offset::Offset(0..));
        let mut known: BTreeSet<&str> = known_topics.iter().map(String::as_str).collect();
        known.extend(
            elements.iter().filter(|e| has_offset(e.offset())).map(TopicPartitionListElem::topic),
        );
        for element in &elements {
            if has_offset(element.offset()) || known.contains(element.topic()) {
                continue;
            }
            let name = self.name_in(element);
            let ends = consumer.fetch_watermarks(&name.topic, name.partition, COMMITTED_TIMEOUT);
            let Ok((_, end)) = ends else {
                set_offset(list, &name, Offset::End);
                continue;
            };
            set_offset(list, &name, Offset::Offset(end));
            let mut shared = self.shared();
            track(&mut shared, name.clone()).next.store(end, Ordering::Relaxed);
            shared.begun.push((name, end));
        }
    }
}

fn track(shared: &mut Shared, name: PartitionName) -> &Arc<Tracked> {
    shared
        .tracked
        .entry(name)
        .or_insert_with_key(|name| Tracked::new(Arc::new(name.clone()), NOWHERE))
}

fn set_offset(list: &mut TopicPartitionList, name: &PartitionName, offset: Offset) {
    if let Err(error) = list.set_partition_offset(&name.topic, name.partition, offset) {
        tracing::error!(%error, partition = %name, "cannot set where a partition begins");
    }
}

impl ClientContext for OwnerContext {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = true;

    // pitfall: that `max.poll.interval.ms` was exceeded is only logged, so the log is forwarded.
    fn log(&self, level: RDKafkaLogLevel, facility: &str, text: &str) {
        Callbacks::forward_log(level, facility, text);
    }

    fn stats(&self, statistics: Statistics) {
        // "UP" is a connection that requests can use.
        let is_up = |broker: &&Broker| broker.state == "UP";
        // pitfall: a broker that hangs keeps its connection; the library notices after a minute.
        let is_silent = |broker: &Broker| broker.waitresp_cnt > 0 && broker.rxidle > SILENCE_MICROS;
        let mut up = statistics.brokers.values().filter(is_up).peekable();
        let is_silent = up.peek().is_some() && up.clone().all(is_silent);
        let connected = up.peek().is_some() && !is_silent;
        let mut digest = Digest { connected, is_silent, partitions: BTreeMap::new() };
        let mut shared = self.shared();
        for name in &shared.assigned {
            let topic = statistics.topics.get(&name.topic);
            let Some(partition) = topic.and_then(|topic| topic.partitions.get(&name.partition))
            else {
                continue;
            };
            let end =
                if partition.ls_offset >= 0 { partition.ls_offset } else { partition.hi_offset };
            let entry =
                PartitionStatistics { low: partition.lo_offset, end, fetch: partition.next_offset };
            digest.partitions.insert(name.clone(), entry);
        }
        shared.digest = Some(digest);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        let code = error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Fail);
        tracing::debug!(target: "tripline::kafka::library", %code, "{reason}");
        let mut shared = self.shared();
        if shared.troubles.len() < TROUBLES_MAX {
            shared.troubles.push_back((code, reason.to_owned()));
        }
    }

    fn generate_oauth_token(
        &self,
        _config: Option<&str>,
    ) -> Result<OAuthToken, Box<dyn std::error::Error>> {
        self.callbacks.token()
    }
}

impl ConsumerContext for OwnerContext {
    // pitfall: own start offsets belong here; set in `pre_rebalance`, the assignment would run twice.
    fn rebalance(
        &self,
        consumer: &BaseConsumer<Self>,
        code: RDKafkaRespErr,
        list: &mut TopicPartitionList,
    ) {
        let cooperative = matches!(consumer.rebalance_protocol(), RebalanceProtocol::Cooperative);
        let assigns = code == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS;
        // pitfall: offsets that are committed when partitions go may land after somebody else has them,
        // and those of a lost assignment are refused. Nothing is committed here: the checkpoint is the
        // truth.
        let done: KafkaResult<()> = if assigns {
            self.set_starts(consumer, list);
            if cooperative { consumer.incremental_assign(list) } else { consumer.assign(list) }
        } else {
            let mut shared = self.shared();
            for element in list.elements() {
                shared.assigned.remove(&self.name_in(&element));
            }
            drop(shared);
            if cooperative { consumer.incremental_unassign(list) } else { consumer.unassign() }
        };
        if let Err(error) = done {
            tracing::error!(%error, "the assignment of partitions failed");
        }
        // pitfall: empty lists come in cooperative mode; they change nothing but are an answer.
        self.assignments.fetch_add(1, Ordering::Relaxed);
    }

    fn commit_callback(&self, result: KafkaResult<()>, _offsets: &TopicPartitionList) {
        if let Err(error) = result {
            tracing::warn!(%error, "offsets were not committed to Kafka; the checkpoint has them");
        }
    }
}
