//! The stateless half of the engine: records in, detections out.
//!
//! One per worker thread; scales with cores. It decodes each record onto the fields that the rules
//! need, keeps the canonical events, and evaluates the rules.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use super::{
    access::{Alike, AlikeBefore, Extractor, Looked, Observed, Usage, UsageMode, UsedBefore},
    decode::{Decoder, Origin, Sink},
    detect::{Detection, Ended, Received, RuleMatcher, is_canonical},
    event::{Event, Owed, Parts, Reference, Stage, UnreadCounts, redact_record, well_known},
    limits,
    policy::Below,
    record::{PartitionName, RecordBatch},
    rule::{Exception, ExceptionIndex, Exceptions, RuleSet},
    settings::EngineSettings,
    state::SourceNote,
    time::{EventTime, WallTime},
};
pub use super::{
    dead_letter::{ControlCounts, ControlMessage, DeadLetter, DeadLetterReason},
    record::Progress,
    seen::{SeenHour, SeenHours, Uncounted},
};

/// Decodes records and evaluates the detection rules. Keeps nothing between batches but memory.
#[derive(Debug)]
pub struct Detector {
    rules_epoch: u64,
    skew_max: Duration,
    is_of_history: bool,
    reads_all: bool,
    truths: BTreeMap<String, Option<Arc<str>>>,
    decoder: Decoder,
    matcher: RuleMatcher,
    extractor: Extractor,
    exceptions: Exceptions,
    below: Below,
    usage: UsageMode,
    used: Option<UsedBefore>,
    /// `None`: each access is told as a whole.
    alike: Option<AlikeBefore>,
    owed: Owed,
}

impl Detector {
    /// A detector for one rule set. Cost: rules × values that they name, some milliseconds for a
    /// thousand rules.
    pub fn new(rules: Arc<RuleSet>, rules_epoch: u64, settings: &EngineSettings) -> Detector {
        let mut fields = rules.fields.clone();
        let used = UsedBefore::new(settings.usage, &mut fields);
        Detector {
            alike: Some(AlikeBefore::new(&mut fields, Arc::clone(&rules.identities))),
            usage: settings.usage,
            rules_epoch,
            skew_max: settings.skew_max,
            is_of_history: false,
            reads_all: false,
            truths: settings.truths.clone(),
            decoder: Decoder::sharing(&rules.projections, &fields),
            extractor: Extractor::new(Arc::clone(&rules)),
            exceptions: rules.exceptions.clone(),
            below: Below::new(Arc::clone(&rules)),
            matcher: matcher(rules, used.as_ref()),
            used,
            owed: Owed::default(),
        }
    }

    /// For records of the past, whose batches are long: an event that is followed by much earlier ones
    /// is taken for what they are, for the operator's clock tells nothing of it. Nothing is recorded.
    #[must_use]
    pub fn of_history(mut self) -> Detector {
        self.is_of_history = true;
        (self.usage, self.used, self.alike) = (UsageMode::Off, None, None);
        self.matcher.leave_out_recording();
        self
    }

    /// Reads every event as a whole, also where its own few fields show that it satisfies no rule. For
    /// comparison: nothing but speed and [`DetectCounts::rules_evaluated`] depends on it.
    #[must_use]
    pub const fn reading_all(mut self) -> Detector {
        self.reads_all = true;
        self
    }

    /// Tells each access as a whole, also one that is rolled up. For people and comparison: rows are the same.
    #[must_use]
    pub fn telling_all(mut self) -> Detector {
        self.alike = None;
        self
    }

    /// From the next batch on, uses another rule set.
    pub fn replace_rules(&mut self, rules: Arc<RuleSet>, rules_epoch: u64) {
        self.rules_epoch = rules_epoch;
        let mut fields = rules.fields.clone();
        // Their numbers are others now; what was seen today is asked of the recorder again.
        self.used = UsedBefore::new(self.usage, &mut fields);
        if self.alike.is_some() {
            self.alike = Some(AlikeBefore::new(&mut fields, Arc::clone(&rules.identities)));
        }
        self.decoder = Decoder::sharing(&rules.projections, &fields);
        self.extractor = Extractor::new(Arc::clone(&rules));
        self.exceptions.clone_from(&rules.exceptions);
        self.below = Below::new(Arc::clone(&rules));
        self.matcher = matcher(rules, self.used.as_ref());
        if self.is_of_history {
            self.matcher.leave_out_recording();
        }
    }

    /// What a batch comes to. Never fails: what cannot be decoded is a dead letter. `now` is the horizon
    /// ([`RunHorizon`](super::horizon::RunHorizon)).
    pub fn detect(&mut self, now: WallTime, batch: &RecordBatch) -> DetectionBatch {
        let mut out = DetectionBatch {
            sequence: batch.sequence,
            rules_epoch: self.rules_epoch,
            detected_at: Some(now),
            progress: Vec::with_capacity(batch.partitions.len()),
            notes: batch.notes.clone(),
            ..DetectionBatch::default()
        };
        out.progress.extend(batch.partitions.iter().map(|partition| Progress {
            partition: Arc::clone(partition),
            next_offset: 0,
            time_min: None,
            time_max: None,
            records: 0,
        }));
        // All that refers to a topic shares its name.
        let names = batch.partitions.iter().map(|partition| Arc::from(&*partition.stored_topic()));
        let topics: Vec<Arc<str>> = names.collect();
        let mut doubt = None;
        for record in &batch.records {
            let (Some(partition), Some(topic)) =
                (batch.partition_of(record), topics.get(usize::from(record.partition_index)))
            else {
                continue;
            };
            // What was written before now happened before it was written.
            let written = record.time.filter(|time| *time <= now.as_event());
            let latest = written.unwrap_or(now.as_event());
            let is_doubtful = self.is_of_history && written.is_none();
            let dead_letters = out.dead_letters.len();
            let mut sink = Collector {
                out: &mut out,
                truths: &self.truths,
                matcher: &mut self.matcher,
                // History is not recorded a second time.
                extractor: (!self.is_of_history).then_some(&mut self.extractor),
                exceptions: &self.exceptions,
                below: &mut self.below,
                usage: self.usage,
                used: self.used.as_mut(),
                alike: self.alike.as_mut(),
                owed: &mut self.owed,
                event_index: 0,
                partition,
                topic,
                offset: record.offset,
                latest,
                skew_max: self.skew_max,
                looks_first: !self.reads_all,
                is_settled: false,
                looked: None,
                is_written: written.is_some(),
                doubt: if is_doubtful { Some(&mut doubt) } else { None },
                time_min: None,
                time_max: None,
            };
            sink.out.counts.records += 1;
            if let Some(payload) = batch.payload_of(record) {
                sink.out.counts.bytes += payload.len() as u64;
                let cluster = batch.cluster_of(record).map(|cluster| &**cluster);
                let origin = Origin { cluster, time: record.time };
                self.decoder.decode(payload, origin, &mut sink);
            } else {
                let detail = "a record without a value".to_owned();
                sink.dead_letter(DeadLetterReason::Tombstone, detail, &[]);
            }
            let (time_min, time_max) = (sink.time_min, sink.time_max);
            out.time_min = earliest(out.time_min, time_min);
            let unread = out.dead_letters.len() - dead_letters;
            if unread > 0 {
                out.see_unread(partition, batch.cluster_of(record), unread);
            }
            if let Some(progress) = out.progress.get_mut(usize::from(record.partition_index)) {
                progress.records += 1;
                progress.next_offset = progress.next_offset.max(record.offset.saturating_add(1));
                progress.time_min = earliest(progress.time_min, time_min);
                progress.time_max = progress.time_max.max(time_max);
            }
        }
        if let Some(Doubt { time, .. }) = doubt
            && let Some(progress) = out.progress.first_mut()
        {
            progress.time_max = progress.time_max.max(Some(time));
        }
        out
    }
}

/// The earlier of two times, if there are any.
fn earliest(one: Option<EventTime>, other: Option<EventTime>) -> Option<EventTime> {
    one.into_iter().chain(other).min()
}

/// What asks the rules, and tells apart what the use of permissions tells apart.
fn matcher(rules: Arc<RuleSet>, used: Option<&UsedBefore>) -> RuleMatcher {
    let mut matcher = RuleMatcher::new(rules);
    if let Some(used) = used {
        matcher.tell_apart_by(&UsedBefore::FIELDS, used.reason());
    }
    matcher
}

/// An event of history that is much later than those before it in its batch: whether it is wrong, or
/// nothing happened meanwhile, the next one tells.
struct Doubt {
    time: EventTime,
    /// Latest time before it.
    before: Option<EventTime>,
    offset: i64,
    /// Its detections are those from here on.
    detections: usize,
}

/// Takes what comes out of one record.
struct Collector<'b> {
    out: &'b mut DetectionBatch,
    truths: &'b BTreeMap<String, Option<Arc<str>>>,
    matcher: &'b mut RuleMatcher,
    extractor: Option<&'b mut Extractor>,
    exceptions: &'b [Arc<Exception>],
    below: &'b mut Below,
    usage: UsageMode,
    used: Option<&'b mut UsedBefore>,
    alike: Option<&'b mut AlikeBefore>,
    owed: &'b mut Owed,
    /// How many events of the record came before.
    event_index: u32,
    partition: &'b Arc<PartitionName>,
    /// Of the partition, as checkpoints have it.
    topic: &'b Arc<str>,
    offset: i64,
    /// When it can have happened at the latest, but for wrong clocks.
    latest: EventTime,
    /// How wrong a clock may be.
    skew_max: Duration,
    /// Whether an event is looked at before it is read as a whole.
    looks_first: bool,
    /// The event that comes satisfies no rule, and not all of its fields are there.
    is_settled: bool,
    /// The event that comes was looked at, when these parts of it were passed over.
    looked: Option<Parts>,
    /// Whether `latest` is when the record was written.
    is_written: bool,
    /// The event before, if it is in doubt. `None` if none ever is.
    doubt: Option<&'b mut Option<Doubt>>,
    time_min: Option<EventTime>,
    time_max: Option<EventTime>,
}

impl Collector<'_> {
    /// The time that an event claims, if that cannot be; its time is then a possible one.
    fn correct(&mut self, event: &mut Event<'_>) -> Option<EventTime> {
        if event.time <= self.latest.plus(self.skew_max) {
            return None;
        }
        let claimed = std::mem::replace(&mut event.time, self.latest);
        self.ahead(claimed, self.latest, self.offset);
        Some(claimed)
    }

    fn ahead(&mut self, claimed: EventTime, taken_as: EventTime, offset: i64) {
        self.out.counts.events_from_future += 1;
        if self.out.ahead.len() < AHEAD_SHOWN_MAX {
            let partition = Arc::clone(self.partition);
            self.out.ahead.push(Ahead { partition, offset, claimed, taken_as });
        }
    }

    /// Takes the time of an event as progress, or doubts it. `detections` is how many there were before
    /// its own.
    fn progress(&mut self, time: EventTime, detections: usize) {
        let Some(before) = self.doubt.as_deref_mut().map(Option::take) else {
            self.time_max = self.time_max.max(Some(time));
            return;
        };
        let so_far = self.out.progress.iter().filter_map(|progress| progress.time_max).max();
        let mut so_far = so_far.max(self.time_max);
        if let Some(doubt) = before {
            if time >= doubt.time.minus(self.skew_max) {
                self.time_max = self.time_max.max(Some(doubt.time));
                so_far = so_far.max(Some(doubt.time));
            } else {
                // It was wrong: it is taken for what is around it.
                let taken_as = doubt.before.unwrap_or(time);
                if doubt.before.is_none() {
                    self.out.time_first = Some(taken_as);
                }
                for detection in self
                    .out
                    .detections
                    .iter_mut()
                    .skip(doubt.detections)
                    .take(detections.saturating_sub(doubt.detections))
                {
                    detection.claimed = Some(detection.time);
                    detection.time = taken_as;
                }
                self.ahead(doubt.time, taken_as, doubt.offset);
            }
        }
        if so_far.is_some_and(|so_far| time <= so_far.plus(self.skew_max)) {
            self.time_max = self.time_max.max(Some(time));
        } else if let Some(doubt) = self.doubt.as_deref_mut() {
            *doubt = Some(Doubt { time, before: so_far, offset: self.offset, detections });
        }
    }

    /// Takes what is to be recorded of an event.
    #[inline]
    fn record(
        &mut self,
        event: &Event<'_>,
        reference: &mut Reference<'_>,
        looked: Option<&Looked>,
        is_from_future: bool,
    ) {
        let Some(extractor) = &mut self.extractor else { return };
        let used = self.used.as_mut().zip(looked);
        let is_new_usage = used.is_some_and(|(used, looked)| used.is_new(event, looked));
        let recorded = self.matcher.recorded();
        if recorded.is_empty() && !is_new_usage {
            return;
        }
        let manner = extractor.manner(recorded);
        let mut place = None;
        let is_looked_up = !recorded.is_empty() && !is_from_future;
        if let Some(before) = self.alike.as_deref_mut().filter(|_| is_looked_up) {
            match before.find(event, recorded, &manner) {
                Ok(alike) if !is_new_usage => {
                    let observed = Observed::one_of(alike, event.time, event, reference);
                    self.out.accesses.push(observed);
                    return;
                }
                Ok(_) => {}
                Err(found) => place = found,
            }
        }
        let Some(access) = extractor.extract(event, recorded, reference, is_from_future) else {
            return;
        };
        if is_new_usage {
            let usage = Usage::of(access.clone());
            let is_wanted = |usage: &Usage| self.usage == UsageMode::All || usage.is_of_people();
            self.out.usage.extend(usage.filter(is_wanted));
        }
        if recorded.is_empty() {
            return;
        }
        let observed = match (self.alike.as_deref_mut(), manner.every) {
            // Which step of a session it is matters to those before and behind it.
            (Some(before), Some(every)) if !manner.is_session => {
                let at = access.at;
                let alike = Arc::new(Alike::new(access, every, manner.key));
                if let Some(place) = place {
                    before.put(place, Arc::clone(&alike));
                }
                Observed::one_of(&alike, at, event, reference)
            }
            _ => Observed::Whole(Box::new(access), manner),
        };
        self.out.accesses.push(observed);
    }

    /// Whether another source is the truth for the event's cluster.
    fn is_of_another(&self, event: &Event<'_>) -> bool {
        let cluster = event.first_str(well_known::CLUSTER).unwrap_or("");
        self.truths.get(cluster).is_some_and(|source| *source != self.partition.source)
    }
}

impl Sink for Collector<'_> {
    fn event(&mut self, event: &mut Event<'_>) {
        let looked = self.looked.take();
        let event_index = self.event_index;
        self.event_index += 1;
        if !self.truths.is_empty() && self.is_of_another(event) {
            self.out.counts.events_elsewhere += 1;
            return;
        }
        let claimed = self.correct(event);
        self.time_min = Some(self.time_min.map_or(event.time, |time| time.min(event.time)));
        let mut reference =
            Reference::new(self.topic, self.partition.partition, self.offset, event_index);
        let detections = self.out.detections.len();
        if !self.is_settled {
            self.out.counts.rules_evaluated +=
                self.matcher.detect(event, looked, &mut reference, &mut self.out.detections);
        }
        // Before all that is counted: what is known of it comes out of memory meanwhile.
        let used =
            self.used.as_mut().map(|used| used.look(event, self.matcher.combinations(event)));
        let is_canonical = is_canonical(event);
        // History is not recorded.
        let is_recorded = is_canonical && self.extractor.is_some();
        let below = if is_recorded { self.below.look(event) } else { None };
        self.out.hours.see(event, below);
        let counts = &mut self.out.counts;
        counts.events += 1;
        counts.events_canonical += u64::from(is_canonical);
        counts.values_dropped += u64::from(event.values_dropped);
        counts.events_cut += u64::from(event.is_cut);
        if !event.unread.is_empty() {
            counts.fields_unread.add(event.unread);
        }
        if claimed.is_some() {
            let own = self.out.detections.iter_mut().skip(detections);
            own.for_each(|detection| detection.claimed = claimed);
        }
        // Our own clock tells when something happened only of what comes live.
        if claimed.is_none() || self.is_written {
            self.out.time_first.get_or_insert(event.time);
            self.progress(event.time, detections);
        }
        for exception in self.matcher.excepted() {
            self.out.see_exception(self.exceptions, *exception, event);
        }
        self.record(event, &mut reference, used.as_ref(), claimed.is_some());
        if self.matcher.watches(event) {
            match event.stage {
                Stage::Unfinished => {}
                Stage::RequestReceived => {
                    self.out.received.extend(self.matcher.received(event, &mut reference));
                }
                _ => {
                    let identity = reference.request(event);
                    self.out.ended.push(Ended { identity, time: event.time });
                }
            }
        }
        self.owed.note(reference, event);
    }

    fn looks_first(&self) -> bool {
        self.looks_first
    }

    fn settles(&mut self, event: &mut Event<'_>, passed: Parts) -> bool {
        let is_from_future = event.time > self.latest.plus(self.skew_max);
        let is_watched = event.stage == Stage::RequestReceived && self.matcher.watches(event);
        if is_from_future || is_watched {
            return false;
        }
        let settles = self.matcher.is_settled(event, passed);
        self.looked = (!settles).then_some(passed);
        if settles {
            self.is_settled = true;
            self.event(event);
            self.is_settled = false;
        }
        settles
    }

    fn control(&mut self, message: ControlMessage) {
        self.out.counts.control_messages.add(message);
    }

    fn dead_letter(&mut self, reason: DeadLetterReason, detail: String, bytes: &[u8]) {
        let kept = bytes.len().min(limits::DEAD_LETTER_BYTES_MAX);
        self.out.dead_letters.push(DeadLetter {
            partition: Arc::clone(self.partition),
            offset: self.offset,
            reason,
            detail,
            payload: redact_record(bytes.get(..kept).unwrap_or(bytes)),
        });
    }
}

/// What a batch of records came to.
#[derive(Clone, Debug, Default)]
pub struct DetectionBatch {
    /// The record batch's number.
    pub sequence: u64,
    /// Counts up with each rule set; detections refer to rules of this one.
    pub rules_epoch: u64,
    /// What events were held against: none of them is taken as from later than that, but for the allowed skew.
    pub detected_at: Option<WallTime>,
    /// How far this batch brings each partition that it touched.
    pub progress: Vec<Progress>,
    /// In the order of the records.
    pub detections: Vec<Detection>,
    /// What recording rules matched, in the order of the records.
    pub accesses: Vec<Observed>,
    /// Allowed requests unlike those that this worker knows of their day, in the order of the records.
    pub usage: Vec<Usage>,
    /// Exceptions that were used, by the hour, with how often.
    pub exceptions: BTreeMap<(i64, ExceptionIndex), ExceptionUses>,
    /// Changes that were received, of which some rule wants to know if they never end.
    pub received: Vec<Received>,
    /// Changes that have an answer, if some rule wants to know of those without one.
    pub ended: Vec<Ended>,
    /// Records that could not be decoded, in order.
    pub dead_letters: Vec<DeadLetter>,
    /// How many of them there are by partition and cluster.
    pub unread: Vec<Unread>,
    /// Earliest event time seen; `None` if there were no events.
    pub time_min: Option<EventTime>,
    /// Time of the first event of which it is known, in the order of the records.
    pub time_first: Option<EventTime>,
    /// How many events of which cluster and hour there were, for coverage.
    pub hours: SeenHours,
    /// What was counted on the way.
    pub counts: DetectCounts,
    /// What the source keeps with its positions.
    pub notes: Vec<SourceNote>,
    /// The first events that claimed a time which cannot be theirs.
    pub ahead: Vec<Ahead>,
}

/// Events of one batch that are shown with a time that cannot be theirs: 10. All are counted.
const AHEAD_SHOWN_MAX: usize = 10;

/// An event that claims a time which cannot be its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ahead {
    /// Where its record is.
    pub partition: Arc<PartitionName>,
    /// Offset or line of the record.
    pub offset: i64,
    /// What it claims.
    pub claimed: EventTime,
    /// What it was taken as.
    pub taken_as: EventTime,
}

/// Records of one partition of which something could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unread {
    /// The partition.
    pub partition: Arc<PartitionName>,
    /// The cluster, if the source names it: all of these were of it.
    pub cluster: Option<Arc<str>>,
    /// Dead letters.
    pub count: u64,
}

/// Uses of one exception in one hour of event time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExceptionUses {
    /// Which one.
    pub exception: Arc<Exception>,
    /// Events that rules left out because of it: one a request.
    pub count: u64,
    /// When the last of them was.
    pub last: EventTime,
    /// Those of each cluster that events name, with when the last was. Of too many clusters the first.
    pub by_cluster: Vec<(Arc<str>, u64, EventTime)>,
}

impl DetectionBatch {
    /// Counts the use of an exception for its hour.
    fn see_exception(
        &mut self,
        exceptions: &[Arc<Exception>],
        index: ExceptionIndex,
        event: &Event<'_>,
    ) {
        let Some(exception) = exceptions.get(index.index()) else { return };
        let time = event.time;
        let hour = time.hour();
        let none = || ExceptionUses {
            exception: Arc::clone(exception),
            count: 0,
            last: time,
            by_cluster: Vec::new(),
        };
        let uses = self.exceptions.entry((hour, index)).or_insert_with(none);
        uses.count += 1;
        uses.last = uses.last.max(time);
        let Some(cluster) = event.first_str(well_known::CLUSTER) else { return };
        let is_room = uses.by_cluster.len() < limits::EXCEPTION_CLUSTERS_MAX;
        match uses.by_cluster.iter_mut().find(|(known, ..)| **known == *cluster) {
            Some((_, count, last)) => (*count, *last) = (*count + 1, time.max(*last)),
            None if is_room => {
                uses.by_cluster.push((Arc::from(cluster), 1, time));
            }
            None => {}
        }
    }

    /// Some of a record became dead letters.
    fn see_unread(
        &mut self,
        partition: &Arc<PartitionName>,
        cluster: Option<&Arc<str>>,
        count: usize,
    ) {
        let count = count as u64;
        let is_it =
            |one: &&mut Unread| one.partition == *partition && one.cluster.as_ref() == cluster;
        if let Some(one) = self.unread.iter_mut().find(is_it) {
            one.count += count;
            return;
        }
        let (partition, cluster) = (Arc::clone(partition), cluster.cloned());
        self.unread.push(Unread { partition, cluster, count });
    }
}

/// Counters of one batch; the shell adds them to its metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DetectCounts {
    /// Records, tombstones included.
    pub records: u64,
    /// Bytes of their payloads.
    pub bytes: u64,
    /// Events decoded, all stages.
    pub events: u64,
    /// Requests: events without those of stage `RequestReceived`, and without the second answer of
    /// requests that run long.
    pub events_canonical: u64,
    /// Events that claimed a time which cannot be theirs: ahead of the operator's clock, or of the time at
    /// which their record was written, by more than the allowed skew.
    pub events_from_future: u64,
    /// Events of a cluster for which another source is the truth; rules did not see them.
    pub events_elsewhere: u64,
    /// Values that rules did not see.
    pub values_dropped: u64,
    /// Events that were cut off on their way; each is a dead letter, too.
    pub events_cut: u64,
    /// Fields that were written in a way that says nothing clear, and so were absent for rules.
    pub fields_unread: UnreadCounts,
    /// Messages that are known to hold no events.
    pub control_messages: ControlCounts,
    /// Rules looked at after the index, summed over events.
    pub rules_evaluated: u64,
}
