//! The report on alerts: by rule and severity, how long until people were told and took them, what they judged,
//! what is open, what was silenced, what could not be delivered.

use super::{
    head::{Attested, report},
    model::{Report, ReportKind},
    part::{
        alerts::Alerts,
        coverage::Seen,
        exceptions::{Exceptions, ExceptionsThen},
    },
    scope::Scope,
    tally::Tally,
};
use crate::{
    archive::Reader,
    ask::{AskError, coverage::Coverage},
};

/// Makes the report of what was added up. Cost: one pass over the entries on alerts up to the end of the period.
///
/// # Errors
/// The ledger cannot be read.
pub fn alerts_report(
    reader: &Reader,
    scope: &Scope,
    coverage: &Coverage,
    attested: &Attested,
    exceptions_then: &ExceptionsThen,
    tally: &Tally<'_>,
) -> Result<Report, AskError> {
    let alerts = Alerts::read(reader, scope)?;
    let exceptions = Exceptions::read(reader, scope)?;
    let seen = Seen::new(coverage, scope);
    let sight = seen.sight();
    let sections = vec![
        alerts.rules_section(scope, sight),
        alerts.open_section(scope, sight),
        alerts.silences_section(sight),
        alerts.undelivered_section(sight),
        exceptions.section(scope, sight, exceptions_then),
    ];
    let title = "Report on alerts".to_owned();
    Ok(report((ReportKind::Alerts, title), scope, attested, (&seen, &tally.totals), sections))
}
