//! The embedded Kafka takes what a producer writes, and faults can be made in it.

use std::time::Duration;

use tripline::kafka::{EmbeddedKafka, Producer, Record};

#[test]
fn records_are_acknowledged_with_their_place() {
    let kafka = EmbeddedKafka::start().unwrap();
    kafka.create_topic("audit", 3).unwrap();
    let producer = Producer::new(kafka.connection(), "audit").unwrap();
    for number in 0..300_u32 {
        let payload = number.to_string();
        let record = Record {
            payload: Some(payload.as_bytes()),
            partition: Some(i32::try_from(number % 3).unwrap()),
            headers: &[("cluster", b"prod")],
            ..Record::default()
        };
        producer.produce(&record).unwrap();
    }
    producer.flush(Duration::from_secs(20)).unwrap();
    assert_eq!((producer.delivered(), producer.failed()), (300, 0));
    let record = Record { payload: Some(b"x"), partition: Some(1), ..Record::default() };
    let delivery = producer.deliver(&record).unwrap().blocking_recv().unwrap();
    assert_eq!(delivery.unwrap(), (1, 100));
}

#[test]
fn a_partition_that_does_not_exist_is_an_error() {
    let kafka = EmbeddedKafka::start().unwrap();
    kafka.create_topic("audit", 1).unwrap();
    let producer = Producer::new(kafka.connection(), "audit").unwrap();
    let record = Record { payload: Some(b"x"), partition: Some(7), ..Record::default() };
    // Either at once, if the topic's partitions are known already, or by the flush.
    let outcome = producer.produce(&record).and_then(|()| producer.flush(Duration::from_secs(20)));
    let error = outcome.unwrap_err();
    assert!(error.to_string().contains("partition"), "{error}");
    assert!(!error.failure.may_pass());
}
