//! The compliance report: evidence for each control of a framework. It never says that a control is met: scope,
//! policies and interviews are the assessor's.

use super::{
    head::{Attested, report},
    model::{Cell, Report, ReportKind, Section, Sight, Table},
    part::{
        ROWS_MAX,
        alerts::{Alerts, median},
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
    ask::{AskError, coverage::Coverage},
    engine::{
        framework::{Control, Framework, Show},
        ledger::hex_of,
        rule::{RuleSet, SESSION},
        text::{first_of, thousands},
    },
};

/// A rule that is in force, and which controls it names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleInForce {
    /// Its id, as alerts have it.
    pub id: String,
    /// Its title.
    pub title: String,
    /// `pci-dss:10.2.1.4`
    pub controls: Vec<String>,
}

impl RuleInForce {
    /// The rules that somebody wrote.
    pub fn all_of(rules: &RuleSet) -> Vec<RuleInForce> {
        let in_force = rules.written().map(|(_, rule)| RuleInForce {
            id: rule.meta().id.clone(),
            title: rule.meta().about.title.clone(),
            controls: rule.meta().about.controls.clone(),
        });
        in_force.collect()
    }
}

/// All that is looked at for a control.
struct Evidence<'a> {
    scope: &'a Scope,
    seen: Seen,
    totals: &'a Totals,
    people: &'a People,
    alerts: Alerts,
    rules: &'a [RuleInForce],
    months: Vec<MonthStatus>,
    attested: &'a Attested,
    permissions: Section,
    exceptions: Exceptions,
}

/// What is said of a period besides what its rows say.
#[derive(Clone, Debug)]
pub struct Besides<'a> {
    /// The rules that are in force.
    pub rules: &'a [RuleInForce],
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
    let evidence = Evidence {
        scope,
        seen: Seen::new(coverage, scope),
        totals: &tally.totals,
        people: &tally.people,
        alerts: Alerts::read(reader, scope)?,
        rules: besides.rules,
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
        for control in &framework.controls {
            let rules = self.rules_of(framework, control);
            let ids: Vec<String> = rules.iter().map(|rule| rule.id.clone()).collect();
            let requests = |class: &String| {
                self.totals.classes.get(class.as_str()).map_or(0, |of| of.requests)
            };
            let accesses: u64 = control.classes.iter().map(requests).sum();
            let entries: u64 = control
                .entries
                .iter()
                .map(|kind| self.totals.entries.get(kind).copied().unwrap_or(0))
                .sum();
            let alerts = if ids.is_empty() { 0 } else { self.alerts.of(&ids).count() as u64 };
            let or_not =
                |applies: bool, cell: Cell| if applies { cell } else { Cell::NotApplicable };
            table.push(
                ROWS_MAX,
                [
                    Cell::text(&control.id),
                    Cell::text(&control.title),
                    or_not(!control.classes.is_empty(), sight.count(accesses, "")),
                    or_not(!control.entries.is_empty(), sight.count(entries, "")),
                    or_not(!ids.is_empty(), Cell::number(ids.len() as u64)),
                    or_not(!ids.is_empty(), sight.count(alerts, "")),
                ],
            );
        }
        Section::new("controls", "Controls")
            .note("Evidence for each control, not a judgement. `not applicable`: nothing of this sort is evidence for it.")
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
                table.push(ROWS_MAX, self.totals.class_cells(class, self.scope, sight));
            }
            section = section.table(table);
            if control.classes.iter().any(|class| class == SESSION) {
                section = section.note(
                    "A session is one request, and two rows of a timeline, if the log tells of its beginning and of its end.",
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

    fn rules_of(&self, framework: &Framework, control: &Control) -> Vec<&RuleInForce> {
        let name = framework.name_of(control);
        self.rules.iter().filter(|rule| rule.controls.contains(&name)).collect()
    }

    /// Rules that serve a control, and their alerts.
    fn rules_table(&self, rules: &[&RuleInForce], sight: Sight) -> Table {
        let columns = ["rule that serves it", "title", "alerts", "judged", "until told"];
        let mut table = Table::new(columns, Cell::text("no rule in force names this control"));
        for rule in rules {
            let id = [rule.id.clone()];
            let alerts = self.alerts.of(&id).count() as u64;
            let judged = self.alerts.of(&id).filter(|life| !life.verdict.is_empty()).count() as u64;
            let told = self.alerts.of(&id).filter_map(|life| Some(life.told?.since(life.raised?)));
            table.push(
                ROWS_MAX,
                [
                    Cell::text(&rule.id),
                    Cell::text(&rule.title),
                    sight.count(alerts, ""),
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
            Show::Clocks => vec![self.totals.clocks_table(sight)],
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
            Show::Levels => vec![self.totals.levels_table(sight)],
            Show::Machines => self.people.machine_section(self.scope, sight).tables,
            Show::MachinesByHand => self.people.by_hand_section(self.scope, sight).tables,
            Show::OwnAlerts => vec![self.own_alerts_table(sight)],
            Show::People => self.people.section(self.scope, sight).tables,
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
            let told =
                self.alerts.of(&wanted).filter_map(|life| Some(life.told?.since(life.raised?)));
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
