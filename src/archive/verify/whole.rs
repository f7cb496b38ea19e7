//! Whether a month file is whole, and each index has what it should have, no more and in its order.
//!
//! SQLite's own check looks each row up in each index, which takes as long as all else that is verified. Here the index
//! is read once, in its order, and a sum over its entries is compared with that over the rows. The sum is of hashes with
//! a key that is new each time: nobody can prepare a file for it. Which tables and indexes a file has is known, too; one that
//! has others is wrong, and SQLite looks at what else is.

use std::hash::BuildHasher as _;

use hashbrown::DefaultHashBuilder;

use crate::{
    archive::{
        days::{DAY_OF, SECOND_OF, split},
        month::Month,
        pack::{Columns, USAGE_KIND},
        schema::{explain, strange_in_schema},
    },
    engine::text::printable,
};

/// What an index has of a row: a column, if there is one beside the time, and the time.
type Key = (Option<i64>, i64);

/// What an index has of a row before its id, in its order: the day and the second, if it is by day, else 0 and the time;
/// and between them the column, if there is one.
type Entry = (i64, Option<i64>, i64);

/// An index over rows.
struct Index {
    name: &'static str,
    column: &'static str,
    condition: &'static str,
    /// Whether it is by day.
    is_by_day: bool,
    /// What it has of a row; `None` if it leaves the row out.
    key: fn(&Columns) -> Option<Key>,
}

impl Index {
    fn entry(&self, columns: &Columns) -> Option<Entry> {
        let (column, at) = (self.key)(columns)?;
        let (day, time) = if self.is_by_day { split(at) } else { (0, at) };
        Some((day, column, time))
    }
}

type Named = [&'static str; 3];

const fn by_time([name, column, condition]: Named, key: fn(&Columns) -> Option<Key>) -> Index {
    Index { name, column, condition, is_by_day: false, key }
}

const fn by_day(index: Named, key: fn(&Columns) -> Option<Key>) -> Index {
    Index { is_by_day: true, ..by_time(index, key) }
}

fn some(column: Option<i64>, at: i64) -> Option<Key> {
    column.map(|column| (Some(column), at))
}

fn used(of: &Columns, column: Option<i64>) -> Option<Key> {
    (of.kind == USAGE_KIND).then_some((column, of.at))
}

/// Those that every month has.
const INDEXES: [Index; 7] = [
    by_time(["row_at", "NULL", "TRUE"], |of| Some((None, of.at))),
    by_time(["row_kind", "kind", "kind > 0"], |of| (of.kind > 0).then_some((Some(of.kind), of.at))),
    by_time(["row_object", "object", "object IS NOT NULL"], |of| some(of.object, of.at)),
    by_time(["usage_at", "NULL", "kind = -1"], |of| used(of, None)),
    by_time(["usage_actor", "actor", "kind = -1"], |of| used(of, of.actor)),
    by_time(["usage_behalf", "behalf", "kind = -1 AND behalf IS NOT NULL"], |of| {
        used(of, of.behalf).filter(|(column, _)| column.is_some())
    }),
    by_time(["usage_permission", "permission", "kind = -1"], |of| used(of, of.permission)),
];

/// Those by text.
const BY_DAY: [Index; 5] = [
    by_day(["day_actor", "actor", "actor IS NOT NULL"], |of| some(of.actor, of.at)),
    by_day(["day_behalf", "behalf", "behalf IS NOT NULL"], |of| some(of.behalf, of.at)),
    by_day(["day_source", "source", "source IS NOT NULL"], |of| some(of.source, of.at)),
    by_day(["day_permission", "permission", "permission IS NOT NULL"], |of| {
        some(of.permission, of.at)
    }),
    by_day(["day_credential", "credential", "credential IS NOT NULL"], |of| {
        some(of.credential, of.at)
    }),
];

/// Those by text of months of earlier versions.
const BEFORE: [Index; 5] = [
    by_time(["row_actor", "actor", "actor IS NOT NULL"], BY_DAY[0].key),
    by_time(["row_behalf", "behalf", "behalf IS NOT NULL"], BY_DAY[1].key),
    by_time(["row_source", "source", "source IS NOT NULL"], BY_DAY[2].key),
    by_time(["row_permission", "permission", "permission IS NOT NULL"], BY_DAY[3].key),
    by_time(["row_credential", "credential", "credential IS NOT NULL"], BY_DAY[4].key),
];

/// Those that a month should have.
fn indexes(is_by_day: bool) -> impl Iterator<Item = &'static Index> {
    INDEXES.iter().chain(if is_by_day { &BY_DAY } else { &BEFORE })
}

/// How many entries there are, and a sum that says which.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
struct Sum {
    count: u64,
    hashes: u64,
}

impl Sum {
    fn add(&mut self, hasher: &DefaultHashBuilder, entry: (Entry, i64)) {
        self.count += 1;
        self.hashes = self.hashes.wrapping_add(hasher.hash_one(entry));
    }
}

/// What each index should have, by the rows of a month.
pub(super) struct Sums {
    hasher: DefaultHashBuilder,
    sums: Vec<(&'static Index, Sum)>,
}

impl Sums {
    /// Of no rows yet, of a month that is by day or not.
    pub(super) fn new(hasher: &DefaultHashBuilder, is_by_day: bool) -> Sums {
        let sums = indexes(is_by_day).map(|index| (index, Sum::default())).collect();
        Sums { hasher: hasher.clone(), sums }
    }

    /// Takes a row in.
    pub(super) fn add(&mut self, id: u64, columns: &Columns) {
        for (index, sum) in &mut self.sums {
            if let Some(entry) = index.entry(columns) {
                sum.add(&self.hasher, (entry, id.cast_signed()));
            }
        }
    }
}

/// What was found in a month beside its rows.
#[derive(Default)]
pub(super) struct Looked {
    /// What is wrong whatever the rows say.
    problems: Vec<String>,
    /// Of each index that the file has; empty if SQLite has checked them. `None` if it is not in its order.
    sums: Vec<(&'static str, Option<Sum>)>,
}

impl Looked {
    /// It could not be read.
    pub(super) fn broken(problem: String) -> Looked {
        Looked { problems: vec![problem], sums: Vec::new() }
    }

    /// What is wrong; what the rows come to is compared if all of them could be read.
    pub(super) fn problems(self, rows: Option<&Sums>) -> impl Iterator<Item = String> {
        let differs = |(name, sum): &(&'static str, Option<Sum>)| {
            let wanted = rows?.sums.iter().find(|(index, _)| index.name == *name);
            (*sum != wanted.map(|(_, sum)| *sum))
                .then(|| format!("its index {name} does not fit its rows"))
        };
        let first = self.sums.iter().find_map(differs);
        self.problems.into_iter().chain(first)
    }
}

/// Checks all of a month but its rows. Of indexes that have newer rows than one, these are not looked at.
pub(super) fn look(month: &Month, hasher: &DefaultHashBuilder, newest: Option<u64>) -> Looked {
    let mut looked = Looked::default();
    let outcome = look_into(month, hasher, newest, &mut looked);
    let path = month.path.display();
    looked.problems.iter_mut().for_each(|problem| *problem = format!("{path}: {problem}"));
    if let Err(problem) = outcome {
        looked.problems.push(explain(&month.path, &problem).to_string());
    }
    looked
}

fn look_into(
    month: &Month,
    hasher: &DefaultHashBuilder,
    newest: Option<u64>,
    looked: &mut Looked,
) -> rusqlite::Result<()> {
    if let Some(text) = month.text_twice()? {
        // Some of the rows that have it would not be found by it.
        looked.problems.push(format!("the text `{}` is there twice", printable(&text)));
    }
    if let Some(strange) = strange_in_schema(&month.connection)? {
        looked.problems.push(strange);
        looked.problems.extend(month.pragma("integrity_check(1)")?);
        return Ok(());
    }
    if !month.has_usage()? && month.has_kind(USAGE_KIND)? {
        // No question would be told of them.
        let what = "it says that it is older than uses of permissions, and it has some";
        looked.problems.push(what.to_owned());
    }
    for check in ["quick_check(1)", "integrity_check('text')", "integrity_check('object')"] {
        looked.problems.extend(month.pragma(check)?);
    }
    let newest = newest.map_or(i64::MAX, u64::cast_signed);
    for index in indexes(month.is_by_day) {
        if month.has_index(index.name)? {
            looked.sums.push((index.name, sum_of(month, hasher, newest, index)?));
        }
    }
    Ok(())
}

/// A sum over the entries of an index; `None` if they are not in their order.
fn sum_of(
    month: &Month,
    hasher: &DefaultHashBuilder,
    newest: i64,
    Index { name, column, condition, is_by_day, .. }: &Index,
) -> rusqlite::Result<Option<Sum>> {
    let (day, time) = if *is_by_day { (DAY_OF, SECOND_OF) } else { ("0", "at") };
    // All of these stand in the index, which is read alone.
    let sql =
        format!("SELECT id, {day}, {column}, {time} FROM row INDEXED BY {name} WHERE {condition}");
    let (mut sum, mut last, mut in_order) = (Sum::default(), None, true);
    month.select(&sql, Vec::new(), |id, row| {
        let entry: (Entry, i64) = ((row.get(1)?, row.get(2)?, row.get(3)?), id);
        in_order &= last.is_none_or(|last| last < entry);
        last = Some(entry);
        if id <= newest {
            sum.add(hasher, entry);
        }
        Ok(true)
    })?;
    Ok(in_order.then_some(sum))
}
