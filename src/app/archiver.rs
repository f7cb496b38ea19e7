//! The thread that writes rows of the ledger into month files, so that a slow or broken disk of theirs holds
//! up nothing else.

use std::{
    sync::{
        Arc,
        mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use super::{clock::now, input::Input, self_alert};
use crate::{
    archive::{Archive, ArchiveError, Retired},
    engine::{
        alert::{Alert, AlertState},
        coordinator,
        ledger::{Content, Entry, EntryKind, Row, hex_of},
    },
    server::{Health, Status},
    telemetry::Metrics,
};

/// Name of its part in `/readyz`.
pub(super) const COMPONENT: &str = "ledger";

/// Pause after a failure, and how often it is looked whether what was written is still there and months that are over can be
/// sealed: 5 seconds.
const LOOK_PAUSE: Duration = Duration::from_secs(5);

/// How often months are looked at that may be too old or too much: each hour.
const RETIRE_INTERVAL: Duration = Duration::from_secs(3_600);

/// How long writing may fail before people are told: 1 minute.
const STALLED_AFTER: Duration = Duration::from_secs(60);

/// Where rows go, and the thread behind it.
pub(super) struct ArchiverHandle {
    rows: Sender<Vec<Arc<Row>>>,
    thread: JoinHandle<()>,
}

impl ArchiverHandle {
    /// Hands rows over.
    pub(super) fn write(&self, rows: Vec<Arc<Row>>) {
        // If the thread is gone, they are in the spool.
        drop(self.rows.send(rows));
    }

    /// Waits until all that was handed over is written, or cannot be.
    pub(super) fn finish(self) {
        drop(self.rows);
        drop(self.thread.join());
    }
}

/// Starts the thread.
pub(super) fn start(
    archive: Archive,
    control: Sender<Input>,
    status: Arc<Status>,
    metrics: Arc<Metrics>,
) -> std::io::Result<ArchiverHandle> {
    let (sender, rows) = channel();
    let archiver = Archiver {
        archive,
        control,
        status,
        metrics,
        failing_since: None,
        leaving: Vec::new(),
        unsealed: String::new(),
        told: None,
    };
    let thread = std::thread::Builder::new()
        .name("archiver".to_owned())
        .spawn(move || archiver.run(&rows))?;
    Ok(ArchiverHandle { rows: sender, thread })
}

struct Archiver {
    archive: Archive,
    control: Sender<Input>,
    status: Arc<Status>,
    metrics: Arc<Metrics>,
    failing_since: Option<Instant>,
    /// Months that will be deleted.
    leaving: Vec<Retired>,
    /// Why a month that is over cannot be sealed yet; empty if none is left.
    unsealed: String,
    /// What people were told: that it stands still.
    told: Option<Alert>,
}

impl Archiver {
    fn run(mut self, rows: &Receiver<Vec<Arc<Row>>>) {
        self.look();
        self.metrics.ledger_archived(self.archive.last().id, self.archive.bytes());
        let mut waiting: Vec<Arc<Row>> = Vec::new();
        let (mut seal_at, mut retire_at) = (Instant::now(), Instant::now());
        let mut is_over = false;
        while !is_over {
            let first = match rows.recv_timeout(LOOK_PAUSE) {
                Ok(more) => more,
                Err(RecvTimeoutError::Timeout) => Vec::new(),
                Err(RecvTimeoutError::Disconnected) => {
                    is_over = true;
                    Vec::new()
                }
            };
            let more: Vec<Arc<Row>> = first.into_iter().chain(rows.try_iter().flatten()).collect();
            self.delete(&more);
            waiting.extend(more);
            if waiting.is_empty() {
                self.look();
            } else {
                self.write(&mut waiting);
            }
            if seal_at <= Instant::now() || is_over {
                seal_at = Instant::now() + LOOK_PAUSE;
                self.seal();
            }
            if retire_at <= Instant::now() && !is_over {
                retire_at = Instant::now() + RETIRE_INTERVAL;
                self.retire();
            }
        }
    }

    /// Somebody may delete or replace it while nothing is written.
    fn look(&mut self) {
        match self.archive.check() {
            Ok(()) => self.works(),
            Err(error) => self.fails(&error),
        }
    }

    fn write(&mut self, waiting: &mut Vec<Arc<Row>>) {
        match self.archive.append(waiting) {
            Ok(through) => {
                waiting.clear();
                self.metrics.ledger_archived(through, self.archive.bytes());
                self.tell(coordinator::Input::Archived { through });
                self.works();
            }
            Err(error) => {
                // What was written of them is not written again.
                let through = self.archive.written();
                waiting.retain(|row| row.id > through);
                self.tell(coordinator::Input::Archived { through });
                self.fails(&error);
            }
        }
    }

    fn works(&mut self) {
        if self.failing_since.take().is_some() {
            tracing::info!("the ledger is written again");
        }
        self.status.set_component(COMPONENT, Health::Ok, &self.unsealed);
        if let Some(told) = self.told.take() {
            let over = self_alert::ledger_stalled(now(), AlertState::Resolved, "");
            let over = self_alert::end_of(&told, over);
            self.tell(coordinator::Input::Alert(Box::new(over)));
        }
    }

    fn fails(&mut self, error: &ArchiveError) {
        let detail = error.to_string();
        let since = *self.failing_since.get_or_insert_with(|| {
            tracing::error!(detail, "the ledger cannot be written; rows wait in the checkpoint");
            Instant::now()
        });
        self.metrics.ledger_failed();
        self.status.set_component(COMPONENT, Health::Degraded, &detail);
        if since.elapsed() >= STALLED_AFTER && self.told.is_none() {
            let alert = self_alert::ledger_stalled(now(), AlertState::Firing, &detail);
            self.told = Some(alert.clone());
            self.tell(coordinator::Input::Alert(Box::new(alert)));
        }
    }

    /// A month that is over is sealed as soon as nobody reads it. Its rows are there meanwhile, so that nothing is wrong, but
    /// who copies its file alone has not all of them.
    fn seal(&mut self) {
        let why = self.archive.seal().err().map(|error| error.to_string()).unwrap_or_default();
        if !why.is_empty() && self.unsealed.is_empty() {
            tracing::warn!("a month of the ledger is not sealed yet: {why}");
        } else if why.is_empty() && !self.unsealed.is_empty() {
            tracing::info!("all months of the ledger that are over are sealed");
        }
        self.unsealed = why;
    }

    /// Tells of months that will be deleted. Each goes when the entry that says so has come back to be written, and so is
    /// durable ([`Archiver::delete`]): what is gone without one would look lost for ever.
    fn retire(&mut self) {
        match self.archive.due(now()) {
            Ok(due) => {
                for month in due {
                    if self.leaving.iter().any(|leaving| leaving.month == month.month) {
                        continue;
                    }
                    let mut entry = Entry::new(EntryKind::Retention, &month.month, "deleted")
                        .detail(&format!("by {}", month.why))
                        .count("bytes", month.bytes);
                    if let Some(last) = month.last {
                        entry = entry.fact("head", &hex_of(&last.head)).count("last", last.id);
                    }
                    self.tell(coordinator::Input::Entry(Box::new(entry)));
                    self.leaving.push(month);
                }
            }
            Err(error) => tracing::warn!("a month of the ledger cannot be deleted: {error}"),
        }
    }

    /// Deletes the months of which one of these rows says so. They are in the checkpoint already, so this makes room also
    /// where there is none to write them.
    fn delete(&mut self, durable: &[Arc<Row>]) {
        if self.leaving.is_empty() {
            return;
        }
        let told = durable.iter().filter_map(|row| match &row.content {
            Content::Entry(entry) if entry.kind == EntryKind::Retention => Some(&entry.subject),
            _ => None,
        });
        for subject in told {
            let Some(at) = self.leaving.iter().position(|month| month.month == *subject) else {
                continue;
            };
            let month = self.leaving.swap_remove(at);
            match self.archive.delete(&month) {
                Ok(()) => tracing::info!(
                    month = month.month,
                    why = month.why,
                    "month of the ledger deleted"
                ),
                Err(error) => tracing::warn!("a month of the ledger cannot be deleted: {error}"),
            }
        }
    }

    fn tell(&self, input: coordinator::Input) {
        drop(self.control.send(Input::Engine(input)));
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::{
        archive::{Limits, Reader},
        engine::time::WallTime,
    };

    /// The alerts that the archiver tells the engine.
    fn alerts(inputs: &Receiver<Input>) -> Vec<Alert> {
        let alert = |input: Input| match input {
            Input::Engine(coordinator::Input::Alert(alert)) => Some(*alert),
            _ => None,
        };
        inputs.try_iter().filter_map(alert).collect()
    }

    /// The same, by name and state.
    fn told(inputs: &Receiver<Input>) -> Vec<String> {
        let word = |alert: &Alert| {
            let name = alert.labels.get("alertname").cloned().unwrap_or_default();
            format!("{name} {}", alert.state.as_str())
        };
        alerts(inputs).iter().map(word).collect()
    }

    fn archiver(directory: &Path) -> (Archiver, Receiver<Input>) {
        let limits = Limits { free_min: 0, size_max: u64::MAX, months: 13 };
        let (control, inputs) = channel();
        let archiver = Archiver {
            archive: Archive::new(directory, limits),
            control,
            status: Arc::new(Status::new(&[COMPONENT])),
            metrics: Arc::new(Metrics::new()),
            failing_since: None,
            leaving: Vec::new(),
            unsealed: String::new(),
            told: None,
        };
        (archiver, inputs)
    }

    fn row(id: u64, entry: Entry) -> Arc<Row> {
        Arc::new(Row { id, recorded: now(), content: Content::Entry(Box::new(entry)) })
    }

    /// A month goes when the entry that says so is durable, and no earlier; it is told once.
    #[test]
    fn a_month_is_deleted_when_it_is_durable_that_it_is() {
        let directory = tempfile::tempdir().unwrap();
        let (mut archiver, inputs) = archiver(directory.path());
        archiver.archive.open().unwrap();
        let old = directory.path().join("2001-02.db");
        std::fs::write(&old, "a month of long ago").unwrap();
        let events = Entry::new(EntryKind::Coverage, "lab", "observed");
        archiver.write(&mut vec![row(1, events)]);
        let entries = || {
            inputs.try_iter().filter_map(|input| match input {
                Input::Engine(coordinator::Input::Entry(entry)) => Some(*entry),
                _ => None,
            })
        };
        archiver.retire();
        archiver.retire();
        let told: Vec<Entry> = entries().collect();
        assert!(told.len() == 1 && told[0].subject == "2001-02" && old.exists());
        // Another one is not it.
        let other = Entry::new(EntryKind::Retention, "2001-01", "deleted");
        archiver.delete(&[row(2, other)]);
        assert!(old.exists());
        archiver.delete(&[row(3, told[0].clone())]);
        assert!(!old.exists());
        archiver.retire();
        assert_eq!(entries().count(), 0);
    }

    /// Whoever deletes the month while nothing is written is told so, and the checkpoint gives nothing up meanwhile.
    #[test]
    fn a_month_that_is_deleted_is_said_also_where_nothing_is_written() {
        let directory = tempfile::tempdir().unwrap();
        let (mut archiver, inputs) = archiver(&directory.path().join("ledger"));
        let start = |id| row(id, Entry::new(EntryKind::Start, "1", "started"));
        archiver.write(&mut vec![start(1)]);
        let through = || {
            let through = |input| match input {
                Input::Engine(coordinator::Input::Archived { through }) => Some(through),
                _ => None,
            };
            inputs.try_iter().filter_map(through).last()
        };
        let health = |archiver: &Archiver| archiver.status.components()[COMPONENT].health;
        archiver.look();
        assert_eq!((through(), health(&archiver)), (Some(1), Health::Ok));
        let away = directory.path().join("away");
        std::fs::rename(directory.path().join("ledger"), &away).unwrap();
        archiver.look();
        assert_eq!(health(&archiver), Health::Degraded);
        let mut waiting = vec![start(2)];
        archiver.write(&mut waiting);
        assert_eq!((through(), waiting.len(), health(&archiver)), (Some(1), 1, Health::Degraded));
        std::fs::rename(&away, directory.path().join("ledger")).unwrap();
        archiver.look();
        assert_eq!(health(&archiver), Health::Ok);
        archiver.write(&mut waiting);
        assert_eq!((through(), waiting.len()), (Some(2), 0));
    }

    /// It is sealed when nobody reads it any more, and nothing stands still meanwhile.
    #[test]
    fn a_month_that_cannot_be_sealed_yet_is_said_for_as_long_as_that_lasts() {
        let directory = tempfile::tempdir().unwrap();
        let (mut archiver, _inputs) = archiver(directory.path());
        let start = |id| row(id, Entry::new(EntryKind::Start, "1", "started"));
        let long_ago = Row { recorded: WallTime::from_micros(0), ..(*start(1)).clone() };
        archiver.write(&mut vec![Arc::new(long_ago)]);
        let reader = Reader::open(directory.path(), None).unwrap();
        let said = |archiver: &mut Archiver| {
            archiver.seal();
            archiver.look();
            let mut components = archiver.status.components();
            components.remove(COMPONENT).map(|ledger| (ledger.health, ledger.detail)).unwrap()
        };
        assert_eq!(said(&mut archiver), (Health::Ok, String::new()));
        let mut waiting = vec![start(2)];
        archiver.write(&mut waiting);
        let (health, detail) = said(&mut archiver);
        assert!(
            health == Health::Ok && detail.contains("1970-01.db: this month is over"),
            "{detail}"
        );
        drop(reader);
        assert_eq!((said(&mut archiver), waiting.len()), ((Health::Ok, String::new()), 0));
    }

    /// `TriplineLedgerStalled` is told once writing has failed for a minute, and its end when it works again.
    #[test]
    fn people_hear_of_a_ledger_that_stands_still_and_of_its_end() {
        let directory = tempfile::tempdir().unwrap();
        let blocked = directory.path().join("ledger");
        std::fs::write(&blocked, "a file where the directory should be").unwrap();
        let (mut archiver, inputs) = archiver(&blocked);
        let entry = Entry::new(EntryKind::Start, "1", "started");
        let mut waiting = vec![row(1, entry)];
        archiver.write(&mut waiting);
        assert_eq!(
            (told(&inputs), waiting.len()),
            (Vec::new(), 1),
            "not at once, and nothing is lost"
        );
        archiver.failing_since = Instant::now().checked_sub(STALLED_AFTER);
        archiver.write(&mut waiting);
        archiver.write(&mut waiting);
        let began = archiver.told.clone().unwrap().starts_at;
        assert_eq!(told(&inputs), ["TriplineLedgerStalled firing"]);
        std::fs::remove_file(&blocked).unwrap();
        archiver.write(&mut waiting);
        let [over] = &alerts(&inputs)[..] else { panic!("one alert") };
        let name = over.labels.get("alertname").map(String::as_str);
        assert_eq!((name, over.state), (Some("TriplineLedgerStalled"), AlertState::Resolved));
        assert_eq!(over.starts_at, began, "of the same episode");
        assert!(waiting.is_empty());
    }
}
