//! The report as one HTML page that needs nothing else: no script, no font, no network.

use super::report::{Difference, Report, RuleReport, short};

const STYLE: &str = "body{font:15px/1.45 system-ui,sans-serif;margin:2rem auto;max-width:72rem;padding:0 1rem;\
color:#1b1f24;background:#fff}table{border-collapse:collapse;width:100%}th,td{text-align:left;padding:.35rem .6rem;\
border-bottom:1px solid #d8dee4;vertical-align:top}td.n{text-align:right;font-variant-numeric:tabular-nums}\
code{font:13px ui-monospace,monospace;word-break:break-all}.critical{color:#a40e26}.high{color:#bc4c00}\
.medium{color:#7d4e00}.low,.informational{color:#57606a}svg rect{fill:#316dca}p.quiet{color:#57606a}\
@media(prefers-color-scheme:dark){body{color:#d1d7e0;background:#212830}th,td{border-color:#3d444d}\
.critical{color:#ff938a}.high{color:#f0883e}.medium{color:#daaa3f}}";

/// The page.
pub fn page(report: &Report, difference: Option<&Difference>) -> String {
    let mut body = format!(
        "<h1>Backtest</h1><p>{} events ({} requests) in {} records, {} to {} ({:.1} days). \
         <strong>{} alerts.</strong></p>",
        report.events,
        report.events_canonical,
        report.records,
        report.from.map_or_else(|| "–".to_owned(), short),
        report.to.map_or_else(|| "–".to_owned(), short),
        report.days,
        report.alerts,
    );
    if !report.dead_letters.is_empty() {
        let reasons: Vec<String> =
            report.dead_letters.iter().map(|(reason, n)| format!("{n} {reason}")).collect();
        body += &format!("<p>Not decoded: {}.</p>", escape(&reasons.join(", ")));
    }
    body += "<table><thead><tr><th>Rule</th><th>Severity</th><th>Alerts</th><th>A day</th>\
             <th>Over time</th><th>Top keys</th></tr></thead><tbody>";
    for rule in report.rules.iter().filter(|rule| rule.alerts > 0) {
        body += &row(rule);
    }
    body += "</tbody></table>";
    let silent: Vec<String> = report
        .rules
        .iter()
        .filter(|rule| rule.alerts == 0)
        .map(|rule| escape(&rule.title))
        .collect();
    if !silent.is_empty() {
        body +=
            &format!("<p class=quiet>Silent rules ({}): {}.</p>", silent.len(), silent.join("; "));
    }
    if let Some(difference) = difference {
        body += &format!(
            "<h2>Against the other rules</h2><p>{} alerts are the same.</p>",
            difference.same
        );
        for rule in &difference.rules {
            body += &format!(
                "<h3><code>{}</code>: {} added, {} removed</h3><ul>",
                escape(&rule.id),
                rule.added,
                rule.removed
            );
            for example in &rule.examples {
                body += &format!("<li><code>{}</code></li>", escape(example));
            }
            body += "</ul>";
        }
    }
    format!(
        "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport \
         content=\"width=device-width\"><title>Tripline backtest</title><style>{STYLE}</style>\
         <body>{body}</body></html>\n"
    )
}

fn row(rule: &RuleReport) -> String {
    let keys: Vec<String> = rule
        .top_keys
        .iter()
        .map(|(key, count)| format!("{count} × <code>{}</code>", escape(key)))
        .collect();
    let more = rule.keys.saturating_sub(rule.top_keys.len());
    let more = if more > 0 { format!("<br>… and {more} more") } else { String::new() };
    format!(
        "<tr><td>{}<br><code>{}</code></td><td class={severity}>{severity}</td><td class=n>{}</td>\
         <td class=n>{:.1}</td><td>{}</td><td>{}{more}</td></tr>",
        escape(&rule.title),
        escape(&rule.id),
        rule.alerts,
        rule.alerts_per_day,
        plot(&rule.over_time),
        keys.join("<br>"),
        severity = rule.severity.as_str(),
    )
}

/// Bars, one a bin.
fn plot(counts: &[u64]) -> String {
    const WIDTH: usize = 4;
    const HEIGHT: u64 = 32;
    let most = counts.iter().max().copied().unwrap_or(0).max(1);
    let mut bars = String::new();
    for (index, count) in counts.iter().enumerate().filter(|(_, count)| **count > 0) {
        let height = (count * HEIGHT).div_ceil(most).max(2);
        let (x, y) = (index * WIDTH, HEIGHT - height);
        bars += &format!("<rect x={x} y={y} width=3 height={height}><title>{count}</title></rect>");
    }
    let width = counts.len() * WIDTH;
    format!(
        "<svg width={width} height={HEIGHT} role=img aria-label=\"alerts over time\">{bars}</svg>"
    )
}

fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c if c.is_control() => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_attacker_wrote_is_not_markup() {
        assert_eq!(escape("<script>&\"'"), "&lt;script&gt;&amp;&quot;&#39;");
    }

    #[test]
    fn every_alert_can_be_seen_in_a_plot() {
        let plot = plot(&[0, 1, 1000]);
        assert_eq!(plot.matches("<rect").count(), 2);
        assert!(plot.contains("height=2>"), "{plot}");
    }
}
