//! Copies the ledger to a Kafka topic: each row's line is a record, in their order, at least once.
//!
//! It reads month files as anybody may, so nothing waits for it. How far it has come is in a file beside them,
//! written after the brokers have acknowledged; behind a crash it goes on from there.

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    sync::{
        Arc,
        mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};

use crate::{
    archive::Reader,
    engine::ledger::Row,
    kafka::{ProduceError, Producer, Record},
    server::{Health, Status},
    telemetry::{Metrics, Quiet},
};

/// Name of its part in `/readyz`.
pub(super) const COMPONENT: &str = "ledger topic";

/// Name of the file that says how far it has come, beside the months.
const POSITION: &str = "topic.json";

/// How often it is looked for more: 2 seconds.
const LOOK: Duration = Duration::from_secs(2);

/// Rows that are on their way to the brokers at once: 5,000.
const ROWS_AT_ONCE: usize = 5_000;

/// How far it has come.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Place {
    topic: String,
    /// The last row that the brokers have acknowledged.
    row: u64,
}

impl Place {
    /// Where it left off; at the beginning of the ledger if nobody knows, or it was another topic.
    fn read(directory: &Path, topic: &str) -> Place {
        let text = fs::read_to_string(directory.join(POSITION)).unwrap_or_default();
        let known: Option<Place> = serde_json::from_str(&text).ok();
        let fresh = || Place { topic: topic.to_owned(), row: 0 };
        known.filter(|place| place.topic == topic).unwrap_or_else(fresh)
    }

    /// Makes it durable: whole, or not at all.
    fn write(&self, directory: &Path) -> std::io::Result<()> {
        let (path, fresh) = (directory.join(POSITION), directory.join("topic.json.new"));
        let mut file = fs::File::create(&fresh)?;
        file.write_all(serde_json::to_string(self)?.as_bytes())?;
        file.sync_all()?;
        fs::rename(fresh, path)
    }
}

/// The thread that copies.
pub(super) struct LedgerTopic {
    /// Dropped to end it.
    stop: Sender<()>,
    thread: JoinHandle<()>,
}

impl LedgerTopic {
    /// Starts it, for the months in a directory.
    pub(super) fn start(
        directory: PathBuf,
        producer: Producer,
        status: Arc<Status>,
        metrics: Arc<Metrics>,
    ) -> std::io::Result<LedgerTopic> {
        let (stop, stopped) = channel();
        let place = Place::read(&directory, producer.topic());
        let copier = Copier { directory, producer, place, status, metrics, said: Quiet::default() };
        let thread = std::thread::Builder::new()
            .name("ledger-topic".to_owned())
            .spawn(move || copier.run(&stopped))?;
        Ok(LedgerTopic { stop, thread })
    }

    /// Copies what is there, and ends. What the brokers do not take is copied by the next start.
    pub(super) fn finish(self) {
        drop(self.stop);
        drop(self.thread.join());
    }
}

struct Copier {
    directory: PathBuf,
    producer: Producer,
    place: Place,
    status: Arc<Status>,
    metrics: Arc<Metrics>,
    said: Quiet,
}

impl Copier {
    fn run(mut self, stop: &Receiver<()>) {
        let mut is_failing = false;
        loop {
            let is_over = match stop.recv_timeout(LOOK) {
                Err(RecvTimeoutError::Timeout) => false,
                Ok(()) | Err(RecvTimeoutError::Disconnected) => true,
            };
            if is_over && is_failing {
                // A stop does not wait for brokers that are away.
                return;
            }
            let copied = self.copy();
            is_failing = copied.is_err();
            match copied {
                Ok(()) => {
                    self.status.set_component(COMPONENT, Health::Ok, "");
                    if self.said.over(COMPONENT) {
                        tracing::info!("the ledger is copied to its topic again");
                    }
                }
                Err(why) => self.failed(&why),
            }
            if is_over {
                return;
            }
        }
    }

    fn failed(&self, why: &str) {
        self.metrics.ledger_topic_failed();
        self.status.set_component(COMPONENT, Health::Degraded, why);
        if let Some(times) = self.said.happened(COMPONENT, Instant::now()) {
            tracing::warn!(times, "the ledger is not copied to its topic: {why}");
        }
    }

    /// Copies all that is there and was not copied.
    fn copy(&mut self) -> Result<(), String> {
        // Before the first row there are no months.
        if !crate::archive::months(&self.directory).is_ok_and(|months| !months.is_empty()) {
            return Ok(());
        }
        let reader = Reader::open(&self.directory, Some(&self.directory));
        let reader = reader.map_err(|error| error.to_string())?;
        loop {
            let mut rows: Vec<Row> = Vec::new();
            let taken = reader.each_behind(self.place.row, |row| {
                rows.push(row.clone());
                rows.len() < ROWS_AT_ONCE
            });
            taken.map_err(|error| error.to_string())?;
            if rows.is_empty() {
                return reader.problems().first().map_or(Ok(()), |one| Err(one.to_string()));
            }
            self.send(&rows)?;
        }
    }

    /// Sends rows, and waits until the brokers have them.
    fn send(&mut self, rows: &[Row]) -> Result<(), String> {
        let mut waiting = Vec::with_capacity(rows.len());
        let mut failure = None;
        for row in rows {
            let (key, line) = (key_of(row), row.line());
            let record = Record {
                key: Some(key.as_bytes()),
                payload: Some(line.as_bytes()),
                time: Some(row.at()),
                ..Record::default()
            };
            match self.producer.deliver(&record) {
                Ok(delivery) => waiting.push((row.id, delivery)),
                Err(error) if error.failure.may_pass() => {
                    failure = Some(error.to_string());
                    break;
                }
                Err(error) => self.refused(row.id, &error),
            }
        }
        let mut through = self.place.row;
        for (id, delivery) in waiting {
            match delivery.blocking_recv() {
                Ok(Ok(_)) => {}
                Ok(Err(error)) if !error.failure.may_pass() => self.refused(id, &error),
                Ok(Err(error)) => {
                    failure = Some(error.to_string());
                    break;
                }
                Err(_) => {
                    failure = Some("it was not acknowledged".to_owned());
                    break;
                }
            }
            through = id;
        }
        if failure.is_none() {
            through = rows.last().map_or(through, |row| row.id);
        }
        if through > self.place.row {
            self.place.row = through;
            let written = self.place.write(&self.directory);
            written.map_err(|error| format!("{}: {error}", self.directory.display()))?;
            self.metrics.ledger_topic_row(through);
        }
        failure.map_or(Ok(()), Err)
    }

    /// The topic will never take this row; those behind it go on.
    fn refused(&self, id: u64, error: &ProduceError) {
        self.metrics.ledger_topic_failed();
        tracing::error!(row = id, "the topic does not take a row of the ledger: {error}");
    }
}

/// Rows of one actor in one cluster stay in their order. Entries have an empty actor.
fn key_of(row: &Row) -> String {
    let access = row.access();
    let cluster = access.and_then(|access| access.cluster.as_deref()).unwrap_or_default();
    let actor = access.and_then(|access| access.actor.id.as_deref()).unwrap_or_default();
    format!("{cluster}/{actor}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_kept_for_one_topic_and_damage_means_the_beginning() {
        let directory = tempfile::tempdir().unwrap();
        let read = |topic: &str| Place::read(directory.path(), topic).row;
        assert_eq!(read("ledger"), 0);
        Place { topic: "ledger".to_owned(), row: 7 }.write(directory.path()).unwrap();
        assert_eq!((read("ledger"), read("other")), (7, 0));
        fs::write(directory.path().join(POSITION), "{").unwrap();
        assert_eq!(read("ledger"), 0);
    }
}
