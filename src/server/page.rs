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

/// Alerts shown; the API has them all.
const ALERTS_SHOWN: usize = 100;

const STYLE: &str = "
:root { color-scheme: light dark }
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 70rem; padding: 0 1rem }
h1 { font-size: 1.4rem } h2 { font-size: 1.1rem; margin-top: 2rem }
table { border-collapse: collapse; width: 100% }
th, td { text-align: left; padding: .3rem .8rem .3rem 0; border-bottom: 1px solid #8884; vertical-align: top }
td { overflow-wrap: anywhere } .n { text-align: right; font-variant-numeric: tabular-nums }
.ok { color: #18794e } .degraded, .starting, .medium { color: #ad5700 }
.down, .failed, .high, .critical { color: #c62a2f; font-weight: 600 }
pre { background: #8881; padding: .8rem; overflow-x: auto } .quiet { opacity: .7 }
";

pub(super) async fn show(State(context): State<ServerContext>) -> Response {
    let inner = context.status.read();
    Html(page(&inner, context.status.started_at().rfc3339().as_str())).into_response()
}

fn page(inner: &Inner, started_at: &str) -> String {
    let mut html = format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta http-equiv=\"refresh\" content=\"10\">\
         <meta name=\"viewport\" content=\"width=device-width\">\
         <title>Tripline</title><style>{STYLE}</style></head><body><h1>Tripline {}</h1>\
         <p class=\"quiet\">Running since {}. <a href=\"metrics\">metrics</a> \
         <a href=\"readyz\">readyz</a> <a href=\"api/v1/alerts\">alerts</a> \
         <a href=\"api/v1/rules\">rules</a> <a href=\"api/v1/status\">status</a></p>",
        env!("CARGO_PKG_VERSION"),
        escape(started_at),
    );
    components(&mut html, inner);
    alerts(&mut html, inner);
    rules(&mut html, inner);
    partitions(&mut html, inner);
    html.push_str("</body></html>");
    html
}

fn components(html: &mut String, inner: &Inner) {
    html.push_str("<h2>Health</h2><table><tr><th>part<th>state<th>since<th>why</tr>");
    for (name, component) in &inner.components {
        let (health, since) = (component.health, component.since);
        let (name, detail) = (escape(name), escape(&component.detail));
        let _ = write!(
            html,
            "<tr><td>{name}<td class=\"{health}\">{health}<td>{since}<td>{detail}</tr>"
        );
    }
    html.push_str("</table>");
}

fn alerts(html: &mut String, inner: &Inner) {
    let _ = write!(html, "<h2>Alerts firing: {}</h2>", inner.alerts.len());
    if inner.alerts.is_empty() {
        return;
    }
    html.push_str("<table><tr><th>severity<th>rule<th>key<th>value<th>since<th>last seen</tr>");
    for alert in sorted_alerts(inner).into_iter().take(ALERTS_SHOWN) {
        let key: Vec<String> =
            alert.key.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let severity = alert.severity.as_str();
        let _ = write!(
            html,
            "<tr><td class=\"{severity}\">{severity}<td>{}<td>{}<td>{} <span class=\"quiet\">{}</span><td>{}<td>{}</tr>",
            escape(&alert.rule_title),
            escape(&key.join(", ")),
            alert.value,
            escape(&alert.threshold),
            alert.starts_at,
            alert.last_seen,
        );
    }
    html.push_str("</table>");
    if inner.alerts.len() > ALERTS_SHOWN {
        let _ = write!(html, "<p class=\"quiet\">{} more.</p>", inner.alerts.len() - ALERTS_SHOWN);
    }
}

fn rules(html: &mut String, inner: &Inner) {
    let count = inner.rules.rules.len();
    let version = escape(&inner.rules.version);
    let _ = write!(html, "<h2>Rules: {count}</h2><p class=\"quiet\">Version {version}");
    if let Some(reload) = &inner.reload {
        let word = if reload.problems.is_some() { "failed" } else { "succeeded" };
        let _ = write!(html, ", last load {word} at {}", reload.at);
    }
    html.push_str("</p>");
    if let Some(problems) = inner.reload.as_ref().and_then(|reload| reload.problems.as_ref()) {
        let _ = write!(html, "<pre class=\"failed\">{}</pre>", escape(problems));
    }
}

fn partitions(html: &mut String, inner: &Inner) {
    html.push_str("<h2>Source</h2>");
    if let Some(watermark) = inner.watermark {
        let behind = now().since(watermark.as_wall()).as_secs();
        let _ = write!(html, "<p>Watermark {watermark}, {behind} s behind the clock.</p>");
    }
    html.push_str("<table><tr><th>partition<th class=\"n\">next offset<th class=\"n\">lag</tr>");
    let number = |value: Option<i64>| value.map_or_else(|| "–".to_owned(), |n| n.to_string());
    for (name, partition) in &inner.partitions {
        let (offset, lag) = (number(partition.next_offset), number(partition.lag));
        let name = escape(&name.to_string());
        let _ = write!(html, "<tr><td>{name}<td class=\"n\">{offset}<td class=\"n\">{lag}</tr>");
    }
    html.push_str("</table>");
}

/// Text for HTML, in elements and in quoted attributes.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
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
