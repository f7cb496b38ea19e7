//! Makes the report that somebody wants, whoever asks and however: verifies the ledger and adds up its rows in one
//! reading, looks at what was seen, and writes it.

use std::num::NonZero;

use super::{
    Besides, access_report, alerts_report, compliance_report, csv,
    head::Attested,
    html, incident_report, json,
    model::Report,
    part::{exceptions::ExceptionsThen, permissions::permissions_section},
    scope::Scope,
    tally::{Counts, Tally},
};
use crate::{
    archive::{
        Reader,
        verify::{Asked, leave_out, verify_with},
    },
    ask::{AskError, check_cluster, coverage, shown_time, table},
    engine::{framework::Framework, ledger::Hash, time::EventTime, words::words},
};

words! {
    /// How a report is written.
    pub enum ReportFormat {
        /// One page that needs nothing else, for a screen and for A4.
        Html = "html",
        /// One JSON document.
        Json = "json",
        /// One line a cell.
        Csv = "csv",
    }
}

/// Which report.
#[derive(Clone, Copy, Debug)]
pub enum Wanted<'a> {
    /// Who did what.
    Access,
    /// Alerts, and what became of them.
    Alerts,
    /// Evidence for the controls of a framework.
    Compliance(&'a Framework),
    /// One alert, by its fingerprint or how that begins.
    Incident(&'a str),
}

impl Wanted<'_> {
    /// What is added up for it. For an incident the rows of its actors are read again, when these are known.
    pub const fn counts(&self) -> Counts {
        match self {
            Wanted::Access => Counts { people: true, requests: true },
            Wanted::Compliance(_) => Counts { people: true, requests: false },
            Wanted::Alerts | Wanted::Incident(_) => Counts { people: false, requests: false },
        }
    }
}

/// Whether a seal's signature over a hash is one of the key that it must be of.
pub type CheckSignature<'a> = &'a (dyn Fn(&Hash, &[u8]) -> bool + Sync);

words! {
    /// What of the ledger is verified before a report is made of it.
    pub enum Verifies {
        /// All of it.
        All = "all",
        /// The months that have rows of the period. What was granted, and which rules there were, may be told by older ones.
        Period = "period",
    }
}

/// What somebody wants.
pub struct Order<'a> {
    /// Which report.
    pub wanted: Wanted<'a>,
    /// Of which time.
    pub scope: &'a Scope,
    /// Who wants it.
    pub author: &'a str,
    /// The operator's clock.
    pub now: EventTime,
    /// What is verified first.
    pub verifies: Verifies,
    /// How signatures of seals are checked, if they are.
    pub check: Option<CheckSignature<'a>>,
    /// On how many threads the ledger is read at most; on one for each core, if it is absent.
    pub threads: Option<NonZero<usize>>,
}

/// A report that was made.
#[derive(Debug)]
pub struct Made {
    /// The report.
    pub report: Report,
    /// The whole ledger was read, and its chain holds; else the report says so first.
    pub holds: bool,
}

/// Makes a report. Cost: a pass over what is verified, on all cores; memory by the number of actors and of what they asked
/// for, bounded, for each month of the period.
///
/// # Errors
/// There is no such alert, or the ledger cannot be read.
pub fn make(
    reader: &mut Reader,
    order: &Order<'_>,
    progress: &mut dyn FnMut(u64),
) -> Result<Made, AskError> {
    let Order { wanted, scope, author, now, verifies, check, threads } = order;
    let only = (*verifies == Verifies::Period).then_some((scope.period.from, scope.period.to));
    let asked = Asked { period: only, check: *check, threads: *threads, ..Asked::default() };
    let counts = wanted.counts();
    let (verified, passed) = verify_with(reader, asked, &|| Tally::new(scope, counts), progress);
    let mut attested = Attested {
        author: (*author).to_owned(),
        made: shown_time(*now, &scope.period.zone),
        verified,
        is_of_all: only.is_none(),
        problems: reader.warnings(),
    };
    // Nobody knows which rows of a month are sound in which something is wrong.
    attested.problems.extend(leave_out(reader, &attested.verified.faults));
    let reader = &*reader;
    if let Some(cluster) = scope.cluster.as_ref().filter(|_| attested.problems.is_empty()) {
        check_cluster(reader, cluster)?;
    }
    let mut tally = match Tally::joined(reader, scope, counts, passed.of(reader))? {
        Some(tally) => tally,
        None => Tally::in_order(reader, scope, counts, progress)?,
    };
    let scope = &scope.telling_alerts_apart(reader)?;
    if scope.cluster.is_some() {
        tally.totals.recount(reader, scope)?;
    }
    let (period, cluster) = (scope.period.clone(), scope.cluster.clone());
    let seen = coverage::ask(reader, &coverage::Question { period, cluster, problems: false })?;
    let exceptions = || ExceptionsThen::of(reader, scope);
    let permissions = || permissions_section(reader, scope, &seen);
    let report = match wanted {
        Wanted::Access => {
            let besides = (&exceptions()?, permissions()?);
            access_report(reader, scope, &seen, &attested, besides, &tally)
        }
        Wanted::Alerts => alerts_report(reader, scope, &seen, &attested, &exceptions()?, &tally),
        Wanted::Compliance(framework) => {
            let besides = Besides { exceptions: &exceptions()?, permissions: permissions()? };
            compliance_report(reader, scope, &seen, &attested, (*framework, besides), &tally)
        }
        Wanted::Incident(fingerprint) => {
            incident_report(reader, scope, &seen, &attested, (fingerprint, &tally), progress)
        }
    };
    let holds = attested.verified.is_sound() && attested.problems.is_empty();
    Ok(Made { report: report?, holds })
}

/// Writes a report.
///
/// # Errors
/// None that is known: templates are checked when they are compiled.
pub fn write(report: &Report, format: ReportFormat) -> Result<String, askama::Error> {
    Ok(match format {
        ReportFormat::Html => html::render(report)?,
        ReportFormat::Json => json::render(report),
        ReportFormat::Csv => table::csv(&csv::COLUMNS, &csv::rows(report)),
    })
}
