//! Kafka, read by one owner of the whole stream.
//!
//! Windows span partitions, so a group that split them would silently undercount. Partitions are assigned
//! by hand: all of them, whoever else may be in the group. A second process is kept out by a fence of our
//! own (`fence.rs`): it takes over, and the first one stops. The checkpoint's positions win over what the
//! broker remembers; offsets are committed for lag tools, after the checkpoint that covers them, and with
//! a mark, by which they are known as ours when the checkpoint is lost.
//!
//! The comments "pitfall: …" in this module name ways in which programs around this client library
//! are known to lose records, stall, or hang.

mod assignment;
mod context;
mod entry;
mod fence;
mod health;
mod intake;
mod neighbours;
mod range;
mod reader;
mod settings;

pub use entry::Kafka;
pub use range::KafkaRange;
pub use settings::{KafkaSettings, Start};

use std::time::Duration;

use rdkafka::{config::RDKafkaLogLevel, error::KafkaError};

use super::{Source, SourceContext, SourceError};
use crate::kafka::{Callbacks, OpenConnection};
use assignment::Consumer;
use context::ReaderContext;
use fence::Fence;
use reader::Reader;

/// How long a process of an earlier version may take to let go of the stream: 15 s.
const EARLIER_VERSION_WAIT: Duration = Duration::from_secs(15);

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
const FIXED: [(&str, &str); 4] = [
    // pitfall: offsets are stored and committed automatically by default, before anything is durable.
    ("enable.auto.commit", "false"),
    ("enable.auto.offset.store", "false"),
    // A position that does not exist any more must not skip to the end, whatever `start` says.
    ("auto.offset.reset", "earliest"),
    // pitfall: the end of a partition would arrive as an error.
    ("enable.partition.eof", "false"),
];

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
        let make =
            |callbacks| ReaderContext::new(callbacks, context.name.clone(), &context.positions);
        let consumer = open(&settings, connection.clone(), make)?;
        fence_earlier_version(&consumer, &settings, &connection)?;
        let fence = Fence::join_own(&settings, connection.clone())?;
        Reader::new(consumer, fence, settings, connection, context).run()
    }
}

/// Makes another process that reads the same stream stop: it joins the fence's group as its one member.
/// Returns when that is so, or `timeout` is over: then there was nobody, or the broker is away.
fn take_over(
    settings: &KafkaSettings,
    connection: OpenConnection,
    timeout: Duration,
) -> Result<(), SourceError> {
    let make = |callbacks| ReaderContext::new(callbacks, None, &[]);
    let consumer = open(settings, connection.clone(), make)?;
    fence_earlier_version(&consumer, settings, &connection)?;
    let fence = Fence::join_own(settings, connection)?;
    fence.wait(timeout);
    reader::close((consumer, fence), |_| ());
    Ok(())
}

/// Earlier versions had their fence in the group whose offsets they committed.
fn fence_earlier_version(
    consumer: &Consumer,
    settings: &KafkaSettings,
    connection: &OpenConnection,
) -> Result<(), SourceError> {
    if !neighbours::members(consumer, settings).is_ok_and(|members| members.has_earlier_version) {
        return Ok(());
    }
    tracing::info!("taking over from an earlier version of Tripline");
    let fence = Fence::join(settings, connection.clone(), &settings.group, "cooperative-sticky")?;
    fence.wait(EARLIER_VERSION_WAIT);
    reader::close(fence, |_| ());
    Ok(())
}

/// Makes the consumer that reads, with its context. It joins no group, and is told later what to read.
fn open(
    settings: &KafkaSettings,
    connection: OpenConnection,
    context: impl FnOnce(Callbacks) -> ReaderContext,
) -> Result<Consumer, SourceError> {
    let mut fixed = FIXED.to_vec();
    fixed.push(("group.id", &settings.group));
    // The library says ids of topics, and which leaders it does not believe in, only where it says what it learns of
    // them.
    let ours = "metadata,topic";
    let theirs = settings.connection.properties.get("debug");
    let debug = theirs.map_or(ours.to_owned(), |theirs| format!("{theirs},{ours}"));
    fixed.push(("debug", &debug));
    let (mut config, callbacks) = connection.into_client(&DEFAULTS, &fixed);
    // So that it says them; what is logged of it is decided here.
    config.set_log_level(RDKafkaLogLevel::Debug);
    config.create_with_context(context(callbacks)).map_err(refused)
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
