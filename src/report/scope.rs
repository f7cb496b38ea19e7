//! What a report is about: a period, a zone, perhaps one cluster; and how its numbers are asked for again.

use std::collections::VecDeque;

use jiff::Timestamp;

use crate::{
    archive::{Cursor, Filter, Query, Reader},
    ask::{AskError, Mistake, Params, Period, shown_time},
    engine::{
        ledger::{EntryKind, Row},
        text::shell_word,
        time::EventTime,
    },
};

/// Rows that are in memory at once.
const ROWS_AT_ONCE: usize = 10_000;

/// What parts say where there is no name, or where there are too many.
const NAMELESS: [&str; 2] = ["(not known)", "(others)"];

/// What a report is about.
#[derive(Clone, Debug)]
pub struct Scope {
    /// Which time, and in which zone days and hours are counted.
    pub period: Period,
    /// The name of the zone.
    pub zone_name: String,
    /// One cluster alone.
    pub cluster: Option<String>,
}

/// Entries of one kind that come next, and those behind them.
struct Ahead {
    rest: Option<Query>,
    rows: VecDeque<Row>,
}

impl Ahead {
    /// Reads more, if there are none.
    fn fill(&mut self, reader: &Reader) -> Result<(), AskError> {
        while self.rows.is_empty()
            && let Some(query) = &mut self.rest
        {
            let page = reader.page(query)?;
            self.rows = page.rows.into();
            match page.next {
                Some(next) => query.after = Some(next),
                None => self.rest = None,
            }
        }
        Ok(())
    }

    fn at(&self) -> Option<Cursor> {
        self.rows.front().map(Cursor::behind)
    }
}

impl Scope {
    /// Reads it. `span_default` is how long it is if nothing says.
    ///
    /// # Errors
    /// What cannot be used.
    pub fn read(params: &Params, now: EventTime, span_default: &str) -> Result<Scope, Mistake> {
        let period = Period::read(params, now, span_default)?;
        let zone_name = params.text("zone").unwrap_or("UTC").to_owned();
        Ok(Scope { period, zone_name, cluster: params.owned("cluster") })
    }

    /// Calls back with every row of the period and the cluster, in the order of time. `progress` is told now and
    /// then how many there were.
    ///
    /// # Errors
    /// The ledger cannot be read.
    pub fn each(
        &self,
        reader: &Reader,
        progress: &mut dyn FnMut(u64),
        mut take: impl FnMut(&Row) -> Result<(), AskError>,
    ) -> Result<(), AskError> {
        let (from, to) = (self.period.from, self.period.to);
        let filters: Vec<Filter> = Vec::new();
        let mut query = Query { filters, from, to, after: None::<Cursor>, limit: ROWS_AT_ONCE };
        let mut count = 0;
        loop {
            let page = reader.page(&query)?;
            page.rows.iter().filter(|row| self.holds(row)).try_for_each(&mut take)?;
            count += page.rows.len() as u64;
            progress(count);
            let Some(next) = page.next else { return Ok(()) };
            query.after = Some(next);
        }
    }

    /// Calls back with the entries of some kinds, in the order of time.
    ///
    /// # Errors
    /// The ledger cannot be read.
    pub fn entries(
        &self,
        reader: &Reader,
        kinds: &[EntryKind],
        mut take: impl FnMut(&Row),
    ) -> Result<(), AskError> {
        let (from, to) = (self.period.from, self.period.to);
        let limit = ROWS_AT_ONCE / kinds.len().max(1);
        let mut ahead: Vec<Ahead> = kinds
            .iter()
            .map(|kind| {
                let filters = vec![Filter::Entries(*kind)];
                let rest = Some(Query { filters, from, to, after: None, limit });
                Ahead { rest, rows: VecDeque::new() }
            })
            .collect();
        loop {
            for one in &mut ahead {
                one.fill(reader)?;
            }
            let first =
                ahead.iter_mut().min_by_key(|one| one.at().map_or((1, None), |at| (0, Some(at))));
            let Some(row) = first.and_then(|one| one.rows.pop_front()) else { return Ok(()) };
            take(&row);
        }
    }

    /// Whether a row is within: of the period, and of the cluster. Entries that are about no cluster are.
    pub fn holds(&self, row: &Row) -> bool {
        let at = row.at();
        let of_cluster = |cluster: &String| match row.access() {
            Some(access) => access.cluster.as_deref() == Some(cluster),
            None => true,
        };
        at >= self.period.from
            && at < self.period.to
            && self.cluster.as_ref().is_none_or(of_cluster)
    }

    /// The day of a time in the zone, in days since 1970, and its hour.
    pub fn day_and_hour(&self, time: EventTime) -> (i64, usize) {
        let Ok(timestamp) = Timestamp::from_microsecond(time.micros()) else { return (0, 0) };
        let offset = i64::from(self.period.zone.to_offset(timestamp).seconds());
        let seconds = timestamp.as_second() + offset;
        let hour = usize::try_from(seconds.rem_euclid(86_400) / 3_600).unwrap_or(0);
        (seconds.div_euclid(86_400), hour)
    }

    /// `2026-11-29 14:00:12`, in the zone.
    pub fn time(&self, time: EventTime) -> String {
        shown_time(time, &self.period.zone)
    }

    /// The command that shows what a number counts; empty if that is of what has no name. A value that begins like an
    /// option is told from one.
    pub fn query(&self, command: &str, arguments: &[(&str, &str)]) -> String {
        if arguments.iter().any(|(_, value)| NAMELESS.contains(value)) {
            return String::new();
        }
        let mut text = format!("tripline {command}");
        let cluster = self.cluster.as_ref().map(|cluster| ("--cluster", cluster.as_str()));
        for (name, value) in arguments.iter().copied().chain(cluster) {
            let between = if value.starts_with('-') { '=' } else { ' ' };
            text.push_str(&format!(" {name}{between}{}", shell_word(value)));
        }
        text.push_str(&format!(
            " --from {} --to {}",
            self.period.from.rfc3339(),
            self.period.to.rfc3339()
        ));
        text
    }
}
