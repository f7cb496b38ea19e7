//! Where the ledger is asked, and told what the server did: a few questions at once, each within bounds of
//! time, and an entry for whoever looks at what people did.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use axum::http::StatusCode;
use tokio::sync::{Semaphore, mpsc};

use super::{
    caller::Caller,
    problem::Problem,
    recent::Recent,
    refusals::{REFUSALS_MAX, Refusals},
};
use crate::{
    archive::Reader,
    ask::AskError,
    engine::ledger::{Entry, EntryKind},
};

/// Questions that are answered at once: 2. Others wait, and are told to come back if it takes too long.
const QUESTIONS_MAX: usize = 2;

/// How long a question may wait for its turn, and then take: 5 s each.
const ANSWER_WAIT: Duration = Duration::from_secs(5);

/// Reports that are made at once: 1, as each reads the whole ledger.
const REPORTS_MAX: usize = 1;

/// How long a report may take: 60 s, within what a connection waits for its answer.
const REPORT_WAIT: Duration = Duration::from_secs(60);

/// Where the ledger is asked and told.
#[derive(Clone)]
pub struct Desk {
    /// State directory, and the directory with months.
    place: Option<(PathBuf, PathBuf)>,
    /// Where entries go; without it nothing is recorded.
    entries: Option<mpsc::Sender<Entry>>,
    room: Arc<Semaphore>,
    report_room: Arc<Semaphore>,
    refusals: Arc<Mutex<Refusals>>,
    /// Changes of alerts that were read a moment ago.
    pub(super) recent: Arc<Recent>,
}

impl Desk {
    /// Asks the ledger of a process, and tells it by a channel.
    pub fn new(state: &Path, directory: &Path, entries: Option<mpsc::Sender<Entry>>) -> Desk {
        let place = Some((state.to_owned(), directory.to_owned()));
        Desk { place, entries, ..Desk::none() }
    }

    /// Has no ledger to ask, and records nothing.
    pub fn none() -> Desk {
        Desk {
            place: None,
            entries: None,
            room: Arc::new(Semaphore::new(QUESTIONS_MAX)),
            report_room: Arc::new(Semaphore::new(REPORTS_MAX)),
            refusals: Arc::default(),
            recent: Arc::default(),
        }
    }

    /// Asks the ledger, on a thread that may block.
    pub(super) async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Reader) -> Result<T, AskError> + Send + 'static,
    ) -> Result<T, Problem> {
        self.ask_within(&self.room, ANSWER_WAIT, |reader| question(reader)).await
    }

    /// The same, for a report: it has more time, and there is less room.
    pub(super) async fn ask_for_report<T: Send + 'static>(
        &self,
        question: impl FnOnce(&mut Reader) -> Result<T, AskError> + Send + 'static,
    ) -> Result<T, Problem> {
        self.ask_within(&self.report_room, REPORT_WAIT, question).await
    }

    async fn ask_within<T: Send + 'static>(
        &self,
        room: &Arc<Semaphore>,
        wait: Duration,
        question: impl FnOnce(&mut Reader) -> Result<T, AskError> + Send + 'static,
    ) -> Result<T, Problem> {
        let Some((state, directory)) = self.place.clone() else {
            return Err(Problem::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "ledger_unavailable",
                "there is no ledger here",
                "`tripline run` keeps one",
            ));
        };
        let too_slow = |code, message: &str| {
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, code, message, "narrow the range")
        };
        let room = Arc::clone(room).acquire_owned();
        let Ok(Ok(room)) = tokio::time::timeout(ANSWER_WAIT, room).await else {
            return Err(too_slow("busy", "others ask, and it takes them long"));
        };
        let deadline = Instant::now() + wait;
        let answering = tokio::task::spawn_blocking(move || {
            let answer = Reader::of_process(&state, &directory, Some(deadline));
            let answer =
                answer.map_err(AskError::from).and_then(|mut reader| question(&mut reader));
            drop(room);
            answer
        });
        let answer = tokio::time::timeout_at(deadline.into(), answering).await;
        match answer {
            // What was read until then is not all there is.
            Ok(Ok(_)) if Instant::now() >= deadline => {}
            Ok(Ok(answer)) => return answer.map_err(Problem::from),
            Ok(Err(_)) => {
                return Err(Problem::new(
                    StatusCode::INTERNAL_SERVER_ERROR,
                    "ledger_unreadable",
                    "the question broke down",
                    "the log says how",
                ));
            }
            Err(_) => {}
        }
        let message = format!("this question takes longer than {} s", wait.as_secs());
        Err(too_slow("narrow_the_range", &message))
    }

    /// Somebody looks at what people did. Nobody sees it without an entry.
    pub(super) fn viewed(
        &self,
        caller: &Caller,
        what: &str,
        question: &str,
        count: usize,
    ) -> Result<(), Problem> {
        let entry = entry_of(EntryKind::View, what, "seen", caller)
            .detail(question)
            .count("rows", count as u64);
        self.record(entry)
    }

    /// Somebody logged in or out.
    pub(super) fn logged(&self, caller: &Caller, what: &str) -> Result<(), Problem> {
        self.record(entry_of(EntryKind::Login, "browser", what, caller))
    }

    /// Somebody was refused whom we know, by this name; these entries are bounded in number.
    pub(super) fn refused(&self, (name, address): (&str, &str), path: &str, why: &str) {
        self.refused_of(name, (name, address), path, why);
    }

    /// The same of somebody who is not known; the name, if there is one, is only what they say.
    pub(super) fn unknown(&self, who: (&str, &str), path: &str, why: &str) {
        self.refused_of("", who, path, why);
    }

    fn refused_of(&self, known: &str, (name, address): (&str, &str), path: &str, why: &str) {
        if self.lock().admit(known, Instant::now()) {
            // Whoever is refused gets nothing to see, recorded or not.
            drop(self.record(refusal(path, name).detail(why).fact("address", address)));
        }
    }

    /// Entries on refusals that became none, once the minute of a caller is over, or all before the end.
    pub fn left_out(&self, all: bool) -> Vec<Entry> {
        let left_out = self.lock().take_left_out(Instant::now(), all).into_iter();
        let why = format!("more than {REFUSALS_MAX} within a minute");
        left_out
            .map(|(name, count)| refusal("", &name).detail(&why).count("left_out", count))
            .collect()
    }

    fn lock(&self) -> MutexGuard<'_, Refusals> {
        self.refusals.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Something that somebody brought, as soon as there is room for it.
    pub(super) async fn told(&self, entry: Entry) -> Result<(), Problem> {
        let stopping = || {
            Problem::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "stopping",
                "nothing is recorded now",
                "Tripline is starting or stopping: try again in a moment",
            )
        };
        let entries = self.entries.as_ref().ok_or_else(stopping)?;
        entries.send(entry).await.map_err(|_| stopping())
    }

    fn record(&self, entry: Entry) -> Result<(), Problem> {
        let Some(entries) = &self.entries else { return Ok(()) };
        entries.try_send(entry).map_err(|_| {
            Problem::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "not_recorded",
                "who looks is recorded, and that cannot be done now",
                "try again in a moment",
            )
        })
    }
}

fn refusal(path: &str, name: &str) -> Entry {
    Entry::new(EntryKind::Login, path, "refused").by(name)
}

fn entry_of(kind: EntryKind, subject: &str, what: &str, caller: &Caller) -> Entry {
    Entry::new(kind, subject, what)
        .by(&caller.name)
        .fact("way", caller.way.as_str())
        .fact("roles", &caller.roles_text())
        .fact("address", &caller.address.to_string())
}
