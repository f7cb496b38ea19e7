//! The status page: one screen for a person with a browser. No script, nothing from elsewhere.

use std::fmt::Write as _;

use axum::{
    extract::State,
    response::{Html, IntoResponse, Response},
};

use super::{
    ServerContext,
    api::sorted_alerts,
    status::{Inner, now},
};
use crate::engine::{alert::Alert, diagnostic::printable, time::WallTime};

/// Alerts shown; the API has them all.
const ALERTS_SHOWN: usize = 100;

/// Partitions shown, those with the most lag first; the API has them all.
const PARTITIONS_SHOWN: usize = 50;

/// Characters of one value of a key; names may be long, and each is one line of a table.
const VALUE_CHARS: usize = 200;

const STYLE: &str = "
:root { color-scheme: light dark; --text: #1b1f24; --quiet: #59636e; --page: #fff; --card: #f6f8fa;
  --line: #d8dee4; --good: #18794e; --critical: #a40e26; --high: #bc4c00; --medium: #8a5a00; --low: #4a5560 }
@media (prefers-color-scheme: dark) { :root { --text: #d1d7e0; --quiet: #9198a1; --page: #1a1f26;
  --card: #232a33; --line: #3d444d; --good: #57ab5a; --critical: #ff938a; --high: #f0883e;
  --medium: #daaa3f; --low: #9aa5b1 } a { color: #6cb0ff } }
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 76rem; padding: 0 1.25rem;
  color: var(--text); background: var(--page) }
h1 { font-size: 1.5rem; margin: 0 } h2 { font-size: 1.15rem; margin: 2.2rem 0 .6rem }
.quiet { color: var(--quiet) } nav a { margin-right: .8rem } .wide { overflow-x: auto }
.tiles { display: flex; flex-wrap: wrap; gap: .8rem; margin: 1.2rem 0 }
.tiles div { background: var(--card); border: 1px solid var(--line); border-radius: 8px;
  padding: .5rem 1rem; min-width: 7rem }
.tiles b { display: block; font-size: 1.4rem; font-variant-numeric: tabular-nums }
.tiles span { color: var(--quiet) }
table { border-collapse: collapse; width: 100% }
th, td { text-align: left; padding: .45rem .9rem .45rem 0; border-bottom: 1px solid var(--line);
  vertical-align: top }
th { color: var(--quiet); font-weight: 500; white-space: nowrap }
.n { text-align: right; font-variant-numeric: tabular-nums } .t, .n { white-space: nowrap }
td.words { min-width: 18rem; overflow-wrap: anywhere }
code { font: 13px/1.45 ui-monospace, monospace; overflow-wrap: anywhere }
.ok { color: var(--good) } .degraded, .starting, .medium { color: var(--medium) }
.low, .informational { color: var(--low) } .high { color: var(--high); font-weight: 600 }
.down, .failed, .critical { color: var(--critical); font-weight: 600 }
pre { background: var(--card); border-left: 4px solid var(--critical); padding: .8rem; overflow-x: auto;
  color: var(--text); font-weight: 400 }
";

pub(super) async fn show(State(context): State<ServerContext>) -> Response {
    let inner = context.status.read();
    Html(page(&inner, context.status.started_at(), now())).into_response()
}

fn page(inner: &Inner, started_at: WallTime, now: WallTime) -> String {
    let mut html = format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta http-equiv=\"refresh\" content=\"10\">\
         <meta name=\"viewport\" content=\"width=device-width\">\
         <title>Tripline</title><style>{STYLE}</style></head><body><h1>Tripline {}</h1>\
         <p class=\"quiet\">Running for {}, since {} UTC. This page is as of {} UTC.</p>\
         <nav><a href=\"metrics\">metrics</a><a href=\"readyz\">readyz</a>\
         <a href=\"api/v1/alerts\">alerts</a><a href=\"api/v1/rules\">rules</a>\
         <a href=\"api/v1/status\">status</a></nav>",
        env!("CARGO_PKG_VERSION"),
        span(now.since(started_at).as_secs()),
        time(&started_at.rfc3339()),
        time(&now.rfc3339()),
    );
    tiles(&mut html, inner, now);
    components(&mut html, inner);
    alerts(&mut html, inner);
    rules(&mut html, inner);
    partitions(&mut html, inner);
    html.push_str("</body></html>");
    html
}

/// What somebody wants to know who has a second only.
fn tiles(html: &mut String, inner: &Inner, now: WallTime) {
    let ready = inner.components.values().all(|component| component.health.is_ready());
    let (ready, class) = if ready { ("ready", "ok") } else { ("not ready", "down") };
    let lag: i64 = inner.partitions.values().filter_map(|partition| partition.lag).sum();
    let behind = inner
        .watermark
        .map_or_else(|| "–".to_owned(), |watermark| span(now.since(watermark.as_wall()).as_secs()));
    let _ = write!(
        html,
        "<div class=\"tiles\"><div><b class=\"{class}\">{ready}</b><span>state</span></div>\
         <div><b>{}</b><span>alerts firing</span></div>\
         <div><b>{}</b><span>rules</span></div><div><b>{lag}</b><span>records behind</span></div>\
         <div><b>{behind}</b><span>event time behind, grace included</span></div></div>",
        inner.alerts.len(),
        inner.rules.written_count(),
    );
}

fn components(html: &mut String, inner: &Inner) {
    html.push_str(
        "<h2>Health</h2><div class=\"wide\"><table><tr><th>part<th>state<th>since (UTC)<th>why</tr>",
    );
    for (name, component) in &inner.components {
        let (health, since) = (component.health, time(&component.since.rfc3339()));
        let (name, detail) = (escape(name), escape(&component.detail));
        let _ = write!(
            html,
            "<tr><td class=\"t\">{name}<td class=\"{health}\">{health}<td class=\"t\">{since}\
             <td class=\"words\">{detail}</tr>"
        );
    }
    html.push_str("</table></div>");
}

fn alerts(html: &mut String, inner: &Inner) {
    let _ = write!(html, "<h2>Alerts firing: {}</h2>", inner.alerts.len());
    if inner.alerts.is_empty() {
        return;
    }
    html.push_str(
        "<div class=\"wide\"><table><tr><th>severity<th>what<th>how often<th>since (UTC)\
         <th>last seen</tr>",
    );
    for alert in sorted_alerts(inner).into_iter().take(ALERTS_SHOWN) {
        let severity = alert.severity.as_str();
        let _ = write!(
            html,
            "<tr><td class=\"{severity}\">{severity}<td class=\"words\">{}<td>{} \
             <span class=\"quiet\">{}</span><td class=\"t\">{}<td class=\"t\">{}</tr>",
            words(alert),
            alert.value,
            escape(&alert.threshold),
            time(&alert.starts_at.rfc3339()),
            time(&alert.last_seen.rfc3339()),
        );
    }
    html.push_str("</table></div>");
    if inner.alerts.len() > ALERTS_SHOWN {
        let _ = write!(html, "<p class=\"quiet\">{} more.</p>", inner.alerts.len() - ALERTS_SHOWN);
    }
}

/// The rule's title, its author's summary, and the key.
fn words(alert: &Alert) -> String {
    let mut words = format!("<strong>{}</strong>", escape(&alert.rule_title));
    if let Some(summary) = alert.annotations.get("summary") {
        let _ = write!(words, "<br>{}", escape(summary));
    }
    let key: Vec<String> =
        alert.key.iter().map(|(name, value)| format!("{name}={}", cut(value))).collect();
    let _ = write!(words, "<br><code class=\"quiet\">{}</code>", escape(&key.join(", ")));
    words
}

fn rules(html: &mut String, inner: &Inner) {
    let count = inner.rules.written_count();
    let version = escape(&inner.rules.version);
    let _ = write!(html, "<h2>Rules: {count}</h2><p class=\"quiet\">Version {version}");
    if let Some(reload) = &inner.reload {
        let word = if reload.problems.is_some() { "failed" } else { "succeeded" };
        let _ = write!(html, ", last load {word} at {} UTC", time(&reload.at.rfc3339()));
    }
    html.push_str("</p>");
    if let Some(problems) = inner.reload.as_ref().and_then(|reload| reload.problems.as_ref()) {
        let lines: Vec<String> = problems.lines().map(escape).collect();
        let _ = write!(html, "<pre class=\"failed\">{}</pre>", lines.join("\n"));
    }
}

fn partitions(html: &mut String, inner: &Inner) {
    html.push_str("<h2>Source</h2>");
    if let Some(watermark) = inner.watermark {
        let watermark = time(&watermark.rfc3339());
        let _ = write!(html, "<p class=\"quiet\">Event time has come to {watermark} UTC.</p>");
    }
    html.push_str(
        "<div class=\"wide\"><table><tr><th>partition<th class=\"n\">next offset\
         <th class=\"n\">lag</tr>",
    );
    let number = |value: Option<i64>| value.map_or_else(|| "–".to_owned(), |n| n.to_string());
    let mut partitions: Vec<_> = inner.partitions.iter().collect();
    if partitions.len() > PARTITIONS_SHOWN {
        partitions.sort_by_key(|(_, partition)| std::cmp::Reverse(partition.lag));
    }
    for (name, partition) in partitions.iter().take(PARTITIONS_SHOWN) {
        let (offset, lag) = (number(partition.next_offset), number(partition.lag));
        let name = escape(&name.to_string());
        let _ = write!(html, "<tr><td>{name}<td class=\"n\">{offset}<td class=\"n\">{lag}</tr>");
    }
    html.push_str("</table></div>");
    if partitions.len() > PARTITIONS_SHOWN {
        let more = partitions.len() - PARTITIONS_SHOWN;
        let _ = write!(html, "<p class=\"quiet\">{more} more, with less lag.</p>");
    }
}

/// `2026-01-05 22:14:01`, of a time as RFC 3339 in UTC.
fn time(rfc3339: &str) -> String {
    let (date, rest) = rfc3339.split_once('T').unwrap_or((rfc3339, ""));
    escape(format!("{date} {}", rest.get(..8).unwrap_or(rest)).trim())
}

/// How long, in the two largest units.
fn span(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3_600 => format!("{} min {} s", seconds / 60, seconds % 60),
        3_600..86_400 => format!("{} h {} min", seconds / 3_600, seconds % 3_600 / 60),
        _ => format!("{} d {} h", seconds / 86_400, seconds % 86_400 / 3_600),
    }
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(VALUE_CHARS) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or("")),
        None => text.to_owned(),
    }
}

/// Text for HTML, in elements and in quoted attributes; what would act on a reader (writing that turns
/// its direction) is shown by its number.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in printable(text).chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            _ => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_attacker_wrote_neither_acts_nor_goes_on_for_ever() {
        assert_eq!(escape("<b>\u{202e}'&\""), "&lt;b&gt;\\u{202e}&#39;&amp;&quot;");
        assert_eq!(cut(&"é".repeat(VALUE_CHARS + 1)), "é".repeat(VALUE_CHARS) + "…");
    }

    #[test]
    fn times_are_for_people() {
        assert_eq!(time("2026-01-05T22:14:01.123456Z"), "2026-01-05 22:14:01");
        let spans = [5, 65, 3_700, 90_000].map(span);
        assert_eq!(spans, ["5 s", "1 min 5 s", "1 h 1 min", "1 d 1 h"]);
    }
}
