//! Filters as the numbers of one month: an access that cannot fit is left before its texts are looked up, which costs more
//! than all else that is done with it.

use rusqlite::Connection;

use super::{
    pack::{AccessBeginning, Beginning, beginning, find_text},
    query::{Filter, Query},
};
use crate::engine::{
    access::{Access, MACHINES, Outcome},
    ledger::{About, Content},
    time::EventTime,
};

/// What an access, or a change of an alert, must be. It lets through what may fit; [`Query::fits`] decides.
pub(super) struct Sieve {
    tests: Vec<Test>,
    /// What is before it must be a roll-up that lasts until then.
    from: EventTime,
}

enum Test {
    Group(Option<u32>),
    Subresource(Option<u32>),
    Class(Option<u32>),
    Verbs(Vec<u32>),
    Cluster(Option<u32>),
    Outcome(Outcome),
    /// Not of these kinds, unless it is a person.
    People(Vec<u32>),
    Sessions,
    /// A change of an alert about these.
    Alerts(About),
}

impl Sieve {
    /// Of the filters that no index helps with, and the beginning of the time.
    pub(super) fn new(connection: &Connection, query: &Query) -> rusqlite::Result<Sieve> {
        let number = |text: &str| -> rusqlite::Result<Option<u32>> {
            Ok(find_text(connection, text)?.and_then(|number| u32::try_from(number).ok()))
        };
        let numbers = |texts: &mut dyn Iterator<Item = &str>| -> rusqlite::Result<Vec<u32>> {
            let found: rusqlite::Result<Vec<Option<u32>>> = texts.map(number).collect();
            Ok(found?.into_iter().flatten().collect())
        };
        let mut tests = Vec::new();
        for filter in &query.filters {
            tests.push(match filter {
                Filter::Group(group) => Test::Group(number(group)?),
                Filter::Subresource(below) => Test::Subresource(number(below)?),
                Filter::Class(class) => Test::Class(number(class)?),
                Filter::Verbs(verbs) => {
                    Test::Verbs(numbers(&mut verbs.iter().map(String::as_str))?)
                }
                Filter::Cluster(cluster) => Test::Cluster(number(cluster)?),
                Filter::Outcome(outcome) => Test::Outcome(*outcome),
                Filter::People => Test::People(numbers(&mut MACHINES.iter().copied())?),
                Filter::Sessions => Test::Sessions,
                Filter::Alerts(about) => Test::Alerts(about.clone()),
                _ => continue,
            });
        }
        Ok(Sieve { tests, from: query.from })
    }

    /// Whether it may fit, by when it was and what stands first in its body: far less is read than all of it.
    pub(super) fn may_let_through(&self, at: EventTime, body: &[u8]) -> rusqlite::Result<bool> {
        if self.tests.is_empty() && at >= self.from {
            return Ok(true);
        }
        Ok(match beginning(body)? {
            Beginning::Access(access) => self.tests.iter().all(|test| test.may_hold(&access)),
            Beginning::Entry | Beginning::Usage => {
                let may_fit = |test: &Test| match test {
                    Test::Alerts(about) => about.may_fit(body),
                    _ => true,
                };
                at >= self.from && self.tests.iter().all(may_fit)
            }
        })
    }

    /// Whether it may fit. Other rows were let through before.
    pub(super) fn lets_through(&self, at: EventTime, content: &Content<u32>) -> bool {
        match content {
            Content::Access(access) => {
                let lasts = access.rolled_up.is_some_and(|rolled_up| rolled_up.last >= self.from);
                (at >= self.from || lasts) && self.tests.iter().all(|test| test.holds(access))
            }
            Content::Entry(_) | Content::Usage(_) => true,
        }
    }
}

impl Test {
    fn may_hold(&self, access: &AccessBeginning) -> bool {
        match self {
            Test::Class(class) => class.is_some_and(|class| access.classes.contains(&class)),
            Test::Verbs(verbs) => access.verb.is_some_and(|verb| verbs.contains(&verb)),
            Test::Outcome(outcome) => access.outcome == Some(*outcome),
            Test::People(machines) => access.actor.human || !machines.contains(&access.actor.kind),
            Test::Alerts(_) => false,
            Test::Group(_) | Test::Subresource(_) | Test::Cluster(_) | Test::Sessions => true,
        }
    }

    /// What is not known from the beginning.
    fn holds(&self, access: &Access<u32>) -> bool {
        let object = access.object.as_ref();
        match self {
            Test::Group(group) => {
                group.is_some() && object.and_then(|object| object.group) == *group
            }
            Test::Subresource(below) => {
                below.is_some() && object.and_then(|object| object.subresource) == *below
            }
            Test::Cluster(cluster) => cluster.is_some() && access.cluster == *cluster,
            Test::Sessions => access.session.is_some(),
            Test::Alerts(_) => false,
            Test::Class(_) | Test::Verbs(_) | Test::Outcome(_) | Test::People(_) => true,
        }
    }
}
