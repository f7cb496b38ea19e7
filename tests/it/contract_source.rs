//! What every source must do, and what the Kafka source does about faults, on an embedded Kafka.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tripline::{
    engine::{
        diagnostic::{Diagnostic, Problems, SourceText},
        record::{PartitionName, Position, RecordBatch},
        yaml::{Section, parse},
    },
    kafka::{EmbeddedKafka, Producer, Record},
    source::{
        BatchSink, Progress, RecordReader as _, SOURCES, Source, SourceContext, SourceError,
        SourceEvent,
        kafka::{KafkaRange, KafkaSettings, KafkaSource, Start},
    },
    web::SecretSource,
};

/// How long anything may take before a test gives up.
const PATIENCE: Duration = Duration::from_secs(40);

/// Everything that a running source gave out.
#[derive(Default)]
struct Seen {
    batches: Vec<RecordBatch>,
    events: Vec<SourceEvent>,
}

/// A source on its thread, and what came from it.
struct Running {
    seen: Arc<(Mutex<Seen>, Condvar)>,
    full: Arc<AtomicBool>,
    stop: CancellationToken,
    committed: watch::Sender<Vec<Position>>,
    outcome: mpsc::Receiver<Result<(), SourceError>>,
}

struct Sink {
    seen: Arc<(Mutex<Seen>, Condvar)>,
    full: Arc<AtomicBool>,
}

impl BatchSink for Sink {
    fn offer(&mut self, batch: RecordBatch) -> Result<(), RecordBatch> {
        if self.full.load(Ordering::SeqCst) {
            return Err(batch);
        }
        self.seen.0.lock().unwrap().batches.push(batch);
        self.seen.1.notify_all();
        Ok(())
    }
}

fn start(source: Box<dyn Source>, positions: Vec<Position>) -> Running {
    let seen: Arc<(Mutex<Seen>, Condvar)> = Arc::default();
    let full = Arc::new(AtomicBool::new(false));
    let (committed, committed_receiver) = watch::channel(Vec::new());
    let stop = CancellationToken::new();
    let events = {
        let seen = Arc::clone(&seen);
        move |event| {
            seen.0.lock().unwrap().events.push(event);
            seen.1.notify_all();
        }
    };
    let context = SourceContext {
        claim: Arc::default(),
        name: None,
        sink: Box::new(Sink { seen: Arc::clone(&seen), full: Arc::clone(&full) }),
        positions,
        rebuild: Duration::ZERO,
        notes: Vec::new(),
        committed: committed_receiver,
        events: Box::new(events),
        stop: stop.clone(),
    };
    let (sender, outcome) = mpsc::channel();
    thread::spawn(move || sender.send(source.run(context)));
    Running { seen, full, stop, committed, outcome }
}

impl Running {
    /// Waits until `is_done` holds of what was seen.
    fn wait<T>(&self, what: &str, mut is_done: impl FnMut(&Seen) -> Option<T>) -> T {
        let deadline = Instant::now() + PATIENCE;
        let mut seen = self.seen.0.lock().unwrap();
        loop {
            if let Some(found) = is_done(&seen) {
                return found;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "waited in vain for {what}; events: {:?}", seen.events);
            seen = self.seen.1.wait_timeout(seen, left).unwrap().0;
        }
    }

    fn wait_for_records(&self, count: usize) {
        self.wait(&format!("{count} records"), |seen| {
            let records: usize = seen.batches.iter().map(|batch| batch.records.len()).sum();
            (records >= count).then_some(())
        });
    }

    fn wait_for_event<T>(&self, what: &str, find: impl Fn(&SourceEvent) -> Option<T>) -> T {
        self.wait(what, |seen| seen.events.iter().find_map(&find))
    }

    /// Stops it; what it read, each partition in order of reading, as offset and payload.
    fn stop(self) -> BTreeMap<PartitionName, Vec<(i64, String)>> {
        self.stop.cancel();
        self.outcome.recv_timeout(PATIENCE).expect("the source must end when told to").unwrap();
        let seen = self.seen.0.lock().unwrap();
        let sequences: Vec<u64> = seen.batches.iter().map(|batch| batch.sequence).collect();
        assert_eq!(sequences, (0..sequences.len() as u64).collect::<Vec<_>>());
        let mut records: BTreeMap<PartitionName, Vec<(i64, String)>> = BTreeMap::new();
        for batch in &seen.batches {
            for record in &batch.records {
                let payload = batch.payload_of(record).unwrap_or(b"(tombstone)");
                let name = (**batch.partition_of(record).unwrap()).clone();
                let payload = String::from_utf8_lossy(payload).into_owned();
                records.entry(name).or_default().push((record.offset, payload));
            }
        }
        records
    }
}

fn no_secrets() -> SecretSource {
    Arc::new(|_| Err("there are no secrets".to_owned()))
}

fn position(partition: i32, next_offset: i64) -> Position {
    let topic = "audit".to_owned();
    Position::new(Arc::new(PartitionName::new(topic, partition)), next_offset)
}

fn settings(kafka: &EmbeddedKafka) -> KafkaSettings {
    KafkaSettings::new(kafka.brokers(), vec!["audit".to_owned()], "tripline")
}

/// For runs that follow each other. The embedded Kafka does not know that a static member came back,
/// as real brokers do, but waits until the old one has timed out.
fn source_of_a_restart(mut settings: KafkaSettings) -> Box<dyn Source> {
    let timeout = ("session.timeout.ms".to_owned(), "3000".to_owned());
    settings.connection.properties.extend([timeout]);
    let no_secret = |_: &_| Err("none".to_owned());
    let connection = settings.connection.open(&no_secret).unwrap();
    Box::new(KafkaSource::new(settings, connection))
}

fn source(kafka: &EmbeddedKafka, settings: KafkaSettings) -> Box<dyn Source> {
    Box::new(KafkaSource::new(settings, kafka.connection()))
}

/// Writes `numbers` as payloads, spread over three partitions by number.
fn produce(kafka: &EmbeddedKafka, numbers: std::ops::Range<u32>) {
    let producer = Producer::new(kafka.connection(), "audit").unwrap();
    for number in numbers {
        let payload = format!("record {number}");
        let partition = Some(i32::try_from(number % 3).unwrap());
        let record = Record { payload: Some(payload.as_bytes()), partition, ..Record::default() };
        producer.produce(&record).unwrap();
    }
    producer.flush(PATIENCE).unwrap();
}

fn three_partitions() -> EmbeddedKafka {
    let kafka = EmbeddedKafka::start().unwrap();
    kafka.create_topic("audit", 3).unwrap();
    kafka
}

/// Every record of `numbers`, once, in order, from the given offset of each partition on.
fn assert_all(
    records: &BTreeMap<PartitionName, Vec<(i64, String)>>,
    numbers: std::ops::Range<u32>,
    from: [i64; 3],
) {
    for partition in 0..3_u32 {
        let topic = "audit".to_owned();
        let name = PartitionName::new(topic, i32::try_from(partition).unwrap());
        let mine = numbers.clone().filter(|number| number % 3 == partition);
        let expected: Vec<(i64, String)> = mine
            .zip(0..)
            .map(|(number, offset)| (offset, format!("record {number}")))
            .filter(|(offset, _)| *offset >= from[partition as usize])
            .collect();
        assert_eq!(records.get(&name).cloned().unwrap_or_default(), expected, "{name}");
    }
}

/// All of these mostly wait: the embedded Kafka lets a group form for 3 s, whatever happens. So they
/// wait side by side.
#[test]
fn kafka_is_read_once_and_in_order_whatever_happens() {
    let cases: [(&str, fn()); 10] = [
        ("every_record_comes_once_and_in_order", every_record_comes_once_and_in_order),
        ("the_checkpoint_wins_over_committed_offsets", the_checkpoint_wins_over_committed_offsets),
        (
            "a_full_sink_pauses_and_nothing_is_lost_or_doubled",
            a_full_sink_pauses_and_nothing_is_lost_or_doubled,
        ),
        (
            "a_broker_that_goes_away_is_told_and_survived",
            a_broker_that_goes_away_is_told_and_survived,
        ),
        (
            "nothing_hangs_when_the_broker_is_gone_for_good",
            nothing_hangs_when_the_broker_is_gone_for_good,
        ),
        ("a_broker_that_is_away_at_the_start_is_told", a_broker_that_is_away_at_the_start_is_told),
        (
            "a_position_beyond_the_end_begins_again_and_says_so",
            a_position_beyond_the_end_begins_again_and_says_so,
        ),
        ("latest_skips_what_is_old_once", latest_skips_what_is_old_once),
        (
            "clusters_come_from_the_header_or_the_settings",
            clusters_come_from_the_header_or_the_settings,
        ),
        (
            "a_stretch_of_kafka_is_read_once_and_disturbs_nobody",
            a_stretch_of_kafka_is_read_once_and_disturbs_nobody,
        ),
    ];
    let failed: Vec<&str> = thread::scope(|scope| {
        let run = |(name, case): (&'static str, fn())| (name, scope.spawn(case));
        let running: Vec<_> = cases.map(run).into();
        let failed = |(name, case): (&'static str, thread::ScopedJoinHandle<'_, ()>)| {
            case.join().is_err().then_some(name)
        };
        running.into_iter().filter_map(failed).collect()
    });
    assert!(failed.is_empty(), "failed: {}", failed.join(", "));
}

fn every_record_comes_once_and_in_order() {
    let kafka = three_partitions();
    produce(&kafka, 0..3_000);
    let running = start(source(&kafka, settings(&kafka)), vec![]);
    running.wait_for_records(3_000);
    produce(&kafka, 0..0);
    assert_all(&running.stop(), 0..3_000, [0, 0, 0]);
}

fn the_checkpoint_wins_over_committed_offsets() {
    let kafka = three_partitions();
    produce(&kafka, 0..300);
    let first = start(source_of_a_restart(settings(&kafka)), vec![]);
    first.wait_for_records(300);
    // The group remembers offset 90 of each partition, the next run's checkpoint says otherwise.
    first.committed.send((0..3).map(|partition| position(partition, 90)).collect()).unwrap();
    assert_all(&first.stop(), 0..300, [0, 0, 0]);

    let positions = || vec![position(0, 50), position(1, 99)];
    let mut trusting = settings(&kafka);
    trusting.start = Start::Group;
    let second = start(source_of_a_restart(trusting), positions());
    second.wait_for_records(50 + 1 + 10);
    assert_all(&second.stop(), 0..300, [50, 99, 90]);

    // Whoever has committed it, the checkpoint does not know it.
    let third = start(source_of_a_restart(settings(&kafka)), positions());
    third.wait_for_records(50 + 1 + 100);
    assert_all(&third.stop(), 0..300, [50, 99, 0]);
}

fn a_full_sink_pauses_and_nothing_is_lost_or_doubled() {
    let kafka = three_partitions();
    produce(&kafka, 0..6_000);
    let running = start(source(&kafka, settings(&kafka)), vec![]);
    running.full.store(true, Ordering::SeqCst);
    let paused = |wanted: bool| {
        move |event: &SourceEvent| {
            matches!(event, SourceEvent::Paused(paused) if *paused == wanted).then_some(())
        }
    };
    running.wait_for_event("the pause", paused(true));
    produce(&kafka, 0..0);
    running.full.store(false, Ordering::SeqCst);
    running.wait_for_event("the end of the pause", paused(false));
    running.wait_for_records(6_000);
    assert_all(&running.stop(), 0..6_000, [0, 0, 0]);
}

fn a_broker_that_goes_away_is_told_and_survived() {
    let kafka = three_partitions();
    produce(&kafka, 0..30);
    let running = start(source(&kafka, settings(&kafka)), vec![]);
    running.wait_for_records(30);
    kafka.set_reachable(false).unwrap();
    let detail = running.wait_for_event("the outage", |event| match event {
        SourceEvent::Unavailable { detail } => Some(detail.clone()),
        _ => None,
    });
    assert!(detail.contains("no broker can be reached"), "{detail}");
    kafka.set_reachable(true).unwrap();
    running.wait("the recovery", |seen| {
        let outage = seen
            .events
            .iter()
            .position(|event| matches!(event, SourceEvent::Unavailable { .. }))?;
        let after = seen.events.get(outage..)?;
        after.iter().any(|event| matches!(event, SourceEvent::Ready { .. })).then_some(())
    });
    produce(&kafka, 30..60);
    running.wait_for_records(60);
    let records = running.stop();
    let all: usize = records.values().map(Vec::len).sum();
    assert_eq!(all, 60);
}

fn nothing_hangs_when_the_broker_is_gone_for_good() {
    let kafka = three_partitions();
    produce(&kafka, 0..30);
    let running = start(source(&kafka, settings(&kafka)), vec![]);
    running.wait_for_records(30);
    running.committed.send(vec![position(0, 10)]).unwrap();
    drop(kafka);
    running.stop();
}

fn a_broker_that_is_away_at_the_start_is_told() {
    let settings =
        KafkaSettings::new(vec!["127.0.0.1:1".to_owned()], vec!["audit".to_owned()], "tripline");
    let no_secret = |_: &_| Err("none".to_owned());
    let connection = settings.connection.open(&no_secret).unwrap();
    let running = start(Box::new(KafkaSource::new(settings, connection)), vec![]);
    let detail = running.wait_for_event("the outage", |event| match event {
        SourceEvent::Unavailable { detail } => Some(detail.clone()),
        _ => None,
    });
    assert!(detail.contains("127.0.0.1:1"), "{detail}");
    assert!(running.stop().is_empty());
}

fn a_position_beyond_the_end_begins_again_and_says_so() {
    let kafka = three_partitions();
    produce(&kafka, 0..30);
    let running = start(source(&kafka, settings(&kafka)), vec![position(1, 5_000)]);
    let (from, to) = running.wait_for_event("the rewind", |event| match event {
        SourceEvent::Rewound { from, to, .. } => Some((*from, *to)),
        _ => None,
    });
    assert_eq!((from, to), (5_000, 0));
    running.wait_for_records(30);
    assert_all(&running.stop(), 0..30, [0, 0, 0]);
}

fn latest_skips_what_is_old_once() {
    let kafka = three_partitions();
    produce(&kafka, 0..30);
    let mut latest = settings(&kafka);
    latest.start = Start::Latest;
    let ready = |event: &SourceEvent| match event {
        SourceEvent::Ready { partitions } if partitions.len() == 3 => Some(()),
        _ => None,
    };
    let first = start(source_of_a_restart(latest.clone()), vec![]);
    first.wait_for_event("three partitions", ready);
    // Stopped before anything came: the next run must not skip what comes now.
    assert!(first.stop().is_empty());
    produce(&kafka, 30..60);
    let second = start(source_of_a_restart(latest), vec![]);
    second.wait_for_records(30);
    let records = second.stop();
    assert!(records.values().flatten().all(|(offset, _)| *offset >= 10), "{records:?}");
}

fn clusters_come_from_the_header_or_the_settings() {
    let kafka = three_partitions();
    let producer = Producer::new(kafka.connection(), "audit").unwrap();
    for headers in [&[("cluster", &b"prod"[..])][..], &[]] {
        let record =
            Record { payload: Some(b"x"), partition: Some(0), headers, ..Record::default() };
        producer.produce(&record).unwrap();
    }
    producer.produce(&Record { partition: Some(0), ..Record::default() }).unwrap();
    producer.flush(PATIENCE).unwrap();
    let mut with_cluster = settings(&kafka);
    with_cluster.cluster = Some("fallback".into());
    with_cluster.cluster_header = Some("cluster".to_owned());
    let running = start(source(&kafka, with_cluster), vec![]);
    running.wait_for_records(3);
    let clusters = running.wait("records", |seen| {
        let names = seen.batches.iter().flat_map(|batch| {
            batch.records.iter().map(|record| {
                let payload = batch.payload_of(record).map(<[u8]>::to_vec);
                (batch.cluster_of(record).map(ToString::to_string), payload)
            })
        });
        Some(names.collect::<Vec<_>>())
    });
    let named = |name: &str| Some(name.to_owned());
    let x = || Some(b"x".to_vec());
    assert_eq!(
        clusters,
        [(named("prod"), x()), (named("fallback"), x()), (named("fallback"), None)]
    );
    running.stop();
}

#[test]
fn files_go_on_after_the_checkpoint_wait_for_room_and_end() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("audit.log");
    let lines: Vec<String> = (0..3_000).map(|n| n.to_string()).collect();
    std::fs::write(&path, lines.join("\n")).unwrap();
    let text = format!("paths: [{}]", path.display());
    let (source, problems) = (SourceText::new("t.yaml", text), Problems::new());
    let nodes = parse(&source).unwrap();
    let section = Section::new(&source, &problems, &nodes[0], "");
    let kind = SOURCES.iter().find(|kind| kind.name() == "file").unwrap();
    let config = kind.parse(&section).unwrap();
    let file = config.build(&no_secrets()).unwrap();
    let name = PartitionName::new(path.display().to_string(), 0);
    let position = Position::new(Arc::new(name.clone()), 10);

    let running = start(file, vec![position]);
    running.full.store(true, Ordering::SeqCst);
    running.wait_for_event("the file", |event| match event {
        SourceEvent::Ready { partitions } => Some(partitions.len()),
        _ => None,
    });
    running.full.store(false, Ordering::SeqCst);
    running.wait_for_records(2_990);
    let expected: Vec<(i64, String)> = (10..3_000).map(|n| (n, n.to_string())).collect();
    assert_eq!(running.stop(), BTreeMap::from([(name, expected)]));
}

fn a_stretch_of_kafka_is_read_once_and_disturbs_nobody() {
    let kafka = three_partitions();
    kafka.create_topic("audit-empty", 2).unwrap();
    produce(&kafka, 0..6_000);
    let running = start(source(&kafka, settings(&kafka)), vec![]);
    running.wait_for_records(6_000);

    let mut ranged = settings(&kafka);
    ranged.topics = vec!["^audit.*".to_owned()];
    let mut history = KafkaRange::open(&ranged, &kafka.connection(), None, None).unwrap();
    // Written after it was opened, so not part of it.
    produce(&kafka, 6_000..6_300);
    let mut records: BTreeMap<PartitionName, Vec<(i64, String)>> = BTreeMap::new();
    let mut sequences = Vec::new();
    while let Some(batch) = history.next_batch().unwrap() {
        sequences.push(batch.sequence);
        for record in &batch.records {
            let name = (**batch.partition_of(record).unwrap()).clone();
            let payload = String::from_utf8_lossy(batch.payload_of(record).unwrap()).into_owned();
            records.entry(name).or_default().push((record.offset, payload));
        }
    }
    assert_all(&records, 0..6_000, [0, 0, 0]);
    assert_eq!(sequences, (0..sequences.len() as u64).collect::<Vec<_>>());
    assert_eq!(history.progress(), Progress { done: 6_000, total: Some(6_000) });
    drop(history);

    running.wait_for_records(6_300);
    assert_all(&running.stop(), 0..6_300, [0, 0, 0]);
}

#[test]
fn a_stretch_of_a_topic_that_is_not_there_is_an_error() {
    let kafka = three_partitions();
    for (topic, part) in [("^nothing", "no Kafka topic matches"), ("gone", "no Kafka topic gone")] {
        let mut ranged = settings(&kafka);
        ranged.topics = vec![topic.to_owned()];
        let error = KafkaRange::open(&ranged, &kafka.connection(), None, None).unwrap_err();
        assert!(error.to_string().contains(part), "{error}");
    }
}

fn problems(text: &str) -> Vec<String> {
    let source = SourceText::new("tripline.yaml", text);
    let (nodes, problems) = (parse(&source).unwrap(), Problems::new());
    let section = Section::new(&source, &problems, &nodes[0], "sources[0].kafka");
    let kind = SOURCES.iter().find(|kind| kind.name() == "kafka").unwrap();
    let parsed = kind.parse(&section);
    section.finish();
    let problems = problems.into_sorted();
    assert_eq!(parsed.is_none(), !problems.is_empty(), "{problems:?}");
    problems.iter().map(Diagnostic::one_line).collect()
}

#[test]
fn kafka_settings_report_all_mistakes() {
    let text = "
brokers: [kafka, 'http://k:9092']
topics: ['au dit', '^(']
sasl: {mechanism: GSSAPI}
properties: {enable.auto.commit: 'true', fetch.wait.max.ms: soon, no.such.thing: 1}
";
    let problems = problems(text).join("\n");
    for part in [
        "`kafka` is not a broker's address",
        "`http://k:9092` is not a broker's address",
        "`au dit` is not a topic",
        "`^(` is not a pattern",
        "group is missing",
        "mechanism cannot be `GSSAPI`",
        "`enable.auto.commit` cannot be passed through",
        "`fetch.wait.max.ms` is not accepted",
        "`no.such.thing` is not accepted",
    ] {
        assert!(problems.contains(part), "no `{part}` in:\n{problems}");
    }
}

#[test]
fn every_source_has_an_example_that_builds() {
    for kind in SOURCES {
        let source = SourceText::new(kind.name(), kind.example());
        let (nodes, problems) = (parse(&source).unwrap(), Problems::new());
        let section = Section::new(&source, &problems, &nodes[0], "");
        let config = kind.parse(&section).unwrap();
        section.finish();
        assert_eq!(problems.into_sorted(), [], "{}", kind.name());
        assert!(kind.summary().ends_with('.'));
        assert!(config.build(&no_secrets()).is_ok(), "{}", kind.name());
    }
}
