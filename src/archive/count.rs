//! How many rows a month has of each class, and of each kind of entry: kept beside its rows, and written with them in one
//! step, so that nobody has to pass over all rows to know it. Whoever verifies a month counts again.

use std::{collections::BTreeMap, sync::Arc};

use rusqlite::{Connection, OptionalExtension as _, params};

use super::pack::{decode, text_of};
use crate::engine::ledger::Content;

/// Rows by class, and by kind of entry; `T` is how the names of classes are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Counts<T: Ord = Arc<str>> {
    classes: BTreeMap<T, u64>,
    others: BTreeMap<&'static str, u64>,
}

impl<T: Ord> Default for Counts<T> {
    fn default() -> Counts<T> {
        Counts { classes: BTreeMap::new(), others: BTreeMap::new() }
    }
}

impl<T: Ord + Clone> Counts<T> {
    /// Counts one row.
    pub(super) fn add(&mut self, content: &Content<T>) {
        let name = match content {
            Content::Access(access) => {
                for class in &access.classes {
                    if let Some(count) = self.classes.get_mut(class) {
                        *count += 1;
                    } else {
                        self.classes.insert(class.clone(), 1);
                    }
                }
                return;
            }
            Content::Entry(entry) => entry.kind.as_str(),
            Content::Usage(_) => "usage",
        };
        *self.others.entry(name).or_default() += 1;
    }
}

impl Counts {
    /// By name.
    pub(super) fn by_name(&self) -> BTreeMap<String, u64> {
        let others = self.others.iter().map(|(name, count)| (*name, *count));
        let classes = self.classes.iter().map(|(name, count)| (&**name, *count));
        let mut by_name = BTreeMap::new();
        for (name, count) in classes.chain(others) {
            *by_name.entry(name.to_owned()).or_default() += count;
        }
        by_name
    }

    /// Adds them to those that a month file has.
    pub(super) fn store(&self, connection: &Connection) -> rusqlite::Result<()> {
        let mut add = connection.prepare_cached(
            "INSERT INTO count (name, rows) VALUES (?1, ?2)
             ON CONFLICT DO UPDATE SET rows = rows + excluded.rows",
        )?;
        for (name, count) in self.by_name() {
            add.execute(params![name, count.cast_signed()])?;
        }
        Ok(())
    }
}

/// Those that a month file has; `None` if it is of an earlier version, which had none.
pub(super) fn kept(connection: &Connection) -> rusqlite::Result<Option<BTreeMap<String, u64>>> {
    let has_table = "SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'count'";
    if connection.query_row(has_table, [], |_| Ok(())).optional()?.is_none() {
        return Ok(None);
    }
    let mut select = connection.prepare_cached("SELECT name, rows FROM count")?;
    let rows =
        select.query_map([], |row| Ok((row.get(0)?, row.get::<_, i64>(1)?.cast_unsigned())))?;
    rows.collect::<rusqlite::Result<_>>().map(Some)
}

/// Counts the rows of a month file. Cost: a pass over all of them, without their texts.
pub(super) fn counted(connection: &Connection) -> rusqlite::Result<Counts> {
    let mut counts: Counts<u32> = Counts::default();
    let mut select = connection.prepare("SELECT body FROM row")?;
    let mut rows = select.query([])?;
    while let Some(row) = rows.next()? {
        counts.add(&decode(row.get_ref(0)?.as_blob()?)?);
    }
    let classes = counts.classes.into_iter();
    let named = classes.map(|(number, count)| Ok((text_of(connection, number)?, count)));
    Ok(Counts { classes: named.collect::<rusqlite::Result<_>>()?, others: counts.others })
}
