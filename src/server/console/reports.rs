//! `/reports`: which there are, for the period of the page: as files for auditors, and as the command of each.

use std::sync::Arc;

use askama::Template;
use axum::{Extension, http::Uri, response::Response};

use super::{
    super::{
        caller::{Caller, Right},
        reports::frameworks,
    },
    asked::Asked,
    frame::{Frame, refuse, show},
    link::Link,
    view::View,
};
use crate::ask::Parameter;

/// How a report can be had: a word, and what it is good for.
const FORMATS: [(&str, &str); 3] = [("html", "a page to print"), ("json", "JSON"), ("csv", "CSV")];

const PARAMETERS: &[Parameter] =
    &[Parameter::text("fingerprint", "Of which alert a report is wanted, or how that begins.")];

/// A report.
struct Line {
    title: String,
    about: String,
    command: String,
    files: Vec<(&'static str, Link)>,
}

#[derive(Template)]
#[template(path = "console/reports.html", config = "src/html/askama.toml")]
struct ReportsPage {
    frame: Frame,
    lines: Vec<Line>,
    /// Who asks may have the files.
    may: bool,
    fingerprint: String,
    /// Why there is nothing on frameworks.
    problem: Option<String>,
}

/// The reports.
pub(in crate::server) async fn page(
    context: View,
    Extension(caller): Extension<Caller>,
    uri: Uri,
) -> Response {
    let asked = match Asked::read(&uri, &[PARAMETERS], "30d") {
        Ok(asked) => asked,
        Err(mistake) => return refuse(&context, uri.path(), mistake),
    };
    let fingerprint = asked.get("fingerprint").unwrap_or_default().trim().to_owned();
    let rules = Arc::clone(&context.status.read().rules);
    let (frameworks, problem) = match frameworks(&rules) {
        Ok(frameworks) => (frameworks, None),
        Err(why) => (Vec::new(), Some(why)),
    };
    let mut lines = vec![
        line(
            &asked,
            ("access", &[]),
            "Access",
            "Who did what, from where, by which permission; a line for each person to judge and sign.",
        ),
        line(
            &asked,
            ("alerts", &[]),
            "Alerts",
            "By rule and severity; how long until people were told and took them; verdicts, silences, what was \
             not delivered.",
        ),
    ];
    lines.extend(frameworks.iter().map(|framework| {
        let title = format!("{} {}", framework.title, framework.version);
        let about = "Evidence for each of its controls; it never says that one is met.";
        line(&asked, ("compliance", &[("framework", &framework.id)]), &title, about)
    }));
    if !fingerprint.is_empty() {
        let about = "The facts of one alert with their times, and what may be due when.";
        lines.push(line(&asked, ("incident", &[("fingerprint", &fingerprint)]), "Incident", about));
    }
    let page = ReportsPage {
        lines,
        may: caller.may(Right::Report),
        fingerprint,
        problem,
        frame: Frame::new(&context, asked, "/reports", "Reports"),
    };
    show(&page)
}

/// A report of the period of the page.
fn line(asked: &Asked, (kind, more): (&str, &[(&str, &str)]), title: &str, about: &str) -> Line {
    let mut command = format!("tripline report {kind}");
    for (name, value) in more {
        // A fingerprint is no option; what is no word is quoted for a shell.
        let value = format!("'{}'", value.replace('\'', "'\\''"));
        let option = if *name == "fingerprint" { String::new() } else { format!("--{name} ") };
        command.push_str(&format!(" {option}{value}"));
    }
    // The times stand in the addresses, so that each format tells of the same.
    let (from, to) = (asked.from.rfc3339(), asked.to.rfc3339());
    command
        .push_str(&format!(" --from {from} --to {to} --zone {} -o {kind}.html", asked.zone_name));
    let file = |(format, words): (&str, &'static str)| {
        let mut link = asked.link(&format!("/api/v1/reports/{kind}"));
        for (name, value) in more {
            link = link.with(name, value);
        }
        (words, link.with("from", &from).with("to", &to).with("format", format))
    };
    Line {
        title: title.to_owned(),
        about: about.to_owned(),
        command,
        files: FORMATS.into_iter().map(file).collect(),
    }
}
