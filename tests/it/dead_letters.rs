//! Dead letters in a Kafka topic, read back with a consumer.

use std::{
    sync::{Arc, mpsc},
    thread,
    time::{Duration, Instant},
};

use tokio_util::sync::CancellationToken;
use tripline::{
    engine::{
        detector::{DeadLetter, DeadLetterReason},
        record::{PartitionName, RecordBatch},
        time::WallTime,
    },
    kafka::{EmbeddedKafka, Producer, Record},
    source::{
        BatchSink, Source as _, SourceContext,
        kafka::{KafkaSettings, KafkaSource},
    },
    store::{dead_letter::DeadLetterSink as _, dead_letter_topic::DeadLetterTopic},
};

const PATIENCE: Duration = Duration::from_secs(40);

fn letter(offset: i64, payload: Vec<u8>) -> DeadLetter {
    DeadLetter {
        partition: Arc::new(PartitionName::new("audit", 2)),
        offset,
        reason: DeadLetterReason::TooLarge,
        detail: "too large".to_owned(),
        payload,
    }
}

struct Channel(mpsc::Sender<RecordBatch>);

impl BatchSink for Channel {
    fn offer(&mut self, batch: RecordBatch) -> Result<(), RecordBatch> {
        self.0.send(batch).map_err(|error| error.0)
    }
}

#[test]
fn letters_keep_their_bytes_and_a_huge_one_is_cut() {
    let kafka = EmbeddedKafka::start().unwrap();
    kafka.create_topic("dead", 1).unwrap();
    let producer = Producer::new(kafka.connection(), "dead").unwrap();
    let mut topic = DeadLetterTopic::new(producer);
    let letters = [letter(7, vec![0xff, 0x00]), letter(8, vec![b'x'; 1 << 20])];
    topic.append(WallTime::from_micros(0), &letters).unwrap();
    topic.sync().unwrap();
    assert_eq!(topic.dropped(), 0);

    let mut settings = KafkaSettings::new(kafka.brokers(), vec!["dead".to_owned()], "reader");
    // What a header says is seen through the only header that a source reads.
    settings.cluster_header = Some("reason".to_owned());
    let source = Box::new(KafkaSource::new(settings, kafka.connection()));
    let (sender, batches) = mpsc::channel();
    let stop = CancellationToken::new();
    let context = SourceContext {
        claim: Arc::default(),
        name: None,
        sink: Box::new(Channel(sender)),
        positions: vec![],
        rebuild: Duration::ZERO,
        notes: vec![],
        committed: tokio::sync::watch::channel(vec![]).1,
        events: Box::new(|_| {}),
        stop: stop.clone(),
    };
    let running = thread::spawn(move || source.run(context));
    let mut lengths = Vec::new();
    while lengths.len() < 2 {
        let batch = batches.recv_timeout(PATIENCE).expect("two letters");
        for record in &batch.records {
            assert_eq!(batch.cluster_of(record).map(AsRef::as_ref), Some("too_large"));
            lengths.push(batch.payload_of(record).unwrap().len());
        }
    }
    assert_eq!(lengths, [2, 900_000]);
    stop.cancel();
    running.join().unwrap().unwrap();
}

#[test]
fn letters_that_are_not_acknowledged_hold_up_the_checkpoint() {
    let kafka = EmbeddedKafka::start().unwrap();
    kafka.create_topic("dead", 1).unwrap();
    let mut connection = tripline::kafka::Connection::new(kafka.brokers());
    connection.properties.insert("delivery.timeout.ms".to_owned(), "1500".to_owned());
    let no_secret = |_: &_| Err("none".to_owned());
    let producer = Producer::new(connection.open(&no_secret).unwrap(), "dead").unwrap();
    let mut topic = DeadLetterTopic::new(producer);
    kafka.set_reachable(false).unwrap();
    topic.append(WallTime::from_micros(0), &[letter(1, b"x".to_vec())]).unwrap();
    let message = topic.sync().unwrap_err().to_string();
    assert!(message.contains("dead"), "{message}");
    // The same letters are handed over again, and then it works.
    kafka.set_reachable(true).unwrap();
    topic.append(WallTime::from_micros(0), &[letter(1, b"x".to_vec())]).unwrap();
    topic.sync().unwrap();
    assert_eq!(topic.dropped(), 0);
}

/// It is said soon that letters wait, and those that are on their way are not written once more.
#[test]
fn letters_that_wait_are_said_soon_and_written_once() {
    let kafka = EmbeddedKafka::start().unwrap();
    kafka.create_topic("dead", 1).unwrap();
    let mut topic = DeadLetterTopic::new(Producer::new(kafka.connection(), "dead").unwrap());
    kafka.set_reachable(false).unwrap();
    let letters = [letter(1, b"x".to_vec()), letter(2, b"y".to_vec())];
    let mut keep = || {
        topic.append(WallTime::from_micros(0), &letters).unwrap();
        topic.sync()
    };
    for _ in 0..2 {
        let began = Instant::now();
        let message = keep().unwrap_err().to_string();
        assert!(message.contains("letters wait to be acknowledged"), "{message}");
        assert!(began.elapsed() < Duration::from_secs(10), "the coordinator waits for it");
    }
    kafka.set_reachable(true).unwrap();
    let began = Instant::now();
    while keep().is_err() {
        assert!(began.elapsed() < PATIENCE, "they are written once the brokers are back");
    }
    let producer = Producer::new(kafka.connection(), "dead").unwrap();
    let record = Record { payload: Some(b"z"), ..Record::default() };
    let next = producer.deliver(&record).unwrap().blocking_recv().unwrap().unwrap();
    assert_eq!(next, (0, 2), "each letter is there once");
}
