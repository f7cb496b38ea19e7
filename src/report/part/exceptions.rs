//! Exceptions: who answers for each, why it is there, until when, and how often it was used.

use std::{collections::BTreeMap, sync::Arc};

use super::{ROWS_MAX, of_key};
use crate::{
    archive::{Reader, rules_before},
    ask::AskError,
    engine::{
        ledger::{EntryKind, Row, last_use_in},
        rule::{Exception, LoadOptions, load},
        text::{counted, first_of, thousands},
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
    /// Uses in each cluster, with when the last was.
    by_cluster: BTreeMap<String, (u64, Option<EventTime>)>,
}

impl Used {
    /// How often, as far as a report on this cluster, or on all, knows, and when last.
    fn within(&self, scope: &Scope) -> (u64, Option<EventTime>) {
        match &scope.cluster {
            None => (self.uses, self.last),
            Some(cluster) => self.by_cluster.get(cluster).copied().unwrap_or_default(),
        }
    }

    /// Uses of which nothing says in which cluster they were.
    fn of_no_cluster(&self) -> u64 {
        let known: u64 = self.by_cluster.values().map(|(uses, _)| uses).sum();
        self.uses.saturating_sub(known)
    }

    /// `prod 12, test 5`, or the one that the report is on; empty if no cluster was named.
    fn clusters_words(&self, scope: &Scope) -> String {
        let is_asked = |name: &String| scope.cluster.as_ref().is_none_or(|cluster| cluster == name);
        let named = self.by_cluster.iter().filter(|(name, _)| is_asked(name));
        let mut words: Vec<String> =
            named.map(|(cluster, (uses, _))| format!("{cluster} {}", thousands(*uses))).collect();
        let rest = self.of_no_cluster();
        if rest > 0 && !words.is_empty() && scope.cluster.is_none() {
            words.push(format!("not said {}", thousands(rest)));
        }
        words.join(", ")
    }
}

/// Uses of exceptions in a period.
#[derive(Debug, Default)]
pub(in crate::report) struct Exceptions {
    used: BTreeMap<String, Used>,
}

impl Exceptions {
    /// Those of the period.
    ///
    /// # Errors
    /// The ledger cannot be read.
    pub(in crate::report) fn read(reader: &Reader, scope: &Scope) -> Result<Exceptions, AskError> {
        let mut exceptions = Exceptions::default();
        scope.entries(reader, &[EntryKind::Exception], |row| exceptions.add(row))?;
        Ok(exceptions)
    }

    fn add(&mut self, row: &Row) {
        let Some(entry) = row.entry() else { return };
        let used = of_key(&mut self.used, entry.subject.clone(), || "(others)".to_owned());
        used.uses += entry.count_of("uses");
        let time = |name: &str| entry.fact_of(name).and_then(EventTime::parse);
        used.last = used.last.max(time("last"));
        for (cluster, uses) in entry.uses_by_cluster() {
            let last = time(&last_use_in(cluster));
            let known = of_key(&mut used.by_cluster, cluster.to_owned(), || "(others)".to_owned());
            *known = (known.0 + uses, known.1.max(last));
        }
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
        let columns = [
            "exception",
            "owner",
            "reason",
            "ends",
            "used",
            "in clusters",
            "last",
            "counted in",
            "is",
        ];
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
        let unsaid: u64 = self.used.values().map(Used::of_no_cluster).sum();
        if scope.cluster.is_some() && unsaid > 0 {
            section = section.note(format!(
                "Of {} more the ledger does not say in which cluster they were: they are not counted here.",
                counted(usize::try_from(unsaid).unwrap_or(usize::MAX), "use"),
            ));
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
            let (uses, last) = used.within(scope);
            if uses == 0 {
                // Of another cluster.
                continue;
            }
            table.push(
                ROWS_MAX,
                [
                    Cell::text(name),
                    or_nobody(&used.owner),
                    Cell::text(&used.reason),
                    end_cell(scope, used.expires),
                    sight.count(uses, ""),
                    clusters_cell(scope, &used),
                    last_cell(scope, last),
                    Cell::text(used.rules),
                    Cell::text(is),
                ],
            );
        }
        section.table(table)
    }
}

fn in_force(scope: &Scope, sight: Sight, exception: &Exception, used: Option<&Used>) -> [Cell; 9] {
    let (count, last) = used.map(|used| used.within(scope)).unwrap_or_default();
    let uses = match count {
        1.. => sight.count(count, ""),
        0 if exception.counted_in.is_empty() => Cell::text("not counted"),
        0 => sight.zero(),
    };
    let is_over = exception.expires.is_some_and(|end| end <= scope.period.to);
    [
        Cell::text(&exception.name),
        or_nobody(exception.owner.as_deref().unwrap_or("")),
        Cell::text(exception.reason.as_deref().unwrap_or("none is given")),
        end_cell(scope, exception.expires),
        uses,
        used.map_or(Cell::NotApplicable, |used| clusters_cell(scope, used)),
        last_cell(scope, last),
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

fn clusters_cell(scope: &Scope, used: &Used) -> Cell {
    let words = used.clusters_words(scope);
    if words.is_empty() { Cell::NotApplicable } else { Cell::text(words) }
}

fn last_cell(scope: &Scope, last: Option<EventTime>) -> Cell {
    last.map_or(Cell::NotApplicable, |last| Cell::text(scope.time(last)))
}
