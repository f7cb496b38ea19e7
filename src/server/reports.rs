//! `GET /api/v1/reports/KIND`: the reports of the command line, made by the same code, for auditors. One is made at
//! once, in a bounded time, and whoever takes one is recorded.

use std::{collections::BTreeMap, sync::Arc};

use axum::{
    Extension,
    extract::{Path, Query, RawQuery, State},
    http::{StatusCode, header},
    response::{IntoResponse as _, Response},
};

use super::{ServerContext, caller::Caller, problem::Problem, status::now};
use crate::{
    archive::Reader,
    ask::{AskError, CLUSTER, Mistake, PERIOD, Parameter, ParameterKind, Params},
    engine::{
        diagnostic::{DiagnosticLevel, Problems},
        framework::{Framework, read_frameworks},
        rule::RuleSet,
        text::printable,
        time::EventTime,
    },
    report::{
        Made, Order, Report, ReportFormat, ReportKind, Scope, Verifies, Wanted, make,
        shipped_frameworks, write,
    },
};

/// How far back a report looks if nothing is said: 30 days, as on the command line.
const SPAN: &str = "30d";

/// What a report can be asked with, beside its period and cluster.
const OWN: &[Parameter] = &[
    Parameter::of(
        ParameterKind::OneOf(&["html", "json", "csv"]),
        "format",
        "json, csv (a line for each cell), or html: one page that needs nothing else.",
    ),
    Parameter::text("framework", "Of `compliance`: which one, such as pci-dss or soc2."),
    Parameter::text("fingerprint", "Of `incident`: of which alert, or how that begins."),
];

/// All that a report can be asked with.
pub(super) const PARAMETERS: &[&[Parameter]] = &[OWN, CLUSTER, PERIOD];

/// The shipped frameworks, as rules make them: the id and title of each.
pub(super) fn frameworks(rules: &RuleSet) -> Result<Vec<Framework>, String> {
    let problems = Problems::new();
    let frameworks = read_frameworks(&shipped_frameworks(), &rules.classes(), &problems);
    let problems = problems.into_sorted();
    match problems.iter().find(|problem| problem.level == DiagnosticLevel::Error) {
        Some(problem) => Err(problem.one_line()),
        None => Ok(frameworks),
    }
}

/// Makes one.
pub(super) async fn answer(
    State(context): State<ServerContext>,
    Extension(caller): Extension<Caller>,
    Path(kind): Path<String>,
    RawQuery(asked): RawQuery,
    Query(given): Query<BTreeMap<String, String>>,
) -> Response {
    let asked = asked.unwrap_or_default();
    match report(&context, &caller, (&kind, &asked), given).await {
        Ok(answer) => answer,
        Err(problem) => problem.into_response(),
    }
}

async fn report(
    context: &ServerContext,
    caller: &Caller,
    (kind, asked): (&str, &str),
    given: BTreeMap<String, String>,
) -> Result<Response, Problem> {
    let Some(kind) = ReportKind::parse(kind) else {
        let kinds: Vec<&str> = ReportKind::ALL.iter().map(|kind| kind.as_str()).collect();
        let what = format!("there is no report `{}`", printable(kind));
        let hint = format!("there are: {}", kinds.join(", "));
        return Err(Problem::new(StatusCode::NOT_FOUND, "not_found", what, hint));
    };
    let params = Params::new(given);
    params.check(PARAMETERS)?;
    for (name, of) in [("framework", ReportKind::Compliance), ("fingerprint", ReportKind::Incident)]
    {
        if kind != of && params.text(name).is_some() {
            let (of, kind) = (of.as_str(), kind.as_str());
            let message = format!("`{name}` is of the report `{of}`, and not of `{kind}`");
            return Err(Mistake::bad(message, "leave it out").into());
        }
    }
    let format = params.one_of("format", &ReportFormat::WORDS)?.unwrap_or(ReportFormat::Json);
    let now = now().as_event();
    let scope = Scope::read(&params, now, SPAN)?;
    let rules = Arc::clone(&context.status.read().rules);
    let author = caller.name.clone();
    let (made, text) = context
        .desk
        .ask_for_report(move |reader| {
            let order = (kind, &params, &scope);
            let Made { report, .. } = made(reader, order, (&author, now), &rules)?;
            let text = write(&report, format).map_err(|error| {
                Mistake::bad(format!("the report cannot be written: {error}"), "the log says more")
            })?;
            Ok((report, text))
        })
        .await?;
    context.desk.viewed(caller, &format!("report {}", kind.as_str()), asked, made.rows())?;
    Ok(sent(&made, format, text))
}

/// A report for whoever asks, as the command line makes it; what its signatures are of is not checked here.
fn made(
    reader: &mut Reader,
    (kind, params, scope): (ReportKind, &Params, &Scope),
    (author, now): (&str, EventTime),
    rules: &RuleSet,
) -> Result<Made, AskError> {
    let frameworks;
    let wanted = match kind {
        ReportKind::Access => Wanted::Access,
        ReportKind::Alerts => Wanted::Alerts,
        ReportKind::Compliance => {
            let read = self::frameworks(rules);
            let hint = "`tripline check --frameworks` says more";
            frameworks = read.map_err(|why| Mistake::bad(why, hint))?;
            let id = params.text("framework").unwrap_or_default();
            let found = frameworks.iter().find(|framework| framework.id == id);
            let framework = found.ok_or_else(|| {
                let known: Vec<&str> = frameworks.iter().map(|one| one.id.as_str()).collect();
                let message = format!("no framework `{}`", printable(id));
                Mistake::bad(message, format!("there are: {}", known.join(", ")))
            })?;
            Wanted::Compliance(framework)
        }
        ReportKind::Incident => match params.text("fingerprint") {
            Some(fingerprint) => Wanted::Incident(fingerprint),
            None => return Err(Mistake::bad("`fingerprint` is missing", "Of which alert.").into()),
        },
    };
    let order =
        Order { wanted, scope, author, now, verifies: Verifies::All, check: None, threads: None };
    make(reader, &order, &mut |_| {})
}

/// As a file to keep: pages of a report bring a style of their own, which pages of ours must not.
fn sent(report: &Report, format: ReportFormat, text: String) -> Response {
    let media = match format {
        ReportFormat::Html => "text/html; charset=utf-8",
        ReportFormat::Json => "application/json",
        ReportFormat::Csv => "text/csv; charset=utf-8",
    };
    let name = format!("attachment; filename=\"{}.{}\"", report.kind.as_str(), format.as_str());
    ([(header::CONTENT_TYPE, media.to_owned()), (header::CONTENT_DISPOSITION, name)], text)
        .into_response()
}
