//! A Kafka cluster inside this process, for `tripline demo` and for tests: nothing to install.
//!
//! It is librdkafka's mock cluster: real sockets on loopback, real protocol, consumer groups. It
//! keeps at most 5 MiB (as compressed) or 100,000 batches a partition, so a producer must be paced
//! or the oldest records go; it has no retention, no transactions and no fencing. Right for a demo
//! and for faults, wrong as proof: that needs a real broker.

use std::{sync::mpsc, thread};

use rdkafka::{error::KafkaResult, mocking::MockCluster, producer::DefaultProducerContext};

use super::{Connection, OpenConnection};

type Cluster = MockCluster<'static, DefaultProducerContext>;
type Work = Box<dyn FnOnce(&Cluster) + Send>;

/// A running cluster of one broker; it stops when this is dropped.
#[derive(Debug)]
pub struct EmbeddedKafka {
    brokers: String,
    /// The cluster must stay on the thread that made it, so work is sent there.
    work: Option<mpsc::SyncSender<Work>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl EmbeddedKafka {
    /// Starts a cluster.
    ///
    /// # Errors
    /// If no loopback port can be opened.
    pub fn start() -> Result<EmbeddedKafka, String> {
        let (work, inbox) = mpsc::sync_channel::<Work>(1);
        let (started, outcome) = mpsc::sync_channel(1);
        let body = move || match MockCluster::new(1) {
            Ok(cluster) => {
                drop(started.send(Ok(cluster.bootstrap_servers())));
                for job in inbox {
                    job(&cluster);
                }
            }
            Err(error) => {
                drop(started.send(Err(error.to_string())));
            }
        };
        let thread = thread::Builder::new()
            .name("embedded-kafka".to_owned())
            .spawn(body)
            .map_err(|error| error.to_string())?;
        let brokers = outcome
            .recv()
            .unwrap_or_else(|_| Err("its thread ended".to_owned()))
            .map_err(|error| format!("the embedded Kafka did not start: {error}"))?;
        Ok(EmbeddedKafka { brokers, work: Some(work), thread: Some(thread) })
    }

    fn call(
        &self,
        job: impl FnOnce(&Cluster) -> KafkaResult<()> + Send + 'static,
    ) -> Result<(), String> {
        let (answer, outcome) = mpsc::sync_channel(1);
        let work: Work = Box::new(move |cluster| {
            drop(answer.send(job(cluster)));
        });
        self.work
            .as_ref()
            .and_then(|sender| sender.send(work).ok())
            .and_then(|()| outcome.recv().ok())
            .ok_or("the embedded Kafka has stopped")?
            .map_err(|error| error.to_string())
    }

    /// Makes a topic. Topics that are only named get 4 partitions.
    ///
    /// # Errors
    /// If it exists.
    pub fn create_topic(&self, topic: &str, partitions: i32) -> Result<(), String> {
        let topic = topic.to_owned();
        self.call(move |cluster| cluster.create_topic(&topic, partitions, 1))
    }

    /// Closes all connections and refuses new ones, or takes them again. Records stay.
    ///
    /// # Errors
    /// If it has stopped.
    pub fn set_reachable(&self, reachable: bool) -> Result<(), String> {
        self.call(
            move |cluster| {
                if reachable { cluster.broker_up(-1) } else { cluster.broker_down(-1) }
            },
        )
    }

    /// `host:port` of its broker.
    pub fn brokers(&self) -> Vec<String> {
        self.brokers.split(',').map(str::to_owned).collect()
    }

    /// A connection to it.
    ///
    /// # Panics
    /// Never: there is no secret to be read and no file to be opened.
    pub fn connection(&self) -> OpenConnection {
        let no_secret = |_: &_| Err("the embedded Kafka has no secrets".to_owned());
        Connection::new(self.brokers()).open(&no_secret).expect("it needs no secret and no file")
    }
}

impl Drop for EmbeddedKafka {
    fn drop(&mut self) {
        self.work = None;
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}
