//! Months are checked side by side: each says itself where the chain stood before its first row, so that none has to
//! wait for the one before it. Whether they fit together is seen when they are joined.

use std::{
    num::NonZero,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use super::{Asked, Follower, sealed, whole::Whole};
use crate::{
    archive::{
        filed::{Filed, stored},
        month::Month,
        schema::explain,
    },
    engine::{ledger::Chain, text::printable},
};

/// Threads at most: 16. Each has a cache of its own.
const THREADS_MAX: usize = 16;

/// What was found in one month.
pub(super) struct Checked<'c> {
    /// Where the chain stood before it, as it says.
    pub(super) begins: Chain,
    /// What followed from there.
    pub(super) follower: Follower<'c>,
}

/// Checks months, in their order, with a thread for each core.
pub(super) fn check<'c>(months: &[&Month], asked: &Asked<'c>) -> Vec<Checked<'c>> {
    let cores = thread::available_parallelism().map_or(1, NonZero::get);
    let threads = cores.min(THREADS_MAX).min(months.len());
    // A connection is of one thread: every month is opened again by the one that checks it.
    let doors: Vec<_> = months.iter().map(|month| (month.door(), month.meta)).collect();
    let (next, checked) = (AtomicUsize::new(0), Mutex::new(Vec::with_capacity(doors.len())));
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let Some((door, meta)) = doors.get(index) else { break };
                    let one = match door.open() {
                        Ok(month) => check_month(&month, asked),
                        Err(problem) => {
                            let mut one = begin(meta.previous, asked);
                            one.follower.fault(door.name(), meta.last.id, problem.to_string());
                            one.follower.found.last = meta.last;
                            one
                        }
                    };
                    checked.lock().unwrap_or_else(PoisonError::into_inner).push((index, one));
                }
            });
        }
    });
    let mut checked = checked.into_inner().unwrap_or_else(PoisonError::into_inner);
    checked.sort_by_key(|(index, _)| *index);
    checked.into_iter().map(|(_, one)| one).collect()
}

fn begin<'c>(previous: Chain, asked: &Asked<'c>) -> Checked<'c> {
    let mut follower = Follower { sound: None, ..Follower::new(asked) };
    follower.found.last = previous;
    Checked { begins: previous, follower }
}

fn check_month<'c>(month: &Month, asked: &Asked<'c>) -> Checked<'c> {
    let (place, said) = (month.name.as_str(), month.meta.last);
    let mut checked = begin(month.meta.previous, asked);
    let follower = &mut checked.follower;
    let (mut whole, problem) = Whole::begin(month);
    if let Some(problem) = problem {
        follower.fault(place, said.id, format!("{}: {problem}", month.path.display()));
    }
    match month.text_twice() {
        Ok(None) => {}
        Ok(Some(text)) => {
            // Some of the rows that have it would not be found by it.
            let what = format!("the text `{}` is there twice", printable(&text));
            follower.fault(place, said.id, what);
        }
        Err(problem) => follower.fault(place, said.id, problem.to_string()),
    }
    let (mut filed, mut line) = (Filed::default(), Vec::new());
    let sql =
        "SELECT id, recorded, body, at, kind, actor, behalf, object, source, permission, credential
               FROM row WHERE id > 0 ORDER BY id";
    let outcome = month.select(sql, Vec::new(), |_, columns| {
        let (row, wanted) = month.checked(columns, &mut filed)?;
        let stored = stored(columns, 3)?;
        whole.add(row.id, &stored);
        row.write_line(&mut line);
        follower.row(place, row.id, &line, sealed(&row).as_ref());
        match wanted {
            Ok(wanted) if wanted == stored => {}
            Ok(_) => {
                follower.fault(place, row.id, format!("row {} is filed under other words", row.id));
            }
            Err(problem) => follower.fault(place, row.id, problem.to_string()),
        }
        Ok(true)
    });
    let outcome = outcome.and_then(|()| whole.finish(month));
    match outcome {
        Ok(None) => {}
        Ok(Some(problem)) => {
            follower.fault_of_all(place, said.id, format!("{}: {problem}", month.path.display()));
        }
        Err(problem) => {
            follower.fault(place, said.id, explain(&month.path, &problem).to_string());
        }
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
    checked
}
