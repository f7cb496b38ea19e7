//! Whether a month file is whole, and each index has what it should have, no more and in its order.
//!
//! SQLite's own check looks each row up in each index, which takes as long as all else that is verified. Here the index
//! is read once, in its order, and a sum over its entries is compared with that over the rows. The sum is of hashes with
//! a key that is new each time: nobody can prepare a file for it. A file that has other tables or indexes than ours is
//! left to SQLite.

use std::{collections::BTreeSet, hash::BuildHasher as _};

use hashbrown::DefaultHashBuilder;

use crate::archive::{
    month::Month,
    pack::{Columns, USAGE_KIND},
    schema::known_schema,
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

/// Compares the indexes of a month with its rows.
pub(super) struct Whole {
    hasher: DefaultHashBuilder,
    /// Of each index that the file has, by what rows say; empty if SQLite has checked them.
    sums: Vec<(&'static Index, Sum)>,
}

impl Whole {
    /// Checks all but the indexes over rows; and them too, if the file is not as we make them. Returns what is wrong.
    pub(super) fn begin(month: &Month) -> (Whole, Option<String>) {
        let mut whole = Whole { hasher: DefaultHashBuilder::default(), sums: Vec::new() };
        let problem = whole.look(month).unwrap_or_else(|error| Some(error.to_string()));
        (whole, problem)
    }

    fn look(&mut self, month: &Month) -> rusqlite::Result<Option<String>> {
        let known: BTreeSet<(String, Option<String>)> = known_schema(None)?;
        let has = known_schema(Some(&month.connection))?;
        if !has.is_subset(&known) {
            return month.pragma("integrity_check(1)");
        }
        for check in ["quick_check(1)", "integrity_check('text')", "integrity_check('object')"] {
            let problem = month.pragma(check)?;
            if problem.is_some() {
                return Ok(problem);
            }
        }
        let is_there = |index: &&Index| has.iter().any(|(name, _)| name == index.name);
        self.sums = INDEXES.iter().filter(is_there).map(|index| (index, Sum::default())).collect();
        Ok(None)
    }

    /// Takes a row in.
    pub(super) fn add(&mut self, id: u64, columns: &Columns) {
        for (index, sum) in &mut self.sums {
            if let Some(key) = (index.key)(columns) {
                sum.add(&self.hasher, (key, id.cast_signed()));
            }
        }
    }

    /// After all rows: what is wrong with an index.
    ///
    /// # Errors
    /// One cannot be read.
    pub(super) fn finish(self, month: &Month) -> rusqlite::Result<Option<String>> {
        for (index, wanted) in &self.sums {
            let Index { name, column, condition, .. } = index;
            let sql =
                format!("SELECT id, {column}, at FROM row INDEXED BY {name} WHERE {condition}");
            let (mut sum, mut last, mut in_order) = (Sum::default(), None, true);
            month.select(&sql, Vec::new(), |id, entry| {
                let entry: (Key, i64) = ((entry.get(1)?, entry.get(2)?), id);
                in_order &= last.is_none_or(|last| last < entry);
                last = Some(entry);
                sum.add(&self.hasher, entry);
                Ok(true)
            })?;
            if sum != *wanted || !in_order {
                return Ok(Some(format!("its index {name} does not fit its rows")));
            }
        }
        Ok(None)
    }
}

impl Sum {
    fn add(&mut self, hasher: &DefaultHashBuilder, entry: (Key, i64)) {
        self.count += 1;
        self.hashes = self.hashes.wrapping_add(hasher.hash_one(entry));
    }
}
