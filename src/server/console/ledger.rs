//! Questions of pages to the ledger: away from the threads that answer, in a bounded time.

use std::time::Duration;

use super::super::ServerContext;
use crate::{
    archive::{ArchiveError, Filter, Page, Query, Reader},
    ask::{AskError, Mistake},
    engine::{ledger::Row, time::EventTime},
};

/// How long a page waits for the ledger: 5 s. Beyond it the range must be narrower.
const WAIT: Duration = Duration::from_secs(5);

/// Rows that one part of a page looks through: 20,000.
pub(super) const ROWS_MAX: usize = 20_000;

/// Why the ledger says nothing, or less than it should.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    /// This process keeps none.
    Off,
    /// It cannot be read, or not all of it.
    Broken(String),
    /// It took too long.
    Slow,
    /// It has no answer to such a question.
    Mistaken(Mistake),
}

impl Trouble {
    /// What is so.
    pub(super) fn what(&self) -> &str {
        match self {
            Trouble::Off => "This process keeps no ledger.",
            Trouble::Broken(_) => "The ledger cannot be read, or not all of it.",
            Trouble::Slow => "The ledger did not answer within 5 s.",
            Trouble::Mistaken(mistake) => &mistake.message,
        }
    }

    /// What to do.
    pub(super) fn hint(&self) -> String {
        match self {
            Trouble::Off => "So pages show what fires now, and nothing of what was.".to_owned(),
            Trouble::Broken(why) => why.clone(),
            Trouble::Slow => "Narrow the range.".to_owned(),
            Trouble::Mistaken(mistake) => mistake.hint.clone(),
        }
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
    context: &ServerContext,
    question: impl FnOnce(&Reader) -> Result<T, AskError> + Send + 'static,
) -> Answer<T> {
    let nothing = |trouble| Answer { found: T::default(), troubles: vec![trouble] };
    let Some(place) = context.ledger.clone() else { return nothing(Trouble::Off) };
    let work = tokio::task::spawn_blocking(move || -> Result<_, AskError> {
        // The first rows come with the first checkpoint; until then there is nothing, and nothing is wrong.
        if !place.has_begun() {
            return Ok((T::default(), Vec::new()));
        }
        let reader = place.open()?;
        let problems = reader.problems().iter().map(ToString::to_string).collect::<Vec<_>>();
        question(&reader).map(|found| (found, problems))
    });
    match tokio::time::timeout(WAIT, work).await {
        Ok(Ok(Ok((found, problems)))) => {
            Answer { found, troubles: problems.into_iter().map(Trouble::Broken).collect() }
        }
        Ok(Ok(Err(AskError::Mistake(mistake)))) => nothing(Trouble::Mistaken(mistake)),
        Ok(Ok(Err(AskError::Archive(error)))) => nothing(Trouble::Broken(error.to_string())),
        Ok(Err(_)) => nothing(Trouble::Broken("the question broke off".to_owned())),
        Err(_) => nothing(Trouble::Slow),
    }
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

/// The hour that a time lies in.
pub(super) const fn hour_of(time: EventTime) -> i64 {
    time.micros().div_euclid(HOUR)
}

/// When an hour began.
pub(super) const fn hour_start(hour: i64) -> EventTime {
    EventTime::from_micros(hour * HOUR)
}

const HOUR: i64 = 3_600_000_000;
