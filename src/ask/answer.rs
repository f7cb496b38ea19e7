//! How answers are written: a table for people, JSON, JSON Lines, CSV.

use jiff::tz::TimeZone;

use super::{
    Asked,
    table::{csv, table_told_apart},
};
use crate::{archive::Cursor, engine::words::words};

words! {
    /// How an answer is written.
    pub enum Format {
        /// A table for people.
        Text = "text",
        /// One JSON document.
        Json = "json",
        /// One JSON object a line: the rows as they are in the chain, where rows are asked for.
        Jsonl = "jsonl",
        /// Comma-separated values with a line of names.
        Csv = "csv",
    }
}

/// What every answer can be written as.
pub trait Answer: Send {
    /// One JSON document.
    fn json(&self) -> String;

    /// Its parts, each as a JSON object.
    fn items(&self) -> Vec<String>;

    /// Whether it has no parts.
    fn is_empty(&self) -> bool {
        self.items().is_empty()
    }

    /// The names of the columns of its table.
    fn columns(&self) -> &'static [&'static str];

    /// The lines of its table. People are shown its column `cluster` where there are several. Lines for people may say more in the last column than those of CSV.
    fn cells(&self, zone: &TimeZone, format: Format) -> Vec<Vec<String>>;

    /// What people are shown in the place of a table alone.
    fn text(&self, _zone: &TimeZone) -> Option<String> {
        None
    }

    /// What a table says that has no lines.
    fn if_empty(&self) -> &'static str;

    /// Whether its rows may be roll-ups, which come when their time is over.
    fn has_roll_ups(&self) -> bool {
        false
    }

    /// Where the next page begins, if there is one.
    fn next(&self) -> Option<Cursor> {
        None
    }
}

/// What is said besides where there is nothing in a time that may have roll-ups still.
const MAY_COME: &str = "requests that are rolled up come when their time is over, with the shipped rules at the end of \
                        the hour: what was done since then may be missing";

/// An answer in a format.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// The text of it.
    pub text: String,
    /// Where the next page begins.
    pub next: Option<Cursor>,
    /// How many parts it has.
    pub count: usize,
}

/// Writes an answer. What else there is to say of it stands in its JSON; in other formats there is no place for it.
pub fn write(asked: &Asked, format: Format, warnings: &[String]) -> Written {
    let (answer, zone) = (&asked.answer, &asked.period.zone);
    let items = answer.items();
    let shown = if format == Format::Text { answer.text(zone) } else { None };
    let text = match format {
        Format::Text if shown.is_some() => shown.unwrap_or_default(),
        Format::Text if items.is_empty() && answer.has_roll_ups() && asked.period.is_recent() => {
            format!("{}\n{MAY_COME}\n", answer.if_empty())
        }
        Format::Text if items.is_empty() => format!("{}\n", answer.if_empty()),
        Format::Text => table_told_apart(answer.columns(), &answer.cells(zone, format)),
        Format::Csv => csv(answer.columns(), &answer.cells(zone, format)),
        Format::Jsonl => items.iter().flat_map(|item| [item.as_str(), "\n"]).collect(),
        Format::Json => format!("{}\n", with_warnings(answer.json(), warnings)),
    };
    Written { text, next: answer.next(), count: items.len() }
}

/// Adds warnings, if there are any, to a JSON object.
fn with_warnings(mut json: String, warnings: &[String]) -> String {
    if !warnings.is_empty() && json.ends_with('}') {
        json.pop();
        let comma = if json.ends_with('{') { "" } else { "," };
        json.push_str(&format!("{comma}\"warnings\":{}}}", json_of(&warnings)));
    }
    json
}

/// Makes the JSON of an answer, and of its parts.
pub(super) fn json_of(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).expect("an answer is made of texts and numbers")
}
