//! Pages about the process itself: `/sources`, `/delivery`, `/ledger`, `/settings`.

use askama::Template;
use axum::{Extension, http::Uri, response::Response};

use super::{
    super::caller::{Caller, Right},
    asked::{Asked, When},
    frame::{Frame, refuse, show},
    ledger::{Trouble, ask, last_rows},
    link::Link,
    view::View,
};
use crate::{
    archive::{Filter, MonthStatus},
    ask::{Mistake, Parameter},
    engine::{
        ledger::{EntryKind, Row, hex_of},
        text::{first_of, one_line, span, thousands},
    },
};

/// Partitions shown, those with the most lag first.
const PARTITIONS_SHOWN: usize = 100;

/// Entries of a page: 200, the latest.
const ENTRIES_SHOWN: usize = 200;

/// A part of the process.
struct Part {
    name: String,
    health: &'static str,
    since: When,
    detail: String,
}

/// A partition that is read.
struct Partition {
    name: String,
    next: String,
    lag: String,
}

fn parts(context: &View, asked: &Asked, fits: impl Fn(&str) -> bool) -> Vec<Part> {
    let components = context.status.components();
    components
        .into_iter()
        .filter(|(name, _)| fits(name))
        .map(|(name, component)| Part {
            name,
            health: component.health.as_str(),
            since: asked.when(component.since.as_event()),
            detail: component.detail,
        })
        .collect()
}

#[derive(Template)]
#[template(path = "console/sources.html", config = "src/html/askama.toml")]
struct SourcesPage {
    frame: Frame,
    components: Vec<Part>,
    partitions: Vec<Partition>,
    more: usize,
    lag: String,
    behind: String,
    watermark: Option<When>,
    started: When,
    running_for: String,
}

/// `/sources`: what is read, how far, and how each part does.
pub(in crate::server) async fn sources(context: View, uri: Uri) -> Response {
    let asked = match Asked::read(&uri, &[], "24h") {
        Ok(asked) => asked,
        Err(mistake) => return refuse(&context, uri.path(), mistake),
    };
    let (mut partitions, watermark) = {
        let inner = context.status.read();
        let partitions: Vec<_> = inner
            .partitions
            .iter()
            .map(|(name, partition)| (name.to_string(), partition.next_offset, partition.lag))
            .collect();
        (partitions, inner.watermark)
    };
    let lag: i64 = partitions.iter().filter_map(|(_, _, lag)| *lag).sum();
    let more = partitions.len().saturating_sub(PARTITIONS_SHOWN);
    if more > 0 {
        partitions.sort_by_key(|(_, _, lag)| std::cmp::Reverse(*lag));
        partitions.truncate(PARTITIONS_SHOWN);
    }
    let shown = |number: Option<i64>| {
        number.map_or_else(|| "–".to_owned(), |number| thousands(number.unsigned_abs()))
    };
    let started = context.status.started_at();
    let page = SourcesPage {
        components: parts(&context, &asked, |_| true),
        partitions: partitions
            .into_iter()
            .map(|(name, next, lag)| Partition { name, next: shown(next), lag: shown(lag) })
            .collect(),
        more,
        lag: thousands(lag.unsigned_abs()),
        behind: watermark
            .map_or_else(|| "–".to_owned(), |watermark| span(asked.now.since(watermark.as_wall()))),
        watermark: watermark.map(|watermark| asked.when(watermark)),
        started: asked.when(started.as_event()),
        running_for: span(asked.now.since(started)),
        frame: Frame::new(&context, asked, "/sources", "Sources"),
    };
    show(&page)
}

/// An entry of the ledger as a line.
struct EntryLine {
    when: When,
    kind: &'static str,
    what: String,
    class: &'static str,
    party: String,
    notifier: String,
    detail: String,
    subject: String,
    link: Option<Link>,
}

impl EntryLine {
    fn new(asked: &Asked, row: &Row) -> Option<EntryLine> {
        let entry = row.entry()?;
        let link = (entry.kind == EntryKind::Alert)
            .then(|| asked.link(&format!("/alerts/{}", entry.subject)));
        Some(EntryLine {
            when: asked.when(row.at()),
            kind: entry.kind.as_str(),
            what: entry.what.clone(),
            class: match entry.what.as_str() {
                "delivered" => "good",
                "retry" => "medium",
                "rejected" | "expired" | "dropped" => "critical",
                _ => "",
            },
            party: entry.party.clone(),
            notifier: entry.fact_of("notifier").unwrap_or_default().to_owned(),
            detail: entry.detail.clone(),
            subject: entry.subject.clone(),
            link,
        })
    }
}

const DELIVERY_PARAMETERS: &[Parameter] = &[
    Parameter::text("receiver", "To this receiver."),
    Parameter::text("what", "With this outcome: delivered, retry, rejected, expired, dropped."),
];

#[derive(Template)]
#[template(path = "console/delivery.html", config = "src/html/askama.toml")]
struct DeliveryPage {
    frame: Frame,
    receivers: Vec<Part>,
    lines: Vec<EntryLine>,
    is_cut: bool,
    outcomes: Vec<(&'static str, Link, bool)>,
    receiver: String,
    troubles: Vec<Trouble>,
}

/// `/delivery`: who was told, and what came of it.
pub(in crate::server) async fn delivery(context: View, uri: Uri) -> Response {
    let asked = match Asked::read(&uri, &[DELIVERY_PARAMETERS], "24h") {
        Ok(asked) => asked,
        Err(mistake) => return refuse(&context, uri.path(), mistake),
    };
    let range = (asked.from, asked.to);
    let (receiver, what) = (asked.params.owned("receiver"), asked.params.owned("what"));
    let answer = ask(&context, move |reader| {
        let filters = [Filter::Entries(EntryKind::Delivery)];
        let (mut rows, is_cut) = last_rows(reader, &filters, range, super::ledger::ROWS_MAX)?;
        rows.retain(|row| {
            row.entry().is_some_and(|entry| {
                receiver.as_ref().is_none_or(|receiver| entry.party == *receiver)
                    && what.as_ref().is_none_or(|what| entry.what == *what)
            })
        });
        Ok((rows, is_cut))
    })
    .await;
    let (rows, is_cut) = answer.found;
    let words = ["", "delivered", "retry", "rejected", "expired", "dropped"];
    let chosen = asked.get("what").unwrap_or_default();
    let outcome = |word: &'static str| match word {
        "" => ("all", asked.here().without("what"), chosen.is_empty()),
        word => (word, asked.here_with("what", word), chosen == word),
    };
    let page = DeliveryPage {
        outcomes: words.into_iter().map(outcome).collect(),
        receivers: parts(&context, &asked, |name| name.starts_with("receiver ")),
        is_cut: is_cut || rows.len() > ENTRIES_SHOWN,
        lines: rows
            .iter()
            .rev()
            .take(ENTRIES_SHOWN)
            .filter_map(|row| EntryLine::new(&asked, row))
            .collect(),
        receiver: asked.get("receiver").unwrap_or_default().to_owned(),
        troubles: answer.troubles,
        frame: Frame::new(&context, asked, "/delivery", "Delivery"),
    };
    show(&page)
}

/// Months that are named as not counted.
const MONTHS_NAMED: usize = 13;

const LEDGER_PARAMETERS: &[Parameter] = &[Parameter::text("kind", "Entries of this kind.")];

/// A month of the ledger.
struct MonthLine {
    month: String,
    size: String,
    rows: String,
    first: u64,
    last: u64,
    head: String,
}

#[derive(Template)]
#[template(path = "console/ledger.html", config = "src/html/askama.toml")]
struct LedgerPage {
    frame: Frame,
    months: Vec<MonthLine>,
    counts: Vec<(String, String)>,
    /// Months of an earlier version, whose rows would have to be passed over.
    uncounted: String,
    holes: Vec<String>,
    waiting: usize,
    kinds: Vec<(&'static str, Link, bool)>,
    lines: Vec<EntryLine>,
    is_cut: bool,
    troubles: Vec<Trouble>,
}

#[derive(Default)]
struct LedgerFound {
    months: Vec<MonthStatus>,
    holes: Vec<String>,
    waiting: usize,
    rows: Vec<Row>,
    is_cut: bool,
}

/// `/ledger`: what is kept, whether it hangs together, and its latest entries.
pub(in crate::server) async fn ledger(
    context: View,
    Extension(caller): Extension<Caller>,
    uri: Uri,
) -> Response {
    let asked = match Asked::read(&uri, &[LEDGER_PARAMETERS], "24h") {
        Ok(asked) => asked,
        Err(mistake) => return refuse(&context, uri.path(), mistake),
    };
    // Who looked, and who came in, is for those who check on others.
    let is_shown = |kind: EntryKind| {
        caller.may(Right::Report) || !matches!(kind, EntryKind::View | EntryKind::Login)
    };
    let chosen = asked.get("kind").and_then(EntryKind::parse).filter(|kind| is_shown(*kind));
    if let (Some(kind), None) = (asked.get("kind"), chosen) {
        let known: Vec<&str> = EntryKind::ALL
            .iter()
            .filter(|kind| is_shown(**kind))
            .map(|kind| kind.as_str())
            .collect();
        let message = format!("no entries of the kind `{}` are shown", one_line(kind, 60));
        let mistake = Mistake::bad(message, format!("there are: {}", known.join(", ")));
        return refuse(&context, "/ledger", mistake);
    }
    let kind = chosen.unwrap_or(EntryKind::Rules);
    let range = (asked.from, asked.to);
    let answer = ask(&context, move |reader| {
        let (rows, is_cut) = last_rows(reader, &[Filter::Entries(kind)], range, ENTRIES_SHOWN)?;
        Ok(LedgerFound {
            months: reader.heads(),
            holes: reader.holes(),
            waiting: reader.waiting().count(),
            rows,
            is_cut,
        })
    })
    .await;
    let found = answer.found;
    let mut counts: std::collections::BTreeMap<String, u64> = std::collections::BTreeMap::new();
    for (name, count) in found.months.iter().filter_map(|month| month.rows.as_ref()).flatten() {
        *counts.entry(name.clone()).or_default() += count;
    }
    let uncounted = found.months.iter().filter(|month| month.rows.is_none());
    let uncounted: Vec<&str> = uncounted.map(|month| month.month.as_str()).collect();
    let page = LedgerPage {
        months: found.months.iter().rev().map(month_line).collect(),
        counts: counts.into_iter().map(|(name, count)| (name, thousands(count))).collect(),
        uncounted: first_of(&uncounted, MONTHS_NAMED),
        holes: found.holes,
        waiting: found.waiting,
        kinds: EntryKind::ALL
            .iter()
            .filter(|one| is_shown(**one))
            .map(|one| (one.as_str(), asked.here_with("kind", one.as_str()), *one == kind))
            .collect(),
        lines: found.rows.iter().rev().filter_map(|row| EntryLine::new(&asked, row)).collect(),
        is_cut: found.is_cut,
        troubles: answer.troubles,
        frame: Frame::new(&context, asked, "/ledger", "Ledger"),
    };
    show(&page)
}

fn month_line(month: &MonthStatus) -> MonthLine {
    let (first, last) = (month.previous.id + 1, month.last.id);
    MonthLine {
        month: month.month.clone(),
        size: format!("{} kB", thousands(month.bytes / 1_000)),
        rows: thousands(last.saturating_sub(month.previous.id)),
        first,
        last,
        head: hex_of(&month.last.head),
    }
}

#[derive(Template)]
#[template(path = "console/settings.html", config = "src/html/askama.toml")]
struct SettingsPage {
    frame: Frame,
    caller: Caller,
    zones: Vec<(String, Link)>,
}

/// Zones that are offered; any other can be written.
const ZONES: [&str; 9] = [
    "UTC",
    "Europe/London",
    "Europe/Berlin",
    "Europe/Rome",
    "Asia/Kolkata",
    "Asia/Tokyo",
    "Australia/Sydney",
    "America/New_York",
    "America/Los_Angeles",
];

/// `/settings`: the zone, and the keys.
pub(in crate::server) async fn settings(
    context: View,
    Extension(caller): Extension<Caller>,
    uri: Uri,
) -> Response {
    let asked = match Asked::read(&uri, &[], "24h") {
        Ok(asked) => asked,
        Err(mistake) => return refuse(&context, uri.path(), mistake),
    };
    let zones = ZONES.iter().map(|zone| ((*zone).to_owned(), Link::to("/").with("zone", zone)));
    let page = SettingsPage {
        caller,
        zones: zones.collect(),
        frame: Frame::new(&context, asked, "/settings", "Settings"),
    };
    show(&page)
}
