//! A real Apache Kafka broker: one process, KRaft, a plain listener and one with TLS and SASL.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use rdkafka::{
    ClientConfig, Message as _, Offset, TopicPartitionList,
    admin::{AdminClient, AdminOptions, NewPartitions, NewTopic, TopicReplication},
    client::DefaultClientContext,
    consumer::{BaseConsumer, Consumer as _},
    metadata::MetadataTopic,
    producer::{FutureProducer, FutureRecord},
};
use tempfile::TempDir;

use super::{
    block_on, eventually, free_port,
    process::Process,
    project_file, scratch, service_path,
    tls::{self, Certificates},
};

/// How long the broker may take to answer one question.
const ANSWER_WAIT: Duration = Duration::from_secs(30);

/// The user that every broker knows, for PLAIN and SCRAM. OAUTHBEARER takes any token that is signed by
/// nobody and has not expired.
pub(crate) const USER: &str = "tripline";
/// Her password.
pub(crate) const PASSWORD: &str = "correct-horse";

/// A broker with its data; it may be stopped and started again on the same ports.
pub(crate) struct Kafka {
    process: Option<Process>,
    port: u16,
    sasl_port: u16,
    certificates: Certificates,
    directory: PathBuf,
    /// Removes the directory; the shared broker's is removed by its leash.
    _owned: Option<TempDir>,
}

impl Kafka {
    /// The broker that scenarios share which do not stop it. Topics and groups keep them apart.
    pub(crate) fn shared() -> &'static Kafka {
        static SHARED: OnceLock<Kafka> = OnceLock::new();
        SHARED.get_or_init(|| {
            let directory = scratch("kafka-shared").keep();
            let mut kafka = Kafka::format(directory, None);
            kafka.process = Some(kafka.spawn(true));
            kafka.wait_started();
            kafka
        })
    }

    /// A broker that is configured, but not started.
    pub(crate) fn stopped() -> Kafka {
        let directory = scratch("kafka");
        Kafka::format(directory.path().to_owned(), Some(directory))
    }

    /// A broker of the scenario's own.
    pub(crate) fn started() -> Kafka {
        let mut kafka = Kafka::stopped();
        kafka.start();
        kafka
    }

    fn format(directory: PathBuf, owned: Option<TempDir>) -> Kafka {
        let certificates = tls::make(&directory);
        let (port, sasl_port, controller_port) = (free_port(), free_port(), free_port());
        let properties = properties(&directory, port, sasl_port, controller_port, &certificates);
        fs::write(directory.join("server.properties"), properties).unwrap();
        let output = java()
            .args(["kafka.tools.StorageTool", "format", "-t", "AAAAAAAAAAAAAAAAAAAAAQ", "-c"])
            .arg(directory.join("server.properties"))
            .arg("--add-scram")
            .arg(format!("SCRAM-SHA-512=[name={USER},password={PASSWORD}]"))
            .arg("--add-scram")
            .arg(format!("SCRAM-SHA-256=[name={USER},password={PASSWORD}]"))
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Kafka { directory, _owned: owned, port, sasl_port, certificates, process: None }
    }

    /// Starts the broker, or starts it again, and waits until it serves.
    pub(crate) fn start(&mut self) {
        assert!(self.process.is_none(), "the broker runs already");
        self.process = Some(self.spawn(false));
        self.wait_started();
    }

    fn spawn(&self, leashed: bool) -> Process {
        // Output of an earlier start would say that this one has started.
        fs::write(self.directory.join("kafka.out"), "").unwrap();
        let mut command = java();
        command.arg("kafka.Kafka").arg(self.directory.join("server.properties"));
        let remove = leashed.then_some(self.directory.as_path());
        Process::start_leashed("kafka", &mut command, &self.directory, remove)
    }

    fn wait_started(&mut self) {
        let process = self.process.as_mut().expect("spawned just before");
        eventually("the Kafka broker starts", || {
            assert!(process.exited().is_none(), "the broker ended:\n{}", process.out());
            process.out().contains("Kafka Server started").then_some(())
        });
    }

    /// Another password is hers for PLAIN, from the next start on.
    pub(crate) fn change_password(&self, password: &str) {
        let path = self.directory.join("server.properties");
        let properties = fs::read_to_string(&path).unwrap();
        fs::write(&path, properties.replace(PASSWORD, password)).unwrap();
    }

    /// It hangs from now on: its connections stay, and nothing is answered.
    pub(crate) fn suspend(&mut self) {
        self.process.as_mut().expect("the broker runs").signal("STOP");
    }

    /// It goes on.
    pub(crate) fn resume(&mut self) {
        self.process.as_mut().expect("the broker runs").signal("CONT");
    }

    /// SIGTERM, and waits for the end.
    pub(crate) fn stop(&mut self) {
        self.process.take().expect("the broker runs").terminate();
    }

    /// Stops, keeps a copy of all that it has on its disk, and starts again.
    pub(crate) fn keep_copy(&mut self) {
        self.stop();
        self.copy("data", "copy");
        self.start();
    }

    /// Stops, becomes what it was when the copy was kept, and starts again.
    pub(crate) fn put_back(&mut self) {
        self.stop();
        fs::remove_dir_all(self.directory.join("data")).unwrap();
        self.copy("copy", "data");
        self.start();
    }

    fn copy(&self, from: &str, to: &str) {
        let (from, to) = (self.directory.join(from), self.directory.join(to));
        assert!(Command::new("cp").arg("-r").args([from, to]).status().unwrap().success());
    }

    /// `bootstrap.servers` without encryption.
    pub(crate) fn brokers(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// `bootstrap.servers` with TLS and SASL.
    pub(crate) fn sasl_brokers(&self) -> String {
        format!("localhost:{}", self.sasl_port)
    }

    /// The authority that signed the broker's certificate.
    pub(crate) fn ca(&self) -> &Path {
        &self.certificates.ca
    }

    fn config(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", self.brokers());
        config
    }

    fn admin(&self) -> AdminClient<DefaultClientContext> {
        self.config().create().unwrap()
    }

    /// Creates a topic.
    pub(crate) fn create_topic(&self, name: &str, partitions: i32) {
        let topic = NewTopic::new(name, partitions, TopicReplication::Fixed(1))
            .set("max.message.bytes", "33554432");
        let created = block_on(self.admin().create_topics([&topic], &options())).unwrap();
        assert!(created.iter().all(Result::is_ok), "{created:?}");
    }

    /// Deletes a topic, with all of its records, and creates another one of its name.
    pub(crate) fn make_anew(&self, name: &str, partitions: i32) {
        let deleted = block_on(self.admin().delete_topics(&[name], &options())).unwrap();
        assert!(deleted.iter().all(Result::is_ok), "{deleted:?}");
        let topic = NewTopic::new(name, partitions, TopicReplication::Fixed(1));
        eventually("the topic can be created again", || {
            let created = block_on(self.admin().create_topics([&topic], &options())).unwrap();
            created.iter().all(Result::is_ok).then_some(())
        });
    }

    /// Deletes the records of partition 0 of a topic before an offset (or all, `Offset::End`), as retention does.
    pub(crate) fn delete_records(&self, topic: &str, before: Offset) {
        let mut offsets = TopicPartitionList::new();
        offsets.add_partition_offset(topic, 0, before).unwrap();
        block_on(self.admin().delete_records(&offsets, &options())).unwrap();
    }

    /// Gives a topic more partitions, `total` in all.
    pub(crate) fn add_partitions(&self, name: &str, total: usize) {
        let more = NewPartitions::new(name, total);
        let added = block_on(self.admin().create_partitions([&more], &options())).unwrap();
        assert!(added.iter().all(Result::is_ok), "{added:?}");
    }

    /// A new producer, which knows the partitions that there are now; its records are acknowledged.
    pub(crate) fn producer(&self) -> Producer {
        self.compressing_producer("none")
    }

    /// The same, with one of Kafka's compressions.
    pub(crate) fn compressing_producer(&self, compression: &str) -> Producer {
        let producer = self
            .config()
            .set("message.max.bytes", "33554432")
            .set("message.timeout.ms", "60000")
            .set("linger.ms", "1")
            .set("compression.type", compression)
            .create()
            .unwrap();
        Producer { producer }
    }

    /// The records of partition 0 of a topic as they lie on the broker's disk.
    pub(crate) fn segment(&self, topic: &str) -> Vec<u8> {
        let segment = format!("data/{topic}-0/00000000000000000000.log");
        fs::read(self.directory.join(segment)).unwrap()
    }

    /// All payloads of a topic, from its beginning to its present end; a tombstone is `None`.
    pub(crate) fn read(&self, topic: &str) -> Vec<Option<Vec<u8>>> {
        let consumer: BaseConsumer = self
            .config()
            .set("group.id", "reader")
            .set("fetch.max.bytes", "67108864")
            .create()
            .unwrap();
        let mut assignment = TopicPartitionList::new();
        let mut left = 0;
        for (partition, low, high) in partition_ends(&consumer, topic) {
            left += high - low;
            assignment.add_partition_offset(topic, partition, Offset::Beginning).unwrap();
        }
        consumer.assign(&assignment).unwrap();
        let mut payloads = Vec::new();
        while left > 0 {
            let message = consumer.poll(ANSWER_WAIT).expect("the broker has more").unwrap();
            payloads.push(message.payload().map(<[u8]>::to_vec));
            left -= 1;
        }
        payloads
    }

    /// How many records there are in a topic.
    pub(crate) fn records(&self, topic: &str) -> u64 {
        let consumer: BaseConsumer = self.config().create().unwrap();
        let ends = partition_ends(&consumer, topic);
        ends.into_iter().map(|(_, low, high)| u64::try_from(high - low).unwrap()).sum()
    }

    /// Somebody who reads a topic in our group, as a console consumer does, until dropped.
    pub(crate) fn stranger(&self, group: &str, topic: &str) -> Stranger {
        let consumer: BaseConsumer = self
            .config()
            .set("group.id", group)
            .set("partition.assignment.strategy", "cooperative-sticky")
            .set("auto.offset.reset", "earliest")
            .set("auto.commit.interval.ms", "200")
            .create()
            .unwrap();
        consumer.subscribe(&[topic]).unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                drop(consumer.poll(Duration::from_millis(100)));
            }
        });
        Stranger { stop, thread: Some(thread) }
    }

    /// The offset that a group has committed for partition 0 of a topic.
    pub(crate) fn committed(&self, group: &str, topic: &str) -> Option<i64> {
        let consumer: BaseConsumer = self.config().set("group.id", group).create().unwrap();
        let mut list = TopicPartitionList::new();
        list.add_partition(topic, 0);
        let list = consumer.committed_offsets(list, ANSWER_WAIT).ok()?;
        list.elements().first()?.offset().to_raw().filter(|offset| *offset >= 0)
    }
}

/// A foreign member of a group.
pub(crate) struct Stranger {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Stranger {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        drop(self.thread.take().map(JoinHandle::join));
    }
}

/// Each partition of a topic with its first offset and the one after its last.
fn partition_ends(consumer: &BaseConsumer, topic: &str) -> Vec<(i32, i64, i64)> {
    let metadata = consumer.fetch_metadata(Some(topic), ANSWER_WAIT).unwrap();
    let partitions = metadata.topics().iter().flat_map(MetadataTopic::partitions);
    partitions
        .map(|partition| {
            let ends = consumer.fetch_watermarks(topic, partition.id(), ANSWER_WAIT);
            let (low, high) = ends.unwrap();
            (partition.id(), low, high)
        })
        .collect()
}

/// Sends records and waits for the broker's word that it has them.
pub(crate) struct Producer {
    producer: FutureProducer,
}

impl Producer {
    /// One record, to a partition of the broker's choice.
    pub(crate) fn send(&self, topic: &str, payload: impl AsRef<[u8]>) {
        self.send_to(topic, None, Some(payload.as_ref()));
    }

    /// One record to one partition; without a payload it is a tombstone. Gives its offset.
    pub(crate) fn send_to(
        &self,
        topic: &str,
        partition: Option<i32>,
        payload: Option<&[u8]>,
    ) -> i64 {
        let mut record = FutureRecord::<[u8], [u8]>::to(topic).key(b"key".as_slice());
        if partition.is_none() {
            record.key = None;
        }
        record.partition = partition;
        record.payload = payload;
        let sent = block_on(self.producer.send(record, Duration::from_secs(60)));
        sent.map_err(|(error, _)| error).unwrap().offset
    }
}

fn options() -> AdminOptions {
    AdminOptions::new().operation_timeout(Some(Duration::from_secs(30)))
}

fn java() -> Command {
    let mut command = Command::new("java");
    command
        .args(["-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"])
        .arg(format!(
            "-Dlog4j2.configurationFile={}",
            project_file("tests/setup/kafka/log4j2.xml").display()
        ))
        .arg("-cp")
        .arg(service_path("kafka").join("*"));
    command
}

fn properties(
    directory: &Path,
    port: u16,
    sasl_port: u16,
    controller_port: u16,
    certificates: &Certificates,
) -> String {
    let data = directory.join("data");
    let (data, bundle, ca) =
        (data.display(), certificates.bundle.display(), certificates.ca.display());
    format!(
        "process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller_port}
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
listeners=PLAINTEXT://127.0.0.1:{port},SASL_SSL://localhost:{sasl_port},CONTROLLER://127.0.0.1:{controller_port}
advertised.listeners=PLAINTEXT://127.0.0.1:{port},SASL_SSL://localhost:{sasl_port}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,SASL_SSL:SASL_SSL,CONTROLLER:PLAINTEXT
sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512,OAUTHBEARER
listener.name.sasl_ssl.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required user_{USER}=\"{PASSWORD}\";
listener.name.sasl_ssl.scram-sha-256.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
listener.name.sasl_ssl.oauthbearer.sasl.jaas.config=org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule required;
ssl.keystore.type=PEM
ssl.keystore.location={bundle}
ssl.truststore.type=PEM
ssl.truststore.location={ca}
log.dirs={data}
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
auto.create.topics.enable=false
log.cleaner.dedupe.buffer.size=8388608
message.max.bytes=33554432
socket.request.max.bytes=67108864
"
    )
}
