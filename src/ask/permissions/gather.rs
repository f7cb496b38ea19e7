//! What answers to questions about permissions are made of: rows of one cluster and a time.

use std::{collections::BTreeSet, time::Duration};

use super::super::{AskError, Mistake, Period, Query, ROWS_AT_ONCE, all_of, each, shown_time};
use crate::{
    archive::{Filter, Reader},
    engine::{
        ledger::{EntryKind, Row},
        permissions::{Grants, GrantsBuilder, Observed, ObservedBuilder, Uses, Who},
        text::{first_of, printable},
        time::EventTime,
    },
};

/// Resources whose changes change what is granted.
const RESOURCES: [&str; 4] = ["roles", "clusterroles", "rolebindings", "clusterrolebindings"];

const DAY: Duration = Duration::from_secs(86_400);

/// How far back a snapshot is looked for, one after another: there may be one a day, of some megabytes each.
const LOOK_BACK: [u32; 4] = [1, 7, 31, 3_660];

/// Pages of accesses that are looked through for uses that were told before the time: 5, some 50,000 rows.
const PAGES_AGAIN_MAX: usize = 5;

/// What was granted, used and observed.
pub(super) struct Gathered {
    pub(super) cluster: String,
    pub(super) grants: Grants,
    pub(super) uses: Uses,
    pub(super) observed: Observed,
    /// As whom those who are asked about acted.
    pub(super) acted_as: BTreeSet<String>,
}

/// Gathers what is known of a time, of all or of one user.
pub(super) fn gather(
    reader: &Reader,
    period: &Period,
    cluster: Option<&str>,
    who: Option<&Who>,
) -> Result<Gathered, AskError> {
    let cluster = match cluster {
        Some(cluster) => cluster.to_owned(),
        None => match meant(&heard(reader, period.from, period.to)?)? {
            Some(cluster) => cluster,
            // No hour of the time is told of yet.
            None => only_cluster(reader, period.to)?,
        },
    };
    let observed = observed(reader, period, &cluster)?;
    let grants = grants(reader, period, &cluster)?;
    let (uses, acted_as) = uses(reader, period, &cluster, who)?;
    Ok(Gathered { cluster, grants, uses, observed, acted_as })
}

/// The only cluster of which events came before a time, as far back as some came; empty if it has no name, or none came.
///
/// # Errors
/// There is more than one, or the ledger cannot be read.
pub fn only_cluster(reader: &Reader, to: EventTime) -> Result<String, AskError> {
    for days in LOOK_BACK {
        if let Some(cluster) = meant(&heard(reader, to.minus(DAY * days), to)?)? {
            return Ok(cluster);
        }
    }
    Ok(String::new())
}

/// Clusters of which events came.
fn heard(reader: &Reader, from: EventTime, to: EventTime) -> Result<BTreeSet<String>, AskError> {
    let mut clusters = BTreeSet::new();
    let filters = vec![Filter::Entries(EntryKind::Coverage)];
    let query = Query { filters, from, to, after: None, limit: ROWS_AT_ONCE };
    each(reader, query, |row| {
        if let Some(entry) = row.entry().filter(|entry| entry.count_of("events") > 0) {
            clusters.insert(entry.subject.clone());
        }
    })?;
    Ok(clusters)
}

/// The cluster that is meant if none is named; `None` if none was heard of.
fn meant(clusters: &BTreeSet<String>) -> Result<Option<String>, Mistake> {
    let mut several = clusters.iter();
    let (one, None) = (several.next(), several.next()) else {
        let shown = clusters.iter().map(|one| match one.as_str() {
            "" => "one without a name".to_owned(),
            one => printable(one).into_owned(),
        });
        let shown: Vec<String> = shown.collect();
        let shown = first_of(&shown, 8);
        let message = format!("there is more than one cluster: {shown}");
        return Err(Mistake::bad(message, "name one: `cluster`"));
    };
    Ok(one.cloned())
}

fn observed(reader: &Reader, period: &Period, cluster: &str) -> Result<Observed, AskError> {
    let mut builder = ObservedBuilder::new(cluster);
    // What went wrong in a day may have begun before the time that is asked about.
    let from = period.from.minus(DAY);
    for kind in [EntryKind::Coverage, EntryKind::Gap] {
        let period = Period { from, ..period.clone() };
        each(reader, all_of(vec![Filter::Entries(kind)], &period), |row| {
            if let Some(entry) = row.entry() {
                builder.add(entry, row.at());
            }
        })?;
    }
    Ok(builder.finish(period.from, period.to))
}

/// What was granted at the end of the time.
fn grants(reader: &Reader, period: &Period, cluster: &str) -> Result<Grants, AskError> {
    let mut builder = GrantsBuilder::default();
    for days in LOOK_BACK {
        let from = period.to.minus(DAY * days);
        let query = Query {
            filters: vec![Filter::Entries(EntryKind::RbacSnapshot)],
            from,
            to: period.to,
            after: None,
            limit: ROWS_AT_ONCE / 100,
        };
        let mut found = false;
        snapshots(reader, query, |row| {
            if let Some(entry) = row.entry().filter(|entry| entry.subject == cluster) {
                found |= builder.snapshot(entry, row.at());
            }
        })?;
        if found {
            break;
        }
    }
    let Some(from) = builder.changes_from() else { return Ok(builder.finish()) };
    let mut changes = Vec::new();
    for resource in RESOURCES {
        let object = Filter::Object { resource: resource.to_owned(), namespace: None, name: None };
        let verbs = ["create", "update", "patch", "delete", "deletecollection"];
        let verbs = Filter::Verbs(verbs.map(str::to_owned).into());
        let query = Query {
            filters: vec![object, verbs],
            from,
            to: period.to,
            after: None,
            limit: ROWS_AT_ONCE,
        };
        each(reader, query, |row| {
            if let Some(access) = row.access()
                && access.cluster.as_deref().unwrap_or("") == cluster
            {
                changes.push((row.at(), row.id, access.clone()));
            }
        })?;
    }
    changes.sort_by_key(|(at, id, _)| (*at, *id));
    for (.., access) in &changes {
        builder.change(access);
    }
    Ok(builder.finish())
}

/// Like [`each`], with fewer of these large rows in memory.
fn snapshots(
    reader: &Reader,
    mut query: Query,
    mut take: impl FnMut(&Row),
) -> Result<(), AskError> {
    loop {
        let page = reader.page(&query)?;
        page.rows.iter().for_each(&mut take);
        let Some(next) = page.next else { return Ok(()) };
        query.after = Some(next);
    }
}

fn uses(
    reader: &Reader,
    period: &Period,
    cluster: &str,
    who: Option<&Who>,
) -> Result<(Uses, BTreeSet<String>), AskError> {
    let mut filters = vec![Filter::Usage];
    if let Some(Who::User(user)) = who {
        filters.push(Filter::Actor(user.clone()));
    }
    let (mut uses, mut acted_as) = (Uses::since(period.from), BTreeSet::new());
    // A use is told once a day: what was told of the first one before this time may have been used again.
    let (from, day_ends) = Uses::day_of(period.from);
    each(reader, all_of(filters, &Period { from, ..period.clone() }), |row| {
        let Some(usage) = row.usage() else { return };
        if usage.cluster.as_deref().unwrap_or("") != cluster {
            return;
        }
        let actor = usage.actor.id.as_deref().unwrap_or("");
        match who {
            Some(Who::User(user)) if actor != user => {
                acted_as.insert(actor.to_owned());
                uses.add_caller(usage);
            }
            _ => uses.add(usage),
        }
    })?;
    if uses.is_in_doubt() {
        let period = Period { to: period.to.min(day_ends), ..period.clone() };
        look_again(reader, &period, cluster, who, &mut uses)?;
    }
    Ok((uses, acted_as))
}

/// Looks among accesses of a time for uses that are known of the day before it alone. If there are many accesses, only
/// the first are looked at: what is not found then is not known to be used.
fn look_again(
    reader: &Reader,
    period: &Period,
    cluster: &str,
    who: Option<&Who>,
    uses: &mut Uses,
) -> Result<(), AskError> {
    let mut filters = vec![Filter::Accesses];
    if let Some(Who::User(user)) = who {
        filters.push(Filter::Actor(user.clone()));
    }
    let mut query = all_of(filters, period);
    for _ in 0..PAGES_AGAIN_MAX {
        let page = reader.page(&query)?;
        for access in page.rows.iter().filter_map(Row::access) {
            // Of a roll-up only the first and the last time are known.
            let times = [access.at, access.last()];
            let within = times.into_iter().find(|at| (period.from..period.to).contains(at));
            if let Some(at) = within
                && access.cluster.as_deref().unwrap_or("") == cluster
            {
                uses.seen_again(access, at);
            }
        }
        let Some(next) = page.next.filter(|_| uses.is_in_doubt()) else { break };
        query.after = Some(next);
    }
    Ok(())
}

/// Which time was observed, in words.
pub(super) fn coverage_text(observed: &Observed, period: &Period, of_machines: bool) -> String {
    let Some((from, to)) = observed.range() else {
        return "no hour of this time was observed".to_owned();
    };
    let (whole, hours) = (observed.whole(of_machines), observed.hours());
    let zone = &period.zone;
    let mut text = format!(
        "{whole} of {hours} hours are complete, {} to {}",
        shown_time(from, zone),
        shown_time(to, zone)
    );
    let mut problems: Vec<String> =
        observed.problems().iter().map(|(why, count)| format!("{count} h: {why}")).collect();
    let people_only = i64::try_from(problem_hours(observed)).unwrap_or(i64::MAX);
    let people_only = hours.saturating_sub(people_only).saturating_sub(whole);
    if people_only > 0 {
        problems.push(format!("{people_only} h: only the use of people was recorded"));
    }
    if !problems.is_empty() {
        text = format!("{text} ({})", problems.join("; "));
    }
    text
}

fn problem_hours(observed: &Observed) -> usize {
    observed.problems().iter().map(|(_, count)| count).sum()
}

/// `2026-11-01 00:00:00 to 2026-11-29 12:00:00 UTC`.
pub(super) fn period_text(period: &Period) -> String {
    let zone = &period.zone;
    let name = zone.iana_name().unwrap_or("UTC");
    format!("{} to {} {name}", shown_time(period.from, zone), shown_time(period.to, zone))
}

/// Where roles and bindings are known from, in words.
pub(super) fn snapshot_text(grants: &Grants, period: &Period) -> String {
    let Some(taken) = grants.taken else {
        return "roles and bindings are not known: bring them with `tripline permissions import`"
            .to_owned();
    };
    let [roles, bindings] = grants.counts();
    format!(
        "{roles} roles and {bindings} bindings of {}, brought by {}, with {} changes since",
        shown_time(taken, &period.zone),
        grants.by,
        grants.changes
    )
}

/// A time as JSON has it.
pub(super) fn rfc3339(time: Option<EventTime>) -> Option<String> {
    time.map(EventTime::rfc3339)
}
