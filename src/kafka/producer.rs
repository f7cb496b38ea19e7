//! Writes records to Kafka: generated traffic, alerts, dead letters.
//!
//! Idempotent and with `acks=all`, so that a record is acknowledged once and in order. The queue in
//! front of the broker is bounded in bytes and records; [`Producer::produce`] waits for room.
//!
//! A producer that failed fatally (it was fenced, or may not write) never works again, whatever is mended
//! at the broker: another one is made in its place. So it is when secrets or certificates change on disk, and when a
//! record ran out of time.
//!
//! pitfall: the library believes no leader that is older than one that it has heard of. Of brokers that were put back
//! from an earlier copy it never finds one again, and all that shows is records that run out of time.
//!
//! pitfall: transactions block their thread, and after a fatal error need a new producer. None are used:
//! they could not cover the checkpoint anyway.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use rdkafka::{
    ClientContext, Message as _,
    client::OAuthToken,
    config::RDKafkaLogLevel,
    error::{KafkaError, RDKafkaErrorCode},
    message::{DeliveryResult, Header, OwnedHeaders},
    producer::{BaseRecord, Producer as _, ProducerContext, ThreadedProducer},
};
use tokio::sync::oneshot;

use super::{Callbacks, OpenConnection};
use crate::engine::time::EventTime;

/// How long a record may wait for the broker's acknowledgement: 30 s, in milliseconds. Then it has
/// failed.
const DELIVERY_TIMEOUT_MS: &str = "30000";

/// Bytes of records that wait for the broker: 64 MiB, in KiB. Then [`Producer::produce`] waits.
const QUEUE_KILOBYTES_MAX: &str = "65536";

/// Records that wait for the broker: 100,000. Then [`Producer::produce`] waits.
const QUEUE_RECORDS_MAX: &str = "100000";

/// How long [`Producer::produce`] waits for room: 30 s, after which every queued record has been
/// acknowledged or has failed.
const ROOM_WAIT_MAX: Duration = Duration::from_secs(30);

/// Least time between two producers that are made because the one before failed: 5 s.
const RENEWAL_PAUSE: Duration = Duration::from_secs(5);

/// How long a look at secrets and certificates holds: 5 s.
const SECRETS_LOOK: Duration = Duration::from_secs(5);

/// Defaults that users may override by `properties`.
const DEFAULTS: [(&str, &str); 6] = [
    ("compression.type", "lz4"),
    ("linger.ms", "20"),
    ("batch.size", "1000000"),
    ("queue.buffering.max.kbytes", QUEUE_KILOBYTES_MAX),
    ("queue.buffering.max.messages", QUEUE_RECORDS_MAX),
    ("delivery.timeout.ms", DELIVERY_TIMEOUT_MS),
];

/// What is not for users to change.
const FIXED: [(&str, &str); 2] = [("enable.idempotence", "true"), ("acks", "all")];

/// Properties that [`super::Connection::parse`] should refuse for a producer.
pub const PRODUCER_OWNED: [(&str, &str); 3] = [
    ("enable.idempotence", "records are always written idempotently"),
    ("acks", "records are always acknowledged by all replicas in sync"),
    ("transactional.id", "no transactions are used"),
];

/// One record to write.
#[derive(Clone, Debug, Default)]
pub struct Record<'a> {
    /// Records with the same key go to the same partition. Without one they are spread.
    pub key: Option<&'a [u8]>,
    /// Its value; `None` writes a tombstone.
    pub payload: Option<&'a [u8]>,
    /// The partition, if it is not for the key to decide.
    pub partition: Option<i32>,
    /// When it was made, if that is not now. Brokers keep it unless the topic says otherwise.
    pub time: Option<EventTime>,
    /// Headers, in order.
    pub headers: &'a [(&'a str, &'a [u8])],
}

/// What came of one record: where it lies, or why it does not.
pub type DeliveryReport = Result<(i32, i64), ProduceError>;

/// Why a record was not written.
#[derive(Clone, Debug, thiserror::Error)]
#[error("Kafka topic {topic}: {detail}")]
pub struct ProduceError {
    /// The topic.
    pub topic: String,
    /// What went wrong, for people.
    pub detail: String,
    /// What follows from it.
    pub failure: ProduceFailure,
}

/// What a failure means for whoever wrote the record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProduceFailure {
    /// Trying again may help.
    Transient,
    /// The broker does not let us write. Trying again helps once somebody has granted it.
    Denied,
    /// The record is larger than the broker takes.
    TooLarge,
    /// There is no writing this record to this topic.
    Invalid,
}

impl ProduceFailure {
    /// Whether the same record may be taken later.
    pub const fn may_pass(self) -> bool {
        matches!(self, ProduceFailure::Transient | ProduceFailure::Denied)
    }
}

/// What is handed through the library with each record.
type Notice = Option<oneshot::Sender<DeliveryReport>>;

/// What came of records so far.
#[derive(Default)]
struct Counts {
    delivered: AtomicU64,
    failed: AtomicU64,
    /// The first failure since the last flush.
    failure: Mutex<Option<ProduceError>>,
}

/// Callbacks of the producer; called on the library's poll thread.
struct Reports {
    callbacks: Callbacks,
    counts: Arc<Counts>,
    /// A record was not acknowledged in its time.
    is_late: AtomicBool,
}

impl ClientContext for Reports {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = true;

    fn log(&self, level: RDKafkaLogLevel, facility: &str, text: &str) {
        Callbacks::forward_log(level, facility, text);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.callbacks.error(error, reason);
    }

    fn generate_oauth_token(
        &self,
        _config: Option<&str>,
    ) -> Result<OAuthToken, Box<dyn std::error::Error>> {
        self.callbacks.token()
    }
}

impl ProducerContext for Reports {
    type DeliveryOpaque = Box<Notice>;

    fn delivery(&self, result: &DeliveryResult<'_>, notice: Box<Notice>) {
        let delivery = match result {
            Ok(message) => Ok((message.partition(), message.offset())),
            Err((error, message)) => {
                if error.rdkafka_error_code() == Some(RDKafkaErrorCode::MessageTimedOut) {
                    self.is_late.store(true, Ordering::Relaxed);
                }
                Err(failure(message.topic(), error))
            }
        };
        match &delivery {
            Ok(_) => {
                self.counts.delivered.fetch_add(1, Ordering::Relaxed);
            }
            Err(error) => {
                self.counts.failed.fetch_add(1, Ordering::Relaxed);
                let mut first = self.counts.failure.lock().unwrap_or_else(PoisonError::into_inner);
                first.get_or_insert_with(|| error.clone());
            }
        }
        if let Some(waiting) = *notice {
            // Nobody may be waiting any more.
            drop(waiting.send(delivery));
        }
    }
}

fn failure(topic: &str, error: &KafkaError) -> ProduceError {
    use RDKafkaErrorCode as Code;
    let code = error.rdkafka_error_code();
    let failure = match code {
        Some(Code::MessageSizeTooLarge) => ProduceFailure::TooLarge,
        Some(Code::InvalidRecord | Code::InvalidTopic | Code::UnknownPartition) => {
            ProduceFailure::Invalid
        }
        Some(
            Code::TopicAuthorizationFailed
            | Code::ClusterAuthorizationFailed
            | Code::SaslAuthenticationFailed
            | Code::Authentication,
        ) => ProduceFailure::Denied,
        // A fatal error is one of the producer, not of the record: the next producer may write it.
        _ => ProduceFailure::Transient,
    };
    let detail = code.map_or_else(|| error.to_string(), |code| code.to_string());
    ProduceError { topic: topic.to_owned(), detail, failure }
}

/// Makes a producer of the library.
fn make(
    connection: &OpenConnection,
    counts: &Arc<Counts>,
) -> Result<Arc<ThreadedProducer<Reports>>, String> {
    let (config, callbacks) = connection.clone().into_client(&DEFAULTS, &FIXED);
    let counts = Arc::clone(counts);
    let reports = Reports { callbacks, counts, is_late: AtomicBool::new(false) };
    let inner = config.create_with_context(reports).map_err(|error| error.to_string())?;
    Ok(Arc::new(inner))
}

/// Writes to one topic. Cheap to share by reference between threads.
pub struct Producer {
    current: Mutex<Current>,
    counts: Arc<Counts>,
    topic: String,
}

/// The library's producer, when it was made and from what.
struct Current {
    inner: Arc<ThreadedProducer<Reports>>,
    made_at: Instant,
    connection: OpenConnection,
    /// When secrets and certificates were looked at.
    looked_at: Instant,
}

impl std::fmt::Debug for Producer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Producer").field("topic", &self.topic).finish_non_exhaustive()
    }
}

impl Producer {
    /// Creates a producer. It connects in the background.
    ///
    /// # Errors
    /// What the library does not accept, for people.
    pub fn new(connection: OpenConnection, topic: impl Into<String>) -> Result<Producer, String> {
        let counts = Arc::new(Counts::default());
        let inner = make(&connection, &counts)?;
        let now = Instant::now();
        let current = Mutex::new(Current { inner, made_at: now, connection, looked_at: now });
        Ok(Producer { current, counts, topic: topic.into() })
    }

    /// The library's producer; another one if the last one failed for good, has other credentials than there are
    /// now, or may never find the leader again.
    fn inner(&self) -> Arc<ThreadedProducer<Reports>> {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if current.looked_at.elapsed() >= SECRETS_LOOK {
            current.looked_at = Instant::now();
            if let Some(connection) = current.connection.renewed() {
                let topic = &self.topic;
                tracing::info!(topic, "secrets or certificates of Kafka changed; using them");
                self.renew(&mut current, connection);
            }
        }
        if current.inner.context().is_late.load(Ordering::Relaxed)
            && current.made_at.elapsed() >= RENEWAL_PAUSE
        {
            let connection = current.connection.clone();
            tracing::debug!(
                topic = self.topic,
                "a record ran out of time; making another producer"
            );
            self.renew(&mut current, connection);
        }
        if let Some((code, why)) = current.inner.client().fatal_error()
            && current.made_at.elapsed() >= RENEWAL_PAUSE
        {
            current.made_at = Instant::now();
            let topic = &self.topic;
            match make(&current.connection, &self.counts) {
                Ok(inner) => {
                    tracing::warn!(topic, %code, "the producer failed ({why}); made another one");
                    current.inner = inner;
                }
                Err(error) => tracing::error!(topic, %code, "no producer can be made: {error}"),
            }
        }
        Arc::clone(&current.inner)
    }

    /// Goes on with another producer. Records that are queued are still sent by the one before.
    fn renew(&self, current: &mut Current, connection: OpenConnection) {
        let topic = &self.topic;
        match make(&connection, &self.counts) {
            Ok(inner) => {
                let before = std::mem::replace(&mut current.inner, inner);
                let flush = move || drop(before.flush(ROOM_WAIT_MAX));
                if std::thread::Builder::new().name("kafka-flush".to_owned()).spawn(flush).is_err()
                {
                    tracing::warn!(topic, "no thread to send what is queued");
                }
            }
            Err(error) => tracing::error!(topic, "no producer can be made: {error}"),
        }
        (current.connection, current.made_at) = (connection, Instant::now());
    }

    /// The topic.
    pub fn topic(&self) -> &str {
        &self.topic
    }

    /// Queues a record; waits while the queue is full. What came of it is seen by
    /// [`Producer::flush`].
    ///
    /// # Errors
    /// If it was not taken within 30 s, or never can be.
    pub fn produce(&self, record: &Record<'_>) -> Result<(), ProduceError> {
        self.queue(record, None)
    }

    /// Queues a record; waits while the queue is full. The receiver tells what came of it, within
    /// 30 s.
    ///
    /// # Errors
    /// If it was not taken within 30 s, or never can be.
    pub fn deliver(
        &self,
        record: &Record<'_>,
    ) -> Result<oneshot::Receiver<DeliveryReport>, ProduceError> {
        let (sender, receiver) = oneshot::channel();
        self.queue(record, Some(sender)).map(|()| receiver)
    }

    fn queue(&self, record: &Record<'_>, notice: Notice) -> Result<(), ProduceError> {
        let mut message: BaseRecord<'_, [u8], [u8], Box<Notice>> =
            BaseRecord::with_opaque_to(&self.topic, Box::new(notice));
        message.key = record.key;
        message.payload = record.payload;
        message.partition = record.partition;
        message.timestamp = record.time.map(|time| time.micros().div_euclid(1_000));
        if !record.headers.is_empty() {
            let headers = OwnedHeaders::new_with_capacity(record.headers.len());
            let add = |headers: OwnedHeaders, (key, value): &(&str, &[u8])| {
                headers.insert(Header { key, value: Some(*value) })
            };
            message.headers = Some(record.headers.iter().fold(headers, add));
        }
        let mut deadline = None;
        let inner = self.inner();
        loop {
            let (error, back) = match inner.send(message) {
                Ok(()) => return Ok(()),
                Err(refused) => refused,
            };
            let full = error.rdkafka_error_code() == Some(RDKafkaErrorCode::QueueFull);
            let give_up = *deadline.get_or_insert_with(|| Instant::now() + ROOM_WAIT_MAX);
            if !full || Instant::now() > give_up {
                return Err(failure(&self.topic, &error));
            }
            message = back;
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Waits until every queued record is acknowledged.
    ///
    /// # Errors
    /// The first failure since the last flush, or that `timeout` passed.
    pub fn flush(&self, timeout: Duration) -> Result<(), ProduceError> {
        let inner = {
            let current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(&current.inner)
        };
        let flushed = inner.flush(timeout);
        let mut first = self.counts.failure.lock().unwrap_or_else(PoisonError::into_inner);
        match (first.take(), flushed) {
            (Some(error), _) => Err(error),
            (None, Err(error)) => Err(failure(&self.topic, &error)),
            (None, Ok(())) => Ok(()),
        }
    }

    /// Asks the brokers what keeps the topic from taking records; `None` if nothing that they know of. Blocks for
    /// `timeout` at most.
    pub fn trouble(&self, timeout: Duration) -> Option<String> {
        match self.inner().client().fetch_metadata(Some(&self.topic), timeout) {
            Ok(metadata) => {
                let topic = metadata.topics().iter().find(|topic| topic.name() == self.topic)?;
                let error = topic.error()?;
                Some(RDKafkaErrorCode::from(error).to_string())
            }
            Err(error) => error.rdkafka_error_code().map(|code| code.to_string()),
        }
    }

    /// Records acknowledged so far.
    pub fn delivered(&self) -> u64 {
        self.counts.delivered.load(Ordering::Relaxed)
    }

    /// Records that failed so far.
    pub fn failed(&self) -> u64 {
        self.counts.failed.load(Ordering::Relaxed)
    }
}
