//! Exceptions: who answers for each, why it is there, until when, and how often it was used.

use std::{collections::BTreeMap, sync::Arc};

use super::{ROWS_MAX, of_key};
use crate::{
    archive::{Reader, rules_before},
    ask::AskError,
    engine::{
        ledger::{EntryKind, Row},
        rule::{Exception, LoadOptions, load},
        text::first_of,
        time::EventTime,
    },
    report::{
        model::{Cell, Section, Sight, Table},
        scope::Scope,
    },
};

/// Rules that are named for an exception.
const RULES_NAMED: usize = 5;

/// The exceptions that were in force at the end of a period, as far as the ledger says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ExceptionsThen {
    /// Those of the rule set of this version.
    Known(String, Vec<Arc<Exception>>),
    /// Why nobody knows.
    Unknown(&'static str),
}

impl ExceptionsThen {
    /// Of the rule set that was in force at the end of a period. Cost: one pass over what the ledger says of rules,
    /// and loading them.
    ///
    /// # Errors
    /// The ledger cannot be read.
    pub fn of(reader: &Reader, scope: &Scope) -> Result<ExceptionsThen, AskError> {
        let then = rules_before(reader, |row| row.at() < scope.period.to)?;
        if then.version.is_empty() {
            return Ok(ExceptionsThen::Unknown(
                "the ledger does not say which rules were in force at the end of the period",
            ));
        }
        let Ok(sources) = then.sources() else {
            return Ok(ExceptionsThen::Unknown(
                "the ledger does not have the text of all rules that were in force",
            ));
        };
        let loaded = load(&sources, &LoadOptions::default()).rules;
        Ok(loaded.map_or(
            ExceptionsThen::Unknown("this version cannot read the rules that were in force"),
            |rules| ExceptionsThen::Known(then.version, rules.exceptions),
        ))
    }
}

/// What the ledger says of the uses of one exception.
#[derive(Clone, Debug, Default)]
struct Used {
    uses: u64,
    last: Option<EventTime>,
    owner: String,
    reason: String,
    expires: Option<EventTime>,
    rules: String,
}

/// Uses of exceptions in a period.
#[derive(Debug, Default)]
pub(in crate::report) struct Exceptions {
    used: BTreeMap<String, Used>,
}

impl Exceptions {
    pub(in crate::report) fn add(&mut self, row: &Row) {
        let Some(entry) = row.entry().filter(|entry| entry.kind == EntryKind::Exception) else {
            return;
        };
        let used = of_key(&mut self.used, entry.subject.clone(), || "(others)".to_owned());
        used.uses += entry.count_of("uses");
        let time = |name: &str| entry.fact_of(name).and_then(EventTime::parse);
        used.last = used.last.max(time("last"));
        used.owner.clone_from(&entry.party);
        used.reason.clone_from(&entry.detail);
        used.expires = time("expires");
        entry.fact_of("rules").unwrap_or("").clone_into(&mut used.rules);
    }

    /// All that were in force at the end of the period, and others that were used in it.
    pub(in crate::report) fn section(
        &self,
        scope: &Scope,
        sight: Sight,
        then: &ExceptionsThen,
    ) -> Section {
        let columns = ["exception", "owner", "reason", "ends", "used", "last", "counted in", "is"];
        let mut table = Table::new(
            columns,
            Cell::text("no filter, and no entry of a list with an owner, a reason or an end"),
        );
        let mut section =
            Section::new("exceptions", "Exceptions: what rules leave out, and for how long")
                .note(
                    "Used: so many requests a rule would have matched without it, in hours that are over; an event that \
                     came twice counts twice. `not counted`: it excuses nothing by itself, or there are too many to \
                     count.",
                )
                .note("Values of lists of which nothing else is said stand in the lists alone.");
        if scope.cluster.is_some() {
            section = section.note("Uses are those of all clusters.");
        }
        let mut others = self.used.clone();
        match then {
            ExceptionsThen::Unknown(why) => {
                section =
                    section.note(format!("Not known: {why}. Those that were used are shown."));
            }
            ExceptionsThen::Known(version, exceptions) => {
                section = section.note(format!("In force: by rule set {version}."));
                let mut exceptions: Vec<&Exception> =
                    exceptions.iter().map(|exception| &**exception).collect();
                exceptions
                    .sort_by_key(|exception| (exception.expires.is_none(), exception.expires));
                for exception in exceptions {
                    let used = others.remove(&exception.name);
                    table.push(ROWS_MAX, in_force(scope, sight, exception, used.as_ref()));
                }
            }
        }
        for (name, used) in others {
            let is = match then {
                ExceptionsThen::Known(..) => "was in force earlier",
                ExceptionsThen::Unknown(_) => "was in force when it was used",
            };
            table.push(
                ROWS_MAX,
                [
                    Cell::text(name),
                    or_nobody(&used.owner),
                    Cell::text(used.reason),
                    end_cell(scope, used.expires),
                    sight.count(used.uses, ""),
                    last_cell(scope, used.last),
                    Cell::text(used.rules),
                    Cell::text(is),
                ],
            );
        }
        section.table(table)
    }
}

fn in_force(scope: &Scope, sight: Sight, exception: &Exception, used: Option<&Used>) -> [Cell; 8] {
    let uses = match used {
        Some(used) => sight.count(used.uses, ""),
        None if exception.counted_in.is_empty() => Cell::text("not counted"),
        None => sight.zero(),
    };
    let is_over = exception.expires.is_some_and(|end| end <= scope.period.to);
    [
        Cell::text(&exception.name),
        or_nobody(exception.owner.as_deref().unwrap_or("")),
        Cell::text(exception.reason.as_deref().unwrap_or("none is given")),
        end_cell(scope, exception.expires),
        uses,
        last_cell(scope, used.and_then(|used| used.last)),
        Cell::text(first_of(&exception.counted_in, RULES_NAMED)),
        Cell::text(if is_over { "over" } else { "in force" }),
    ]
}

fn or_nobody(owner: &str) -> Cell {
    Cell::text(if owner.is_empty() { "nobody" } else { owner })
}

fn end_cell(scope: &Scope, end: Option<EventTime>) -> Cell {
    Cell::text(end.map_or_else(|| "never".to_owned(), |end| scope.time(end)))
}

fn last_cell(scope: &Scope, last: Option<EventTime>) -> Cell {
    last.map_or(Cell::NotApplicable, |last| Cell::text(scope.time(last)))
}
