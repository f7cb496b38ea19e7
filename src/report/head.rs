//! What stands first in every report: period, clusters, range of the ledger, whether it holds; and last what
//! no audit log can show.

use super::{
    model::{Report, ReportKind, Section, Sight},
    part::{
        coverage::Seen,
        totals::{Totals, length},
    },
    scope::Scope,
};
use crate::{
    archive::verify::Verified,
    engine::text::{counted, first_of, thousands},
};

/// Who made a report, and what was found when the ledger was verified.
#[derive(Debug)]
pub struct Attested {
    /// Who asked for it.
    pub author: String,
    /// When, for people.
    pub made: String,
    /// What verifying the ledger came to.
    pub verified: Verified,
    /// All of the ledger was verified, and not only months with rows of the period.
    pub is_of_all: bool,
    /// Months that could not be read, and holes between months.
    pub problems: Vec<String>,
}

/// What audit logs cannot show, whoever reads them. From the documentation of Kubernetes' auditing, of its
/// authorizers, and of the providers' log exports.
const LIMITS: &[&str] = &[
    "What is typed or seen in exec, attach and port-forward: only start, end, command and outcome are known.",
    "Requests that the audit policy leaves out, and events that an API server dropped or cut: events have no numbers in \
     sequence. Its metrics tell of drops.",
    "The end of a change that is sent as YAML server-side apply and logged at level Request, with servers of today.",
    "The permission behind an impersonation; that a front proxy spoke for a user; who is a member of a group.",
    "Every way by which a request was allowed: the log names one, and none for system:masters and nodes. Some logs carry \
     no annotations at all: then no permission is known.",
    "Parts of roll-ups: like requests that are told as one count where the first of them was, be that before the period, and \
     those of the last hour (or what a rule says) are not told yet.",
    "What passes the API server by: etcd, kubelets, nodes, consoles of cloud providers, applications.",
    "Logs of managed clusters are best effort, and some leave out reads or groups.",
    "The person behind a shared kubeconfig or token. User agents, and all addresses but the last, are the client's words.",
];

/// A report with its head, and the sections that follow coverage.
pub(super) fn report(
    (kind, title): (ReportKind, String),
    scope: &Scope,
    attested: &Attested,
    (seen, totals): (&Seen, &Totals),
    sections: Vec<Section>,
) -> Report {
    let (from, to) = (scope.period.from, scope.period.to);
    let clusters = match &scope.cluster {
        Some(cluster) => cluster.clone(),
        None if seen.clusters().is_empty() => "none was heard of by name".to_owned(),
        None => seen.clusters().join(", "),
    };
    let verified = &attested.verified;
    let rows = match totals.first_id {
        Some(first) => format!("{} to {}", thousands(first), thousands(totals.last_id)),
        None => "none".to_owned(),
    };
    let holds = if verified.is_sound() {
        let only = if attested.is_of_all { "" } else { "; other months were not checked" };
        format!(
            "{} hold; {}, {} of them signed{only}",
            counted(verified.rows, "row"),
            counted(verified.seals, "seal"),
            thousands(verified.signed),
        )
    } else {
        format!("does NOT hold: {}", counted(verified.faults.len(), "fault"))
    };
    let rule_sets: Vec<&str> = totals.rule_sets.iter().map(String::as_str).collect();
    let facts = vec![
        ("Period", format!("{} to {} ({})", scope.time(from), scope.time(to), length(from, to))),
        ("Time zone", scope.zone_name.clone()),
        ("Clusters", clusters),
        ("Rows of the ledger", rows),
        ("Hash of its head", verified.head()),
        ("Verified", holds),
        ("Rule sets in force", first_of(&rule_sets, 10)),
        (
            "Made",
            format!(
                "{} by {}, Tripline {}",
                attested.made,
                attested.author,
                env!("CARGO_PKG_VERSION")
            ),
        ),
    ];
    let mut warnings: Vec<String> = verified
        .faults
        .iter()
        .take(10)
        .map(|fault| {
            let place = if fault.place.is_empty() { "" } else { " in " };
            format!(
                "the ledger does not hold{place}{}, rows {} to {}: {}",
                fault.place, fault.from, fault.to, fault.what
            )
        })
        .collect();
    warnings.extend(attested.problems.iter().map(|problem| format!("not counted: {problem}")));
    warnings.extend(seen.warnings(scope));
    let mut all = vec![seen.section(scope)];
    all.extend(sections);
    all.push(totals.notable_section(scope, Sight::Complete));
    let limits = LIMITS.iter().map(|limit| (*limit).to_owned()).collect();
    Report { kind, title, facts, warnings, sections: all, limits }
}
