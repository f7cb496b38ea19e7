//! `/coverage`: what was seen of each cluster, hour by hour, and what may be missing.

use askama::Template;
use axum::{http::Uri, response::Response};

use super::{
    asked::{Asked, When},
    cover::{Strip, class_of, strips},
    frame::{Frame, refuse, show},
    ledger::{Trouble, ask, hour_start},
    view::View,
};
use crate::{ask::coverage, engine::text::thousands};

/// Hours of the table: 360, the latest.
const HOURS_SHOWN: usize = 360;

/// Hours of one strip: 14 days.
const STRIP_HOURS: i64 = 14 * 24;

/// An hour of a cluster, as a line.
struct HourLine {
    hour: When,
    cluster: String,
    verdict: &'static str,
    class: &'static str,
    events: String,
    cut: u64,
    dead_letters: u64,
    late: u64,
    below: u64,
}

#[derive(Template)]
#[template(path = "console/coverage.html", config = "src/html/askama.toml")]
struct CoveragePage {
    frame: Frame,
    strips: Vec<Strip>,
    lines: Vec<HourLine>,
    total: usize,
    cluster: String,
    has_problems: bool,
    troubles: Vec<Trouble>,
}

pub(in crate::server) async fn page(context: View, uri: Uri) -> Response {
    let read = Asked::read(&uri, coverage::QUESTION.parameters, "24h").and_then(|asked| {
        let question = coverage::Question::read(&asked.params, asked.now.as_event())?;
        Ok((asked, question))
    });
    let (asked, question) = match read {
        Ok(read) => read,
        Err(mistake) => return refuse(&context, uri.path(), mistake),
    };
    let has_problems = question.problems;
    let answer = ask(&context, move |reader| {
        coverage::ask(reader, &question).map(|coverage| coverage.hours)
    })
    .await;
    let hours = answer.found;
    let last = asked.to.hour();
    let first = asked.from.hour().max(last - STRIP_HOURS + 1);
    let lines = hours.iter().rev().take(HOURS_SHOWN).map(|((hour, cluster), known)| HourLine {
        hour: asked.when(hour_start(*hour)),
        cluster: cluster.clone(),
        verdict: known.verdict(),
        class: class_of(known.verdict()),
        events: thousands(known.events),
        cut: known.cut,
        dead_letters: known.dead_letters,
        late: known.late,
        below: known.below,
    });
    let page = CoveragePage {
        lines: lines.collect(),
        total: hours.len(),
        strips: if has_problems { Vec::new() } else { strips(&asked, &hours, (first, last)) },
        cluster: asked.get("cluster").unwrap_or_default().to_owned(),
        has_problems,
        troubles: answer.troubles,
        frame: Frame::new(&context, asked, "/coverage", "Coverage"),
    };
    show(&page)
}
