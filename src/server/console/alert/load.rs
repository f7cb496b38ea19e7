//! What the page of an alert needs from status and ledger.

use std::{sync::Arc, time::Duration};

use super::super::{
    super::row::{Episode, episodes},
    asked::Asked,
    cover::{Hours, hours},
    ledger::{ROWS_MAX, Trouble, ask, last_rows, rows},
    list::{Wanted, changes, together},
    view::View,
};
use super::then::{alert_of, entries_of};
use crate::{
    archive::{ArchiveError, Filter, Reader},
    ask::begun::leave_out_ends,
    engine::{
        act::{Deed, Episode as Acts},
        alert::{Alert, Fingerprint},
        ledger::{Entry, EntryKind, Row},
        time::EventTime,
    },
};

/// How far around an alert the page looks: 30 min.
const AROUND: Duration = Duration::from_secs(1_800);

/// An alert that went on for longer is looked at around its end: 6 h.
const DURING_MAX: Duration = Duration::from_secs(6 * 3_600);

/// Accesses around it: 1,000.
const AROUND_ROWS: usize = 1_000;

/// How far the page looks back for what is usual: 30 days.
const BEFORE: Duration = Duration::from_secs(30 * 86_400);

/// How far it looks for other alerts of the actor, before and after: 7 days.
const OTHERS: Duration = Duration::from_secs(7 * 86_400);

/// Other alerts shown.
const OTHERS_MAX: usize = 20;

/// Kinds of entries of what people do about alerts.
const DEEDS: [EntryKind; 5] = [
    EntryKind::Acknowledge,
    EntryKind::Assign,
    EntryKind::Verdict,
    EntryKind::Comment,
    EntryKind::Resolve,
];

/// What is known of an episode.
pub(super) struct Loaded {
    pub(super) episode: Episode,
    /// All of it, as far as that is known.
    pub(super) alert: Option<Alert>,
    /// When the first event counted.
    pub(super) first: EventTime,
    /// What is looked at around it.
    pub(super) range: (EventTime, EventTime),
    /// Since when the past is looked at.
    pub(super) since: EventTime,
    /// Entries of its changes.
    pub(super) changes: Vec<Row>,
    pub(super) deliveries: Vec<Row>,
    /// Accesses of its actor around it.
    pub(super) around: Vec<Row>,
    /// Accesses of its actor before.
    pub(super) before: Vec<Row>,
    pub(super) hours: Hours,
    pub(super) others: Vec<Arc<Episode>>,
    /// How far event time has come.
    pub(super) watermark: Option<EventTime>,
}

/// What the ledger is asked at once.
#[derive(Default)]
struct Found {
    changes: Vec<Row>,
    deliveries: Vec<Row>,
    around: Vec<Row>,
    before: Vec<Row>,
    hours: Hours,
}

/// The episode with all that is known around it; `None` if there is no such episode.
pub(super) async fn load(
    context: &View,
    asked: &Asked,
    (fingerprint, start): (Fingerprint, EventTime),
    sees_accesses: bool,
) -> Option<(Loaded, Vec<Trouble>)> {
    let name = fingerprint.to_string();
    let (live, rules, watermark) = {
        let inner = context.status.read();
        let live = inner.alerts.get(&fingerprint).filter(|alert| alert.starts_at == start).cloned();
        (live, Arc::clone(&inner.rules), inner.watermark)
    };
    let now = asked.now.as_event();
    let (subject, is_firing) = (name.clone(), live.is_some());
    let told =
        ask(context, move |reader| Ok(entries_of(reader, (&subject, start), is_firing)?)).await;
    let mut troubles = told.troubles;
    let mut remembered = episodes(told.found.iter(), &rules, |_| true);
    let remembered = remembered.remove(&(name.clone(), start));
    // What was told of it last in full; one that is not remembered does not fire, whatever that says.
    let alert = live.or_else(|| told.found.iter().rev().find_map(alert_of));
    let mut episode = match (&alert, remembered) {
        (Some(alert), _) if is_firing => Episode::of_alert(alert),
        (Some(alert), told) => Episode {
            is_firing: false,
            ends_at: alert.ends_at.or_else(|| told.and_then(|told| told.ends_at)),
            ..Episode::of_alert(alert)
        },
        (None, Some(told)) => Episode { is_firing: false, ..told },
        (None, None) => return None,
    };
    episode.acts = episode.engine_key().and_then(|key| context.status.acts_of(key));
    let first = alert.as_ref().map_or(start, |alert| alert.first_seen);
    let begin = first.max(episode.last_seen.minus(DURING_MAX));
    let range = (begin.minus(AROUND), episode.last_seen.plus(AROUND));
    let since = first.minus(BEFORE);
    let actor = episode.actor.clone().filter(|_| sees_accesses);
    let subject = name.clone();
    let of_episode = told.found;
    let answer = ask(context, move |reader| {
        let (around, before) = of_actor(reader, actor.as_deref(), range, (since, first))?;
        let filters = vec![Filter::Entries(EntryKind::Delivery)];
        let mut deliveries = rows(reader, filters, (start, EventTime::MAX), ROWS_MAX)?.rows;
        deliveries.retain(|row| is_about(row, &subject));
        let hours = hours(reader, range)?;
        let mut changes = of_episode;
        for kind in DEEDS {
            let filters = vec![Filter::Entries(kind)];
            let mut deeds = rows(reader, filters, (start, EventTime::MAX), ROWS_MAX)?.rows;
            deeds.retain(|row| row.entry().is_some_and(|entry| is_deed(entry, (&subject, start))));
            changes.append(&mut deeds);
        }
        changes.sort_by_key(Row::at);
        Ok(Found { changes, deliveries, around, before, hours })
    })
    .await;
    troubles.extend(answer.troubles);
    let others = match &episode.actor {
        Some(actor) => {
            let range = (start.minus(OTHERS), start.plus(OTHERS).min(now.plus(OTHERS)));
            let told = changes(context, range).await;
            troubles.extend(told.troubles);
            let mut all = together(context, &told.found.0, Wanted::OfActor(actor));
            all.retain(|other| other.id() != episode.id());
            all.sort_by_key(|other| std::cmp::Reverse(other.starts_at));
            all.truncate(OTHERS_MAX);
            all
        }
        None => Vec::new(),
    };
    troubles.dedup();
    let Found { changes, deliveries, around, before, hours } = answer.found;
    if episode.acts.is_none() {
        episode.acts = acts_of(&episode, alert.as_ref(), &changes).map(Arc::new);
    }
    let loaded = Loaded {
        episode,
        alert,
        first,
        range,
        since,
        changes,
        deliveries,
        around,
        before,
        hours,
        others,
        watermark,
    };
    Some((loaded, troubles))
}

/// What the actor did around the alert, and before.
fn of_actor(
    reader: &Reader,
    actor: Option<&str>,
    range: (EventTime, EventTime),
    past: (EventTime, EventTime),
) -> Result<(Vec<Row>, Vec<Row>), ArchiveError> {
    let Some(actor) = actor else { return Ok(Default::default()) };
    let filters = vec![Filter::Actor(actor.to_owned()), Filter::Accesses];
    let around = rows(reader, filters.clone(), range, AROUND_ROWS)?.rows;
    let (mut before, _) = last_rows(reader, &filters, past, ROWS_MAX)?;
    leave_out_ends(reader, &mut before)?;
    Ok((around, before))
}

/// Whether an entry tells what somebody did about an episode.
fn is_deed(entry: &Entry, (fingerprint, start): (&str, EventTime)) -> bool {
    let starts_at = entry.fact_of("starts_at").and_then(EventTime::parse);
    entry.subject == fingerprint && starts_at.is_none_or(|of| of == start)
}

/// What people did about an episode that nobody remembers, from what the ledger has of it.
fn acts_of(episode: &Episode, alert: Option<&Alert>, changes: &[Row]) -> Option<Acts> {
    let deeds: Vec<Arc<Deed>> =
        changes.iter().filter_map(|row| Some(Arc::new(row.entry()?.deed()?))).collect();
    let last = deeds.last()?.at;
    Some(Acts {
        key: episode.engine_key()?,
        rule_id: episode.rule_id.clone(),
        title: episode.title.clone(),
        labels: alert.map(|alert| alert.labels.clone()).unwrap_or_default(),
        severity: episode.severity,
        began: episode.starts_at.as_wall(),
        ended: Some(episode.ends_at.map_or(last, EventTime::as_wall)),
        silenced_by: Vec::new(),
        hidden_by: Vec::new(),
        deeds,
    })
}

/// Whether a delivery names an alert.
fn is_about(row: &Row, fingerprint: &str) -> bool {
    row.entry()
        .is_some_and(|entry| entry.subject == fingerprint || entry.detail.contains(fingerprint))
}
