//! Rows that stand for a request, told apart from those that only tell how one ended. A session has two rows, unless the
//! audit policy leaves out its beginning, or it began before anybody looked: then its end is all there is, and stands for it.

use std::collections::BTreeSet;

use crate::{
    archive::{ArchiveError, Filter, Query, Reader},
    engine::{
        access::{Access, SessionStep},
        ledger::Row,
        time::EventTime,
    },
};

/// Sessions whose beginning is remembered: 1,000,000, of 16 bytes each. With more of them, ends stand for no request.
pub const BEGUN_MAX: usize = 1_000_000;

/// Rows in memory at once, while a beginning is looked for.
const ROWS_AT_ONCE: usize = 1_000;

/// Sessions that began in the rows of a time, which come in its order.
#[derive(Debug)]
pub struct Begun<'r> {
    reader: &'r Reader,
    from: EventTime,
    requests: BTreeSet<[u8; 16]>,
}

impl<'r> Begun<'r> {
    /// Of rows that begin at a time.
    pub const fn new(reader: &'r Reader, from: EventTime) -> Begun<'r> {
        Begun { reader, from, requests: BTreeSet::new() }
    }

    /// Whether the next access stands for a request that none before it stands for, be it one before these rows. Cost: a
    /// look into the ledger for a session that ended now and began before them.
    ///
    /// # Errors
    /// The ledger cannot be read.
    pub fn is_first(&mut self, access: &Access) -> Result<bool, ArchiveError> {
        match access.session {
            Some(SessionStep::Start) => {
                if self.requests.len() < BEGUN_MAX {
                    self.requests.insert(access.request);
                }
                Ok(true)
            }
            Some(SessionStep::End) if self.requests.contains(&access.request) => Ok(false),
            Some(SessionStep::End) => {
                Ok(self.requests.len() < BEGUN_MAX
                    && !began_before(self.reader, access, self.from)?)
            }
            Some(SessionStep::Whole) | None => Ok(true),
        }
    }
}

/// Whether a row before a time tells the beginning of the session whose end this is.
///
/// # Errors
/// The ledger cannot be read.
pub fn began_before(
    reader: &Reader,
    end: &Access,
    before: EventTime,
) -> Result<bool, ArchiveError> {
    let (from, to, limit) = (end.began(), before, ROWS_AT_ONCE);
    if from >= to {
        return Ok(false);
    }
    let mut filters = vec![Filter::Sessions];
    filters.extend(end.actor.id.as_ref().map(|actor| Filter::Actor(actor.to_string())));
    let mut query = Query { filters, from, to, after: None, limit };
    loop {
        let page = reader.page(&query)?;
        let began = |access: &Access| {
            access.request == end.request && access.session == Some(SessionStep::Start)
        };
        if page.rows.iter().filter_map(|row| row.access()).any(began) {
            return Ok(true);
        }
        let Some(next) = page.next else { return Ok(false) };
        query.after = Some(next);
    }
}

/// Leaves out those rows, which come in the order of time, that stand for no request of their own.
///
/// # Errors
/// The ledger cannot be read.
pub fn leave_out_ends(reader: &Reader, rows: &mut Vec<Row>) -> Result<(), ArchiveError> {
    let ends = ends_of(reader, rows)?;
    rows.retain(|row| !ends.contains(&row.id));
    Ok(())
}

/// Ids of those rows, which come in the order of time, that stand for no request of their own.
///
/// # Errors
/// The ledger cannot be read.
pub fn ends_of(reader: &Reader, rows: &[Row]) -> Result<BTreeSet<u64>, ArchiveError> {
    let mut begun = Begun::new(reader, rows.first().map_or(EventTime::MIN, Row::at));
    let mut ends = BTreeSet::new();
    for row in rows {
        if let Some(access) = row.access()
            && !begun.is_first(access)?
        {
            ends.insert(row.id);
        }
    }
    Ok(ends)
}
