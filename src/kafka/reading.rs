//! Reads a topic from its beginning to its present end, or one record of it, for commands that people
//! type. Joins no group and commits nothing.

use std::time::{Duration, Instant};

use rdkafka::{
    Message as _, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer as _},
    message::{BorrowedMessage, Headers as _},
};

use super::{Callbacks, OpenConnection};

/// How long the brokers may take for one answer: 20 s.
const ANSWER_WAIT: Duration = Duration::from_secs(20);

/// Never used for offsets; the library wants a name.
const FIXED: [(&str, &str); 4] = [
    ("group.id", "tripline-reading"),
    ("enable.auto.commit", "false"),
    ("auto.offset.reset", "error"),
    ("enable.partition.eof", "false"),
];

/// One record as it lies in a topic.
pub struct StoredRecord {
    /// Its partition.
    pub partition: i32,
    /// Its offset.
    pub offset: i64,
    /// Its key.
    pub key: Option<Vec<u8>>,
    /// Its headers; those without a value are left out.
    pub headers: Vec<(String, Vec<u8>)>,
    /// Its value; `None` for a tombstone.
    pub payload: Option<Vec<u8>>,
}

/// Hands over every record of a topic that is there now, partition by partition.
///
/// # Errors
/// If the brokers cannot be reached, or do not give the topic.
pub fn read_topic(
    connection: OpenConnection,
    topic: &str,
    each: &mut dyn FnMut(StoredRecord),
) -> Result<(), String> {
    let consumer = consumer(connection)?;
    let failed = |error: rdkafka::error::KafkaError| format!("topic {topic}: {error}");
    let metadata = consumer.fetch_metadata(Some(topic), ANSWER_WAIT).map_err(failed)?;
    let partitions =
        metadata.topics().iter().flat_map(rdkafka::metadata::MetadataTopic::partitions);
    for partition in partitions.map(rdkafka::metadata::MetadataPartition::id) {
        let (low, high) =
            consumer.fetch_watermarks(topic, partition, ANSWER_WAIT).map_err(failed)?;
        read(&consumer, topic, partition, (low, high), each)?;
    }
    Ok(())
}

/// One record; `None` if it is no longer there.
///
/// # Errors
/// As [`read_topic`].
pub fn read_record(
    connection: OpenConnection,
    topic: &str,
    partition: i32,
    offset: i64,
) -> Result<Option<StoredRecord>, String> {
    let consumer = consumer(connection)?;
    let failed = |error: rdkafka::error::KafkaError| format!("topic {topic}: {error}");
    let (low, high) = consumer.fetch_watermarks(topic, partition, ANSWER_WAIT).map_err(failed)?;
    if !(low..high).contains(&offset) {
        return Ok(None);
    }
    let mut found = None;
    read(&consumer, topic, partition, (offset, offset + 1), &mut |record| found = Some(record))?;
    Ok(found.filter(|record| record.offset == offset))
}

fn consumer(connection: OpenConnection) -> Result<BaseConsumer<Callbacks>, String> {
    let (config, callbacks) = connection.into_client(&[], &FIXED);
    config.create_with_context(callbacks).map_err(|error| error.to_string())
}

/// The records of a partition from one offset to before another.
fn read(
    consumer: &BaseConsumer<Callbacks>,
    topic: &str,
    partition: i32,
    (from, until): (i64, i64),
    each: &mut dyn FnMut(StoredRecord),
) -> Result<(), String> {
    if from >= until {
        return Ok(());
    }
    let failed = |error: rdkafka::error::KafkaError| format!("topic {topic}: {error}");
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(topic, partition, Offset::Offset(from)).map_err(failed)?;
    consumer.assign(&list).map_err(failed)?;
    let mut heard = Instant::now();
    // Where transactions end and what compaction took away are offsets without records, so the end may
    // never be seen; the library's own position passes over them.
    loop {
        match consumer.poll(Duration::from_millis(100)) {
            Some(Ok(message)) => {
                heard = Instant::now();
                if message.offset() < until {
                    each(stored(&message));
                }
                if message.offset() + 1 >= until {
                    return Ok(());
                }
            }
            Some(Err(error)) => return Err(failed(error)),
            None => {
                let position = consumer.position().map_err(failed)?;
                let at = position.find_partition(topic, partition).map(|element| element.offset());
                if matches!(at, Some(Offset::Offset(at)) if at >= until) {
                    return Ok(());
                }
                if heard.elapsed() > ANSWER_WAIT {
                    return Err(format!("topic {topic}: the brokers do not answer"));
                }
            }
        }
    }
}

fn stored(message: &BorrowedMessage<'_>) -> StoredRecord {
    let headers = message.headers().into_iter().flat_map(|headers| headers.iter());
    let pair = |header: rdkafka::message::Header<'_, &[u8]>| {
        Some((header.key.to_owned(), header.value?.to_vec()))
    };
    StoredRecord {
        partition: message.partition(),
        offset: message.offset(),
        key: message.key().map(<[u8]>::to_vec),
        headers: headers.filter_map(pair).collect(),
        payload: message.payload().map(<[u8]>::to_vec),
    }
}
