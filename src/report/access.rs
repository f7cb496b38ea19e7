//! The access report: who did what, by which permission, with a line for each person to judge and to sign.

use super::{
    head::{Attested, report},
    model::{Report, ReportKind, Section},
    part::{
        coverage::Seen,
        exceptions::{Exceptions, ExceptionsThen},
        people::People,
        requests::Requests,
        totals::Totals,
    },
    scope::Scope,
};
use crate::{
    archive::Reader,
    ask::{AskError, coverage::Coverage},
};

/// Makes the report; `permissions` is the section on what is granted and used. Cost: one pass over the rows of the
/// period; memory by the number of actors and of what they asked for, bounded.
///
/// # Errors
/// The ledger cannot be read.
pub fn access_report(
    reader: &Reader,
    scope: &Scope,
    coverage: &Coverage,
    attested: &Attested,
    (exceptions_then, permissions): (&ExceptionsThen, Section),
    progress: &mut dyn FnMut(u64),
) -> Result<Report, AskError> {
    let (mut people, mut requests, mut totals) =
        (People::default(), Requests::default(), Totals::default());
    let mut exceptions = Exceptions::default();
    scope.each(reader, progress, |row| {
        totals.add(row);
        exceptions.add(row);
        if let Some(access) = row.access() {
            people.add(access, scope);
            requests.add(access);
        }
    })?;
    let seen = Seen::new(coverage, scope);
    let sight = seen.sight();
    let sections = vec![
        people.section(scope, sight),
        requests.secrets_section(scope, sight),
        requests.sessions_section(scope, sight),
        requests.changes_section(scope, sight),
        requests.break_glass_section(scope, sight),
        requests.denied_section(scope, sight),
        people.by_hand_section(scope, sight),
        people.machine_section(scope, sight),
        permissions,
        exceptions.section(scope, sight, exceptions_then),
    ];
    let title = "Access report".to_owned();
    Ok(report((ReportKind::Access, title), scope, attested, (&seen, &totals), sections))
}
