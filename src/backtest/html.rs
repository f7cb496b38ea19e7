//! The report as one HTML page that needs nothing else: no script, no font, no network.

use std::fmt::Write as _;

use super::{
    difference::{Difference, RuleChange, RuleDifference},
    report::{BINS, Report, RuleReport, number, rate_text, short, span_text},
    text::change_of,
};
use crate::engine::diagnostic::printable;

const STYLE: &str = "\
:root{color-scheme:light dark;--text:#1b1f24;--quiet:#59636e;--page:#fff;--card:#f6f8fa;--line:#d8dee4;\
--bar:#316dca;--critical:#a40e26;--high:#bc4c00;--medium:#8a5a00;--low:#4a5560;--bad:#fff1f0}\
@media(prefers-color-scheme:dark){:root{--text:#d1d7e0;--quiet:#9198a1;--page:#1a1f26;--card:#232a33;\
--line:#3d444d;--bar:#6cb0ff;--critical:#ff938a;--high:#f0883e;--medium:#daaa3f;--low:#9aa5b1;--bad:#3d2327}}\
body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:76rem;padding:0 1.25rem;\
color:var(--text);background:var(--page)}h1{font-size:1.5rem;margin:0}h2{font-size:1.15rem;margin:2.2rem 0 .6rem}\
.quiet{color:var(--quiet)}.tiles{display:flex;flex-wrap:wrap;gap:.8rem;margin:1.2rem 0}\
.tiles div{background:var(--card);border:1px solid var(--line);border-radius:8px;padding:.5rem 1rem;min-width:7rem}\
.tiles b{display:block;font-size:1.4rem;font-variant-numeric:tabular-nums}.tiles span{color:var(--quiet)}\
.bad{background:var(--bad);border-left:4px solid var(--critical);padding:.5rem 1rem;margin:1rem 0;\
overflow-wrap:anywhere;white-space:pre-line}.wide{overflow-x:auto}table{border-collapse:collapse;width:100%}\
th,td{text-align:left;padding:.45rem .9rem .45rem 0;border-bottom:1px solid var(--line);vertical-align:top}\
th{color:var(--quiet);font-weight:500;white-space:nowrap}.n{text-align:right;font-variant-numeric:tabular-nums;\
white-space:nowrap}code{font:13px/1.45 ui-monospace,monospace;overflow-wrap:anywhere}\
.keys{display:grid;grid-template-columns:max-content 1fr;gap:0 .6rem;min-width:16rem}\
.critical{color:var(--critical);font-weight:600}.high{color:var(--high);font-weight:600}\
.medium{color:var(--medium)}.low,.informational{color:var(--low)}\
svg{display:block;width:100%}svg rect{fill:var(--bar)}svg.small{width:11rem;height:2rem;border-bottom:1px solid var(--line)}svg.large{height:7rem}\
.plot{background:var(--card);border:1px solid var(--line);border-radius:8px;padding:.8rem 1rem .4rem}\
.axis{display:flex;justify-content:space-between;color:var(--quiet);font-size:13px;border-top:1px solid var(--line);\
margin-top:2px;padding-top:2px}summary{cursor:pointer}";

/// The page.
pub fn page(report: &Report, difference: Option<&Difference>) -> String {
    let mut body = head(report);
    body += &doubts(report);
    if let Some((from, to)) = report.from.zip(report.to)
        && report.alerts > 0
    {
        let most = report.over_time.iter().max().copied().unwrap_or(0);
        let _ = write!(
            body,
            "<h2>Alerts over time</h2><div class=plot>{}<div class=axis><span>{}</span><span>at most {} in \
             {}</span><span>{}</span></div></div>",
            plot(&report.over_time, "large"),
            short(from),
            number(most),
            span_text(report.days / f64::from(u32::try_from(BINS).unwrap_or(1))),
            short(to),
        );
        body += &table(report);
    }
    body += &silent(report);
    if let Some(difference) = difference {
        body += &against(difference);
    }
    format!(
        "<!doctype html><html lang=en><head><meta charset=utf-8><meta name=viewport \
         content=\"width=device-width\"><title>Tripline backtest</title><style>{STYLE}</style></head>\
         <body>{body}</body></html>\n"
    )
}

fn head(report: &Report) -> String {
    let range = report.from.zip(report.to).map_or_else(
        || "no events".to_owned(),
        |(from, to)| format!("{} to {}", short(from), short(to)),
    );
    let tiles = [
        (number(report.alerts), "alerts"),
        (rate_text(report.alerts_per_day), "alerts a day"),
        (span_text(report.days), "of history"),
        (number(report.events), "events"),
        (number(report.events_canonical), "requests"),
        (number(report.loud().count() as u64), "rules that fired"),
    ];
    let mut out = format!("<h1>Backtest</h1><div class=quiet>{range}</div><div class=tiles>");
    for (value, name) in tiles {
        let _ = write!(out, "<div><b>{value}</b><span>{name}</span></div>");
    }
    out += "</div>";
    out
}

/// Why the numbers may not be what they should be.
fn doubts(report: &Report) -> String {
    let mut out = String::new();
    let mut say = |text: &str| {
        let _ = write!(out, "<div class=bad>{}</div>", escape(text));
    };
    if report.is_interrupted {
        say("Interrupted: this is what was found until then.");
    }
    for problem in &report.problems {
        say(&format!("Incomplete: {problem}"));
    }
    let letters = report.dead_letters.iter().map(|(reason, letters)| {
        let (count, first, detail) = (number(letters.count), &letters.first, &letters.detail);
        format!("{count} {reason}, first at {first}: {detail}")
    });
    let letters: Vec<String> = letters.collect();
    if !letters.is_empty() {
        say(&format!("Not decoded:\n{}", letters.join("\n")));
    }
    for doubt in report.intake_doubts() {
        say(&doubt);
    }
    if report.events_late > 0 {
        let late = number(report.events_late);
        say(&format!("{late} events that matched came late; windows may have missed them."));
    }
    if report.events_from_future > 0 {
        let future = number(report.events_from_future);
        say(&format!("{future} events are later than the clock of the machine that made this."));
    }
    out
}

fn table(report: &Report) -> String {
    let mut out = "<h2>By rule</h2><div class=wide><table><thead><tr><th>Severity<th>Rule\
                   <th class=n>Alerts<th class=n>A day<th>Over time<th>Keys with the most</tr></thead>\
                   <tbody>"
        .to_owned();
    for rule in report.loud() {
        out += &row(rule);
    }
    out += "</tbody></table></div>";
    out
}

fn row(rule: &RuleReport) -> String {
    let mut keys = String::new();
    for key in rule.top_keys.iter().filter(|key| !key.key.is_empty()) {
        let (alerts, key) = (number(key.alerts), escape(&key.key));
        let _ = write!(keys, "<span class=n>{alerts}</span><code>{key}</code>");
    }
    let more = rule.keys.saturating_sub(rule.top_keys.len());
    if more > 0 {
        let more = number(more as u64);
        let _ = write!(keys, "<span></span><span class=quiet>and {more} more keys</span>");
    }
    format!(
        "<tr><td class={severity}>{severity}<td>{}<br><code class=quiet>{}</code><td class=n>{}\
         <td class=n>{}<td>{}<td><div class=keys>{keys}</div></tr>",
        escape(&rule.title),
        escape(&rule.name),
        number(rule.alerts),
        rate_text(rule.alerts_per_day),
        plot(&rule.over_time, "small"),
        severity = rule.severity.as_str(),
    )
}

fn silent(report: &Report) -> String {
    let silent: Vec<String> = report
        .rules
        .iter()
        .filter(|rule| rule.alerts == 0)
        .map(|rule| {
            format!("<li>{} <code class=quiet>{}</code>", escape(&rule.title), escape(&rule.name))
        })
        .collect();
    if silent.is_empty() {
        return String::new();
    }
    format!(
        "<h2>Silent</h2><details><summary>{} of {} rules said nothing</summary><ul>{}</ul></details>",
        silent.len(),
        report.rules.len(),
        silent.concat()
    )
}

fn against(difference: &Difference) -> String {
    let mut out = format!(
        "<h2>Against the other rules</h2><p>{} alerts before, {} now; {} rules say the same.</p>",
        number(difference.alerts_before),
        number(difference.alerts_now),
        difference.rules_unchanged
    );
    if difference.rules.is_empty() {
        return out;
    }
    out += "<div class=wide><table><thead><tr><th>Change<th>Rule<th class=n>Before<th class=n>Now\
            <th>Keys that changed most</tr></thead><tbody>";
    for rule in &difference.rules {
        out += &changed_row(rule);
    }
    out += "</tbody></table></div>";
    out
}

fn changed_row(rule: &RuleDifference) -> String {
    let word = match rule.change {
        RuleChange::New => "new",
        RuleChange::Gone => "gone",
        RuleChange::Changed => "changed",
    };
    let severity = match (rule.severity_before, rule.severity_now) {
        (Some(before), Some(now)) if before != now => format!(
            "<br><span class={before}>{before}</span> → <span class={now}>{now}</span>",
            before = before.as_str(),
            now = now.as_str()
        ),
        _ => String::new(),
    };
    let mut keys = String::new();
    for key in &rule.keys {
        let name = escape(&key.key);
        let _ = write!(keys, "<span class=n>{}</span><code>{name}</code>", change_of(key));
    }
    let more = rule.keys_changed - rule.keys.len();
    if more > 0 {
        let more = number(more as u64);
        let _ = write!(keys, "<span></span><span class=quiet>and {more} more keys</span>");
    }
    format!(
        "<tr><td>{word}<td>{}<br><code class=quiet>{}</code>{severity}<td class=n>{}<td class=n>{}<td>\
         <div class=keys>{keys}</div></tr>",
        escape(&rule.title),
        escape(&rule.name),
        number(rule.alerts_before),
        number(rule.alerts_now),
    )
}

/// Bars, one for each stretch of time.
fn plot(counts: &[u64], class: &str) -> String {
    const WIDTH: usize = 10;
    const HEIGHT: u64 = 100;
    /// A single alert beside a thousand can still be seen.
    const LEAST: u64 = 5;
    let most = counts.iter().max().copied().unwrap_or(0).max(1);
    let mut bars = String::new();
    for (index, count) in counts.iter().enumerate().filter(|(_, count)| **count > 0) {
        let height = (count * HEIGHT).div_ceil(most).max(LEAST);
        let (x, y) = (index * WIDTH, HEIGHT - height);
        let _ =
            write!(bars, "<rect x={x} y={y} width=8 height={height}><title>{count}</title></rect>");
    }
    let width = counts.len() * WIDTH;
    format!(
        "<svg class={class} viewBox=\"0 0 {width} {HEIGHT}\" preserveAspectRatio=none role=img \
         aria-label=\"alerts over time\">{bars}</svg>"
    )
}

fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let lines: Vec<_> = text.split('\n').map(printable).collect();
    for c in lines.join("\n").chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
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
        assert_eq!(escape("<script>&\"'\u{1b}"), "&lt;script&gt;&amp;&quot;&#39;\\u{1b}");
    }

    #[test]
    fn every_alert_can_be_seen_in_a_plot() {
        let plot = plot(&[0, 1, 1000], "small");
        assert_eq!(plot.matches("<rect").count(), 2);
        assert!(plot.contains("height=5>"), "{plot}");
    }
}
