//! What a report is made of, whatever it is written as.

use crate::engine::words::words;

words! {
    /// Which report.
    pub enum ReportKind {
        /// Who did what, by which permission; a line for each to sign.
        Access = "access",
        /// Alerts by rule and severity, and what became of them.
        Alerts = "alerts",
        /// Evidence for each control of a framework.
        Compliance = "compliance",
        /// One alert: facts with their times, and what is due when.
        Incident = "incident",
    }
}

/// A report: what it is about, what must be known first, and its sections.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Which one.
    pub kind: ReportKind,
    /// For people.
    pub title: String,
    /// Period, zone, clusters, range of the ledger, hash of its head …, by name and in order.
    pub facts: Vec<(&'static str, String)>,
    /// What a reader must know before anything else: a month that does not hold, hours that nobody saw.
    pub warnings: Vec<String>,
    /// Its parts.
    pub sections: Vec<Section>,
    /// What audit logs cannot show, and what this report leaves out.
    pub limits: Vec<String>,
}

impl Report {
    /// Rows of all of its tables.
    pub fn rows(&self) -> usize {
        self.sections.iter().flat_map(|section| &section.tables).map(|table| table.rows.len()).sum()
    }
}

/// One part of a report.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Section {
    /// For links, and for files: `people`, `10.2.1.4`.
    pub id: String,
    /// For people.
    pub title: String,
    /// What the tables show, and what they do not.
    pub notes: Vec<String>,
    /// What is shown.
    pub tables: Vec<Table>,
}

/// One table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Table {
    /// Names of its columns.
    pub columns: Vec<&'static str>,
    /// Its rows, each as long as `columns`.
    pub rows: Vec<Vec<Cell>>,
    /// Rows that are not shown, since there are too many.
    pub left_out: u64,
    /// What to say where there are no rows.
    pub empty: Cell,
}

/// One cell.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Cell {
    /// A text.
    Text(String),
    /// A number, and the command that shows what was counted; empty if no command shows just that.
    Number(u64, String),
    /// There is none: everything of the period was seen.
    #[default]
    Nothing,
    /// None was seen, but not all of the period was.
    NotObserved,
    /// It makes no sense here.
    NotApplicable,
    /// To be filled in by hand.
    Blank,
}

impl Cell {
    /// A text.
    pub fn text(text: impl Into<String>) -> Cell {
        Cell::Text(text.into())
    }

    /// A number that no command shows alone.
    pub const fn number(number: u64) -> Cell {
        Cell::Number(number, String::new())
    }

    /// As a word, where it is neither text nor number.
    pub const fn word(&self) -> Option<&'static str> {
        match self {
            Cell::Nothing => Some("none"),
            Cell::NotObserved => Some("not observed"),
            Cell::NotApplicable => Some("not applicable"),
            Cell::Text(_) | Cell::Number(..) | Cell::Blank => None,
        }
    }
}

/// How much of the period was seen: decides what a zero means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sight {
    /// All of it: a zero is `none`.
    Complete,
    /// Not all of it: a zero is `not observed`.
    Partial,
}

impl Sight {
    /// What a zero is.
    pub const fn zero(self) -> Cell {
        match self {
            Sight::Complete => Cell::Nothing,
            Sight::Partial => Cell::NotObserved,
        }
    }

    /// A number with the command that shows what was counted.
    pub fn count(self, number: u64, query: impl Into<String>) -> Cell {
        if number == 0 { self.zero() } else { Cell::Number(number, query.into()) }
    }
}

impl Table {
    /// An empty table; `empty` is said where it stays so.
    pub fn new<const N: usize>(columns: [&'static str; N], empty: Cell) -> Table {
        Table { columns: columns.to_vec(), rows: Vec::new(), left_out: 0, empty }
    }

    /// Adds a row, unless there are `most` already.
    pub fn push<const N: usize>(&mut self, most: usize, row: [Cell; N]) {
        if self.rows.len() < most {
            self.rows.push(row.to_vec());
        } else {
            self.left_out += 1;
        }
    }
}

impl Section {
    /// A section without tables yet.
    pub fn new(id: impl Into<String>, title: impl Into<String>) -> Section {
        Section { id: id.into(), title: title.into(), notes: Vec::new(), tables: Vec::new() }
    }

    /// With a note.
    #[must_use]
    pub fn note(mut self, note: impl Into<String>) -> Section {
        self.notes.push(note.into());
        self
    }

    /// With a table.
    #[must_use]
    pub fn table(mut self, table: Table) -> Section {
        self.tables.push(table);
        self
    }
}
