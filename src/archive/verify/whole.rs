//! Whether a month file is whole, and each index has what it should have, no more and in its order.
//!
//! SQLite's own check looks each row up in each index, which takes as long as all else that is verified. Here the index
//! is read once, in its order, and a sum over its entries is compared with that over the rows. The sum is of hashes with
//! a key that is new each time: nobody can prepare a file for it. A file that has other tables or indexes than ours is
//! left to SQLite.

use std::{collections::BTreeSet, hash::BuildHasher as _};

use hashbrown::DefaultHashBuilder;

use crate::{
    archive::{
        month::Month,
        pack::{Columns, USAGE_KIND},
        schema::{explain, known_schema},
    },
    engine::text::printable,
};

/// What an index has of a row before its id: a column, if there is one beside the time, and the time.
type Key = (Option<i64>, i64);

/// An index over rows.
struct Index {
    name: &'static str,
    column: &'static str,
    condition: &'static str,
    /// What it has of a row; `None` if it leaves the row out.
    key: fn(&Columns) -> Option<Key>,
}

const fn index(
    [name, column, condition]: [&'static str; 3],
    key: fn(&Columns) -> Option<Key>,
) -> Index {
    Index { name, column, condition, key }
}

fn some(column: Option<i64>, at: i64) -> Option<Key> {
    column.map(|column| (Some(column), at))
}

fn used(of: &Columns, column: Option<i64>) -> Option<Key> {
    (of.kind == USAGE_KIND).then_some((column, of.at))
}

const INDEXES: [Index; 12] = [
    index(["row_at", "NULL", "TRUE"], |of| Some((None, of.at))),
    index(["row_kind", "kind", "kind > 0"], |of| (of.kind > 0).then_some((Some(of.kind), of.at))),
    index(["row_actor", "actor", "actor IS NOT NULL"], |of| some(of.actor, of.at)),
    index(["row_behalf", "behalf", "behalf IS NOT NULL"], |of| some(of.behalf, of.at)),
    index(["row_object", "object", "object IS NOT NULL"], |of| some(of.object, of.at)),
    index(["row_source", "source", "source IS NOT NULL"], |of| some(of.source, of.at)),
    index(["row_permission", "permission", "permission IS NOT NULL"], |of| {
        some(of.permission, of.at)
    }),
    index(["row_credential", "credential", "credential IS NOT NULL"], |of| {
        some(of.credential, of.at)
    }),
    index(["usage_at", "NULL", "kind = -1"], |of| used(of, None)),
    index(["usage_actor", "actor", "kind = -1"], |of| used(of, of.actor)),
    index(["usage_behalf", "behalf", "kind = -1 AND behalf IS NOT NULL"], |of| {
        used(of, of.behalf).filter(|(column, _)| column.is_some())
    }),
    index(["usage_permission", "permission", "kind = -1"], |of| used(of, of.permission)),
];

/// How many entries there are, and a sum that says which.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
struct Sum {
    count: u64,
    hashes: u64,
}

impl Sum {
    fn add(&mut self, hasher: &DefaultHashBuilder, entry: (Key, i64)) {
        self.count += 1;
        self.hashes = self.hashes.wrapping_add(hasher.hash_one(entry));
    }
}

/// What each index should have, by the rows of a month.
pub(super) struct Sums {
    hasher: DefaultHashBuilder,
    sums: [Sum; INDEXES.len()],
}

impl Sums {
    /// Of no rows yet.
    pub(super) fn new(hasher: &DefaultHashBuilder) -> Sums {
        Sums { hasher: hasher.clone(), sums: [Sum::default(); INDEXES.len()] }
    }

    /// Takes a row in.
    pub(super) fn add(&mut self, id: u64, columns: &Columns) {
        for (index, sum) in INDEXES.iter().zip(&mut self.sums) {
            if let Some(key) = (index.key)(columns) {
                sum.add(&self.hasher, (key, id.cast_signed()));
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
    sums: Vec<(usize, Option<Sum>)>,
}

impl Looked {
    /// It could not be read.
    pub(super) fn broken(problem: String) -> Looked {
        Looked { problems: vec![problem], sums: Vec::new() }
    }

    /// What is wrong; what the rows come to is compared if all of them could be read.
    pub(super) fn problems(self, rows: Option<&Sums>) -> impl Iterator<Item = String> {
        let differs = |(place, sum): &(usize, Option<Sum>)| {
            let wanted = rows?.sums.get(*place).copied();
            let name = INDEXES.get(*place)?.name;
            (*sum != wanted).then(|| format!("its index {name} does not fit its rows"))
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
    let known: BTreeSet<(String, Option<String>)> = known_schema(None)?;
    let has = known_schema(Some(&month.connection))?;
    if !has.is_subset(&known) {
        looked.problems.extend(month.pragma("integrity_check(1)")?);
        return Ok(());
    }
    for check in ["quick_check(1)", "integrity_check('text')", "integrity_check('object')"] {
        looked.problems.extend(month.pragma(check)?);
    }
    let newest = newest.map_or(i64::MAX, u64::cast_signed);
    for (place, index) in INDEXES.iter().enumerate() {
        if has.iter().any(|(name, _)| name == index.name) {
            looked.sums.push((place, sum_of(month, hasher, newest, index)?));
        }
    }
    Ok(())
}

/// A sum over the entries of an index; `None` if they are not in their order.
fn sum_of(
    month: &Month,
    hasher: &DefaultHashBuilder,
    newest: i64,
    Index { name, column, condition, .. }: &Index,
) -> rusqlite::Result<Option<Sum>> {
    let sql = format!("SELECT id, {column}, at FROM row INDEXED BY {name} WHERE {condition}");
    let (mut sum, mut last, mut in_order) = (Sum::default(), None, true);
    month.select(&sql, Vec::new(), |id, entry| {
        let entry: (Key, i64) = ((entry.get(1)?, entry.get(2)?), id);
        in_order &= last.is_none_or(|last| last < entry);
        last = Some(entry);
        if id <= newest {
            sum.add(hasher, entry);
        }
        Ok(true)
    })?;
    Ok(in_order.then_some(sum))
}
