//! A report as CSV: one row a cell, so that sections with other columns fit into one file.

use super::model::{Cell, Report};

/// Names of the columns.
pub const COLUMNS: [&str; 7] = ["section", "title", "table", "row", "column", "value", "query"];

/// The rows. What is neither number nor text is its word: `none`, `not observed`, `not applicable`.
pub fn rows(report: &Report) -> Vec<Vec<String>> {
    let mut rows = Vec::new();
    let fact = |name: &str, value: &str| {
        ["facts", "", "0", "0", name, value, ""].map(str::to_owned).to_vec()
    };
    rows.extend(report.facts.iter().map(|(name, value)| fact(name, value)));
    rows.extend(report.warnings.iter().map(|warning| fact("warning", warning)));
    for section in &report.sections {
        for (number, table) in section.tables.iter().enumerate() {
            for (at, cells) in table.rows.iter().enumerate() {
                for (column, cell) in table.columns.iter().zip(cells) {
                    rows.push(vec![
                        section.id.clone(),
                        section.title.clone(),
                        number.to_string(),
                        at.to_string(),
                        (*column).to_owned(),
                        value(cell),
                        query(cell).to_owned(),
                    ]);
                }
            }
        }
    }
    rows
}

fn value(cell: &Cell) -> String {
    match cell {
        Cell::Text(text) => text.clone(),
        Cell::Number(number, _) => number.to_string(),
        Cell::Blank => String::new(),
        Cell::Nothing | Cell::NotObserved | Cell::NotApplicable => cell.word().unwrap_or("").to_owned(),
    }
}

fn query(cell: &Cell) -> &str {
    if let Cell::Number(_, query) = cell { query } else { "" }
}
