//! The reading consumer's callbacks: statistics, errors, ids of topics; and where each partition stands.
//!
//! pitfall: callbacks run inside `poll`, on the polling thread, and logs on threads of the library. They
//! share partitions with the reader through atomics, so that the reader takes no lock for a record.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use rdkafka::{
    ClientContext, Statistics, TopicPartitionList,
    client::OAuthToken,
    config::RDKafkaLogLevel,
    consumer::ConsumerContext,
    error::{KafkaError, KafkaResult, RDKafkaErrorCode},
    statistics::Broker,
};

use crate::{
    engine::record::{PartitionName, Position},
    kafka::Callbacks,
    telemetry::Quiet,
};

/// Errors kept until the reader looks at them: 32. Further ones are in the log only.
const TROUBLES_MAX: usize = 32;

/// For how long a broker may owe an answer and send nothing until it counts as away: 8 s. A fetch is
/// answered within half a second if there is nothing to be had.
const SILENCE_MICROS: i64 = 8_000_000;

/// How long the leader that the brokers name must have been older than one before until a partition counts as
/// stranded: 20 s. A broker that restarts may say for a moment what was so before.
const STRANDED_AFTER: Duration = Duration::from_secs(20);

/// No record of the partition was read yet and no position is known.
pub(super) const NOWHERE: i64 = -1;

/// Where nothing ends.
pub(super) const NEVER: i64 = i64::MAX;

/// What the library calls an unknown id of a topic.
const NO_ID: &str = "AAAAAAAAAAAAAAAAAAAAAA";

/// One partition that was read at some time of this run, or that the checkpoint knows.
#[derive(Debug)]
pub(super) struct Tracked {
    pub(super) name: Arc<PartitionName>,
    /// Where reading goes on, or [`NOWHERE`]. Written by the reader for every record.
    pub(super) next: AtomicI64,
    /// The widest hole in the offsets since the last statistics: where it begins and ends, or
    /// [`NOWHERE`]. Compaction and transactions leave holes too; statistics tell them from a loss.
    pub(super) hole: (AtomicI64, AtomicI64),
    /// Where windows have been rebuilt: records from here on are left for later; [`NEVER`] at other times.
    pub(super) stop_at: AtomicI64,
    /// Where the log ended when that was last known, or [`NOWHERE`].
    pub(super) end: AtomicI64,
}

impl Tracked {
    fn new(name: Arc<PartitionName>, next: i64) -> Arc<Tracked> {
        Arc::new(Tracked {
            name,
            next: AtomicI64::new(next),
            hole: (AtomicI64::new(NOWHERE), AtomicI64::new(NOWHERE)),
            stop_at: AtomicI64::new(NEVER),
            end: AtomicI64::new(NOWHERE),
        })
    }

    /// Where reading goes on, if that is known.
    pub(super) fn next(&self) -> Option<i64> {
        Some(self.next.load(Ordering::Relaxed)).filter(|next| *next != NOWHERE)
    }

    /// Goes on elsewhere.
    pub(super) fn go_to(&self, offset: i64) {
        self.next.store(offset, Ordering::Relaxed);
        self.hole.0.store(NOWHERE, Ordering::Relaxed);
        self.hole.1.store(NOWHERE, Ordering::Relaxed);
    }
}

/// What statistics say about one partition.
#[derive(Clone, Copy, Debug)]
pub(super) struct PartitionStatistics {
    /// First offset that exists, or negative.
    pub(super) low: i64,
    /// Offset of the first record that an open transaction holds back, or negative.
    pub(super) stable: i64,
    /// Offset after the last record, or negative.
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
    /// Partitions that this consumer never reads again: it knows of a leader of a later epoch than all that the brokers
    /// name.
    pub(super) stranded: BTreeSet<PartitionName>,
}

/// Of answers of the brokers about a partition's leader, the first and the last of those in a row that the library does
/// not believe, as it knows of a later leader.
#[derive(Clone, Copy, Debug)]
struct Disbelief {
    since: Instant,
    last: Instant,
}

#[derive(Debug, Default)]
struct Shared {
    tracked: BTreeMap<PartitionName, Arc<Tracked>>,
    assigned: BTreeSet<PartitionName>,
    troubles: VecDeque<(RDKafkaErrorCode, String)>,
    digest: Option<Digest>,
    /// Ids of topics that the library has learned since somebody looked.
    ids: Vec<(String, Arc<str>)>,
    disbeliefs: BTreeMap<PartitionName, Disbelief>,
}

impl Shared {
    /// Notes whether the library believes an answer about a partition's leader.
    fn believes(&mut self, name: PartitionName, is_believed: bool, now: Instant) {
        if is_believed {
            self.disbeliefs.remove(&name);
        } else {
            self.disbeliefs.entry(name).or_insert(Disbelief { since: now, last: now }).last = now;
        }
    }

    fn is_stranded(&self, name: &PartitionName) -> bool {
        let disbelief = self.disbeliefs.get(name);
        disbelief.is_some_and(|one| one.last.duration_since(one.since) >= STRANDED_AFTER)
    }
}

/// The context of the consumer that reads.
#[derive(Debug)]
pub(super) struct ReaderContext {
    callbacks: Callbacks,
    /// Name of the source.
    source: Option<Arc<str>>,
    /// Counts up whenever the assignment changes.
    assignments: AtomicU64,
    shared: Mutex<Shared>,
}

impl ReaderContext {
    pub(super) fn new(
        callbacks: Callbacks,
        source: Option<Arc<str>>,
        positions: &[Position],
    ) -> ReaderContext {
        let tracked = |position: &Position| {
            let name = Arc::clone(&position.partition);
            ((*name).clone(), Tracked::new(name, position.next_offset))
        };
        let shared =
            Shared { tracked: positions.iter().map(tracked).collect(), ..Shared::default() };
        let assignments = AtomicU64::new(0);
        ReaderContext { callbacks, source, assignments, shared: Mutex::new(shared) }
    }

    /// Of a consumer that takes the place of this one's, and goes on where that one was.
    pub(super) fn succeeded(&self, callbacks: Callbacks) -> ReaderContext {
        let shared = Shared { tracked: self.shared().tracked.clone(), ..Shared::default() };
        ReaderContext {
            callbacks,
            source: self.source.clone(),
            assignments: AtomicU64::new(self.assignments()),
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

    /// Notes which partitions are read from now on.
    pub(super) fn assign(&self, names: impl IntoIterator<Item = PartitionName>) {
        self.shared().assigned = names.into_iter().collect();
        self.assignments.fetch_add(1, Ordering::Relaxed);
    }

    /// All partitions of which something is known.
    pub(super) fn tracked(&self) -> Vec<Arc<Tracked>> {
        self.shared().tracked.values().cloned().collect()
    }

    /// The partition of a record; makes it known if it is not.
    pub(super) fn track(&self, topic: &str, partition: i32) -> Arc<Tracked> {
        let name = self.name_of(topic, partition);
        let mut shared = self.shared();
        let new = |name: &PartitionName| Tracked::new(Arc::new(name.clone()), NOWHERE);
        Arc::clone(shared.tracked.entry(name).or_insert_with_key(new))
    }

    pub(super) fn name_of(&self, topic: &str, partition: i32) -> PartitionName {
        PartitionName { source: self.source.clone(), ..PartitionName::new(topic, partition) }
    }

    /// Errors since the last call, oldest first.
    pub(super) fn take_troubles(&self) -> VecDeque<(RDKafkaErrorCode, String)> {
        std::mem::take(&mut self.shared().troubles)
    }

    /// The newest statistics, once.
    pub(super) fn take_digest(&self) -> Option<Digest> {
        self.shared().digest.take()
    }

    /// Ids of topics that were learned since the last call, oldest first.
    pub(super) fn take_ids(&self) -> Vec<(String, Arc<str>)> {
        std::mem::take(&mut self.shared().ids)
    }
}

/// Topic and id from what the library says when it learns the id of a topic: it has no other way to be
/// asked for it from here.
fn learned_id(text: &str) -> Option<(&str, &str)> {
    let (_, rest) = text.split_once("Topic ")?;
    let (topic, ids) = rest.split_once(" changed id from ")?;
    let (_, id) = ids.split_once(" to ")?;
    Some((topic, id.trim())).filter(|(_, id)| *id != NO_ID && !id.is_empty())
}

/// Topic, partition, and whether it is believed, from what the library says when brokers tell it a partition's leader.
///
/// pitfall: epochs of leaders only grow while a topic lives, so the library disregards those that are lower than what
/// it has heard. After brokers were put back from an earlier copy, or a topic was made anew, that is so for ever.
fn told_leader(text: &str) -> Option<(&str, i32, bool)> {
    let (partition, news) = text.rsplit_once("]: ")?;
    let (topic, partition) = partition.rsplit_once(" [")?;
    let topic = topic.rsplit(' ').next()?;
    let is_believed = news.starts_with("leader ") && news.contains(" -> leader ");
    let is_known = is_believed || news.starts_with("ignoring outdated metadata update ");
    is_known.then_some((topic, partition.parse().ok()?, is_believed))
}

impl ClientContext for ReaderContext {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = true;

    // pitfall: that `max.poll.interval.ms` was exceeded is only logged, so the log is forwarded.
    fn log(&self, level: RDKafkaLogLevel, facility: &str, text: &str) {
        if facility == "METADATA"
            && let Some((topic, id)) = learned_id(text)
        {
            self.shared().ids.push((topic.to_owned(), id.into()));
        }
        if facility == "BROKER"
            && let Some((topic, partition, is_believed)) = told_leader(text)
        {
            let name = self.name_of(topic, partition);
            self.shared().believes(name, is_believed, Instant::now());
        }
        Callbacks::forward_log(level, facility, text);
    }

    fn stats(&self, statistics: Statistics) {
        // "UP" is a connection that requests can use.
        let is_up = |broker: &&Broker| broker.state == "UP";
        // pitfall: a broker that hangs keeps its connection; the library notices after a minute. One that
        // was only asked for the cluster is never heard again, and says nothing either way.
        let owes = |broker: &Broker| broker.waitresp_cnt > 0 && broker.rxidle > SILENCE_MICROS;
        let answers = |broker: &Broker| (0..=SILENCE_MICROS).contains(&broker.rxidle);
        let mut up = statistics.brokers.values().filter(is_up).peekable();
        let is_silent = up.clone().any(owes) && !up.clone().any(answers);
        let connected = up.peek().is_some() && !is_silent;
        let mut digest = Digest { connected, is_silent, ..Digest::default() };
        let mut shared = self.shared();
        for name in &shared.assigned {
            if shared.is_stranded(name) {
                digest.stranded.insert(name.clone());
            }
            let topic = statistics.topics.get(&name.topic);
            let Some(partition) = topic.and_then(|topic| topic.partitions.get(&name.partition))
            else {
                continue;
            };
            let entry = PartitionStatistics {
                low: partition.lo_offset,
                stable: partition.ls_offset,
                end: partition.hi_offset,
                fetch: partition.next_offset,
            };
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

impl ConsumerContext for ReaderContext {
    fn commit_callback(&self, result: KafkaResult<()>, _offsets: &TopicPartitionList) {
        if let Err(error) = result {
            uncommitted(&error);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_topics_are_read_from_what_the_library_says() {
        let text =
            "[thrd:main]: Topic audit-1 changed id from AAAAAAAAAAAAAAAAAAAAAA to kq1w-XYZ_3";
        assert_eq!(learned_id(text), Some(("audit-1", "kq1w-XYZ_3")));
        let unknown = text.replace("kq1w-XYZ_3", NO_ID);
        assert_eq!(learned_id(&unknown), None, "a broker without ids");
        assert_eq!(learned_id("Topic audit [0] Leader 1 Epoch 0"), None);
    }

    #[test]
    fn which_leaders_are_believed_is_read_from_what_the_library_says() {
        let ignored = "audit-1 [12]: ignoring outdated metadata update with leader epoch 2 which is older than our \
                       cached epoch 3";
        let taken = "audit-1 [12]: leader -1 epoch 1 -> leader 1 epoch 2";
        for (text, is_believed) in [(ignored, false), (taken, true)] {
            let with_thread = format!("[thrd:main]: {text}");
            assert_eq!(told_leader(text), Some(("audit-1", 12, is_believed)));
            assert_eq!(told_leader(&with_thread), Some(("audit-1", 12, is_believed)));
        }
        assert_eq!(told_leader("[thrd:main]: Topic audit-1 [12]: Reverting from preferred"), None);
        assert_eq!(told_leader("[thrd:main]: Topic audit-1 [12] Leader 1 Epoch 2"), None);
    }

    #[test]
    fn a_partition_is_stranded_once_no_leader_was_believed_for_long() {
        let (mut shared, name) = (Shared::default(), PartitionName::new("audit", 0));
        let start = Instant::now();
        let mut told = |seconds, is_believed| {
            shared.believes(name.clone(), is_believed, start + Duration::from_secs(seconds));
            shared.is_stranded(&name)
        };
        assert!(!told(0, false));
        assert!(!told(19, false), "not for long");
        assert!(!told(20, true));
        assert!(!told(30, false), "one was believed since");
        assert!(!told(49, false));
        assert!(told(50, false));
        assert!(!told(51, true), "it is over");
    }
}
