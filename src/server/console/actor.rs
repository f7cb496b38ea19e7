//! `/actor?id=`: what somebody did in a time, in which visits, with which alerts; and whether it is usual.

use std::{collections::BTreeSet, sync::Arc};

use askama::Template;
use axum::{Extension, http::Uri, response::Response};

use super::{
    super::caller::Caller,
    super::row::Episode,
    asked::Asked,
    cover::{Hours, hours, unknown},
    frame::{Frame, missing, refuse, seen, show},
    lanes::{Lanes, Line},
    ledger::{ROWS_MAX, Trouble, ask, last_rows},
    link::Link,
    list::{EpisodeLine, Wanted, changes, together},
    usual::{self, Usual},
    view::View,
    visit_line::VisitLine,
};
use crate::{
    archive::Filter,
    ask::{
        Parameter,
        begun::{ends_of, leave_out_ends},
    },
    engine::{
        access::{Access, Outcome, VISIT_PAUSE, Visits},
        ledger::Row,
        text::thousands,
    },
};

/// Accesses that the picture and the table are made of: 2,000, the latest.
const SHOWN_ROWS: usize = 2_000;

/// Lines of the table: 100. The timeline has all.
const LINES_SHOWN: usize = 100;

/// Visits shown.
const VISITS_SHOWN: usize = 20;

/// How far the page looks back, beyond its range, for what is usual: 30 days.
const BEFORE: std::time::Duration = std::time::Duration::from_secs(30 * 86_400);

const PARAMETERS: &[Parameter] =
    &[Parameter::text("id", "Who: the name that the audit log has.").required()];

/// A number on top.
struct Tile {
    value: String,
    name: String,
    class: &'static str,
}

#[derive(Template)]
#[template(path = "console/actor.html", config = "src/html/askama.toml")]
struct ActorPage {
    frame: Frame,
    id: String,
    is: String,
    tiles: Vec<Tile>,
    usual: Vec<Usual>,
    lanes: Lanes,
    lines: Vec<Line>,
    total: usize,
    is_cut: bool,
    alerts: Vec<EpisodeLine>,
    visits: Vec<VisitLine>,
    visits_more: usize,
    timeline: Link,
    troubles: Vec<Trouble>,
    sources: Vec<(String, Link)>,
    credentials: Vec<(String, Link)>,
    permission_names: Vec<(String, Link)>,
}

#[derive(Default)]
struct Found {
    rows: Vec<Row>,
    is_cut: bool,
    before: Vec<Row>,
    /// Ids of the rows that only tell how a request ended which another row stands for.
    ends: BTreeSet<u64>,
    hours: Hours,
}

pub(in crate::server) async fn page(
    context: View,
    Extension(caller): Extension<Caller>,
    uri: Uri,
) -> Response {
    let asked = match Asked::read(&uri, &[PARAMETERS], "24h") {
        Ok(asked) => asked,
        Err(mistake) => return refuse(&context, "/visits", mistake),
    };
    let id = asked.get("id").unwrap_or_default().to_owned();
    let range = (asked.from, asked.to);
    let (actor, since) = (id.clone(), asked.from.minus(BEFORE));
    let answer = ask(&context, move |reader| {
        let filters = [Filter::Actor(actor), Filter::Accesses];
        let (rows, is_cut) = last_rows(reader, &filters, range, SHOWN_ROWS)?;
        let (mut before, _) = last_rows(reader, &filters, (since, range.0), ROWS_MAX)?;
        leave_out_ends(reader, &mut before)?;
        let ends = ends_of(reader, &rows)?;
        Ok(Found { rows, is_cut, before, ends, hours: hours(reader, range)? })
    })
    .await;
    let mut troubles = answer.troubles;
    let found = answer.found;
    let told = changes(&context, range).await;
    troubles.extend(told.troubles);
    troubles.dedup();
    let mut alerts = together(&context, &told.found.0, Wanted::OfActor(&id));
    alerts.sort_by_key(|episode| std::cmp::Reverse(episode.starts_at));
    if found.rows.is_empty() && found.before.is_empty() && alerts.is_empty() && troubles.is_empty()
    {
        let what = format!("nothing is known of {}", crate::engine::text::one_line(&id, 120));
        let hint =
            "Nothing of them was recorded in the last month. Is the name as the audit log has it?";
        return missing(&context, "/visits", &what, hint);
    }
    if let Err(answer) = seen(&context, &caller, &asked, found.rows.len()) {
        return *answer;
    }
    show(&ActorPage::new(&context, asked, id, found, &alerts, troubles, since))
}

impl ActorPage {
    fn new(
        context: &View,
        asked: Asked,
        id: String,
        found: Found,
        alerts: &[Arc<Episode>],
        troubles: Vec<Trouble>,
        since: crate::engine::time::EventTime,
    ) -> ActorPage {
        let accesses: Vec<&Access> = found.rows.iter().filter_map(Row::access).collect();
        let unknown =
            unknown(&asked, (asked.from, asked.to), &found.hours, context.status.read().watermark);
        let lanes =
            Lanes::new(&asked, (asked.from, asked.to), accesses.iter().copied(), &unknown, None);
        let mut visits = Visits::new(VISIT_PAUSE);
        let mut requests = Vec::new();
        for row in &found.rows {
            let Some(access) = row.access() else { continue };
            let is_first = !found.ends.contains(&row.id);
            visits.add(access, is_first);
            requests.extend(is_first.then_some(access));
        }
        let mut visits = visits.finish();
        visits.reverse();
        let visits_more = visits.len().saturating_sub(VISITS_SHOWN);
        let lines = Line::all(&asked, accesses.iter().copied().rev().take(LINES_SHOWN));
        let by = |name: &'static str, of: &dyn Fn(&Access) -> Option<String>| {
            let values: BTreeSet<String> =
                accesses.iter().filter_map(|access| of(access)).collect();
            let link = |value: String| {
                let link = asked.link("/timeline").with(name, &value);
                (value, link)
            };
            values.into_iter().take(20).map(link).collect::<Vec<_>>()
        };
        ActorPage {
            is: is(&accesses, &found.before),
            tiles: tiles(&requests, alerts.len()),
            usual: usual::compare(&asked, &found.before, &accesses, since),
            lanes,
            lines,
            total: accesses.len(),
            is_cut: found.is_cut,
            alerts: alerts.iter().map(|episode| EpisodeLine::new(&asked, episode)).collect(),
            visits: visits
                .iter()
                .take(VISITS_SHOWN)
                .map(|visit| VisitLine::new(&asked, visit))
                .collect(),
            visits_more,
            timeline: asked
                .link("/timeline")
                .with("actor", &id)
                .with("from", &asked.from.rfc3339())
                .with("to", &asked.to.rfc3339()),
            troubles,
            sources: by("source", &|access| access.source_ip.as_ref().map(ToString::to_string)),
            credentials: by("credential", &|access| {
                access.credential_id.as_ref().map(ToString::to_string)
            }),
            permission_names: by("permission", &|access| {
                access.permission.as_ref().map(crate::engine::access::Permission::name)
            }),
            frame: {
                let title = crate::engine::text::one_line(&id, 80);
                Frame::new(context, asked, "/visits", &title)
            },
            id,
        }
    }
}

/// What somebody is, as the last access says it.
fn is(accesses: &[&Access], before: &[Row]) -> String {
    let last = accesses.last().copied().or_else(|| before.iter().rev().find_map(Row::access));
    let Some(access) = last else { return String::new() };
    let kind = if access.actor.human { "a person" } else { &access.actor.kind };
    match &access.actor.team {
        Some(team) => format!("{kind}, team {team}"),
        None => kind.to_owned(),
    }
}

/// Of accesses that stand for a request each.
fn tiles(accesses: &[&Access], alerts: usize) -> Vec<Tile> {
    let sum = |fits: &dyn Fn(&Access) -> bool| -> u64 {
        accesses.iter().filter(|access| fits(access)).map(|access| access.count()).sum()
    };
    let is = |access: &Access, class: &str| access.classes.iter().any(|one| **one == *class);
    let is_vain =
        |access: &Access| matches!(access.outcome, Some(Outcome::Denied | Outcome::Error));
    let requests = sum(&|_| true);
    let denied = sum(&|access| access.outcome == Some(Outcome::Denied));
    let sessions = sum(&|access| access.session.is_some());
    let privileged = sum(&|access| is(access, "privileged"));
    // Who was refused, or whose request failed, read nothing.
    let secrets = sum(&|access| is(access, "secret_read") && !is_vain(access));
    let tile = |count: u64, name: &str, class: &'static str| Tile {
        value: thousands(count),
        name: name.to_owned(),
        class: if count == 0 { "none" } else { class },
    };
    vec![
        tile(requests, "requests recorded", ""),
        tile(denied, "refused", "high"),
        tile(sessions, "sessions", ""),
        tile(secrets, "secrets read", ""),
        tile(privileged, "privileged", "high"),
        tile(alerts as u64, "alerts", "critical"),
    ]
}
