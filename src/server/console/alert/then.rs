//! An alert as the ledger told of it, and the rules as they were when it began.

use std::sync::Arc;

use super::super::{
    ledger::{Answer, ROWS_MAX, ask},
    view::View,
};
use crate::{
    archive::{ArchiveError, Cursor, Filter, Query, Reader, RulesThen, rules_at},
    engine::{
        alert::{Alert, AlertState, Fingerprint},
        diagnostic::Diagnostic,
        ledger::{Body, Entry, EntryKind, Row},
        rule::{LoadOptions, RuleSet, load as load_rules},
        text::one_line,
        time::EventTime,
    },
};

/// Pages of [`ROWS_MAX`] entries in which the end of an alert is looked for: 10.
const PAGES_MAX: usize = 10;

/// What is known of an episode.
pub(in super::super) struct Then {
    /// All that it was told as, the latest first.
    pub(in super::super) alerts: Vec<Alert>,
    /// The rules when it began, and whether they are those in force; or why nobody knows.
    pub(in super::super) rules: Result<(Arc<RuleSet>, bool), String>,
    /// The same as the ledger has them.
    pub(in super::super) told: RulesThen,
}

impl Default for Then {
    fn default() -> Then {
        let rules = Err("the ledger does not say which were in force then".to_owned());
        Then { alerts: Vec::new(), rules, told: RulesThen::default() }
    }
}

/// The entries of an episode, in the order of time. Those of one that fires may go on without an end, so only the
/// first page of them is looked through.
pub(super) fn entries_of(
    reader: &Reader,
    (fingerprint, start): (&str, EventTime),
    is_firing: bool,
) -> Result<Vec<Row>, ArchiveError> {
    let second = std::time::Duration::from_secs(1);
    let starts_at = start.rfc3339();
    let mut query = Query {
        filters: vec![Filter::Entries(EntryKind::Alert)],
        // Its entries begin when it did.
        from: start.minus(second),
        to: EventTime::MAX,
        after: None::<Cursor>,
        limit: ROWS_MAX,
    };
    let mut found: Vec<Row> = Vec::new();
    for _ in 0..if is_firing { 1 } else { PAGES_MAX } {
        let page = reader.page(&query)?;
        let is_it = |entry: &Entry| {
            entry.subject == fingerprint && entry.fact_of("starts_at") == Some(&starts_at)
        };
        found.extend(page.rows.into_iter().filter(|row| row.entry().is_some_and(is_it)));
        let is_over = |row: &Row| {
            row.entry().is_some_and(|entry| entry.what == AlertState::Resolved.as_str())
        };
        let Some(next) = page.next.filter(|_| !found.iter().any(is_over)) else { break };
        query.after = Some(next);
    }
    Ok(found)
}

/// An alert as an entry told it in full.
pub(super) fn alert_of(row: &Row) -> Option<Alert> {
    match &row.entry()?.body {
        Some(Body::Alert(json)) => Alert::from_json(json),
        _ => None,
    }
}

/// What is known of an episode, and of the rules then.
pub(in super::super) async fn load(
    context: &View,
    (fingerprint, start): (Fingerprint, EventTime),
) -> Answer<Then> {
    let (live, now) = {
        let inner = context.status.read();
        let live = inner.alerts.get(&fingerprint).filter(|alert| alert.starts_at == start);
        (live.cloned(), Arc::clone(&inner.rules))
    };
    let (name, is_firing) = (fingerprint.to_string(), live.is_some());
    let mut told = ask(context, move |reader| {
        let rows = entries_of(reader, (&name, start), is_firing)?;
        let alerts = rows.iter().rev().filter_map(alert_of).collect();
        let Some(first) = rows.iter().map(|row| row.id).min() else { return Ok(Then::default()) };
        let told = rules_at(reader, first)?;
        Ok(Then { alerts, rules: rules_of(&told, &now), told })
    })
    .await;
    told.found.alerts.splice(0..0, live);
    told
}

/// The rules of the ledger, loaded.
fn rules_of(told: &RulesThen, now: &Arc<RuleSet>) -> Result<(Arc<RuleSet>, bool), String> {
    if told.version.is_empty() {
        return Err("the ledger does not say which were in force then".to_owned());
    }
    if told.version == now.version {
        return Ok((Arc::clone(now), true));
    }
    let loaded = load_rules(&told.sources()?, &LoadOptions::default());
    let first = || {
        let problem = loaded.diagnostics.first().map(Diagnostic::one_line);
        one_line(&problem.unwrap_or_default(), 200)
    };
    let rules = loaded.rules.map(Arc::new);
    rules
        .map(|rules| (rules, false))
        .ok_or_else(|| format!("this version cannot load those of then: {}", first()))
}
