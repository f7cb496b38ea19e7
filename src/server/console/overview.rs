//! `/`: what fires, what was, what was seen, and what is in trouble; on one screen.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use askama::Template;
use axum::{Extension, http::Uri, response::Response};
use hashbrown::HashSet;

use super::{
    super::row::{Episode, key_of_entry},
    super::{
        caller::{Caller, Right},
        status::Health,
    },
    asked::{Asked, When},
    chart::{Chart, Counts, severities},
    cover::{Strip, strips},
    frame::{Frame, refuse, show},
    ledger::{ROWS_MAX, Trouble, ask, rows},
    link::Link,
    list::{EpisodeLine, changes},
    view::View,
};
use crate::{
    archive::Filter,
    ask::begun::leave_out_ends,
    engine::{
        rule::Severity,
        text::{span, thousands},
    },
};

/// Alerts shown.
const ALERTS_SHOWN: usize = 8;

/// How far the pictures look back: 24 hours.
const SPAN: Duration = Duration::from_secs(86_400);

/// A number on top.
struct Tile {
    class: &'static str,
    icon: Option<&'static str>,
    value: String,
    is_word: bool,
    name: String,
    link: Link,
}

/// A part that is not well.
struct Ailing {
    name: String,
    health: &'static str,
    detail: String,
    since: When,
}

#[derive(Template)]
#[template(path = "console/overview.html", config = "src/html/askama.toml")]
struct Overview {
    frame: Frame,
    tiles: Vec<Tile>,
    alerts: Vec<EpisodeLine>,
    more: usize,
    chart: Chart,
    /// What people did, for those who may see it.
    privileged: Option<Chart>,
    strips: Vec<Strip>,
    ailing: Vec<Ailing>,
    problems: Option<String>,
    troubles: Vec<Trouble>,
    rules: String,
}

pub(in crate::server) async fn page(
    context: View,
    Extension(caller): Extension<Caller>,
    uri: Uri,
) -> Response {
    let asked = match Asked::read(&uri, &[], "24h") {
        Ok(asked) => asked,
        Err(mistake) => return refuse(&context, uri.path(), mistake),
    };
    let now = asked.now.as_event();
    let (first, last) = (now.minus(SPAN).hour() + 1, now.hour());
    let range = (super::ledger::hour_start(first), now.plus(Duration::from_secs(1)));
    let told = changes(&context, range).await;
    let sees_accesses = caller.may(Right::SeeAccesses);
    let accesses = ask(&context, move |reader| {
        let filters = vec![Filter::Class("privileged".to_owned())];
        let mut found =
            if sees_accesses { rows(reader, filters, range, ROWS_MAX)?.rows } else { Vec::new() };
        leave_out_ends(reader, &mut found)?;
        let strips = super::cover::hours(reader, range)?;
        Ok((found, strips))
    })
    .await;
    let mut counts = Counts::new();
    let mut seen = HashSet::new();
    for entry in told.found.0.iter().filter_map(|row| row.entry()) {
        let Some(key) = key_of_entry(entry).filter(|key| seen.insert(*key)) else { continue };
        let severity = entry.fact_of("severity").and_then(Severity::parse).unwrap_or_default();
        let hour = counts.entry(key.starts_at.hour()).or_default();
        *hour.entry(severity.as_str()).or_default() += 1;
    }
    let mut privileged = Counts::new();
    for access in accesses.found.0.iter().filter_map(|row| row.access()) {
        let count = privileged.entry(access.at.hour()).or_default().entry("bar").or_default();
        *count += access.count();
    }
    let episodes = context.status.firing().lines;
    let alerts: Vec<EpisodeLine> = episodes
        .iter()
        .take(ALERTS_SHOWN)
        .map(|episode| EpisodeLine::new(&asked, episode))
        .collect();
    let mut by_severity: BTreeMap<Severity, usize> = BTreeMap::new();
    for episode in episodes.iter() {
        *by_severity.entry(episode.severity).or_default() += 1;
    }
    let mut troubles = told.troubles;
    troubles.extend(accesses.troubles);
    troubles.dedup();
    let mut tiles = severity_tiles(&asked, &by_severity);
    tiles.push(oldest_tile(&asked, &episodes));
    tiles.extend(state_tiles(&context, &asked));
    let chart_name = "alerts that began, by hour";
    let page = Overview {
        chart: Chart::new(&asked, chart_name, (first, last), severities(), &counts),
        privileged: sees_accesses.then(|| {
            let name = "privileged requests, by hour";
            Chart::new(&asked, name, (first, last), vec!["bar"], &privileged)
        }),
        strips: strips(&asked, &accesses.found.1, (first, last)),
        more: episodes.len().saturating_sub(alerts.len()),
        alerts,
        tiles,
        ailing: ailing(&context, &asked),
        problems: context.status.read().reload.as_ref().and_then(|reload| reload.problems.clone()),
        troubles,
        rules: context.status.read().rules.written_counted(),
        frame: Frame::new(&context, asked, "/", "Overview"),
    };
    show(&page)
}

fn severity_tiles(asked: &Asked, counts: &BTreeMap<Severity, usize>) -> Vec<Tile> {
    let tile = |severity: Severity| {
        let count = counts.get(&severity).copied().unwrap_or(0);
        let word = severity.as_str();
        Tile {
            class: if count == 0 { "none" } else { word },
            icon: Some(word),
            value: thousands(count as u64),
            is_word: false,
            name: word.to_owned(),
            link: asked.link("/alerts").with("severity", word),
        }
    };
    let shown = [Severity::Critical, Severity::High, Severity::Medium, Severity::Low];
    shown.into_iter().map(tile).collect()
}

/// The alert that waits longest for somebody to take it.
fn oldest_tile(asked: &Asked, episodes: &[Arc<Episode>]) -> Tile {
    let is_taken = |episode: &&Arc<Episode>| {
        episode.acts.as_ref().is_some_and(|acts| acts.assignee().is_some())
    };
    let waiting = episodes.iter().filter(|episode| !is_taken(episode));
    let (value, link) = match waiting.min_by_key(|episode| episode.starts_at) {
        Some(episode) => (
            span(asked.now.as_event().since(episode.starts_at)),
            asked.alert_link(&episode.fingerprint, episode.starts_at),
        ),
        None => ("–".to_owned(), asked.link("/alerts")),
    };
    Tile {
        class: "",
        icon: None,
        value,
        is_word: true,
        name: "oldest that nobody took".to_owned(),
        link,
    }
}

/// How the stream goes.
fn state_tiles(context: &View, asked: &Asked) -> Vec<Tile> {
    let inner = context.status.read();
    let lag: i64 = inner.partitions.values().filter_map(|partition| partition.lag).sum();
    let behind = inner.watermark.map(|watermark| span(asked.now.since(watermark.as_wall())));
    let is_ready = inner.components.values().all(|component| component.health.is_ready());
    let source = asked.link("/sources");
    let word = if is_ready { "ready" } else { "not ready" };
    vec![
        Tile {
            class: if is_ready { "" } else { "critical" },
            icon: Some(if is_ready { "yes" } else { "no" }),
            value: word.to_owned(),
            is_word: true,
            name: format!("since {}", asked.when(context.status.started_at().as_event()).text),
            link: source.clone(),
        },
        Tile {
            class: "",
            icon: None,
            value: behind.unwrap_or_else(|| "–".to_owned()),
            is_word: true,
            name: format!("behind, {} records", thousands(lag.unsigned_abs())),
            link: source,
        },
    ]
}

fn ailing(context: &View, asked: &Asked) -> Vec<Ailing> {
    let components = context.status.components();
    components
        .into_iter()
        .filter(|(_, component)| component.health != Health::Ok)
        .map(|(name, component)| Ailing {
            name,
            health: component.health.as_str(),
            detail: component.detail,
            since: asked.when(component.since.as_event()),
        })
        .collect()
}
