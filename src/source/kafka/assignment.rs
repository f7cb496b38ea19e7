//! Which partitions are read, from where, and which cannot be read at the moment.
//!
//! Where reading begins in a partition: where this run stands, else at the checkpoint's position, else
//! where `start` says. What the group remembers counts only if it was asked for (`start: group`), for any
//! program may have committed it, or if the checkpoint knows nothing of the source and the offset bears
//! Tripline's own mark: then the state was lost, and windows are rebuilt from the records before it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use rdkafka::{
    Message as _, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer as _},
    error::{KafkaError, RDKafkaErrorCode},
    metadata::MetadataTopic,
};

use super::{
    KafkaSettings,
    context::{NEVER, NOWHERE, ReaderContext, Tracked},
    settings::{Start, is_pattern},
};
use crate::{
    engine::record::{PartitionName, Position},
    source::SourceEvent,
};

/// How long the brokers may take to answer one question: 5 s.
const ASK_TIMEOUT: Duration = Duration::from_secs(5);

/// How long the group's coordinator may take to say what it remembers: 10 s.
const COMMITTED_TIMEOUT: Duration = Duration::from_secs(10);

/// Records from which windows are rebuilt: 20,000,000 of a source. With more of them in the time of the
/// longest window, the earlier ones are left out.
const REBUILD_RECORDS_MAX: i64 = 20_000_000;

/// Begins the metadata of offsets that Tripline commits; the id of the topic follows.
const MARK: &str = "tripline/1 ";

/// For how long a transaction may hold back a partition before it counts as one that cannot be read: 1 min, which is
/// what producers give a transaction (`transaction.timeout.ms`).
const HELD_AFTER: Duration = Duration::from_mins(1);

/// Why it cannot.
const HELD: &str = "a transaction that does not end holds back what was written since; see \
                    `kafka-transactions.sh find-hanging`";

/// Why a partition cannot be read that is stranded.
const STRANDED: &str =
    "its leader is older than one that was known before, as after a restore from a backup";

/// The consumer that reads.
pub(super) type Consumer = BaseConsumer<ReaderContext>;

/// What is read.
pub(super) struct Assignment {
    settings: KafkaSettings,
    patterns: Vec<regex::Regex>,
    /// How much time windows are rebuilt from.
    rebuild: Duration,
    /// The checkpoint knew nothing of this source when it began.
    is_new: bool,
    /// Topics that were there at the first look; `None` before it. What comes later has no records from before.
    at_first: Option<BTreeSet<String>>,
    /// Some partition has begun in this run.
    has_begun: bool,
    /// Ids of topics, as far as they are known.
    logs: BTreeMap<String, Arc<str>>,
    /// Ids of the topics that partitions were read from last, as far as they are known.
    logs_read: BTreeMap<PartitionName, Arc<str>>,
    /// Topics of which the library has told the id in this run.
    learned: BTreeSet<String>,
    /// Partitions that were begun again before that: another id is no further news of them.
    rewound: BTreeSet<PartitionName>,
    /// Since when an open transaction has held back what comes next in a partition.
    held: BTreeMap<PartitionName, Instant>,
    /// Partitions that the consumer never reads again.
    stranded: BTreeSet<PartitionName>,
    read: BTreeMap<PartitionName, Arc<Tracked>>,
    away: BTreeMap<PartitionName, String>,
    is_rebuilding: bool,
    /// What is read is not yet what the library was told.
    is_dirty: bool,
    /// What is to be told, in order, once the library knows.
    events: Vec<SourceEvent>,
    /// Partitions that begin, or go on elsewhere.
    begun: Vec<Arc<Tracked>>,
    /// Those of them that nobody knew, and where they begin.
    fresh: Vec<(Arc<PartitionName>, i64)>,
}

/// What a look at the cluster found.
#[derive(Default)]
struct Found {
    partitions: Vec<PartitionName>,
    away: BTreeMap<PartitionName, String>,
    /// Topics that are not there, or may not be read.
    missing: Vec<(String, RDKafkaErrorCode, String)>,
}

/// Where a group remembers a partition.
struct Remembered {
    offset: i64,
    /// What Tripline has committed beside it, if it was Tripline.
    mark: Option<Mark>,
}

/// What is committed beside an offset.
struct Mark {
    /// The id of the topic, if it was known.
    log: Option<Arc<str>>,
}

impl Assignment {
    pub(super) fn new(
        settings: &KafkaSettings,
        positions: &[Position],
        rebuild: Duration,
    ) -> Assignment {
        if !settings.left_out.is_empty() {
            let topics = settings.left_out.join(" ");
            tracing::info!(%topics, "patterns leave out the topics that Tripline itself writes");
        }
        let log = |position: &Position| {
            Some(((*position.partition).clone(), Arc::clone(position.log.as_ref()?)))
        };
        let logs_read: BTreeMap<_, _> = positions.iter().filter_map(log).collect();
        Assignment {
            patterns: settings.patterns(),
            settings: settings.clone(),
            rebuild,
            is_new: positions.is_empty(),
            at_first: None,
            has_begun: false,
            logs: logs_read
                .iter()
                .map(|(name, log)| (name.topic.clone(), Arc::clone(log)))
                .collect(),
            logs_read,
            learned: BTreeSet::new(),
            rewound: BTreeSet::new(),
            held: BTreeMap::new(),
            stranded: BTreeSet::new(),
            read: BTreeMap::new(),
            away: BTreeMap::new(),
            is_rebuilding: false,
            is_dirty: false,
            events: Vec::new(),
            begun: Vec::new(),
            fresh: Vec::new(),
        }
    }

    /// Partitions that nobody knew, and where they begin, since the last call.
    pub(super) fn take_fresh(&mut self) -> Vec<(Arc<PartitionName>, i64)> {
        std::mem::take(&mut self.fresh)
    }

    /// The partitions that are read, by name.
    pub(super) fn read(&self) -> Vec<Arc<Tracked>> {
        self.read.values().cloned().collect()
    }

    /// What is committed beside an offset, so that it is known as ours.
    pub(super) fn mark(&self, topic: &str) -> String {
        format!("{MARK}{}", self.logs.get(topic).map_or("", |log| log))
    }

    /// Partitions that the consumer never reads again, all of them.
    pub(super) fn strand(&mut self, names: BTreeSet<PartitionName>) {
        self.stranded = names;
    }

    /// The partitions that the consumer never reads again.
    pub(super) const fn stranded(&self) -> &BTreeSet<PartitionName> {
        &self.stranded
    }

    /// The library has forgotten what is read: another consumer takes the place of the one before. Partitions that were
    /// stranded go on as after a restart: it is looked whether their logs still reach to where they stand.
    pub(super) fn tell_again(&mut self) {
        self.is_dirty = true;
        let stranded = std::mem::take(&mut self.stranded);
        self.read.retain(|name, _| !stranded.contains(name));
    }

    /// Looks which partitions there are. What is new begins, what is gone is read no longer. The trouble
    /// that keeps every topic from being read, if any.
    ///
    /// # Errors
    /// If the brokers do not answer; then all stays as it is.
    pub(super) fn survey(
        &mut self,
        consumer: &Consumer,
    ) -> Result<Option<(RDKafkaErrorCode, String)>, KafkaError> {
        let mut found = self.find(consumer)?;
        let topics = found.partitions.iter().chain(found.away.keys()).map(|name| &name.topic);
        self.at_first.get_or_insert_with(|| topics.cloned().collect());
        if !found.partitions.is_empty() {
            // The others are read meanwhile. What a pattern does not match yet is not missing.
            for (topic, _, why) in found.missing.drain(..).filter(|(topic, ..)| !topic.is_empty()) {
                found.away.insert(consumer.context().name_of(&topic, 0), why);
            }
        }
        let there: BTreeSet<&PartitionName> =
            found.partitions.iter().chain(found.away.keys()).collect();
        let gone: Vec<String> = self
            .read
            .extract_if(.., |name, _| !there.contains(name))
            .map(|(name, _)| name.to_string())
            .collect();
        self.held.retain(|name, _| self.read.contains_key(name));
        if !gone.is_empty() {
            self.is_dirty = true;
            tracing::warn!(partitions = %gone.join(" "), "these are not there any more");
        }
        let new: Vec<PartitionName> = found
            .partitions
            .iter()
            .filter(|name| !self.read.contains_key(*name))
            .cloned()
            .collect();
        if !new.is_empty() {
            self.begin(consumer, new, &mut found.away);
        }
        let is_held = |since: &Instant| since.elapsed() >= HELD_AFTER;
        for name in self.held.iter().filter(|(_, since)| is_held(since)).map(|(name, _)| name) {
            found.away.entry(name.clone()).or_insert_with(|| HELD.to_owned());
        }
        for name in &self.stranded {
            found.away.entry(name.clone()).or_insert_with(|| STRANDED.to_owned());
        }
        if found.away != self.away {
            let names = found.away.keys().map(|name| Arc::new(name.clone()));
            let why = found.away.values().next().cloned().unwrap_or_default();
            self.events.push(SourceEvent::Away { partitions: names.collect(), why });
            self.away = found.away;
        }
        Ok(found.missing.pop().map(|(_, code, why)| (code, why)))
    }

    fn find(&self, consumer: &Consumer) -> Result<Found, KafkaError> {
        let mut found = Found::default();
        if !self.patterns.is_empty() {
            let metadata = consumer.fetch_metadata(None, ASK_TIMEOUT)?;
            let is_meant =
                |topic: &&MetadataTopic| self.settings.is_matched(&self.patterns, topic.name());
            for topic in metadata.topics().iter().filter(is_meant) {
                found.add(consumer.context(), topic);
            }
            if found.partitions.is_empty() && found.away.is_empty() {
                let text = format!("no topic matches {}", self.settings.topics.join(", "));
                found.missing.push((String::new(), RDKafkaErrorCode::UnknownTopic, text));
            }
        }
        for name in self.settings.topics.iter().filter(|topic| !is_pattern(topic)) {
            let metadata = consumer.fetch_metadata(Some(name), ASK_TIMEOUT)?;
            for topic in metadata.topics().iter().filter(|topic| topic.name() == name) {
                found.add(consumer.context(), topic);
            }
        }
        Ok(found)
    }

    /// Decides where new partitions begin. Those of which the brokers say too little stay away.
    fn begin(
        &mut self,
        consumer: &Consumer,
        new: Vec<PartitionName>,
        away: &mut BTreeMap<PartitionName, String>,
    ) {
        let context = consumer.context();
        let tracked = |name: &PartitionName| context.track(&name.topic, name.partition);
        let known_topics: BTreeSet<String> = context
            .tracked()
            .iter()
            .filter(|tracked| tracked.next().is_some())
            .map(|tracked| tracked.name.topic.clone())
            .collect();
        let unknown: Vec<&PartitionName> =
            new.iter().filter(|name| tracked(name).next().is_none()).collect();
        let asks = self.is_new || self.settings.start == Start::Group;
        let mut remembered = BTreeMap::new();
        if asks && !unknown.is_empty() {
            match remember(consumer, &unknown) {
                Ok(offsets) => remembered = offsets,
                Err(error) => {
                    let why = format!("the group's offsets are not known: {error}");
                    away.extend(new.into_iter().map(|name| (name, why.clone())));
                    return;
                }
            }
        }
        let marked: BTreeSet<String> = remembered
            .iter()
            .filter(|(_, known)| known.mark.is_some())
            .map(|(name, _)| name.topic.clone())
            .collect();
        let mut lost = Vec::new();
        for name in new {
            let ends = consumer.fetch_watermarks(&name.topic, name.partition, ASK_TIMEOUT);
            let (low, high) = match ends {
                Ok(ends) => ends,
                Err(error) => {
                    away.insert(name, format!("where it begins and ends is not known: {error}"));
                    continue;
                }
            };
            let tracked = tracked(&name);
            let stop_at = tracked.stop_at.load(Ordering::Relaxed);
            if !self.is_rebuilding && stop_at != NEVER {
                // Windows were rebuilt meanwhile, without it.
                tracked.stop_at.store(NEVER, Ordering::Relaxed);
                tracked.go_to(stop_at);
            }
            match (tracked.next(), remembered.remove(&name)) {
                (Some(next), _) => self.go_on(&tracked, next, low, high),
                (None, Some(Remembered { offset, mark: Some(Mark { log }) })) => {
                    if let Some(log) = log {
                        self.logs.entry(name.topic.clone()).or_insert(log);
                    }
                    self.go_on(&tracked, offset, low, high);
                    lost.push((Arc::clone(&tracked), low));
                }
                (None, Some(Remembered { offset, .. })) if self.settings.start == Start::Group => {
                    self.go_on(&tracked, offset, low, high);
                }
                (None, _) => {
                    // Those of a known topic were added to it since, so all of their records are new, as are those of a
                    // topic that was made since.
                    let is_known =
                        known_topics.contains(&name.topic) || marked.contains(&name.topic);
                    let was_there =
                        self.at_first.as_ref().is_none_or(|topics| topics.contains(&name.topic));
                    let is_latest = self.settings.start == Start::Latest && !is_known && was_there;
                    let begin = if is_latest { high } else { low };
                    tracked.go_to(begin);
                    self.fresh.push((Arc::clone(&tracked.name), begin));
                }
            }
            if self.is_rebuilding && tracked.stop_at.load(Ordering::Relaxed) == NEVER {
                // It waits for the others.
                tracked.stop_at.store(tracked.next.load(Ordering::Relaxed), Ordering::Relaxed);
            }
            self.begun.push(Arc::clone(&tracked));
            self.read.insert(name, tracked);
            self.is_dirty = true;
        }
        // Later ones go on where they were counted to.
        let has_begun = std::mem::replace(&mut self.has_begun, !self.read.is_empty());
        if !has_begun && !lost.is_empty() {
            self.read_back(consumer, &lost);
        }
    }

    /// Goes on at an offset, or where the log begins, if the offset lies outside of it.
    fn go_on(&mut self, tracked: &Arc<Tracked>, next: i64, low: i64, high: i64) {
        let partition = Arc::clone(&tracked.name);
        if next < low {
            self.events.push(SourceEvent::Gap { partition, records: low - next });
            tracked.go_to(low);
        } else if next > high {
            if !self.learned.contains(&partition.topic) {
                self.rewound.insert((*partition).clone());
            }
            self.events.push(SourceEvent::Rewound { partition, from: next, to: low });
            // What windows were rebuilt from is not there any more.
            tracked.stop_at.store(NEVER, Ordering::Relaxed);
            tracked.go_to(low);
        } else {
            tracked.go_to(next);
        }
    }

    /// Lets partitions begin so far before where they would that windows are rebuilt, and end there for now.
    fn read_back(&mut self, consumer: &Consumer, lost: &[(Arc<Tracked>, i64)]) {
        let begins = match begins(consumer, lost, self.rebuild) {
            Ok(begins) => begins,
            Err(error) => {
                tracing::warn!(%error, "windows are not rebuilt");
                return;
            }
        };
        let share = REBUILD_RECORDS_MAX / i64::try_from(lost.len()).unwrap_or(1).max(1);
        let mut records = 0;
        for (tracked, low) in lost {
            let (Some(until), Some(begin)) = (tracked.next(), begins.get(&*tracked.name)) else {
                continue;
            };
            let begin = (*begin).clamp(*low, until).max(until - share);
            records += until - begin;
            tracked.stop_at.store(until, Ordering::Relaxed);
            tracked.go_to(begin);
        }
        self.is_rebuilding = records > 0;
        if self.is_rebuilding {
            self.events.push(SourceEvent::Rebuilding { left: records });
            // Nothing new is read before all of them are there.
            for tracked in self.read.values() {
                if tracked.stop_at.load(Ordering::Relaxed) == NEVER {
                    let next = tracked.next.load(Ordering::Relaxed);
                    tracked.stop_at.store(next, Ordering::Relaxed);
                }
            }
        }
    }

    /// Looks whether windows have been rebuilt. `fetched` says how far the library has come where it has
    /// nothing more to give out at the moment.
    pub(super) fn look_at_rebuild(&mut self, fetched: impl Fn(&PartitionName) -> Option<i64>) {
        if !self.is_rebuilding {
            return;
        }
        let left = |tracked: &Arc<Tracked>| {
            let stop_at = tracked.stop_at.load(Ordering::Relaxed);
            // Transactions end with a record that only the library sees.
            let next = tracked.next().max(fetched(&tracked.name)).unwrap_or(NOWHERE);
            if stop_at == NEVER { 0 } else { (stop_at - next).max(0) }
        };
        // One that cannot be read is not waited for.
        let there = self.read.iter().filter(|(name, _)| !self.away.contains_key(*name));
        let left: i64 = there.map(|(_, tracked)| left(tracked)).sum();
        self.events.push(SourceEvent::Rebuilding { left });
        if left > 0 {
            return;
        }
        self.is_rebuilding = false;
        self.is_dirty = true;
        for tracked in self.read.values() {
            let stop_at = tracked.stop_at.swap(NEVER, Ordering::Relaxed);
            if stop_at != NEVER {
                tracked.go_to(stop_at);
            }
            self.begun.push(Arc::clone(tracked));
        }
    }

    /// Takes ids of topics that the library has learned. A topic that is another one than it was is read
    /// from its beginning.
    pub(super) fn learn(&mut self, consumer: &Consumer, ids: Vec<(String, Arc<str>)>) {
        for (topic, id) in ids {
            let before = self.logs.insert(topic.clone(), Arc::clone(&id));
            self.learned.insert(topic.clone());
            let of_topic: Vec<Arc<Tracked>> = consumer
                .context()
                .tracked()
                .into_iter()
                .filter(|tracked| tracked.name.topic == topic)
                .collect();
            for tracked in of_topic {
                let read = self.logs_read.insert((*tracked.name).clone(), Arc::clone(&id));
                let Some(log) = read.or_else(|| before.clone()) else {
                    self.begin_again(&tracked);
                    continue;
                };
                let is_told = self.rewound.remove(&*tracked.name);
                if log != id {
                    if !is_told {
                        self.made_anew(consumer, &tracked);
                    }
                    self.begin_again(&tracked);
                }
            }
        }
    }

    /// Where a partition goes on is to be told, if it is read.
    fn begin_again(&mut self, tracked: &Arc<Tracked>) {
        if self.read.contains_key(&*tracked.name) {
            self.begun.push(Arc::clone(tracked));
        }
    }

    fn made_anew(&mut self, consumer: &Consumer, tracked: &Arc<Tracked>) {
        let Some(next) = tracked.next() else { return };
        let PartitionName { topic, partition, .. } = &*tracked.name;
        let low = match consumer.fetch_watermarks(topic, *partition, ASK_TIMEOUT) {
            Ok((low, _)) => low,
            Err(error) if is_unknown(&error) => {
                // The new topic has fewer of them. If it gets more, this one is new.
                tracked.go_to(NOWHERE);
                return;
            }
            // The library asks where the log begins.
            Err(_) => 0,
        };
        let name = || Arc::clone(&tracked.name);
        let unread = tracked.end.swap(NOWHERE, Ordering::Relaxed) - next;
        if unread > 0 {
            self.events.push(SourceEvent::Gap { partition: name(), records: unread });
        }
        self.events.push(SourceEvent::Rewound { partition: name(), from: next, to: low });
        let stop_at = if self.is_rebuilding { low } else { NEVER };
        tracked.stop_at.store(stop_at, Ordering::Relaxed);
        tracked.go_to(low);
        self.is_dirty = true;
    }

    /// Whether records lie behind what is read of a partition, and an open transaction keeps them from being given out.
    pub(super) fn hold(&mut self, name: &PartitionName, is_held: bool, now: Instant) {
        if is_held {
            self.held.entry(name.clone()).or_insert(now);
        } else {
            self.held.remove(name);
        }
    }

    /// Tells the library what is read, if that has changed. What is to be told then; `sequence` is the
    /// number of the next batch.
    pub(super) fn settle(&mut self, consumer: &Consumer, sequence: u64) -> Vec<SourceEvent> {
        if std::mem::take(&mut self.is_dirty) {
            let mut list = TopicPartitionList::with_capacity(self.read.len());
            for (name, tracked) in &self.read {
                let next = tracked.next().map_or(Offset::Beginning, Offset::Offset);
                if let Err(error) = list.add_partition_offset(&name.topic, name.partition, next) {
                    tracing::error!(%error, partition = %name, "cannot set where a partition begins");
                }
            }
            if let Err(error) = consumer.assign(&list) {
                tracing::error!(%error, "the assignment of partitions failed");
                self.is_dirty = true;
                return Vec::new();
            }
            consumer.context().assign(self.read.keys().cloned());
        }
        let mut events = std::mem::take(&mut self.events);
        let begun = std::mem::take(&mut self.begun);
        if !begun.is_empty() {
            let position = |tracked: &Arc<Tracked>| {
                let next = tracked.next()?;
                let log = self.logs.get(&tracked.name.topic).cloned();
                Some(Position { log, ..Position::new(Arc::clone(&tracked.name), next) })
            };
            let positions = begun.iter().filter_map(position).collect();
            let is_rebuilding = self.is_rebuilding;
            events.push(SourceEvent::Begin { sequence, positions, is_rebuilding });
        }
        events
    }
}

/// Whether there is no such partition.
fn is_unknown(error: &KafkaError) -> bool {
    let code = error.rdkafka_error_code();
    code.is_some_and(|code| {
        matches!(
            code,
            RDKafkaErrorCode::UnknownPartition | RDKafkaErrorCode::UnknownTopicOrPartition
        )
    })
}

impl Found {
    fn add(&mut self, context: &ReaderContext, topic: &MetadataTopic) {
        if let Some(error) = topic.error() {
            let code = RDKafkaErrorCode::from(error);
            let name = topic.name().to_owned();
            self.missing.push((name, code, format!("topic {}: {code}", topic.name())));
            return;
        }
        for partition in topic.partitions() {
            let name = context.name_of(topic.name(), partition.id());
            let error = partition.error().map(RDKafkaErrorCode::from);
            // A replica that is away is no matter; without a leader nothing is read.
            if partition.leader() < 0 {
                let why = error.map_or_else(|| "it has no leader".to_owned(), |e| e.to_string());
                self.away.insert(name, why);
            } else {
                self.partitions.push(name);
            }
        }
    }
}

/// What the group remembers of these partitions.
fn remember(
    consumer: &Consumer,
    names: &[&PartitionName],
) -> Result<BTreeMap<PartitionName, Remembered>, KafkaError> {
    let mut list = TopicPartitionList::with_capacity(names.len());
    for name in names {
        list.add_partition(&name.topic, name.partition);
    }
    let answer = consumer.committed_offsets(list, COMMITTED_TIMEOUT)?;
    let mut remembered = BTreeMap::new();
    for element in answer.elements() {
        element.error()?;
        if let Offset::Offset(offset) = element.offset() {
            let mark = element.metadata().strip_prefix(MARK);
            let log = |log: &str| Some(log).filter(|log| !log.is_empty()).map(Arc::from);
            let mark = mark.map(|mark| Mark { log: log(mark) });
            let name = consumer.context().name_of(element.topic(), element.partition());
            remembered.insert(name, Remembered { offset, mark });
        }
    }
    Ok(remembered)
}

/// The offsets from which windows are rebuilt: `span` before the record that was counted last.
fn begins(
    consumer: &Consumer,
    lost: &[(Arc<Tracked>, i64)],
    span: Duration,
) -> Result<BTreeMap<PartitionName, i64>, KafkaError> {
    let mut last = TopicPartitionList::new();
    for (tracked, low) in lost {
        let PartitionName { topic, partition, .. } = &*tracked.name;
        if let Some(until) = tracked.next().filter(|until| until > low && !span.is_zero()) {
            last.add_partition_offset(topic, *partition, Offset::Offset(until - 1))?;
        }
    }
    if last.count() == 0 {
        return Ok(BTreeMap::new());
    }
    consumer.assign(&last)?;
    let span = i64::try_from(span.as_millis()).unwrap_or(i64::MAX);
    let mut times = BTreeMap::new();
    let deadline = Instant::now() + COMMITTED_TIMEOUT;
    while times.len() < last.count() && Instant::now() < deadline {
        if let Some(Ok(message)) = consumer.poll(Duration::from_millis(100)) {
            let at = (message.topic().to_owned(), message.partition());
            let time = message.timestamp().to_millis().unwrap_or(0);
            times.entry(at).or_insert(time.saturating_sub(span).max(0));
        }
    }
    consumer.assign(&TopicPartitionList::new())?;
    let mut at = TopicPartitionList::new();
    for ((topic, partition), time) in &times {
        at.add_partition_offset(topic, *partition, Offset::Offset(*time))?;
    }
    let answer = consumer.offsets_for_times(at, ASK_TIMEOUT)?;
    let begin = |offset| if let Offset::Offset(offset) = offset { offset } else { NEVER };
    let elements = answer.elements();
    let named = elements.iter().map(|element| {
        let name = consumer.context().name_of(element.topic(), element.partition());
        (name, begin(element.offset()))
    });
    Ok(named.collect())
}
