//! What was seen of the period: first in every report, since it decides what a zero means.

use std::collections::{BTreeMap, BTreeSet};

use super::ROWS_MAX;
use crate::{
    archive::Reader,
    ask::{
        AskError,
        coverage::{Coverage, ended},
        in_force::{InForce, shipped_classes},
    },
    engine::{
        text::{counted, first_of, thousands},
        time::EventTime,
    },
    report::{
        model::{Cell, Section, Sight, Table},
        scope::Scope,
    },
};

const HOUR: i64 = 3_600_000_000;

/// Hours of one cluster by verdict, and those that are not complete, joined to spans.
#[derive(Debug, Default)]
struct OfCluster {
    verdicts: BTreeMap<&'static str, u64>,
    spans: Vec<(i64, i64, &'static str)>,
}

/// What the period's hours say.
#[derive(Debug)]
pub(in crate::report) struct Seen {
    clusters: BTreeMap<String, OfCluster>,
    hours: u64,
    /// The first hour that is told of.
    first: i64,
    asked: u64,
    below: BTreeMap<String, (u64, Vec<String>)>,
    /// By which rules the hours were read.
    pub(in crate::report) in_force: InForce,
    /// Which accesses the report is about.
    about: BTreeSet<String>,
}

impl Seen {
    /// Of the hours of a coverage.
    pub(in crate::report) fn new(coverage: &Coverage, scope: &Scope) -> Seen {
        let mut clusters: BTreeMap<String, OfCluster> = BTreeMap::new();
        for ((at, cluster), hour) in &coverage.hours {
            let of_cluster = clusters.entry(cluster.clone()).or_default();
            let verdict = hour.verdict();
            *of_cluster.verdicts.entry(verdict).or_default() += 1;
            match of_cluster.spans.last_mut() {
                Some((_, end, last)) if *end == *at && *last == verdict => *end += 1,
                _ => of_cluster.spans.push((*at, at + 1, verdict)),
            }
        }
        let told = coverage.hours.iter().filter(|(_, hour)| hour.is_told);
        let hours: BTreeSet<i64> = told.map(|((hour, _), _)| *hour).collect();
        let first = scope.period.from.micros().div_euclid(HOUR);
        let end = ended(scope.period.to);
        let asked = u64::try_from(end - first).unwrap_or(0);
        let mut below: BTreeMap<String, (u64, Vec<String>)> = BTreeMap::new();
        for ((_, cluster), hour) in coverage.hours.iter().filter(|(_, hour)| hour.below > 0) {
            below.entry(cluster.clone()).or_default().0 += hour.below;
        }
        for (cluster, what) in &coverage.below {
            below.entry(cluster.clone()).or_default().1 = what.iter().cloned().collect();
        }
        let told = hours.first().copied().unwrap_or(first);
        let hours = hours.len() as u64;
        Seen {
            clusters,
            hours,
            first: told,
            asked,
            below,
            in_force: InForce::default(),
            about: BTreeSet::new(),
        }
    }

    /// The same for a report on accesses of some classes: these are there only if rules recorded them.
    ///
    /// # Errors
    /// The ledger cannot be read.
    pub(in crate::report) fn of_classes(
        reader: &Reader,
        (coverage, scope): (&Coverage, &Scope),
        about: BTreeSet<String>,
    ) -> Result<Seen, AskError> {
        let in_force = InForce::of(reader, &scope.period, coverage)?;
        Ok(Seen { in_force, about, ..Seen::new(coverage, scope) })
    }

    /// Whether a zero of accesses of some classes means that there was none.
    pub(in crate::report) fn sight_of(&self, classes: &[&str]) -> Sight {
        let classes: BTreeSet<&str> = classes.iter().copied().collect();
        if self.in_force.recorded(&classes) == classes { self.sight() } else { Sight::Partial }
    }

    /// Whether a zero of accesses of whatever class means that there was none.
    pub(in crate::report) fn sight_of_all(&self) -> Sight {
        let classes: Vec<&str> = shipped_classes().into_iter().collect();
        self.sight_of(&classes)
    }

    /// Whether a zero means that there was none.
    pub(in crate::report) fn sight(&self) -> Sight {
        let is_whole =
            self.clusters.values().all(|of| of.verdicts.keys().all(|word| *word == "complete"));
        if is_whole && !self.clusters.is_empty() && self.hours >= self.asked {
            Sight::Complete
        } else {
            Sight::Partial
        }
    }

    /// Names of clusters; that of who names none is left out.
    pub(in crate::report) fn clusters(&self) -> Vec<&str> {
        self.clusters.keys().map(String::as_str).filter(|name| !name.is_empty()).collect()
    }

    /// What a reader must know first.
    pub(in crate::report) fn warnings(&self, scope: &Scope) -> Vec<String> {
        if self.clusters.is_empty() {
            return vec![
                "No full hour of this period is told of: a zero here does not say that there was nothing"
                    .to_owned(),
            ];
        }
        let mut warnings = Vec::new();
        if self.hours < self.asked {
            warnings.push(format!(
                "{} of the {} of the period are told of, the first from {}; the rest was not observed",
                counted(self.hours, "hour"),
                thousands(self.asked),
                scope.time(EventTime::from_micros(self.first.saturating_mul(HOUR))),
            ));
        }
        for (cluster, of) in &self.clusters {
            let doubtful: Vec<String> = of
                .verdicts
                .iter()
                .filter(|(word, _)| **word != "complete")
                .map(|(word, hours)| format!("{} {word}", counted(*hours, "hour")))
                .collect();
            if !doubtful.is_empty() {
                let name = if cluster.is_empty() { "records of no known cluster" } else { cluster };
                warnings.push(format!(
                    "{name}: {}; what follows may lack what happened then",
                    doubtful.join(", ")
                ));
            }
        }
        let about: BTreeSet<&str> = self.about.iter().map(String::as_str).collect();
        if !about.is_empty() {
            warnings.extend(self.in_force.warnings(&about, &scope.period.zone));
        }
        for (cluster, (events, what)) in &self.below {
            let name = if cluster.is_empty() { "records of no known cluster" } else { cluster };
            let (events, what) = (counted(*events, "request"), first_of(what, 3));
            warnings.push(format!(
                "{name}: rules are blind to {events}, which were logged at too low a level ({what})"
            ));
        }
        warnings
    }

    /// What was logged at a level below what rules need.
    fn below_table(&self) -> Table {
        let columns = ["cluster", "requests below the level that rules need", "such as"];
        let mut table = Table::new(columns, self.sight().zero());
        for (cluster, (events, what)) in &self.below {
            table.push(
                ROWS_MAX,
                [Cell::text(cluster), Cell::number(*events), Cell::text(what.join("; "))],
            );
        }
        table
    }

    /// The coverage strip: clusters by hours and verdicts, then all spans that are not complete.
    pub(in crate::report) fn section(&self, scope: &Scope) -> Section {
        let columns =
            ["cluster", "complete", "degraded", "silent", "lost", "not observed", "not told yet"];
        let mut table = Table::new(columns, Cell::NotObserved);
        let mut spans = Table::new(["cluster", "from", "to", "verdict"], Cell::Nothing);
        for (cluster, of) in &self.clusters {
            let hours = |word: &str| Cell::number(of.verdicts.get(word).copied().unwrap_or(0));
            let query = scope.query("coverage", &[]);
            table.push(
                ROWS_MAX,
                [
                    Cell::text(cluster),
                    Cell::Number(of.verdicts.get("complete").copied().unwrap_or(0), query),
                    hours("degraded"),
                    hours("silent"),
                    hours("lost"),
                    hours("not observed"),
                    hours("open"),
                ],
            );
            for (start, end, verdict) in
                of.spans.iter().filter(|(.., verdict)| *verdict != "complete")
            {
                let time =
                    |hour: i64| scope.time(EventTime::from_micros(hour.saturating_mul(HOUR)));
                spans.push(
                    ROWS_MAX,
                    [
                        Cell::text(cluster),
                        Cell::text(time(*start)),
                        Cell::text(time(*end)),
                        Cell::text(*verdict),
                    ],
                );
            }
        }
        Section::new("coverage", "What was seen")
            .note("Hours of event time by verdict, then all that are not complete. What an API server drops before it is \
                   sent leaves no trace: its metric apiserver_audit_error_total tells.")
            .table(table)
            .table(spans)
            .table(self.below_table())
    }
}
