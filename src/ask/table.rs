//! How rows are shown: tables that fit, and CSV.

use jiff::tz::TimeZone;

use super::shown_time;
use crate::engine::{
    access::{Access, Usage, kubectl_line, shown_actor},
    ledger::{Content, Entry, EntryKind, Row},
    text::{number, one_line, printable},
};

/// Characters of a cell of a table; what is longer is cut, with `…` at its end.
const CELL_CHARS_MAX: usize = 60;

/// What stands between two columns of a table.
pub(super) const GAP: &str = "  ";

/// A table: a row of names, and rows of cells. The last column is not cut.
pub fn table(names: &[&str], rows: &[Vec<String>]) -> String {
    let cell = |text: &str, is_last: bool| {
        if is_last { printable(text).into_owned() } else { one_line(text, CELL_CHARS_MAX) }
    };
    let last = names.len().saturating_sub(1);
    let cells: Vec<Vec<String>> = rows
        .iter()
        .map(|row| row.iter().enumerate().map(|(at, text)| cell(text, at == last)).collect())
        .collect();
    let width = |at: usize| {
        let of_cells = cells.iter().filter_map(|row| row.get(at)).map(|text| text.chars().count());
        of_cells.chain(names.get(at).map(|name| name.chars().count())).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..names.len()).map(width).collect();
    let line = |texts: Vec<&str>| {
        let padded = texts.iter().zip(&widths).map(|(text, width)| format!("{text:width$}"));
        let line: Vec<String> = padded.collect();
        format!("{}\n", line.join(GAP).trim_end())
    };
    let mut text = line(names.to_vec());
    for row in &cells {
        text.push_str(&line(row.iter().map(String::as_str).collect()));
    }
    text
}

/// A table without the column of clusters, if what it shows is all of one, or nobody knows of which.
pub fn table_told_apart(names: &[&str], rows: &[Vec<String>]) -> String {
    let Some(place) = names.iter().position(|name| *name == CLUSTER) else {
        return table(names, rows);
    };
    let of_first = rows.first().and_then(|row| row.get(place));
    if rows.iter().any(|row| row.get(place) != of_first) {
        return table(names, rows);
    }
    let (mut names, mut rows) = (names.to_vec(), rows.to_vec());
    names.remove(place);
    for row in &mut rows {
        row.remove(place);
    }
    table(&names, &rows)
}

/// CSV as RFC 4180 has it. What would act where it is shown is written out, as in tables, and a cell that a spreadsheet
/// would take for a formula gets an apostrophe.
pub fn csv(names: &[&str], rows: &[Vec<String>]) -> String {
    let line = |cells: Vec<&str>| {
        let cells: Vec<String> = cells.into_iter().map(csv_cell).collect();
        format!("{}\r\n", cells.join(","))
    };
    let mut text = line(names.to_vec());
    for row in rows {
        text.push_str(&line(row.iter().map(String::as_str).collect()));
    }
    text
}

fn csv_cell(text: &str) -> String {
    let text = printable(text);
    let is_formula = text.starts_with(['=', '+', '-', '@']);
    let text = if is_formula { format!("'{text}") } else { text.into_owned() };
    if text.contains(['"', ',']) || text.starts_with(' ') || text.ends_with(' ') {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text
    }
}

/// Columns of a timeline.
pub const COLUMNS: [&str; 9] =
    ["time", "actor", "from", "outcome", "permission", "class", "count", CLUSTER, "what"];

/// The column that says in which cluster something was.
pub(super) const CLUSTER: &str = "cluster";

/// A row of a timeline.
pub fn cells(row: &Row, zone: &TimeZone) -> Vec<String> {
    match &row.content {
        Content::Access(access) => access_cells(row, access, zone),
        Content::Entry(entry) => entry_cells(row, entry, zone),
        Content::Usage(usage) => usage_cells(row, usage, zone),
    }
}

fn access_cells(row: &Row, access: &Access, zone: &TimeZone) -> Vec<String> {
    let actor = shown_actor(access.actor.id.as_deref(), access.on_behalf_of.as_deref());
    let outcome = access.outcome.map_or("", crate::engine::access::Outcome::as_str);
    let code = access.code.map_or_else(String::new, |code| format!(" {code}"));
    let classes: Vec<&str> = access.classes.iter().map(|class| &**class).collect();
    let mut what = kubectl_line(access);
    if access.names_left_out() {
        what.push_str("  [names were left out]");
    }
    if let Some(step) = access.session.filter(|_| access.rolled_up.is_none()) {
        let span = access.duration.map_or_else(String::new, |micros| {
            format!(
                " after {}",
                crate::engine::text::span(std::time::Duration::from_micros(micros))
            )
        });
        what = format!("{what}  [session {}{span}]", step.as_str());
    }
    if let Some(rolled_up) = access.rolled_up.filter(|rolled_up| rolled_up.last > rolled_up.first) {
        what = format!("{what}  [the last at {}]", shown_time(rolled_up.last, zone));
    }
    if access.truncated {
        what.push_str("  [a part of the event is missing]");
    }
    if access.from_future {
        what.push_str("  [its time lies in the future]");
    }
    vec![
        shown_time(row.at(), zone),
        actor,
        access.source_ip.as_deref().unwrap_or("").to_owned(),
        format!("{outcome}{code}"),
        access.permission.as_ref().map_or_else(String::new, ToString::to_string),
        classes.join(","),
        access.count().to_string(),
        access.cluster.as_deref().unwrap_or("").to_owned(),
        what,
    ]
}

fn usage_cells(row: &Row, usage: &Usage, zone: &TimeZone) -> Vec<String> {
    let actor = shown_actor(usage.actor.id.as_deref(), usage.on_behalf_of.as_deref());
    vec![
        shown_time(row.at(), zone),
        actor,
        String::new(),
        String::new(),
        usage.permission.as_ref().map_or_else(String::new, ToString::to_string),
        "usage".to_owned(),
        String::new(),
        usage.cluster.as_deref().unwrap_or("").to_owned(),
        usage.to_string(),
    ]
}

fn entry_cells(row: &Row, entry: &Entry, zone: &TimeZone) -> Vec<String> {
    let severity = entry.fact_of("severity").unwrap_or("");
    let what = match entry.kind {
        EntryKind::Alert => format!("▲ {} {}", entry.what, entry.detail),
        _ => format!("{} {} {}", entry.what, entry.subject, entry.detail),
    };
    vec![
        shown_time(row.at(), zone),
        entry.party.clone(),
        String::new(),
        severity.to_owned(),
        String::new(),
        entry.kind.as_str().to_owned(),
        String::new(),
        entry.fact_of("key.cluster").unwrap_or("").to_owned(),
        what.trim_end().to_owned(),
    ]
}

/// A number for a cell.
pub fn shown_number(value: u64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "for people")]
    number(value as f64)
}

/// The names of the columns of an export, as CSV.
pub fn csv_head() -> String {
    csv(&COLUMNS, &[])
}

/// A row of an export, as CSV.
pub fn csv_row(row: &Row, zone: &TimeZone) -> String {
    let line = csv(&[], &[cells(row, zone)]);
    line.trim_start().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clusters_have_a_column_where_there_are_several() {
        let row = |cluster: &str| vec![cluster.to_owned(), "x".to_owned()];
        let shown = |rows: &[Vec<String>]| table_told_apart(&[CLUSTER, "what"], rows);
        assert_eq!(shown(&[row("prod"), row("prod")]), "what\nx\nx\n");
        assert_eq!(shown(&[row("prod"), row("")]), "cluster  what\nprod     x\n         x\n");
        assert_eq!(table_told_apart(&["what"], &[vec!["x".to_owned()]]), "what\nx\n");
    }

    #[test]
    fn nothing_in_csv_acts_on_what_shows_it() {
        let cells = ["a\u{1b}[31m\u{7}", "x\u{202e}y", "a\nb", "\t=1", "=1", "a,\"b\""];
        let line = csv(&[], &[cells.map(str::to_owned).to_vec()]);
        let shown = "a\\u{1b}[31m\\u{7},x\\u{202e}y,a\\nb,\\t=1,'=1,\"a,\"\"b\"\"\"\r\n";
        assert_eq!(line.trim_start(), shown);
    }
}
