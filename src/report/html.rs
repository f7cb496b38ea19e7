//! A report as HTML: one file that needs nothing else, for a screen and for A4.

use askama::Template;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use sha2::{Digest as _, Sha256};

use super::model::{Cell, Report};
use crate::engine::text::thousands;

/// The one style sheet of reports; the page's policy allows it by its hash and nothing else.
const STYLE: &str = include_str!("../html/report.css");

#[derive(Template)]
#[template(path = "report.html", config = "src/html/askama.toml")]
struct Page<'a> {
    report: &'a Report,
    style: &'static str,
    policy: String,
}

/// The report as a page.
///
/// # Errors
/// None that is known: templates are checked when they are compiled.
pub fn render(report: &Report) -> Result<String, askama::Error> {
    let hash = STANDARD.encode(Sha256::digest(STYLE.as_bytes()));
    let policy = format!("default-src 'none'; style-src 'sha256-{hash}'; base-uri 'none'; form-action 'none'");
    Page { report, style: STYLE, policy }.render()
}

/// What a cell says.
fn shown(cell: &Cell) -> String {
    match cell {
        Cell::Text(text) => text.clone(),
        Cell::Number(number, _) => thousands(*number),
        Cell::Blank => String::new(),
        Cell::Nothing | Cell::NotObserved | Cell::NotApplicable => cell.word().unwrap_or("").to_owned(),
    }
}

/// How it looks.
const fn class(cell: &Cell) -> &'static str {
    match cell {
        Cell::Text(_) => "words",
        Cell::Number(..) => "n",
        Cell::Blank => "blank",
        Cell::NotObserved => "unseen",
        Cell::Nothing | Cell::NotApplicable => "quiet",
    }
}

/// The command that shows what was counted.
fn query(cell: &Cell) -> &str {
    match cell {
        Cell::Number(_, query) => query,
        _ => "",
    }
}
