//! The report on alerts: by rule and severity, how long until people were told and took them, what they judged,
//! what is open, what was silenced, what could not be delivered.

use super::{
    head::{Attested, report},
    model::{Report, ReportKind},
    part::{
        alerts::Alerts,
        coverage::Seen,
        exceptions::{Exceptions, ExceptionsThen},
        totals::Totals,
    },
    scope::Scope,
};
use crate::{
    archive::Reader,
    ask::{AskError, coverage::Coverage},
};

/// Makes the report. Cost: one pass over the rows of the period.
///
/// # Errors
/// The ledger cannot be read.
pub fn alerts_report(
    reader: &Reader,
    scope: &Scope,
    coverage: &Coverage,
    attested: &Attested,
    exceptions_then: &ExceptionsThen,
    progress: &mut dyn FnMut(u64),
) -> Result<Report, AskError> {
    let (mut alerts, mut totals) = (Alerts::default(), Totals::default());
    let mut exceptions = Exceptions::default();
    scope.each(reader, progress, |row| {
        totals.add(row);
        alerts.add(row);
        exceptions.add(row);
    })?;
    let seen = Seen::new(coverage, scope);
    let sight = seen.sight();
    let sections = vec![
        alerts.rules_section(sight),
        alerts.open_section(scope, sight),
        alerts.silences_section(sight),
        alerts.undelivered_section(sight),
        exceptions.section(scope, sight, exceptions_then),
    ];
    let title = "Report on alerts".to_owned();
    Ok(report((ReportKind::Alerts, title), scope, attested, (&seen, &totals), sections))
}
