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
    archive::{Archive, ArchiveError},
    engine::{
        alert::AlertState,
        coordinator,
        ledger::{Entry, EntryKind, Row, hex_of},
    },
    server::{Health, Status},
    telemetry::Metrics,
};

/// Name of its part in `/readyz`.
pub(super) const COMPONENT: &str = "ledger";

/// Pause after a failure: 5 seconds.
const RETRY_PAUSE: Duration = Duration::from_secs(5);

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
    let archiver =
        Archiver { archive, control, status, metrics, failing_since: None, is_told: false };
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
    /// People were told that it stands still.
    is_told: bool,
}

impl Archiver {
    fn run(mut self, rows: &Receiver<Vec<Arc<Row>>>) {
        self.status.set_component(COMPONENT, Health::Ok, "");
        self.metrics.ledger_archived(self.archive.last().id, self.archive.bytes());
        let mut waiting: Vec<Arc<Row>> = Vec::new();
        let mut retire_at = Instant::now();
        let mut is_over = false;
        while !is_over {
            let pause = if waiting.is_empty() { RETIRE_INTERVAL } else { RETRY_PAUSE };
            match rows.recv_timeout(pause) {
                Ok(more) => waiting.extend(more),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => is_over = true,
            }
            waiting.extend(rows.try_iter().flatten());
            if !waiting.is_empty() {
                self.write(&mut waiting);
            }
            if retire_at <= Instant::now() && !is_over {
                retire_at = Instant::now() + RETIRE_INTERVAL;
                self.retire();
            }
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
                let through = self.archive.last().id;
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
        self.status.set_component(COMPONENT, Health::Ok, "");
        if std::mem::take(&mut self.is_told) {
            self.alert(AlertState::Resolved, "");
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
        if since.elapsed() >= STALLED_AFTER && !std::mem::replace(&mut self.is_told, true) {
            self.alert(AlertState::Firing, &detail);
        }
    }

    fn alert(&self, state: AlertState, detail: &str) {
        let alert = self_alert::ledger_stalled(now(), state, detail);
        self.tell(coordinator::Input::Alert(Box::new(alert)));
    }

    fn retire(&mut self) {
        match self.archive.retire(now()) {
            Ok(retired) => {
                for month in retired {
                    tracing::info!(
                        month = month.month,
                        why = month.why,
                        "month of the ledger deleted"
                    );
                    let mut entry = Entry::new(EntryKind::Retention, &month.month, "deleted")
                        .detail(&format!("by {}", month.why))
                        .count("bytes", month.bytes);
                    if let Some(last) = month.last {
                        entry = entry.fact("head", &hex_of(&last.head)).count("last", last.id);
                    }
                    self.tell(coordinator::Input::Entry(Box::new(entry)));
                }
            }
            Err(error) => tracing::warn!("a month of the ledger cannot be deleted: {error}"),
        }
    }

    fn tell(&self, input: coordinator::Input) {
        drop(self.control.send(Input::Engine(input)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::Limits;

    /// What the archiver tells the engine: alerts by name and state.
    fn told(inputs: &Receiver<Input>) -> Vec<String> {
        let word = |input: Input| match input {
            Input::Engine(coordinator::Input::Alert(alert)) => {
                let name = alert.labels.get("alertname").cloned().unwrap_or_default();
                Some(format!("{name} {}", alert.state.as_str()))
            }
            _ => None,
        };
        inputs.try_iter().filter_map(word).collect()
    }

    /// `TriplineLedgerStalled` is told once writing has failed for a minute, and its end when it works again.
    #[test]
    fn people_hear_of_a_ledger_that_stands_still_and_of_its_end() {
        let directory = tempfile::tempdir().unwrap();
        let blocked = directory.path().join("ledger");
        std::fs::write(&blocked, "a file where the directory should be").unwrap();
        let limits = Limits { free_min: 0, size_max: u64::MAX, months: 13 };
        let (control, inputs) = channel();
        let mut archiver = Archiver {
            archive: Archive::new(&blocked, limits),
            control,
            status: Arc::new(Status::new(&[COMPONENT])),
            metrics: Arc::new(Metrics::new()),
            failing_since: None,
            is_told: false,
        };
        let entry = Entry::new(EntryKind::Start, "1", "started");
        let content = crate::engine::ledger::Content::Entry(Box::new(entry));
        let row = Arc::new(Row { id: 1, recorded: now(), content });
        let mut waiting = vec![row];
        archiver.write(&mut waiting);
        assert_eq!(
            (told(&inputs), waiting.len()),
            (Vec::new(), 1),
            "not at once, and nothing is lost"
        );
        archiver.failing_since = Instant::now().checked_sub(STALLED_AFTER);
        archiver.write(&mut waiting);
        archiver.write(&mut waiting);
        assert_eq!(told(&inputs), ["TriplineLedgerStalled firing"]);
        std::fs::remove_file(&blocked).unwrap();
        archiver.write(&mut waiting);
        assert_eq!(told(&inputs), ["TriplineLedgerStalled resolved"]);
        assert!(waiting.is_empty());
    }
}
