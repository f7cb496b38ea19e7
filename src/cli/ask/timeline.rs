//! `tripline timeline`: what happened, in the order of time.

use std::process::ExitCode;

use clap::Args;

use super::{
    AskArgs, Asked, Format, Mistake, PAGE_ROWS, answered,
    words::{COLUMNS, cells, csv, table},
};
use crate::{
    archive::{Cursor, Filter},
    cli::{exit, output},
    engine::{
        duration::parse_duration,
        ledger::{EntryKind, Row},
        time::EventTime,
    },
};

/// Show what somebody did, or what was done to something, with alerts between.
///
/// Times are those of the events. Each access has the address it came from, the permission that allowed
/// it, and a line that reads like the kubectl command by which it may have been done.
#[derive(Args, Debug)]
#[command(after_help = "Exit codes:
  0  the answer was printed, be it that there is nothing
  1  the ledger cannot be read
  2  a time, a zone or a name is wrong; the nearest ones are shown

Examples:
  tripline timeline --actor anna@example.org --since 24h
  tripline timeline --resource secrets --name db-password -n payments --since 90d
  tripline timeline --alert 3f9c2b1a… --around 30m
  tripline timeline --source 10.8.1.24 --from '2026-11-29 09:00' --to '2026-11-29 10:00' --zone Europe/Rome
  tripline timeline --actor anna@example.org --format jsonl | jq .object")]
pub(in crate::cli) struct TimelineArgs {
    #[command(flatten)]
    ask: AskArgs,
    /// Who acted, or on whose behalf.
    #[arg(long, value_name = "USER")]
    actor: Option<String>,
    /// To what: `secrets`, `pods`.
    #[arg(long, value_name = "RESOURCE")]
    resource: Option<String>,
    /// To which one.
    #[arg(long, value_name = "NAME", requires = "resource")]
    name: Option<String>,
    /// In which namespace.
    #[arg(long, short = 'n', value_name = "NAMESPACE")]
    namespace: Option<String>,
    /// From which address.
    #[arg(long, value_name = "IP")]
    source: Option<String>,
    /// With which credential.
    #[arg(long, value_name = "ID")]
    credential: Option<String>,
    /// By which permission: `RoleBinding shop/edit`, `system:masters`.
    #[arg(long, value_name = "BINDING")]
    permission: Option<String>,
    /// Of which class.
    #[arg(long, value_name = "CLASS")]
    class: Option<String>,
    /// Around the alert with this fingerprint.
    #[arg(long, value_name = "FINGERPRINT", conflicts_with_all = ["since", "from", "to"])]
    alert: Option<String>,
    /// How long before and after the alert.
    #[arg(long, value_name = "SPAN", default_value = "30m", requires = "alert")]
    around: String,
    /// Rows at most.
    #[arg(long, value_name = "N", default_value_t = PAGE_ROWS)]
    limit: usize,
    /// Go on behind this place, as the page before said it.
    #[arg(long, value_name = "CURSOR")]
    after: Option<String>,
}

pub(in crate::cli) fn execute(args: &TimelineArgs) -> anyhow::Result<ExitCode> {
    answered(run(args))
}

fn run(args: &TimelineArgs) -> anyhow::Result<ExitCode> {
    let mut asked = args.ask.resolve("24h")?;
    for (column, what, text, filter) in [
        ("actor", "actor", &args.actor, Filter::Actor as fn(String) -> Filter),
        ("source", "address", &args.source, Filter::Source),
        ("credential", "credential", &args.credential, Filter::Credential),
        ("permission", "permission", &args.permission, Filter::Permission),
    ] {
        let Some(text) = text else { continue };
        if column != "actor" || asked.check_known("behalf", what, text).is_err() {
            asked.check_known(column, what, text)?;
        }
        asked.filters.push(filter(text.clone()));
    }
    if let Some(resource) = &args.resource {
        let (resource, namespace) = (resource.clone(), args.namespace.clone());
        asked.filters.push(Filter::Object { resource, namespace, name: args.name.clone() });
    } else {
        asked.filters.extend(args.namespace.clone().map(Filter::Namespace));
    }
    asked.filters.extend(args.class.clone().map(Filter::Class));
    if let Some(fingerprint) = &args.alert {
        around(&mut asked, fingerprint, &args.around)?;
    }
    let after = cursor(args.after.as_deref())?;
    let page = asked.page(after, args.limit)?;
    let mut rows = page.rows;
    let is_about_somebody = args.actor.as_ref();
    if let Some(actor) = is_about_somebody {
        let until = page.next.map_or(asked.to, |next| EventTime::from_micros(next.at));
        rows.extend(alerts_of(&asked, actor, after, until)?);
        rows.sort_by_key(Cursor::behind);
    }
    print(&asked, &rows, page.next)?;
    Ok(exit::OK)
}

/// The time around an alert.
fn around(asked: &mut Asked, fingerprint: &str, span: &str) -> anyhow::Result<()> {
    let span = parse_duration(span)
        .ok_or_else(|| Mistake(format!("`{span}` is not a span of time: write 30m or 2h")))?;
    let mut query = asked.query(None, usize::MAX / 2);
    query.filters = vec![Filter::Entries(EntryKind::Alert)];
    (query.from, query.to) = (EventTime::MIN, EventTime::MAX);
    let found = asked.reader.page(&query)?.rows;
    let of_it =
        |row: &&Row| row.entry().is_some_and(|entry| entry.subject.starts_with(fingerprint));
    let times: Vec<EventTime> = found.iter().filter(of_it).map(Row::at).collect();
    let (Some(first), Some(last)) = (times.first(), times.last()) else {
        let what = format!("the ledger has no alert with the fingerprint `{fingerprint}`");
        return Err(Mistake(what).into());
    };
    (asked.from, asked.to) = (first.minus(span), last.plus(span));
    Ok(())
}

/// Changes of alerts about somebody.
fn alerts_of(
    asked: &Asked,
    actor: &str,
    after: Option<Cursor>,
    until: EventTime,
) -> anyhow::Result<Vec<Row>> {
    let mut query = asked.query(after, usize::MAX / 2);
    query.filters = vec![Filter::Entries(EntryKind::Alert)];
    query.to = until;
    let is_about = |row: &Row| {
        row.entry().is_some_and(|entry| {
            entry.facts.iter().any(|(name, value)| name.starts_with("key.") && value == actor)
        })
    };
    Ok(asked.reader.page(&query)?.rows.into_iter().filter(is_about).collect())
}

pub(super) fn cursor(text: Option<&str>) -> anyhow::Result<Option<Cursor>> {
    let Some(text) = text else { return Ok(None) };
    let cursor = Cursor::parse(text);
    if cursor.is_none() {
        return Err(
            Mistake(format!("`{text}` is no cursor: take the one that a page ends with")).into()
        );
    }
    Ok(cursor)
}

/// Rows in the format that was asked for.
pub(super) fn print(asked: &Asked, rows: &[Row], next: Option<Cursor>) -> anyhow::Result<()> {
    let cells: Vec<Vec<String>> = rows.iter().map(|row| cells(row, &asked.zone)).collect();
    match asked.format {
        Format::Text if rows.is_empty() => {
            output::print_all("nothing in this time; `tripline coverage` says what was seen\n")?;
        }
        Format::Text => output::print_all(&table(&COLUMNS, &cells))?,
        Format::Csv => output::print_all(&csv(&COLUMNS, &cells))?,
        Format::Jsonl => {
            let lines: String = rows.iter().map(|row| row.line() + "\n").collect();
            output::print_all(&lines)?;
        }
        Format::Json => {
            let lines: Vec<String> = rows.iter().map(Row::line).collect();
            let next = next.map_or("null".to_owned(), |next| format!("\"{next}\""));
            output::print_all(&format!("{{\"rows\":[{}],\"next\":{next}}}\n", lines.join(",")))?;
        }
    }
    if let Some(next) = next
        && asked.format != Format::Json
    {
        output::tell(&format!("there is more: --after {next}"));
    }
    Ok(())
}
