//! The compliance report: evidence for each control of a framework. It never says that a control is met: scope,
//! policies and interviews are the assessor's.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    head::{Attested, report},
    model::{Cell, Report, ReportKind, Section, Sight, Table},
    part::{
        ROWS_MAX,
        alerts::{Alerts, Life, median},
        coverage::Seen,
        exceptions::{Exceptions, ExceptionsThen},
        people::People,
        totals::{OfClass, Totals},
    },
    scope::Scope,
    tally::Tally,
};
use crate::{
    archive::{MonthStatus, Reader},
    ask::{AskError, coverage::Coverage, in_force::InForce},
    engine::{
        framework::{Control, Framework, Show},
        ledger::hex_of,
        rule::SESSION,
        text::{first_of, thousands},
        time::EventTime,
    },
};

/// A rule that was in force in the period, and which controls it named.
#[derive(Debug, Default)]
struct RuleThen {
    /// Its id, as alerts have it.
    id: String,
    /// Its title, as it was last.
    title: String,
    /// `pci-dss:10.2.1.4`
    controls: BTreeSet<String>,
    /// From when until when it was in force, by the rule sets that have it.
    spans: Vec<(EventTime, Option<EventTime>)>,
    /// All rule sets of the period are known, and have it.
    is_throughout: bool,
}

/// The rules that somebody wrote, of all rule sets of the period that are known, by their ids.
fn rules_then(in_force: &InForce) -> Vec<RuleThen> {
    let mut rules: BTreeMap<&str, (RuleThen, usize)> = BTreeMap::new();
    for set in &in_force.sets {
        for (_, rule) in set.rules.iter().flat_map(|rules| rules.written()) {
            let meta = rule.meta();
            let (then, count) = rules.entry(&meta.id).or_default();
            *count += 1;
            then.id.clone_from(&meta.id);
            then.title.clone_from(&meta.about.title);
            then.controls.extend(meta.about.controls.iter().cloned());
            match then.spans.last_mut().filter(|(_, until)| *until == Some(set.since)) {
                Some((_, until)) => *until = set.until,
                None => then.spans.push((set.since, set.until)),
            }
        }
    }
    let rules = rules.into_values().map(|(mut then, count)| {
        then.is_throughout = in_force.is_known() && count == in_force.sets.len();
        then
    });
    rules.collect()
}

impl RuleThen {
    /// When it was in force, for people.
    fn when(&self, scope: &Scope) -> String {
        if self.is_throughout {
            return "all of the period".to_owned();
        }
        let spans = self.spans.iter().map(|(from, until)| {
            let until = until.map_or_else(String::new, |end| format!(" to {}", scope.time(end)));
            format!("from {}{until}", scope.time(*from))
        });
        spans.collect::<Vec<String>>().join("; ")
    }
}

/// All that is looked at for a control.
struct Evidence<'a> {
    scope: &'a Scope,
    seen: Seen,
    totals: &'a Totals,
    people: &'a People,
    alerts: Alerts,
    rules: Vec<RuleThen>,
    months: Vec<MonthStatus>,
    attested: &'a Attested,
    permissions: Section,
    exceptions: Exceptions,
}

/// What is said of a period besides what its rows say.
#[derive(Clone, Debug)]
pub struct Besides<'a> {
    /// The exceptions that were.
    pub exceptions: &'a ExceptionsThen,
    /// What is granted, against what was used.
    pub permissions: Section,
}

/// Makes the report of one framework, of what was added up of people. Cost: one pass over the entries on alerts.
///
/// # Errors
/// The ledger cannot be read.
pub fn compliance_report(
    reader: &Reader,
    scope: &Scope,
    coverage: &Coverage,
    attested: &Attested,
    (framework, besides): (&Framework, Besides<'_>),
    tally: &Tally<'_>,
) -> Result<Report, AskError> {
    let about = framework.controls.iter().flat_map(|control| control.classes.iter().cloned());
    let seen = Seen::of_classes(reader, (coverage, scope), about.collect())?;
    let evidence = Evidence {
        scope,
        rules: rules_then(&seen.in_force),
        seen,
        totals: &tally.totals,
        people: &tally.people,
        alerts: Alerts::read(reader, scope)?,
        months: reader.heads(),
        attested,
        permissions: besides.permissions,
        exceptions: Exceptions::read(reader, scope)?,
    };
    let sight = evidence.seen.sight();
    let mut sections = vec![evidence.summary(framework, sight)];
    sections.extend(
        framework.controls.iter().map(|control| evidence.section(framework, control, sight)),
    );
    let shows = |show| framework.controls.iter().any(|control| control.shows.contains(&show));
    if shows(Show::Permissions) {
        sections.push(evidence.permissions.clone());
    }
    sections.push(evidence.exceptions.section(scope, sight, besides.exceptions));
    let title = format!("Evidence for {} {}", framework.title, framework.version);
    let head = (ReportKind::Compliance, title);
    let mut made = report(head, scope, attested, (&evidence.seen, evidence.totals), sections);
    made.limits.push(
        "Whether a control is met: this is evidence for it. Scope, policies and interviews are the assessor's."
            .to_owned(),
    );
    Ok(made)
}

impl Evidence<'_> {
    /// One line a control.
    fn summary(&self, framework: &Framework, sight: Sight) -> Section {
        let columns = ["control", "wants", "accesses", "entries", "rules in force", "alerts"];
        let mut table = Table::new(columns, Cell::NotApplicable);
        // Where nobody knows all rules, there may have been one.
        let is_known = self.seen.in_force.is_known();
        let no_rules = if is_known { Cell::NotApplicable } else { Cell::NotObserved };
        for control in &framework.controls {
            let rules = self.rules_of(framework, control);
            let ids: Vec<String> = rules.iter().map(|rule| rule.id.clone()).collect();
            let accesses = self.totals.requests_of(&control.classes);
            let of_classes = self.sight_of(&control.classes);
            let entries: u64 = control
                .entries
                .iter()
                .map(|kind| self.totals.entries.get(kind).copied().unwrap_or(0))
                .sum();
            let of_rules = sight_of_rules(&rules, sight);
            let alerts = if ids.is_empty() { 0 } else { self.alerts.of(&ids).count() as u64 };
            let or_not =
                |applies: bool, cell: Cell| if applies { cell } else { Cell::NotApplicable };
            table.push(
                ROWS_MAX,
                [
                    Cell::text(&control.id),
                    Cell::text(&control.title),
                    or_not(!control.classes.is_empty(), of_classes.count(accesses, "")),
                    or_not(!control.entries.is_empty(), sight.count(entries, "")),
                    match ids.len() {
                        0 => no_rules.clone(),
                        count => Cell::number(count as u64),
                    },
                    or_not(!ids.is_empty(), of_rules.count(alerts, "")),
                ],
            );
        }
        Section::new("controls", "Controls")
            .note("Evidence for each control, not a judgement. `not applicable`: nothing of this sort is evidence for it. A request \
                   that is of several classes counts once.")
            .note("Rules are those that the ledger says were in force while the period's hours were told.")
            .table(table)
    }

    /// One control.
    fn section(&self, framework: &Framework, control: &Control, sight: Sight) -> Section {
        let mut section =
            Section::new(control.id.clone(), format!("{} {}", control.id, control.title));
        if !control.limits.is_empty() {
            section = section.note(format!("Cannot show: {}", control.limits));
        }
        if !control.classes.is_empty() {
            let mut table = Table::new(OfClass::COLUMNS, sight.zero());
            for class in &control.classes {
                let sight = self.seen.sight_of(&[class]);
                table.push(ROWS_MAX, self.totals.class_cells(class, self.scope, sight));
            }
            section = section.table(table);
            if control.classes.iter().any(|class| class == SESSION) {
                section = section.note(
                    "A session is one request, and two rows of a timeline, if the log tells of its beginning and of its end. \
                     How it ended is told by its end, be it behind the period.",
                );
            }
        }
        if !control.entries.is_empty() {
            let mut table = Table::new(["entries", "how many"], sight.zero());
            for kind in &control.entries {
                let count = self.totals.entries.get(kind).copied().unwrap_or(0);
                table.push(ROWS_MAX, [Cell::text(kind.as_str()), sight.count(count, "")]);
            }
            section = section.table(table);
        }
        let rules = self.rules_of(framework, control);
        let shows_rules =
            control.shows.contains(&Show::Rules) || control.shows.contains(&Show::Alerts);
        if !rules.is_empty() || shows_rules {
            section = section.table(self.rules_table(&rules, sight));
        }
        let rest = control.shows.iter().filter(|show| !matches!(show, Show::Rules | Show::Alerts));
        rest.flat_map(|show| self.shown(*show, sight)).fold(section, Section::table)
    }

    fn sight_of(&self, classes: &[String]) -> Sight {
        let classes: Vec<&str> = classes.iter().map(String::as_str).collect();
        self.seen.sight_of(&classes)
    }

    fn rules_of(&self, framework: &Framework, control: &Control) -> Vec<&RuleThen> {
        let name = framework.name_of(control);
        self.rules.iter().filter(|rule| rule.controls.contains(&name)).collect()
    }

    /// Rules that serve a control, and their alerts.
    fn rules_table(&self, rules: &[&RuleThen], sight: Sight) -> Table {
        let columns =
            ["rule that serves it", "title", "in force", "alerts", "judged", "until told"];
        let none = if self.seen.in_force.is_known() {
            Cell::text("no rule in force names this control")
        } else {
            Cell::NotObserved
        };
        let mut table = Table::new(columns, none);
        for rule in rules {
            let id = [rule.id.clone()];
            let alerts = self.alerts.of(&id).count() as u64;
            let judged = self.alerts.of(&id).filter(|life| !life.verdict.is_empty()).count() as u64;
            let told = self.alerts.of(&id).filter_map(Life::until_told);
            table.push(
                ROWS_MAX,
                [
                    Cell::text(&rule.id),
                    Cell::text(&rule.title),
                    Cell::text(rule.when(self.scope)),
                    sight_of_rules(&[rule], sight).count(alerts, ""),
                    Cell::number(judged),
                    median(told),
                ],
            );
        }
        table
    }

    /// What is shown of the ledger as a whole.
    fn shown(&self, show: Show, sight: Sight) -> Vec<Table> {
        match show {
            Show::Alerts | Show::Rules => Vec::new(),
            Show::Clocks => vec![self.totals.clocks_table(self.seen.sight_of_all())],
            Show::Clusters => {
                let mut table = Table::new(["cluster that was heard of"], sight.zero());
                for name in self.seen.clusters() {
                    table.push(ROWS_MAX, [Cell::text(name)]);
                }
                vec![table]
            }
            Show::Coverage => self.seen.section(self.scope).tables,
            Show::Delay => vec![self.totals.delay_table(sight)],
            Show::Fields => vec![self.totals.fields_table(sight)],
            Show::Integrity => vec![self.integrity_table()],
            Show::Levels => vec![self.totals.levels_table(self.seen.sight_of_all())],
            Show::Machines => self.people.machine_section(self.scope, &self.seen).tables,
            Show::MachinesByHand => self.people.by_hand_section(self.scope, &self.seen).tables,
            Show::OwnAlerts => vec![self.own_alerts_table(sight)],
            Show::People => self.people.section(self.scope, &self.seen).tables,
            // Rule by rule they have a section of their own.
            Show::Permissions => self.permissions.tables.first().cloned().into_iter().collect(),
            Show::Retention => vec![self.retention_table()],
        }
    }

    fn integrity_table(&self) -> Table {
        let verified = &self.attested.verified;
        let months = if self.attested.is_of_all { "all" } else { "those with rows of the period" };
        let mut table = Table::new(["what", "is"], Cell::NotApplicable);
        for (what, is) in [
            ("months checked", months.to_owned()),
            ("rows checked", thousands(verified.rows)),
            ("faults", thousands(verified.faults.len() as u64)),
            ("seals", thousands(verified.seals)),
            ("seals signed", thousands(verified.signed)),
            ("hash of the head", verified.head()),
        ] {
            table.push(ROWS_MAX, [Cell::text(what), Cell::text(is)]);
        }
        table
    }

    fn retention_table(&self) -> Table {
        let columns = ["month", "rows from", "to", "bytes", "hash of its last row"];
        let mut table = Table::new(columns, Cell::text("the ledger has no month file yet"));
        for month in &self.months {
            table.push(
                ROWS_MAX,
                [
                    Cell::text(&month.month),
                    Cell::text(thousands(month.previous.id + 1)),
                    Cell::text(thousands(month.last.id)),
                    Cell::number(month.bytes),
                    Cell::text(hex_of(&month.last.head)),
                ],
            );
        }
        table
    }

    /// Alerts of Tripline about itself: no rule in a file makes them.
    fn own_alerts_table(&self, sight: Sight) -> Table {
        let mut table = Table::new(["Tripline about itself", "alerts", "until told"], sight.zero());
        let mut ids: Vec<&str> = self.alerts.of(&[]).map(|life| life.rule.as_str()).collect();
        ids.sort_unstable();
        ids.dedup();
        for id in ids.into_iter().filter(|id| id.starts_with("tripline")) {
            let wanted = [id.to_owned()];
            let told = self.alerts.of(&wanted).filter_map(Life::until_told);
            let title = self.alerts.of(&wanted).next().map_or("", |life| &life.title);
            table.push(
                ROWS_MAX,
                [
                    Cell::text(first_of(&[title, id], 1)),
                    Cell::number(self.alerts.of(&wanted).count() as u64),
                    median(told),
                ],
            );
        }
        table
    }
}

/// No alert of a rule says that there was nothing while it was in force.
fn sight_of_rules(rules: &[&RuleThen], sight: Sight) -> Sight {
    if rules.iter().all(|rule| rule.is_throughout) { sight } else { Sight::Partial }
}
