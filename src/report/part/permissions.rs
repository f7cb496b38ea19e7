//! Permissions that are granted, against those that were used.

use super::ROWS_MAX;
use crate::{
    archive::Reader,
    ask::{
        AskError,
        coverage::Coverage,
        permissions::grants::{self, Granted, Question},
    },
    engine::{
        permissions::{GrantVerdict, Verdict},
        time::EventTime,
    },
    report::{
        model::{Cell, Section, Table},
        scope::Scope,
    },
};

/// Verdicts in the order in which they are shown: what somebody has to decide about comes first.
const ORDER: [Verdict; 4] =
    [Verdict::Unused, Verdict::NotObserved, Verdict::CannotTell, Verdict::Used];

/// What is said where nobody brought roles and bindings.
const NOT_IMPORTED: &str = "no roles and bindings were imported before the end of the period: bring them with \
                            `tripline permissions import FILE`";

/// Of each rule that a binding gives, whether it was used: first a line for each cluster, then one for each rule.
///
/// # Errors
/// The ledger cannot be read.
pub fn permissions_section(
    reader: &Reader,
    scope: &Scope,
    coverage: &Coverage,
) -> Result<Section, AskError> {
    let columns = [
        "cluster",
        "unused",
        "not observed",
        "cannot tell",
        "used",
        "of which time is known",
        "roles and bindings",
    ];
    let mut summary = Table::new(columns, Cell::text("no cluster was heard of in the period"));
    let columns =
        ["cluster", "verdict", "last", "by", "given to", "binding", "role", "rule", "why"];
    let mut rules = Table::new(columns, Cell::text(NOT_IMPORTED));
    for cluster in clusters(scope, coverage) {
        let question = Question {
            period: scope.period.clone(),
            who: None,
            binding: None,
            role: None,
            unused: false,
            cluster: Some(cluster.clone()),
        };
        let granted = match grants::ask(reader, &question) {
            Ok(granted) => granted,
            Err(AskError::Mistake(mistake)) => {
                let [unknown, words] = [Cell::NotApplicable, Cell::text(mistake.to_string())];
                let name = Cell::text(named(&cluster));
                let line = [name, unknown.clone(), unknown.clone(), unknown.clone(), unknown];
                summary.rows.push([&line[..], &[words.clone(), words]].concat());
                continue;
            }
            Err(error) => return Err(error),
        };
        add(&mut summary, &mut rules, scope, &cluster, &granted);
    }
    Ok(Section::new("permissions", "Permissions: granted against used")
        .note(
            "`unused`: all of the period was observed, and nobody used it. `not observed`: nobody was seen to use it, but \
             not all was seen. `cannot tell`: another binding allows the same, and the log names one; or no request shows the verb \
             (`impersonate`, `bind`, `approve` …). system:masters uses no binding.",
        )
        .table(summary)
        .table(rules))
}

/// Clusters of which events came; or the one that is asked about.
fn clusters(scope: &Scope, coverage: &Coverage) -> Vec<String> {
    if let Some(cluster) = &scope.cluster {
        return vec![cluster.clone()];
    }
    let heard = coverage.hours.iter().filter(|(_, hour)| hour.events > 0);
    let mut names: Vec<String> = heard.map(|((_, cluster), _)| cluster.clone()).collect();
    names.sort_unstable();
    names.dedup();
    names
}

fn named(cluster: &str) -> &str {
    if cluster.is_empty() { "(without a name)" } else { cluster }
}

fn add(summary: &mut Table, rules: &mut Table, scope: &Scope, cluster: &str, granted: &Granted) {
    let [coverage, snapshot] = granted.rests_on();
    let is_known = granted.taken().is_some();
    let count = |verdict| {
        let of = granted.verdicts.iter().filter(|one| one.verdict == verdict).count();
        if is_known { Cell::number(of as u64) } else { Cell::NotApplicable }
    };
    let [unused, not_observed, cannot_tell, used] = ORDER.map(count);
    let snapshot = if is_known { snapshot } else { NOT_IMPORTED };
    summary.push(
        ROWS_MAX,
        [
            Cell::text(named(cluster)),
            unused,
            not_observed,
            cannot_tell,
            used,
            Cell::text(coverage),
            Cell::text(snapshot),
        ],
    );
    if !is_known {
        return;
    }
    rules.empty = Cell::text("no binding gives anything");
    let place = |one: &&GrantVerdict| {
        let order = ORDER.iter().position(|verdict| *verdict == one.verdict);
        // What Kubernetes brings along is nobody's decision here.
        (order, one.binding.binding().contains(" system:"))
    };
    let mut verdicts: Vec<&GrantVerdict> = granted.verdicts.iter().collect();
    verdicts.sort_by_key(place);
    for one in verdicts {
        let why = [std::slice::from_ref(&one.reason), &one.notes].concat().join("; ");
        let subjects: Vec<String> = one.subjects.iter().map(ToString::to_string).collect();
        rules.push(
            ROWS_MAX,
            [
                Cell::text(named(cluster)),
                Cell::text(one.verdict.as_str()),
                last(scope, one.last),
                Cell::text(one.by.join(", ")),
                Cell::text(crate::engine::text::first_of(&subjects, 3)),
                Cell::text(one.binding.binding()),
                Cell::text(one.role.role()),
                one.rule.as_ref().map_or(Cell::NotApplicable, |rule| Cell::text(rule.to_string())),
                Cell::text(why),
            ],
        );
    }
}

fn last(scope: &Scope, last: Option<EventTime>) -> Cell {
    last.map_or(Cell::NotApplicable, |last| Cell::text(scope.time(last)))
}
