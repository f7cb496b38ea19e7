//! Months are checked side by side: each says itself where the chain stood before its first row, so that none has to
//! wait for the one before it. Whether they fit together is seen when they are joined.
//!
//! The rows of a month and its indexes are read side by side, too: one has the chain, the other has none.

use std::{
    num::NonZero,
    sync::{
        Mutex, OnceLock, PoisonError,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    thread,
    time::Duration,
};

use hashbrown::DefaultHashBuilder;

use super::{
    Asked, Follower, Pass, told,
    whole::{Looked, Sums, look},
};
use crate::{
    archive::{
        Meta,
        count::Counts,
        filed::{Filed, stored},
        month::{Door, Month},
        schema::explain,
    },
    engine::ledger::Chain,
};

/// Threads at most: 16. Each has a cache of its own.
const THREADS_MAX: usize = 16;

/// Rows between two words about progress: 10,000.
const ROWS_BETWEEN_WORDS: u64 = 10_000;

/// What was found in one month.
pub(super) struct Checked<'c, P> {
    /// Where the chain stood before it, as it says.
    pub(super) begins: Chain,
    /// What followed from there.
    pub(super) follower: Follower<'c>,
    /// What was made of its rows.
    pub(super) passed: P,
}

/// A month that is opened twice, as a connection is of one thread: first for its rows, then for its indexes.
struct Turn {
    name: String,
    door: Door,
    meta: Meta,
    /// Which rows it said it had when it was opened for them, if it could be.
    begun: OnceLock<Option<Meta>>,
}

/// What one thread found in one month.
enum Half<'c, P> {
    Rows(Box<(Checked<'c, P>, Option<Sums>)>),
    Indexes(Looked),
}

/// Checks months, in their order, on as many threads as are asked for.
pub(super) fn check<'c, P: Pass>(
    months: &[&Month],
    asked: &Asked<'c>,
    begin: &(dyn Fn() -> P + Sync),
    progress: &mut dyn FnMut(u64),
) -> Vec<Checked<'c, P>> {
    let cores = || thread::available_parallelism().unwrap_or(NonZero::<usize>::MIN);
    let threads = asked.threads.unwrap_or_else(cores).get();
    let turns: Vec<Turn> = months
        .iter()
        .map(|month| Turn {
            name: month.name.clone(),
            door: month.door(),
            meta: month.meta,
            begun: OnceLock::new(),
        })
        .collect();
    let hasher = DefaultHashBuilder::default();
    // Rows take longest, so they come first.
    let halves = 2 * turns.len();
    let (next, found) = (AtomicUsize::new(0), Mutex::new(Vec::with_capacity(halves)));
    let (sender, read) = mpsc::channel();
    thread::scope(|scope| {
        for _ in 0..threads.min(THREADS_MAX).min(halves) {
            let (sender, next, found, hasher, turns) =
                (sender.clone(), &next, &found, &hasher, &turns);
            scope.spawn(move || {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let one = if let Some(month) = turns.get(index) {
                        Half::Rows(Box::new(rows_of(month, asked, begin(), hasher, &sender)))
                    } else if let Some(month) = turns.get(index - turns.len()) {
                        Half::Indexes(indexes_of(month, hasher))
                    } else {
                        break;
                    };
                    found.lock().unwrap_or_else(PoisonError::into_inner).push((index, one));
                }
            });
        }
        drop(sender);
        let mut rows = 0;
        for more in read {
            rows += more;
            progress(rows);
        }
    });
    let mut found = found.into_inner().unwrap_or_else(PoisonError::into_inner);
    found.sort_by_key(|(index, _)| *index);
    let (mut checked, mut looked) = (Vec::new(), Vec::new());
    for (_, half) in found {
        match half {
            Half::Rows(rows) => checked.push(*rows),
            Half::Indexes(indexes) => looked.push(indexes),
        }
    }
    let halves = turns.iter().zip(checked).zip(looked);
    halves.map(|((month, rows), looked)| join(&month.name, rows, looked)).collect()
}

/// The rows of a month, and sums over them, unless not all could be read.
fn rows_of<'c, P: Pass>(
    turn: &Turn,
    asked: &Asked<'c>,
    passed: P,
    hasher: &DefaultHashBuilder,
    progress: &mpsc::Sender<u64>,
) -> (Checked<'c, P>, Option<Sums>) {
    let opened = turn.door.open();
    let begun = opened.as_ref().ok().map(|month| month.meta);
    turn.begun.get_or_init(|| begun);
    let begins = begun.unwrap_or(turn.meta).previous;
    let mut follower = Follower { sound: None, ..Follower::new(asked) };
    follower.found.last = begins;
    let mut checked = Checked { begins, follower, passed };
    let sums = match opened {
        Ok(month) => read_rows(&month, &mut checked, hasher, progress),
        Err(problem) => {
            let said = turn.meta.last;
            checked.follower.fault(&turn.name, said.id, problem.to_string());
            checked.follower.found.last = said;
            None
        }
    };
    (checked, sums)
}

fn read_rows<P: Pass>(
    month: &Month,
    checked: &mut Checked<'_, P>,
    hasher: &DefaultHashBuilder,
    progress: &mpsc::Sender<u64>,
) -> Option<Sums> {
    let (place, said) = (month.name.as_str(), month.meta.last);
    let Checked { follower, passed, .. } = checked;
    let (mut sums, mut filed, mut line) =
        (Sums::new(hasher, month.is_by_day), Filed::new(month.is_by_day), Vec::new());
    let (mut rows, mut counts, mut longest) = (0, Counts::default(), Duration::ZERO);
    let sql =
        "SELECT id, recorded, body, at, kind, actor, behalf, object, source, permission, credential
               FROM row WHERE id > 0 ORDER BY id";
    let outcome = month.select(sql, Vec::new(), |_, columns| {
        let (row, wanted) = month.checked(columns, &mut filed)?;
        let stored = stored(columns, 3)?;
        sums.add(row.id, &stored);
        row.write_line(&mut line);
        follower.row(place, row.id, &line, told(&row));
        match wanted {
            Ok(wanted) if wanted == stored => {}
            Ok(_) => {
                follower.fault(place, row.id, format!("row {} is filed under other words", row.id));
            }
            Err(problem) => follower.fault(place, row.id, problem.to_string()),
        }
        counts.add(&row.content);
        longest = longest.max(row.lasted());
        passed.take(&row);
        rows += 1;
        if rows == ROWS_BETWEEN_WORDS {
            let _ = progress.send(std::mem::take(&mut rows));
        }
        Ok(true)
    });
    let _ = progress.send(rows);
    let is_read = outcome.is_ok();
    if let Err(problem) = outcome {
        follower.fault(place, said.id, explain(&month.path, &problem).to_string());
    }
    if follower.found.last != said {
        let last = follower.found.last.id;
        let what = if last == said.id {
            "the rows after the last seal do not come to the hash that the file says".to_owned()
        } else {
            format!("its last row is {last}, and it says {}", said.id)
        };
        follower.fault(place, said.id.max(last), what);
        follower.found.last = said;
    }
    if let Some(problem) = miscounted(month, &counts).filter(|_| is_read) {
        follower.fault(place, said.id, problem);
    }
    if is_read && month.longest().is_ok_and(|said| said < longest) {
        let what = "it has a roll-up that lasts longer than it says: questions may miss it";
        follower.fault(place, said.id, what.to_owned());
    }
    is_read.then_some(sums)
}

/// What is wrong with the counts that a month has.
fn miscounted(month: &Month, counts: &Counts) -> Option<String> {
    match month.counts() {
        Ok(Some(kept)) if kept != counts.by_name() => {
            Some("its counts of rows by class and kind are not those of its rows".to_owned())
        }
        Ok(_) => None,
        Err(problem) => Some(problem.to_string()),
    }
}

/// The indexes of a month. It may have been written since it was opened for its rows: what is newer is not looked at.
fn indexes_of(turn: &Turn, hasher: &DefaultHashBuilder) -> Looked {
    let begun = *turn.begun.wait();
    match turn.door.open() {
        Ok(month) => {
            let newest = begun.filter(|begun| *begun != month.meta).map(|begun| begun.last.id);
            look(&month, hasher, newest)
        }
        Err(problem) => Looked::broken(problem.to_string()),
    }
}

/// What is wrong with indexes is wrong with all rows of the month: some may not be found.
fn join<'c, P>(
    name: &str,
    (mut checked, sums): (Checked<'c, P>, Option<Sums>),
    looked: Looked,
) -> Checked<'c, P> {
    let to = checked.follower.found.last.id;
    for problem in looked.problems(sums.as_ref()) {
        checked.follower.fault_of_all(name, to, problem);
    }
    checked
}
