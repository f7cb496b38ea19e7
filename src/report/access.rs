//! The access report: who did what, by which permission, with a line for each person to judge and to sign.

use super::{
    head::{Attested, report},
    model::{Report, ReportKind, Section},
    part::{
        coverage::Seen,
        exceptions::{Exceptions, ExceptionsThen},
    },
    scope::Scope,
    tally::Tally,
};
use crate::{
    archive::Reader,
    ask::{AskError, coverage::Coverage, in_force::shipped_classes},
};

/// Makes the report of what was added up of people and requests; `permissions` is the section on what is granted and used.
///
/// # Errors
/// The ledger cannot be read.
pub fn access_report(
    reader: &Reader,
    scope: &Scope,
    coverage: &Coverage,
    attested: &Attested,
    (exceptions_then, permissions): (&ExceptionsThen, Section),
    tally: &Tally<'_>,
) -> Result<Report, AskError> {
    let exceptions = Exceptions::read(reader, scope)?;
    let Tally { totals, people, requests, .. } = tally;
    let about = shipped_classes().into_iter().map(str::to_owned).collect();
    let seen = Seen::of_classes(reader, (coverage, scope), about)?;
    let sight = seen.sight();
    let sections = vec![
        people.section(scope, &seen),
        requests.secrets_section(scope, &seen),
        requests.sessions_section(reader, (scope, &seen), |_| true)?,
        requests.changes_section(scope, &seen),
        requests.break_glass_section(scope, &seen),
        requests.denied_section(scope, &seen),
        people.by_hand_section(scope, &seen),
        people.machine_section(scope, &seen),
        permissions,
        exceptions.section(scope, sight, exceptions_then),
    ];
    let title = "Access report".to_owned();
    Ok(report((ReportKind::Access, title), scope, attested, (&seen, totals), sections))
}
