//! Questions of pages to the ledger: away from the threads that answer, in a bounded time.

use std::time::Duration;

use super::{super::problem::Problem, view::View};
use crate::{
    archive::{ArchiveError, Filter, Page, Query, Reader},
    ask::{AskError, Params, names},
    engine::{ledger::Row, time::EventTime},
};

/// Rows that one part of a page looks through: 20,000.
pub(super) const ROWS_MAX: usize = 20_000;

/// Why the ledger says nothing, or less than it should.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Trouble {
    what: String,
    hint: String,
}

impl Trouble {
    fn of(problem: Problem) -> Trouble {
        let Problem { message, hint, .. } = problem;
        Trouble { what: message, hint }
    }

    /// What is so.
    pub(super) fn what(&self) -> &str {
        &self.what
    }

    /// What to do.
    pub(super) fn hint(&self) -> &str {
        &self.hint
    }
}

/// What the ledger said, and what is wrong with it.
pub(super) struct Answer<T> {
    /// What it said; nothing, if it could not be asked.
    pub(super) found: T,
    /// What is wrong with it.
    pub(super) troubles: Vec<Trouble>,
}

/// Asks the ledger. What cannot be had is empty, with why.
pub(super) async fn ask<T: Default + Send + 'static>(
    context: &View,
    question: impl FnOnce(&Reader) -> Result<T, AskError> + Send + 'static,
) -> Answer<T> {
    let answer = context.desk.ask(move |reader| {
        let broken = "A month of the ledger cannot be read, and is left out.";
        let broken = reader.problems().iter().map(|problem| (broken, problem.to_string()));
        let missing =
            reader.holes().into_iter().map(|hole| ("Rows of the ledger are missing.", hole));
        let troubles: Vec<_> = broken.chain(missing).collect();
        question(reader).map(|found| (found, troubles))
    });
    match answer.await {
        Ok((found, troubles)) => {
            let trouble = |(what, hint): (&str, String)| Trouble { what: what.to_owned(), hint };
            Answer { found, troubles: troubles.into_iter().map(trouble).collect() }
        }
        Err(problem) => Answer { found: T::default(), troubles: vec![Trouble::of(problem)] },
    }
}

/// The same. Where nothing is found, names that nothing has are refused, as commands refuse them.
pub(super) async fn ask_named<T: Default + Send + 'static>(
    context: &View,
    params: &Params,
    question: impl FnOnce(&Reader) -> Result<T, AskError> + Send + 'static,
    is_nothing: impl FnOnce(&T) -> bool + Send + 'static,
) -> Answer<T> {
    let params = params.clone();
    ask(context, move |reader| {
        let found = question(reader)?;
        if is_nothing(&found) {
            names::check(reader, &params)?;
        }
        Ok(found)
    })
    .await
}

/// The first rows of a range that fit, in the order of time.
pub(super) fn rows(
    reader: &Reader,
    filters: Vec<Filter>,
    (from, to): (EventTime, EventTime),
    limit: usize,
) -> Result<Page, ArchiveError> {
    reader.page(&Query { filters, from, to, after: None, limit })
}

/// The last rows of a range that fit, in the order of time, and whether there are earlier ones. Looks back
/// from the end in steps that double, so that a long range costs no more than what it gives.
pub(super) fn last_rows(
    reader: &Reader,
    filters: &[Filter],
    (from, to): (EventTime, EventTime),
    limit: usize,
) -> Result<(Vec<Row>, bool), ArchiveError> {
    let mut found: Vec<Row> = Vec::new();
    let (mut end, mut step) = (to, Duration::from_secs(3_600));
    while end > from {
        let begin = end.minus(step).max(from);
        let mut page = rows(reader, filters.to_vec(), (begin, end), ROWS_MAX)?;
        let is_cut = page.next.is_some() && step > Duration::from_secs(60);
        if is_cut {
            // So much in so little: what is nearer to the end comes first.
            step /= 4;
            continue;
        }
        // A roll-up that began before this step is a row of that one.
        page.rows.retain(|row| row.at() >= begin || begin == from);
        page.rows.append(&mut found);
        found = page.rows;
        if found.len() > limit {
            let surplus = found.len() - limit;
            return Ok((found.split_off(surplus), true));
        }
        end = begin;
        step = step.saturating_mul(2);
    }
    Ok((found, false))
}

/// When an hour began.
pub(super) const fn hour_start(hour: i64) -> EventTime {
    EventTime::from_micros(hour * HOUR)
}

const HOUR: i64 = 3_600_000_000;
