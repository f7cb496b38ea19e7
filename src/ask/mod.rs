//! Questions that people ask of the ledger, answers as data.
//!
//! A question is read from named parameters, the same ones on the command line and in the API; so both make
//! the same mistakes known in the same words, and give the same numbers. Each answer can be written as a
//! table, JSON, JSON Lines and CSV. What adds up is folded in [`crate::engine::access`]; here is which rows
//! are looked at. One file is one question.

mod answer;
pub mod begun;
pub mod coverage;
pub mod deliveries;
mod fold;
pub mod history;
pub mod in_force;
pub mod names;
mod params;
#[cfg(feature = "parquet")]
pub mod parquet;
mod period;
pub mod permissions;
mod resource;
pub mod sessions;
pub mod table;
pub mod timeline;
pub mod visits;
pub mod who_did;

use crate::{
    archive::{ArchiveError, Filter, Query, Reader},
    engine::{
        diagnostic::nearest,
        ledger::Row,
        text::{counted, printable},
        time::EventTime,
    },
};

pub use answer::{Answer, Format, Written, write};
pub use fold::{fold, wrap};
pub use names::check_cluster;
pub use params::{Parameter, ParameterKind, Params};
pub use period::{PERIOD, Period, shown_time, zone_of};
pub use resource::Target;
pub use table::{csv_head, csv_row};

/// Rows of a page unless somebody asks for more: a pager's worth.
pub const PAGE_ROWS: usize = 200;

/// Rows of a page at most: 10,000.
pub const PAGE_ROWS_MAX: usize = 10_000;

/// Rows that a question which adds up looks at: 1,000,000. Beyond it the time must be narrower.
const ROWS_MAX: usize = 1_000_000;

/// Rows that are in memory at once while they are added up.
const ROWS_AT_ONCE: usize = 10_000;

/// Somebody asked for what there is not.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}; {hint}")]
pub struct Mistake {
    /// A word for programs: `unknown_parameter`, `bad_parameter`, `unknown_name`, `too_much`.
    pub code: &'static str,
    /// What is wrong.
    pub message: String,
    /// What to do, or what may have been meant.
    pub hint: String,
}

impl Mistake {
    /// A value that cannot be used.
    pub fn bad(message: impl Into<String>, hint: impl Into<String>) -> Mistake {
        Mistake { code: "bad_parameter", message: message.into(), hint: hint.into() }
    }
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// The question is wrong.
    #[error(transparent)]
    Mistake(#[from] Mistake),
    /// The ledger cannot be read.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
}

/// A kind of question: by which name it is asked, what can be said with it, and who answers.
pub struct QuestionKind {
    /// `timeline`, `who-did`: the command, and the end of the path in the API.
    pub name: &'static str,
    /// What it answers, for people.
    pub about: &'static str,
    /// What can be said with it.
    pub parameters: &'static [&'static [Parameter]],
    /// Reads the question and answers it. The time is the operator's.
    pub ask: fn(&Reader, &Params, EventTime) -> Result<Asked, AskError>,
}

/// An answer, and how its times are shown.
pub struct Asked {
    /// The answer.
    pub answer: Box<dyn Answer>,
    /// Which time it is about.
    pub period: Period,
}

impl QuestionKind {
    /// Whether it shows what people did: who looks is recorded, and needs the right to.
    pub const fn is_personal(&self) -> bool {
        !matches!(self.name.as_bytes(), b"coverage" | b"deliveries" | b"history")
    }

    /// Refuses parameters that it does not have, then asks; with what else there is to say. If there is nothing, names that
    /// nothing has are refused, and it is said what no rule recorded.
    ///
    /// # Errors
    /// The question is wrong, or the ledger cannot be read.
    pub fn answer(
        &self,
        reader: &Reader,
        params: &Params,
        now: EventTime,
    ) -> Result<(Asked, Vec<String>), AskError> {
        params.check(self.parameters)?;
        let asked = (self.ask)(reader, params, now)?;
        let mut warnings = reader.warnings();
        if asked.answer.is_empty() && params.text("after").is_none() {
            names::check(reader, params)?;
            if matches!(self.name, "timeline" | "visits" | "sessions" | "who-did") {
                let question = (params, &asked.period);
                let is_of_sessions = self.name == "sessions";
                warnings.extend(in_force::said_of_nothing(reader, question, is_of_sessions)?);
            }
        }
        Ok((asked, warnings))
    }
}

/// `cluster`: what every question can be limited to.
pub const CLUSTER: &[Parameter] = &[Parameter::text("cluster", "Only of this cluster.")];

/// `limit` and `after`: of questions that are answered page by page.
pub const PAGE: &[Parameter] = &[
    Parameter::of(
        ParameterKind::Number,
        "limit",
        "Rows at most: 200, if it is left out, and up to 10,000.",
    ),
    Parameter::of(
        ParameterKind::Cursor,
        "after",
        "Go on behind this place: `next` of the page before.",
    ),
];

/// The filter of `cluster`, if it is given.
fn of_cluster(params: &Params) -> Option<Filter> {
    params.text("cluster").map(|cluster| Filter::Cluster(cluster.to_owned()))
}

/// Calls back with all rows that are wanted, in the order of time, a bounded number of them in memory.
fn each(reader: &Reader, mut query: Query, mut take: impl FnMut(&Row)) -> Result<(), AskError> {
    query.limit = ROWS_AT_ONCE;
    let mut count = 0;
    loop {
        let page = reader.page(&query)?;
        count += page.rows.len();
        page.rows.iter().for_each(&mut take);
        let Some(next) = page.next else { return Ok(()) };
        if count >= ROWS_MAX {
            let most = counted(ROWS_MAX, "row");
            return Err(Mistake {
                code: "too_much",
                message: format!("there are more than {most}"),
                hint: "ask for a narrower time".to_owned(),
            }
            .into());
        }
        query.after = Some(next);
    }
}

/// All rows of a time that filters let through, for a question that adds up.
fn all_of(filters: Vec<Filter>, period: &Period) -> Query {
    Query { filters, from: period.from, to: period.to, after: None, limit: ROWS_AT_ONCE }
}

/// A text that stands in no row at all is a mistake; says which one may have been meant.
fn check_known(
    reader: &Reader,
    columns: &[&'static str],
    what: &str,
    text: &str,
) -> Result<(), AskError> {
    for column in columns {
        if reader.has_text(column, text)? {
            return Ok(());
        }
    }
    if is_in_spool(reader, text) {
        return Ok(());
    }
    let known: Vec<String> = columns.iter().flat_map(|column| reader.texts(column)).collect();
    let near = nearest(text, known.iter().map(String::as_str));
    let hint = near.map_or_else(
        || "no row of the ledger has it".to_owned(),
        |near| format!("did you mean `{}`?", printable(near)),
    );
    let message = format!("nothing is known of the {what} `{}`", printable(text));
    Err(Mistake { code: "unknown_name", message, hint }.into())
}

/// Whether a text stands in a row that is in no month yet.
fn is_in_spool(reader: &Reader, text: &str) -> bool {
    let quoted = serde_json::to_string(text).unwrap_or_default();
    reader.waiting().any(|row| row.line().contains(&quoted))
}
