//! Which rows of a month a query may want, in the order of time, so that a first page touches little beyond what it
//! shows.
//!
//! Where one index has the rows in that order, it is walked; one by day is walked day after day. Who acted and who they
//! spoke for are two indexes, which are merged. Rows about some objects have no index in the order of time: while many rows fit, all are
//! walked; where few do, their times and ids are taken from the index of objects first, and then only the rows
//! that are shown.

use std::time::Duration;

use rusqlite::types::Value;

use super::{
    ArchiveError,
    days::{DAY_OF, SECOND_OF, behind, second_on},
    month::Month,
    pack::{USAGE_KIND, entry_kind, find_text},
    query::{Cursor, Filter, Query},
    schema::explain,
    sieve::Sieve,
};
use crate::engine::ledger::{EntryKind, Row};

/// Rows that are walked before anybody asks whether enough of them fit: 8,192, some 5 ms. If just enough do, they fill a
/// page by then.
const WALKED_MIN: usize = 8_192;

/// The walk ends if fewer than one row in so many fits: 32.
const WALKED_PER_ROW_MAX: usize = 32;

/// Places of rows that are looked up without asking whether a walk would be shorter: 2,048.
const FEW: usize = 2_048;

/// Times and ids that are kept at once: 65,536, a megabyte. If there are more, the index is read again for the next.
const PLACES_MAX: usize = 65_536;

/// What an index is asked for.
enum Way {
    /// Rows of this table with this condition (up to its `AND`).
    One(String, String, Vec<Value>),
    /// Rows with this text in one column or the other.
    Either([&'static str; 2], i64),
    /// Rows with this text in one of these columns, which are indexed by day.
    Days(&'static [&'static str], i64),
    /// Rows about objects with this condition.
    Objects(String, Vec<Value>),
}

impl Way {
    /// Entries of a kind.
    fn entries(kind: EntryKind) -> Way {
        let kind = Value::Integer(entry_kind(kind));
        Way::One("row".to_owned(), "kind = ? AND kind > 0 AND".to_owned(), vec![kind])
    }
}

/// Takes what stands in the columns `id, recorded, body, at`; whether more is wanted.
type Take<'t> = &'t mut dyn FnMut(&rusqlite::Row<'_>) -> rusqlite::Result<bool>;

impl Month {
    /// Calls back with each row that a query may want, in the order of time, from its cursor on, until it says that it
    /// has seen enough.
    pub(super) fn search(
        &self,
        query: &Query,
        take: &mut dyn FnMut(Row) -> bool,
    ) -> Result<(), ArchiveError> {
        let mut run = || -> rusqlite::Result<()> {
            if query.filters.contains(&Filter::Usage) && !self.has_usage()? {
                return Ok(());
            }
            let sieve = Sieve::new(&self.connection, query)?;
            let query = &self.reaching_back(query)?;
            let Some(way) = self.way(query)? else { return Ok(()) };
            let mut sift = |row: &rusqlite::Row<'_>| -> rusqlite::Result<bool> {
                Ok(self.sifted(row, &sieve)?.is_none_or(&mut *take))
            };
            match way {
                Way::One(table, condition, values) => {
                    self.walk(query, (&table, &condition), values, &mut sift)
                }
                Way::Either(columns, number) => self.merge(query, columns, number, &mut sift),
                Way::Days(columns, number) => {
                    self.walk_days(query, (columns, number), &sieve, take)
                }
                Way::Objects(condition, values) => {
                    let objects = (condition.as_str(), values.as_slice());
                    let mut from = query.after;
                    if self.has_many(query, objects)? {
                        let stopped = self.walk_objects(query, objects, &mut sift)?;
                        let Some(stopped) = stopped else { return Ok(()) };
                        from = Some(stopped);
                    }
                    self.fetch_objects(query, from, objects, &mut sift)
                }
            }
        };
        run().map_err(|error| explain(&self.path, &error))
    }

    /// The query for the time in which rows may stand that fit: a roll-up stands where its first request was.
    fn reaching_back(&self, query: &Query) -> rusqlite::Result<Query> {
        let longest = if query.may_want_roll_ups() { self.longest()? } else { Duration::ZERO };
        Ok(Query { from: query.from.minus(longest), ..query.clone() })
    }

    /// Which index helps; `None` if no row can fit.
    fn way(&self, query: &Query) -> rusqlite::Result<Option<Way>> {
        // What is used has indexes of its own.
        let is_by_day = self.is_by_day && !query.filters.contains(&Filter::Usage);
        for filter in &query.filters {
            let (columns, text): (&'static [&'static str], &String) = match filter {
                Filter::Actor(text) => (&["actor", "behalf"], text),
                Filter::Object { resource, namespace, name } => {
                    let of = [Some(resource), namespace.as_ref(), name.as_ref()];
                    return self.objects(query, of);
                }
                Filter::Namespace(namespace) => {
                    return self.objects(query, [None, Some(namespace), None]);
                }
                Filter::Source(text) => (&["source"], text),
                Filter::Credential(text) => (&["credential"], text),
                Filter::Permission(text) => (&["permission"], text),
                Filter::Entries(kind) => return Ok(Some(Way::entries(*kind))),
                Filter::Alerts(_) => return Ok(Some(Way::entries(EntryKind::Alert))),
                Filter::Group(_)
                | Filter::Subresource(_)
                | Filter::Class(_)
                | Filter::Verbs(_)
                | Filter::Cluster(_)
                | Filter::Outcome(_)
                | Filter::People
                | Filter::Sessions
                | Filter::Accesses
                | Filter::Usage => continue,
            };
            let number = find_text(&self.connection, text)?;
            return Ok(number.map(|number| match columns {
                [one, other] if !is_by_day => Way::Either([one, other], number),
                [column] if !is_by_day => {
                    let (table, condition) = (table(query, column), format!("{column} = ? AND"));
                    Way::One(table, condition, vec![Value::Integer(number)])
                }
                _ => Way::Days(columns, number),
            }));
        }
        Ok(Some(Way::One("row".to_owned(), String::new(), Vec::new())))
    }

    /// Objects, those among them that have no name, or no namespace. Of a month that tells them apart by verb only those
    /// with one that is asked for.
    fn objects(
        &self,
        query: &Query,
        [resource, namespace, name]: [Option<&String>; 3],
    ) -> rusqlite::Result<Option<Way>> {
        let find = |text: &String| find_text(&self.connection, text);
        let (mut parts, mut values) = (Vec::new(), Vec::new());
        for (column, text) in
            [("resource", resource), ("namespace", namespace.filter(|_| resource.is_none()))]
        {
            let Some(text) = text else { continue };
            let Some(number) = find(text)? else { return Ok(None) };
            parts.push(format!("object.{column} = ?"));
            values.push(number);
        }
        if resource.is_some() {
            for (column, text) in [("namespace", namespace), ("name", name)] {
                let Some(text) = text else { continue };
                parts.push(format!("ifnull(object.{column}, 0) IN (0, ?)"));
                values.push(find(text)?.unwrap_or(0));
            }
        }
        for filter in query.filters.iter().filter(|_| self.is_by_day) {
            let Filter::Verbs(verbs) = filter else { continue };
            let found: rusqlite::Result<Vec<Option<i64>>> = verbs.iter().map(find).collect();
            let found: Vec<i64> = found?.into_iter().flatten().collect();
            let marks = vec!["?"; found.len()].join(", ");
            parts.push(format!("ifnull(object.verb, 0) IN ({marks})"));
            values.extend(found);
        }
        let values = values.into_iter().map(Value::Integer).collect();
        Ok(Some(Way::Objects(parts.join(" AND "), values)))
    }

    /// Walks the index of a condition.
    fn walk(
        &self,
        query: &Query,
        (table, condition): (&str, &str),
        mut values: Vec<Value>,
        take: Take<'_>,
    ) -> rusqlite::Result<()> {
        let sql = format!(
            "SELECT id, recorded, body, at FROM {table} WHERE {} {condition} at >= ? AND at < ?
             AND (at, id) > (?, ?) ORDER BY at, id",
            kinds(query)
        );
        values.extend(times(query));
        self.select(&sql, values, |_, row| take(row))
    }

    /// Merges two indexes; a row that is in both is told once.
    fn merge(
        &self,
        query: &Query,
        [one, other]: [&str; 2],
        number: i64,
        take: Take<'_>,
    ) -> rusqlite::Result<()> {
        let part = |column: &str| {
            format!(
                "SELECT id, recorded, body, at FROM {} WHERE {} {column} = ?5 AND at >= ?1
                 AND at < ?2 AND (at, id) > (?3, ?4)",
                table(query, column),
                kinds(query)
            )
        };
        let sql = format!("{} UNION ALL {} ORDER BY at, id", part(one), part(other));
        let mut values = times(query).to_vec();
        values.push(Value::Integer(number));
        let mut last = 0;
        self.select(&sql, values, |id, row| {
            let is_new = std::mem::replace(&mut last, id) != id;
            Ok(!is_new || take(row)?)
        })
    }

    /// Walks the rows with a text in one of some columns, day after day, a second at once; a row that has it in two
    /// is told once.
    fn walk_days(
        &self,
        query: &Query,
        (columns, number): (&[&str], i64),
        sieve: &Sieve,
        take: &mut dyn FnMut(Row) -> bool,
    ) -> rusqlite::Result<()> {
        let part = |column: &&str| {
            format!(
                "SELECT id, recorded, body, at, {SECOND_OF} AS second FROM row WHERE {} {DAY_OF} = ?5
                 AND {column} = ?6 AND {SECOND_OF} >= ?7 AND {SECOND_OF} <= ?8
                 AND at >= ?1 AND at < ?2 AND (at, id) > (?3, ?4)",
                kinds(query)
            )
        };
        let parts: Vec<String> = columns.iter().map(part).collect();
        let sql = format!("{} ORDER BY second", parts.join(" UNION ALL "));
        let [from, to, ..] = bounds(query);
        let mut tell = |rows: &mut Vec<Row>| {
            rows.sort_by_key(Cursor::behind);
            rows.dedup_by_key(|row| row.id);
            rows.drain(..).all(&mut *take)
        };
        let (mut begin, mut goes_on) = (from, true);
        while let Some(day) = self.next_day(begin, to)?.filter(|_| goes_on) {
            let seconds = [second_on(day, from, i64::MIN), second_on(day, to, i64::MAX)];
            let of_day = [day, number].into_iter().chain(seconds).map(Value::Integer);
            let values = times(query).into_iter().chain(of_day).collect();
            let (mut same, mut last) = (Vec::new(), None);
            self.select(&sql, values, |_, row| {
                let second: i64 = row.get(4)?;
                if last.replace(second) != Some(second) {
                    goes_on = tell(&mut same);
                }
                same.extend(self.sifted(row, sieve)?.filter(|_| goes_on));
                Ok(goes_on)
            })?;
            goes_on = goes_on && tell(&mut same);
            begin = begin.max(behind(day));
        }
        Ok(())
    }

    /// Whether there are more rows about some objects than are worth a walk.
    fn has_many(
        &self,
        query: &Query,
        (condition, values): (&str, &[Value]),
    ) -> rusqlite::Result<bool> {
        let sql = format!("{} LIMIT {FEW}", places(condition));
        let values = values.iter().cloned().chain(times(query)).collect();
        let mut count = 0;
        self.select(&sql, values, |_, _| {
            count += 1;
            Ok(true)
        })?;
        Ok(count == FEW)
    }

    /// Walks all rows while enough of them are about some objects; returns where it stopped if too few are.
    fn walk_objects(
        &self,
        query: &Query,
        (condition, values): (&str, &[Value]),
        take: Take<'_>,
    ) -> rusqlite::Result<Option<Cursor>> {
        let sql = format!(
            "SELECT row.id, recorded, body, at, {condition} FROM row LEFT JOIN object ON object.id = row.object
             WHERE {} at >= ? AND at < ? AND (at, row.id) > (?, ?) ORDER BY at, row.id",
            kinds(query)
        );
        let values = values.iter().cloned().chain(times(query)).collect();
        let (mut walked, mut found, mut stopped) = (0, 0, None);
        self.select(&sql, values, |id, row| {
            walked += 1;
            if row.get::<_, Option<bool>>(4)? == Some(true) {
                found += 1;
                return take(row);
            }
            if walked > WALKED_MIN && found * WALKED_PER_ROW_MAX < walked {
                stopped = Some(Cursor { at: row.get(3)?, id: id.cast_unsigned() });
            }
            Ok(stopped.is_none())
        })?;
        Ok(stopped)
    }

    /// Takes the places of rows about some objects from their index, then those rows one after another.
    fn fetch_objects(
        &self,
        query: &Query,
        mut from: Option<Cursor>,
        (condition, values): (&str, &[Value]),
        take: Take<'_>,
    ) -> rusqlite::Result<()> {
        let sql = places(condition);
        loop {
            let rest = Query { after: from, ..query.clone() };
            let values = values.iter().cloned().chain(times(&rest)).collect();
            let mut first = First::default();
            self.select(&sql, values, |id, row| {
                first.add(Cursor { at: row.get(1)?, id: id.cast_unsigned() }, PLACES_MAX);
                Ok(true)
            })?;
            let (places, next) = first.finish(PLACES_MAX);
            if !self.fetch(query, &places, take)? {
                return Ok(());
            }
            from = next;
            if from.is_none() {
                return Ok(());
            }
        }
    }

    /// Takes rows that are of a kind that is asked for, one after another; whether more are wanted.
    fn fetch(&self, query: &Query, places: &[Cursor], take: Take<'_>) -> rusqlite::Result<bool> {
        let sql = format!("SELECT id, recorded, body, at FROM row WHERE {} id = ?", kinds(query));
        let mut select = self.connection.prepare_cached(&sql)?;
        for place in places {
            self.check_deadline()?;
            let mut rows = select.query([place.id.cast_signed()])?;
            if let Some(row) = rows.next()?
                && !take(row)?
            {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// The places of rows about some objects, from their index alone, in no order.
fn places(condition: &str) -> String {
    format!(
        "SELECT id, at FROM row WHERE object IN (SELECT id FROM object WHERE {condition})
         AND at >= ? AND at < ? AND (at, id) > (?, ?)"
    )
}

/// Where rows with a text in a column are looked for. What is used has indexes of its own, of which SQLite would take the
/// one by time alone.
fn table(query: &Query, column: &str) -> String {
    let has_own = matches!(column, "actor" | "behalf" | "permission");
    if has_own && query.filters.contains(&Filter::Usage) {
        format!("row INDEXED BY usage_{column}")
    } else {
        "row".to_owned()
    }
}

/// The condition by which nobody is told of uses of permissions but who asks for them, nor of entries who asks for
/// accesses.
fn kinds(query: &Query) -> String {
    let is_of_accesses = |filter: &Filter| {
        matches!(filter, Filter::Accesses | Filter::Outcome(_) | Filter::People | Filter::Sessions)
    };
    if query.filters.contains(&Filter::Usage) {
        format!("kind = {USAGE_KIND} AND")
    } else if query.filters.iter().any(is_of_accesses) {
        "kind = 0 AND".to_owned()
    } else {
        "kind >= 0 AND".to_owned()
    }
}

/// From when, until when, and the time and id of the row behind which to begin.
fn bounds(query: &Query) -> [i64; 4] {
    let after = query.after.unwrap_or(Cursor { at: i64::MIN, id: 0 });
    let from = query.from.micros().max(after.at);
    [from, query.to.micros(), after.at, after.id.cast_signed()]
}

fn times(query: &Query) -> [Value; 4] {
    bounds(query).map(Value::Integer)
}

/// The first of many places, that come in any order.
#[derive(Default)]
struct First {
    places: Vec<Cursor>,
    has_more: bool,
}

impl First {
    /// Adds one; up to twice as many as are wanted are kept.
    fn add(&mut self, place: Cursor, most: usize) {
        self.places.push(place);
        if self.places.len() >= 2 * most {
            self.places.select_nth_unstable(most);
            self.places.truncate(most);
            self.has_more = true;
        }
    }

    /// As many as are wanted, in their order, and behind which one the others are, if there are any.
    fn finish(mut self, most: usize) -> (Vec<Cursor>, Option<Cursor>) {
        self.places.sort_unstable();
        self.has_more |= self.places.len() > most;
        self.places.truncate(most);
        let last = self.places.last().copied().filter(|_| self.has_more);
        (self.places, last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_places_are_kept_in_whatever_order_they_come() {
        for count in [0_u64, 1, 9, 10, 11, 19, 20, 21, 57, 200] {
            let place = |number: u64| Cursor { at: (number / 3).cast_signed(), id: number };
            let mut first = First::default();
            for number in 0..count {
                // A prime, so that each comes once.
                first.add(place(number * 7_919 % count), 10);
            }
            let wanted: Vec<Cursor> = (0..count.min(10)).map(place).collect();
            let last = (count > 10).then(|| place(9));
            assert_eq!(first.finish(10), (wanted, last), "{count}");
        }
    }
}
