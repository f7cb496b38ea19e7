//! `stdout`: a block for people on a terminal, one line of JSON for each alert in a pipe; or two lines
//! for each, for a terminal that many alerts go by on.

use std::{
    io::{self, IsTerminal as _, Write as _},
    sync::Arc,
};

use anstyle::Style;
use jiff::tz::TimeZone;

use super::{
    BuildContext, Notifier, NotifierConfig, NotifierKind, NotifyFuture, Terms, json,
    message::{self, AlertText},
    parse_zone,
};
use crate::engine::{
    alert::{Alert, AlertState, json::AlertJson},
    diagnostic::Diagnostic,
    dispatch::{Address, Notification, Outcome, OutcomeReason},
    rule::Severity,
    text::{
        self,
        paint::{BAD, DOUBTFUL, FAINT, GOOD, NOTE, STRONG, URGENT, paint},
    },
    yaml::{SecretRef, Section},
};

/// Alerts that one notification prints as blocks; of a storm, the rest is counted.
const BLOCKS_MAX: usize = 20;

/// Characters of a title in two lines.
const TITLE_CHARACTERS_MAX: usize = 160;

/// Where `stdout` prints: the process's own standard output, or what takes its place in `demo`.
#[derive(Clone)]
pub struct Printer {
    /// Prints whole lines at once and flushes.
    #[expect(clippy::type_complexity, reason = "one closure, named here once")]
    pub print: Arc<dyn Fn(&str) -> io::Result<()> + Send + Sync>,
    /// Somebody is looking; `format: auto` means text then.
    pub is_terminal: bool,
    /// Colours may be used.
    pub has_colours: bool,
}

/// Prints to standard output.
pub fn print_to_stdout(has_colours: bool) -> Printer {
    Printer {
        print: Arc::new(|text| {
            let mut stdout = io::stdout().lock();
            stdout.write_all(text.as_bytes())?;
            stdout.flush()
        }),
        is_terminal: io::stdout().is_terminal(),
        has_colours,
    }
}

/// The kind.
pub(super) struct Stdout;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Format {
    Auto,
    Text,
    Brief,
    Json,
}

struct StdoutConfig {
    format: Format,
    zone: TimeZone,
}

struct StdoutNotifier {
    printer: Printer,
    format: Format,
    zone: TimeZone,
}

impl NotifierKind for Stdout {
    fn name(&self) -> &'static str {
        "stdout"
    }

    fn summary(&self) -> &'static str {
        "Prints alerts: readable on a terminal, JSON lines in a pipe."
    }

    fn example(&self) -> &'static str {
        "format: auto   # text, brief, json\n"
    }

    fn parse(&self, section: &Section<'_>) -> Option<Box<dyn NotifierConfig>> {
        let words = [
            ("auto", Format::Auto),
            ("text", Format::Text),
            ("brief", Format::Brief),
            ("json", Format::Json),
        ];
        let format = section.one_of("format", &words).unwrap_or(Format::Auto);
        Some(Box::new(StdoutConfig { format, zone: parse_zone(section) }))
    }
}

impl NotifierConfig for StdoutConfig {
    fn terms(&self) -> Terms {
        // Lines are read by programs, and a terminal is not a phone: everything at once.
        Terms::machine()
    }

    fn secrets(&self) -> Vec<SecretRef> {
        Vec::new()
    }

    fn make(&self, context: &BuildContext) -> Result<Arc<dyn Notifier>, Box<Diagnostic>> {
        let printer = context.printer.clone();
        let format = match self.format {
            Format::Auto if printer.is_terminal => Format::Text,
            Format::Auto => Format::Json,
            format => format,
        };
        Ok(Arc::new(StdoutNotifier { printer, format, zone: self.zone.clone() }))
    }
}

impl Notifier for StdoutNotifier {
    fn address(&self) -> Address {
        Address::of(["stdout"])
    }

    fn notify<'a>(&'a self, notification: &'a Notification) -> NotifyFuture<'a> {
        let colours = self.printer.has_colours;
        let text = match self.format {
            Format::Json => json_lines(notification),
            Format::Brief => blocks(notification, &self.zone, colours, lines),
            Format::Auto | Format::Text => blocks(notification, &self.zone, colours, block),
        };
        let print = Arc::clone(&self.printer.print);
        Box::pin(async move {
            // Whoever reads the pipe may take its time; health and other receivers must not wait too.
            let printed = tokio::task::spawn_blocking(move || print(&text)).await;
            match printed.unwrap_or_else(|broken| Err(io::Error::other(broken))) {
                Ok(()) => Outcome::Delivered { receipt: None },
                // Whoever read the pipe is gone for good.
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                    let detail = "standard output is closed".to_owned();
                    Outcome::Rejected { reason: OutcomeReason::Connection, detail }
                }
                Err(error) => {
                    let detail = error.to_string();
                    Outcome::Retry { reason: OutcomeReason::Connection, detail, after: None }
                }
            }
        })
    }
}

fn json_lines(notification: &Notification) -> String {
    let mut text = String::new();
    for alert in &notification.alerts {
        text.push_str(&String::from_utf8_lossy(&json::to_bytes(&AlertJson::new(alert))));
        text.push('\n');
    }
    text
}

/// Writes one alert.
type WriteAlert = fn(&mut String, &Alert, &TimeZone, bool);

/// A block for each alert, those that fire first.
fn blocks(
    notification: &Notification,
    zone: &TimeZone,
    colours: bool,
    write: WriteAlert,
) -> String {
    let mut text = String::new();
    for alert in notification.alerts.iter().take(BLOCKS_MAX) {
        write(&mut text, alert, zone, colours);
    }
    if notification.alerts.len() > BLOCKS_MAX {
        for line in message::digest(notification) {
            text.push_str("  ");
            text.push_str(&line);
            text.push('\n');
        }
        text.push('\n');
    }
    text
}

/// The word for state and severity, and its style.
const fn mark(alert: &Alert) -> (&'static str, Style) {
    match (alert.state, alert.severity) {
        (AlertState::Resolved, _) => ("RESOLVED", GOOD),
        (AlertState::Firing, Severity::Critical) => ("CRITICAL", URGENT),
        (AlertState::Firing, Severity::High) => ("HIGH", BAD),
        (AlertState::Firing, Severity::Medium) => ("MEDIUM", DOUBTFUL),
        (AlertState::Firing, Severity::Low) => ("LOW", NOTE),
        (AlertState::Firing, Severity::Informational) => ("INFO", FAINT),
    }
}

/// Two lines: when, how bad and what; then the rule author's words about who and where.
fn lines(out: &mut String, alert: &Alert, zone: &TimeZone, colours: bool) {
    let said = AlertText::new(alert, zone);
    let (mark, style) = mark(alert);
    let since = alert.ends_at.unwrap_or(alert.starts_at);
    // Most summaries name the key; without one the title does.
    let title = match &said.summary {
        Some(_) => text::one_line(&alert.rule_title, TITLE_CHARACTERS_MAX),
        None => said.title,
    };
    let title = paint(&title, STRONG, colours);
    let mark = paint(&format!(" {mark:<8} "), style, colours);
    out.push_str(&format!("{} {mark} {title}\n", message::time_of_day(since, zone)));
    for line in said.summary.iter().flat_map(|summary| summary.lines()) {
        out.push_str(&format!("{:10}{line}\n", ""));
    }
}

fn block(out: &mut String, alert: &Alert, zone: &TimeZone, colours: bool) {
    let paint = |text: &str, style| paint(text, style, colours);
    let said = AlertText::new(alert, zone);
    let (mark, style) = mark(alert);
    out.push_str(&format!(
        "{} {}\n",
        paint(&format!(" {mark} "), style),
        paint(&said.title, STRONG)
    ));
    for line in said.summary.iter().flat_map(|summary| summary.lines()) {
        out.push_str(&format!("  {line}\n"));
    }
    for (name, value) in &said.facts {
        let mut lines = value.lines();
        let first = lines.next().unwrap_or_default();
        out.push_str(&format!("  {} {first}\n", paint(&format!("{name:<9}"), FAINT)));
        for line in lines {
            out.push_str(&format!("            {line}\n"));
        }
    }
    if let Some(runbook) = &said.runbook {
        out.push_str(&format!("  {} {runbook}\n", paint("Runbook  ", FAINT)));
    }
    if alert.state == AlertState::Firing {
        for line in &said.evidence {
            out.push_str(&paint(&format!("  · {line}\n"), FAINT));
        }
    }
    out.push('\n');
}
