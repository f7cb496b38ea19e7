//! Rows of the ledger, some of them in memory at a time.

use crate::{
    archive::{ArchiveError, Filter, Query, Reader},
    engine::{ledger::Row, time::EventTime},
};

/// Rows that are in memory at once while they are looked through.
const ROWS_AT_ONCE: usize = 10_000;

/// Calls back with all rows that filters let through, in the order of time.
pub(super) fn each(
    reader: &Reader,
    filters: Vec<Filter>,
    take: &mut dyn FnMut(&Row),
) -> Result<(), ArchiveError> {
    let (from, to) = (EventTime::MIN, EventTime::MAX);
    let mut query = Query { filters, from, to, after: None, limit: ROWS_AT_ONCE };
    loop {
        let page = reader.page(&query)?;
        page.rows.iter().for_each(&mut *take);
        let Some(next) = page.next else { return Ok(()) };
        query.after = Some(next);
    }
}
