//! Kafka, read by one owner of the whole stream.
//!
//! Windows span partitions, so a group that split them would silently undercount. Every process
//! uses the same static `group.instance.id`: a restarted one has its partitions at once, and a
//! second one fences the first, which stops. The checkpoint's positions win over what the broker
//! remembers; offsets are committed only for lag tools, after the checkpoint that covers them.
//!
//! The comments "pitfall: …" in this module name ways in which programs around this client library
//! are known to lose records, stall, or hang.

mod context;
mod entry;
mod health;
mod intake;
mod range;
mod reader;
mod settings;

pub use entry::Kafka;
pub use range::KafkaRange;
pub use settings::{KafkaSettings, Start};

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use rdkafka::{
    consumer::{BaseConsumer, Consumer as _},
    error::KafkaError,
};

use super::{Source, SourceContext, SourceError};
use crate::{engine::record::Position, kafka::OpenConnection};
use context::OwnerContext;
use reader::Reader;

/// Defaults that users may override by `properties`.
const DEFAULTS: [(&str, &str); 9] = [
    // A process that was fenced learns it with its next heartbeat; the default is 3 s.
    ("heartbeat.interval.ms", "1000"),
    // pitfall: at the default of 1,000 the fetcher sleeps up to 1 s whenever the local queue is full,
    // which costs a factor of 2 to 3.
    ("fetch.queue.backoff.ms", "5"),
    // pitfall: the local queue is bounded per consumer; records in it are read again after a pause. What
    // lies there longer has left the processor's cache before it is read: 2 MiB cost a twentieth less CPU
    // than 8. Brokers that are far away (50 ms) then give some 30,000 events a second; raise it for more.
    ("queued.max.messages.kbytes", "2048"),
    ("fetch.max.bytes", "16777216"),
    // Compressed, some 900 events: partitions with a backlog take turns this often, so that their
    // event times stay near each other. The default of 1 MiB makes turns eight times as long.
    ("max.partition.fetch.bytes", "131072"),
    // New partitions and topics are seen within 10 s; the default is 5 minutes.
    ("topic.metadata.refresh.interval.ms", "10000"),
    ("statistics.interval.ms", "2000"),
    ("fetch.error.backoff.ms", "200"),
    ("allow.auto.create.topics", "false"),
];

/// What is not for users to change: it would break what the checkpoint promises.
const FIXED: [(&str, &str); 6] = [
    // pitfall: offsets are stored and committed automatically by default, before anything is durable.
    ("enable.auto.commit", "false"),
    ("enable.auto.offset.store", "false"),
    // A position that does not exist any more must not skip to the end, whatever `start` says.
    ("auto.offset.reset", "earliest"),
    // pitfall: the end of a partition would arrive as an error.
    ("enable.partition.eof", "false"),
    // New partitions are added without taking the others away and refetching what was in flight.
    ("partition.assignment.strategy", "cooperative-sticky"),
    // The newer protocol would fence the new process of a static pair instead of the old one.
    ("group.protocol", "classic"),
];

/// Suffix of the group's name that makes the static member's.
const OWNER_SUFFIX: &str = "-tripline-owner";

/// A source that reads topics of one Kafka cluster.
pub struct KafkaSource {
    settings: KafkaSettings,
    connection: OpenConnection,
}

impl KafkaSource {
    /// A source over a connection whose secrets were read. Nothing is connected yet.
    pub fn new(settings: KafkaSettings, connection: OpenConnection) -> KafkaSource {
        KafkaSource { settings, connection }
    }
}

impl Source for KafkaSource {
    fn run(self: Box<Self>, context: SourceContext) -> Result<(), SourceError> {
        let KafkaSource { settings, connection } = *self;
        let consumer = join(&settings, connection, context.name.clone(), &context.positions)?;
        Reader::new(consumer, &settings, instance_of(&settings), context).run()
    }
}

/// Joins the group as its one static member, which fences the process that was it until now. Returns
/// when partitions were assigned, or `timeout` is over: then there was nobody to be fenced, or the
/// broker is away.
fn take_over(
    settings: &KafkaSettings,
    connection: OpenConnection,
    timeout: Duration,
) -> Result<(), SourceError> {
    let consumer = join(settings, connection, None, &[])?;
    let deadline = Instant::now() + timeout;
    while Instant::now() < deadline && consumer.context().assignments() == 0 {
        // Whatever is read here is read again by the source: nothing is committed.
        drop(consumer.poll(Duration::from_millis(100)));
    }
    reader::close(consumer, &[]);
    Ok(())
}

/// The static member that owns the stream.
fn instance_of(settings: &KafkaSettings) -> String {
    format!("{}{OWNER_SUFFIX}", settings.group)
}

/// Makes the consumer and lets it join in the background.
fn join(
    settings: &KafkaSettings,
    connection: OpenConnection,
    source: Option<Arc<str>>,
    positions: &[Position],
) -> Result<BaseConsumer<OwnerContext>, SourceError> {
    let instance = instance_of(settings);
    let mut fixed = FIXED.to_vec();
    fixed.push(("group.id", &settings.group));
    fixed.push(("group.instance.id", &instance));
    let (config, callbacks) = connection.into_client(&DEFAULTS, &fixed);
    let owner = OwnerContext::new(callbacks, source, settings.start, positions);
    let consumer: BaseConsumer<OwnerContext> =
        config.create_with_context(owner).map_err(refused)?;
    let topics: Vec<&str> = settings.topics.iter().map(String::as_str).collect();
    consumer.subscribe(&topics).map_err(refused)?;
    Ok(consumer)
}

/// What the library does not accept, for people.
fn refused(error: KafkaError) -> SourceError {
    let detail = match error {
        KafkaError::ClientConfig(_, detail, key, _) => format!("{key}: {detail}"),
        KafkaError::ClientCreation(detail) | KafkaError::Subscription(detail) => detail,
        other => other.to_string(),
    };
    SourceError::Config(format!("Kafka source: {detail}"))
}
