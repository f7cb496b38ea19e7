//! Which rows of a month a query may want, in the order of time, so that a first page touches little beyond what it
//! shows.
//!
//! Where one index has the rows in that order, it is walked. Who acted and who they spoke for are two indexes,
//! which are merged. Rows about some objects have no index in the order of time: while many rows fit, all are
//! walked; where few do, their times and ids are taken from the index of objects first, and then only the rows
//! that are shown.

use rusqlite::types::Value;

use super::{
    ArchiveError,
    month::Month,
    pack::{USAGE_KIND, find_text},
    query::{Cursor, Filter, Query},
    schema::explain,
};
use crate::engine::ledger::Row;

/// Rows that are walked before anybody asks whether enough of them fit: 20,000, some 10 ms.
const WALKED_MIN: usize = 20_000;

/// The walk ends if fewer than one row in so many fits: 32.
const WALKED_PER_ROW_MAX: usize = 32;

/// Times and ids that are kept at once: 65,536, a megabyte. If there are more, the index is read again for the next.
const PLACES_MAX: usize = 65_536;

/// What an index is asked for.
enum Way {
    /// Rows with this condition (up to its `AND`).
    One(String, Vec<Value>),
    /// Rows with this text in one column or the other.
    Either([&'static str; 2], i64),
    /// Rows about objects with this condition.
    Objects(String, Vec<Value>),
}

impl Month {
    /// Calls back with each row that a query may want, in the order of time, from its cursor on, until it says that it
    /// has seen enough.
    pub(super) fn search(
        &self,
        query: &Query,
        take: &mut dyn FnMut(Row) -> bool,
    ) -> Result<(), ArchiveError> {
        let mut run = || -> rusqlite::Result<()> {
            match self.way(query)? {
                None => Ok(()),
                Some(Way::One(condition, values)) => self.walk(query, &condition, values, take),
                Some(Way::Either(columns, number)) => self.merge(query, columns, number, take),
                Some(Way::Objects(condition, values)) => {
                    let Some(from) = self.walk_objects(query, &condition, &values, take)? else {
                        return Ok(());
                    };
                    self.fetch_objects(query, from, (&condition, &values), take)
                }
            }
        };
        run().map_err(|error| explain(&self.path, &error))
    }

    /// Which index helps; `None` if no row can fit.
    fn way(&self, query: &Query) -> rusqlite::Result<Option<Way>> {
        for filter in &query.filters {
            let (column, text) = match filter {
                Filter::Actor(actor) => {
                    let number = find_text(&self.connection, actor)?;
                    return Ok(number.map(|number| Way::Either(["actor", "behalf"], number)));
                }
                Filter::Object { resource, namespace, name } => {
                    return self.objects(Some(resource), namespace.as_deref(), name.as_deref());
                }
                Filter::Namespace(namespace) => return self.objects(None, Some(namespace), None),
                Filter::Source(text) => ("source", text),
                Filter::Credential(text) => ("credential", text),
                Filter::Permission(text) => ("permission", text),
                Filter::Entries(kind) => {
                    let kind = Value::Integer(*kind as i64 + 1);
                    return Ok(Some(Way::One("kind = ? AND kind > 0 AND".to_owned(), vec![kind])));
                }
                Filter::Class(_)
                | Filter::Verbs(_)
                | Filter::Cluster(_)
                | Filter::Accesses
                | Filter::Usage => continue,
            };
            let number = find_text(&self.connection, text)?.map(Value::Integer);
            return Ok(number.map(|number| Way::One(format!("{column} = ? AND"), vec![number])));
        }
        Ok(Some(Way::One(String::new(), Vec::new())))
    }

    /// Objects, those among them that have no name, or no namespace.
    fn objects(
        &self,
        resource: Option<&str>,
        namespace: Option<&str>,
        name: Option<&str>,
    ) -> rusqlite::Result<Option<Way>> {
        let (mut parts, mut values) = (Vec::new(), Vec::new());
        for (column, text, is_exact) in [
            ("resource", resource, true),
            ("namespace", namespace, resource.is_none()),
            ("name", name, false),
        ] {
            let Some(text) = text else { continue };
            let number = find_text(&self.connection, text)?;
            parts.push(match number {
                Some(_) if is_exact => format!("object.{column} = ?"),
                Some(_) => format!("(object.{column} = ? OR object.{column} IS NULL)"),
                None if is_exact => return Ok(None),
                None => format!("object.{column} IS NULL"),
            });
            values.extend(number.map(Value::Integer));
        }
        Ok(Some(Way::Objects(parts.join(" AND "), values)))
    }

    /// Walks the index of a condition.
    fn walk(
        &self,
        query: &Query,
        condition: &str,
        mut values: Vec<Value>,
        take: &mut dyn FnMut(Row) -> bool,
    ) -> rusqlite::Result<()> {
        let sql = format!(
            "SELECT id, recorded, body FROM row WHERE {} {condition} at >= ? AND at < ?
             AND (at, id) > (?, ?) ORDER BY at, id",
            kinds(query)
        );
        values.extend(times(query));
        self.select(&sql, values, |_, row| Ok(take(self.row(row)?)))
    }

    /// Merges two indexes; a row that is in both is told once.
    fn merge(
        &self,
        query: &Query,
        [one, other]: [&str; 2],
        number: i64,
        take: &mut dyn FnMut(Row) -> bool,
    ) -> rusqlite::Result<()> {
        let part = |column: &str| {
            format!(
                "SELECT id, recorded, body, at FROM row WHERE {} {column} = ?5 AND at >= ?1
                 AND at < ?2 AND (at, id) > (?3, ?4)",
                kinds(query)
            )
        };
        let sql = format!("{} UNION ALL {} ORDER BY at, id", part(one), part(other));
        let mut values = times(query).to_vec();
        values.push(Value::Integer(number));
        let mut last = 0;
        self.select(&sql, values, |id, row| {
            let is_new = std::mem::replace(&mut last, id) != id;
            Ok(!is_new || take(self.row(row)?))
        })
    }

    /// Walks all rows while enough of them are about some objects; returns where it stopped if too few are.
    fn walk_objects(
        &self,
        query: &Query,
        condition: &str,
        values: &[Value],
        take: &mut dyn FnMut(Row) -> bool,
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
                return Ok(take(self.row(row)?));
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
        from: Cursor,
        (condition, values): (&str, &[Value]),
        take: &mut dyn FnMut(Row) -> bool,
    ) -> rusqlite::Result<()> {
        let sql = format!(
            "SELECT id, at FROM row WHERE object IN (SELECT id FROM object WHERE {condition})
             AND at >= ? AND at < ? AND (at, id) > (?, ?)"
        );
        let mut after = Some(from);
        while let Some(cursor) = after.take() {
            let rest = Query { after: Some(cursor), ..query.clone() };
            let values = values.iter().cloned().chain(times(&rest)).collect();
            let (mut places, mut has_more) = (Vec::new(), false);
            self.select(&sql, values, |id, row| {
                places.push(Cursor { at: row.get(1)?, id: id.cast_unsigned() });
                if places.len() >= 2 * PLACES_MAX {
                    places.select_nth_unstable(PLACES_MAX);
                    places.truncate(PLACES_MAX);
                    has_more = true;
                }
                Ok(true)
            })?;
            places.sort_unstable();
            if has_more {
                places.truncate(PLACES_MAX);
            }
            after = places.last().copied().filter(|_| has_more);
            for place in places {
                if !self.fetch(query, place.id, take)? {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// Takes one row, if it is of a kind that is asked for; whether more are wanted.
    fn fetch(
        &self,
        query: &Query,
        id: u64,
        take: &mut dyn FnMut(Row) -> bool,
    ) -> rusqlite::Result<bool> {
        let sql = format!("SELECT id, recorded, body FROM row WHERE {} id = ?", kinds(query));
        let mut goes_on = true;
        self.select(&sql, vec![Value::Integer(id.cast_signed())], |_, row| {
            goes_on = take(self.row(row)?);
            Ok(goes_on)
        })?;
        Ok(goes_on)
    }
}

/// The condition by which nobody is told of uses of permissions but who asks for them.
fn kinds(query: &Query) -> String {
    if query.filters.contains(&Filter::Usage) {
        format!("kind = {USAGE_KIND} AND")
    } else {
        "kind >= 0 AND".to_owned()
    }
}

/// From when, until when, and the time and id of the row behind which to begin.
fn times(query: &Query) -> [Value; 4] {
    let after = query.after.unwrap_or(Cursor { at: i64::MIN, id: 0 });
    let from = query.from.micros().max(after.at);
    [from, query.to.micros(), after.at, after.id.cast_signed()].map(Value::Integer)
}
